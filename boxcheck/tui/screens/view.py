"""Screens that say that a terminal is too small, and those of them that draw frames."""

from __future__ import annotations

from textual.screen import Screen
from textual.widgets import Static

from boxcheck.tui.frame import Frame
from boxcheck.tui.look import UNICODE, Glyphs

LEAST = (60, 16)
"""Columns and lines below which it says so instead."""


class Sized(Screen[None]):
    """What is done here when it is mounted and resized is done in each class below it as well, after what that does
    (Textual calls the handlers of all classes)."""

    def on_mount(self) -> None:
        self.mount(Static("", id="small", markup=False), before=0)
        self._mind_size()

    def on_resize(self) -> None:
        self._mind_size()

    def _mind_size(self) -> None:
        width, height = self.app.size
        for notice in self.query("#small").results(Static):
            notice.update(f"this terminal has {width} x {height}; the screen needs {LEAST[0]} x {LEAST[1]}")
        self.set_class(width < LEAST[0] or height < LEAST[1], "too-small")


class View(Sized):
    def __init__(self) -> None:
        super().__init__()
        self.shown: Frame | None = None
        self.glyphs: Glyphs = UNICODE

    def show(self, frame: Frame, glyphs: Glyphs) -> None:
        self.shown, self.glyphs = frame, glyphs
        if self.is_mounted:
            self.draw(frame)

    def draw(self, frame: Frame) -> None:
        """Abstract: each screen says how (Textual's metaclass leaves no room for ABC's)."""
        raise NotImplementedError

    def again(self) -> None:
        """Draws once more what is shown, when sizes are settled."""
        self.call_after_refresh(self._again)

    def _again(self) -> None:
        if self.shown is not None and self.is_mounted and self.app.is_running:
            self.draw(self.shown)

    def on_resize(self) -> None:
        self.again()
