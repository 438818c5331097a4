"""A box for `boxcheck riser` that is no machine: slots of a built WOPR, cards that a test moves, looks that a test gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import msgspec

from boxcheck.engine.inspect import Facts
from boxcheck.model import Bdf
from boxcheck.probes.links import Links
from boxcheck.profile import Profile
from boxcheck.riser.evidence import Conditions, Look
from boxcheck.riser.experiments import Bench
from boxcheck.riser.parts import Seat, seats_of
from tests.riser.simulated.machine import Machine

Looks = Callable[[tuple[Seat, ...], Conditions], Sequence[Look]]


class TestBox:
    """What `boxcheck.commands.riser_box.Box` gives, without reading anything."""

    __test__ = False

    def __init__(self, facts: Facts, want: Profile, folder: str, looks: Looks) -> None:
        self.facts, self.want, self.name, self._folder = facts, want, "W-0007", folder
        self.said: list[str] = []
        self.left: frozenset[str] = frozenset()
        self.looks = looks
        self.order: dict[str, str] = {}
        """Slot -> slot whose card sits there now."""

    def links(self) -> Links:
        found = self.facts.of(Links)
        assert isinstance(found, Links)
        return found

    def folder(self) -> str:
        return self._folder

    def restore_pending(self) -> frozenset[str]:
        self.said.append("looked for links to put back")
        return self.left

    def seats(self, also: Bdf | None = None) -> tuple[Seat, ...]:
        seats = {seat.slot: seat for seat in seats_of(self.facts, self.want, also=also)}
        return tuple(
            msgspec.structs.replace(seat, card=seats[self.order.get(slot, slot)].card) for slot, seat in seats.items())

    def swap(self, one: str, other: str) -> None:
        here, there = self.order.get(one, one), self.order.get(other, other)
        self.order[one], self.order[other] = there, here

    def live(self, seats: tuple[Seat, ...], folder: str) -> TestBox:
        self._seats = seats
        return self

    def bench(self, slot: str, seconds: float, *, soak: bool = False, **more: Any) -> Bench:
        def measure(seconds: float, conditions: Conditions, *, everyone: bool = False,
                    sample: Callable[[], None] | None = None) -> tuple[Look, ...]:
            return tuple(self.looks(self._seats, conditions))

        return Bench(
            ports=Machine(), slot=slot, pair=None, pair_unread="its registers need root", measure=measure,
            seconds=seconds, hold=lambda what: nullcontext(), **more)  # type: ignore[arg-type, return-value]

    def settings(self, slot: str) -> tuple[str, ...]:
        return ()

    def say(self, text: str) -> None:
        self.said.append(text)
