"""One GPU that fails hides no other."""

from __future__ import annotations

import pytest

from boxcheck.gpu import GpuError, GpuInfo, each_device


def _read(index: int, sick: set[int]) -> GpuInfo:
    if index in sick:
        raise GpuError("lost", f"GPU {index} is gone")
    return GpuInfo(
        backend="cuda", index=index, name="test", arch="sm_89", bdf=None, memory_bytes=1, free_bytes=1, compute_units=1,
        unified=False, is_gpu=True, driver="test")


def test_a_sick_gpu_is_left_out_and_the_others_are_told() -> None:
    assert [info.index for info in each_device(4, lambda index: _read(index, {1}))] == [0, 2, 3]


def test_when_every_one_is_sick_the_first_says_why() -> None:
    with pytest.raises(GpuError, match="GPU 0 is gone"):
        each_device(2, lambda index: _read(index, {0, 1}))


def test_no_device_is_none() -> None:
    assert each_device(0, lambda index: _read(index, set())) == ()
