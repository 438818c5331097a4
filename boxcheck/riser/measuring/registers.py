"""What an end of a link notes in its registers, as root reads it: link status, errors by lane, error status bits.

Reads   PCI Express capability LnkSta +0x12, DevSta +0x0a, LnkSta2 +0x32; Secondary PCI Express LaneErrStat +8; Physical
        Layer 16.0 GT/s status +0xc and parity +0x10, 32.0 GT/s status +0xc; AER CESta +0x10      (configuration space)
By hand sudo lspci -vvv -s <bdf>; sudo setpci -s <bdf> ECAP_AER+10.l CAP_EXP+12.w

Most of these bits stay set until they are written, so only those that were clear before tell of a time. Nothing is
written here. One bit stands for one error or more.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.decode.pci_aer import correctable_names
from boxcheck.decode.pci_link import decode_link_sta, decode_link_sta2
from boxcheck.model import Unread
from boxcheck.probes.pcie_aer import SIGNAL
from boxcheck.riser.links.ports import End, Ports, Size

LINK_STATUS, DEVICE_STATUS, LINK_STATUS_2 = 0x12, 0x0A, 0x32
LANE_ERRORS, PHY_STATUS, PARITY, CORRECTABLE_STATUS, CORRECTABLE_MASK = 0x08, 0x0C, 0x10, 0x10, 0x14
EQUALISED, EQUALISE_AGAIN, NOT_NEEDED = 0x01, 0x10, 0x400
"""Of the 16.0 and 32.0 GT/s status registers: complete (ports may skip its later phases); a request for another one;
at 32.0 GT/s, that both ends agreed to do without."""
Speed = Literal["8.0", "16.0", "32.0"]


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """What an end has noted newly in a time. All empty: nothing new, which is no proof of nothing."""

    lanes: frozenset[int] = frozenset()
    """Lane errors and parity mismatches."""
    errors: tuple[str, ...] = ()
    """Each time an error status bit was seen to go up: its name."""
    correctable: bool = False
    """DevSta: some correctable error, also where there is no AER."""
    trained: bool = False
    """LBMS: the link was retrained, or changed speed or width to keep working."""
    changed: bool = False
    """LABS: the hardware changed speed or width by itself, for other reasons."""
    unequalised: tuple[str, ...] = ()
    """What its equalisation lacks."""
    stuck: tuple[str, ...] = ()
    """Error status bits that stand while the kernel's counters do not move (boxcheck.riser.measuring.stuck)."""

    def __bool__(self) -> bool:
        return bool(self.lanes or self.errors or self.correctable or self.trained or self.changed)

    def joined(self, later: Marks) -> Marks:
        return Marks(
            lanes=self.lanes | later.lanes, errors=(*self.errors, *later.errors),
            correctable=self.correctable or later.correctable, trained=self.trained or later.trained,
            changed=self.changed or later.changed, unequalised=later.unequalised or self.unequalised,
            stuck=tuple(dict.fromkeys((*self.stuck, *later.stuck))))


class EndRegisters:
    """One end's. Cheap enough to be asked ten times a second."""

    def __init__(self, ports: Ports, end: End) -> None:
        self._ports, self._end = ports, end
        self._before: dict[str, int] = {}

    def link_status(self) -> int | None:
        """LnkSta; None where it was not read or reads all ones."""
        return self._read(self._end.express + LINK_STATUS, 2)

    def news(self, *, errors: bool) -> Marks:
        """What went up since it was asked before; the first time tells nothing. `errors`: with the error status bits,
        which are of use where the kernel does not count."""
        end = self._end
        lanes = self._risen("lanes", None if end.secondary is None else end.secondary + LANE_ERRORS, 4)
        parity = self._risen("parity", None if end.phy16 is None else end.phy16 + PARITY, 4)
        bits = self._risen("errors", end.aer + CORRECTABLE_STATUS, 4) if errors and end.aer is not None else 0
        device = self._risen("device", end.express + DEVICE_STATUS, 2)
        status = decode_link_sta(self._risen("status", end.express + LINK_STATUS, 2))
        return Marks(
            lanes=frozenset(lane for lane in range(32) if (lanes | parity) >> lane & 1),
            errors=tuple(name for name in correctable_names(bits) if name in SIGNAL), correctable=bool(device & 1),
            trained=status.bw_management, changed=status.autonomous_bw)

    def standing(self) -> tuple[str, ...] | None:
        """Error status bits of the wire that are set now, without those that are masked, which nobody is told of; None
        where they were not read."""
        if self._end.aer is None:
            return None
        word, mask = (self._read(self._end.aer + at, 4) for at in (CORRECTABLE_STATUS, CORRECTABLE_MASK))
        if word is None or mask is None:
            return None
        return tuple(name for name in correctable_names(word & ~mask) if name in SIGNAL)

    def equalisation(self, speed_gts: float | None) -> tuple[str, ...]:
        """What the last equalisation at this speed lacks: `not complete at 16.0 GT/s`. Empty where it lacks nothing,
        where the speed has none, and where it was not read."""
        end = self._end
        if speed_gts == 8.0:
            word = self._read(end.express + LINK_STATUS_2, 2)
            if word is None:
                return ()
            status = decode_link_sta2(word)
            return _lacks(status.eq_complete, status.link_eq_request, "8.0")
        at = {16.0: end.phy16, 32.0: end.phy32}.get(speed_gts or 0.0)
        word = None if at is None else self._read(at + PHY_STATUS, 4)
        if word is None or (speed_gts == 32.0 and word & NOT_NEEDED):
            return ()
        return _lacks(bool(word & EQUALISED), bool(word & EQUALISE_AGAIN), "16.0" if speed_gts == 16.0 else "32.0")

    def _risen(self, name: str, offset: int | None, size_bytes: Size) -> int:
        value = None if offset is None else self._read(offset, size_bytes)
        if value is None:
            return 0
        before = self._before.get(name)
        self._before[name] = value
        return 0 if before is None else value & ~before

    def _read(self, offset: int, size_bytes: Size) -> int | None:
        value = self._ports.read(self._end.bdf, offset, size_bytes)
        return None if isinstance(value, Unread) or value == (1 << 8 * size_bytes) - 1 else value


def _lacks(whole: bool, again: bool, speed: Speed) -> tuple[str, ...]:
    found = () if whole else (f"equalisation is not complete at {speed} GT/s",)
    return (*found, f"another equalisation is asked for at {speed} GT/s") if again else found
