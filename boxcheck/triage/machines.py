"""Which pieces of evidence are of one machine. Evidence of two machines is never joined: each has its own topology, its
own cards and its own problems.

Told apart by the host's name, by the board that the firmware names, and by GPUs: where two pieces agree in no GPU's
place and disagree in one, they are of two machines. What says nothing of all that goes with the machine that shares
most of its addresses, else with the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from boxcheck.model import Bdf
from boxcheck.probes.gpus import DISPLAY_CLASSES
from boxcheck.triage.evidence import Evidence
from boxcheck.triage.reading import SourceReading


class _Signs(msgspec.Struct):
    """What one source, or all sources of one machine, says of which machine it is."""

    hosts: set[str] = msgspec.field(default_factory=set)
    boards: set[str] = msgspec.field(default_factory=set)
    gpus: dict[Bdf, tuple[int, int]] = msgspec.field(default_factory=dict)
    places: set[Bdf] = msgspec.field(default_factory=set)

    def take(self, other: _Signs) -> None:
        self.hosts |= other.hosts
        self.boards |= other.boards
        self.gpus = {**other.gpus, **self.gpus}
        self.places |= other.places

    def silent(self) -> bool:
        return not (self.hosts or self.boards or self.gpus)

    def contradicts(self, other: _Signs) -> bool:
        if self.hosts and other.hosts and not self.hosts & other.hosts:
            return True
        if self.boards and other.boards and not self.boards & other.boards:
            return True
        shared = self.gpus.keys() & other.gpus.keys()
        return bool(shared) and all(self.gpus[bdf] != other.gpus[bdf] for bdf in shared)


def _signs(reading: SourceReading) -> _Signs:
    found = _Signs()
    if reading.host:
        found.hosts.add(reading.host)
    pieces: list[Evidence] = [*reading.evidence, *([reading.machine] if reading.machine is not None else [])]
    for piece in pieces:
        board = piece.box.get("product") if piece.tool == "kernel log" else None
        if board:
            found.boards.add(board)
        for device in piece.devices:
            if device.bdf is None:
                continue
            found.places.add(device.bdf)
            display = device.class_code is not None and device.class_code >> 8 in DISPLAY_CLASSES
            if display and device.vendor is not None and device.device is not None:
                found.gpus[device.bdf] = (device.vendor, device.device)
    if reading.log is not None:
        found.places |= {event.bdf for event in reading.log.events if event.bdf is not None}
    return found


def sort_out(readings: Sequence[SourceReading]) -> list[list[SourceReading]]:
    """The readings by machine, each machine's in the order in which they were given."""
    groups: list[tuple[_Signs, list[SourceReading]]] = []
    signs = {reading.index: _signs(reading) for reading in readings}
    for reading in (*(one for one in readings if not signs[one.index].silent()),
                    *(one for one in readings if signs[one.index].silent())):
        mine = signs[reading.index]
        fits = [group for group in groups if not group[0].contradicts(mine)]
        if not fits:
            group: tuple[_Signs, list[SourceReading]] = (_Signs(), [])
            groups.append(group)
        else:
            group = max(fits, key=lambda one: len(one[0].places & mine.places))
        group[0].take(mine)
        group[1].append(reading)
    return [sorted(members, key=lambda one: one.index) for _, members in groups]
