"""Judgements on the limits of this login."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.wording import GIB, broken_bound, judged, not_read, size
from boxcheck.model import BOX, Finding, Quantity, Unread
from boxcheck.probes.process_limits import ProcessLimits
from boxcheck.profile import Profile
from boxcheck.registry import check, compared, limit, skipped, unknown

MEMLOCK = limit(
    "limits.memlock_gib", float, "ge", "GiB", "Memory that a process of this login may lock (RLIMIT_MEMLOCK).",
    low=0, high=1 << 20,
)
OPEN_FILES = limit(
    "limits.open_files", int, "ge", "files", "Files that a process of this login may open (RLIMIT_NOFILE).",
    low=64, high=1 << 31,
)
SHARED_MEMORY = limit(
    "limits.shm_gib", float, "ge", "GiB", "Size of /dev/shm.", low=0, high=1 << 20,
)
UNLIMITED = 1 << 62


@check("limits.memlock", reads=[ProcessLimits], limits=[MEMLOCK])
def memlock(limits: ProcessLimits, want: Profile) -> Iterator[Finding]:
    """A process of this login may lock too little memory.

    Why it matters: pinned host buffers are locked memory; RCCL, NCCL and RDMA fail to allocate them, often as a plain
    "out of memory" or a hang at start-up.
    What to do: put `* soft memlock unlimited` and `* hard memlock unlimited` into /etc/security/limits.d/99-gpu.conf
    and log in again.
    Not a fault: of the memory itself, or of the GPU.
    By hand: ulimit -l
    """
    bound = want.limit(MEMLOCK)
    evidence = ("/proc/self/limits",)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {MEMLOCK}")
        return
    match limits.locked_memory_bytes:
        case Unread(why=why, kind=kind):
            yield unknown(BOX, f"not read: {why}", needs_root=kind == "permission", evidence=evidence)
        case None:
            yield compared(BOX, UNLIMITED, bound, "locked memory is unlimited", measured=Quantity("unlimited"),
                           evidence=evidence)
        case most:
            yield judged(
                BOX, most / GIB, bound, f"this login may lock {size(most)}, {broken_bound(most / GIB, bound)} GiB",
                evidence=evidence, cause="limits:memlock",
                help=("add `* - memlock unlimited` to /etc/security/limits.d/99-gpu.conf, then log in again",),
            )


@check("limits.nofile", reads=[ProcessLimits], limits=[OPEN_FILES])
def nofile(limits: ProcessLimits, want: Profile) -> Iterator[Finding]:
    """A process of this login may open too few files.

    Why it matters: data loaders with many workers, and collectives over many GPUs, run into "too many open files" hours
    into a job.
    What to do: put `* - nofile 1048576` into /etc/security/limits.d/99-gpu.conf and log in again.
    Not a fault: of the file system.
    By hand: ulimit -n
    """
    bound = want.limit(OPEN_FILES)
    evidence = ("/proc/self/limits",)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {OPEN_FILES}")
    elif isinstance(limits.open_files, Unread):
        yield not_read(BOX, limits.open_files, evidence=evidence)
    else:
        value = UNLIMITED if limits.open_files is None else limits.open_files
        shown = "any number of files" if limits.open_files is None else f"{value} files"
        yield judged(
            BOX, value, bound, f"this login may open {shown}, {broken_bound(value, bound)}", evidence=evidence,
            cause="limits:nofile",
            help=("add `* - nofile 1048576` to /etc/security/limits.d/99-gpu.conf, then log in again",))


@check("limits.shm", reads=[ProcessLimits], limits=[SHARED_MEMORY])
def shm(limits: ProcessLimits, want: Profile) -> Iterator[Finding]:
    """/dev/shm is too small.

    Why it matters: NCCL, RCCL and data loaders pass data through it; a container's default of 64 MiB makes them die
    with "bus error" or "no space left on device".
    What to do: `docker run --shm-size=16g` or `--ipc=host`; outside of containers, a larger mount of /dev/shm.
    Not a fault: what is free in it at the moment; its size is judged.
    By hand: df -h /dev/shm
    """
    bound = want.limit(SHARED_MEMORY)
    evidence = ("/dev/shm",)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {SHARED_MEMORY}")
    elif isinstance(limits.shared_memory_bytes, Unread):
        yield not_read(BOX, limits.shared_memory_bytes, evidence=evidence)
    else:
        here = limits.shared_memory_bytes
        yield judged(
            BOX, here / GIB, bound, f"/dev/shm has {size(here)}, {broken_bound(here / GIB, bound)} GiB",
            evidence=evidence, cause="limits:shm",
            help=("in a container: --shm-size or --ipc=host; else: sudo mount -o remount,size=16G /dev/shm",))
