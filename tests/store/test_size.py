"""A day fits, is read again in time, and writing it costs next to nothing. The whole of it: tests/bench/store_size.py."""

from __future__ import annotations

import os
import time
from pathlib import Path

from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from tests.bench.store_size import simulate

GPUS = 2
DAY_OF_EIGHT = 24 * 8 / GPUS
"""Times what is simulated here: an hour of two GPUs."""


def test_a_day_of_eight_gpus_makes_less_than_100_megabytes_and_is_read_again(tmp_path: Path) -> None:
    spent = time.process_time()
    path = simulate(str(tmp_path), seconds=3600, gpus=GPUS)
    spent = time.process_time() - spent
    assert os.path.getsize(path) * DAY_OF_EIGHT < 100e6
    # Making up what is written is part of it. A day may take 1 % of a core: 864 s.
    assert spent * DAY_OF_EIGHT < 864
    spent = time.process_time()
    with RunReader(path) as run:
        results, watching = results_of(run, 1), watching_of(run, 1)
    spent = time.process_time() - spent
    assert (len(results.samples), dict(watching.readings)) == (7200, {"cuda:0": 3600, "cuda:1": 3600})
    assert spent * DAY_OF_EIGHT < 30, "10 s on a machine that does nothing else"
