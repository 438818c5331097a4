"""What the same checks found and measured on two sides, at the same parts, in the same phases, of the same kinds of
work. Of several findings of one row the gravest counts, as in a verdict. Pure.

Shared by `boxcheck compare` and the screen that lays two runs side by side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from boxcheck.model import Finding, Outcome

LEAST_PERCENT = 3.0
"""A value that moved by less is as it was: two runs on one box differ by one to three parts of a hundred."""
SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
DIRECTED = "stress.link-rate"
"""The check whose words begin with the direction, whatever that is called."""
SHOWN = (Outcome.FAIL, Outcome.MARGINAL, Outcome.UNKNOWN)

Change = Literal["judged", "moved", "bad", "unread", "one-sided", "same"]
"""What is told first: another judgement, another value, as bad as before, read on neither side, found on one side
alone, as it was."""
ORDER: tuple[Change, ...] = ("judged", "moved", "bad", "unread", "one-sided", "same")
Base: TypeAlias = tuple[str, str, str]
"""Phase, check, part."""
Found: TypeAlias = Mapping[Base, Sequence[Finding]]


class Row(msgspec.Struct, frozen=True):
    """One check at one part, on both sides."""

    base: Base
    kind: str
    """Of what kind of work: `bf16`; empty where there is one alone."""
    a: Finding | None
    b: Finding | None
    change: Change
    often: bool
    """Whether other phases have this check at this part too."""

    @property
    def what(self) -> str:
        """`matmul.rate bf16 in matmul`."""
        phase, check, _ = self.base
        return " ".join(filter(None, (check, self.kind, f"in {phase}" if self.often and phase else "")))

    @property
    def outcome(self) -> Outcome:
        """The graver of both."""
        return min((one.outcome for one in (self.a, self.b) if one is not None), key=lambda outcome: outcome.rank)


def rows_of(left: Found, right: Found) -> list[Row]:
    """Every row of which a side has a number, or which did not simply pass; the gravest change first."""
    rows: list[Row] = []
    bases = sorted({*left, *right})
    often = Counter(base[1:] for base in bases)
    for base in bases:
        a, b = left.get(base, ()), right.get(base, ())
        alone = len(a) <= 1 and len(b) <= 1
        before, after = _by_kind(a, alone), _by_kind(b, alone)
        for kind, unit in sorted({*before, *after}):
            one, other = before.get((kind, unit)), after.get((kind, unit))
            if is_told(one) or is_told(other):
                rows.append(Row(base, kind, one, other, change_of(one, other), often[base[1:]] > 1))
    rows.sort(key=lambda row: (ORDER.index(row.change), row.outcome.rank))
    return rows


def is_told(one: Finding | None) -> bool:
    """Whether a finding says more than that something passed."""
    return one is not None and (number(one) is not None or one.outcome in SHOWN)


def kind_of(one: Finding) -> str:
    """`bf16`, `host to device`, `to the card`: of what kind of work a finding is, as its words begin; empty where they
    begin otherwise."""
    head, colon, _ = one.says.partition(": ")
    if one.check == DIRECTED:
        return head
    return head if colon and head[:1].isalpha() and len(head.split()) <= 4 else ""


def _by_kind(found: Sequence[Finding], alone: bool) -> dict[tuple[str, str], Finding]:
    """The gravest of each, the later of two that are as grave."""
    kept: dict[tuple[str, str], Finding] = {}
    for one in found:
        key = ("", "") if alone else (kind_of(one), one.measured.unit if one.measured else "")
        if key not in kept or one.outcome.rank <= kept[key].outcome.rank:
            kept[key] = one
    return kept


def change_of(a: Finding | None, b: Finding | None) -> Change:
    both = [one for one in (a, b) if one is not None]
    bad = any(one.outcome in (Outcome.FAIL, Outcome.MARGINAL) for one in both)
    if a is None or b is None:
        return "judged" if bad else "one-sided"
    if a.outcome is not b.outcome:
        return "judged"
    if a.outcome is Outcome.UNKNOWN:
        return "unread"
    before, after = number(a), number(b)
    percent = percent_of(a, b)
    if percent is not None and abs(percent) >= LEAST_PERCENT and not _is_bound(a):
        return "moved"
    if percent is None and before is not None and after is not None and before != after:
        return "moved"
    if (before is None) is not (after is None):
        return "bad" if bad else "one-sided"
    return "bad" if bad else "same"


def _is_bound(one: Finding) -> bool:
    """Whether what it has is no measurement, but how far it could look: an error rate without an error."""
    return one.measured is not None and one.measured.unit == "errors/bit" and one.outcome is Outcome.PASS


def number(one: Finding | None) -> float | None:
    """What it measured; None for words, and for what is no number."""
    value = one.measured.value if one is not None and one.measured is not None else None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value)


def value_words(one: Finding | None) -> str:
    """`fail  x8`: how it was judged, where that is not a pass, and what was measured."""
    if one is None:
        return "-"
    value = one.measured.value if one.measured is not None and number(one) is not None else None
    unit = one.measured.unit if one.measured is not None else ""
    mark = "" if one.outcome is Outcome.PASS else one.outcome.value
    shown = readable(value, unit) if isinstance(value, (int, float)) else ""
    return "  ".join(filter(None, (mark, shown))) or "pass"


def figure(value: float | None) -> str:
    """Three or four significant digits, however small it is, in nine characters at most up to a billion; a dash where
    nothing was measured."""
    if value is None:
        return "-"
    if 0 < abs(value) < 0.001 or abs(value) >= 1e9:
        shown, _, power = f"{value:.2e}".partition("e")
        return f"{shown}e{int(power)}"
    if 0 < abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def readable(value: float, unit: str) -> str:
    """`32 GiB`, `12 345 errors`, `163.4 TFLOPS`: bytes in what they are counted in, what was counted whole."""
    if unit == "bytes":
        size, unit = next(((size, name) for size, name in SIZES if abs(value) >= size), (1, "bytes"))
        value = int(value / size) if value % size == 0 else value / size
    shown = f"{value:,}".replace(",", " ") if isinstance(value, int) and abs(value) < 10**12 else figure(value)
    return f"{shown} {unit}".strip()


def percent_of(a: Finding | None, b: Finding | None) -> float | None:
    """Of the older value; points where it is one of a hundred itself. None where there is nothing to compare."""
    before, after = number(a), number(b)
    same = a is not None and b is not None and (a.measured and a.measured.unit) == (b.measured and b.measured.unit)
    if not same or before is None or after is None:
        return None
    if is_percent(a):
        return after - before
    return 100 * (after - before) / abs(before) if before else None


def is_percent(one: Finding | None) -> bool:
    return one is not None and one.measured is not None and one.measured.unit == "%"


def change_words(a: Finding | None, b: Finding | None) -> str:
    """`-50.0 %`, `+4.0 pt`; empty where nothing changed."""
    percent = percent_of(a, b)
    if not percent:
        return ""
    if is_percent(a):
        return f"{percent:+.1f} pt"
    return f"{percent:+.1f} %" if abs(percent) < 1000 else f"{percent / 100 + 1:.0f} times"
