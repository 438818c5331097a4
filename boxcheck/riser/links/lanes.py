"""Errors of single lanes, cleared before a window so that what is read after it belongs to it; and settings that a link
carries already when it is first looked at.

Needs   root; clearing also a kernel that is not locked down
By hand sudo lspci -vv -s 40:01.1 | grep LaneErrStat
"""

from __future__ import annotations

from boxcheck.decode.pci_link import decode_link_ctl, decode_link_ctl2
from boxcheck.model import Unread
from boxcheck.riser.links.hold import Held
from boxcheck.riser.links.link_pair import speed_code
from boxcheck.riser.links.link_state import LANE_ERRORS, LNKCTL, LNKCTL2, PARITY, best_gts, lane_errors, read_register
from boxcheck.riser.links.ports import LinkPair, Ports
from boxcheck.riser.links.retrain import refuse_raw
from boxcheck.riser.links.snapshot import attribute_path


def clear_lane_errors(held: Held) -> tuple[str, ...]:
    """What was cleared, a clause for each end that had logged any; it cannot be set again. Refused where registers
    cannot be written."""
    refuse_raw(held)
    found = {one.bdf: sorted({*one.lanes, *one.parity, *one.retimer_parity}) for one in lane_errors(held, held.pair)}
    logged = tuple(
        f"{bdf} had logged errors on lanes {', '.join(map(str, lanes))}" for bdf, lanes in found.items() if lanes)
    held.announce(f"clearing the lane errors of {held.pair.name}" + (f": {'; '.join(logged)}" if logged else ""))
    for end in (held.pair.port, held.pair.card):
        if end is None:
            continue
        places = [] if end.secondary is None else [end.secondary + LANE_ERRORS]
        places += [] if end.phy16 is None else [end.phy16 + at for at in PARITY]
        for at in places:
            word = read_register(held, end, at, 4)
            if isinstance(word, int) and word:
                held.write(end.bdf, at, 4, word)
    return logged


def settings_of(ports: Ports, pair: LinkPair) -> tuple[str, ...]:
    """Settings of a link that make it less than it can be, before anything is changed."""
    found: list[str] = []
    best = best_gts(pair)
    for end in (pair.port, pair.card):
        if end is None:
            continue
        control = read_register(ports, end, end.express + LNKCTL)
        second = read_register(ports, end, end.express + LNKCTL2)
        if isinstance(control, Unread) or isinstance(second, Unread):
            continue
        one, two = decode_link_ctl(control, ""), decode_link_ctl2(second, speed_code(end.max_speed_gts))
        if end is pair.port and one.disabled:
            found.append(f"the link of {pair.name} is switched off at its port {end.bdf} (LnkCtl)")
        if best is not None and two.target_speed_gts is not None and two.target_speed_gts < best and end is pair.port:
            left = "; the kernel leaves that behind when a link did not train (pcie_failed_link_retrain)" if (
                two.target_speed_gts == 2.5) else ""
            found.append(f"the port {end.bdf} aims for {two.target_speed_gts:g} GT/s and both ends can do {best:g}: a"
                         f" setting of the firmware, of a tool or of the kernel caps it{left}")
        if two.enter_compliance:
            found.append(f"{end.bdf} is set to enter compliance at the next training (LnkCtl2)")
    return tuple(found)


def keep_awake(held: Held) -> None:
    """Runtime power management of both ends off, where it is on."""
    for end in (held.pair.port, held.pair.card):
        if end is not None and held.attribute(attribute_path(end.bdf, "power/control")) == "auto":
            held.set_attribute(attribute_path(end.bdf, "power/control"), "on")
