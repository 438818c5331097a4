"""Calls that may block inside the kernel, where no signal arrives: run on a thread that is abandoned when it does not
answer in time. The process itself can end only when the kernel lets go of that thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs one call at a time with a time limit; a call that hangs costs its thread and nothing else."""

    def __init__(self) -> None:
        self._questions: SimpleQueue[Callable[[], Any]] | None = None
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def call(self, question: Callable[[], T], timeout_seconds: float) -> T:
        """The answer; raises what the call raised, or TimeoutError."""
        if self._questions is None:
            self._questions, self._answers = SimpleQueue(), SimpleQueue()
            threading.Thread(target=_serve, args=(self._questions, self._answers), daemon=True).start()
        self._questions.put(question)
        try:
            value, error = self._answers.get(timeout=timeout_seconds)
        except Empty:
            self._questions = None
            raise TimeoutError from None
        except BaseException:
            self._questions = None  # its answer is still to come, and would be taken for that of the next call
            raise
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]


def _serve(questions: SimpleQueue[Callable[[], Any]], answers: SimpleQueue[tuple[Any, BaseException | None]]) -> None:
    while True:
        call = questions.get()
        try:
            answers.put((call(), None))
        except BaseException as error:  # noqa: BLE001  handed to the caller, who catches narrowly
            answers.put((None, error))
