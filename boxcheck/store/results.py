"""What a phase gave, from the store alone: results and readings summed up, as the checks judge them.

Where a part is missing, because the run was cut off or a disk was full, the results say so in a way that nothing can
pass: devices that did not end, or a trouble.
"""

from __future__ import annotations

import gc
from bisect import bisect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.store.blocks import column_of
from boxcheck.store.reader import READINGS, RunReader
from boxcheck.store.rebuild import Link, Rows, Stream, columns_of, link_readings, links_in
from boxcheck.store.rows import Phase, PhaseStart, RunState
from boxcheck.store.samples import Samples
from boxcheck.stress import Sample, StressResults, Trouble
from boxcheck.telemetry.readings import GpuReading, Reading

if TYPE_CHECKING:
    from boxcheck.stress.tally import Watching
    from boxcheck.stress.tally_columns import ColumnTally

SUMMED_UP = frozenset((
    "power_watts", "power_instant_watts", "temperatures_celsius", "throttle", "memory_errors", "state", "why"))
"""Fields that boxcheck.stress.tally.Tally looks at. A day has a million readings, and the others take most of the
time; a test holds this against a Tally that is given everything."""
NOT_JUDGED = frozenset((
    "verify_percent", "verified_percent", "verify_seconds", "of_copy_percent", "product_seconds"))
"""Notes that no check, no table and no figure looks at, and that are others in each sample: without them most notes are
one object. A test looks for their names in whatever judges."""
Seen: TypeAlias = Callable[[Rows], None]
"""Gets every piece of records while it is summed up, so that who draws them need not read them once more."""
INCOMPLETE = "incomplete"
"""Kind of the trouble of a phase of which records are missing."""


def results_of(
    run: RunReader, number: int, *, only_judged: bool = False, seen: Seen | None = None,
    wanted: Callable[[Stream], bool] | None = None,
) -> StressResults:
    """The results of a phase, with all its samples, those of the first worker first. `only_judged`: for who
    judges, and reads what the instruments showed as well: without NOT_JUDGED, in less time and memory. `wanted`: the
    samples of these streams alone, for who has seen the others by their columns."""
    database = run.database
    with database.snapshot(), no_collections():
        state, phase = run.run().state, run.phase(number)
        samples, count = _samples(run, number, NOT_JUDGED if only_judged else (), seen, wanted)
        readings = database.count_records(READINGS, number, proven=not only_judged)
    start = phase.start or PhaseStart()
    ended = phase.end.results if phase.end else None
    if ended is None:
        base = StressResults(
            module=phase.plan.module, gpus=start.gpus, slots=start.slots, samples=(), troubles=(), ended=(),
            injected=start.injected, full_size=start.full_size, warm_up=start.warm_up)
    else:
        # The start says it as well: a fault that was put in counts whichever of the two records still tells of it.
        base = msgspec.structs.replace(ended, injected=ended.injected or start.injected)
    says = _missing(phase, state, count, readings)
    if says is None:
        return msgspec.structs.replace(base, samples=samples)
    trouble = Trouble(gpus=tuple(info.key for info in base.gpus), module=base.module, kind=INCOMPLETE, says=says)
    return msgspec.structs.replace(base, samples=samples, troubles=(*base.troubles, trouble), ended=())


def _missing(phase: Phase, state: RunState, samples: int, readings: int) -> str | None:
    """What the phase lacks, as a clause; None where all is there, or is still to come."""
    if phase.end is None:
        if phase.state == "running" and state == "running":
            return None
        doing = f" ({phase.doing})" if phase.doing else ""
        return f"boxcheck or the machine went down while it ran{doing}" if phase.state == "cut" else "it was not begun"
    if samples < phase.end.samples:
        return f"{phase.end.samples - samples} of {phase.end.samples} samples are missing in the store"
    if readings < phase.end.readings:
        return f"{phase.end.readings - readings} of {phase.end.readings} readings are missing in the store"
    return None


