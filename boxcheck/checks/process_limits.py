"""Judgements on the limits of this login."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import BOX, Finding, Unread
from boxcheck.probes.process_limits import ProcessLimits
from boxcheck.profile import Profile
from boxcheck.registry import check, compared, limit, skipped, unknown

MEMLOCK = limit(
    "limits.memlock_bytes", int, "ge", "bytes", "Memory that a process of this login may lock (RLIMIT_MEMLOCK).",
    low=0, high=1 << 50,
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
            yield compared(BOX, UNLIMITED, bound, "locked memory is unlimited", evidence=evidence)
        case size:
            yield compared(
                BOX, size, bound,
                f"this login may lock {size >> 20} MiB, profile asks for {(bound.must or bound.should) >> 20} MiB",
                evidence=evidence, cause="limits:memlock",
                help=("add `* - memlock unlimited` to /etc/security/limits.d/99-gpu.conf, then log in again",),
            )
