"""Two runs side by side on the whole screen: what changed first, and alone where that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable, Static

from boxcheck.model import Outcome
from boxcheck.tui.compared import Line, compare, counted
from boxcheck.tui.look import OF_OUTCOME, cut, filled, in_words, middle, plain
from boxcheck.tui.screens.view import Sized
from boxcheck.tui.threads import in_thread, say
from boxcheck.tui.widgets.keys import Keys


class Compared(Message):
    def __init__(self, lines: Sequence[Line], why: str) -> None:
        super().__init__()
        self.lines, self.why = lines, why


MOMENT, CHANGE = 16, 10
"""Columns of `2026-11-28 18:40` and of `1000 times`."""


class CompareScreen(Sized):
    """The older on the left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "changes", "changes, or all", tooltip="what changed alone, or all of it"),
        Binding("escape,q,c", "app.pop_screen", "back")]

    def __init__(self, one: str, other: str) -> None:
        super().__init__()
        self._paths = (one, other)
        self._lines: Sequence[Line] = ()
        self._shown: Sequence[Line] = ()
        self._why, self._changes = "", False

    def compose(self) -> ComposeResult:
        yield Static(" reading both runs ...", id="compare-head", classes="head", markup=False)
        yield DataTable(id="compared", cursor_type="row", zebra_stripes=False)
        yield Static("", id="compared-detail", markup=False)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(DataTable).focus()
        self.app.theme_changed_signal.subscribe(self, lambda _: self._fill())
        in_thread(self._read)

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def _read(self) -> None:
        try:
            say(self, Compared(compare(*self._paths), ""))
        except Exception as error:  # noqa: BLE001  said: else it reads for ever
            say(self, Compared((), in_words(error)))

    def on_compared(self, message: Compared) -> None:
        self._lines, self._why = message.lines, message.why
        self._fill()

    def on_data_table_row_highlighted(self) -> None:
        """The chosen row in full, whatever the columns had room for."""
        at = self.query_one(DataTable).cursor_row
        one = self._shown[at] if at < len(self._shown) else None
        says = "" if one is None else (
            f"{' '.join(filter(None, (one.what, one.part)))}: {one.one}, then {one.other}   {one.change}")
        self.query_one("#compared-detail", Static).update("\n".join(
            f" {line}" for line in filled(says, max(20, (self.size.width or 80) - 2))[:2]))

    def action_changes(self) -> None:
        self._changes = not self._changes
        self._fill()

    def _fill(self) -> None:
        table, head = self.query_one(DataTable), self.query_one("#compare-head", Static)
        table.clear(columns=True)
        columns = self.size.width or 80
        if self._lines or self._why:
            alone = "changes alone; " if self._changes else ""
            head.update(cut(f" {plain(self._why)}" if self._why else f" {alone}{counted(self._lines)}", columns))
        width = max(60, columns) - 11
        value = min(30, max(MOMENT, int(width * 0.23)))  # a date is never cut
        part = max(8, min(24, int(0.3 * (width - 2 * value - CHANGE))))
        what = max(12, width - 2 * value - part - CHANGE)  # on 60 columns the last one is scrolled to
        widths = (what, part, value, value, CHANGE)
        for title, wide in zip(("what", "part", "older", "newer", "change"), widths, strict=True):
            table.add_column(title, width=wide)
        self._shown = [one for one in self._lines if not (self._changes and one.part and not one.changed)]
        for one in self._shown:
            bad = one.outcome in (Outcome.FAIL, Outcome.MARGINAL)
            colour = self.app.theme_variables.get(OF_OUTCOME[one.outcome].removeprefix("$"), "") if (
                bad and one.outcome) else ""
            cells = (one.what, one.part.removeprefix("port 0000:"), one.one, one.other, one.change)
            table.add_row(*(
                Text(middle(plain(cell), wide) if at < 2 else cut(plain(cell), wide),
                     style=f"bold {colour}".strip() if bad else "")
                for at, (cell, wide) in enumerate(zip(cells, widths, strict=True))))
