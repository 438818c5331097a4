"""The mock drivers as another process gets them, such as a worker: scripted by the environment alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from boxcheck.kernels import catalogue
from tests.gpu.mock import run

SCRIPT = """
import json, sys
import numpy as np
from boxcheck.gpu import GpuError, devices, open_gpu
from boxcheck.kernels import catalogue, reference

def tried(function):
    try:
        function()
    except GpuError as error:
        return error.kind
    return "done"

backend = sys.argv[1]
told = {"devices": len(devices(backend))}
gpu = open_gpu(backend, 0)
told["total"] = gpu.info.memory_bytes
memory, digest = gpu.build(catalogue.memory()), gpu.build(catalogue.digest())
buffers = [gpu.allocate(4096), gpu.allocate(64)]
told["third"] = tried(lambda: gpu.allocate(64))
told["fourth"] = tried(lambda: gpu.allocate(64))
gpu.launch(memory, "bc_memory_fill", 1, (buffers[0], 0, 256, 0, 5))
found = gpu.read(buffers[0], 4096).view(np.uint32)
told["filled"] = bool(np.array_equal(found, reference.pattern(0, 256, 0, 5)))
gpu.launch(digest, "bc_digest", 1, (buffers[0], 1024, buffers[1]))
told["second kernel"] = tried(gpu.finish)
told["after"] = tried(gpu.free_bytes)
gpu.close()
print(json.dumps(told))
"""


@pytest.mark.parametrize("backend", ["cuda", "hip"])
def test_the_environment_scripts_faults_and_the_end_of_a_device(tmp_path: Path, backend: str) -> None:
    if reason := run.reason_to_skip(backend):
        pytest.skip(reason)
    call = {"cuda": "cuMemAlloc", "hip": "hipMalloc"}[backend]
    environment: dict[str, str] = {
        **run.prepare(backend, tmp_path, (catalogue.memory(), catalogue.digest())), "MOCK_DEVICES": "3",
        "MOCK_BUDGET": "1048576", "MOCK_FAULTS": f"{call}:2:2,kernel:9:719", "MOCK_VANISH": "0:2",
    }
    done = subprocess.run(
        [str(run.python_for(backend)), "-c", SCRIPT, backend], env=environment, capture_output=True, text=True, timeout=60,
        check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told == {
        "devices": 3, "total": 1048576, "third": "out-of-memory", "fourth": "done", "filled": True,
        "second kernel": "lost", "after": "lost",
    }
