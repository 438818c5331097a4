"""One GPU: its curves over the whole run, its link from the root down, what was found, and how to look by hand."""

from __future__ import annotations

import time
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from boxcheck.checks.wording import clock
from boxcheck.store.series import Stretch
from boxcheck.tui.curves import Curve, curves_of, kind_name
from boxcheck.tui.frame import Frame, GpuRow
from boxcheck.tui.look import ASCII, in_words
from boxcheck.tui.screens.gpu_curves import LABEL, curve_lines, held_lines
from boxcheck.tui.screens.gpu_texts import by_hand, findings, head, link, numbers
from boxcheck.tui.screens.view import View
from boxcheck.tui.threads import in_thread, say
from boxcheck.tui.widgets.head import Head
from boxcheck.tui.widgets.keys import Keys
from boxcheck.tui.widgets.panes import OpenLink

EVERY_SECONDS = 5.0
"""Between two readings of the curves of a run that goes on, at least."""
EVERY_TIMES = 20.0
"""As many times as long as a reading took: of a long run it takes no more than a twentieth of a core."""
LEAST_LINES, MOST_LINES = 3, 6
"""Of a curve."""
SHORTEST_SECONDS = 10.0


class CurvesCame(Message):
    def __init__(self, key: str, curves: tuple[Curve, ...], why: str, took_seconds: float) -> None:
        super().__init__()
        self.key, self.curves, self.why, self.took_seconds = key, curves, why, took_seconds


class GpuScreen(View):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "app.pop_screen", "back"), Binding("n", "next(1)", "next", tooltip="next GPU"),
        Binding("p", "next(-1)", "previous", tooltip="previous GPU"), Binding("l", "link", "link"),
        Binding("r", "rate(1)", "next rate", tooltip="the rate of the next kind of work"),
        Binding("R", "rate(-1)", "rate before", show=False),
        Binding("a", "all_rates", "all rates", tooltip="the rates of all kinds of work, or of one"),
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
        self._pause_seconds = EVERY_SECONDS
        self._chosen = ""
        """The curve of a rate that was chosen; empty: that of what the GPU works on."""
        self._all = False
        self._end = 0.0
        """Of the whole run, as it is drawn: it moves when that moves a dot."""
        self._parts: dict[str, tuple[tuple[float, float, int], list[Stretch]]] = {}
        """What was made of curves last, by their names."""

    def compose(self) -> ComposeResult:
        yield Head()
        with VerticalScroll():
            for name in ("head", "curves", "link", "findings", "numbers", "hand"):
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
        if self._read_at is None or (frame.live and abs(frame.seconds - self._read_at) > self._pause_seconds):
            self._read_at = frame.seconds
            in_thread(self._read, row)
        self.query_one("#gpu-head", Static).update(head(row, frame, glyphs, max(30, self.size.width - 3)))
        self.query_one("#gpu-link", Static).update(link(row, frame, glyphs))
        self.query_one("#gpu-findings", Static).update(findings(row, frame, max(30, self.size.width - 4)))
        self.query_one("#gpu-numbers", Static).update(numbers(row))
        self.query_one("#gpu-hand", Static).update(by_hand(row))
        self._draw()

    def _read(self, row: GpuRow) -> None:
        began = time.monotonic()
        try:
            curves, why = curves_of(self._path, row), ""
        except Exception as error:  # noqa: BLE001  said: else it reads for ever
            curves, why = (), in_words(error)
        took = time.monotonic() - began
        say(self, CurvesCame(row.key, curves, why or "nothing was measured of it", took))

    def on_curves_came(self, message: CurvesCame) -> None:
        self._pause_seconds = max(EVERY_SECONDS, EVERY_TIMES * message.took_seconds)
        if message.key != self._key:  # of the GPU that was shown before
            return
        self._curves, self._why = message.curves, message.why
        self._parts.clear()
        self._draw()

    def _span(self) -> tuple[float, float]:
        now = max(1.0, self.shown.seconds if self.shown else 1.0)
        if not self._end <= now <= self._end * (1 + 1 / (2 * self._width)):
            self._end = now
        return self._window or (0.0, self._end)

    @property
    def _width(self) -> int:
        """Columns of a curve."""
        return max(10, self.size.width - LABEL - 3)

    def _draw(self) -> None:
        body = self.query_one("#gpu-curves", Static)
        if not self._curves:
            body.update(Content.styled(f"\n  {self._why}\n", "$quiet"))
            return
        begin, end = self._span()
        ascii = self.glyphs is ASCII
        shown = self._shown_curves()
        drawn = sum(one.of != "held" for one in shown)
        room = max(LEAST_LINES, min(MOST_LINES, (self.size.height - 12) // max(1, drawn) - 1))
        lines: list[Content] = []
        for curve in shown:
            parts = self._parts_of(curve, begin, end, self._width if ascii else 2 * self._width)
            draw = held_lines if curve.of == "held" else partial(curve_lines, room=room, title=self._title(curve))
            lines += draw(curve, parts, self._width, ascii)
        left, right = clock(begin), clock(end)
        gap = " " * max(1, self._width - len(left) - len(right))
        lines.append(Content.styled(f"{' ' * LABEL}{left}{gap}{right}", "$quiet"))
        body.update(Content("\n").join(lines))

    def _rates(self) -> list[Curve]:
        """Those of kinds of work that had begun: what is still to come in a run that is played again is not shown."""
        now = self.shown.seconds if self.shown and self.shown.playing else float("inf")
        return [one for one in self._curves if one.of == "rate" and one.series.seconds[0] <= now]

    def _rate(self, rates: list[Curve]) -> Curve | None:
        """The one that is shown: which was chosen, else of what it works on, else the last."""
        row = self.row
        together = row is not None and row.what.endswith(", all at once")
        for name in (self._chosen, kind_name(row.sample, together) if row else ""):
            for one in rates:
                if one.name == name:
                    return one
        return rates[-1] if rates else None

    def _shown_curves(self) -> list[Curve]:
        rates = self._rates()
        chosen = self._rate(rates)
        shown = rates if self._all else [chosen] if chosen else []
        return [*shown, *(one for one in self._curves if one.of != "rate")]

    def _title(self, curve: Curve) -> str:
        """`rate 2 of 6  matmul.fp16.power`."""
        if curve.of != "rate":
            return curve.name
        names = [one.name for one in self._rates()]
        return f"rate {names.index(curve.name) + 1} of {len(names)}  {curve.name}" if len(names) > 1 else (
            f"rate {curve.name}")

    def _parts_of(self, curve: Curve, begin: float, end: float, dots: int) -> list[Stretch]:
        key = (begin, end, dots)
        known = self._parts.get(curve.name)
        if known is None or known[0] != key:
            known = self._parts[curve.name] = (key, curve.over(begin, end, dots))
        if self.shown is not None and self.shown.playing:  # what is still to come is not shown
            return [one for one in known[1] if one.begin <= self.shown.seconds]
        return known[1]

    def action_rate(self, by: int) -> None:
        rates = self._rates()
        shown = self._rate(rates)
        if shown is not None:
            self._all = False
            self._chosen = rates[(rates.index(shown) + by) % len(rates)].name
            self._draw()

    def action_all_rates(self) -> None:
        self._all = not self._all
        self._draw()

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
            self._curves, self._read_at, self._why = (), None, "reading the curves"
            self._parts.clear()
            self.draw(self.shown)
