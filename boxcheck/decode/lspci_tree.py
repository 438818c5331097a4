"""`lspci -t`, -tv, -tnv: which bridge each bus hangs on, from the columns of the drawing.

A line names at its right end what hangs on a bus that an earlier line opened: the branch sign (`+-` or `\\-`) stands
in the column where that bus has its own `-+-`. When a mailer has removed the leading blanks, no column tells any more.
"""

from __future__ import annotations

import re

import msgspec

from boxcheck.decode.lspci_lines import MAX_LINE, address
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

_BRANCH = re.compile(r"[ |]*([+\\])-")
_BUS = re.compile(r"\[(?:([0-9a-f]{4,8}):)?([0-9a-f]{2})(?:-([0-9a-f]{2}))?\]")
_DEVICE = re.compile(r"([01][0-9a-f])\.([0-7])")
_IDS = re.compile(r"\[?([0-9a-f]{4}):([0-9a-f]{4})\]?$")
_MAX_DEPTH_ON_LINE = 64


class TreeNode(msgspec.Struct, frozen=True, kw_only=True):
    """One function of the drawing."""

    line: int
    bdf: Bdf
    parent: Bdf | None
    name: str | None = None
    vendor: int | None = None
    device: int | None = None
    secondary_bus: int | None = None
    subordinate_bus: int | None = None


class _Place:
    """A bus that is open for more devices."""

    __slots__ = ("bridge", "bus", "domain")

    def __init__(self, domain: str, bus: str, bridge: Bdf | None) -> None:
        self.domain = domain
        self.bus = bus
        self.bridge = bridge


class Tree:
    """Takes the lines of one tree, in order."""

    def __init__(self) -> None:
        self.nodes: list[TreeNode] = []
        self.flattened = False
        """A branch was seen whose column no line above has opened."""
        self._open: dict[int, _Place | None] = {}

    def take(self, number: int, line: str) -> None:
        """One line, leading blanks and all."""
        text = line[:MAX_LINE].replace("\xa0", " ").rstrip()
        if text.startswith("-"):
            self._open = {}
            position, place = 1, None
            if text.startswith("-+-"):
                self._open[1] = None
                position = 3
        else:
            branch = _BRANCH.match(text)
            if branch is None:
                return
            column = branch.start(1)
            if column not in self._open:
                self.flattened = True
                return
            place, position = self._open[column], branch.end()
        self._rest(number, text, position, place)

    def _rest(self, number: int, text: str, position: int, place: _Place | None) -> None:
        bridge: Bdf | None = None
        for _ in range(_MAX_DEPTH_ON_LINE):
            while text.startswith("-", position):
                if text.startswith("-+-", position):
                    self._open[position + 1] = place
                    position += 3
                    break
                position += 1
            bus = _BUS.match(text, position)
            if bus is not None:
                domain = bus[1] or (place.domain if place else "0000")
                if bridge is not None:
                    last = self.nodes[-1]
                    self.nodes[-1] = msgspec.structs.replace(
                        last, secondary_bus=int(bus[2], 16), subordinate_bus=int(bus[3] or bus[2], 16))
                place, position, bridge = _Place(domain, bus[2], bridge), bus.end(), None
                continue
            device = _DEVICE.match(text, position)
            if device is None or place is None:
                return
            bdf = address(place.domain, place.bus, device[1], device[2])
            position = device.end()
            rest = text[position:]
            name = clean_text(rest.strip()) if rest.startswith(" ") else ""
            ids = _IDS.search(name)
            self.nodes.append(TreeNode(
                line=number, bdf=bdf, parent=place.bridge, name=name[: ids.start()].strip() if ids else name or None,
                vendor=int(ids[1], 16) if ids else None, device=int(ids[2], 16) if ids else None))
            if not rest.startswith("-"):
                return
            bridge = bdf
