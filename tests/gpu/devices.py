"""Devices for tests: the processor by numpy, and by an OpenCL platform where one compiles here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from boxcheck.gpu import Gpu, GpuError, devices, open_gpu


def opened(backend: str) -> Iterator[Gpu]:
    """The first device of a backend, closed afterwards; skips with the reason where there is none."""
    try:
        devices(backend)  # type: ignore[arg-type]
        gpu = open_gpu(backend, 0)  # type: ignore[arg-type]
    except GpuError as error:
        pytest.skip(f"{backend}: {error.says}")
    yield gpu
    gpu.close()
