"""What a compiler made of one entry point, and how a compiler is run."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from boxcheck.gpu import GpuError

SECONDS = 300


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one entry point on one architecture."""

    kernel: str
    entry: str
    arch: str
    registers: int | None = None
    shared_bytes: int | None = None
    """Static and dynamic."""
    spill_bytes: int | None = None
    """Registers that do not fit, and other memory of a thread's own: stores, loads and stack, or scratch."""
    groups: int | None = None
    """That fit on a multiprocessor (CUDA), or waves on a SIMD (HIP)."""
    tensor: dict[str, int] | None = None
    """Tensor instructions, by their first word; None where they could not be counted."""
    seconds: float = 0.0
    wrong: str = ""
    """Why this is a defect."""


def output_of(words: Sequence[str]) -> str:
    """Standard output of a program. GpuError of kind `compile` where it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GpuError("compile", f"{words[0]}: {error}") from None
    if done.returncode:
        raise GpuError("compile", f"{Path(words[0]).name} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
