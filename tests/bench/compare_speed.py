"""Time and memory to compare two day-long runs of 8 GPUs. By hand: `python -m tests.bench.compare_speed`; half an hour,
nearly all of it to make the runs.

    python -m tests.bench.compare_speed --hours 2              shorter ones
    python -m tests.bench.compare_speed --stores A.sqlite B.sqlite

The made-up runs keep no figures, so both are gone through, as runs are from before the scatter was kept. Exit code 1 where
a promise is broken: 40 s of processor, which is twice what it may take to judge a day again, and 300 MB.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.store_size import simulate_plan

SECONDS, MEGABYTES = 40.0, 300.0


def measure(one: str, other: str) -> tuple[float, float, float]:
    """Seconds of the clock and of the processor, and the peak of memory in MB."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "boxcheck", "compare", one, other, "-q"], check=True, timeout=1800)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--stores", nargs=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="boxcheck-bench-") as folder:
        stores = asked.stores
        if stores is None:
            stores = []
            for name, seconds in (("a", asked.hours * 3600), ("b", asked.hours * 3600 - 600)):
                (Path(folder) / name).mkdir()
                stores.append(simulate_plan(str(Path(folder) / name), seconds=int(seconds)))
        sizes = ", ".join(f"{Path(one).stat().st_size / 1e6:.0f} MB" for one in stores)
        clock, processor, memory = measure(*stores)
    print(f"stores of {sizes}: {clock:.1f} s, {processor:.1f} s of processor, {memory:.0f} MB")
    return int(processor > SECONDS or memory > MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
