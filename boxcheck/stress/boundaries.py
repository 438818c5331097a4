"""Counters between the phases of a run, from its first boundary to its last: what `burn.link-counters` judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from boxcheck.model import Unread
from boxcheck.telemetry.boundary import STANDING, Grown, Snapshot, difference

COUNTERS = "counters"
"""Kind of the event that holds a boundary."""
UNTIL_RESUMED = "the time until it was gone on with"


class Boundary(msgspec.Struct, frozen=True, kw_only=True):
    """One moment between two phases, as an event of a store holds it."""

    after: str
    """Name of the phase that had ended; empty for the first of a run, or of a run that is gone on with."""
    snapshot: Snapshot | None = None
    why: str = ""
    """Why there is no snapshot."""
    boot: str = ""
    """Boot id; empty in stores from before this was kept. Within one boot counters go on, also over sessions."""


class Boundaries(msgspec.Struct, frozen=True, kw_only=True):
    """All boundaries of a run."""

    steps: Mapping[str, Grown] = {}
    """By phase, with a number where several have a name: what grew until it had ended, since the boundary before."""
    missing: tuple[str, ...] = ()
    """Why counters were not read, at a boundary or at all."""
    restarts: tuple[str, ...] = ()
    """For each time that a run was gone on with in another boot, or nobody knows in which: the phase that had ended
    before. What was counted from then on until the machine went down is lost."""

    def total(self, of: str, name: str) -> tuple[int, tuple[str, ...]]:
        """Growth of a counter over all phases, and the phases in which it grew: `2 in copy`."""
        found = {phase: grown.grown.get(of, {}).get(name, 0) for phase, grown in self.steps.items()}
        return sum(found.values()), tuple(f"{number} in {phase}" for phase, number in found.items() if number)

    def uncounted(self) -> tuple[str, ...]:
        """GPUs whose driver counted nothing of their link at any boundary."""
        return tuple(sorted({bdf for grown in self.steps.values() for bdf in grown.uncounted}))

    def of_kind(self, table: str) -> dict[str, dict[str, list[Any]]]:
        """`grown`, `anew`, `unread` or `compared` of all phases by what it is of, then by counter."""
        found: dict[str, dict[str, list[Any]]] = {}
        for grown in self.steps.values():
            for of, names in getattr(grown, table).items():
                for name in names:
                    value = names[name] if isinstance(names, Mapping) else True
                    found.setdefault(of, {}).setdefault(name, []).append(value)
        return found


def boundaries(found: Iterable[Boundary]) -> Boundaries:
    """Sums up boundaries in their order. Pure. Over one that was not read, growth is that of both phases together."""
    steps: dict[str, Grown] = {}
    missing: dict[str, None] = {}
    restarts: list[str] = []
    before: Snapshot | None = None
    names: list[str] = []
    boot = ""
    last: Boundary | None = None
    for one in found:
        if one.after:
            names.append(one.after)
        elif one.boot and one.boot == boot:  # gone on with: what was counted since the last boundary was counted
            names.append(UNTIL_RESUMED)
        else:  # it begins, or goes on in another boot, with counters from zero
            if last is not None:
                restarts.append(last.after)
            before, names = None, []
        boot, last = one.boot, one
        if one.snapshot is None:
            missing[one.why or "it was not read"] = None
            continue
        if before is not None and names:
            steps[_named(" and ".join(dict.fromkeys(names)), steps)] = difference(before, one.snapshot)
        before, names = one.snapshot, []
    if not steps and not missing:
        missing["they were read less than twice"] = None
    return Boundaries(steps=steps, missing=tuple(missing), restarts=tuple(restarts))


def _named(name: str, known: Mapping[str, Grown]) -> str:
    number = 1 + sum(one == name or one.startswith(f"{name} (") for one in known)
    return name if number == 1 else f"{name} ({number})"


def boundary_of(data: Any) -> Boundary | None:
    """What an event holds; None where it is none."""
    try:
        return msgspec.convert(data, Boundary)
    except msgspec.ValidationError:
        return None


def taken(after: str, snapshot: Snapshot | Unread, boot: str = "") -> Boundary:
    if isinstance(snapshot, Unread):
        return Boundary(after=after, why=snapshot.why, boot=boot)
    return Boundary(after=after, snapshot=snapshot, boot=boot)


def in_words(grown: Grown) -> str:
    """`0000:41:00.0: replays 2; mc0: corrected 1`; that nothing grew only where something was read both times."""
    told = [f"{of}: {', '.join(f'{name} {number}' for name, number in names.items())}"
            for of, names in grown.grown.items()]
    if told:
        return "; ".join(told)
    if grown.compared:
        unread = any(why != STANDING for names in grown.unread.values() for why in names.values())
        return f"no counter grew{' of those that could be read both times' if unread else ''}"
    return "no counter could be read both times" if grown.unread else "no counters here"
