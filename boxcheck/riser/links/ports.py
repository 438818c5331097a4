"""What the experiments on a link read and write, as one protocol: a live machine's config space and attributes
(`boxcheck.host.config_space`), or a simulated one whose clock does not wait.

Widths matter: a 32-bit write to Link Control also writes Link Status, whose bits clear when ones are written, and one
to a lane's margining control also hits its status. So every access names its size, and is made as one of that size.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from boxcheck.host.refused import Refused, RefusedKind, Size
from boxcheck.model import Bdf, Unread

__all__ = ["End", "LinkPair", "Ports", "Refused", "RefusedKind", "Size"]


class Ports(Protocol):
    """Config space and sysfs attributes of one machine, and its clock."""

    def read(self, bdf: Bdf, offset: int, size_bytes: Size) -> int | Unread:
        """A register, little endian. All ones is a value here: what it means is the caller's to say."""

    def write(self, bdf: Bdf, offset: int, size_bytes: Size, value: int) -> None:
        """Refused where it was not made. That it took effect is told only by reading back."""

    def attribute(self, path: str) -> str | Unread:
        """Text of a sysfs attribute by its absolute path, without white space around it."""

    def set_attribute(self, path: str, text: str) -> None:
        """Refused where the kernel did not take it."""

    def writable(self, bdf: Bdf) -> Refused | None:
        """Why a write to a function's config space would not be let through, as far as that is known without making
        one; None where nothing speaks against it."""

    def seconds(self) -> float:
        """Monotonic."""

    def sleep(self, seconds: float) -> None: ...


class End(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a link, with the offsets of the capabilities that were found there; None where it has none."""

    bdf: Bdf
    express: int
    """PCI Express capability (id 0x10): LnkCtl +0x10, LnkSta +0x12, LnkCtl2 +0x30, LnkSta2 +0x32."""
    aer: int | None = None
    secondary: int | None = None
    """0x19: LnkCtl3 +4, LaneErrStat +8."""
    phy16: int | None = None
    phy32: int | None = None
    margining: int | None = None
    l1_substates: int | None = None
    max_speed_gts: float
    max_width: int
    speeds_gts: tuple[float, ...] = ()
    """All of LnkCap2's vector, ascending; of a device without it, those up to `max_speed_gts`."""


class LinkPair(msgspec.Struct, frozen=True, kw_only=True):
    """A link as its two ends. The card's end is function 0 of what hangs below the port."""

    port: End
    card: End | None
    """None where nothing answers below the port."""
    slot: str | None = None
    on_card: bool = False

    @property
    def name(self) -> str:
        return self.slot or self.port.bdf

    @property
    def common_gts(self) -> tuple[float, ...]:
        """Speeds that both ends can do, ascending."""
        if self.card is None:
            return self.port.speeds_gts
        return tuple(speed for speed in self.port.speeds_gts if speed in self.card.speeds_gts)

    @property
    def lanes(self) -> int:
        """The most that both ends can do."""
        return self.port.max_width if self.card is None else min(self.port.max_width, self.card.max_width)
