"""The thread that reads for the live host, when the one who asked does not wait for the answer."""

from __future__ import annotations

import os
from typing import Any

import pytest

from boxcheck.host.worker import Worker


class Interrupted:
    """A queue whose first reader is interrupted (Ctrl-C) while it waits."""

    def __init__(self, answers: Any) -> None:
        self.answers, self.asked = answers, 0

    def get(self, timeout: float) -> Any:
        self.asked += 1
        if self.asked == 1:
            raise KeyboardInterrupt
        return self.answers.get(timeout=timeout)


def test_the_answer_to_an_interrupted_call_is_not_taken_for_that_of_the_next() -> None:
    worker = Worker()
    assert worker.call(lambda: "before", 30) == "before"
    worker._answers = Interrupted(worker._answers)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        worker.call(lambda: "interrupted", 30)
    assert worker.call(lambda: "after", 30) == "after"
    assert worker.call(lambda: "last", 30) == "last"


def test_a_call_that_fails_fails_for_its_caller_alone() -> None:
    worker = Worker()
    with pytest.raises(FileNotFoundError):
        worker.call(lambda: os.stat("/nowhere/at/all"), 30)
    assert worker.call(lambda: "after", 30) == "after"
