"""What a link is doing now, as both of its ends say: speed, lanes, training, equalisation, errors of single lanes.

By hand sudo lspci -vv -s 40:01.1 | grep -E 'LnkSta|Phy16Sta|LaneErrStat'
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.pci_extended import decode_phy16, decode_phy32, set_bits
from boxcheck.decode.pci_link import SPEED_GTS, LinkStatus, decode_link_cap, decode_link_sta, decode_link_sta2
from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.link_pair import all_ones
from boxcheck.riser.links.ports import End, LinkPair, Ports

LNKCAP, LNKCTL, LNKSTA, LNKCTL2, LNKSTA2 = 0x0C, 0x10, 0x12, 0x30, 0x32
LNKCTL3, LANE_ERRORS = 0x04, 0x08
PHY_STATUS, PARITY = 0x0C, (0x10, 0x14, 0x18)
"""Offsets in the 16 GT/s capability; those of the 32 GT/s one have their status at the same place."""
TARGET = 0x000F
RETRAIN = 0x0020
LINK_REQUEST_8, LINK_REQUEST_16 = 0x0020, 0x0010
"""Link Equalization Request in LnkSta2, and in the status of 16 and 32 GT/s; both are cleared by a one."""


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """A link as its port says."""

    speed_gts: float | None
    """None where the register holds no speed: there is no link."""
    width: int
    training: bool
    up: bool
    """The data link layer is active; of a port that cannot tell, that it shows a speed and lanes."""
    target_gts: float | None

    @property
    def says(self) -> str:
        """`x16 at 16 GT/s`, `down`."""
        if not self.up or self.speed_gts is None or self.width == 0:
            return "down"
        return f"x{self.width} at {self.speed_gts:g} GT/s"

    @property
    def rank(self) -> tuple[float, int]:
        """Greater is better."""
        return (self.speed_gts or 0.0, self.width) if self.says != "down" else (0.0, 0)


def read_register(ports: Ports, end: End, offset: int, size_bytes: int = 2) -> int | Unread:
    """A register of an end; Unread where it reads all ones, as one that left the bus does: none that is read here can
    hold ones alone."""
    value = ports.read(end.bdf, offset, size_bytes)  # type: ignore[arg-type]
    if isinstance(value, Unread):
        return value
    return Unread(f"{end.bdf} does not answer", "error") if all_ones(value, size_bytes) else value


def status_of(ports: Ports, end: End) -> LinkStatus | Unread:
    word = read_register(ports, end, end.express + LNKSTA)
    return word if isinstance(word, Unread) else decode_link_sta(word)


def tells_active(ports: Ports, end: End) -> bool:
    """Whether a port's Data Link Layer Link Active bit means something (LnkCap bit 20)."""
    word = read_register(ports, end, end.express + LNKCAP, 4)
    return isinstance(word, int) and decode_link_cap(word).dll_active_reporting


def link_now(ports: Ports, pair: LinkPair) -> Now | Unread:
    """Unread where the port above does not answer."""
    status = status_of(ports, pair.port)
    control = read_register(ports, pair.port, pair.port.express + LNKCTL2)
    if isinstance(status, Unread):
        return status
    if isinstance(control, Unread):
        return control
    linked = status.width_is_legal and status.speed_gts is not None
    return Now(
        speed_gts=status.speed_gts, width=status.width if linked else 0, training=status.training,
        up=linked and (status.dll_active or not tells_active(ports, pair.port)),
        target_gts=SPEED_GTS.get(control & TARGET))


def best_gts(pair: LinkPair) -> float | None:
    """The fastest speed that both ends can do; None where they share none."""
    return pair.common_gts[-1] if pair.common_gts else None


class Equalisation(msgspec.Struct, frozen=True, kw_only=True):
    """How far both ends got in tuning to each other."""

    unfinished: tuple[str, ...] = ()
    """`0000:41:00.0 did not finish it at 16 GT/s`."""
    skipped: tuple[str, ...] = ()
    """`0000:41:00.0 shows no success of phases 2, 3 at 16 GT/s`. A port may leave them out (PCIe Base 4.2.3), so that
    is no fault by itself."""
    asks_again: tuple[str, ...] = ()
    """`0000:41:00.0 asks for it again at 16 GT/s`."""
    read: bool = True
    """False where no end showed anything: a link of 5 GT/s or less, or registers that were not read."""

    @property
    def complete(self) -> bool:
        return self.read and not self.unfinished and not self.asks_again


