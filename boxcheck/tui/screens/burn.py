"""The screen of a run: verdict, GPUs, host, and below them what is asked for."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input

from boxcheck.tui.frame import Frame
from boxcheck.tui.screens.view import View
from boxcheck.tui.widgets.gpus import GpuTable
from boxcheck.tui.widgets.head import Head, VerdictBar
from boxcheck.tui.widgets.host_line import HostLine
from boxcheck.tui.widgets.keys import Keys
from boxcheck.tui.widgets.panes import EventsPane, FindingsPane, LedgerPane, MatrixPane, Pane

WIDE = 110
"""From here on two panes stand side by side."""
WIDEST = 180
"""The same where one of them has a column for each GPU."""
LOW = 10
"""Lines of the panes below, up to which they have no line under them: a line more of what is in them is worth more."""
HIGH = 45
"""Lines from which on three panes stand side by side where it is as wide as that."""
FEW = 7
"""GPUs up to which a matrix of copies fits beside two others at that width."""
PANES: dict[str, type[Pane]] = {
    "events": EventsPane, "matrix": MatrixPane, "links": LedgerPane, "findings": FindingsPane}


class BurnScreen(View):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "pane('events')", "events", tooltip="events: what happened"),
        Binding("m", "pane('matrix')", "copies", tooltip="copies between GPUs"),
        Binding("l", "pane('links')", "links", tooltip="links and their errors"),
        Binding("f", "pane('findings')", "found", tooltip="findings: what did not pass"),
        Binding("b", "app.big", "big", tooltip="big verdict"),
        Binding("s", "app.stop", "stop", tooltip="stop the run"),
        Binding("q", "app.leave", "leave", tooltip="leave; the run goes on"),
        Binding("d", "app.doctor", "doctor", tooltip="doctor: before, after, now"),
        Binding("r", "app.runs", "runs", tooltip="other runs"),
        Binding("slash", "filter", "filter", tooltip="filter events"),
        Binding("space", "app.pause", "stand still or go on", show=False),
        Binding("less_than_sign", "app.speed(0.5)", "slower", show=False),
        Binding("greater_than_sign", "app.speed(2.0)", "faster", show=False),
        Binding("left_square_bracket", "app.seek(-60.0)", "a minute back", show=False),
        Binding("right_square_bracket", "app.seek(60.0)", "a minute on", show=False),
        Binding("escape", "to_gpus", "back to the GPUs", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._pane = "findings"
        self._arranged: set[str] = set()

    def compose(self) -> ComposeResult:
        yield Head(id="head")
        yield VerdictBar(id="verdict")
        with VerticalScroll(id="gpus-box", can_focus=False):
            yield GpuTable(id="gpus")
        yield HostLine(id="host")
        with Horizontal(id="below"):
            for name, kind in PANES.items():
                with VerticalScroll(id=f"{name}-box", classes="pane-box", can_focus=name != "links"):
                    yield kind(id=name)
        yield Input(placeholder="show events with these words; escape shows all", id="filter", classes="hidden")
        yield Keys(id="keys")

    def on_mount(self) -> None:
        self.query_one(GpuTable).focus()
        self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        self.set_class(0 < self.query_one("#below").size.height < LOW, "low")
        wanted = self._wanted()
        for name in PANES:
            self.query_one(f"#{name}-box").set_class(name not in wanted, "hidden")
        if wanted != self._arranged:
            self._arranged = wanted
            self.again()

    def _wanted(self) -> set[str]:
        """The pane that was asked for, and what there is room for beside it."""
        width, height = self.app.size
        if width < (WIDEST if self._pane == "matrix" else WIDE):
            return {self._pane}
        wanted = {self._pane, "findings" if self._pane == "events" else "events"}
        if width >= WIDEST and height >= HIGH and self._pane != "matrix":
            has_copies = self.shown is not None and bool(self.shown.matrices) and len(self.shown.gpus) <= FEW
            third = ("findings",) if self._pane == "links" else ("matrix",) if has_copies else ("links",)
            wanted |= set(third)
        return wanted

    def draw(self, frame: Frame) -> None:
        self._arrange()
        self.query_one(Head).show(frame, self.glyphs)
        self.query_one(VerdictBar).show(frame, self.glyphs)
        self.query_one(GpuTable).show(frame, self.glyphs)
        self.query_one(HostLine).show(frame, self.glyphs)
        self.query_one(Keys).show()
        for one in self.query(Pane):
            if one.parent is not None and not one.parent.has_class("hidden"):
                one.show(frame, self.glyphs)

    def action_pane(self, name: str) -> None:
        self._pane = name
        self._arrange()
        self.again()
        self._focus_pane(name)

    def _focus_pane(self, name: str) -> None:
        self.query_one("#links" if name == "links" else f"#{name}-box").focus()

    def action_to_gpus(self) -> None:
        box = self.query_one("#filter", Input)
        box.value = ""
        box.add_class("hidden")
        self.query_one(GpuTable).focus()

    def action_filter(self) -> None:
        self.action_pane("events")
        box = self.query_one("#filter", Input)
        box.remove_class("hidden")
        box.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        pane = self.query_one(EventsPane)
        pane.filter = event.value
        if self.shown is not None:
            pane.show(self.shown, self.glyphs)

    def on_input_submitted(self) -> None:
        self.query_one("#filter").add_class("hidden")
        self._focus_pane("events")
