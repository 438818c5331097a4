"""Named mutations: each changes a machine, and so the bytes that its kernel shows, never a decoded fact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.boxes.machine import Machine


@dataclass(frozen=True)
class Mutation:
    name: str
    bases: tuple[str, ...]
    """Boxes that it makes sense on, the usual one first."""
    area: str
    """What should be found, in words."""
    slot: str | None
    """Slot that it hits, on the usual box."""
    change: Callable[[Machine], None]
    healthy: bool = False
    """True where the box is still healthy: a trap for false alarms."""

    @property
    def base(self) -> str:
        return self.bases[0]

    def fits(self, box: str) -> bool:
        return box.removesuffix("-one-reading") in self.bases


MUTATIONS: dict[str, Mutation] = {}


def mutation(
    name: str, *bases: str, area: str, slot: str | None = None, healthy: bool = False
) -> Callable[[Callable[[Machine], None]], Callable[[Machine], None]]:
    def register(change: Callable[[Machine], None]) -> Callable[[Machine], None]:
        if name in MUTATIONS:
            raise ValueError(f"two mutations are called {name}")
        MUTATIONS[name] = Mutation(name, bases, area, slot, change, healthy)
        return change

    return register
