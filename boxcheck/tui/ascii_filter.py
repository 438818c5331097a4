"""All that is drawn, in ASCII: for serial consoles, which show bytes above 126 as something else or not at all. Also
what the toolkit draws by itself: scroll bars, marks of tables, borders."""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

LIKE = {
    **dict.fromkeys("─━═╌┄▔▁▂", "-"), **dict.fromkeys("│┃║▏▎▍▌▐▕┆╎", "|"), **dict.fromkeys("█▇▆▅▓■●", "#"),
    **dict.fromkeys("▄▃▀▒░◼", ":"), **dict.fromkeys("▸▶›»→", ">"), **dict.fromkeys("◀‹«←", "<"), "·": ".", "…": "~",
    "↑": "^", "▲": "^", "↓": "v", "▼": "v", "°": " ", "–": "-", "—": "-", "×": "x",
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼╔╗╚╝", "+"),
}


@lru_cache(4096)
def ascii_of(text: str) -> str:
    """As many columns as before: a character of two becomes two, one of none nothing."""
    if text.isascii():
        return text
    return "".join(
        one if one.isascii() else LIKE.get(one) or "?" * cell_len(one) for one in text)


class AsciiFilter(LineFilter):
    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            one if one.control or one.text.isascii() else Segment(ascii_of(one.text), one.style) for one in segments]
