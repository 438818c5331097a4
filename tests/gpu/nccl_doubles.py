"""What tests of NCCL share: devices of paper, a library of paper in place of any real one, and the environment restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.gpu import Backend, vendor_nccl
from boxcheck.gpu.device import DriverGpu
from tests.gpu.mock_blas.build import Mock, build
from tests.gpu.mock_blas.host_gpu import host_gpu

PATHS = {"nccl": "nccl_paths", "rccl": "rccl_paths"}


def devices(count: int, backend: Backend = "cuda") -> list[DriverGpu]:
    arch = "sm_89" if backend == "cuda" else "gfx1100"
    return [host_gpu(backend, arch, index) for index in range(count)]


def only(monkeypatch: pytest.MonkeyPatch, *paths: Path | str) -> None:
    """These are the only files in which either library is looked for."""
    for name in PATHS.values():
        monkeypatch.setattr(vendor_nccl, name, lambda: iter(map(str, paths)))


def paper(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str = "nccl", *defines: str) -> Mock:
    """The only NCCL, or RCCL, is one of paper."""
    restore(monkeypatch)
    mock = build(name, folder / name, *defines)
    only(monkeypatch, mock.path)
    return mock


def restore(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library sets in the environment is as before when the test ends."""
    for name in (*vendor_nccl.SET, *vendor_nccl.DROPPED, "NCCL_DEBUG"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