@contextmanager
def no_collections() -> Iterator[None]:
    """A million samples without a cycle among them: looking for cycles time and again takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _samples(
    run: RunReader, number: int, but: Collection[str], seen: Seen | None, wanted: Callable[[Stream], bool] | None,
) -> tuple[tuple[Sample, ...], int]:
    """Samples, and how many there are with those that were not wanted."""
    made, by_worker, count = Samples(), dict[int, list[Sample]](), 0
    with run.guarded("samples"):
        for minute in run.database.records(("sample",), number):
            streams: dict[int, list[Rows]] = {}
            for rows in minute:
                if seen is not None:
                    seen(rows)
                count += len(rows.numbers)
                if wanted is None or wanted(rows.stream):
                    streams.setdefault(made.head(rows.stream).worker, []).append(rows)
            for worker, some in streams.items():
                by_worker.setdefault(worker, []).extend(_in_order(made, some, but))
    return tuple(chain.from_iterable(by_worker[worker] for worker in sorted(by_worker))), count


def _in_order(made: Samples, streams: Sequence[Rows], but: Collection[str]) -> Iterable[Sample]:
    """Samples of several streams by their numbers."""
    samples = [sample for rows in streams for sample in made.of(rows, but)]
    numbers = [number for rows in streams for number in rows.numbers]
    if sorted(numbers) == numbers:
        return samples
    return [samples[place] for place in sorted(range(len(samples)), key=numbers.__getitem__)]


def gpus_of(phase: Phase) -> tuple[GpuInfo, ...]:
    """The devices that a phase ran on, or should have."""
    if phase.end is not None and phase.end.results is not None:
        return phase.end.results.gpus
    return phase.start.gpus if phase.start is not None else ()


def watching_of(
    run: RunReader, number: int, gpus: tuple[GpuInfo, ...] | None = None, seen: Seen | None = None
) -> Watching:
    """What the instruments showed during a phase, summed up by the same code as while it ran. Readings of links that
    showed what they had shown before are left out, but for the last: counters are judged by their growth."""
    from boxcheck.stress.tally_columns import ColumnTally

    tally, links = ColumnTally(gpus_of(run.phase(number)) if gpus is None else gpus), _Links(run)
    for minute in run.database.records(READINGS, number):
        for rows in minute:
            if seen is not None:
                seen(rows)
            if rows.stream.kind in ("gpu", "silent") and not _summed_up(run, rows, tally):
                tally.add([reading for _, reading in run.read_rows(rows, SUMMED_UP)])
        tally.add(links.changed([rows for rows in minute if rows.stream.kind == "links"]))
    tally.add(links.last())
    return tally.result()


def _summed_up(run: RunReader, rows: Rows, tally: ColumnTally) -> bool:
    """Whether readings of a GPU were added by their columns; one by one they take five times as long."""
    if rows.stream.kind != "gpu":
        return False
    with run.guarded("readings"):
        columns = columns_of(rows, GpuReading, SUMMED_UP)
        return columns is not None and tally.add_columns(rows.stream.subject, rows.seconds(), columns)


class _Links:
    """Finds the readings of links that differ from those before. Several workers read the same link."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._shown: dict[str, tuple[int, list[object]]] = {}
        """By address: what it showed last, where that was the same for a minute; and in which stream's columns."""
        self._last: dict[str, tuple[int, Link, Rows]] = {}
        """The reading that came last: its number, and the records that it is the last of."""
        self._given: dict[str, int] = {}
        """Number of the last one that was given out."""

    def changed(self, minute: list[Rows]) -> list[Reading]:
        found: list[tuple[int, Reading]] = []
        for rows in minute:
            with self._run.guarded("links"):
                moving = sorted(rows.others)
                for link in links_in(rows.stream.columns):
                    found += self._of_link(link, rows, moving[bisect(moving, link.begin - 1):bisect(
                        moving, link.end - 1)])
        found.sort(key=lambda one: one[0])
        return [reading for _, reading in found]

    def _of_link(self, link: Link, rows: Rows, moving: list[int]) -> list[tuple[int, Reading]]:
        end = len(rows.numbers) - 1
        if link.bdf not in self._last or self._last[link.bdf][0] < rows.numbers[end]:
            self._last[link.bdf] = (rows.numbers[end], link, rows)
        if moving:
            self._shown.pop(link.bdf, None)
            columns = [column_of(rows.column(place), end + 1) for place in moving]
            where = sorted({0, end, *(row for row in range(1, end + 1) if any(
                column[row] != column[row - 1] for column in columns))})
        else:
            still = (rows.stream.number, rows.constants[link.begin:link.end])
            if self._shown.get(link.bdf) == still:
                return []
            self._shown[link.bdf], where = still, [0]
        readings = link_readings(link, rows, where)
        self._given[link.bdf] = max(self._given.get(link.bdf, 0), rows.numbers[where[-1]])
        return [(rows.numbers[row], reading) for row, reading in zip(where, readings, strict=True)]

    def last(self) -> list[Reading]:
        """The last reading of each, where it was not given out."""
        return [
            reading for bdf, (number, link, rows) in sorted(self._last.items()) if self._given[bdf] < number
            for reading in link_readings(link, rows, [len(rows.numbers) - 1])]
