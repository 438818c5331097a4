"""Whether a link can be margined now, and if not, why: found before anything is written.

Reads   LnkSta of both ends, the power state of the card, PortCap and PortSta of capability 0x27, the kernel's lockdown
Needs   root: a user reads 64 bytes of configuration space (drivers/pci/pci-sysfs.c)
By hand `sudo lspci -vvs 41:00.0 | grep -A2 'Lane Margining'` prints both registers (pciutils 3.12 and newer)
"""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.decode.pci_walk import walk_capabilities
from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.ports import End, LinkPair, Ports
from boxcheck.riser.margining.wire import Wire

MARGINING_FROM_GTS = 16.0
"""Lane margining exists at 16 GT/s and above; it is required there (5.0, section 4.2.13)."""
READY_SECONDS = 2.0
"""How long an end is waited for that is not ready yet."""
LOCKDOWN = "/sys/kernel/security/lockdown"
POWER_MANAGEMENT = 0x01

ObstacleKind = Literal["absent", "gone", "permission", "lockdown", "no-capability", "slow", "not-ready", "asleep",
                       "power-saving", "refused"]


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Why a link, or one end of it, cannot be margined."""

    kind: ObstacleKind
    says: str
    help: str = ""
    end: Bdf | None = None
    """The one end that it concerns: receivers that are reached through the other can still be margined."""


class LinkNow(msgspec.Struct, frozen=True, kw_only=True):
    """Speed, width and activity as one end's LnkSta tells them."""

    speed_code: int
    width: int
    training: bool
    active: bool

    @property
    def speed_gts(self) -> float | None:
        return SPEED_GTS.get(self.speed_code)


def link_now(ports: Ports, end: End) -> LinkNow | Unread:
    word = ports.read(end.bdf, end.express + 0x12, 2)
    if isinstance(word, Unread):
        return word
    if word == 0xFFFF:
        return Unread(f"{end.bdf} does not answer: its registers read all ones", "error")
    return LinkNow(speed_code=word & 0xF, width=word >> 4 & 0x3F, training=bool(word & 0x800),
                   active=bool(word & 0x2000))


def reports_active(ports: Ports, end: End) -> bool:
    """LnkCap.20: whether LnkSta tells if the data link layer is up."""
    word = ports.read(end.bdf, end.express + 0x0C, 4)
    return not isinstance(word, Unread) and word != 0xFFFF_FFFF and bool(word & 1 << 20)


def power_state(ports: Ports, bdf: Bdf) -> int | Unread:
    """0 for D0 to 3 for D3hot, from the power management capability."""
    data = bytearray()
    for offset in range(0, 256, 4):
        word = ports.read(bdf, offset, 4)
        if isinstance(word, Unread):
            return word
        data += word.to_bytes(4, "little")
    entries, why = walk_capabilities(bytes(data), data[0x0E] & 0x7F, int.from_bytes(data[6:8], "little"))
    for capability, offset in entries:
        if capability == POWER_MANAGEMENT and offset + 6 <= 256:
            return data[offset + 4] & 3
    return why or Unread(f"{bdf} has no power management capability", "absent")


def lockdown(ports: Ports) -> str | None:
    """`integrity` or `confidentiality` where the kernel forbids writes to config space, even to root."""
    text = ports.attribute(LOCKDOWN)
    if isinstance(text, Unread):
        return None
    return next((mode for mode in ("integrity", "confidentiality") if f"[{mode}]" in text), None)


def before(ports: Ports, pair: LinkPair) -> tuple[Obstacle, ...]:
    """What no load and no waiting changes. Those without `end` forbid all of it."""
    if pair.card is None:
        return (Obstacle(kind="absent", says=f"nothing answers below {pair.port.bdf}: there is no link to margin"),)
    if (mode := lockdown(ports)) is not None:
        return (Obstacle(kind="lockdown", says=f"kernel lockdown ({mode}) forbids writes to configuration space",
                         help="Secure Boot turned off in the firmware, or a boot without `lockdown=`, allows them"),)
    for end in (pair.port, pair.card):
        extended = ports.read(end.bdf, 0x100, 4)
        if isinstance(extended, Unread):
            if extended.kind == "permission":
                return (Obstacle(kind="permission", says="lane margining needs root", help="run it with sudo"),)
            return (Obstacle(kind="gone", says=f"{end.bdf} cannot be read: {extended.why}"),)
    fastest = max(pair.common_gts, default=0.0)
    if fastest < MARGINING_FROM_GTS:
        return (Obstacle(kind="slow", says=f"the two ends can do {fastest:g} GT/s together; lane margining exists from "
                                           f"{MARGINING_FROM_GTS:g} GT/s on"),)
    found = [Obstacle(kind="no-capability", end=end.bdf, says=f"{end.bdf} has no lane margining (capability 0x27)")
             for end in (pair.port, pair.card) if end.margining is None]
    if len(found) == 2:
        return (Obstacle(kind="no-capability", says="neither end has lane margining (capability 0x27)"),)
    return tuple(found)


def under_load(ports: Ports, pair: LinkPair) -> tuple[Obstacle, ...]:
    """What depends on the moment: speed, power state, readiness. Asked while the link is busy; waits for readiness."""
    assert pair.card is not None
    now = link_now(ports, pair.port)
    if isinstance(now, Unread):
        return (Obstacle(kind="gone", says=now.why),)
    speed = now.speed_gts
    if speed is None or speed < MARGINING_FROM_GTS:
        return (Obstacle(
            kind="slow", says=f"the link runs at {speed or 0:g} GT/s now; lane margining needs {MARGINING_FROM_GTS:g}",
            help="a card at rest runs slower: keep it busy; under load it stays slow where a setting or the signal "
                 "holds it"),)
    state = power_state(ports, pair.card.bdf)
    if isinstance(state, int) and state != 0:
        return (Obstacle(kind="asleep", says=f"{pair.card.bdf} sleeps (D{state}); margining needs D0",
                         help="load its driver, or set power/control to on"),)
    found = [obstacle for end in (pair.port, pair.card) if end.margining is not None
             and (obstacle := _not_ready(ports, end)) is not None]
    with_margining = [end for end in (pair.port, pair.card) if end.margining is not None]
    if len(found) == len(with_margining):
        return tuple(msgspec.structs.replace(obstacle, end=None) for obstacle in found)
    return tuple(found)


def _not_ready(ports: Ports, end: End) -> Obstacle | None:
    wire = Wire(ports, end)
    until = ports.seconds() + READY_SECONDS
    while True:
        status = wire.status_of_port()
        if isinstance(status, Unread):
            return Obstacle(kind="gone", says=f"{end.bdf} cannot be read: {status.why}", end=end.bdf)
        if status.can_start:
            return None
        if ports.seconds() >= until:
            break
        ports.sleep(0.02)
    if status.ready:
        return Obstacle(kind="not-ready", end=end.bdf, help="load the device's driver",
                        says=f"{end.bdf} cannot be margined without its driver (Margining Software Ready is 0)")
    return Obstacle(kind="not-ready", end=end.bdf, says=f"{end.bdf} is not ready for margining (Margining Ready is 0 "
                    f"after {READY_SECONDS:g} s)", help="some firmware has a setting for it; a newer one may help")
