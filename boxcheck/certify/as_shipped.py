"""Whether a profile that has the name and the revision of a shipped one is that one: its hash covers what is judged,
and not the load that an acceptance takes."""

from __future__ import annotations

from boxcheck.profile import BurnWanted, Profile, ProfileError, load_profile, shipped_profiles
from boxcheck.profile_resolve import digest


def not_as_shipped(want: Profile) -> str:
    """What is to be said of it; empty where nothing is."""
    if want.name not in shipped_profiles():
        return ""
    try:
        shipped = load_profile(want.name)
    except ProfileError:
        return ""
    if shipped.revision != want.revision:
        return ""
    other = [word for word, differs in (
        ("limits or required checks", digest(want) != shipped.sha256),
        ("load of an acceptance", _load(want.burn) != _load(shipped.burn))) if differs]
    return f"calls itself {want.name} r{want.revision}, and is not the one that boxcheck ships: " \
           f"other {' and other '.join(other)}" if other else ""


def _load(burn: BurnWanted) -> tuple[object, ...]:
    return (dict(burn.shares), sorted(burn.left_out), {name: dict(one) for name, one in burn.options.items()},
            burn.acceptance_seconds, burn.acceptance_least_seconds)
