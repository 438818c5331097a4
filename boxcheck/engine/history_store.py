"""Figures and comparisons in stores: read from those of earlier runs, made from a store where it has none, kept when a
run ends. A comparison that goes wrong then is an event, and costs the run nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from boxcheck.engine import figures as made
from boxcheck.engine.figures import Figures, PhaseFigures, phase_figures
from boxcheck.engine.history import DOCUMENT, History, compare
from boxcheck.engine.plan import Step
from boxcheck.store.errors import StoreError
from boxcheck.store.listing import list_runs
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from boxcheck.store.rows import Phase, steps_of
from boxcheck.store.schema import SUFFIX
from boxcheck.store.texts import decode_plain
from boxcheck.store.writer import RunWriter
from boxcheck.stress import StressResults
from boxcheck.stress.watched import Watching

KINDS = ("burn", "certify")
"""Kinds of runs that put load on the box by a plan; a store that cannot be read has none."""
ENDED = "finished"
"""Only runs in this state are a measure: what was stopped or went down had another plan than its own."""


def earlier_runs(folder: str, but: str) -> tuple[list[Figures], list[str]]:
    """Figures of the finished runs of a directory, and what could not be used, with the reason. `but`: the id of the
    run that is compared with them. StoreError where the directory cannot be read."""
    found: list[Figures] = []
    left_out: list[str] = []
    unfinished = 0
    for entry in list_runs(folder):
        if entry.id == but or not entry.path.endswith(SUFFIX) or entry.kind not in ("", *KINDS):
            continue
        if entry.trouble is not None:
            left_out.append(f"run {entry.id}: it cannot be read")
        elif entry.state != ENDED:
            unfinished += 1
        else:
            try:
                with RunReader(entry.path) as reader:
                    figures = stored_figures(reader)
            except StoreError:
                left_out.append(f"run {entry.id}: it cannot be read")
                continue
            if figures is None:
                left_out.append(f"run {entry.id}: it holds no figures that this boxcheck reads")
            else:
                found.append(figures)
    if unfinished:
        left_out.append(f"{unfinished} runs that did not come to their end" if unfinished > 1 else
                        "1 run that did not come to its end")
    return found, left_out


def stored_figures(reader: RunReader) -> Figures | None:
    """The figures that a run ended with; None where it has none, or of another form."""
    data = reader.attachment(made.DOCUMENT)
    try:
        return None if data is None else decode_plain(data, Figures)
    except (msgspec.MsgspecError, ValueError):
        return None


def stored_history(reader: RunReader) -> History | None:
    """The comparison that was kept when the run ended."""
    data = reader.attachment(DOCUMENT)
    try:
        return None if data is None else decode_plain(data, History)
    except (msgspec.MsgspecError, ValueError):
        return None


def figures_from(reader: RunReader, known: Mapping[int, PhaseFigures] | None = None) -> Figures:
    """The figures of a run by its store. `known`: of phases by number, for which nothing is read again."""
    run, found = reader.run(), dict(known or {})
    for phase in reader.phases():
        number = phase.plan.number
        if phase.plan.module and number not in found and phase.started is not None:
            found[number] = phase_figures(
                phase.plan.name, results_of(reader, number, only_judged=True), watching_of(reader, number),
                planned_seconds=phase.plan.planned_seconds or 0.0, options=options_of(run.info.plan, phase))
    return Figures(
        run=os.path.basename(reader.path).removesuffix(SUFFIX), started=run.started, version=run.info.version,
        box=run.info.box, phases=tuple(figures for _, figures in sorted(found.items())))


def options_of(plan: Any, phase: Phase) -> dict[str, str]:
    """The options of the step that a phase is of, from the plan in the store."""
    for step in steps_of(plan):
        if step.get("name") == phase.plan.name:
            options = step.get("options")
            return {str(name): str(value) for name, value in options.items()} if isinstance(options, dict) else {}
    return {}


def compare_anew(reader: RunReader, folder: str) -> History:
    """A run beside those of a directory as they are now, whatever it was compared with when it ended."""
    figures = stored_figures(reader) or figures_from(reader)
    return compare(figures, *earlier_runs(folder, figures.run))


class Gathered:
    """The figures of the phases of this session, by number; those of sessions before come from the store."""

    def __init__(self) -> None:
        self._phases: dict[int, PhaseFigures] = {}

    def take(self, number: int, step: Step, results: StressResults, watching: Watching) -> None:
        self._phases[number] = phase_figures(
            step.name, results, watching, planned_seconds=step.seconds, options=step.options)

    def keep(self, store: RunWriter, folder: str) -> History | None:
        """Writes both documents; the comparison, None where it went wrong."""
        try:
            store.flush()
            with RunReader(store.path) as reader:
                now = figures_from(reader, self._phases)
            store.attach(made.DOCUMENT, msgspec.json.encode(now))
            found = compare(now, *earlier_runs(folder, now.run))
            store.attach(DOCUMENT, msgspec.json.encode(found))
        except Exception as error:  # noqa: BLE001  a hint must not cost a run of days its verdict
            store.event(
                "history-failed", f"not compared with earlier runs: {type(error).__name__}: {error}", severity="warn")
            return None
        for one in found.findings:
            if one.outcome.value == "marginal":
                store.event("history", f"{one.subject}: {one.says}", subject=str(one.subject), data={
                    "check": one.check, "outcome": one.outcome.value})
        return found
