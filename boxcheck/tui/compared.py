"""Two runs side by side: how each ended, and what the same checks found and measured at the same parts, in the same
phases, of the same kinds of work. Of several findings of one row the gravest counts, as in a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from boxcheck.checks.wording import clock
from boxcheck.model import Finding, Outcome
from boxcheck.store.reader import RunReader
from boxcheck.tui.found import SHOWN, way_of
from boxcheck.tui.look import FINAL, figure, moment

LEAST_PERCENT = 3.0
"""A value that moved by less is as it was: two runs on one box differ by one to three parts of a hundred."""
SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))

Change = Literal["judged", "moved", "bad", "one-sided", "same"]
"""What is told first: another judgement, another value, as bad as before, found in one run alone, as it was."""
ORDER: tuple[Change, ...] = ("judged", "moved", "bad", "one-sided", "same")
FIRST = ("began (UTC)", "verdict", "state")
APART = ("kind", "box", "profile", "verdict", "state")
"""Facts that are first, and those that are a change where they differ."""
WORDS: dict[Change, str] = {
    "judged": "judged otherwise", "moved": f"moved by {LEAST_PERCENT:.0f} % or more", "bad": "as bad as before",
    "one-sided": "in one run alone"}
CHANGED: tuple[Change, ...] = ("judged", "moved")
Base: TypeAlias = tuple[str, str, str]
"""Phase, check, part."""


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
    found: dict[Base, list[Finding]]


def compare(one: str, other: str) -> list[Line]:
    """What was found and changed first, facts of the runs last. StoreError where one of them cannot be read."""
    left, right = _side(one), _side(other)
    lines = []
    bases = sorted({*left.found, *right.found})
    often = Counter(base[1:] for base in bases)
    for base in bases:
        a, b = left.found.get(base, []), right.found.get(base, [])
        alone = len(a) <= 1 and len(b) <= 1
        before, after = _by_kind(a, alone), _by_kind(b, alone)
        lines += [
            _line(base, kind, before.get((kind, unit)), after.get((kind, unit)), phase=often[base[1:]] > 1)
            for kind, unit in sorted({*before, *after})]
    shown = [line for line in lines if line is not None]
    shown.sort(key=lambda line: (ORDER.index(line.kind), line.outcome.rank if line.outcome else 9))
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


def kind_of(one: Finding) -> str:
    """`bf16`, `host to device`, `to the card`: of what kind of work a finding is, as its words begin; empty where they
    begin otherwise."""
    head, colon, _ = one.says.partition(": ")
    return way_of(one) or (head if colon and head[:1].isalpha() and len(head.split()) <= 4 else "")


def _by_kind(found: list[Finding], alone: bool) -> dict[tuple[str, str], Finding]:
    """The gravest of each, the later of two that are as grave."""
    kept: dict[tuple[str, str], Finding] = {}
    for one in found:
        key = ("", "") if alone else (kind_of(one), one.measured.unit if one.measured else "")
        if key not in kept or one.outcome.rank <= kept[key].outcome.rank:
            kept[key] = one
    return kept


def _line(base: Base, kind: str, a: Finding | None, b: Finding | None, *, phase: bool) -> Line | None:
    """None where neither was measured as a number, and nothing was found. `phase`: it is told, as there are others."""
    both = [one for one in (a, b) if one is not None]
    if not any(_number(one) is not None or one.outcome in SHOWN for one in both):
        return None
    during, check, part = base
    what = " ".join(filter(None, (check, kind, f"in {during}" if phase else "")))
    return Line(
        what, part, _value(a), _value(b), _change(a, b),
        min((one.outcome for one in both), key=lambda outcome: outcome.rank), _kind(a, b))


def _kind(a: Finding | None, b: Finding | None) -> Change:
    both = [one for one in (a, b) if one is not None]
    bad = any(one.outcome in (Outcome.FAIL, Outcome.MARGINAL) for one in both)
    if a is None or b is None:
        return "judged" if bad else "one-sided"
    if a.outcome is not b.outcome:
        return "judged"
    before, after = _number(a), _number(b)
    percent = _percent(a, b)
    if percent is not None and abs(percent) >= LEAST_PERCENT and not _is_bound(a):
        return "moved"
    if percent is None and before is not None and after is not None and before != after:
        return "moved"
    return "bad" if bad else "same"


def _is_bound(one: Finding) -> bool:
    """Whether what it has is no measurement, but how far it could look: an error rate without an error."""
    return one.measured is not None and one.measured.unit == "errors/bit" and one.outcome is Outcome.PASS


def _side(path: str) -> _Side:
    found: dict[Base, list[Finding]] = {}
    with RunReader(path) as reader:
        run, phases = reader.run(), reader.phases()
        times: Counter[str] = Counter()
        for phase in phases:
            name = phase.plan.name
            times[name] += 1
            called = name if times[name] == 1 else f"{name} {times[name]}"
            for one in reader.findings(phase.plan.number):
                found.setdefault((called, one.check, str(one.subject)), []).append(one)
    end = run.end
    ended = end.at.seconds if end else max((one.ended.seconds for one in phases if one.ended), default=0.0)
    outcome = FINAL[Outcome(end.outcome)] if end and end.outcome else "-"
    profile = run.info.profile
    return _Side(found=found, facts={
        "began (UTC)": moment(run.started), "kind": run.info.kind,
        "box": run.info.box or run.info.host or "-",
        "profile": f"{profile.name} r{profile.revision}" if profile else "-", "verdict": outcome,
        "state": run.state, "lasted": clock(ended)})


def _number(one: Finding | None) -> float | None:
    value = one.measured.value if one is not None and one.measured is not None else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _value(one: Finding | None) -> str:
    if one is None:
        return "-"
    value = one.measured.value if one.measured is not None and _number(one) is not None else None
    unit = one.measured.unit if one.measured is not None else ""
    mark = "" if one.outcome is Outcome.PASS else one.outcome.value
    shown = readable(value, unit) if isinstance(value, (int, float)) else ""
    return "  ".join(filter(None, (mark, shown))) or "pass"


def readable(value: float, unit: str) -> str:
    """`32 GiB`, `12 345 errors`, `163.4 TFLOPS`: bytes in what they are counted in, what was counted whole."""
    if unit == "bytes":
        size, unit = next(((size, name) for size, name in SIZES if abs(value) >= size), (1, "bytes"))
        value = int(value / size) if value % size == 0 else value / size
    shown = f"{value:,}".replace(",", " ") if isinstance(value, int) and abs(value) < 10**12 else figure(value)
    return f"{shown} {unit}".strip()


def _percent(a: Finding | None, b: Finding | None) -> float | None:
    """Of the older value; points where it is one of a hundred itself. None where there is nothing to compare."""
    before, after = _number(a), _number(b)
    same = a is not None and b is not None and (a.measured and a.measured.unit) == (b.measured and b.measured.unit)
    if not same or before is None or after is None:
        return None
    if _is_percent(a):
        return after - before
    return 100 * (after - before) / abs(before) if before else None


def _is_percent(one: Finding | None) -> bool:
    return one is not None and one.measured is not None and one.measured.unit == "%"


def _change(a: Finding | None, b: Finding | None) -> str:
    percent = _percent(a, b)
    if not percent:
        return ""
    if _is_percent(a):
        return f"{percent:+.1f} pt"
    return f"{percent:+.1f} %" if abs(percent) < 1000 else f"{percent / 100 + 1:.0f} times"
