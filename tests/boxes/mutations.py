"""Named mutations: each changes a machine, and so the bytes that its kernel shows, never a decoded fact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.boxes.machine import Machine
from tests.boxes.pci_build import Function

WOPR, RED, RED2, GREEN, GREEN2, PRO, DEV, STRIX, LAPTOP = (
    "wopr-7x4090",
    "tinybox-red",
    "tinybox-red-v2",
    "tinybox-green",
    "tinybox-green-v2",
    "tinybox-pro",
    "geohot-amd-dev",
    "strix-halo",
    "laptop",
)
NVIDIA = (WOPR, GREEN, GREEN2, PRO)
RADEON = (RED, RED2, DEV)
CARDS = (*NVIDIA, *RADEON)
BOXES_ALL = (*CARDS, STRIX)
EPYC = CARDS


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


def port_of(machine: Machine) -> Function:
    """The root port of the slot that the mutations hit: PCIE3 on every box."""
    return machine.slot_port("PCIE3")


def card_of(machine: Machine) -> Function:
    """The end of the card at that slot."""
    return port_of(machine).children[0]


def gpu_of(machine: Machine) -> Function:
    """The GPU function behind that slot, past the on-card switch where there is one."""
    here = card_of(machine)
    while here.bridge:
        here = here.children[0]
    return here
