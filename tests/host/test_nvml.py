"""The process that asks NVML, with a binding made of paper in place of NVIDIA's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from boxcheck.host import nvml
from boxcheck.model import Unread
from boxcheck.probes.nvml import parse_nvml

CHILD = Path(nvml.__file__).with_name("nvml_child.py")

BINDING = '''
class NVMLError(Exception):
    def __init__(self, value, text="no"):
        super().__init__(text)
        self.value = value

class Answer:
    def __init__(self, **values):
        self.__dict__.update(values)

def nvmlInit(): {init}
def nvmlDeviceGetCount(): return 3
def nvmlDeviceGetHandleByIndex(index):
    if index == 1:
        raise NVMLError(15, "GPU is lost")
    return index
def nvmlDeviceGetPciInfo(handle): return Answer(busId=b"00000000:%02X:00.0" % (handle * 64 + 1))
def nvmlDeviceGetMemoryInfo(handle): return Answer(total=24 << 30)
def nvmlDeviceGetName(handle): return b"NVIDIA GeForce RTX 4090"
def nvmlDeviceGetPersistenceMode(handle): return 1
def nvmlDeviceGetTemperature(handle, sensor): raise NVMLError(3, "Not Supported")
def nvmlDeviceGetP2PStatus(first, second, index): return 0 if index == 0 else 6
def nvmlDeviceGetCurrentClocksThrottleReasons(handle): return 1
def nvmlDeviceGetRemappedRows(handle): return (0, 1, 0, 0)
def nvmlDeviceGetPcieReplayCounter(handle):
    if handle == 2:
        raise NVMLError(15, "GPU is lost")
    return 4
def nvmlDeviceGetTotalEccErrors(handle, kind, counter): raise NVMLError(999, "")
'''


def answer(folder: Path, init: str = "pass") -> dict[str, object]:
    (folder / "pynvml.py").write_text(BINDING.format(init=init))
    done = subprocess.run([sys.executable, str(CHILD)], env={"PYTHONPATH": str(folder)}, capture_output=True, timeout=60,
                          check=True)
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def test_what_the_driver_does_not_know_is_left_out(tmp_path: Path) -> None:
    found = parse_nvml(answer(tmp_path))
    assert isinstance(found.gpus, tuple)
    first, lost, third = found.gpus
    assert (first.bdf, first.name, first.persistence) == ("0000:01:00.0", "NVIDIA GeForce RTX 4090", True)
    assert (first.temperature_celsius, first.uuid, first.ecc) == (None, None, None)
    assert (first.event_reasons, first.remapped_uncorrected) == (1, 1)
    assert lost.lost
    assert third.bdf == "0000:81:00.0"
    assert found.peers == {(0, 2): 0, (2, 0): 0}


def test_what_failed_is_told_from_what_the_card_has_not(tmp_path: Path) -> None:
    found = parse_nvml(answer(tmp_path))
    assert isinstance(found.gpus, tuple)
    first, _, third = found.gpus
    assert (first.pcie_replays, third.pcie_replays) == (4, None)
    assert third.missing("pcie_replays") == Unread("GPU is lost", "error")
    assert first.missing("pcie_replays", "event_reasons", "remap_failed", "temperature_celsius") is None
    assert first.unread["ecc_uncorrected"] == first.unread["ecc_uncorrected_volatile"] == "error 999"
    assert first.unread["retired_pending"] == "nvidia-ml-py has no nvmlDeviceGetRetiredPagesPendingStatus"
    assert first.missing("power_limit_watts") is not None
    assert first.unread["bar1_bytes"] == "nvidia-ml-py has no nvmlDeviceGetBAR1MemoryInfo"


def test_memory_and_place_that_failed_are_told_too(tmp_path: Path) -> None:
    binding = BINDING.replace("return Answer(total=24 << 30)", "raise NVMLError(999, 'Unknown Error')").replace(
        "def nvmlDeviceGetPciInfo(handle): ",
        "def nvmlDeviceGetPciInfo(handle):\n    if handle == 2: raise NVMLError(15, 'GPU is lost')\n    ")
    (tmp_path / "pynvml.py").write_text(binding.format(init="pass"))
    done = subprocess.run([sys.executable, str(CHILD)], env={"PYTHONPATH": str(tmp_path)}, capture_output=True,
                          timeout=60, check=True)
    found = parse_nvml(json.loads(done.stdout))
    assert isinstance(found.gpus, tuple)
    first, _, third = found.gpus
    assert first.missing("memory_bytes") == Unread("Unknown Error", "error")
    assert (third.bdf, third.missing("bdf")) == (None, Unread("GPU is lost", "error"))


def test_a_count_that_failed_is_no_empty_machine(tmp_path: Path) -> None:
    binding = BINDING.replace("return 3", "raise NVMLError(999, 'Unknown Error')")
    (tmp_path / "pynvml.py").write_text(binding.format(init="pass"))
    done = subprocess.run([sys.executable, str(CHILD)], env={"PYTHONPATH": str(tmp_path)}, capture_output=True,
                          timeout=60, check=True)
    assert isinstance(parse_nvml(json.loads(done.stdout)).gpus, Unread)


def test_a_refusal_keeps_its_number(tmp_path: Path) -> None:
    found = parse_nvml(answer(tmp_path, 'raise NVMLError(18, "Driver/library version mismatch")'))
    assert found.mismatch
    assert isinstance(found.gpus, Unread)
    assert "mismatch" in found.gpus.why


def test_a_driver_that_hangs_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pynvml.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(nvml, "TIMEOUT_SECONDS", 1.0)
    found = nvml.ask_nvml()
    assert isinstance(found, Unread)
    assert found.kind == "timeout"


def test_without_the_binding_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = nvml.ask_nvml()
    assert isinstance(found, Unread)
    assert found.kind == "unsupported"


def test_on_this_machine_it_answers_or_says_why() -> None:
    found = nvml.ask_nvml()
    if not isinstance(found, Unread):
        parse_nvml(found)
