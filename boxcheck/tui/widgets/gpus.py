"""A row for each GPU. Columns that do not fit are left out, the least telling first."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec
from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from boxcheck.tui.frame import GONE_SECONDS, OLD_SECONDS, SILENT_SECONDS, Frame, GpuRow
from boxcheck.tui.look import (
    OF_STATE,
    STATE_WORD,
    UNICODE,
    Glyphs,
    Style,
    apart,
    figure,
    in_line,
    padded,
    plain,
    spark,
    trained,
)

Cell = tuple[str, Style]


class Column(msgspec.Struct, frozen=True):
    title: str
    width: int
    weight: int
    """Kept the longer, the lower it is."""
    cell: Callable[[GpuRow, Glyphs, bool], Cell]
    left: bool = False
    has: Callable[[GpuRow], bool] = lambda row: True
    """Whether a row could have something in it at all. A column that no row has anything for is left out."""


def _gpu(row: GpuRow) -> bool:
    return row.bdf is not None


def _read(value: float | None, row: GpuRow, live: bool, unit: str = "") -> Cell:
    """Never the last value as if it were of now."""
    return ("-", "$quiet") if value is None or row.is_stale else (f"{value:.0f}{unit}", "")


def _rate(row: GpuRow, glyphs: Glyphs, live: bool) -> Cell:
    age = row.rate_age_seconds or 0.0
    if row.rate is None or row.state == "lost" or (live and age > GONE_SECONDS):
        return ("-", "$quiet")
    return (f"({figure(row.rate)})", "$quiet") if live and _is_old(row) else (figure(row.rate), "")


def _is_old(row: GpuRow) -> bool:
    """Of a GPU that tells nothing, a rate is shown as one of now only while it is as new as a reading would be."""
    return (row.rate_age_seconds or 0.0) > (SILENT_SECONDS if row.state == "silent" else OLD_SECONDS)


def _percent(row: GpuRow, glyphs: Glyphs, live: bool) -> Cell:
    old = live and _is_old(row)
    return ("-", "$quiet") if row.percent is None or old or row.state == "lost" else (f"{row.percent:.0f} %", "")


def _spark(row: GpuRow, glyphs: Glyphs, live: bool) -> Cell:
    if row.state == "silent":
        return (f"silent {row.told_seconds:.0f} s" if row.told_seconds is not None else "no reading yet", "$unknown")
    return (spark(row.history, row.expected, glyphs), "$ok")


def _held(row: GpuRow, glyphs: Glyphs, live: bool) -> Cell:
    if row.held is None or row.is_stale:
        return ("-", "$quiet")
    grave = [one.says for one in row.held if one.grave]
    if grave:
        return (plain(grave[0]), "$marginal")
    return (plain(row.held[0].says), "$quiet") if row.held else ("none", "$quiet")


def _link(row: GpuRow, glyphs: Glyphs, live: bool) -> Cell:
    if any(link.gone for link in row.chain):
        return ("gone", "$fail")
    links = [link for link in row.chain if link.width and not link.is_stale]
    if not links or row.state == "lost":  # of a bridge above it that is well
        return ("-", "$quiet")
    low = any(link.low for link in links)
    least = min(links, key=lambda link: (link.low is not low, (link.width or 0) * (link.speed_gts or 0)))
    return (trained(least), "$marginal" if low else "")


def _errors(row: GpuRow, glyphs: Glyphs, live: bool) -> Cell:
    return ("-", "$quiet") if row.errors is None else (_count(row.errors), "$fail" if row.errors else "")


def _wrong(row: GpuRow, glyphs: Glyphs, live: bool) -> Cell:
    return (_count(row.wrong), "$fail" if row.wrong else "")


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ") if number < 10**6 else f"{number:.1e}"


COLUMNS = (
    Column("slot", 8, 0, lambda row, glyphs, live: (plain(row.place), "bold"), left=True),
    Column("rate", 9, 0, _rate),
    Column("unit", 6, 0, lambda row, glyphs, live: (plain(row.unit) or "-", "$quiet"), left=True),
    Column("of exp.", 7, 3, _percent, has=lambda row: row.percent is not None or (_gpu(row) and row.rate is None)),
    Column("last 2 min", 16, 7, _spark, left=True),
    Column("core", 5, 1, lambda row, glyphs, live: _read(row.core_celsius, row, live), has=_gpu),
    Column("junc", 5, 8, lambda row, glyphs, live: _read(row.junction_celsius, row, live),
           has=lambda row: row.junction_celsius is not None),
    Column("mem", 5, 6, lambda row, glyphs, live: _read(row.memory_celsius, row, live),
           has=lambda row: row.memory_celsius is not None),
    Column("power", 6, 2, lambda row, glyphs, live: _read(row.watts, row, live, " W"), has=_gpu),
    Column("limit", 11, 9, _held, left=True, has=_gpu),
    Column("clock", 8, 10, lambda row, glyphs, live: _read(row.clock_mhz, row, live, " MHz"), has=_gpu),
    Column("fan", 14, 12, lambda row, glyphs, live: (
        (plain(row.fan) or "-", "$quiet") if not row.is_stale else ("-", "$quiet")), left=True,
           has=lambda row: bool(row.fan)),
    Column("link", 8, 4, _link, left=True, has=_gpu),
    Column("errors", 7, 1, _errors, has=_gpu),
    Column("wrong", 7, 0, _wrong),
    Column("state", 8, 0, lambda row, glyphs, live: (STATE_WORD[row.state], OF_STATE[row.state]), left=True),
    Column("why", 48, 11, lambda row, glyphs, live: (plain(row.why), ""), left=True, has=lambda row: bool(row.why)),
)
GAP = 1
LEAD = 4
"""Cursor and number."""


def fitting(width: int, rows: tuple[GpuRow, ...] = ()) -> tuple[Column, ...]:
    """Columns that fit. One that nobody has anything to say in goes first; units stand where they differ."""
    several = len(units(rows)) > 1
    columns = (_slot(width, rows), *(_in_line(one, rows) if one.title == "rate" else one for one in COLUMNS[1:]))
    shown = [one for one in columns if any(map(one.has, rows)) and (several or one.title != "unit")]
    while sum(one.width + GAP for one in shown) + LEAD > width and len(shown) > 4:
        shown.remove(max(shown, key=lambda one: one.weight))
    return tuple(shown)


def _slot(width: int, rows: tuple[GpuRow, ...]) -> Column:
    """As wide as the longest name, up to what there is room for; names that are longer are cut so that they differ."""
    names = [plain(row.place) for row in rows]
    wide = min(max([8, *map(cell_len, names)]), 12 if width < 110 else 20)
    short = apart(names, wide)
    return msgspec.structs.replace(
        COLUMNS[0], width=wide, cell=lambda row, glyphs, live: (short.get(plain(row.place), plain(row.place)), "bold"))


def _in_line(rate: Column, rows: tuple[GpuRow, ...]) -> Column:
    """Rates with their points in one line, where all are of one kind."""
    values = [row.rate for row in rows] if len(units(rows)) == 1 else []
    shown = in_line(values)

    def is_marked(row: GpuRow, live: bool) -> bool:
        return live and row.rate is not None and (row.rate_age_seconds or 0.0) > OLD_SECONDS

    def cell(row: GpuRow, glyphs: Glyphs, live: bool) -> Cell:
        text, style = rate.cell(row, glyphs, live)
        if row.rate is not None and values and text != "-":
            text = text.replace(figure(row.rate), shown(row.rate))
        behind = any(is_marked(one, live) for one in rows) and not text.endswith(")") and text != "-"
        return (f"{text} " if behind and cell_len(text) < rate.width else text, style)

    return msgspec.structs.replace(rate, cell=cell)


def units(rows: tuple[GpuRow, ...]) -> set[str]:
    """What the rates that are shown are of, and in what."""
    return {plain(f"{row.what}, {row.unit}") for row in rows if row.what and row.unit and row.state != "lost"}


class GpuTable(Static, can_focus=True):
    """All rows; up and down move the cursor, enter opens one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False), Binding("down,j", "move(1)", "down", show=False),
        Binding("enter", "open", "GPU", tooltip="this GPU: its curves, link, findings")]
    cursor: reactive[int] = reactive(0)

    class Opened(Message):
        """A row was chosen."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.frame: Frame | None = None
        self.glyphs = UNICODE
        self._title_shown: Content | None = None

    def show(self, frame: Frame, glyphs: Glyphs) -> None:
        changed = self.frame is None or len(frame.gpus) != len(self.frame.gpus)
        self.frame, self.glyphs = frame, glyphs
        self.cursor = min(self.cursor, max(0, len(frame.gpus) - 1))
        title = Content(self._title(frame))
        if title != self._title_shown:
            self.border_title = self._title_shown = title
        self.refresh(layout=changed)

    def _title(self, frame: Frame) -> str:
        told = units(frame.gpus)
        last = f"   {frame.as_of}" if frame.as_of else ""
        name = "GPUs" if any(row.is_gpu for row in frame.gpus) or not frame.gpus else "processor, no GPU"
        if not frame.gpus:
            return f"{name}{last}"
        return f"{name}   {told.pop() if len(told) == 1 else f'{len(frame.gpus)} devices'}{last}"

    def render(self) -> Content:
        frame = self.frame
        if frame is None or not frame.gpus:
            if frame is None or frame.opening:
                return Content.styled(" reading the run", "$quiet")
            says = " no device is at work yet" if frame.live else " no device is known"
            return Content.styled(says, "$quiet")
        columns = fitting(self.size.width, frame.gpus)
        head = " " * LEAD + "".join(
            padded(one.title, one.width, left=one.left) + " " * GAP for one in columns)
        return Content("\n").join([
            Content.styled(head.rstrip(), "$quiet"), *(self._line(row, columns, frame) for row in frame.gpus)])

    def _line(self, row: GpuRow, columns: tuple[Column, ...], frame: Frame) -> Content:
        here = row.number == self.cursor and self.has_focus
        lead = f"{self.glyphs.arrow if here else ' '}{row.number:>2} "
        parts: list[tuple[str, str] | str] = [(lead, "bold" if here else "")]
        for one in columns:
            text, style = one.cell(row, self.glyphs, frame.ages_count)
            parts += [(padded(text, one.width, left=one.left), style), " " * GAP]
        return Content.assemble(*parts)

    def watch_cursor(self) -> None:
        self.refresh()
        self.scroll_visible_row()

    def scroll_visible_row(self) -> None:
        if self.parent is not None and hasattr(self.parent, "scroll_to_region"):
            first = 0 if self.cursor == 0 else self.cursor + 2  # below the border and the head
            self.parent.scroll_to_region(Region(0, first, 1, self.cursor + 3 - first), animate=False)

    def action_move(self, by: int) -> None:
        count = len(self.frame.gpus) if self.frame else 0
        self.cursor = min(max(0, self.cursor + by), max(0, count - 1))

    def action_open(self) -> None:
        if self.frame and self.frame.gpus:
            self.post_message(self.Opened(self.frame.gpus[self.cursor].key))

    def on_click(self, event: events.Click) -> None:
        place = event.y - 1 - int(self.styles.border_top[0] not in ("", "none"))
        if self.frame and 0 <= place < len(self.frame.gpus):
            self.cursor = place
            if event.chain >= 2:
                self.action_open()
