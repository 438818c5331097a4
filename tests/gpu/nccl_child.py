"""Runs `collective` with a library of paper over a mock driver, in a process of its own, and prints what came of it as JSON.

    python -m tests.gpu.nccl_child cuda LIBRARY
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from boxcheck.gpu import open_gpu, vendor_nccl
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS, STRESSES, discover, discover_stress, run_check
from boxcheck.stress import Rig, Sample, StressResults
from tests.gpu.mock_blas.build import Mock

DRIVER = {"cuda": "libcuda.so.1", "hip": "libamdhip64.so"}


def told(gpus: list[Any]) -> dict[str, Any]:
    rig = Rig(gpus, seconds=0.0, options={"size": "test", "engine": "library"})
    samples = list(STRESSES["collective"].function(rig))
    for gpu in gpus:
        gpu.release()
    results = StressResults(
        module="collective", gpus=tuple(gpu.info for gpu in gpus), samples=tuple(samples), troubles=(), ended=(),
        full_size=False)
    profile = Profile(name="test", revision=1, title="test")
    findings = {id: list(run_check(check, (results,), profile)) for id, check in CHECKS.items() if check.stress == "collective"}
    theirs = [one for one in samples if one.what.startswith("collective.library.")]
    return {
        "outcomes": {id: sorted({one.outcome.value for one in found}) for id, found in findings.items()},
        "wrong": sum(one.wrong for one in theirs), "whats": sorted({one.what.removeprefix("collective.") for one in theirs}),
        "says": findings["collective.library"][0].says}


def no_products(rig: Rig) -> Generator[Sample, None, list[Any]]:
    yield from ()
    return []


def main() -> None:
    backend, path = sys.argv[1], sys.argv[2]
    driver, library = ctypes.CDLL(DRIVER[backend]), Mock(Path(path))
    vendor_nccl.nccl_paths = vendor_nccl.rccl_paths = lambda: iter([path])
    discover()
    discover_stress()
    from boxcheck.stress import collective_library, collective_train

    collective_train.prepare = no_products  # tests/stress/test_p2p_drivers.py has them
    found: dict[str, Any] = {}
    gpus = [open_gpu(backend, index) for index in range(7)]  # type: ignore[arg-type]
    found["2"], found["7"] = told(gpus[:2]), told(gpus)
    library.script(wrong=1)
    found["wrong"] = told(gpus[:3])
    library.script(wrong=0)
    # A library whose result nobody waits for is compared too early.
    queue = vars(collective_library)["WORK"]
    vars(collective_library)["WORK"] = 9
    found["without order"] = told(gpus[:3])
    vars(collective_library)["WORK"] = queue
    collective_library.HANG_SECONDS = 0.3
    library.script(hang=library.count("collectives"))
    found["hang"] = told(gpus[:2])
    for gpu in gpus:
        gpu.close()
    found["violations"], found["misuses"], found["ranks"] = driver.mock_violations(), library.count("misuses"), library.count("ranks")
    found["left"] = {what: driver.mock_live(what.encode()) for what in ("memory", "host", "streams", "events", "contexts")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
