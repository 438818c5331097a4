"""Where a lane lies in a slot: its contacts on both sides of a x16 card edge. Pure.

PCI Express Card Electromechanical Specification, section 5 (connector pin-out); the same table is on public pages
(en.wikipedia.org/wiki/PCI_Express, "Pinout"; knightli.com/en/2022/05/15/pci-express-pinout). PET is what the board
transmits, PER what it receives. Side B is the side of a card that bears its components. The key, a rib in the slot,
lies between contacts 11 and 12; contacts are 1.00 mm apart and are counted from the bracket on.

A board may wire its lanes in reverse (lane n of the link on the contacts of lane 15 - n); software cannot see that as
long as all lanes are in use, so the mirrored contacts are named as well.
"""

from __future__ import annotations

import msgspec

from boxcheck.stress.link_routes import Toward

_FIRST_B = (14, 19, 23, 27, 33, 37, 41, 45, *range(50, 79, 4))
"""Contact of PETp of each lane, on side B; PETn is the next one."""
_FIRST_A = (16, 21, 25, 29, 35, 39, 43, 47, *range(52, 81, 4))
"""Of PERp, on side A."""
LANES = 16
FIRST_BEHIND_KEY = 12
PITCH_MILLIMETRES = 1.0


class Contacts(msgspec.Struct, frozen=True):
    """The pair of contacts of one lane and direction."""

    side: str
    """`A` or `B`."""
    first: int
    signal: str
    """`PERp5/PERn5`."""

    @property
    def millimetres(self) -> float:
        """From the first contact behind the key to the middle of the pair."""
        return (self.first + 0.5 - FIRST_BEHIND_KEY) * PITCH_MILLIMETRES

    @property
    def name(self) -> str:
        return f"{self.side}{self.first}/{self.side}{self.first + 1}"

    @property
    def says(self) -> str:
        return f"contacts {self.name} ({self.signal}), {self.millimetres:.0f} mm behind the key"


def contacts(lane: int, toward: Toward) -> Contacts | None:
    """Of a lane of a x16 slot. Bits toward the card cross PET, others PER. None for a lane that it does not have."""
    if not 0 <= lane < LANES:
        return None
    if toward == "card":
        return Contacts("B", _FIRST_B[lane], f"PETp{lane}/PETn{lane}")
    return Contacts("A", _FIRST_A[lane], f"PERp{lane}/PERn{lane}")


def place(lane: int, toward: Toward, lanes: int = LANES) -> str | None:
    """In words, with the place that it has where the board reverses the lanes of a slot with `lanes` of them."""
    here, mirrored = contacts(lane, toward), contacts(lanes - 1 - lane, toward)
    if here is None or lanes > LANES:
        return None
    if mirrored is None or mirrored == here:
        return here.says
    return f"{here.says}; on a board that reverses its lanes {mirrored.name}, {mirrored.millimetres:.0f} mm behind it"
