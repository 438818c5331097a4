"""Readings under load: taken while the GPU layer copies, and replayed from a capture."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from boxcheck.engine import copy_load, wake
from boxcheck.engine.copy_load import CopyLoad
from boxcheck.engine.messages import Run
from boxcheck.gpu import GpuInfo
from boxcheck.host.live import LiveHost
from boxcheck.host.programs import STARTED
from boxcheck.model import Bdf, Unread
from boxcheck.probes.pci import PciFunction, PciInventory

PORT, GPU, OTHER = Bdf("0000:40:01.1"), Bdf("0000:41:00.0"), Bdf("0000:42:00.0")


class FakeWake:
    """Raises the link's speed while it is entered, as a copying card does, by changing the files that are read."""

    def __init__(self, folder: Path, *, copying: Iterable[frozenset[Bdf]] = (frozenset({GPU}),) * 2) -> None:
        self.folder = folder
        self.loaded: tuple[Bdf, ...] = ()
        self.answers = iter(copying)

    def copying(self) -> frozenset[Bdf]:
        return next(self.answers)

    def why_not(self) -> dict[Bdf, str]:
        return {GPU: "its worker hung"}

    @contextmanager
    def load(self, gpus: Iterable[Bdf], seconds: float) -> Iterator[FakeWake]:
        self.loaded = tuple(gpus)
        for name in ("port", "gpu"):
            (self.folder / name / "current_link_speed").write_text("16.0 GT/s PCIe\n")
        yield self
        for name in ("port", "gpu"):
            (self.folder / name / "current_link_speed").write_text("2.5 GT/s PCIe\n")


@pytest.fixture
def inventory(tmp_path: Path) -> PciInventory:
    from boxcheck.probes.pci import SysfsLink

    functions = {}
    for name, bdf, parent, class_code in (("port", PORT, None, 0x060400), ("gpu", GPU, PORT, 0x030000)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "current_link_speed").write_text("2.5 GT/s PCIe\n")
        (folder / "current_link_width").write_text("16\n")
        (folder / "aer_dev_correctable").write_text("RxErr 0\n")
        functions[bdf] = PciFunction(
            bdf=bdf, path=str(folder), parent=parent, vendor=0x10DE, device=0x2684, revision=0xA1,
            subsystem_vendor=None, subsystem_device=None, class_code=class_code, driver=None, numa_node=None,
            iommu_group=None, regions=(), link=SysfsLink(2.5, 16, 16.0, 16), config=Unread("not read"))
    return PciInventory(functions, {PORT: (GPU,)})


def test_the_link_is_read_while_the_gpu_copies(
    inventory: PciInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "pci", lambda host: inventory)
    monkeypatch.setattr(wake, "LOAD_SECONDS", 0.02)
    host, load = LiveHost(), FakeWake(tmp_path)
    assert host.text(str(tmp_path / "port" / "current_link_speed")) == "2.5 GT/s PCIe"
    assert wake.read_under_load(host, load) is None
    assert load.loaded == (GPU,)
    readings = host.again(str(tmp_path / "port" / "current_link_speed"), "load")
    assert readings == (b"16.0 GT/s PCIe\n",) * wake.READINGS
    assert host.text(str(tmp_path / "port" / "current_link_speed")) == "2.5 GT/s PCIe"
    after = host.again(str(tmp_path / "gpu" / "aer_dev_correctable"), "after")
    assert after == (b"RxErr 0\n",)


@pytest.mark.parametrize("copying", [
    (frozenset[Bdf](), frozenset[Bdf]()), (frozenset({GPU}), frozenset[Bdf]()), (frozenset[Bdf](), frozenset({GPU}))])
def test_a_link_is_not_under_load_when_its_gpu_did_not_copy_from_the_first_reading_to_the_last(
    inventory: PciInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copying: tuple[frozenset[Bdf], ...]
) -> None:
    monkeypatch.setattr(wake, "pci", lambda host: inventory)
    monkeypatch.setattr(wake, "LOAD_SECONDS", 0.02)
    host = LiveHost()
    found = wake.read_under_load(host, FakeWake(tmp_path, copying=copying))
    assert isinstance(found, Unread)
    assert found.why == f"GPU {GPU} was not put under load: its worker hung"
    for name in ("port", "gpu"):
        for attribute in wake.ATTRIBUTES:
            assert isinstance(host.again(str(tmp_path / name / attribute), "load"), Unread)
    assert host.again(str(tmp_path / "gpu" / "aer_dev_correctable"), "after") == (b"RxErr 0\n",)


