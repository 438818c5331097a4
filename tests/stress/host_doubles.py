"""The processor as a rig for modules of the host, and hosts with some files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

import boxcheck.stress.host_cpu
import boxcheck.stress.host_memory
import boxcheck.stress.host_net
import boxcheck.stress.host_nvme
from boxcheck.gpu import open_gpu
from boxcheck.host import Host
from boxcheck.model import Finding, Outcome
from boxcheck.registry import STRESSES
from boxcheck.stress import Rig, Sample, StressResults
from boxcheck.stress.faults import FaultyGpu
from tests.boxes.memory import host as host_of
from tests.boxes.tree import Tree
from tests.checks.judging import judge

MODULES = (boxcheck.stress.host_cpu, boxcheck.stress.host_memory, boxcheck.stress.host_nvme, boxcheck.stress.host_net)
"""Imported, so that they are registered."""


def machine(files: Mapping[str, str | int]) -> Host:
    """A host that has these files and nothing else."""
    tree = Tree()
    for path, text in files.items():
        tree[path] = f"{text}\n".encode()
    return host_of(tree)


def run(
    module: str, *, seconds: float = 0.5, fault: str | None = None, after: int = 2,
    stopping: Callable[[], bool] = lambda: False, beat: Callable[[str, float], None] = lambda text, done: None,
    **options: str,
) -> StressResults:
    """A module over the processor, at small sizes unless `size` says another."""
    gpu: Any = open_gpu("cpu", 0)
    if fault is not None:
        gpu = FaultyGpu(gpu, fault, after=after, seconds=seconds)  # type: ignore[arg-type]
    rig = Rig([gpu], seconds=seconds, seed=7, options={"size": "test", **options}, stopping=stopping, beat=beat)
    samples = list(STRESSES[module].function(rig))
    return results(module, samples)


def results(module: str, samples: list[Sample], **changes: Any) -> StressResults:
    info = open_gpu("cpu", 0).info
    found = StressResults(
        module=module, gpus=(info,), samples=tuple(samples), troubles=(), ended=(info.key,), full_size=False)
    return msgspec.structs.replace(found, **changes)


def sample(what: str, **fields: Any) -> Sample:
    return Sample(**{"what": what, "gpu": "cpu:0", "seconds": 1.0, "checked": 1000, "wrong": 0, **fields})


def outcomes(check: str, *facts: Any, **limits: Any) -> set[Outcome]:
    return {finding.outcome for finding in judge(check, *facts, limits=limits)}


def only(check: str, *facts: Any, **limits: Any) -> Finding:
    (finding,) = judge(check, *facts, limits=limits)
    return finding


def failure(check: str, *facts: Any) -> Finding:
    """The one finding that fails; the others must not."""
    (finding,) = [one for one in judge(check, *facts) if one.outcome is Outcome.FAIL]
    return finding
