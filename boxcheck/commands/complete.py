"""What the TAB key offers: ids of checks, profiles, stress modules, slots, runs.

From boxcheck itself and from the names of files that it keeps; no hardware is touched, no store opened, no folder
made.
"""

from __future__ import annotations

import os


def check_ids(begun: str) -> list[str]:
    """Ids of the checks that doctor makes, those that begin so; areas and rows of its account too, while no dot was
    typed. Checks of stress modules judge what those measured; doctor measures nothing."""
    from boxcheck.account import AREAS
    from boxcheck.registry import CHECKS, discover

    discover()
    found = {id: check.area for id, check in CHECKS.items() if check.stress is None}
    areas = [] if "." in begun else sorted({*found.values(), *AREAS})
    return [word for word in (*areas, *sorted(found)) if word.startswith(begun)]


def whole_ids(begun: str) -> list[str]:
    """What `explain` takes and begins so: ids of checks without the areas, rules of triage, terms of the glossary."""
    from boxcheck.commands.glossary import TERMS
    from boxcheck.registry import CHECKS, discover

    discover()
    words = [*CHECKS, *TERMS]
    if begun.startswith("triage."):
        from boxcheck.triage.rules import RULES
        from boxcheck.triage.rules import discover as discover_rules

        discover_rules()
        words += [f"triage.{rule}" for rule in RULES]
    return [word for word in sorted(words) if word.startswith(begun)]


def event_kinds(begun: str) -> list[str]:
    """Kinds of events that triage finds, those that begin so."""
    from boxcheck.triage.kinds import ALL_KINDS

    return [kind for kind in sorted(ALL_KINDS) if kind.startswith(begun)]


def profile_names(begun: str) -> list[str]:
    """Profiles of boxcheck's own; where none begins so, the shell offers files."""
    from boxcheck.profile import shipped_profiles

    return [name for name in shipped_profiles() if name.startswith(begun)]


def stress_names(begun: str) -> list[str]:
    """Stress modules that begin so."""
    from boxcheck.registry import STRESSES, discover_stress

    discover_stress()
    return [name for name in (*sorted(STRESSES), "all") if name.startswith(begun)]


def phases(begun: str) -> list[str]:
    """Phases of a burn-in that begin so."""
    from boxcheck.engine.plan import SHARES

    return [phase for phase in SHARES if phase.startswith(begun)]


def faults(begun: str) -> list[str]:
    """Faults that can be put in, those that begin so."""
    from boxcheck.stress import FAULTS

    return [fault for fault in FAULTS if fault.startswith(begun)]


def run_names(begun: str) -> list[str]:
    """Runs of this user that begin so, by the names of their stores, and `last`."""
    from boxcheck.store.schema import SUFFIX

    names = [name.removesuffix(SUFFIX) for name in _kept("runs") if name.endswith(SUFFIX)]
    return [name for name in (*sorted(names, reverse=True), *(["last"] if names else [])) if name.startswith(begun)]


def slot_names(begun: str) -> list[str]:
    """Slots that boxcheck's profiles name, and experiments of this user that go on."""
    from boxcheck.profile import load_profile, shipped_profiles

    names: set[str] = set()
    if _kept("riser"):
        from boxcheck.riser.notebook import every

        for one in every(_folder("riser")):
            names |= {one.notebook.slot} if one.closed else {one.notebook.slot, one.notebook.id}
    for profile in shipped_profiles():
        names |= {slot.label for slot in load_profile(profile).slots}
    return sorted(name for name in names if name.startswith(begun))


def _folder(name: str) -> str:
    """As boxcheck.engine.record has it for a user who is not under sudo."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "boxcheck", name)


def _kept(name: str) -> list[str]:
    """Names of the files in a folder of what is kept; none where it is not there."""
    try:
        return os.listdir(_folder(name))
    except OSError:
        return []