def test_a_port_above_two_gpus_is_under_load_when_one_of_them_copies(
    inventory: PciInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    for name in wake.ATTRIBUTES:
        (folder / name).write_text("16\n")
    second = msgspec.structs.replace(inventory.functions[GPU], bdf=OTHER, path=str(folder))
    both = PciInventory({**inventory.functions, OTHER: second}, {PORT: (GPU, OTHER)})
    monkeypatch.setattr(wake, "pci", lambda host: both)
    monkeypatch.setattr(wake, "LOAD_SECONDS", 0.02)
    host = LiveHost()
    found = wake.read_under_load(host, FakeWake(tmp_path, copying=(frozenset({GPU, OTHER}), frozenset({GPU}))))
    assert isinstance(found, Unread)
    assert str(OTHER) in found.why
    assert f"GPU {GPU}" not in found.why
    for name, there in (("port", True), ("gpu", True), ("other", False)):
        assert isinstance(host.again(f"{tmp_path / name}/current_link_width", "load"), tuple) is there


def test_a_machine_without_a_gpu_is_put_under_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "pci", lambda host: PciInventory({}, {}))
    found = wake.read_under_load(LiveHost())
    assert isinstance(found, Unread)
    assert found.why == "no GPU to put under load"


def test_gpus_that_no_runtime_drives_are_not_read_twice(
    inventory: PciInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boxcheck.stress import Trouble
    from boxcheck.stress.runtime import RuntimeGpus

    asked: list[str] = []

    def none(name: str) -> RuntimeGpus:
        asked.append(name)
        return RuntimeGpus((), {name: Trouble(gpus=(), module="", kind="no-driver", says=f"{name} is not here")}, (name,))

    monkeypatch.setattr(wake, "pci", lambda host: inventory)
    monkeypatch.setattr(copy_load, "find_devices", none)
    found = wake.read_under_load(LiveHost())
    assert isinstance(found, Unread)
    assert asked == ["cuda", "opencl"]
    assert "cuda is not here" in found.why


def _device(index: int, bdf: Bdf) -> GpuInfo:
    return GpuInfo(
        backend="cpu", index=index, name="test", arch="cpu", bdf=bdf, memory_bytes=1, free_bytes=1, compute_units=1,
        unified=True, is_gpu=True, driver="test")


def test_copies_run_while_the_links_are_read(
    inventory: PciInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor stands in for the GPU: a worker of its own copies for as long as readings are taken."""
    monkeypatch.setattr(wake, "pci", lambda host: inventory)
    monkeypatch.setattr(wake, "LOAD_SECONDS", 0.2)
    load = CopyLoad([_device(0, GPU)])
    host = LiveHost()
    assert wake.read_under_load(host, load) is None
    assert len(host.again(str(tmp_path / "port" / "current_link_speed"), "load")) == wake.READINGS


def test_a_gpu_that_hangs_while_it_copies_was_not_under_load(
    inventory: PciInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "pci", lambda host: inventory)
    monkeypatch.setattr(wake, "LOAD_SECONDS", 0.2)
    monkeypatch.setattr(copy_load, "Run", partial(Run, inject="hang", inject_after=0))
    load = CopyLoad([_device(0, GPU)], silence_seconds=1.0)
    host = LiveHost()
    began = time.monotonic()
    found = wake.read_under_load(host, load)
    assert time.monotonic() - began < 15
    assert isinstance(found, Unread)
    assert "no sign of life" in found.why
    assert isinstance(host.again(str(tmp_path / "port" / "current_link_speed"), "load"), Unread)
    assert not STARTED


def test_a_gpu_that_does_not_open_costs_the_others_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others copy still when all of them are ready, and one that no runtime shows is named too."""
    nowhere = Bdf("0000:43:00.0")
    load = CopyLoad([_device(0, GPU), _device(7, OTHER)])
    began = time.monotonic()
    with load.load((GPU, OTHER, nowhere), 0.2) as loaded:
        assert time.monotonic() - began < copy_load.READY_SECONDS / 2
        assert loaded.copying() == {GPU}
        time.sleep(0.2)
        assert loaded.copying() == {GPU}
        why = loaded.why_not()
    assert "no CPU device 7" in why[OTHER]
    assert why[nowhere] == "no runtime shows it"
    assert not STARTED
