"""What tests of matrix products share: a rig, results, outcomes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from boxcheck.gpu import Gpu, GpuInfo
from boxcheck.kernels.catalogue import portable_product
from boxcheck.model import Outcome
from boxcheck.profile import Profile
from boxcheck.stress import (
    Rig,
    Sample,
    StressResults,
)
from boxcheck.stress.matmul_exact import exact_phase

SMALL = (128, 192, 64)
KERNEL = portable_product("bf16")
NONE = Profile(name="none", revision=1, title="no limits")


def limited_rig(gpu: Any, pieces: int = 8, seconds: float = 60.0) -> Rig:
    """A rig that stops after so many pieces of work, however long they take here."""
    done: list[str] = []
    return Rig(
        [gpu], seconds=seconds, seed=5, beat=lambda text, part: done.append(text), stopping=lambda: len(done) >= pieces)


def exact_samples(gpu: Any) -> list[Sample]:
    return list(exact_phase(limited_rig(gpu), KERNEL, SMALL, 60.0))


def results_of(gpu: Gpu, samples: list[Sample], **changes: Any) -> StressResults:
    fields: dict[str, Any] = {
        "module": "matmul", "gpus": (gpu.info,), "samples": tuple(samples), "troubles": (), "ended": (gpu.info.key,),
        "full_size": False, **changes}
    return StressResults(**fields)


def outcomes_of(check: Any, results: StressResults, want: Profile = NONE) -> list[Outcome]:
    return [finding.outcome for finding in check(results, want)]


class Steady:
    """A device whose products take at least 20 ms: long beside what a busy machine adds."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)

    def launch(self, program: Any, kernel: str, groups: int, arguments: Any, *, queue: int = 0) -> None:
        if kernel == "bc_matmul":
            self._gpu.finish()
            time.sleep(0.02)
        self._gpu.launch(program, kernel, groups, arguments, queue=queue)


def of_power(samples: Iterable[Sample]) -> list[Sample]:
    return [one for one in samples if one.what.endswith(".power")]


def power_samples(gpu: Gpu, values: list[float], **changes: Any) -> list[Sample]:
    return [Sample(
        what="matmul.bf16.power", gpu=gpu.info.key, seconds=0.25, value=value, unit="TFLOPS", checked=1, of="digests",
        wrong=0, notes={"kernel": "mma-bf16", "shape": "8192x8192x8192", "digest": "aa"}, **changes)
        for value in values]


def as_gpu(gpu: Gpu, index: int = 0, **changes: Any) -> GpuInfo:
    info = msgspec.structs.replace(gpu.info, is_gpu=True, arch="sm_89", name="RTX 4090", index=index)
    return msgspec.structs.replace(info, **changes)


class Unlike:
    """A device that does with each product from a number on what it is told instead."""

    def __init__(self, gpu: Gpu, instead: Any, first: int = 0, shape: tuple[int, int, int] | None = None) -> None:
        self._gpu, self._instead, self._first, self._shape = gpu, instead, first, shape
        self.number = -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)

    def launch(self, program: Any, kernel: str, groups: int, arguments: Sequence[Any], *, queue: int = 0) -> None:
        if kernel == "bc_matmul" and self._shape in (None, tuple(arguments[3:6])):
            self.number += 1
            if self.number >= self._first:
                self._instead(self._gpu, program, arguments)
                return
        self._gpu.launch(program, kernel, groups, arguments, queue=queue)


def does_nothing(gpu: Any, program: Any, arguments: Sequence[Any]) -> None: ...


def gives_zeros(gpu: Any, program: Any, arguments: Sequence[Any]) -> None:
    gpu.write(arguments[2], np.zeros(arguments[3] * arguments[4], np.uint32))
