"""Words and cells that the sections of a report share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from boxcheck.checks.wording import shown
from boxcheck.model import Finding, Limit, Outcome, Unread
from boxcheck.report.document import Cell, Column, Row, Span, Table, Words
from boxcheck.report.run_times import stamp

WORDS = {
    Outcome.PASS: "pass", Outcome.MARGINAL: "marginal", Outcome.FAIL: "FAIL", Outcome.UNKNOWN: "unknown",
    Outcome.SKIP: "skipped",
}
GRAVITY = (Outcome.FAIL, Outcome.MARGINAL, Outcome.UNKNOWN, Outcome.PASS, Outcome.SKIP)
"""The order of a report: what failed, what nearly did, what nobody knows."""


def iso(seconds: float) -> str:
    """`2026-11-21 13:20:04 UTC`; `unknown` for a time that no calendar has."""
    return stamp(seconds, "%Y-%m-%d %H:%M:%S UTC", "unknown")


def code(text: str) -> Span:
    return Span(text, "code")


def dim(text: str) -> Span:
    return Span(text, "dim")


def strong(text: str) -> Span:
    return Span(text, "strong")


def mixed(*parts: str | Span) -> tuple[Span, ...]:
    """Words of several manners; empty parts are left out."""
    return tuple(Span(one) if isinstance(one, str) else one for one in parts if one and (
        isinstance(one, str) or one.text))


def cell(words: Words, outcome: Outcome | None = None) -> Cell:
    return Cell(words=words, outcome=outcome)


def outcome_cell(outcome: Outcome, word: str | None = None) -> Cell:
    return Cell(words=word or WORDS[outcome], outcome=outcome)


def value_words(value: object, unit: str = "") -> str:
    """What was read; for what was not, that, and why; a dash where the machine has no such thing."""
    if isinstance(value, Unread):
        return f"not read: {value.why}"
    if value is None or value == "":
        return "-"
    return f"{shown(value)} {unit}".strip()


def number(value: float, digits: int = 4) -> str:
    """Four significant digits, no powers of ten between a thousandth and a million."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e6:
        text = f"{value:.{digits}g}"
        return text if "e" not in text else f"{value:.0f}"
    return f"{value:.{digits - 1}g}"


def many(number: int) -> str:
    """`960`, `1 843 200`, `1.21e9`."""
    if number < 10**7:
        return grouped(number)
    return f"{number:.3g}".replace("e+0", "e").replace("e+", "e")


def scalar(value: object, unit: str = "") -> str:
    """A measured value or a limit with its unit."""
    text = number(value) if isinstance(value, float) else shown(value)
    return f"{text} {unit}".strip()


SIGNS = {"ge": "≥ ", "le": "≤ ", "eq": "", "in": "", "not-in": "not ", "info": ""}


def limit_words(limit: Limit) -> str:
    """`≥ 22 GB/s, should be ≥ 25 GB/s`."""
    sign = SIGNS[limit.compare]
    told = []
    if limit.must is not None:
        told.append(f"{sign}{_bound(limit.must, limit.unit)}")
    if limit.should is not None:
        told.append(f"{'should be ' if told else 'should '}{sign}{_bound(limit.should, limit.unit)}")
    return ", ".join(told) or "-"


def _bound(value: Any, unit: str) -> str:
    return f"{number(value) if isinstance(value, float) else shown(value)} {unit}".strip()


def _distance(finding: Finding) -> tuple[float, float, float] | None:
    """Measured value, bound, and how far it is on the right side of it; None where there is no such distance."""
    limit, measured = finding.limit, finding.measured
    if limit is None or measured is None or limit.compare not in ("ge", "le"):
        return None
    bound = limit.must if limit.must is not None else limit.should
    value = measured.value
    if not _is_number(bound) or not _is_number(value) or (limit.unit and measured.unit and limit.unit != measured.unit):
        return None
    one, other = float(value), float(bound)
    return one, other, one - other if limit.compare == "ge" else other - one


def margin_of(finding: Finding) -> float | None:
    """The margin as a part of the bound; None where there is none."""
    found = _distance(finding)
    return None if found is None else found[2] / (abs(found[1]) or 1.0)


def margin_words(finding: Finding) -> str:
    """How far a measured number is from what it must be, or from what it should be where nothing must: `+4.2 %` on the
    right side, `-12 %` on the wrong one. A dash where there is no such distance; `bound only` where nothing bad was
    found and what was looked at is too little to show the limit."""
    found = _distance(finding)
    if found is None or finding.limit is None:
        return "-"
    value, bound, away = found
    if finding.outcome is Outcome.PASS and away < 0:
        return "bound only"
    if not bound:
        return f"{away:+.3g} {finding.limit.unit}".strip() if away else "0"
    if finding.limit.compare == "le" and 0 < value < bound / 100:
        return f"{bound / value:.0f} x below"
    if value > 10 * bound > 0:
        return f"{value / bound:.3g} x above"
    return f"{100 * away / abs(bound):+.1f} %" if away else "0 %"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def facts_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Words]], *, numeric: Sequence[int] = (),
                shares: Sequence[float] = (), note: Words = "", head: bool = True) -> Table:
    """A table of plain cells; the first of each row names it."""
    return Table(
        caption=caption, note=note,
        columns=tuple(Column(head=name, numeric=at in numeric, share=shares[at] if shares else 1.0)
                      for at, name in enumerate(heads)),
        rows=tuple(Row(cells=tuple(cell(words) for words in row), head=head) for row in rows))


def grouped(number: int) -> str:
    """`12 345 678`."""
    return f"{number:,}".replace(",", " ")
