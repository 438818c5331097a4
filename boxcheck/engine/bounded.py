"""Reading the box within a time: on a thread that is left to itself when it does not come back.

Doctor's programs and GPU workers have time-outs of their own, files do not: a read of a device that the kernel waits
for comes back when the kernel gives it up, or never, and no signal ends it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MOST_SECONDS = 300.0
"""For doctor within a burn-in, which takes 8 s on a sound box; one on which every program runs into its time-out takes
a minute or two."""
LEAST_SECONDS = 120.0
"""Also where the run's time is over already: what the load has done to the box is to be told."""
ASK_SECONDS = 0.2


def seconds_left(hard_end: float, now: float) -> float:
    """How long doctor may take when the run must end at `hard_end`."""
    return min(MOST_SECONDS, max(LEAST_SECONDS, hard_end - now))


def within(seconds: float, work: Callable[[], T], meanwhile: Callable[[], object]) -> T:
    """What the work gives; raises what it raises, or TimeoutError. `meanwhile` is called as long as it goes on, five
    times a second."""
    answer: list[T] = []
    errors: list[BaseException] = []

    def do() -> None:
        try:
            answer.append(work())
        except BaseException as error:  # noqa: BLE001  raised below, in the thread that waits for it
            errors.append(error)

    thread = threading.Thread(target=do, daemon=True, name="doctor")
    thread.start()
    end = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < end:
        meanwhile()
        thread.join(min(ASK_SECONDS, max(0.0, end - time.monotonic())))
    if errors:
        raise errors[0]
    if not answer:
        raise TimeoutError(f"it did not come to an end within {seconds:.0f} s")
    return answer[0]
