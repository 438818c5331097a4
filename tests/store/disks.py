"""Small disks of memory, which a test fills, and makes read-only. They take root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, kibibytes: int) -> Iterator[Path]:
    """A tmpfs of that size at a new directory; skips where this user may not mount."""
    place.mkdir()
    if os.geteuid() != 0 or _run("mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "boxcheck-test", str(place)):
        pytest.skip("mounting a small disk takes root")
    try:
        yield place
    finally:
        for way in ((), ("-l",)):
            if _run("umount", *way, str(place)) == 0:
                break


def make_read_only(place: Path) -> None:
    if _run("mount", "-o", "remount,ro", str(place)):
        pytest.skip("this disk cannot be made read-only")


def _run(*words: str) -> int:
    with suppress(FileNotFoundError):
        return subprocess.run(words, capture_output=True, timeout=20).returncode
    return 1


class Ballast:
    """A file that takes all that is free on a disk, until it is removed."""

    def __init__(self, place: Path, leave: int = 0) -> None:
        self.path = place / "ballast"
        with open(self.path, "wb", buffering=0) as stream:
            with suppress(OSError):
                while True:
                    stream.write(b"x" * 4096)
            if leave:
                os.truncate(self.path, max(0, os.path.getsize(self.path) - leave))

    def remove(self) -> None:
        self.path.unlink()
