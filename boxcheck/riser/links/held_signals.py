"""Signals that wait while a link is being changed, and are delivered once it is as it was."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

HELD_SIGNALS = (signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""SIGINT last: given back, it may interrupt whatever follows."""
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """Somebody asked the program to stop (Ctrl-C, SIGTERM, SIGHUP); raised between two accesses."""


class Signals:
    """Signals that wait. In another thread than the main one Python delivers none, and nothing is held."""

    def __init__(self) -> None:
        self.noted: list[int] = []
        self._old: dict[int, Any] = {}
        self._obeyed = False

    @property
    def stopping(self) -> bool:
        return any(number in STOPPING for number in self.noted)

    def hold(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in HELD_SIGNALS:
            # None: not set by Python, and could not be put back. One that is ignored (nohup) stops nothing.
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                self._old[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted.append(number)

    def restoring(self) -> None:
        self._obeyed = True

    def obey(self) -> None:
        if self.stopping and not self._obeyed:
            self._obeyed = True
            raise Stopped

    def release(self) -> None:
        """Gives each signal back to whoever had it, and delivers what was noted."""
        for number, old in self._old.items():
            signal.signal(number, old)
        self._old.clear()
        _deliver(list(dict.fromkeys(self.noted)))


def _deliver(numbers: list[int]) -> None:
    """All of them, also where the first raises."""
    if numbers:
        try:
            signal.raise_signal(numbers[0])
        finally:
            _deliver(numbers[1:])
