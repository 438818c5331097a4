"""What the tests of lane margining share: a simulated link and the two ends as boxcheck knows them."""

from __future__ import annotations

from typing import Any

from boxcheck.riser.links.ports import End, LinkPair
from boxcheck.riser.margining.eye import Margins, ReceiverEyes
from boxcheck.riser.margining.run import margin
from tests.riser.simulated.machine import Machine
from tests.riser.simulated.margin import AER, CARD, EXPRESS, MARGINING, PORT, MarginLink

SPEEDS = (2.5, 5.0, 8.0, 16.0, 32.0, 64.0)
NUMBERS = {"A": 1, "B": 2, "C": 3, "D": 4, "E": 5, "F": 6}


def bench(**link: Any) -> tuple[Machine, MarginLink, LinkPair]:
    """A machine with one link on it. Reads do not stay in its log, so that a long run stays quick."""
    machine = Machine()
    made = MarginLink(machine, **link)

    def shorten(before: float, after: float) -> None:
        if len(machine.log) > 2_000:
            machine.log[:] = [entry for entry in machine.log if entry[1] == "write"]

    machine.on_tick.append(shorten)
    return machine, made, pair_of(made)


def pair_of(link: MarginLink) -> LinkPair:
    def end(bdf: Any) -> End:
        return End(bdf=bdf, express=EXPRESS, aer=AER, margining=MARGINING, max_speed_gts=link.speed_gts,
                   max_width=link.max_width, speeds_gts=tuple(one for one in SPEEDS if one <= link.speed_gts))

    return LinkPair(port=end(PORT), card=end(CARD), slot="PCIE3")


def run(machine: Machine, link: MarginLink, pair: LinkPair, **options: Any) -> Margins:
    """Margins it, and holds what must be true of every run, however it ends: registers as they were, every sampler in its
    place, no access that the specification forbids."""
    before = link.settings
    margins = margin(machine, pair, **options)
    clean(link, before)
    return margins


def clean(link: MarginLink, before: tuple[object, ...]) -> None:
    assert link.settings == before
    assert link.in_place
    assert link.all_violations == []


def receiver(margins: Margins, letter: str) -> ReceiverEyes:
    return next(eyes for eyes in margins.receivers if eyes.receiver == letter)


def wrong_edges(link: MarginLink, margins: Margins, within: float = 1.0) -> list[str]:
    """Edges further than one step from the simulated ones, the part of a step that no receiver can see left out."""
    wrong = []
    for eyes in margins.receivers:
        number = NUMBERS[eyes.receiver]
        kind = link.ports[CARD if number == 6 else PORT].kinds[number]
        for eye in eyes.lanes:
            for direction, side in eye.sides.items():
                most = kind.voltage_steps if direction in ("up", "down") else kind.timing_steps
                true = min(most, int(link.edge_steps(number, eye.lane, direction)))
                if abs(side.steps - true) > within:
                    wrong.append(f"Rx {eyes.receiver} lane {eye.lane} {direction}: {side} and not {true}")
    return wrong
