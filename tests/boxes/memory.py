"""A built box as a host without writing it to disk: judging a hundred boxes then takes seconds."""

from __future__ import annotations

from collections.abc import Mapping

from boxcheck.host.capture import CaptureHost
from boxcheck.host.tree import Kind
from boxcheck.model import Unread
from tests.boxes.tree import Symlink, Tree


class MemoryTree:
    """See `boxcheck.host.tree.Tree`."""

    def __init__(self, tree: Tree) -> None:
        self.complaints: list[str] = []
        self.lost: set[str] = set()
        self._files: dict[str, bytes] = {}
        self._links: dict[str, str] = {}
        self._listings: dict[str, dict[str, Kind]] = {"": {}}
        for member, node in tree.members():
            path = f"/{member.strip('/')}"
            kind: Kind = "dir"
            if isinstance(node, Symlink):
                kind = "link"
                self._links[path] = node.target
            elif node is not None:
                kind = "file"
                self._files[path] = bytes(node)
            self._enter(path, kind)

    def _enter(self, path: str, kind: Kind) -> None:
        if kind == "dir":
            self._listings.setdefault(path, {})
        while path:
            head, _, name = path.rpartition("/")
            known = self._listings.setdefault(head, {})
            if name in known:
                return
            known[name] = kind
            path, kind = head, "dir"

    def listing(self, path: str) -> Mapping[str, Kind] | None:
        return self._listings.get(path.rstrip("/"))

    def link(self, path: str) -> str:
        return self._links[path]

    def read(self, path: str, limit_bytes: int) -> bytes | Unread:
        data = self._files[path]
        return data if len(data) <= limit_bytes else Unread("larger than the limit", "malformed")


def host(tree: Tree) -> CaptureHost:
    """The built box, ready to be read."""
    return CaptureHost("built box", MemoryTree(tree))
