"""The runs of this machine, the newest first; one is opened, two are laid side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Static

from boxcheck.host.common import one_line
from boxcheck.model import Outcome
from boxcheck.store.errors import StoreError
from boxcheck.store.listing import RunEntry, list_runs
from boxcheck.store.schema import SUFFIX
from boxcheck.tui.compared import Line, compare
from boxcheck.tui.look import cut, moment, plain
from boxcheck.tui.widgets.keys import Keys

COLUMNS = (("", 1), ("began (UTC)", 16), ("kind", 7), ("state", 8), ("verdict", 8), ("profile", 16), ("", 0))


class Listed(Message):
    def __init__(self, entries: Sequence[RunEntry], why: str) -> None:
        super().__init__()
        self.entries, self.why = entries, why


class Compared(Message):
    def __init__(self, lines: Sequence[Line], why: str) -> None:
        super().__init__()
        self.lines, self.why = lines, why


class OpenRun(Message):
    """A run is to be shown."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path


class RunsScreen(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open"), Binding("space", "mark", "mark"),
        Binding("c", "compare", "compare", tooltip="compare the two marked runs"),
        Binding("r", "reload", "look again"), Binding("escape,q", "app.pop_screen", "back"),
    ]

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self._entries: dict[str, RunEntry] = {}
        self._marked: list[str] = []

    def compose(self) -> ComposeResult:
        yield Static(" runs", id="runs-head", classes="head", markup=False)
        yield DataTable(id="runs", cursor_type="row", zebra_stripes=False)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(DataTable).focus()
        self.action_reload()

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def action_reload(self) -> None:
        try:
            entries, why = list_runs(self._folder), ""
        except StoreError as error:
            entries, why = (), str(error)
        self.post_message(Listed([one for one in entries if one.path.endswith(SUFFIX)], why))

    def on_listed(self, message: Listed) -> None:
        self._entries = {one.path: one for one in message.entries}
        self._marked = [path for path in self._marked if path in self._entries]
        count = len(message.entries)
        known = f"{count} run{'' if count == 1 else 's'}" if count else "no run yet: boxcheck burn makes one"
        self.query_one("#runs-head", Static).update(f" {plain(message.why) or known}")
        self._fill()

    def _fill(self) -> None:
        table = self.query_one(DataTable)
        at = table.cursor_row
        table.clear(columns=True)
        rest = max(8, (self.size.width or 80) - sum(width + 2 for _, width in COLUMNS) - 2)
        for title, width in COLUMNS:
            table.add_column(title, width=width or rest)
        for one in self._entries.values():
            cells = (
                "*" if one.path in self._marked else "", moment(one.started),
                one.kind, "unread" if one.trouble else one.state, one.outcome or "-", one.profile or "-",
                trouble_of(one) or one.phase or one.box)
            table.add_row(*(
                Text(cut(plain(cell), width or rest)) for cell, (_, width) in zip(cells, COLUMNS, strict=True)),
                key=one.path)
        if self._entries:
            table.move_cursor(row=min(at, len(self._entries) - 1))

    @property
    def _chosen(self) -> RunEntry | None:
        paths, at = list(self._entries), self.query_one(DataTable).cursor_row
        return self._entries[paths[at]] if at < len(paths) else None

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        entry = self._chosen
        if entry is not None and entry.trouble is None:
            self.app.post_message(OpenRun(entry.path))
        elif entry is not None:
            self.notify(plain(entry.help or entry.trouble or ""), title="it cannot be read", severity="warning",
                        markup=False)

    def action_mark(self) -> None:
        entry = self._chosen
        if entry is None:
            return
        if entry.path in self._marked:
            self._marked.remove(entry.path)
        else:
            self._marked = [*self._marked[-1:], entry.path]
        self._fill()

    def action_compare(self) -> None:
        if len(self._marked) != 2:
            self.notify("mark two runs with space first", markup=False)
            return
        older, newer = sorted(self._marked, key=lambda path: self._entries[path].started)
        self.app.push_screen(CompareScreen(older, newer))


def trouble_of(entry: RunEntry) -> str:
    """Why a run cannot be read, without the path before it, and the name of its file; empty where it can be."""
    if not entry.trouble:
        return ""
    says = entry.trouble.removeprefix(one_line(entry.path)).lstrip(": ")
    return f"{os.path.basename(entry.path)} {says}"


MOMENT, CHANGE = 16, 8
"""Columns of `2026-11-28 18:40` and of `-100.0 %`."""


class CompareScreen(Screen[None]):
    """The older on the left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,c", "app.pop_screen", "back")]

    def __init__(self, one: str, other: str) -> None:
        super().__init__()
        self._paths = (one, other)
        self._lines: Sequence[Line] = ()

    def compose(self) -> ComposeResult:
        yield Static(" reading both runs ...", id="compare-head", classes="head", markup=False)
        yield DataTable(id="compared", cursor_type="row", zebra_stripes=False)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(DataTable).focus()
        self._read()

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    @work(thread=True, exit_on_error=False)
    def _read(self) -> None:
        try:
            self.post_message(Compared(compare(*self._paths), ""))
        except StoreError as error:
            self.post_message(Compared((), str(error)))

    def on_compared(self, message: Compared) -> None:
        self._lines = message.lines
        measured = sum(bool(one.part) for one in message.lines)
        says = f" two runs side by side, the older first; {measured} measured values"
        self.query_one("#compare-head", Static).update(f" {plain(message.why)}" if message.why else says)
        self._fill()

    def _fill(self) -> None:
        table = self.query_one(DataTable)
        table.clear(columns=True)
        width = max(60, self.size.width or 80) - 12
        value = max(MOMENT, int(width * 0.23))  # a date is never cut
        part = max(8, int(0.4 * (width - 2 * value - CHANGE)))
        what = max(12, width - 2 * value - part - CHANGE)  # on 60 columns the last one is scrolled to
        widths = (what, part, value, value, CHANGE)
        for title, wide in zip(("what", "part", "older", "newer", "change"), widths, strict=True):
            table.add_column(title, width=wide)
        for one in self._lines:
            bold = "bold" if one.outcome in (Outcome.FAIL, Outcome.MARGINAL) else ""
            cells = (one.what, one.part, one.one, one.other, one.change)
            table.add_row(*(
                Text(cut(plain(cell), wide), style=bold) for cell, wide in zip(cells, widths, strict=True)))
