"""What tests of the vendor's libraries share: the only cuBLAS here, of paper; a kernel of ours; a shape."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from boxcheck.gpu import vendor_cublas
from boxcheck.kernels.catalogue import portable_product
from boxcheck.profile import Profile
from tests.gpu.mock_blas.build import Mock, build

KERNEL = portable_product("bf16")
OWN = msgspec.structs.replace(
    KERNEL, name="tuned-bf16", full_power=True, source=msgspec.structs.replace(KERNEL.source, name="tuned.cu"))
NONE = Profile(name="none", revision=1, title="no limits")
SHAPE = (64, 128, 320)
"""Deeper than the small proof, so that a library of paper can tell it."""


def paper_cublas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The only cuBLAS here is one of paper."""
    monkeypatch.setattr(vendor_cublas, "paths", lambda driver: iter([str(tmp_path / "cuda" / "libcublas.so.13")]))
    build("cublaslt", tmp_path / "cuda")
    return build("cublas", tmp_path / "cuda")
