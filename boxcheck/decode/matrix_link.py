"""What PCIe link a measured bandwidth fits.

One direction of a link carries GT/s x lanes x coding / 8 (PCI Express Base Specification, 1.2: 8b/10b up to 5 GT/s,
128b/130b from 8 GT/s). Copies reach 0.76 to 0.92 of that: 26 to 29 GB/s of the 31.5 of Gen4 x16 to and from the host,
24.4 between two patched RTX 4090, 12 to 13.4 of 15.75 at Gen3, 53 to 57 of 63 at Gen5. Both directions at once reach
0.65 to 0.82 of twice that (41.4 and 51.2 of 63 GB/s at Gen4 x16).
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.pci_link import SPEED_GTS

WIDTHS = (1, 2, 4, 8, 16)

ONE_WAY = (0.70, 0.95)
BOTH_WAYS = (0.62, 0.95)
"""Share of the raw rate that a sound copy has, lowest and highest."""
HOST_SHARE = 0.83
"""26 of 31.5 GB/s: a copy to or from the host over a sound Gen4 x16 link."""


class Link(msgspec.Struct, frozen=True, order=True):
    generation: int
    width: int

    @property
    def raw_gbs(self) -> float:
        """GB/s of one direction, before packet headers."""
        speed = SPEED_GTS[self.generation]
        return speed * self.width / 8 * (0.8 if self.generation < 3 else 128 / 130)

    def __str__(self) -> str:
        return f"Gen{self.generation} x{self.width}"


def fits(gigabytes_per_second: float, generation: int | None = None, width: int | None = None,
         both_ways: bool = False) -> tuple[Link, ...]:
    """Links that would give this figure, no faster and no wider than the card's; widest generation first.

    Without a generation up to Gen5 is thought of. Empty where no link fits.
    """
    low, high = BOTH_WAYS if both_ways else ONE_WAY
    found = []
    for gen in range(generation or 5, 0, -1):
        for lanes in WIDTHS:
            link = Link(gen, lanes)
            if width is not None and lanes > width:
                continue
            if low * link.raw_gbs <= gigabytes_per_second / (2 if both_ways else 1) <= high * link.raw_gbs:
                found.append(link)
    return tuple(found)


def fits_says(links: tuple[Link, ...]) -> str:
    """`Gen4 x4, Gen3 x8 or Gen2 x16`; empty for none. Narrow Gen1 links come last and are left out beyond three."""
    names = [str(link) for link in links[:3]]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}" if names else ""
