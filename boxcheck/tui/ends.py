"""When a run comes to its end: by its plan, or by what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boxcheck.checks.wording import clock
from boxcheck.engine.progress import place_of
from boxcheck.store.rows import Phase, step_seconds, steps_of
from boxcheck.tui.frame import Frame


def planned_seconds(plan: Mapping[str, Any], phases: Sequence[Phase]) -> float | None:
    """The age that a run is to reach, by a plan as a store has it; None where it does not say. The time of a watch
    counts from when its instruments were read."""
    whole = sum(map(step_seconds, steps_of(plan)))
    lasting = plan.get("lasting_seconds")
    if not whole and isinstance(lasting, (int, float)):
        begun = phases[0].started if phases else None
        whole = (begun.seconds if begun else 0.0) + float(lasting)
    return whole or None


def planned_again(plan: Mapping[str, Any], phases: Sequence[Phase], now: float) -> float | None:
    """The same of a run that was gone on with: its age now and what is left of its steps, however long it stood."""
    steps = steps_of(plan)
    lengths = [step_seconds(one) for one in steps]
    if not sum(lengths):
        return planned_seconds(plan, phases)
    at, since, _ = place_of(phases, [str(one.get("name", "")) for one in steps])
    here = max(0.0, lengths[at] - max(0.0, now - since)) if at >= 0 else 0.0
    return now + here + sum(lengths[at + 1:])


def until(plan: Mapping[str, Any]) -> str:
    """`until the command ends`: what a run without a planned length waits for; empty where it says nothing of it."""
    said = plan.get("until")
    return f"until {said}" if isinstance(said, str) and said else ""


def left(frame: Frame) -> str:
    """Of a watch for a time, how much of it is left; empty for all else."""
    if frame.over or frame.kind != "watch" or frame.planned_seconds is None:
        return ""
    seconds = frame.planned_seconds - frame.seconds
    return f"{clock(seconds)} left" if seconds > 0 else "its time is over; doctor looks once more"
