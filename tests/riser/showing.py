"""Accounts made by hand, for tests and pictures of how they look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from boxcheck.report.riser_ranking import Ranking
from boxcheck.riser.account import RiserAccount, Tried
from boxcheck.riser.advice import advice, tape
from boxcheck.riser.evidence import (
    Boot,
    Conditions,
    Look,
    Move,
    Notebook,
    Place,
    Step,
    Suspect,
    Way,
    Weighed,
)
from boxcheck.riser.measuring.rank import Ranked
from boxcheck.riser.notebook import Stored

TB = 8e12
FULL = {"full_width": 16, "full_speed_gts": 16.0, "present": True, "active": True}


def way(toward: str, errors: int = 0, terabytes: float = 1.2, **more: object) -> Way:
    bits = terabytes * TB
    return Way(toward=toward, bits=bits, most_bits=bits * 1.1, seconds=bits / 200e9,  # type: ignore[arg-type]
               received={"BadTLP": errors} if errors else {}, **more)  # type: ignore[arg-type]


def look(slot: str, to_card: int = 0, to_host: int = 0, width: int = 16, speed: float = 16.0, **more: object) -> Look:
    return Look(slot=slot, width=width, speed_gts=speed, ways=(way("card", to_card), way("host", to_host)),
                **FULL, **more)  # type: ignore[arg-type]


def places(third: str = "R3", fifth: str = "R5", swapped: bool = False) -> tuple[Place, ...]:
    cards = ("GPU-00-1111", "GPU-00-4417", "GPU-00-90ab")
    if swapped:
        cards = (cards[0], cards[2], cards[1])
    return tuple(Place(slot=slot, riser=riser, card=card) for slot, riser, card in zip(
        ("PCIE1", "PCIE3", "PCIE5"), ("R1", third, fifth), cards, strict=True))


STEP = Step(
    kind="swap-both", moves=(
        Move(part="card", name="GPU-00-4417", to="PCIE5"), Move(part="riser", name="R3", to="PCIE5"),
        Move(part="card", name="GPU-00-90ab", to="PCIE3"), Move(part="riser", name="R5", to="PCIE3")),
    why="it tells the slot from what sits in it: 0.9 of the 1.4 bits that are not known",
    expect={"errors move to PCIE5": "riser R3 or the card; the next step swaps the risers alone",
            "errors stay in PCIE3": "the slot", "errors vanish": "the contacts; a look of 30 minutes follows"},
    information_bits=0.9)


def waiting() -> RiserAccount:
    first = Boot(id="a", started=0.0, places=places(), looks=(
        look("PCIE3", 4066, 0, width=8, speed=8.0), look("PCIE5"), look("PCIE1")))
    second = Boot(id="b", started=0.0, places=places(), asked=Step(kind="reseat", reseat=("PCIE3",)), looks=(
        look("PCIE3", 11, 0), look("PCIE5"), look("PCIE1"),
        look("PCIE3", 0, 0, speed=8.0, conditions=Conditions(speed_gts=8.0)),
        look("PCIE3", 12, 0, conditions=Conditions(neighbours="loaded"))))
    notebook = Notebook(id="r-20261121-1", slot="PCIE3", started=0.0, boots=(first, second), next=STEP)
    weighed = Weighed(
        suspects=(
            Suspect(kind="riser", name="R3", probability=0.71, because=(
                "1.7 errors per TB to the card at 16 GT/s and none in 2.4 TB at 8 GT/s: the signal path",)),
            Suspect(kind="slot", name="PCIE3", probability=0.14), Suspect(kind="card", name="GPU-00-4417", probability=0.1)),
        healthy=0.001, verdict="not-yet", next=STEP,
        says="Plugging anew restored the lanes, errors remain. Riser R3 is the likeliest, and not proven.")
    return RiserAccount(
        version="0.1", started=0.0, seconds=200.0, stored=Stored(box="W-0007", notebook=notebook), weighed=weighed,
        state="waiting", command="sudo boxcheck riser --resume", path="~/.local/state/boxcheck/riser/r-20261121-1.json",
        tried=(
            Tried(name="retrain", says="100 times: 98 came back x16 at 16 GT/s, 2 with fewer lanes; the longest took 0.41 s"),
            Tried(name="power capped", says="needs root", done=False, help="sudo boxcheck riser --resume"),
            Tried(name="margining", says="the port is not ready for it (PortSta: Ready is 0)", done=False)))


def found() -> RiserAccount:
    before = waiting()
    third = Boot(id="c", started=0.0, places=places("R5", "R3", swapped=True), asked=STEP, looks=(
        look("PCIE3"), look("PCIE5", 9, 0), look("PCIE1")))
    notebook = before.stored.notebook
    notebook = Notebook(
        id=notebook.id, slot="PCIE3", started=0.0, boots=(*notebook.boots, third))
    accused = Suspect(kind="riser", name="R3", probability=0.97, because=("its errors went with it to PCIE5",))
    weighed = Weighed(
        suspects=(accused, Suspect(kind="card", name="GPU-00-4417", probability=0.02)), healthy=0.0004,
        verdict="found", accused=(accused,), says="Riser R3 is at fault: 97 %.")
    return RiserAccount(
        version="0.1", started=0.0, seconds=200.0, stored=Stored(box="W-0007", closed="riser R3", notebook=notebook),
        weighed=weighed, state="found", advice=advice(weighed, notebook), tape=(tape(accused, notebook),))


def ranking(ranked: Sequence[Ranked], **more: Any) -> Ranking:
    return Ranking(ranked=tuple(ranked), **{"version": "0.1", "started": 0.0, **more})
