"""A run beside a reference measurement, and what a reference holds: at a terminal and as JSON. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from boxcheck.engine.history_series import day
from boxcheck.golden.lay_beside import Beside, Mine, Row, State
from boxcheck.golden.reference import Quantity, Reference
from boxcheck.model import Outcome
from boxcheck.report.stress_rates import figure
from boxcheck.report.text import Style, wrap
from boxcheck.store.texts import plain_value

WORDS: dict[State, tuple[Outcome, str]] = {
    "within": (Outcome.PASS, "within"), "low": (Outcome.MARGINAL, "low"), "outside": (Outcome.FAIL, "OUTSIDE"),
    "high": (Outcome.MARGINAL, "high"), "other": (Outcome.SKIP, "other"),
    "not-measured": (Outcome.UNKNOWN, "not read"), "not-in-reference": (Outcome.SKIP, "not there")}
WORD_COLUMNS = 10
_CLOSING: dict[State, str] = {
    "outside": "outside", "low": "low", "high": "high", "within": "within", "not-measured": "not read",
    "other": "not comparable"}
_ORDER: tuple[State, ...] = ("outside", "low", "high", "not-measured", "other", "within", "not-in-reference")


def beside_text(found: Beside, style: Style) -> str:
    """Who beside whom, what differs, then a row a quantity, what matters first."""
    if style.quiet:
        return f"{_closing(found)}\n"
    boxes = f"{found.reference_boxes} box{'' if found.reference_boxes == 1 else 'es'}"
    runs = f"{found.reference_runs} run{'' if found.reference_runs == 1 else 's'}"
    lines = wrap(f"run {found.run} ({day(found.started)}, {found.run_state}, {found.outcome}) beside {found.reference} "
                 f"({boxes}, {runs}, made {found.reference_made})", style, "", "  ")
    lines += wrap(found.signature.says, style, "  ")
    if found.differences:
        lines += ["", style.bold("Another than there")]
        for one in found.differences:
            lines += wrap(one, style, "  ", "    ")
    rows = sorted(found.rows, key=lambda row: _ORDER.index(row.state))
    both = [row for row in rows if row.mine is not None and row.reference is not None]
    if both:
        lines += ["", *_grid(both, style)]
    for row in rows:
        if row.state not in ("within", "not-in-reference"):
            lines += wrap(f"{row.limit}: {row.says}", style, "  ", "    ")
    alone = [row.limit for row in rows if row.state == "not-in-reference"]
    if alone:
        lines += wrap(f"measured here alone: {', '.join(alone)}", style, "  ", "    ")
    return "\n".join([*lines, "", *wrap(_closing(found), style)]) + "\n"


def _closing(found: Beside) -> str:
    if not found.compared:
        return "nothing could be compared"
    told = [f"{found.number(state)} {word}" for state, word in _CLOSING.items() if found.number(state)]
    return f"{found.compared} quantities compared: {', '.join(told)}"


def _grid(rows: Sequence[Row], style: Style) -> Iterator[str]:
    """One line each where it fits, else two."""
    heads = ("", "here", "worst", "there", "worst to best", "limit", "ratio", "")
    cells = [_cells(row) for row in rows]
    widths = [max(len(line[at]) for line in (heads, *cells)) for at in range(len(heads))]
    wide = sum(widths) + 2 * (len(widths) - 1) + WORD_COLUMNS + 1 <= style.columns
    shown = range(len(heads)) if wide else (0, 1, 3, 6)
    for row, line in zip((None, *rows), (heads, *cells), strict=True):
        text = "  ".join(line[at].ljust(widths[at]) if at in (0, 7) else line[at].rjust(widths[at]) for at in shown)
        word = " " * WORD_COLUMNS if row is None else style.word(*WORDS[row.state], columns=WORD_COLUMNS)
        yield f" {word}{style.text(text)}".rstrip()
        if row is not None and not wide:
            more = f"worst {line[2]} here; {line[4]} there, limit {line[5]} {line[7]}"
            yield style.text(f"{'':{WORD_COLUMNS + 3}}{more}")


def _cells(row: Row) -> tuple[str, ...]:
    mine, other = row.mine, row.reference
    assert isinstance(mine, Mine)
    assert isinstance(other, Quantity)
    ratio = "" if row.ratio is None else f"{100 * row.ratio:.1f} %"
    return (row.limit, figure(mine.mean), figure(mine.worst), figure(other.mean),
            f"{figure(other.worst)} to {figure(other.best)}", figure(other.bound), ratio, row.unit)


def beside_json(found: Beside) -> str:
    return _json(plain_value(msgspec.to_builtins(found)))


def reference_json(reference: Reference) -> str:
    """For a person to read before it is written; the file has the same without white space."""
    return _json(msgspec.to_builtins(reference))


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode()


def schemas() -> dict[str, Any]:
    """Of the published schemas: file name -> schema."""
    found = {}
    for name, document in (("reference", Reference), ("beside", Beside)):
        found[f"{name}.schema.json"] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(document)}
    return found
