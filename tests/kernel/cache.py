"""Where the bench keeps what it fetched, and what its environment asks for.

    BOXCHECK_BENCH          unset: the smoke boot where the cache is there, the rest is skipped; 1: all of it, fetching
                            what is missing, skipped where it cannot run; require: the same, failing where it cannot run
    BOXCHECK_BENCH_CACHE    instead of ~/.cache/boxcheck-bench
    BOXCHECK_BENCH_SLOW     factor on all time limits (3 on a machine that does other work)
    BOXCHECK_BENCH_KERNEL   series to boot (6.1), instead of the newest that was fetched
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

NEEDED_FREE_MIB = 1500
"""Two kernels' packages (2 x 110 MiB, unpacked 2 x 400 MiB, then deleted) and QEMU (100 MiB) with room to spare."""

GUEST_MIB = 1024
HOST_MIB = GUEST_MIB + 300


class Unavailable(Exception):
    """Why the bench cannot run here, in one line."""


def cache() -> Path:
    named = os.environ.get("BOXCHECK_BENCH_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "boxcheck-bench"


def asked() -> str:
    """"" not asked, "1" or "require"."""
    word = os.environ.get("BOXCHECK_BENCH", "")
    return "" if word in ("", "0") else "require" if word == "require" else "1"


def seconds(limit: float) -> float:
    """A time limit, stretched for a slow machine."""
    return limit * float(os.environ.get("BOXCHECK_BENCH_SLOW", "1"))


def check_machine() -> None:
    """Raises Unavailable where no guest can run whatever is fetched."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Unavailable(f"the bench runs on Linux on x86_64, not on {platform.system()} on {platform.machine()}")


def free_mib() -> int:
    """Memory that a program can have without others being put out."""
    found = re.search(r"^MemAvailable: *(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)
    return int(found[1]) >> 10 if found else 0


def check_space(where: Path) -> None:
    free = shutil.disk_usage(where).free >> 20
    if free < NEEDED_FREE_MIB:
        raise Unavailable(f"{free} MiB are free below {where}, fetching needs {NEEDED_FREE_MIB}")


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Holds a lock of the cache, after waiting for the process that holds it."""
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def place_for_a_guest() -> Iterator[None]:
    """One of as many places as there are processors, each of which a guest keeps busy. Waits for other processes where they
    hold all of them, or the memory; raises Unavailable where nobody holds any and memory is short."""
    cache().mkdir(parents=True, exist_ok=True)
    places = len(os.sched_getaffinity(0))
    while True:
        with ExitStack() as stack:
            free = []
            for number in range(places):
                file = stack.enter_context(open(cache() / f"guest{number}.lock", "w"))
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    free.append(file)
            available = free_mib()
            if free and available >= HOST_MIB:
                for file in free[1:]:
                    file.close()
                yield
                return
            if len(free) == places:
                raise Unavailable(f"{available} MiB of memory are available, a guest needs {HOST_MIB}")
        time.sleep(0.2)
