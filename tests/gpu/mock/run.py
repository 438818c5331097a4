"""Starts `child.py` with the Python that has a binding, once, and gives what came of each scenario."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from boxcheck.kernels import Source
from tests.gpu.mock.build import build_drivers, build_kernels, has_compiler
from tests.gpu.mock.child import scenarios
from tests.gpu.mock.scenarios import sources

ROOT = Path(__file__).parents[3]
BINDINGS = {"cuda": ("cuda.bindings", "BOXCHECK_TEST_CUDA_PYTHON"), "hip": ("hip", "BOXCHECK_TEST_HIP_PYTHON")}
TIMEOUT_SECONDS = 120.0


def python_for(backend: str) -> str | None:
    """The Python to run: that of the variable, else this one where it has the binding."""
    module, variable = BINDINGS[backend]
    given = os.environ.get(variable)
    if given:
        return given
    try:
        return sys.executable if find_spec(module) else None
    except ModuleNotFoundError:
        return None


def reason_to_skip(backend: str) -> str:
    """Empty where the scenarios can run."""
    if not has_compiler():
        return "no gcc and g++ to build the mock driver with"
    if python_for(backend) is None:
        module, variable = BINDINGS[backend]
        return f"{module} is not installed; {variable} may name a Python that has it"
    return ""


def names(backend: str) -> list[str]:
    return list(scenarios(backend))


@cache
def outcomes(backend: str) -> dict[str, str]:
    """The traceback of each scenario, empty where it passed."""
    with tempfile.TemporaryDirectory(prefix="boxcheck-mock-") as name:
        own = import_module(f"tests.gpu.mock.scenarios_{backend}")
        environment = prepare(backend, Path(name), (*sources(), *getattr(own, "SOURCES", ())))
        done = subprocess.run(
            [str(python_for(backend)), "-m", "tests.gpu.mock.child", backend, name],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    return _read(backend, done.stdout, done.returncode, done.stderr)


def prepare(backend: str, folder: Path, built: Iterable[Source]) -> dict[str, str]:
    """Builds the mock driver and these sources' kernels, and gives the environment for a process that shall use them.

    The driver comes first among libraries, the cache is its own, and nothing of this machine's GPUs is told. core.h says
    what else the environment may hold.
    """
    build_drivers(backend, folder)
    for source in built:
        build_kernels(source, folder)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return {
        **kept, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT), "BOXCHECK_CACHE_DIR": str(folder / "cache"),
        "ROCM_PATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "MOCK_KERNELS": str(folder),
    }


def _read(backend: str, out: str, status: int, err: str) -> dict[str, str]:
    found: dict[str, str] = {}
    running = ""
    for line in out.splitlines():
        if not line.startswith("{"):
            continue
        told = json.loads(line)
        running = told.get("begins", "")
        if "ends" in told:
            found[told["ends"]] = told["error"]
    why = f"the process ended with status {status}" + (f" in {running}" if running else "") + f"\n{err[-3000:]}"
    return {name: found.get(name, why) for name in names(backend)}
