"""Small trees for tests of probes: what is not put into one did not exist on the machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from boxcheck.engine.inspect import read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.host.live import LiveHost
from boxcheck.model import Unread
from tests.boxes.tree import Login, Tree

T = TypeVar("T")


def tree(files: Mapping[str, str | bytes | int] | None = None, *, root: bool = True, whole: bool = True) -> Tree:
    """A machine that has these files; with `whole` False, a capture that does not know what else there was."""
    made = Tree(covers=["/*"] if whole else [])
    made.login = Login() if root else Login("anna", 1000, 1000, (1000,))
    made.directory("/sys")
    for path, text in (files or {}).items():
        made.put(path, text)
    return made


def host(made: Tree, folder: Path) -> CaptureHost:
    return CaptureHost(str(made.write_dir(tempfile.mkdtemp(dir=folder))))


def fact(kind: type[T], made: Tree, folder: Path) -> T:
    """The fact that its probe reads from the tree, with what it reads in turn."""
    facts = read_facts(host(made, folder), [kind])
    assert not facts.crashes, facts.crashes[0].traceback
    value = facts.of(kind)
    assert not isinstance(value, Unread), value.why
    return value


def live(kind: type[T]) -> T:
    """The fact of the machine that runs the tests."""
    facts = read_facts(LiveHost(), [kind])
    assert not facts.crashes, facts.crashes[0].traceback
    value = facts.of(kind)
    assert not isinstance(value, Unread), value.why
    return value


def kind_of(value: object) -> str | None:
    """Kind of an Unread, None for a value that was read."""
    return value.kind if isinstance(value, Unread) else None


def never_raises(parse: Callable[[str], Any], *texts: str) -> None:
    for text in texts:
        parse(text)


HOSTILE = (
    "", "\n", "\x00", "-", ":", "|||||||", " - ", "a" * 100_000, "9" * 100_000, "\x1b[31mred\x1b[0m", "{", "[[[[",
    "null", "\u202egnp.exe", "0-99999999999", "NaN", "1e999", "=", "a=b=c", "\n".join([":"] * 5000),
)
"""Texts that no kernel writes."""
