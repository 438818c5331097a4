"""What went wrong with a worker or with boxcheck itself, in the store as soon as it is known: a step may go on for
hours, and what is only said at its end dies with the engine. Read back by whoever judges a phase that has no end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from boxcheck.engine.messages import Watched
from boxcheck.engine.supervise import Told
from boxcheck.model import Crash
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Event, Severity
from boxcheck.store.writer import RunWriter
from boxcheck.stress import Sample, Trouble
from boxcheck.stress.judging import PROVEN_BAD
from boxcheck.stress.whole_checks import of_the_gpu

WORKER = "worker-"
"""Kinds of events begin with it that tell of a trouble; its own kind follows."""
BROKE = "boxcheck-broke"
"""Kind of the events that tell of a fault of boxcheck's own which no judging again would meet: in a probe of doctor."""


class Telling:
    """Of the phases of one step. Load waits for no disk."""

    def __init__(self, store: RunWriter, stop: Callable[[str], None] | None) -> None:
        """`stop`: to be called at the first error; None where the run goes on."""
        self._store, self._stop = store, stop
        self._told: list[tuple[int, Trouble]] = []

    def heard(self, phase: int, worker: int, what: Told) -> None:
        """Whatever a worker said goes into the store."""
        match what:
            case Watched(readings):
                self._store.watched(phase, readings)
            case Sample():
                self._store.sample(phase, what, worker=worker)
                if what.wrong:
                    self._wrong(phase, what)
            case Trouble():
                self.trouble(phase, what)

    def _wrong(self, phase: int, what: Sample) -> None:
        self._store.event(
            "wrong-result", f"{what.what}: {what.wrong} wrong of {what.checked} {what.of}", severity="fail",
            subject=what.gpu, phase=phase, data={"wrong": what.wrong, "checked": what.checked}, wait=False)
        if self._stop is not None and of_the_gpu(what):
            self._stop("a result was wrong, and --on-error is stop")

    def trouble(self, phase: int, what: Trouble) -> None:
        """Once, however often it is said."""
        if (phase, what) in self._told:
            return
        self._told.append((phase, what))
        severity: Severity = "warn" if what.kind == "stopped" else "fail"  # who is told to end is not at fault
        self._store.event(
            f"{WORKER}{what.kind}", what.says, severity=severity, subject=", ".join(what.gpus), phase=phase,
            data=msgspec.to_builtins(what), wait=False)
        if self._stop is not None and what.kind in PROVEN_BAD:
            self._stop(f"a worker failed ({what.kind}), and --on-error is stop")


def troubles_in(reader: RunReader, phase: int) -> tuple[Trouble, ...]:
    """Those that the store holds of a phase."""
    return tuple(_trouble(event) for event in reader.events(phase=phase) if event.kind.startswith(WORKER))


def _trouble(event: Event) -> Trouble:
    try:
        return msgspec.convert(event.data, Trouble)
    except msgspec.ValidationError:  # of a store from before it was kept whole
        gpus = tuple(filter(None, event.subject.split(", ")))
        return Trouble(gpus=gpus, module="", kind=event.kind.removeprefix(WORKER), says=event.says)


def keep_crashes(store: RunWriter, phase: int, crashes: Sequence[Crash]) -> None:
    """Of doctor, or of what was read before the load: no store holds what they broke on."""
    for one in crashes:
        store.event(BROKE, f"boxcheck itself broke in {one.where}", severity="fail", phase=phase, data={
            "where": one.where, "traceback": one.traceback})


def crashes_in(reader: RunReader, phases: Collection[int]) -> list[Crash]:
    """Those of the phases named; 0: of none."""
    found = []
    for event in reader.events():
        if event.kind == BROKE and event.phase in phases:
            data = event.data if isinstance(event.data, dict) else {}
            found.append(Crash(str(data.get("where", event.says)), str(data.get("traceback", ""))))
    return found
