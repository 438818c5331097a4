"""Stored runs for people: the list, as wide as the terminal, and one run with its phases and events. And as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from boxcheck.checks.wording import clock
from boxcheck.checks.wording import duration as words
from boxcheck.report import run_times
from boxcheck.store.listing import RunEntry
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Event, Phase, step_seconds, steps_of
from boxcheck.store.texts import plain_line

SCHEMA = "boxcheck.stored-run/1"
SHOWN_EVENTS = 20
LEAST_LAST = 16
"""Columns that the last, which is cut off where it is too long, has at least before others are left out."""
Column = tuple[str, int, Callable[[RunEntry], str]]
"""Head, rank (the highest are left out first), and what it shows."""


def size(number: int) -> str:
    """`640 kB`, `12 MB`."""
    return f"{number / 1e6:.0f} MB" if number >= 9.5e6 else f"{number / 1e6:.1f} MB" if number >= 1e6 else (
        f"{number / 1e3:.0f} kB")


def stamp(seconds: float) -> str:
    """UTC, `-` for what no calendar has: a clock may have been anywhere."""
    return run_times.stamp(seconds, "%Y-%m-%d %H:%M", "-")


def _took(one: RunEntry) -> str:
    return words(max(0.0, one.finished - one.started)) if one.finished is not None else "-"


COLUMNS: Sequence[Column] = (
    ("run", 0, lambda one: plain_line(one.id)),
    ("began (UTC)", 3, lambda one: stamp(one.started)),
    ("took", 2, _took),
    ("state", 0, lambda one: one.state),
    ("outcome", 0, lambda one: one.outcome or "-"),
    ("profile", 1, lambda one: one.profile or "-"),
    ("size", 2, lambda one: size(one.bytes)),
    ("box", 3, lambda one: one.box or "-"),
)


def _last(one: RunEntry) -> str:
    told = plain_line(one.trouble or one.phase or "")
    return told.removeprefix(plain_line(one.path)).removeprefix(":").strip()


def list_lines(entries: Sequence[RunEntry], columns: int) -> Iterator[str]:
    """A line a run, none longer than `columns`: what does not fit is left out, by rank, and the last thing, what the
    run is at or why it cannot be read, is cut off."""
    shown = [one for one in COLUMNS if one[0] != "box" or any(entry.box for entry in entries)]
    tables = [[head, *map(show, entries)] for head, _, show in shown]
    widths = [max(map(len, table)) for table in tables]
    last = ["", *map(_last, entries)]
    least = min(LEAST_LAST, max(map(len, last)))
    chosen: list[int] = []
    for most in (3, 2, 1, 0):
        chosen = [at for at, (_, rank, _) in enumerate(shown) if rank <= most]
        if sum(widths[at] + 2 for at in chosen) + least <= columns:
            break
    for row in range(len(entries) + 1):
        line = "".join(f"{tables[at][row]:<{widths[at]}}  " for at in chosen) + last[row]
        yield (line if len(line) <= columns else f"{line[:max(0, columns - 3)]}...").rstrip()


def run_object(reader: RunReader) -> dict[str, Any]:
    """All of a run but its records, as `boxcheck runs show --json` has it."""
    run, verdict = reader.run(), reader.verdict()
    plain = msgspec.to_builtins
    return {
        "schema": SCHEMA, "path": run.path, "state": run.state, **plain(run.info),
        "started": run.started, "end": plain(run.end), "salvaged": plain(run.salvaged),
        "verdict": None if verdict is None else {
            "outcome": verdict.outcome.value, "reason": verdict.reason, "counts": dict(verdict.counts)},
        "phases": [_phase_object(one) for one in reader.phases()],
        "sessions": [plain(one) for one in run.sessions],
        "events": [plain(one) for one in reader.events()],
        "attachments": list(reader.attachments()),
    }


def _phase_object(one: Phase) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(one.plan), "state": one.state, "doing": one.doing,
        **{name: moment.seconds if moment else None
           for name, moment in (("about", one.about), ("started", one.started), ("ended", one.ended))},
        "outcome": one.end.outcome if one.end else None,
        "samples": one.end.samples if one.end else None, "readings": one.end.readings if one.end else None}


def run_lines(reader: RunReader, every_event: bool = False) -> Iterator[str]:
    """A run for people: what it is, its phases with their outcome and times, sessions, the last events."""
    run, phases, events = reader.run(), reader.phases(), list(reader.events())
    info, end = run.info, run.end
    profile = f", profile {info.profile.name} r{info.profile.revision}" if info.profile else ""
    yield f"run {info.id}: {info.kind} by boxcheck {info.version}{profile}"
    yield f"  {plain_line(run.path)}"
    yield f"  began {stamp(run.started)} UTC{f' on {info.box or info.host}' if info.box or info.host else ''}"
    verdict = f", verdict {end.outcome}" if end and end.outcome else ""
    reason = f": {end.reason}" if end and end.reason else ""
    yield f"  {run.state}{f' after {words(end.at.seconds)}' if end else ''}{verdict}{reason}"
    if run.salvaged is not None:
        yield f"  saved from a damaged store{_lack(run.salvaged)}"
    yield from _plan_lines(info.plan, phases)
    for one in phases:
        begun = f"{clock(one.about.seconds)}" if one.about else "-"
        took = words(one.ended.seconds - one.about.seconds) if one.ended and one.about else "-"
        outcome = (one.end.outcome if one.end else None) or "-"
        cut = f"  it was at: {one.doing}" if one.state == "cut" and one.doing else ""
        module = one.plan.module if one.plan.module != one.plan.name else ""
        yield (f"  {one.plan.number:>3}  {one.plan.name:<16}{module:<12}{begun:>9}  {took:>12}"
               f"  {one.state:<8}{outcome}{cut}").rstrip()
    if len(run.sessions) > 1:
        yield "sessions"
        for session in run.sessions:
            yield (f"  {session.number:>3}  {stamp(session.began.wall)}  at {clock(session.began.seconds)}, process "
                   f"{session.pid}, boxcheck {session.version}, boot {session.boot or '-'}")
    shown = events if every_event else events[-SHOWN_EVENTS:]
    if shown:
        left = len(events) - len(shown)
        yield "events" + (f", the last {len(shown)} of {len(events)} (-v shows all)" if left else "")
        yield from map(_event_line, shown)


def _plan_lines(plan: Any, phases: Sequence[Phase]) -> Iterator[str]:
    steps = steps_of(plan)
    if not steps:
        return
    yield f"plan {plan.get('name', '')}: {words(sum(map(step_seconds, steps)))}, {len(steps)} steps"
    begun = {one.plan.name for one in phases}
    left = [name for one in steps if (name := str(one.get("name"))) not in begun]
    if left:
        yield f"  not begun: {', '.join(left)}"


def _event_line(one: Event) -> str:
    return f"  {clock(one.at.seconds)}  {one.severity:<5} {one.subject or 'box':<14} {one.says}".rstrip()


def _lack(salvaged: Any) -> str:
    missing = salvaged.get("missing") if isinstance(salvaged, dict) else None
    told = ", ".join(f"{number} {name}" for name, number in missing.items()) if isinstance(missing, dict) else ""
    return f"; missing: {told}" if told else ", nothing is missing"
