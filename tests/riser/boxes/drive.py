"""The solver at work on a box: boot, weigh, swap, until it has done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from boxcheck.riser.evidence import Boot, Notebook, Weighed
from tests.riser.boxes.box import Box
from tests.riser.boxes.hands import do
from tests.riser.boxes.looks import boot

Weigh = Callable[[Notebook], Weighed]
MOST_CYCLES = 6


@dataclass
class Journey:
    """A box's story from the first boot to the last verdict."""

    box: Box
    notebook: Notebook
    weighed: list[Weighed] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """That each decision took."""
    odd: list[str] = field(default_factory=list)
    """Steps that could not be followed."""

    @property
    def cycles(self) -> int:
        return len(self.notebook.boots) - 1

    @property
    def last(self) -> Weighed:
        return self.weighed[-1]


def drive(box: Box, weigh: Weigh, most_cycles: int = MOST_CYCLES) -> Journey:
    """Follows the solver's steps until a verdict other than `not-yet`, or so many power cycles."""
    boots: list[Boot] = [boot(box)]
    story = Journey(box, _notebook(box, boots))
    while True:
        story.notebook = _notebook(box, boots)
        start = time.perf_counter()
        weighed = weigh(story.notebook)
        story.seconds.append(time.perf_counter() - start)
        story.weighed.append(weighed)
        if weighed.verdict != "not-yet" or weighed.next is None or len(boots) > most_cycles:
            return story
        done = do(box, weighed.next)
        story.odd += done.odd
        boots.append(boot(box, weighed.next, done.wanted))


def _notebook(box: Box, boots: list[Boot]) -> Notebook:
    return Notebook(
        id=f"r-{box.seed}-{box.index}", slot=box.reported, started=boots[0].started, boots=tuple(boots),
        next=boots[-1].asked, cannot=box.cannot, spares=tuple(box.spares), settings=dict(box.settings))