def equalisation_of(ports: Ports, pair: LinkPair, speed_gts: float | None) -> Equalisation:
    """Equalisation for the speed that the link runs at. A link may go from 8 to 32 GT/s without that of 16 (PCIe Base
    4.2.4, bypass), so that only the speed it runs at is asked for."""
    unfinished: list[str] = []
    skipped: list[str] = []
    again: list[str] = []
    looked = False
    for end in (pair.port, pair.card):
        if end is None or speed_gts is None or speed_gts < 8.0:
            continue
        for gts, at in ((8.0, end.express + LNKSTA2), (16.0, end.phy16), (32.0, end.phy32)):
            phases = _phases(ports, end, gts, at)
            if phases is None:
                continue
            if phases.again and gts <= speed_gts:
                looked = True
                again.append(f"{end.bdf} asks for it again at {gts:g} GT/s")
            if gts == speed_gts:
                looked = True
                missing = [str(number) for number, done in enumerate(phases.done, 1) if not done]
                if phases.not_needed:
                    continue
                if not phases.complete or "1" in missing:
                    unfinished.append(f"{end.bdf} did not finish it at {gts:g} GT/s")
                elif missing:
                    skipped.append(f"{end.bdf} shows no success of phases {', '.join(missing)} at {gts:g} GT/s")
    return Equalisation(
        unfinished=tuple(unfinished), skipped=tuple(skipped), asks_again=tuple(again), read=looked)


class _Phases(msgspec.Struct, frozen=True):
    complete: bool
    done: tuple[bool, bool, bool]
    again: bool
    not_needed: bool = False


def _phases(ports: Ports, end: End, gts: float, at: int | None) -> _Phases | None:
    if at is None:
        return None
    if gts == 8.0:
        word = read_register(ports, end, at)
        if isinstance(word, Unread):
            return None
        low = decode_link_sta2(word)
        return _Phases(low.eq_complete, (low.eq_phase1, low.eq_phase2, low.eq_phase3), low.link_eq_request)
    word = read_register(ports, end, at + PHY_STATUS, 4)
    if isinstance(word, Unread):
        return None
    data = bytes(PHY_STATUS) + word.to_bytes(4, "little") + bytes(16)
    phy = decode_phy16(data, 0) if gts == 16.0 else decode_phy32(data, 0)
    return _Phases(phy.eq_complete, (phy.eq_phase1, phy.eq_phase2, phy.eq_phase3), phy.link_eq_request,
                   bool(getattr(phy, "no_eq_needed_received", False)))


class LaneErrors(msgspec.Struct, frozen=True, kw_only=True):
    """Lanes at one end that have logged errors since their bits were last cleared."""

    bdf: Bdf
    lanes: tuple[int, ...] = ()
    """Lane Error Status (PCIe 3.0 and later)."""
    parity: tuple[int, ...] = ()
    """Lanes whose parity did not match at 16 GT/s, at this end's own receiver."""
    retimer_parity: tuple[int, ...] = ()
    unread: str | None = None
    """Why nothing, or not all, is known. Then no lanes are no proof."""


def lane_errors(ports: Ports, pair: LinkPair) -> tuple[LaneErrors, ...]:
    """Of both ends. Reading clears nothing."""
    found = []
    for end in (pair.port, pair.card):
        if end is not None:
            found.append(_lane_errors_of(ports, end, pair.lanes))
    return tuple(found)


def _lane_errors_of(ports: Ports, end: End, lanes: int) -> LaneErrors:
    if end.secondary is None and end.phy16 is None:
        return LaneErrors(bdf=end.bdf, unread=f"{end.bdf} logs no errors of single lanes")
    missing: str | None = None
    words: list[int] = []
    places = [None if end.secondary is None else end.secondary + LANE_ERRORS,
              *(None if end.phy16 is None else end.phy16 + at for at in PARITY)]
    for at in places:
        if at is None:
            words.append(0)
            continue
        # All lanes of a x32 would be all ones; a width of 32 exists nowhere, so ones alone are a card that left.
        word = read_register(ports, end, at, 4)
        if isinstance(word, Unread):
            missing = word.why
        words.append(0 if isinstance(word, Unread) else word & ((1 << max(lanes, 1)) - 1))
    return LaneErrors(
        bdf=end.bdf, lanes=set_bits(words[0]), parity=set_bits(words[1]),
        retimer_parity=tuple(sorted({*set_bits(words[2]), *set_bits(words[3])})), unread=missing)
