"""All actions of a screen by name, behind ctrl+p."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.binding import ActiveBinding
from textual.command import DiscoveryHit, Hit, Hits, Provider

from boxcheck.tui.widgets.keys import NAMES

OTHERS = frozenset(("command_palette", "app.focus_next", "app.focus_previous", "screen.copy_text"))
"""Those of the toolkit, and what opens the list itself."""


class Actions(Provider):
    """What the keys of the screen below do, and those of what is in focus there."""

    def _named(self) -> Iterator[tuple[str, str, ActiveBinding]]:
        seen = set()
        for key, active in self.screen.active_bindings.items():
            words = active.binding.tooltip or active.binding.description
            own = type(active.node).__module__.startswith("boxcheck.")
            action = active.binding.action
            if words and own and words not in seen and action not in OTHERS and not action.startswith("move"):
                seen.add(words)
                yield words, f"key {NAMES.get(key, key)}", active

    async def discover(self) -> Hits:
        for words, help, active in self._named():
            yield DiscoveryHit(words, partial(self.app.run_action, active.binding.action, active.node), help=help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for words, help, active in self._named():
            score = matcher.match(words)
            if score > 0:
                act = partial(self.app.run_action, active.binding.action, active.node)
                yield Hit(score, matcher.highlight(words), act, help=help)
