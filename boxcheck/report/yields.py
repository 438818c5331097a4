"""The yield of a line for people and as CSV. As JSON it is `Yield` itself, docs/reference/yield.schema.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.compare.yields import Counts, Pareto, Share, Yield
from boxcheck.report.csv import line
from boxcheck.report.text import Style, wrap
from boxcheck.store.texts import plain_line

NAME_COLUMNS = 19
BAR_COLUMNS = 20
WORDS = {"FAIL": "failed", "INCOMPLETE": "INCOMPLETE", "ABORTED": "ABORTED", "OPEN": "not ended", "UNREAD": "not known"}


def yield_json(found: Yield) -> str:
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()


def yield_csv(found: Yield) -> str:
    """A row for all of it and one for each part; then, after an empty row, the Pareto."""
    head = ("part", "boxes", "attempts", "first_passed", "first_of", "first_percent", "first_low_percent",
            "first_high_percent", "final_passed", "final_of", "final_percent", "final_low_percent",
            "final_high_percent", "first_with_waivers", "final_with_waivers", "first_not_finished", "never_finished")
    rows = [line(head)]
    for one in (found.total, *found.parts):
        rows.append(line(["" if cell is None else cell for cell in (
            one.name or "all", one.boxes, one.attempts, *_cells(one.first_pass), *_cells(one.final),
            one.first_with_waivers, one.final_with_waivers, sum(one.first_not_finished.values()),
            one.never_finished)]))
    rows += [line(()), line(("failed_first", "boxes", "percent", "cumulative_percent", "parts"))]
    rows += [line((one.check, one.boxes, one.percent, one.cumulative_percent, "; ".join(one.parts)))
             for one in found.pareto]
    return "".join(rows)


def _cells(one: Share) -> tuple[Any, ...]:
    return one.passed, one.of, one.percent, one.low_percent, one.high_percent


def yield_text(found: Yield, style: Style) -> str:
    """Ends in a line feed."""
    lines = [*_head(found, style), *_rows(found.total, style)]
    if not style.quiet:
        lines += _parts(found, style)
        lines += _pareto("failed first", found.pareto, style)
        lines += _pareto("no result, booked on", found.incomplete, style)
        for told in found.told:
            lines += wrap(plain_line(told), style, "! ", "  ")
        if found.total.first_pass.of:
            lines += ["", *wrap(
                "Bounds are exact (Clopper and Pearson, 95 %): how good or bad the line may be that gave these boxes.",
                style)]
    return "\n".join(one.rstrip() for one in lines) + "\n"


def _head(found: Yield, style: Style) -> list[str]:
    window = " ".join(filter(None, (
        f"since {found.since}" if found.since else "", f"until {found.until}" if found.until else "")))
    filters = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.filters.items())
    what = f"{_many(found.total.boxes, 'box', 'boxes')}, {_many(found.total.attempts, 'attempt')}"
    first, *rest = wrap(plain_line("   ".join(filter(None, (what, window, filters)))), style, "", "  ")
    return [style.bold(first), *rest]


def _rows(one: Counts, style: Style) -> Iterator[str]:
    yield from _row("first-pass yield", _share_words(one.first_pass), style)
    beside = [f"{one.first_marginal} of them within the margin"] if one.first_marginal else []
    beside += [f"{one.first_with_waivers} more passed with waivers only"] if one.first_with_waivers else []
    if one.first_not_finished:
        apart = sum(one.first_not_finished.values())
        beside.append(f"{_many(apart, 'box', 'boxes')} not counted, whose first attempt gave no result: "
                      f"{_counts_words(one.first_not_finished)}")
    for text in beside:
        yield from _row("", text, style)
    yield from _row("final yield", _share_words(one.final), style)
    if one.final_with_waivers:
        yield from _row("", f"{one.final_with_waivers} more passed with waivers only", style)
    if one.never_finished:
        yield from _row("", f"{_many(one.never_finished, 'box', 'boxes')} not counted, of which no attempt gave a "
                            "result", style)
    if one.attempts_to_pass is not None:
        yield from _row("attempts to pass", f"{one.attempts_to_pass:.2f} on average; "
                                            f"{_many(one.retested, 'box', 'boxes')} tested more than once", style)
    if one.not_finished:
        yield from _row("without a result", f"{_counts_words(one.not_finished)} of {_many(one.attempts, 'attempt')}",
                        style)


def _row(name: str, text: str, style: Style) -> list[str]:
    head = f" {name:<{NAME_COLUMNS}}"
    return wrap(text, style, head, " " * len(head))


def _share_words(one: Share) -> str:
    if one.percent is None or one.low_percent is None or one.high_percent is None:
        return "not known: no box has a result"
    few = "; few boxes say little" if one.high_percent - one.low_percent > 30 else ""
    return (f"{one.percent:.1f} % ({one.passed} of {one.of}), between {one.low_percent:.1f} and "
            f"{one.high_percent:.1f} %{few}")


def _counts_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {WORDS.get(name, name)}" for name, count in counts.items())


def _parts(found: Yield, style: Style) -> Iterator[str]:
    """A line a part: as wide as the terminal, the name cut where it must be."""
    if not found.parts:
        return
    yield ""
    yield style.bold(style.text(f"by {found.by}"))
    widest = min(max(len(plain_line(one.name)) for one in found.parts), max(12, style.columns - 58))
    yield style.text(f"  {'':<{widest}}  boxes  first pass                final")
    for one in found.parts:
        name = plain_line(one.name)
        name = name if len(name) <= widest else f"{name[:widest - 3]}..."
        yield style.text(f"  {name:<{widest}}  {one.boxes:>5}  {_short(one.first_pass):<24}  {_short(one.final)}")


def _short(one: Share) -> str:
    if one.percent is None or one.low_percent is None or one.high_percent is None:
        return "no result"
    return f"{one.passed}/{one.of} {one.percent:.0f} % ({one.low_percent:.0f} to {one.high_percent:.0f})"


def _pareto(title: str, found: Sequence[Pareto], style: Style) -> Iterator[str]:
    if not found:
        return
    yield ""
    yield style.bold(style.text(title))
    widest = min(max(len(plain_line(one.check)) for one in found), 40)
    for one in found:
        bar = "#" * round(one.percent / 100 * BAR_COLUMNS)
        shares = f"{one.percent:>3.0f} %  sum {one.cumulative_percent:>3.0f} %"
        yield style.text(f"  {plain_line(one.check)[:widest]:<{widest}}  {one.boxes:>4}  {shares}  {bar}")
        if one.parts:
            yield from wrap(plain_line(", ".join(one.parts)), style, "      ", "      ")


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count} {one if count == 1 else more or f'{one}s'}"


def schemas() -> dict[str, Any]:
    """Of the published schema: file name -> schema."""
    schema = msgspec.json.schema(Yield)
    return {"yield.schema.json": {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}}
