"""Requirements with their margins: what failed first, then what nearly did, what was not read, what was waived; what
passed is folded away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from boxcheck.account import area_of
from boxcheck.certify.waivers import waiver_of
from boxcheck.checks.wording import natural
from boxcheck.model import Finding, Outcome
from boxcheck.report.acceptance_cover import counts_words
from boxcheck.report.acceptance_told import Told, bare_finding
from boxcheck.report.acceptance_words import (
    GRAVITY,
    cell,
    code,
    dim,
    facts_table,
    limit_words,
    margin_of,
    margin_words,
    mixed,
    outcome_cell,
    scalar,
)
from boxcheck.report.document import Block, Column, Fold, Heading, Paragraph, Row, Span, Table, Words
from boxcheck.report.stress_rates import LIMITS
from boxcheck.stress.judging import subject_of

COLUMNS = (
    Column(head="outcome", share=0.85), Column(head="check", share=2.0), Column(head="where", share=1.0),
    Column(head="found", share=3.2), Column(head="limit", share=1.5), Column(head="margin", numeric=True, share=0.9))


def requirements(told: Told) -> Iterator[Block]:
    yield Heading(level=2, text="Requirements", anchor="requirements")
    yield Paragraph(words=mixed(
        f"Findings: {counts_words(told)}. ", "Required checks decide the verdict; those marked ", dim("advisory"),
        " do not. The margin is the distance of what was measured to what it must be: + on the right side."))
    waivers = told.acceptance.waivers if told.acceptance else ()
    waived = [one for one in told.findings if one.blocker and waiver_of(one, waivers) is not None]
    open_ones = [one for one in told.findings if one not in waived]
    seen = False
    for outcome, title in ((Outcome.FAIL, "Failed"), (Outcome.MARGINAL, "Marginal"), (Outcome.UNKNOWN, "Not read")):
        some = [one for one in open_ones if one.outcome is outcome]
        required = [one for one in some if one.blocker]
        # What no one required and no one read is of little use in full view.
        shown = some if outcome is not Outcome.UNKNOWN else required
        if shown:
            seen = True
            yield _table(f"{title}: {len(shown)}", shown, told)
        if others := [one for one in some if one not in shown]:
            yield Fold(title=f"Not read, advisory: {len(others)}", blocks=(
                _table("What nobody required and nobody could read", others, told),))
    if waived:
        seen = True
        yield _table(f"Waived: {len(waived)}", waived, told, word="waived")
    if not seen:
        yield Paragraph(words="Nothing failed, nothing was marginal, and everything that was required was read.")
    if passed := [one for one in open_ones if one.outcome is Outcome.PASS]:
        yield Fold(title=f"Passed: {len(passed)}", blocks=(_summary("Passed, by check", passed, told),))
    if skipped := [one for one in open_ones if one.outcome is Outcome.SKIP]:
        yield Fold(title=f"Skipped, since the question does not arise: {len(skipped)}", blocks=(_skipped(skipped),))


def _skipped(findings: Sequence[Finding]) -> Table:
    reasons: dict[str, dict[str, None]] = {}
    for one in findings:
        reasons.setdefault(one.says, {})[one.check] = None
    return facts_table("Skipped, by reason", ("reason", "checks"), [
        (says, mixed(code(", ".join(checks)))) for says, checks in sorted(reasons.items())], shares=(2, 3), head=False)


def _summary(caption: str, findings: Sequence[Finding], told: Told) -> Table:
    """What passed: a row for each check and limit, the tightest part with its margin, and what was measured of each;
    without a margin, a row for each thing that a check said, so that it is said of no other part."""
    said: dict[str, set[str]] = {}
    for one in findings:
        if margin_of(one) is None:
            said.setdefault(one.check, set()).add(one.says)
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for one in findings:
        kind = one.says.partition(":")[0] if ":" in one.says else ""
        if margin_of(one) is None:
            key: tuple[object, ...] = (
                one.check, one.blocker, one.says if len(said[one.check]) <= MOST_TEXTS else None)
        else:
            key = (one.check, one.blocker, one.limit.name if one.limit else "", kind)
        groups.setdefault(key, []).append(one)
    ordered = sorted(groups.values(), key=lambda some: (not some[0].blocker, area_of(some[0].check), some[0].check))
    rows = tuple(_summed(some, told) for some in ordered)
    return Table(caption=f"{caption}: {len(findings)} findings in {len(rows)} rows", columns=SUMMARY, rows=rows,
                 note="Of several parts a row tells that with the least margin, and in grey what was measured of each.")


MOST_PHASES = 4
MOST_TEXTS = 8
"""Of one check: of more, one is told, of its own part."""
SUMMARY = (
    Column(head="outcome", share=0.9), Column(head="check", share=1.9), Column(head="where", share=1.3),
    Column(head="found", share=3.6), Column(head="limit", share=1.3), Column(head="margin", numeric=True, share=0.9))


def _summed(some: Sequence[Finding], told: Told) -> Row:
    tightest = min(some, key=lambda one: margin_of(one) if margin_of(one) is not None else 0.0)  # type: ignore[return-value, arg-type]
    places = list(dict.fromkeys(one.subject.slot or where_words(one, told).partition(", ")[0] for one in some))
    alike = len({one.says for one in some}) == 1
    cells = list(_row(tightest, told, None, some if alike else (tightest,)).cells)
    more = ""
    if not alike:
        if margin_of(tightest) is None:
            places = places[:1]
            more = f"  (one of {len(some)}, which differ)"
        elif len(places) == 1:
            more = f"  the tightest of {len(some)}"
        else:
            at = tightest.subject.slot or where_words(tightest, told)
            more = f"  {at}, the tightest of {len(some)}: {_values(some, told)}"
    cells[2] = cell(places_words(places))
    cells[3] = cell(mixed(*_spans(cells[3].words), dim(more)))
    return Row(cells=tuple(cells))


def _values(some: Sequence[Finding], told: Told) -> str:
    """`PCIE1 163, PCIE2 163.1 TFLOPS`: the tightest of each part."""
    found: dict[str, Finding] = {}
    for one in some:
        place = one.subject.slot or where_words(one, told)
        if place not in found or (margin_of(one) or 0.0) < (margin_of(found[place]) or 0.0):
            found[place] = one
    shown = [(place, found[place].measured) for place in sorted(found, key=natural)[:MOST_PLACES]]
    unit = next((one.unit for _, one in shown if one is not None), "")
    left = f" and {len(found) - MOST_PLACES} more" if len(found) > MOST_PLACES else ""
    values = ", ".join(f"{place} {scalar(one.value)}" for place, one in shown if one is not None)
    return f"{values} {unit}{left}".strip()


def places_words(places: Sequence[str]) -> str:
    """`PCIE1 to PCIE7`, `cpu, nvme0 and 20 more`."""
    ordered, runs = sorted(places, key=natural), list[list[str]]()
    for one in ordered:
        if runs and _follows(runs[-1][-1], one):
            runs[-1].append(one)
        else:
            runs.append([one])
    words = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs]
    more = f" and {len(words) - MOST_PLACES} more" if len(words) > MOST_PLACES else ""
    return ", ".join(words[:MOST_PLACES]) + more


def _follows(one: str, other: str) -> bool:
    """Whether the second is the next of one row: PCIE4 after PCIE3."""
    *stem, last = natural(one) or (NOTHING,)
    *other_stem, next_one = natural(other) or (NOTHING,)
    return stem == other_stem and last[0] == next_one[0] == 0 and next_one[1] == last[1] + 1


NOTHING = (1, 0, "")
MOST_PLACES = 16


def _spans(words: Words) -> tuple[Span, ...]:
    return (Span(words),) if isinstance(words, str) else words


def _table(caption: str, findings: Sequence[Finding], told: Told, word: str | None = None) -> Table:
    ordered = sorted(findings, key=lambda one: (
        GRAVITY.index(one.outcome), not one.blocker, area_of(one.check), one.check))
    rows = tuple(_row(one, told, word) for one in ordered)
    return Table(caption=caption, columns=COLUMNS, rows=rows)


def _row(one: Finding, told: Told, word: str | None, alike: Sequence[Finding] = ()) -> Row:
    """`alike`: all that it stands for."""
    check: list[Span] = [code(one.check)]
    if not one.blocker:
        check.append(dim(" advisory"))
    limit: Words = limit_words(one.limit) if one.limit is not None else "-"
    return Row(cells=(
        outcome_cell(one.outcome, word), cell(tuple(check)), cell(where_words(one, told)),
        cell(_found(one, told, alike or (one,))),
        cell(limit), cell(margin_words(one))))


def where_words(one: Finding, told: Told) -> str:
    """The part as a person would point at it; a port or function by its slot, where one is known."""
    name = str(one.subject)
    if one.subject.slot is None and one.subject.bdf is not None:
        slot = next((item.hop.slot for item in told.directions
                     if item.hop.slot and one.subject.bdf in (item.hop.port, item.hop.card)), None)
        name = name.replace("0000:", "")
        return f"{slot}, {name}" if slot else name
    return name


def _found(one: Finding, told: Told, alike: Sequence[Finding]) -> Words:
    parts: list[str | Span] = [one.says]
    measured = one.measured
    if measured is not None and one.limit is not None and _is_new(measured.value, one.says):
        parts.append(dim(f" [{scalar(measured.value, measured.unit)}]"))
    if (spread := _spread(one, told)) is not None:
        parts.append(dim(f" ({spread})"))
    phases = list(dict.fromkeys(name for some in alike for name in told.phases_of.get(bare_finding(some), ())))
    if phases:
        parts.append(dim(f"  in {', '.join(phases) if len(phases) <= MOST_PHASES else f'{len(phases)} phases'}"))
    return mixed(*parts) if len(parts) > 1 else one.says


def _is_new(value: object, says: str) -> bool:
    """Whether a measured number is not in the words, as far as words round."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    told = (float(found) for found in re.findall(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?", says))
    return not any(abs(one - value) <= 0.01 * abs(value) + 1e-300 for one in told) and abs(value) >= 1e-6


def _spread(one: Finding, told: Told) -> str | None:
    """How many samples a judged rate is of, and how far they are apart."""
    if one.limit is None or one.limit.name not in LIMITS:
        return None
    for done in told.done:
        key = next((info.key for info in done.results.gpus if subject_of(done.results, info.key) == one.subject), None)
        for (what, gpu, _), row in done.measured.rows.items():
            if gpu == key and what in LIMITS[one.limit.name]:
                spread = "" if row.spread_percent is None else f", spread {row.spread_percent:.1f} %"
                return f"n = {row.samples}{spread}"
    return None
