"""A machine whose registers and attributes are files: they stay as they are when the program that wrote them is killed."""

from __future__ import annotations

import mmap
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from boxcheck.model import Bdf
from tests.riser.simulated.machine import Machine


class Attributes(dict[str, str]):
    """Each in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        super().__init__({unquote(path.name): path.read_text() for path in folder.iterdir()})

    def __setitem__(self, path: str, text: str) -> None:
        super().__setitem__(path, text)
        (self._folder / quote(path, safe="")).write_text(text)


class DiskMachine(Machine):
    def __init__(self, folder: Path, real: float = 0.0) -> None:
        """`real`: seconds that each sleep takes at most on the clock on the wall."""
        super().__init__()
        self._spaces, self._real = folder / "config", real
        self._spaces.mkdir(exist_ok=True)
        (folder / "sys").mkdir(exist_ok=True)
        self.attributes = Attributes(folder / "sys")
        for path in self._spaces.iterdir():
            self._map(path.name)

    def add(self, bdf: str, size_bytes: int = 4096) -> Any:
        (self._spaces / bdf).write_bytes(bytes(size_bytes))
        return self._map(bdf)

    def _map(self, bdf: str) -> MutableMapping[Any, Any]:
        with (self._spaces / bdf).open("r+b") as stream:
            self.space[Bdf(bdf)] = mmap.mmap(stream.fileno(), 4096)  # type: ignore[assignment]
        return self.space[Bdf(bdf)]  # type: ignore[return-value]

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self._real:
            time.sleep(min(seconds, self._real))
