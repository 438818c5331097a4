"""How long the load of an acceptance is, by the profile or as somebody asked for it."""

from __future__ import annotations

import msgspec

from boxcheck.checks.wording import duration as words
from boxcheck.engine.agreed_load import LEVEL, asked_seconds, least_seconds
from boxcheck.engine.plan import LEVEL_SECONDS, duration
from boxcheck.profile import Profile
from boxcheck.usage import UsageError


class Load(msgspec.Struct, frozen=True):
    seconds: float
    planned: str
    """`1 h (level 3)`."""
    shortened: str
    """How that is less than the profile asks for; empty where it is not."""


def load_of(want: Profile, level: int | None, lasting: str | None) -> Load:
    """By `--level` or `--for` where one is given. UsageError where both are, or the time is none."""
    if level is not None and lasting is not None:
        raise UsageError("--level and --for exclude each other", "say one of them")
    if lasting is not None:
        seconds, name = duration(lasting), "--for"
    elif level is not None:
        seconds, name = LEVEL_SECONDS[level], f"level {level}"
    else:
        seconds = asked_seconds(want)
        name = f"profile {want.name}" if want.burn.acceptance_seconds else f"level {LEVEL}"
    least = least_seconds(want)
    shortened = f"{words(seconds)} instead of {words(least)}" if seconds < least else ""
    return Load(seconds, f"{words(seconds)} ({name})", shortened)
