"""Compiles the libraries of paper, and puts a copy into each test's folder, so that each has its own strings to pull."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
FILES = {
    "cublas": "libcublas.so.13", "cublaslt": "libcublasLt.so.13", "rocblas": "librocblas.so.4", "nccl": "libnccl.so.2",
    "rccl": "librccl.so.1"}


def has_compiler() -> bool:
    return shutil.which("gcc") is not None


class Mock:
    """A library that was built, and loaded for its strings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = ctypes.CDLL(str(path))

    def script(self, **values: int) -> None:
        for what, value in values.items():
            self._library.mock_script(what.encode(), value)

    def count(self, what: str) -> int:
        return int(self._library.mock_count(what.encode()))


def build(name: str, folder: Path, *defines: str) -> Mock:
    """A library of paper by this name in the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / FILES[name]
    out.write_bytes(_compiled(name, defines))
    return Mock(out)


@cache
def _compiled(name: str, defines: tuple[str, ...]) -> bytes:
    command = [
        "gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O3", "-ffast-math", "-fPIC", "-shared", *defines,
        str(HERE / f"{name}.c"), "-o"]
    with tempfile.TemporaryDirectory(prefix="boxcheck-mock-") as folder:
        out = Path(folder) / "library.so"
        done = subprocess.run([*command, str(out)], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{name} does not compile:\n{done.stderr[:4000]}"
        return out.read_bytes()
