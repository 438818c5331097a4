"""NVIDIA GPUs, read through nvidia-ml-py from a library made here (nvml_mock.c), each time in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from boxcheck.model import Unread
from boxcheck.telemetry.readings import Count, GpuReading, GpuSilent, counted, named

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, msgspec
from boxcheck.telemetry.nvml import NvmlReader
reader = NvmlReader()
rows = [reader.read(bdf, 5.0) for bdf in sys.argv[1].split(",")]
reader.close()
sys.stdout.buffer.write(msgspec.json.encode(rows))
"""
AT_WORK = {
    "F185": "430100", "F186": "451900", "EnforcedPowerLimit": "450000", "TotalEnergyConsumption": "123456000",
    "Temperature0": "71", "ClockInfo0": "2520", "ClockInfo1": "2520", "ClockInfo2": "10501",
    "CurrentClocksEventReasons": "0x4", "Utilization": "99041", "MemoryUsed": str(20 << 30), "FanSpeed": "62",
    "PerformanceState": "2", "CurrPcieLinkGeneration": "4", "CurrPcieLinkWidth": "16", "F94": "3",
    "ViolationStatus0": "5000000", "ViolationStatus1": "0",
}
"""An RTX 4090: no memory temperature, no ECC, no counters of bytes."""


def build(folder: Path, *options: str) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a library in place of NVIDIA's")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", *options, "-o",
                    str(folder / "libnvidia-ml.so.1"), str(Path(__file__).with_name("nvml_mock.c"))],
                   check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of before the event reasons and the field values."""
    return build(tmp_path_factory.mktemp("oldnvml"), "-DOLD_NAMES")


def ask(library: Path, gpus: str = "0000:41:00.0", **answers: str) -> list[GpuReading | GpuSilent]:
    mock = {f"MOCK_{name}": value for name, value in answers.items()}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, gpus], capture_output=True, timeout=60, check=False,
        env={"LD_LIBRARY_PATH": str(library), "PYTHONPATH": str(ROOT), **mock})
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=list[GpuReading | GpuSilent])


def one(library: Path, **answers: str) -> GpuReading:
    (found,) = ask(library, **answers)
    assert isinstance(found, GpuReading), found
    return found


def silent(library: Path, **answers: str) -> GpuSilent:
    (found,) = ask(library, **answers)
    assert isinstance(found, GpuSilent), found
    return found


def why(value: object) -> Unread:
    assert isinstance(value, Unread), value
    return value


def test_a_gpu_at_work_is_read(library: Path) -> None:
    found = one(library, **AT_WORK)
    assert (found.power_watts, found.power_instant_watts, found.power_limit_watts) == (430.1, 451.9, 450.0)
    assert (found.energy_joules, named(found.temperatures_celsius, "core")) == (123456.0, 71)
    assert [named(found.clocks_mhz, name) for name in ("gfx", "sm", "mem")] == [2520, 2520, 10501]
    assert (found.busy_percent, found.memory_busy_percent) == (99, 41)
    assert (found.memory_used_bytes, found.memory_total_bytes) == (20 << 30, 24 << 30)
    assert (found.fan_percent, found.performance_state) == (62, 2)
    assert (found.pcie.speed_gts, found.pcie.width, found.pcie.replays) == (16.0, 16, 3)
    assert isinstance(found.throttle, tuple)
    assert [(reason.code, reason.kind) for reason in found.throttle] == [("SwPowerCap", "power-cap")]
    assert found.throttle_bits == 4
    assert found.throttle_counters == (Count("power", 5_000_000), Count("thermal", 0))


def test_what_a_gpu_does_not_support_is_none_and_no_zero(library: Path) -> None:
    found = one(library, **AT_WORK)
    assert named(found.temperatures_celsius, "mem") is None
    assert found.memory_errors == found.pcie.errors == ()
    assert found.pcie.sent_bytes is found.pcie.received_bytes is None
    assert found.fan_rpm is None  # this library is too old for it


def test_a_card_with_ecc_counts_its_errors(library: Path) -> None:
    found = one(library, **AT_WORK, F3="2", F4="0", F143="1", F82="88", F95="4", F176="17", F197="1000", F198="2000")
    assert named(found.temperatures_celsius, "mem") == 88
    assert found.memory_errors == (Count("corrected", 2), Count("uncorrected", 0), Count("remapped uncorrected", 1))
    assert found.pcie.errors == (Count("replay rollovers", 4), Count("bad TLPs", 17))
    assert (found.pcie.sent_bytes, found.pcie.received_bytes) == (1000, 2000)


def test_all_ones_are_no_number(library: Path) -> None:
    answers = {**AT_WORK, "F186": str(0xFFFF_FFFF), "EnforcedPowerLimit": str(0xFFFF_FFFF), "F197": str(2**64 - 1),
               "TotalEnergyConsumption": str(2**64 - 1), "MemoryUsed": str(2**64 - 1)}
    found = one(library, **answers)
    assert found.power_instant_watts is found.power_limit_watts is found.energy_joules is None
    assert found.pcie.sent_bytes is found.memory_used_bytes is None


def test_a_value_that_could_not_be_read_says_why(library: Path) -> None:
    answers = {**AT_WORK, "F186": "!4", "ClockInfo2": "!10", "F3": "!2", "CurrentClocksEventReasons": "!999"}
    found = one(library, **answers)
    assert why(found.power_instant_watts).kind == "permission"
    assert why(named(found.clocks_mhz, "mem")).kind == "timeout"
    assert why(counted(found.memory_errors, "corrected")).kind == "unsupported"
    assert why(found.throttle) == why(found.throttle_bits)
    assert "Unknown" in why(found.throttle).why
    assert found.power_watts == 430.1


def test_without_an_average_the_driver_s_own_power_is_taken(library: Path) -> None:
    answers = {name: value for name, value in AT_WORK.items() if name != "F185"}
    assert one(library, **answers, PowerUsage="431000").power_watts == 431.0
    assert why(one(library, **answers, F185="!4").power_watts).kind == "permission"
    assert one(library, **answers).power_watts is None


def test_impossible_numbers_are_not_believed(library: Path) -> None:
    answers = {**AT_WORK, "Temperature0": "0", "CurrPcieLinkGeneration": "9", "PerformanceState": "32"}
    found = one(library, **answers)
    for value in (named(found.temperatures_celsius, "core"), found.pcie.speed_gts, found.performance_state):
        assert isinstance(value, Unread)


@pytest.mark.parametrize(("code", "state"), [("!15", "lost"), ("!16", "reset-required"), ("!999", "lost")])
def test_one_gpu_that_is_lost_leaves_the_other_alone(library: Path, code: str, state: str) -> None:
    fine, lost = ask(library, "0000:41:00.0,0000:42:00.0", **AT_WORK, ALL_2=code)
    assert isinstance(fine, GpuReading)
    assert fine.power_watts == 430.1
    assert isinstance(lost, GpuSilent)
    assert (lost.bdf, lost.state) == ("0000:42:00.0", state)
    assert "0000:42:00.0" in lost.why.why


def test_a_gpu_that_is_lost_in_the_middle_of_a_reading_is_lost(library: Path) -> None:
    assert silent(library, **{**AT_WORK, "FanSpeed": "!15"}).state == "lost"


def test_a_gpu_that_refuses_everything_is_unread_and_not_lost(library: Path) -> None:
    found = silent(library, ALL_1="!4")
    assert found.state == "unread"
    assert "Permission" in found.why.why


@pytest.mark.parametrize(("code", "state"), [("!15", "lost"), ("!4", "unread")])
def test_a_gpu_that_cannot_be_opened_says_why(library: Path, code: str, state: str) -> None:
    assert silent(library, Handle=code).state == state


def test_a_gpu_that_nvml_does_not_know_is_unread(library: Path) -> None:
    (found,) = ask(library, "0000:99:00.0", **AT_WORK)
    assert isinstance(found, GpuSilent)
    assert (found.state, "Not Found" in found.why.why) == ("unread", True)


def test_a_driver_that_does_not_start_is_one_sentence(library: Path) -> None:
    found = silent(library, Init="!18")
    assert (found.state, found.why.why) == ("unread", "NVML did not start: RM has detected an NVML/RM version mismatch")


def test_without_the_library_it_says_so(tmp_path: Path) -> None:
    found = silent(tmp_path)
    assert (found.state, found.why.kind) == ("unread", "error")
    assert "Not Found" in found.why.why


def test_an_older_driver_is_asked_by_the_older_names(old_library: Path) -> None:
    found = one(old_library, **AT_WORK, CurrentClocksThrottleReasons="0x48", PowerUsage="420000", PcieReplayCounter="9")
    assert isinstance(found.throttle, tuple)
    assert [reason.code for reason in found.throttle] == ["HwSlowdown", "HwThermalSlowdown"]
    assert (found.power_watts, found.pcie.replays) == (420.0, 9)
    missing = why(found.power_instant_watts)
    assert (missing.kind, "nvmlDeviceGetFieldValues" in missing.why) == ("unsupported", True)
    assert why(counted(found.memory_errors, "corrected")) == missing
