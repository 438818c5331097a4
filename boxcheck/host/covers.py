"""What a capture claims to have looked for: globs over paths, so that a covered path that is missing did not exist.

`*`, `?` and `[...]` stay within one component, as in a shell; `**` is any number of components; a glob that ends in a
bare `*` component covers all that lies below, so `/*` is the whole machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from re import Pattern

GLOB_LIMIT = 4000
COMPONENTS_LIMIT = 32


class _Node:
    __slots__ = ("all_below", "any_depth", "end", "exact", "globs", "loops")

    def __init__(self, loops: bool = False) -> None:
        self.loops = loops
        """Whether a component may match and stay here: after `**`."""
        self.exact: dict[str, _Node] = {}
        self.globs: list[tuple[Pattern[str], _Node]] = []
        self.any_depth: _Node | None = None
        self.end = False
        self.all_below = False


class Covers:
    """Walks a path through all globs at once: the cost is that of the path, not of the number of globs."""

    def __init__(self, globs: Iterable[object]) -> None:
        self._root = _Node()
        self._patterns: dict[str, Pattern[str]] = {}
        self._known: dict[tuple[int, str], _Node] = {}
        for number, glob in enumerate(globs):
            if number >= GLOB_LIMIT:
                break
            if isinstance(glob, str) and glob.startswith("/") and glob.count("/") <= COMPONENTS_LIMIT:
                self._add(glob[1:].split("/"))

    def _add(self, parts: list[str]) -> None:
        node = self._root
        for part in parts[:-1] if parts[-1] == "*" else parts:
            node = self._child(node, part)
        if parts[-1] == "*":
            node.all_below = True
        else:
            node.end = True

    def _child(self, node: _Node, part: str) -> _Node:
        if part == "**":
            if node.any_depth is None:
                node.any_depth = _Node(loops=True)
            return node.any_depth
        if not set(part) & set("*?["):
            return node.exact.setdefault(part, _Node())
        key = (id(node), part)
        if key not in self._known:
            self._known[key] = _Node()
            node.globs.append((self._pattern(part), self._known[key]))
        return self._known[key]

    def _pattern(self, part: str) -> Pattern[str]:
        import re
        from fnmatch import translate

        if part not in self._patterns:
            # translate() makes every star but the last atomic, so that no glob takes exponential time.
            self._patterns[part] = re.compile(translate(part))
        return self._patterns[part]

    def match(self, path: str) -> bool:
        """Whether the path was looked for."""
        nodes = _closed([self._root])
        for part in path[1:].split("/"):
            following: dict[int, _Node] = {}
            for node in nodes:
                if node.all_below:
                    return True
                if node.loops:
                    following[id(node)] = node
                exact = node.exact.get(part)
                if exact is not None:
                    following[id(exact)] = exact
                for pattern, child in node.globs:
                    if pattern.match(part):
                        following[id(child)] = child
            if not following:
                return False
            nodes = _closed(following.values())
        return any(node.end for node in nodes)


def _closed(nodes: Iterable[_Node]) -> list[_Node]:
    """The nodes, and those behind a `**` that matches nothing."""
    found = {id(node): node for node in nodes}
    for node in list(found.values()):
        if node.any_depth is not None:
            found[id(node.any_depth)] = node.any_depth
    return list(found.values())
