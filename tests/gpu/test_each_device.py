"""One GPU that fails hides no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from boxcheck.gpu import GpuError, GpuInfo, each_device, opencl


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


class Platform(SimpleNamespace):
    """An OpenCL platform with its devices."""

    def get_devices(self) -> list[Any]:
        return [SimpleNamespace(platform=self, type=kind, name=name, max_work_group_size=4096) for name, kind in self.shows]


def test_two_platforms_of_one_processor_do_not_make_two_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """PoCL of the distribution beside that of the package index; the first that compiles for this processor."""
    old = Platform(name="PoCL", version="1", shows=[("old", 2)])
    first = Platform(name="PoCL", version="2", shows=[("one", 2), ("two", 2)])
    second = Platform(name="PoCL", version="3", shows=[("one again", 2)])
    card = Platform(name="rusticl", version="4", shows=[("card", 4)])
    cl = SimpleNamespace(
        get_platforms=lambda: [old, first, second, card], device_type=SimpleNamespace(GPU=4, CPU=2), Error=RuntimeError)
    monkeypatch.setattr(opencl, "_compiles", lambda _, device: device.name != "old")
    assert [device.name for device in opencl._usable(cl)] == ["one", "two", "card"]
