"""Two runs side by side: how each ended, and what the same checks measured at the same parts."""

from __future__ import annotations

import msgspec

from boxcheck.checks.wording import clock
from boxcheck.model import Finding, Outcome
from boxcheck.store.reader import RunReader
from boxcheck.tui.found import way_of
from boxcheck.tui.look import FINAL, figure, moment


class Line(msgspec.Struct, frozen=True):
    what: str
    part: str
    one: str
    other: str
    change: str
    outcome: Outcome | None = None
    """The graver of both, where both were judged."""


class _Side(msgspec.Struct):
    facts: dict[str, str]
    found: dict[tuple[str, str, str], Finding]


def compare(one: str, other: str) -> list[Line]:
    """StoreError where one of them cannot be read."""
    left, right = _side(one), _side(other)
    lines = [Line(name, "", left.facts[name], right.facts[name], "") for name in left.facts]
    keys = sorted({*left.found, *right.found})
    for check, part, unit in keys:
        a, b = left.found.get((check, part, unit)), right.found.get((check, part, unit))
        lines.append(Line(
            check, part, _value(a), _value(b), _change(a, b),
            min((found.outcome for found in (a, b) if found), key=lambda outcome: outcome.rank)))
    return lines


def _side(path: str) -> _Side:
    with RunReader(path) as reader:
        run, phases = reader.run(), reader.phases()
        found = {
            (one.check, f"{one.subject} {way_of(one)}".strip(), one.measured.unit): one for one in reader.findings()
            if one.measured is not None and isinstance(one.measured.value, (int, float))
            and not isinstance(one.measured.value, bool)}
    end = run.end
    ended = end.at.seconds if end else max((one.ended.seconds for one in phases if one.ended), default=0.0)
    outcome = FINAL[Outcome(end.outcome)] if end and end.outcome else "-"
    profile = run.info.profile
    return _Side(found=found, facts={
        "began (UTC)": moment(run.started), "kind": run.info.kind,
        "box": run.info.box or run.info.host or "-",
        "profile": f"{profile.name} r{profile.revision}" if profile else "-", "verdict": outcome,
        "state": run.state, "lasted": clock(ended)})


def _value(one: Finding | None) -> str:
    if one is None or one.measured is None:
        return "-"
    value = one.measured.value
    shown = str(value)
    if isinstance(value, float):
        shown = figure(value)
    mark = "" if one.outcome is Outcome.PASS else f"  {one.outcome.value}"
    return f"{shown} {one.measured.unit}{mark}"


def _change(a: Finding | None, b: Finding | None) -> str:
    if a is None or b is None or a.measured is None or b.measured is None:
        return ""
    before, after = a.measured.value, b.measured.value
    if not isinstance(before, (int, float)) or not isinstance(after, (int, float)) or not before:
        return ""
    return f"{100 * (after - before) / abs(before):+.1f} %"
