"""The host: power, clocks, heat, load, memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from boxcheck.model import Unread
from boxcheck.telemetry import cpu
from boxcheck.telemetry.rapl import Rapl
from boxcheck.telemetry.readings import Clocks, Count, HostReading, Named, named
from boxcheck.telemetry.system import HostReader, cpu_times
from tests.telemetry.trees import processors, put

ENERGY = "sys/class/powercap/intel-rapl:0/energy_uj"
RANGE = 65_532_610_987


def kind_of(value: object) -> str:
    assert isinstance(value, Unread), value
    return value.kind


def package(root: Path, *energies: int, seconds: float = 1.0) -> list[float | Unread | None]:
    """Power of package-0 at each of these counts of microjoules, so many seconds apart."""
    rapl = Rapl(str(root))
    found = []
    for number, energy in enumerate(energies):
        put(root, ENERGY, energy)
        found.append(named(rapl.read(number * seconds), "package-0"))
    return found


def test_the_host_is_read(tmp_path: Path) -> None:
    processors(tmp_path)
    found = HostReader(str(tmp_path)).read(5.0)
    assert found.cpu_clocks == Clocks(3000.0, 3150.0, 3300.0, 4)
    assert found.cpu_temperatures_celsius == (Named("Tctl", 71.25),)
    assert (found.memory_available_bytes, found.memory_total_bytes) == (250_000_000 << 10, 263_737_512 << 10)
    assert (found.core_throttles, found.package_throttles) == (0 + 1 + 2 + 3, (Count("package 0", 9),))


def test_what_needs_two_readings_says_so_at_the_first(tmp_path: Path) -> None:
    processors(tmp_path)
    found = HostReader(str(tmp_path)).read(5.0)
    assert kind_of(found.cpu_busy_percent) == "one-reading"
    assert isinstance(found.cpu_power_watts, tuple)
    assert [(one.name, kind_of(one.value)) for one in found.cpu_power_watts] == [
        ("package-0", "one-reading"), ("package-0 dram", "one-reading")]


def test_load_is_that_since_the_reading_before(tmp_path: Path) -> None:
    processors(tmp_path)
    host = HostReader(str(tmp_path))
    host.read(5.0)
    put(tmp_path, "proc/stat", "cpu  1050 0 520 8020 510 0 0 0 0 0")
    assert host.read(6.0).cpu_busy_percent == pytest.approx(70.0)
    assert kind_of(host.read(6.0).cpu_busy_percent) == "one-reading"


def test_times_of_a_busy_processor_leave_idle_and_waiting_out() -> None:
    assert cpu_times(b"cpu  10 1 5 100 20 2 3 4 9 9\ncpu0 1") == (25, 145)
    for text in (b"", b"cpu0 1 2 3 4 5", b"cpu  1 2 x 4 5"):
        assert kind_of(cpu_times(text)) == "malformed"


def test_power_is_energy_over_time(tmp_path: Path) -> None:
    processors(tmp_path)
    first, second, third = package(tmp_path, 1_000_000, 181_000_000, 181_000_000, seconds=2.0)
    assert kind_of(first) == "one-reading"
    assert (second, third) == (90.0, 0.0)


def test_an_energy_counter_that_overflows_goes_on(tmp_path: Path) -> None:
    processors(tmp_path)
    assert package(tmp_path, RANGE - 50_000_000, 30_000_000)[1] == pytest.approx(80.0)


def test_an_overflow_at_an_unknown_place_is_unread(tmp_path: Path) -> None:
    processors(tmp_path)
    (tmp_path / ENERGY).with_name("max_energy_range_uj").unlink()
    found = package(tmp_path, 50_000_000, 30_000_000, 40_000_000)
    assert (kind_of(found[1]), found[2]) == ("malformed", 10.0)


def test_after_a_pause_in_which_it_may_have_overflowed_the_counter_is_not_trusted(tmp_path: Path) -> None:
    processors(tmp_path)
    assert kind_of(package(tmp_path, 0, 50_000_000, seconds=40.0)[1]) == "one-reading"
    assert package(tmp_path, 0, 50_000_000, seconds=30.0)[1] == pytest.approx(50 / 30)


def test_counters_that_only_root_may_read_are_unread_and_not_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processors(tmp_path)
    opens = os.open

    def refuse(path: str, flags: int) -> int:
        if path.endswith("energy_uj"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opens(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    found = Rapl(str(tmp_path)).read(5.0)
    assert isinstance(found, tuple)
    assert [kind_of(one.value) for one in found] == ["permission", "permission"]


def test_a_machine_without_any_of_it_has_none(tmp_path: Path) -> None:
    put(tmp_path, "proc/stat", "cpu  1 0 1 1 1 0 0 0 0 0")
    found = HostReader(str(tmp_path)).read(5.0)
    assert found.cpu_power_watts == found.cpu_temperatures_celsius == found.package_throttles == ()
    assert found.cpu_clocks is found.core_throttles is None
    assert kind_of(found.memory_available_bytes) == "absent"


def test_two_processors_of_amd_keep_two_temperatures(tmp_path: Path) -> None:
    processors(tmp_path)
    for name, value in {"name": "k10temp", "temp1_label": "Tctl", "temp1_input": 55_000}.items():
        put(tmp_path, f"sys/class/hwmon/hwmon3/{name}", value)
    assert HostReader(str(tmp_path)).read(5.0).cpu_temperatures_celsius == (
        Named("Tctl", 71.25), Named("Tctl hwmon3", 55.0))


def test_a_processor_of_intel_shows_its_package_and_not_its_cores(tmp_path: Path) -> None:
    for name, value in {"name": "coretemp", "temp1_label": "Package id 0", "temp1_input": 64_000, "temp2_label": "Core 0",
                        "temp2_input": 60_000}.items():
        put(tmp_path, f"sys/class/hwmon/hwmon1/{name}", value)
    assert HostReader(str(tmp_path)).read(5.0).cpu_temperatures_celsius == (Named("Package id 0", 64.0),)


def test_clocks_that_come_slowly_are_read_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processors(tmp_path)
    monkeypatch.setattr(cpu, "CLOCK_SECONDS", -1.0)
    clocks = cpu.CoreClocks(str(tmp_path), cpu.first_siblings(str(tmp_path)))
    found = [clocks.read() for _ in range(5)]
    assert found == [Clocks(mhz, mhz, mhz, 1) for mhz in (3000.0, 3100.0, 3200.0, 3300.0, 3000.0)]


def test_one_counter_that_fails_makes_no_smaller_sum(tmp_path: Path) -> None:
    processors(tmp_path)
    put(tmp_path, "sys/devices/system/cpu/cpu2/thermal_throttle/core_throttle_count", "x")
    assert kind_of(HostReader(str(tmp_path)).read(5.0).core_throttles) == "malformed"


def test_this_machine_can_be_read() -> None:
    host = HostReader("")
    host.read(1.0)
    found = host.read(2.0)
    host.close()
    assert isinstance(found, HostReading)
    assert isinstance(found.memory_total_bytes, int)
    assert isinstance(host.read(3.0).memory_total_bytes, Unread)
