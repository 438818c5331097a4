"""Readings under load: taken while the GPU layer copies, and replayed from a capture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxcheck.engine import wake
from boxcheck.host.live import LiveHost
from boxcheck.model import Bdf, Unread
from boxcheck.probes.pci import PciFunction, PciInventory

PORT, GPU = Bdf("0000:40:01.1"), Bdf("0000:41:00.0")


class FakeWake:
    """Raises the link's speed while it is entered, as a copying card does, by changing the files that are read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaded: tuple[Bdf, ...] = ()

    @contextmanager
    def load(self, gpus: Iterable[Bdf], seconds: float) -> Iterator[None]:
        self.loaded = tuple(gpus)
        for name in ("port", "gpu"):
            (self.folder / name / "current_link_speed").write_text("16.0 GT/s PCIe\n")
        yield
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


def test_without_a_gpu_layer_nothing_is_read_twice() -> None:
    found = wake.find_wake()
    if not isinstance(found, Unread):
        pytest.skip("this boxcheck has a GPU layer")
    assert wake.read_under_load(LiveHost()) == found
