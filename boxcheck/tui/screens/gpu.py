"""One GPU: its curves over the whole run, its link from the root down, what was found, and how to look by hand."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from boxcheck.checks.wording import clock
from boxcheck.store.errors import StoreError
from boxcheck.store.series import Stretch
from boxcheck.tui.curves import HELD, Curve, curves_of
from boxcheck.tui.frame import Frame, GpuRow
from boxcheck.tui.look import ASCII, figure
from boxcheck.tui.plot import joined, plot
from boxcheck.tui.screens.gpu_texts import by_hand, findings, head, link
from boxcheck.tui.screens.view import View
from boxcheck.tui.widgets.head import Head
from boxcheck.tui.widgets.keys import Keys
from boxcheck.tui.widgets.panes import OpenLink

EVERY_SECONDS = 5.0
"""Between two readings of the curves of a run that goes on."""
LABEL = 9
"""Columns of the scale."""
SHORTEST_SECONDS = 10.0


class CurvesCame(Message):
    def __init__(self, curves: tuple[Curve, ...], why: str) -> None:
        super().__init__()
        self.curves, self.why = curves, why


class GpuScreen(View):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "app.pop_screen", "back"), Binding("n", "next(1)", "next", tooltip="next GPU"),
        Binding("p", "next(-1)", "previous", tooltip="previous GPU"), Binding("l", "link", "link"),
        Binding("plus,equals_sign", "zoom(0.5)", "nearer"), Binding("minus", "zoom(2)", "farther"),
        Binding("left", "pan(-0.25)", "earlier"), Binding("right", "pan(0.25)", "later"),
        Binding("0", "whole", "whole run"), Binding("b", "app.big", "big verdict", show=False),
    ]

    def __init__(self, path: str, key: str) -> None:
        super().__init__()
        self._path, self._key = path, key
        self._curves: tuple[Curve, ...] = ()
        self._why = "reading the curves"
        self._window: tuple[float, float] | None = None
        self._read_at: float | None = None

    def compose(self) -> ComposeResult:
        yield Head()
        with VerticalScroll():
            for name in ("head", "curves", "link", "findings", "hand"):
                yield Static("", id=f"gpu-{name}", markup=False)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    @property
    def row(self) -> GpuRow | None:
        return next((one for one in self.shown.gpus if one.key == self._key), None) if self.shown else None

    def draw(self, frame: Frame) -> None:
        row, glyphs = self.row, self.glyphs
        self.query_one(Head).show(frame, glyphs)
        if row is None:
            self._why = "this device is in the run no more"
            self._draw()
            return
        if self._read_at is None or (frame.live and abs(frame.seconds - self._read_at) > EVERY_SECONDS):
            self._read_at = frame.seconds
            self._read(row)
        self.query_one("#gpu-head", Static).update(head(row, frame, glyphs, max(30, self.size.width - 3)))
        self.query_one("#gpu-link", Static).update(link(row, frame, glyphs))
        self.query_one("#gpu-findings", Static).update(findings(row, frame, max(30, self.size.width - 4)))
        self.query_one("#gpu-hand", Static).update(by_hand(row))
        self._draw()

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _read(self, row: GpuRow) -> None:
        try:
            curves, why = curves_of(self._path, row, row.sample), ""
        except StoreError as error:
            curves, why = (), str(error)
        self.post_message(CurvesCame(curves, why or "nothing was measured of it"))

    def on_curves_came(self, message: CurvesCame) -> None:
        self._curves, self._why = message.curves, message.why
        self._draw()

    def _span(self) -> tuple[float, float]:
        return self._window or (0.0, max(1.0, self.shown.seconds if self.shown else 1.0))

    def _draw(self) -> None:
        body = self.query_one("#gpu-curves", Static)
        if not self._curves:
            body.update(Content.styled(f"\n  {self._why}\n", "$quiet"))
            return
        begin, end = self._span()
        playing = bool(self.shown and self.shown.playing)
        width = max(10, self.size.width - LABEL - 3)
        room = max(3, min(6, (self.size.height - 12) // max(1, sum(HELD not in one.name for one in self._curves)) - 1))
        ascii = self.glyphs is ASCII
        lines: list[Content] = []
        for curve in self._curves:
            parts = curve.over(begin, end, width if ascii else 2 * width)
            if playing and self.shown:  # what is still to come is not shown
                parts = [one for one in parts if one.begin <= self.shown.seconds]
            values = [value for one in parts for value in (one.low, one.high) if value is not None]
            if curve.name.startswith(HELD):
                lines.append(_held(curve, parts, width, ascii))
                continue
            unit = curve.unit if not ascii else curve.unit.replace("°", "")
            if not values:
                lines.append(Content.styled(f" {curve.name}: nothing was read between these moments", "$quiet"))
                continue
            low, high = min(values), max(values)
            least = high - low < 0.02 * abs(high)
            floor, top = (low - 0.05 * abs(high), high + 0.05 * abs(high)) if least else (low, high)
            lines.append(Content.assemble(
                (f" {curve.name}", "bold"), f"   {figure(low)} to {figure(high)} {unit}"))
            drawn = plot(joined(parts), floor, top, room, ascii=ascii)
            for at, line in enumerate(drawn):
                label = figure(top) if at == 0 else figure(floor) if at == len(drawn) - 1 else ""
                lines.append(Content.assemble((f"{label:>{LABEL - 1}} ", "$quiet"), (line, "$ok")))
        left, right = clock(begin), clock(end)
        gap = " " * max(1, width - len(left) - len(right))
        lines.append(Content.styled(f"{' ' * LABEL}{left}{gap}{right}", "$quiet"))
        body.update(Content("\n").join(lines))

    def action_zoom(self, by: float) -> None:
        begin, end = self._span()
        whole = max(1.0, self.shown.seconds if self.shown else 1.0)
        length = min(whole, max(SHORTEST_SECONDS, (end - begin) * by))
        middle = (begin + end) / 2
        begin = min(max(0.0, middle - length / 2), max(0.0, whole - length))
        self._window = None if length >= whole else (begin, begin + length)
        self._draw()

    def action_pan(self, by: float) -> None:
        if self._window is not None and self.shown is not None:
            begin, end = self._window
            shift = min(max((end - begin) * by, -begin), max(0.0, self.shown.seconds - end))
            self._window = (begin + shift, end + shift)
            self._draw()

    def action_link(self) -> None:
        self.post_message(OpenLink(self._key))

    def action_whole(self) -> None:
        self._window = None
        self._draw()

    def action_next(self, by: int) -> None:
        if self.shown and self.shown.gpus:
            keys = [one.key for one in self.shown.gpus]
            at = keys.index(self._key) if self._key in keys else 0
            self._key = keys[(at + by) % len(keys)]
            self._curves, self._read_at = (), None
            self.draw(self.shown)


def _held(curve: Curve, parts: list[Stretch], width: int, ascii: bool) -> Content:
    """One line: marked where it held the clocks, a dot where it was read and did not, blank where nothing was read."""
    per = 1 if ascii else 2
    cells = [parts[at:at + per] for at in range(0, len(parts), per)]
    marks = "".join(
        " " if all(one.high is None for one in cell) else "#" if any(one.high for one in cell) else "."
        for cell in cells)
    share = [one.high for one in parts if one.high is not None]
    says = f"{100 * sum(1 for one in share if one) / len(share):.0f} %" if share else ""
    style = "$marginal" if curve.grave else "$quiet"
    return Content.assemble((f" {curve.name}", "bold"), f"   {says}\n", " " * LABEL, (marks[:width], style))
