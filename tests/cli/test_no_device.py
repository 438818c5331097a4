"""What is said where no device can be driven: first what the bus holds, then what would help this machine."""

from __future__ import annotations

import pytest

from boxcheck.commands.doctor import Options
from boxcheck.commands.no_device import no_device
from boxcheck.engine.inspect import Facts, read_facts
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.pci import PciInventory
from boxcheck.registry import discover
from boxcheck.stress import Trouble
from boxcheck.stress.runtime import RuntimeGpus
from tests.boxes import Tree, build
from tests.boxes.memory import host


def _trouble(kind: str, says: str, help: str = "") -> Trouble:
    return Trouble(gpus=(), module="", kind=kind, says=says, help=help)


TROUBLES = {
    "cuda": _trouble("no-driver", "there is no libcuda.so.1", "install NVIDIA's driver"),
    "hip": _trouble("no-driver", "libamdhip64.so was not found", "install ROCm's runtime"),
    "opencl": _trouble("no-binding", "the package pyopencl is not installed", "pip install 'boxcheck[opencl]'")}


def _said(facts: Facts, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...] = tuple(TROUBLES),
          **troubles: Trouble) -> str:
    shown = {name: TROUBLES[name] for name in asked} | troubles
    assert no_device(RuntimeGpus((), shown, asked), facts, Options()) == 3
    return capsys.readouterr().err


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    discover()


def _facts(built: Tree) -> Facts:
    return read_facts(host(built), {Gpus, PciInventory})


def _bus(*functions: tuple[str, int, int, int]) -> Facts:
    """A bus of these: address, vendor, device, class."""
    built = Tree()
    for bdf, vendor, device, kind in functions:
        for name, value in (("vendor", vendor), ("device", device), ("class", kind)):
            built.put(f"/sys/devices/pci0000:00/{bdf}/{name}", f"0x{value:0{6 if name == 'class' else 4}x}")
        built.link(f"/sys/bus/pci/devices/{bdf}", f"/sys/devices/pci0000:00/{bdf}")
    return _facts(built)


BRIDGE = ("0000:00:00.0", 0x8086, 0x0D57, 0x060000)


def test_a_machine_without_a_gpu_is_told_so_first_and_nothing_of_drivers(capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(_bus(BRIDGE), capsys)
    assert said.splitlines()[:2] == [
        "error: no GPU is on the PCI bus, so nothing was run",
        "  PCI bus: 1 function, none of them for a display, for 3D or an accelerator (class 03 or 12)"]
    assert "--backend cpu" in said
    assert "boxcheck demo" in said
    assert "install" not in said


def test_the_screen_of_a_management_controller_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(_bus(BRIDGE, ("0000:02:00.0", 0x1A03, 0x2000, 0x030000)), capsys)
    assert "2 functions, for a display only 1a03:2000 at 0000:02:00.0, which does not compute" in said


def test_cards_without_a_driver_get_the_words_of_their_own_runtimes(capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(_facts(build("tinybox-red")), capsys)
    assert said.startswith("error: no GPU that can be driven was found, so nothing was run\n  PCI bus: 6 x RX 7900 XTX (")
    assert "install ROCm's runtime" in said
    assert "pyopencl" in said
    assert "NVIDIA" not in said


def test_a_runtime_that_hangs_is_named_on_any_machine(capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(_bus(BRIDGE), capsys, hip=_trouble("stuck-opening", "no sign of life for 60 s"))
    assert said.startswith("error: no GPU is on the PCI bus, and hip could not be asked, so nothing was run\n")
    assert "  hip: could not be asked: no sign of life for 60 s\n" in said


def test_what_the_one_runtime_lacks_that_was_asked_for_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "pip install 'boxcheck[opencl]'" in _said(_bus(BRIDGE), capsys, ("opencl",))


def test_a_bus_that_cannot_be_read_is_not_one_without_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(_facts(Tree()), capsys)
    assert said.startswith("error: no GPU that can be driven was found, so nothing was run\n  PCI bus: not read: ")
    assert "install NVIDIA's driver" in said
