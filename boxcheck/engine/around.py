"""Judges what happened around a run, as it ended or from its store alone. Equal in both, since both sum up the same
events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from boxcheck.engine.inspect import Facts, findings_of
from boxcheck.engine.stress import GRAVE
from boxcheck.model import Crash, Finding, Outcome
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS, selected
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.stress.happenings import Chronicle, Detail, Happened, Happening, Source, happening_of

SOURCES: tuple[Source, ...] = ("log", "devices", "memory")
CHECKED = ("burn.log", "burn.devices", "burn.memory-errors")


def happenings_in(reader: RunReader) -> Iterator[Happening]:
    """What a store holds of it, as it happened."""
    for event in reader.events():
        one = happening_of(event.kind, event.says, event.severity, event.data)
        if one is not None:
            yield one


def happened_of(reader: RunReader) -> Happened:
    """The same, summed up."""
    chronicle = Chronicle()
    for one in happenings_in(reader):
        chronicle.add(one)
    return chronicle.result(goes_on=reader.run().state == "running")


def earlier_happenings(path: str) -> list[Happening]:
    """Those of a run that is gone on with; a gap where its store cannot be read."""
    try:
        with RunReader(path) as reader:
            return list(happenings_in(reader))
    except StoreError as error:
        says = f"what happened before the run was gone on with is not known: {error}"
        return [
            Happening(kind=f"{source}-unread", says=says, severity="warn", detail=Detail(source=source, state="gap"))
            for source in SOURCES]


def judge_around(
    happened: Happened, want: Profile, crashes: list[Crash], *, ids: Sequence[str] = CHECKED,
    others: Facts | None = None,
) -> list[Finding]:
    """Findings of the checks over what happened, with whether they decide."""
    facts = others or Facts()
    facts.put(Happened, happened)
    found = [one for id in ids for one in findings_of(CHECKS[id], facts, want, crashes)]
    return [msgspec.structs.replace(one, blocker=weighs(one, want)) for one in found]


def weighs(finding: Finding, want: Profile) -> bool:
    """Whether a finding is part of the verdict: what was found always, but for what the profile calls advisory; what
    could not be looked at only where the profile requires it. Those that boxcheck ships require the kernel's log, which
    an ordinary user may often not read: such a run is unknown, as it says when it begins (rights.py)."""
    if finding.outcome is Outcome.SKIP:
        return False
    if (finding.cause or "").startswith(GRAVE):
        return True
    if finding.outcome is Outcome.UNKNOWN:
        return want.is_blocker(finding.check, "stress")
    return not selected(want.advisory, finding.check)
