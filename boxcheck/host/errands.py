"""Calls to devices that may hang in the kernel, on a thread that is left behind when the kernel does not let it go.

Unlike `boxcheck.host.worker` this is for calls that change something: a call that was given up may still be made, so
nothing more is asked of its device until it is known to have ended, and an interruption waits for the answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class StillHanging(TimeoutError):
    """An earlier call has not come back, so this one was not made."""


class _Errand:
    """A call on its way."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work, self.done = work, threading.Event()
        self._taken = threading.Lock()
        self.value: Any = None
        self.error: BaseException | None = None

    def take(self) -> bool:
        """Whether it is the caller's now, to run or to drop; the first who asks has it."""
        return self._taken.acquire(blocking=False)

    def run(self) -> None:
        try:
            self.value = self.work()
        except BaseException as error:  # noqa: BLE001  handed to the caller, who catches narrowly
            self.error = error
        self.done.set()


class Errands:
    """Runs one call at a time, on a thread that is left behind when the kernel does not let it go."""

    def __init__(self) -> None:
        self._errands: SimpleQueue[_Errand] | None = None
        self._hanging: dict[str, _Errand] = {}

    def call(self, device: str, work: Callable[[], T], timeout_seconds: float) -> T:
        """The answer; raises what the call raised, or TimeoutError. While a call to the same device hangs, nothing more
        is asked of it. An interruption waits for the answer first: the caller's world stays one in which it was made or
        was not."""
        before = self._hanging.get(device)
        if before is not None:
            if not before.done.wait(timeout_seconds):
                raise StillHanging
            self._hanging.pop(device, None)
        errand = _Errand(work)
        try:
            self._send(errand)
            ended = errand.done.wait(timeout_seconds)
        except BaseException:
            if errand.take():
                self._errands = None  # it was not begun, and perhaps nor was its thread
                raise
            with suppress(KeyboardInterrupt):
                errand.done.wait(timeout_seconds)
            if not errand.done.is_set():
                self._leave(device, errand)
            raise
        if not ended:
            self._leave(device, errand)
            raise TimeoutError
        if errand.error is not None:
            raise errand.error
        return errand.value  # type: ignore[no-any-return]

    def _send(self, errand: _Errand) -> None:
        if self._errands is None:
            self._errands = SimpleQueue()
            threading.Thread(target=_serve, args=(self._errands,), daemon=True).start()
        self._errands.put(errand)

    def _leave(self, device: str, errand: _Errand) -> None:
        self._hanging[device] = errand
        self._errands = None


def _serve(errands: SimpleQueue[_Errand]) -> None:
    while True:
        errand = errands.get()
        if errand.take():
            errand.run()
        del errand
