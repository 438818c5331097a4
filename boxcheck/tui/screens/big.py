"""The verdict for the other side of the room: a word in blocks, a pattern of its own, the time left."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from boxcheck.checks.wording import clock
from boxcheck.model import Outcome
from boxcheck.tui.frame import Frame
from boxcheck.tui.look import ASCII, cut, filled, outcome_of, plain, reason_of, style_of, word_of
from boxcheck.tui.screens.view import View

LETTERS = {
    "A": (" ### ", "#   #", "#####", "#   #", "#   #"), "C": (" ####", "#    ", "#    ", "#    ", " ####"),
    "D": ("#### ", "#   #", "#   #", "#   #", "#### "), "E": ("#####", "#    ", "###  ", "#    ", "#####"),
    "F": ("#####", "#    ", "###  ", "#    ", "#    "), "G": (" ####", "#    ", "#  ##", "#   #", " ####"),
    "H": ("#   #", "#   #", "#####", "#   #", "#   #"), "I": ("###", " # ", " # ", " # ", "###"),
    "K": ("#   #", "#  # ", "###  ", "#  # ", "#   #"), "L": ("#    ", "#    ", "#    ", "#    ", "#####"),
    "M": ("#   #", "## ##", "# # #", "#   #", "#   #"), "N": ("#   #", "##  #", "# # #", "#  ##", "#   #"),
    "O": (" ### ", "#   #", "#   #", "#   #", " ### "), "P": ("#### ", "#   #", "#### ", "#    ", "#    "),
    "R": ("#### ", "#   #", "#### ", "#  # ", "#   #"), "S": (" ####", "#    ", " ### ", "    #", "#### "),
    "T": ("#####", "  #  ", "  #  ", "  #  ", "  #  "), "U": ("#   #", "#   #", "#   #", "#   #", " ### "),
    "W": ("#   #", "#   #", "# # #", "## ##", "#   #"),
}
"""Five lines a letter, for the words of `look`."""
PATTERN = {
    Outcome.PASS: ("█", "#"), Outcome.MARGINAL: ("▓", "%"), Outcome.FAIL: ("▚", "X"), Outcome.UNKNOWN: ("▒", ":"),
    Outcome.SKIP: ("▒", ":"),
}
"""What the letters are made of, with Unicode and without: each outcome looks otherwise without colour, too."""


def big(word: str, mark: str, width: int, height: int) -> list[str]:
    """The word in blocks, each `scale` wide and high as far as there is room; the word itself where there is none."""
    rows = [" ".join(LETTERS[letter][line] for letter in word) for line in range(5)]
    across = min(width // len(rows[0]), 2 * (height // 5))
    down = min(height // 5, max(1, across // 2))
    if across < 1 or down < 1:
        return [word]
    return [
        "".join((mark if cell == "#" else " ") * across for cell in row) for row in rows for _ in range(down)]


class BigVerdict(View):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("b,escape,enter,q", "app.pop_screen", "back")]

    def compose(self) -> ComposeResult:
        yield Static("", id="big")
        yield Static("", id="big-foot")

    def draw(self, frame: Frame) -> None:
        word, style = word_of(frame), style_of(frame)
        mark = PATTERN[outcome_of(frame)][1 if self.glyphs is ASCII else 0]
        body = self.query_one("#big", Static)
        shown = big(word, mark, max(1, self.size.width - 4), max(1, self.size.height - 6))
        body.update(Content.styled("\n".join(shown), style))
        left = None if frame.planned_seconds is None else max(0.0, frame.planned_seconds - frame.seconds)
        parts = [part for part in (
            f"box {plain(frame.box)}" if frame.box else plain(frame.run),
            "" if frame.over or frame.lost else plain(frame.until) if left is None else f"{clock(left)} left") if part]
        width = max(10, self.size.width - 2)
        self.query_one("#big-foot", Static).update(Content("\n").join((
            Content.styled(cut("     ".join(parts), width), "bold"), *map(Content, _reason(frame, width)))))


def _reason(frame: Frame, width: int) -> list[str]:
    """In two lines at most."""
    first, *rest = filled(reason_of(frame), width)
    return [first, cut(" ".join(rest), width)] if rest else [first]
