"""Runs the modules of transfers over a mock driver, in a process of its own, and prints what came of it as JSON.

    python -m tests.stress.driver_child cuda 3 waits|no-waits [A-B without access]
"""

from __future__ import annotations

import ctypes
import json
import sys
from importlib import import_module
from typing import Any

import boxcheck.stress.kernel_choice as kernel_choice
from boxcheck.gpu import open_gpu
from boxcheck.gpu.device import DriverGpu
from boxcheck.kernels.catalogue import portable_product
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS, STRESSES, discover, discover_stress, run_check
from boxcheck.stress import Rig, Sample, StressResults

LIBRARY = {"cuda": "libcuda.so.1", "hip": "libamdhip64.so"}


def samples_of(module: str, gpus: list[Any]) -> list[Sample]:
    rig = Rig(gpus, seconds=0.02, options={"size": "test"})
    found = list(STRESSES[module].function(rig))
    for gpu in gpus:
        gpu.release()
    return found


def told(module: str, gpus: list[Any], samples: list[Sample]) -> dict[str, Any]:
    results = StressResults(
        module=module, gpus=tuple(gpu.info for gpu in gpus), samples=tuple(samples), troubles=(), ended=(), full_size=False)
    profile = Profile(name="test", revision=1, title="test")
    outcomes = {
        id: sorted({finding.outcome.value for finding in run_check(check, (results,), profile)})
        for id, check in CHECKS.items() if check.stress == module}
    return {"outcomes": outcomes, "wrong": sum(one.wrong for one in samples), "samples": len(samples),
            "whats": sorted({one.what for one in samples})}


def main() -> None:
    backend, count, waits = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    mock = ctypes.CDLL(LIBRARY[backend])
    for pair in sys.argv[4:]:
        mock.mock_unreachable(*map(int, pair.split("-")))
    if waits == "no-waits":
        DriverGpu.wait_for = lambda self, mark, queue: None  # type: ignore[method-assign]
    # The mock runs portable kernels alone.
    kernel_choice.candidates = lambda arch, element: (portable_product(element),)  # type: ignore[assignment]
    discover()
    discover_stress()
    import_module("boxcheck.stress.collective_train")
    gpus = [open_gpu(backend, index) for index in range(count)]  # type: ignore[arg-type]
    found: dict[str, Any] = {name: told(name, gpus, samples_of(name, gpus)) for name in ("p2p", "collective")}
    found["copy"] = told("copy", gpus[:1], samples_of("copy", gpus[:1]))
    for gpu in gpus:
        gpu.close()
    found["violations"] = mock.mock_violations()
    found["left"] = {what: mock.mock_live(what.encode()) for what in ("memory", "host", "streams", "events", "contexts")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
