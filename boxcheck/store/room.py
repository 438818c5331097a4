"""How much room a run's file needs, known before it begins."""

from __future__ import annotations

import os

from boxcheck.host.common import one_line
from boxcheck.store.creating import ANOTHER, LEAST_FREE_BYTES
from boxcheck.store.errors import StoreError

BYTES_A_DAY_AND_GPU = 6_300_000
"""49.9 MB a day for 8 GPUs (docs/reference/store.md; tests/bench/store_size.py)."""
MARGIN = 2.0
"""For a box whose log speaks more, and whose samples are more, than the measured one's."""
DAY_SECONDS = 86_400.0


def needed_bytes(seconds: float, gpus: int) -> int:
    """Of a run of that length, with what every run needs."""
    return LEAST_FREE_BYTES + round(MARGIN * BYTES_A_DAY_AND_GPU * max(gpus, 1) * seconds / DAY_SECONDS)


def refuse_no_room(folder: str, seconds: float, gpus: int) -> None:
    """StoreError where the folder cannot be written, or its disk has not the room that the plan needs."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(
            "forbidden", f"{one_line(folder)}: this user may not write there, or its disk is read-only", ANOTHER)
    try:
        status = os.statvfs(folder)
    except OSError as error:
        raise StoreError("forbidden", f"{one_line(folder)}: {os.strerror(error.errno or 0).lower()}", ANOTHER) from None
    free, needed = status.f_bavail * status.f_frsize, needed_bytes(seconds, gpus)
    if free < needed:
        raise StoreError(
            "full", f"{one_line(folder)}: {free / 1e6:.0f} MB are free, and this plan needs {needed / 1e6:.0f} MB",
            ANOTHER)
