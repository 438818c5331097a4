"""Which events of a run mean that it fails, before its phases are judged: those that the checks fail for.

Other events of severity fail are faults of boxcheck's own, or say that something was not looked at; they prove nothing
about a box."""

from __future__ import annotations

from collections.abc import Mapping

from boxcheck.engine.told_troubles import WORKER
from boxcheck.profile import Profile
from boxcheck.registry import selected
from boxcheck.store.rows import Event
from boxcheck.stress.happenings import Source, happening_of
from boxcheck.stress.judging import PROVEN_BAD

FAILING = frozenset((
    "wrong-result", "safety-stop", "device-left", "device-dead", "driver-left", "gpu-lost",
    *(f"{WORKER}{kind}" for kind in PROVEN_BAD)))
"""Kinds that fail wherever their severity is fail: by the checks of results, `safety.limits`, `burn.devices` and
`stress.completed`."""
JUDGED_BY: Mapping[Source, str] = {"log": "burn.log", "memory": "burn.memory-errors"}
"""Checks of what happened around a run, whose kinds are as many as the kernel has. Devices are named above."""


def fails(event: Event, want: Profile) -> bool:
    """Whether a check fails for it that the profile asks for."""
    if event.severity != "fail":
        return False
    if event.kind in FAILING:
        return True
    happening = happening_of(event.kind, event.says, event.severity, event.data)
    check = JUDGED_BY.get(happening.detail.source) if happening is not None else None
    return check is not None and not selected(want.advisory, check)
