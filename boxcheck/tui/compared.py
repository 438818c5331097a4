"""Two runs side by side as the screen shows them: how each ended, and what the same checks found and measured
(boxcheck.compare.judged)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from boxcheck.checks.wording import clock
from boxcheck.compare.judged import LEAST_PERCENT, ORDER, Change, change_words, rows_of, value_words
from boxcheck.compare.stored import found_in
from boxcheck.compare.wholes import beside_whole
from boxcheck.engine.figures import Card
from boxcheck.model import Finding, Outcome
from boxcheck.store.reader import RunReader
from boxcheck.tui.look import FINAL, moment

FIRST = ("began (UTC)", "verdict", "state")
APART = ("kind", "box", "profile", "verdict", "state")
"""Facts that are first, and those that are a change where they differ."""
WORDS: dict[Change, str] = {
    "judged": "judged otherwise", "moved": f"moved by {LEAST_PERCENT:.0f} % or more", "bad": "as bad as before",
    "unread": "read in neither", "one-sided": "in one run alone"}
CHANGED: tuple[Change, ...] = ("judged", "moved")


class Line(msgspec.Struct, frozen=True):
    what: str
    part: str
    one: str
    other: str
    change: str
    outcome: Outcome | None = None
    """The graver of both, where both were judged."""
    kind: Change = "same"

    @property
    def changed(self) -> bool:
        return self.kind in CHANGED


class _Side(msgspec.Struct):
    facts: dict[str, str]
    found: dict[tuple[str, str, str], list[Finding]]
    cards: tuple[Card, ...]
    """The GPUs that load was put on."""
    cards_unread: str

    def by_check(self) -> dict[tuple[str, str], list[Finding]]:
        made: dict[tuple[str, str], list[Finding]] = {}
        for (phase, check, _), some in self.found.items():
            made.setdefault((phase, check), []).extend(some)
        return made


def compare(one: str, other: str) -> list[Line]:
    """What was found and changed first, facts of the runs last. StoreError where one of them cannot be read."""
    left, right = _side(one), _side(other)
    wholes = left.by_check(), right.by_check()
    rows = [beside_whole(row, *wholes, left, right)[0] for row in rows_of(left.found, right.found)]
    rows.sort(key=lambda row: (ORDER.index(row.change), row.outcome.rank))
    shown = [
        Line(row.what, row.base[2], value_words(row.a), value_words(row.b), change_words(row.a, row.b), row.outcome,
             row.change) for row in rows]
    facts = [
        Line(name, "", left.facts[name], right.facts[name], "", None,
             "judged" if name in APART and left.facts[name] != right.facts[name] else "same") for name in left.facts]
    first = [one for one in facts if one.what in FIRST or one.changed]
    return [*first, *shown, *(one for one in facts if one not in first)]


def counted(lines: Iterable[Line]) -> str:
    """`12 of 480 rows changed: 3 judged otherwise, 9 moved by 3 % or more`."""
    rows = [one for one in lines if one.part]
    count = Counter(one.kind for one in rows)
    moved = count["judged"] + count["moved"]
    changes, others = (
        ", ".join(f"{count[kind]} {words}" for kind, words in WORDS.items() if count[kind] and (kind in CHANGED) is one)
        for one in (True, False))
    whole = f"{moved} of {len(rows)} judgements changed"
    return "; ".join(filter(None, (": ".join(filter(None, (whole, changes))), others)))


def _side(path: str) -> _Side:
    with RunReader(path) as reader:
        run, phases = reader.run(), reader.phases()
        found = found_in(reader, phases)
    end = run.end
    ended = end.at.seconds if end else max((one.ended.seconds for one in phases if one.ended), default=0.0)
    outcome = FINAL[Outcome(end.outcome)] if end and end.outcome else "-"
    profile = run.info.profile
    starts = [one.start for one in phases if one.start is not None]
    cards = {
        info.key: Card(key=info.key, name=info.name, backend=info.backend, bdf=info.bdf, slot=start.slots.get(info.key))
        for start in starts for info in start.gpus if info.is_gpu}
    return _Side(found=found, cards=tuple(cards.values()), cards_unread="" if cards else "no load was run", facts={
        "began (UTC)": moment(run.started), "kind": run.info.kind,
        "box": run.info.box or run.info.host or "-",
        "profile": f"{profile.name} r{profile.revision}" if profile else "-", "verdict": outcome,
        "state": run.state, "lasted": clock(ended)})
