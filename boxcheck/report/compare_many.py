"""Many sides as tables for people and as CSV: a table a quantity, sides as columns, what stands out marked `!`. As JSON
it is `Many` itself, docs/reference/comparison-table.schema.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from boxcheck.checks.wording import natural
from boxcheck.compare.judged import figure, readable
from boxcheck.compare.many import LEAST_BOXES, LEAST_VALUES, MOST_SCORE, Cell, Many, Table
from boxcheck.report.compare import heads
from boxcheck.report.csv import line
from boxcheck.report.text import Style, wrap
from boxcheck.store.texts import plain_line

MARK = "!"
JUDGED = "judgement"
"""As the kind of a row of CSV."""
NOT_JUDGED = "not judged"
JUDGED_SHOWN = 8
"""Checks judged otherwise that are told without -v."""
TEXT_COLUMNS = 18
"""Of a cell that is no number; what is longer is cut, and -v shows it."""


def many_json(found: Many) -> str:
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()


def many_csv(found: Many) -> str:
    """A row a value, and one for each that was not measured; then a row a side of each check judged otherwise."""
    head = ("phase", "what", "by", "unit", "kind", "input", "name", "box", "where", "value", "samples", "deviation",
            "median", "score", "stands_out", "why")
    by_label = {one.label: one for one in found.inputs}
    rows = [line(head)]
    for table in found.tables:
        for cell in table.cells:
            side = by_label[cell.input]
            rows.append(line(["" if one is None else one for one in (
                table.phase, table.what, table.by, table.unit, table.kind, cell.input, side.name, side.box, cell.where,
                str(cell.value).lower() if isinstance(cell.value, bool) else cell.value, cell.samples, cell.deviation,
                table.median, cell.score, cell.stands_out, cell.why)]))
    for one in found.judged:
        for side in found.inputs:
            outcome = one.outcomes.get(side.label)
            rows.append(line(["", one.check, "", "", JUDGED, side.label, side.name, side.box, one.where, outcome or "",
                              *[""] * 5, "" if outcome else NOT_JUDGED]))
    return "".join(rows)


def many_text(found: Many, style: Style) -> str:
    """Ends in a line feed. Tables in which something stands out, and with -v the others."""
    lines: list[str] = []
    out = [table for table in found.tables if table.outliers]
    if not style.quiet:
        lines = [*heads(found.inputs, style)]
        for told in found.told:
            lines += wrap(plain_line(told), style, "  ", "    ")
        lines += _judged(found, style)
        for table in found.tables if style.verbose else out:
            lines += ["", *_table(table, [one.label for one in found.inputs], style)]
        lines.append("")
    lines += _closing(found, out, style)
    return "\n".join(one.rstrip() for one in lines) + "\n"


def _judged(found: Many, style: Style) -> Iterator[str]:
    """`pcie.link-width PCIE3: A pass; B fail`."""
    if not found.judged:
        return
    yield ""
    yield style.bold(style.text(f"judged otherwise: {len(found.judged)}"))
    shown = found.judged if style.verbose else found.judged[:JUDGED_SHOWN]
    for one in shown:
        labels: dict[str, list[str]] = {}
        for side in found.inputs:
            labels.setdefault(one.outcomes.get(side.label, NOT_JUDGED), []).append(side.label)
        said = "; ".join(f"{', '.join(some)} {outcome}" for outcome, some in labels.items())
        yield from wrap(plain_line(f"{one.check} {one.where}: {said}"), style, "  ", "    ")
    if len(shown) < len(found.judged):
        yield style.text(f"  {len(found.judged) - len(shown)} more (-v shows them)")


def _table(table: Table, labels: Sequence[str], style: Style) -> Iterator[str]:
    unit = f", {table.unit}" if table.unit else ""
    phase = f" in {table.phase}" if table.phase and not table.what.startswith(f"{table.phase}.") else ""
    by = f" ({table.by})" if table.by else ""
    kind = f"   {table.kind}" if table.kind else ""
    first, *rest = wrap(plain_line(f"{table.what}{phase}{by}{unit}{kind}"), style, "", "  ")
    yield style.bold(first)
    yield from rest
    yield from wrap(_summary(table), style, "  ", "  ")
    places = sorted({cell.where for cell in table.cells}, key=natural)
    by_place = {(cell.where, cell.input): cell for cell in table.cells}
    texts = {key: _text(cell) for key, cell in by_place.items()}
    shown = [label for label in labels if any((place, label) in by_place for place in places)]
    least = max([len(place) for place in places] + [3])
    widest = max([len(text) for text in texts.values()] + [len(label) for label in shown] + [4])
    fits = max(1, (style.columns - least - 4) // (widest + 2))
    for at in range(0, len(shown), fits):
        some = shown[at:at + fits]
        yield style.text(f"  {'':<{least}}  " + "  ".join(f"{label:>{widest}}" for label in some))
        for place in places:
            yield style.text(plain_line(f"  {place or 'box':<{least}}  " + "  ".join(
                f"{texts.get((place, label), ''):>{widest}}" for label in some)))
    yield from _whys(table, style)


def _summary(table: Table) -> str:
    missing = f", {table.not_measured} not measured" if table.not_measured else ""
    values = f"{table.values} value{'' if table.values == 1 else 's'}{missing}"
    if not table.judged:
        least = LEAST_VALUES if table.phase else LEAST_BOXES
        return f"{values}: too few to say what stands out ({least} are needed)"
    if table.median is None:
        return values
    spread = f", deviation {figure(table.deviation)}" if table.phase else ""
    return f"median {readable(table.median, table.unit)}{spread}, {values}"


def _text(cell: Cell) -> str:
    text = plain_line(cell.text)
    if len(text) > TEXT_COLUMNS:
        text = f"{text[:TEXT_COLUMNS - 3]}..."
    return f"{text} {MARK}" if cell.stands_out else f"{text}  "


def _whys(table: Table, style: Style) -> Iterator[str]:
    """Why values are missing, each reason once."""
    whys: dict[str, list[str]] = {}
    for cell in table.cells:
        if cell.why:
            whys.setdefault(cell.why, []).append(" ".join(filter(None, (cell.input, cell.where))))
    for why, cells in whys.items():
        names = ", ".join(cells[:6]) + (f" and {len(cells) - 6} more" if len(cells) > 6 else "")
        yield from wrap(plain_line(f"{names}: {why}"), style, "  ", "    ")
    if style.verbose:
        for cell in table.cells:
            if len(plain_line(cell.text)) > TEXT_COLUMNS:
                yield from wrap(plain_line(f"{cell.input} {cell.where}: {cell.text}"), style, "  ", "    ")


def _closing(found: Many, out: Sequence[Table], style: Style) -> Iterator[str]:
    verdicts = ", ".join(f"{count} {'without a verdict' if name == 'none' else name}"
                         for name, count in found.verdicts.items())
    marked = sum(len(table.outliers) for table in out)
    missing = sum(table.not_measured for table in found.tables)
    few = sum(1 for table in found.tables if not table.judged)
    divided = sum(1 for table in found.tables if table.judged and table.is_divided)
    quiet = len(found.tables) - len(out) - few - divided
    otherwise = len(found.judged)
    parts = [f"{len(found.inputs)} compared: {verdicts}",
             *([f"{otherwise} {'check' if otherwise == 1 else 'checks'} judged otherwise"] if otherwise else []),
             f"{marked} value{'' if marked == 1 else 's'} in {len(out)} of {len(found.tables)} quantities stand out",
             f"{quiet} quantities have none"]
    if divided:
        parts.append("1 differs, and nothing of it is usual" if divided == 1 else
                     f"{divided} differ, and nothing of them is usual")
    if few:
        parts.append(f"{few} {'has' if few == 1 else 'have'} too few values to say")
    if missing:
        parts.append(f"{missing} values not measured")
    if found.left_out:
        parts.append(f"{found.left_out} not read, or left out")
    if not style.verbose and len(out) < len(found.tables):
        parts.append("-v shows all tables")
    yield from wrap("; ".join(parts), style, "", "  ")
    if marked and not style.quiet:
        yield from wrap(
            f"{MARK} stands out: beyond {MOST_SCORE} by the modified z-score and by more than sound boxes differ; of "
            "what a box has: other than more than half of them have.", style, "", "  ")


def schemas() -> dict[str, Any]:
    """Of the published schema: file name -> schema."""
    schema = msgspec.json.schema(Many)
    return {"comparison-table.schema.json": {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}}
