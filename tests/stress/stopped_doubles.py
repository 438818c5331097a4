"""Devices that from some moment on take orders and do nothing, or compare and say nothing; and tell no error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

COMPARING = frozenset((
    "bc_memory_check", "bc_memory_check_fill", "bc_sum_check", "bc_check_rows", "bc_check_matrix"))
Deed = Literal["launch", "copy", "write"]


class Through:
    """Everything goes to the processor's device as it is; counts what it is told to do."""

    def __init__(self, gpu: Any, first: int | None = None) -> None:
        self._gpu = gpu
        self._first = first
        """Number of the order with which it begins; None: never."""
        self.orders = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)

    @property
    def begun(self) -> bool:
        return self._first is not None and self.orders > self._first

    def _now(self) -> bool:
        self.orders += 1
        return self.begun

    def can_access(self, other: Any) -> bool:
        return bool(self._gpu.can_access(getattr(other, "_gpu", other)))

    def enable_peer(self, other: Any) -> None:
        self._gpu.enable_peer(getattr(other, "_gpu", other))


class Stops(Through):
    """Does none of some deeds any more, from one of them on."""

    def __init__(self, gpu: Any, first: int | None, deeds: frozenset[Deed]) -> None:
        super().__init__(gpu, first)
        self._deeds = deeds

    def launch(self, program: Any, kernel: str, groups: int, arguments: Sequence[Any], *, queue: int = 0) -> None:
        if "launch" not in self._deeds or not self._now():
            self._gpu.launch(program, kernel, groups, arguments, queue=queue)

    def copy(self, target: Any, source: Any, size_bytes: int, **more: Any) -> None:
        if "copy" not in self._deeds or not self._now():
            self._gpu.copy(target, source, size_bytes, **more)

    def write(self, buffer: Any, data: Any, offset_bytes: int = 0) -> None:
        if "write" not in self._deeds or not self._now():
            self._gpu.write(buffer, data, offset_bytes)


class GoesBlind(Through):
    """From one comparison on, none notes anything; what else the kernel does, it does."""

    def launch(self, program: Any, kernel: str, groups: int, arguments: Sequence[Any], *, queue: int = 0) -> None:
        if kernel not in COMPARING or not self._now():
            self._gpu.launch(program, kernel, groups, arguments, queue=queue)
            return
        errors = arguments[-2].array
        before = np.array(errors)
        self._gpu.launch(program, kernel, groups, arguments, queue=queue)
        errors[:] = before
