"""The last line: keys and what they do, as many as fit, the first of them and help always."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Input, Static

NAMES = {
    "question_mark": "?", "slash": "/", "escape": "esc", "plus": "+", "minus": "-", "left_square_bracket": "[",
    "right_square_bracket": "]", "less_than_sign": "<", "greater_than_sign": ">",
}
LAST = "help"
TYPING = {"keep these": "enter", "show all": "esc"}
"""While words are typed nothing else is a key."""
PLAYED = {"pause": "space", "speed": "< >", "a minute": "[ ]"}
"""Of a run that is played again, on the screen that has these keys."""


class Keys(Static):
    """Of what is in focus, of the screen and of the application; those with `show`."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self._draw())
        self._draw()

    def show(self) -> None:
        """Again where it is another line than before: what can be done depends on the run."""
        if self._found() != self._shown:
            self._draw()

    def on_resize(self) -> None:
        self._draw()

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: dict[str, str] = {}

    def _found(self) -> dict[str, str]:
        if isinstance(self.screen.focused, Input):
            return dict(TYPING)
        can_stop = getattr(self.app, "can_stop", True)
        shown = getattr(self.screen, "shown", None)
        plays = shown is not None and shown.playing and "space" in self.screen._bindings.key_to_bindings
        found: dict[str, str] = {}
        for node in (self.screen.focused, self.screen, self.app):
            if node is self.screen and plays:
                found |= PLAYED
            if node is not None and type(node).__module__.startswith("boxcheck."):
                for binding in node._bindings.shown_keys:
                    if can_stop or binding.action != "app.stop":
                        found.setdefault(binding.description, NAMES.get(binding.key, binding.key))
        return found

    def _draw(self) -> None:
        self._shown = self._found()
        self.update(line(self._shown, max(10, (self.size.width or 80) - 2)))


def line(keys: dict[str, str], width: int) -> Content:
    """`keys`: by what they do, in the order of their worth."""
    last = [(LAST, keys[LAST])] if LAST in keys else []
    first = [(word, key) for word, key in keys.items() if word != LAST]
    for gap in (2, 1):
        if _length([*first, *last], gap) <= width:
            break
    while first and _length([*first, *last], gap) > width:
        first.pop()
    parts: list[tuple[str, str] | str] = [" "]
    for word, key in (*first, *last):
        parts += [(key, "bold $primary"), f" {word}", " " * gap]
    return Content.assemble(*parts)


def _length(shown: list[tuple[str, str]], gap: int) -> int:
    return sum(len(word) + len(key) + 1 + gap for word, key in shown) - gap
