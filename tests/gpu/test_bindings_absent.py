"""Without a driver, and without or with the wrong binding, each backend says so in a sentence. Nothing here is a mock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest

from tests.gpu.mock.run import BINDINGS, ROOT, python_for

SCRIPT = """
import json, sys
from boxcheck.gpu import GpuError, devices
try:
    print(json.dumps([info.key for info in devices(sys.argv[1])]))
except GpuError as error:
    print(json.dumps({"kind": error.kind, "says": error.says, "help": error.help}))
"""


def told(backend: str, python: str, *folders: Path) -> dict[str, str]:
    """What a fresh process says that has these folders before all others."""
    path = os.pathsep.join(str(folder) for folder in (*folders, ROOT))
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    done = subprocess.run(
        [python, "-c", SCRIPT, backend], env={**kept, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60,
        check=False)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict), f"{backend} shows {answer}"
    assert "\n" not in answer["says"]
    assert not answer["says"].endswith(".")
    return answer


@pytest.mark.parametrize(("backend", "library", "says"), [
    ("cuda", "cuda", "NVIDIA's driver is not installed: there is no libcuda.so.1"),
    ("hip", "amdhip64", "ROCm's libamdhip64.so was not found"),
])
def test_the_real_binding_without_a_driver_says_that_it_is_missing(backend: str, library: str, says: str) -> None:
    python = python_for(backend)
    if python is None:
        pytest.skip(f"{BINDINGS[backend][0]} is not installed; {BINDINGS[backend][1]} may name a Python that has it")
    if find_library(library) or Path("/dev/nvidiactl").exists() or Path("/opt/rocm").exists():
        pytest.skip("this machine has a vendor's driver")
    answer = told(backend, python)
    assert (answer["kind"], answer["says"]) == ("no-driver", says)
    assert answer["help"]


@pytest.mark.parametrize(("backend", "module", "kind", "says"), [
    ("cuda", "cuda/__init__.py", "version", "has no cuda.bindings"),
    ("cuda", "cuda/bindings/__init__.py", "version", "cannot be loaded"),
    ("hip", "hip/__init__.py", "version", "cannot be loaded"),
])
def test_a_binding_that_is_old_or_half_installed_is_told(
    tmp_path: Path, backend: str, module: str, kind: str, says: str
) -> None:
    (tmp_path / module).parent.mkdir(parents=True)
    (tmp_path / backend / "__init__.py").touch()
    (tmp_path / module).write_text("" if module == "cuda/__init__.py" else "raise ImportError('undefined symbol: old')")
    answer = told(backend, sys.executable, tmp_path)
    assert answer["kind"] == kind
    assert says in answer["says"]
    assert "pip install" in answer["help"]


@pytest.mark.parametrize(("backend", "words"), [("cuda", "boxcheck[cuda13]"), ("hip", "boxcheck[rocm]")])
def test_no_binding_at_all_names_what_to_install(tmp_path: Path, backend: str, words: str) -> None:
    # Where this Python has the binding, a finder in front of all others hides it.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {backend!r}: raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n")
    answer = told(backend, sys.executable, tmp_path)
    assert answer["kind"] == "no-binding"
    assert words in answer["help"]
