"""What the TAB key offers: ids of checks, profiles, stress modules. From boxcheck itself; no hardware is touched."""

from __future__ import annotations


def check_ids(begun: str) -> list[str]:
    """Ids of the checks that doctor makes, those that begin so; areas too, while no dot was typed. Checks of stress
    modules judge what those measured; doctor measures nothing."""
    from boxcheck.registry import CHECKS, discover

    discover()
    found = {id: check.area for id, check in CHECKS.items() if check.stress is None}
    areas = [] if "." in begun else sorted(set(found.values()))
    return [word for word in (*areas, *sorted(found)) if word.startswith(begun)]


def whole_ids(begun: str) -> list[str]:
    """Ids that begin so, without the areas: `explain` takes one check."""
    from boxcheck.registry import CHECKS, discover

    discover()
    return [id for id in sorted(CHECKS) if id.startswith(begun)]


def profile_names(begun: str) -> list[str]:
    """Profiles of boxcheck's own; where none begins so, the shell offers files."""
    from boxcheck.profile import shipped_profiles

    return [name for name in shipped_profiles() if name.startswith(begun)]


def stress_names(begun: str) -> list[str]:
    """Stress modules that begin so."""
    from boxcheck.registry import STRESSES, discover_stress

    discover_stress()
    return [name for name in (*sorted(STRESSES), "all") if name.startswith(begun)]


def slot_names(begun: str) -> list[str]:
    """Slots that boxcheck's profiles name, and experiments of this user that go on: no hardware is asked."""
    import os

    from boxcheck.profile import load_profile, shipped_profiles
    from boxcheck.riser.notebook import every

    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    folder = os.path.join(state, "boxcheck", "riser")
    kept = list(every(folder)) if os.path.isdir(folder) else []
    names = {one.notebook.slot for one in kept} | {one.notebook.id for one in kept if not one.closed}
    for profile in shipped_profiles():
        names |= {slot.label for slot in load_profile(profile).slots}
    return sorted(name for name in names if name.startswith(begun))
