"""Time of a run over memory: signs of life, rests, and the end."""

from __future__ import annotations

import time

from boxcheck.stress import Rig


class Pulse:
    """Signs of life for the supervisor, at most ten a second."""

    def __init__(self, rig: Rig) -> None:
        self.stopping = rig.stopping
        self._rig = rig
        self._began = time.monotonic()
        self._last = 0.0

    def restart(self) -> None:
        """Counts the time from now on."""
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    @property
    def over(self) -> bool:
        return self.elapsed >= self._rig.seconds or self.stopping()

    def beat(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= 0.1:
            self._last = now
            self._rig.beat(text, self.elapsed / self._rig.seconds if self._rig.seconds else 1.0)

    def rest(self, seconds: float, text: str) -> float:
        """Sleeps so long, or until somebody stops it. Seconds slept."""
        began = time.monotonic()
        while (left := seconds - (time.monotonic() - began)) > 0 and not self.stopping():
            self.beat(f"{text}, {left:.0f} s left")
            time.sleep(min(left, 0.2))
        return time.monotonic() - began
