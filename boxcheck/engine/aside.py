"""A call that may hang, in a thread of its own, one at a time: whoever asks for it goes on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Aside(Generic[T]):
    """`poll` now and then, `finish` at the end."""

    def __init__(self, call: Callable[[], T], name: str) -> None:
        self._call, self._name = call, name
        self._thread: threading.Thread | None = None
        self._given: list[T] = []
        self._error: list[BaseException] = []

    def poll(self) -> T | None:
        """What the call before gave, told once; None while it goes on. Then begins the next. What it raised is raised
        here."""
        if self._thread is not None and self._thread.is_alive():
            return None
        given = self._taken()
        self._thread = threading.Thread(target=self._run, daemon=True, name=self._name)
        self._thread.start()
        return given

    def finish(self, seconds: float) -> tuple[bool, T | None]:
        """Whether the call that goes on came to its end in that time, and what it gave."""
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return False, None
        return True, self._taken()

    def _taken(self) -> T | None:
        if self._error:
            raise self._error.pop()
        return self._given.pop() if self._given else None

    def _run(self) -> None:
        try:
            self._given.append(self._call())
        except BaseException as error:  # noqa: BLE001  raised again by whoever asks
            self._error.append(error)
