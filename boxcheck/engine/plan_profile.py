"""A profile against the box and the stress modules, before a burn-in is planned by it."""

from __future__ import annotations

from collections.abc import Sequence

from boxcheck.engine.inspect import Facts
from boxcheck.engine.plan import HOST, WARM_UP
from boxcheck.profile import Profile
from boxcheck.profile_detect import against, signs_of
from boxcheck.store.texts import plain_line
from boxcheck.stress.options import wrong_option
from boxcheck.usage import UsageError


def refuse_other_box(want: Profile, facts: Facts) -> None:
    """UsageError where something that was read says that this is not the profile's box. A card that is missing does
    not: that is a fault of the box, which doctor finds."""
    if words := against(signs_of(facts), want):
        raise UsageError(
            f"{want.name} is the profile of another box: {'; '.join(words)}",
            "boxcheck profile detect says which one this is; --force-profile takes this one all the same")


def forced(want: Profile, facts: Facts) -> str:
    """What says that this is not the profile's box, where `--force-profile` has it taken all the same; empty where
    nothing does."""
    return plain_line("; ".join(against(signs_of(facts), want)))


def why_forced(why: str, forced: str) -> str:
    """Why a profile is judged by, with what it was forced against."""
    return f"{why}, by --force-profile, although {forced}" if forced else why


def refuse_options(want: Profile) -> None:
    """UsageError for an option in [burn.options] that the phase does not take."""
    for phase, options in want.burn.options.items():
        for key, value in options.items():
            wrong = wrong_option(modules_of(phase), key, value)
            if wrong is not None:
                says, help = wrong
                raise UsageError(f"profile {want.name}, [burn.options] {phase}: {says}", help)


def modules_of(phase: str) -> Sequence[str]:
    """Stress modules of a phase."""
    return {"everything": ("matmul", *HOST), WARM_UP: ("matmul",), "cool-down": ()}.get(phase, (phase,))
