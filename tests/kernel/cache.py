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
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

NEEDED_FREE_MIB = 1500
"""Two kernels' packages (2 x 110 MiB, unpacked 2 x 400 MiB, then deleted) and QEMU (100 MiB) with room to spare."""

GUEST_MIB = 1024
HOST_MIB = GUEST_MIB + 300

_HELD: dict[str, tuple[IO[str] | None, int]] = {}
"""Locks of this process, and how often it holds each."""
_GATE = threading.Lock()


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
    check_memory()


def check_memory() -> None:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:") and int(line.split()[1]) >> 10 < HOST_MIB:
            raise Unavailable(f"{int(line.split()[1]) >> 10} MiB of memory are available, a guest needs {HOST_MIB}")


def room_for_another() -> bool:
    """Whether a second guest may start while one runs: a guest keeps little more than one processor busy."""
    try:
        check_memory()
    except Unavailable:
        return False
    return len(os.sched_getaffinity(0)) > 1


def check_space(where: Path) -> None:
    free = shutil.disk_usage(where).free >> 20
    if free < NEEDED_FREE_MIB:
        raise Unavailable(f"{free} MiB are free below {where}, fetching needs {NEEDED_FREE_MIB}")


def held(name: str) -> int:
    """How often this process holds a lock of the cache."""
    with _GATE:
        return _HELD.get(name, (None, 0))[1]


@contextmanager
def only_one(name: str, *, shared: bool = False) -> Iterator[None]:
    """Holds a lock of the cache: one process with guests at a time, one fetch at a time. Waits for another process that
    holds it. `shared`: this process may hold it more than once."""
    with _GATE:
        file, count = _HELD.get(name, (None, 0))
        if count and not shared:
            raise RuntimeError(f"this process runs a {name} already, and would wait for itself")
        if file is None:
            cache().mkdir(parents=True, exist_ok=True)
            file = open(cache() / f"{name}.lock", "w")  # noqa: SIM115  held until the last of them ends
            fcntl.flock(file, fcntl.LOCK_EX)
        _HELD[name] = (file, count + 1)
    try:
        yield
    finally:
        with _GATE:
            file, count = _HELD.pop(name)
            if count > 1:
                _HELD[name] = (file, count - 1)
            elif file is not None:
                file.close()
