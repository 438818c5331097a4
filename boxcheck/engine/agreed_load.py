"""The load that an acceptance by a profile takes, against the load that a run was: an attempt that is judged by another
profile passes only where it was put under the load which that one asks for, as certify by it would have."""

from __future__ import annotations

from boxcheck.checks.wording import duration
from boxcheck.engine.kept_profile import kept_profile
from boxcheck.engine.plan import AS_PROFILE, LEVEL_SECONDS
from boxcheck.engine.wholeness import Lacks, as_part, plan_in
from boxcheck.model import Verdict
from boxcheck.profile import Profile
from boxcheck.store.reader import RunReader

LEVEL = 3
"""What a profile that says nothing gets: an hour."""
ROUNDING = 0.999


def asked_seconds(want: Profile) -> float:
    """How long `certify` by that profile puts load on a box."""
    return want.burn.acceptance_seconds or LEVEL_SECONDS[LEVEL]


def least_seconds(want: Profile) -> float:
    """The shortest load that still is an acceptance by that profile."""
    asked = asked_seconds(want)
    return min(want.burn.acceptance_least_seconds or asked, asked)


def short_of(reader: RunReader, want: Profile) -> tuple[str, ...]:
    """What the load of a run lacks for an acceptance by that profile, a clause each; nothing where it is enough."""
    plan = plan_in(reader.run().info.plan)
    if plan is None:
        return ("the store does not hold what was planned",)
    least, found = least_seconds(want), []
    if plan.seconds < least * ROUNDING:
        found.append(f"the load was planned for {duration(plan.seconds)}, and {want.name} asks for {duration(least)}")
    left_out = [phase for phase, why in plan.left_out.items() if why.startswith(AS_PROFILE) and (
        phase not in want.burn.left_out)]
    if left_out:
        found.append(f"{', '.join(left_out)} {'was' if len(left_out) == 1 else 'were'} left out, which {want.name} "
                     f"does not leave out")
    kept = kept_profile(reader)
    if kept is not None and (kept.burn.shares, kept.burn.options) != (want.burn.shares, want.burn.options):
        found.append(f"its phases had other shares or options than {want.name} gives them in [burn]")
    return tuple(found)


def as_agreed(verdict: Verdict, reader: RunReader, want: Profile) -> Verdict:
    """The verdict on the run of an attempt by a profile that was not its own."""
    return as_part(verdict, Lacks(others=short_of(reader, want)))
