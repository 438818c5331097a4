"""The links of one burn-in, from its first phase to its last: what crossed them, what was counted, what that shows.

A run keeps it as it goes; `judge_stored` makes the same of a store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from boxcheck.engine import until_ber
from boxcheck.engine.boundaries import Recorder, stored
from boxcheck.engine.inspect import Facts
from boxcheck.engine.plan import Step
from boxcheck.gpu import GpuInfo
from boxcheck.model import Crash, Finding
from boxcheck.profile import Profile
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.results import gpus_of, results_of, watching_of
from boxcheck.store.rows import Phase, steps_of
from boxcheck.store.writer import RunWriter
from boxcheck.stress import StressResults
from boxcheck.stress.link_ledger import Ledger
from boxcheck.stress.watched import Watching

PROGRESS = "bit-errors"
"""Kind of the events that tell how far `--until-ber` has come."""


class LinkCourse:
    """As the run goes."""

    def __init__(self, store: RunWriter, gpus: Sequence[GpuInfo], facts: Facts, steps: Sequence[Step]) -> None:
        self._store = store
        self._ledger = Ledger(until_ber.map_of(gpus, facts))
        self._counters = Recorder(store, gpus)
        self._ber = next((step.ber for step in steps if step.ber is not None), None)
        self._counters.take("")

    def take_over(self) -> None:
        """What the store holds of before, of a run that is gone on with. Where it cannot be read, neither the bits of
        that time count nor its errors; the findings of its phases are in the verdict all the same."""
        try:
            with RunReader(self._store.path) as reader:
                for phase in reader.phases():
                    if phase.plan.module:
                        enter(self._ledger, phase, results_of(reader, phase.plan.number, only_judged=True),
                              watching_of(reader, phase.plan.number))
        except StoreError as error:
            self._store.event(PROGRESS, f"what crossed the links before is not known: {error}", severity="warn")

    def add(self, results: StressResults, watching: Watching) -> None:
        self._ledger.add(results, watching)

    def boundary(self, after: str, phase: int) -> None:
        """A phase has ended."""
        self._counters.take(after, phase)

    def until_ber(
        self, step: Step, number: int, load: Callable[[Step], None], stopping: Callable[[], bool]
    ) -> None:
        """The rounds of the step whose phase has this number."""

        def say(says: str) -> None:
            self._store.event(PROGRESS, says, phase=number)

        say(until_ber.rounds(step, self._ledger, load=load, stopping=stopping, say=say))

    def judged(self, want: Profile, crashes: list[Crash]) -> list[Finding]:
        """What is judged once; kept in the store."""
        # Of a run that was gone on with, the boundaries of before are in the store alone.
        self._store.flush()
        try:
            with RunReader(self._store.path) as reader:
                counters = stored(reader)
        except StoreError:
            counters = self._counters.result()
        found = until_ber.judge_links(self._ledger, self._ber, counters, want, crashes)
        self._store.findings(0, found)
        return found


def judge_stored(
    reader: RunReader, every: Iterable[tuple[Phase, StressResults, Watching]], facts: Facts, want: Profile,
    crashes: list[Crash],
) -> list[Finding]:
    """The same from a store."""
    every = list(every)
    ledger = ledger_of([phase for phase, _, _ in every], facts)
    for phase, results, watching in every:
        enter(ledger, phase, results, watching)
    return judge_ledger(reader, ledger, want, crashes)


def enter(ledger: Ledger, phase: Phase, results: StressResults, watching: Watching) -> None:
    """Of a phase that was cut off its errors alone count."""
    if phase.end is not None:
        ledger.add(results, watching)
    else:
        ledger.add_cut(results, watching)


def ledger_of(phases: Iterable[Phase], facts: Facts) -> Ledger:
    """An empty one of the links above the devices of the phases."""
    gpus = {info.key: info for phase in phases if phase.plan.module for info in gpus_of(phase)}
    return Ledger(until_ber.map_of(tuple(gpus.values()), facts))


def judge_ledger(reader: RunReader, ledger: Ledger, want: Profile, crashes: list[Crash]) -> list[Finding]:
    return until_ber.judge_links(ledger, asked(reader.run().info.plan), stored(reader), want, crashes)


def asked(plan: Any) -> float | None:
    """The bit error rate that a stored plan asks for."""
    for step in steps_of(plan):
        ber = step.get("ber")
        if isinstance(ber, float):
            return ber
    return None

