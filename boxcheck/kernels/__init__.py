"""Kernel sources and what is declared of each: its parameters, its group size, where it can run.

Portable sources (`*.h`, `*.cu` without a vendor in the name) are one text for CUDA, HIP and OpenCL, after `prelude.h`;
tuned matrix kernels stand beside them. `reference.py` is the numpy oracle of every portable kernel, and what the CPU
backend runs.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

Param = Literal["buffer", "u32", "u64", "i32", "f32", "map"]
"""`map` is a 128-byte tensor map of CUDA, passed by value, aligned to 64 bytes."""
Language = Literal["portable", "cuda", "hip"]
GROUP = 256
"""Work-items in a group of every portable kernel."""


class Kernel(msgspec.Struct, frozen=True):
    """One entry point."""

    name: str
    params: tuple[Param, ...]
    group: int = GROUP
    shared_bytes: int = 0
    """Dynamic shared memory of a group (CUDA, HIP); above 48 KiB the backend raises the function's limit."""
    cluster: int = 1


class Source(msgspec.Struct, frozen=True):
    """A text to compile, whole: includes are already in it."""

    name: str
    text: str
    kernels: tuple[Kernel, ...]
    defines: tuple[tuple[str, str], ...] = ()
    language: Language = "portable"
    options: tuple[str, ...] = ()
    """For the compiler of the one language, beside those that the backend always gives."""

    def kernel(self, name: str) -> Kernel:
        return next(kernel for kernel in self.kernels if kernel.name == name)


@cache
def text_of(file: str) -> str:
    """A source file of this folder."""
    return (Path(__file__).parent / file).read_text("utf-8")


def portable(file: str, kernels: tuple[Kernel, ...], **defines: str) -> Source:
    """A portable source: prelude, shared data functions, the file."""
    text = "\n".join((text_of("prelude.h"), text_of("data.h"), text_of(file)))
    return Source(file, text, kernels, tuple(sorted(defines.items())))
