"""Devices for tests of transfers: CPU devices that take themselves for GPUs, and do wrong on purpose what they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pytest

from boxcheck.gpu import Gpu
from boxcheck.gpu.cpu import CpuBuffer, CpuGpu, devices
from boxcheck.model import Finding, Limit, Outcome
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS, STRESSES, discover_stress, run_check
from boxcheck.stress import Rig, Sample, StressResults

discover_stress()
Ends = tuple[str, str]
"""Owner of the source and of the target: `cpu:0`, or `host`."""


class Transfer(msgspec.Struct):
    """One copy, by copy engine or by kernel, as a rule sees it: `go` does it."""

    by: str
    ends: Ends
    engine: bool
    target: Any
    source: Any
    size_bytes: int
    target_offset: int
    source_offset: int
    number: int
    """How many copies between these ends, by copy engine or by kernel, were before it."""

    def go(self) -> None:
        self.target.array[self.target_offset:self.target_offset + self.size_bytes] = (
            self.source.array[self.source_offset:self.source_offset + self.size_bytes])

    def flip(self, byte: int, bit: int = 0) -> None:
        """Flips a bit of what this copy brought."""
        self.target.array[self.target_offset + byte] ^= 1 << bit


Rule = Callable[[Transfer], None]


class DoubleGpu(CpuGpu):
    """A CPU device whose copies go by a rule. `reaches` says whom it has access to."""

    def __init__(self, info: Any, rule: Rule | None, reaches: Callable[[Ends], bool]) -> None:
        super().__init__(msgspec.structs.replace(info, is_gpu=True, unified=False, name="Double"))
        self.rule = rule
        self.reaches = reaches
        self.room: int | None = None
        self.kernels: dict[str, Callable[..., None]] = {}
        self.counts: dict[tuple[Ends, bool], int] = {}

    def free_bytes(self) -> int:
        return self.room if self.room is not None else super().free_bytes()

    def allocate(self, size_bytes: int) -> CpuBuffer:
        buffer = super().allocate(size_bytes)
        buffer.owner = self.info.key  # type: ignore[attr-defined]
        return buffer

    def can_access(self, other: Gpu) -> bool:
        return super().can_access(other) and self.reaches((self.info.key, other.info.key))

    def _by_rule(self, engine: bool, target: Any, source: Any, size: int, to: int, of: int) -> None:
        ends = (getattr(source, "owner", "host"), getattr(target, "owner", "host"))
        transfer = Transfer(self.info.key, ends, engine, target, source, size, to, of, self.counts.get((ends, engine), 0))
        self.counts[ends, engine] = transfer.number + 1
        if self.rule is None:
            transfer.go()
        else:
            self.rule(transfer)

    def copy(self, target: Any, source: Any, size_bytes: int, *, target_offset: int = 0, source_offset: int = 0, queue: int = 0) -> None:
        self._by_rule(True, target, source, size_bytes, target_offset, source_offset)

    def launch(self, program: Any, kernel: str, groups: int, arguments: Sequence[Any], *, queue: int = 0) -> None:
        if kernel == "bc_copy":
            self._by_rule(False, arguments[0], arguments[1], 16 * arguments[2], 0, 0)
        elif kernel in self.kernels:
            self.kernels[kernel](*arguments)
        else:
            super().launch(program, kernel, groups, arguments, queue=queue)


def doubles(count: int, rule: Rule | None = None, reaches: Callable[[Ends], bool] = lambda ends: True) -> list[DoubleGpu]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOXCHECK_CPU_DEVICES", str(count))
        gpus = [DoubleGpu(info, rule, reaches) for info in devices()]
    for gpu in gpus:
        gpu.counts = gpus[0].counts
    return gpus


def processors(count: int) -> list[CpuGpu]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOXCHECK_CPU_DEVICES", str(count))
        return [CpuGpu(info) for info in devices()]


def run(module: str, gpus: Sequence[Any], seconds: float = 0.02, **options: Any) -> StressResults:
    """All samples of a module; sizes are small, and taken for those of a GPU."""
    stopping = options.pop("stopping", lambda: False)
    rig = Rig(gpus, seconds=seconds, options={"size": "test", **options}, stopping=stopping)
    return results_of(module, gpus, STRESSES[module].function(rig))


def results_of(module: str, gpus: Sequence[Any], samples: Iterable[Sample], **more: Any) -> StressResults:
    infos = tuple(gpu.info for gpu in gpus)
    return StressResults(
        module=module, gpus=infos, samples=tuple(samples), troubles=(), ended=tuple(info.key for info in infos), **more)


def collect(samples: Iterable[Sample], into: list[Sample]) -> None:
    """Keeps what came, also when an error ends it."""
    for sample in samples:
        into.append(sample)


def judge(id: str, results: StressResults, **limits: Any) -> list[Finding]:
    """Findings of one check; limits by their names without the area."""
    area = id.split(".")[0]
    wanted = {}
    for name, value in limits.items():
        full = f"{area}.{name}"
        wanted[full] = Limit(full, "eq" if isinstance(value, bool) else "ge", must=value, unit="")
    profile = Profile(name="test", revision=1, title="test", limits=wanted)
    return list(run_check(CHECKS[id], (results,), profile))


def outcomes(id: str, results: StressResults, **limits: Any) -> set[Outcome]:
    return {finding.outcome for finding in judge(id, results, **limits)}


def failures(id: str, results: StressResults, **limits: Any) -> list[Finding]:
    return [finding for finding in judge(id, results, **limits) if finding.outcome is Outcome.FAIL]


def transfers(results: StressResults) -> int:
    """Copies that were made and compared."""
    return sum(int(one.notes.get("copies", one.notes.get("rounds", one.notes.get("trips", 1)))) for one in results.samples if one.checked)
