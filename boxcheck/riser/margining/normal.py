"""Brings every sampler of a link back to its place, without knowing what was done to it: after a program was killed.

Receivers with a sampler of their own lose nothing while it stands elsewhere; others would lose data. A link that went
down, or a boot, has brought them back already.
"""

from __future__ import annotations

from boxcheck.riser.links.ports import LinkPair, Ports
from boxcheck.riser.margining.commands import clear_error_log, go_to_normal
from boxcheck.riser.margining.hold import ends
from boxcheck.riser.margining.wire import LinkLost, Silent, Wire


def all_to_normal(ports: Ports, pair: LinkPair) -> tuple[str, ...]:
    """Go to Normal to all receivers of all lanes, through both ends. What did not confirm it, in sentences; lanes
    beyond the width that the link has now are not asked. Refused where the kernel lets nothing be written."""
    says: list[str] = []
    for end in ends(pair):
        if end.margining is None:
            continue
        wire = Wire(ports, end)
        status = ports.read(end.bdf, end.express + 0x12, 2)
        width = status >> 4 & 0x3F if isinstance(status, int) and status != 0xFFFF else 0
        silent = []
        for lane in range(min(width, end.max_width)):
            try:
                wire.rest(lane)
                for command in (clear_error_log(), go_to_normal()):
                    wire.order(lane, command)
                    wire.done(lane)
            except Silent:
                silent.append(str(lane))
            except LinkLost as why:
                says.append(str(why))
                break
        if silent:
            says.append(f"{end.bdf}: lane {', '.join(silent)} did not confirm Go to Normal; a link trained anew "
                        "or a cold boot brings it back")
    return tuple(says)
