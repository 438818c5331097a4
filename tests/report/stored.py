"""Stores that the machine outputs are tested with: one of each kind of end, made once a session."""

from __future__ import annotations

from functools import cache
from tempfile import mkdtemp

from tests.tui.runs import made


@cache
def stored(name: str) -> str:
    """Path of the store of a made-up run (tests/tui/runs.py), which nobody writes any more."""
    with made(name, mkdtemp(prefix=f"boxcheck-test-{name}-")) as run:
        return run.path


EVERY = ("finished", "failed", "lost", "crashed", "stopped", "hostile", "no-gpu", "nothing-yet")
