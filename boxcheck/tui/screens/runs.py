"""The runs of this machine, the newest first; one is opened, two are laid side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable, Static

from boxcheck.host.common import one_line
from boxcheck.model import Outcome
from boxcheck.store.listing import RunEntry, list_runs
from boxcheck.store.schema import SUFFIX
from boxcheck.tui.look import FINAL, OF_OUTCOME, cut, filled, in_words, moment, plain
from boxcheck.tui.screens.compare import CompareScreen
from boxcheck.tui.screens.view import Sized
from boxcheck.tui.threads import in_thread, say
from boxcheck.tui.widgets.keys import Keys

COLUMNS = (("", 1), ("began (UTC)", 16), ("kind", 7), ("state", 8), ("verdict", 8))
PROFILE, REST = ("profile", 16), "box, step or trouble"
PROFILE_FROM, REST_FROM = 100, 70
"""Columns of the terminal from which these are there; what is chosen is told in full below the list at any width."""
DETAIL_LINES = 3


class Listed(Message):
    def __init__(self, entries: Sequence[RunEntry], why: str) -> None:
        super().__init__()
        self.entries, self.why = entries, why


class OpenRun(Message):
    """A run is to be shown."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path


class RunsScreen(Sized):
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
        yield Static("", id="runs-detail", markup=False)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(DataTable).focus()
        self.app.theme_changed_signal.subscribe(self, lambda _: self._fill())
        self.action_reload()

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def action_reload(self) -> None:
        in_thread(self._read)

    def _read(self) -> None:
        try:
            entries, why = list_runs(self._folder), ""
        except Exception as error:  # noqa: BLE001  said: a thread that dies would leave an empty list
            entries, why = (), in_words(error)
        say(self, Listed([one for one in entries if one.path.endswith(SUFFIX)], why))

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
        width = self.size.width or 80
        columns = [*COLUMNS, *([PROFILE] if width >= PROFILE_FROM else [])]
        rest = width - sum(wide + 2 for _, wide in columns) - 3
        for title, wide in [*columns, *([(REST, rest)] if width >= REST_FROM else [])]:
            table.add_column(cut(title, wide), width=wide)
        colours = self.app.theme_variables
        for one in self._entries.values():
            verdict = outcome_of(one)
            cells = [
                Text("*" if one.path in self._marked else ""), Text(moment(one.started)), Text(cut(plain(one.kind), 7)),
                Text("unread" if one.trouble else one.state),
                Text("-") if verdict is None else Text(
                    FINAL[verdict], style=f"bold {colours.get(OF_OUTCOME[verdict].removeprefix('$'), '')}".strip())]
            if width >= PROFILE_FROM:
                cells.append(Text(cut(plain(one.profile or "-"), PROFILE[1])))
            if width >= REST_FROM:
                cells.append(Text(cut(plain(rest_of(one)), rest)))
            table.add_row(*cells, key=one.path)
        if self._entries:
            table.move_cursor(row=min(at, len(self._entries) - 1))
        self._detail()

    def on_data_table_row_highlighted(self) -> None:
        self._detail()

    def _detail(self) -> None:
        """All that is known of the chosen one, whatever the columns had room for."""
        entry, width = self._chosen, max(20, (self.size.width or 80) - 2)
        lines = filled(detail_of(entry), width) if entry is not None else []
        lines = [*lines[:DETAIL_LINES - 1], cut(" ".join(lines[DETAIL_LINES - 1:]), width)]
        self.query_one("#runs-detail", Static).update("\n".join(f" {line}" for line in lines))

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


def outcome_of(entry: RunEntry) -> Outcome | None:
    """None where it has none; what no boxcheck writes is not known."""
    if entry.outcome is None:
        return None
    try:
        return Outcome(entry.outcome)
    except ValueError:
        return Outcome.UNKNOWN


def rest_of(entry: RunEntry) -> str:
    """`box W-0007; matmul`: whose it is, and of one without an end how far it came; else why it cannot be read."""
    box = f"box {entry.box}" if entry.box else ""
    return trouble_of(entry) or "; ".join(filter(None, (box, entry.phase if entry.state != "finished" else "")))


def detail_of(entry: RunEntry) -> str:
    if entry.trouble:
        return "; ".join(filter(None, (trouble_of(entry), entry.help)))
    known = (os.path.basename(entry.path), f"profile {entry.profile or 'none'}", rest_of(entry))
    return "; ".join(filter(None, known))
