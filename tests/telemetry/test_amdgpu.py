"""One AMD GPU, read from trees made here."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from boxcheck.model import Bdf, Unread
from boxcheck.telemetry.amdgpu import AmdgpuReader
from boxcheck.telemetry.readings import Count, GpuReading, GpuSilent, named
from tests.telemetry.tables import strix, table, xtx
from tests.telemetry.trees import amd_card, home, put, sensors


def reader(root: Path, bdf: Bdf) -> AmdgpuReader:
    return AmdgpuReader(str(root), bdf)


def reading(root: Path, bdf: Bdf) -> GpuReading:
    found = reader(root, bdf).read(5.0)
    assert isinstance(found, GpuReading), found
    return found


def silence(root: Path, bdf: Bdf) -> GpuSilent:
    found = reader(root, bdf).read(5.0)
    assert isinstance(found, GpuSilent), found
    return found


def test_a_card_is_read_from_its_table_and_the_rest_from_its_sensors(tmp_path: Path) -> None:
    found = reading(tmp_path, amd_card(tmp_path))
    assert (found.power_watts, found.power_limit_watts, found.power_of) == (327, 339.0, "card")
    assert [named(found.temperatures_celsius, name) for name in ("edge", "junction", "mem")] == [62, 81, 74]
    assert (found.memory_used_bytes, found.memory_total_bytes) == (21 << 30, 24 << 30)
    assert (found.host_memory_used_bytes, found.fan_rpm, found.busy_percent) == (64 << 20, 1510, 99)
    assert (found.pcie.width, found.pcie.speed_gts, found.pcie.replays) == (16, 16.0, 3)
    assert (found.throttle, found.throttle_bits, found.unread) == ((), 0, ())


def test_what_a_card_has_not_is_none_and_no_zero(tmp_path: Path) -> None:
    found = reading(tmp_path, amd_card(tmp_path))
    assert found.power_instant_watts is found.energy_joules is found.fan_percent is found.performance_state is None
    assert found.memory_errors == found.power_parts_watts == found.throttle_counters == ()
    assert named(found.temperatures_celsius, "soc") is None


def test_sensors_that_the_table_has_are_not_asked_a_second_time(tmp_path: Path) -> None:
    bdf = amd_card(tmp_path)
    watched = reader(tmp_path, bdf)
    put(sensors(tmp_path, bdf), "temp1_input", "garbage")
    put(sensors(tmp_path, bdf), "in0_input", "garbage")
    found = watched.read(5.0)
    assert isinstance(found, GpuReading)
    assert named(found.temperatures_celsius, "edge") == 62
    assert named(found.voltages_volts, "gfx") == 0.912


def test_every_reading_is_new(tmp_path: Path) -> None:
    bdf = amd_card(tmp_path)
    watched = reader(tmp_path, bdf)
    watched.read(5.0)
    put(home(tmp_path, bdf), "gpu_metrics", xtx(power=100, hotspot=109))
    put(sensors(tmp_path, bdf), "power1_cap", 250_000_000)
    found = watched.read(6.0)
    assert isinstance(found, GpuReading)
    assert (found.power_watts, named(found.temperatures_celsius, "junction"), found.power_limit_watts) == (100, 109, 250)
    assert found.monotonic_seconds == 6.0


def test_reasons_of_throttling_come_by_name(tmp_path: Path) -> None:
    found = reading(tmp_path, amd_card(tmp_path, metrics=xtx(indep=1 << 36 | 1 << 0, throttle=0x41)))
    assert isinstance(found.throttle, tuple)
    assert [(one.code, one.kind) for one in found.throttle] == [("PPT0", "power-cap"), ("TEMP_HOTSPOT", "thermal-software")]
    assert found.throttle_bits == 1 << 36 | 1


def test_bits_that_differ_from_chip_to_chip_are_not_named(tmp_path: Path) -> None:
    found = reading(tmp_path, amd_card(tmp_path, metrics=table("1.1", edge=50, throttle=0x41)))
    assert isinstance(found.throttle, Unread)
    assert found.throttle_bits == 0x41


def test_no_bit_at_all_needs_no_names(tmp_path: Path) -> None:
    found = reading(tmp_path, amd_card(tmp_path, metrics=table("1.1", edge=50, throttle=0)))
    assert (found.throttle, found.throttle_bits) == ((), 0)


def test_a_table_without_a_throttle_field_says_nothing_about_throttling(tmp_path: Path) -> None:
    assert reading(tmp_path, amd_card(tmp_path, metrics=table("1.3", edge=50))).throttle is None


def test_strix_tells_what_held_it_since_the_reading_before(tmp_path: Path) -> None:
    bdf = amd_card(tmp_path, metrics=strix())
    watched = reader(tmp_path, bdf)
    first = watched.read(5.0)
    put(home(tmp_path, bdf), "gpu_metrics", strix(prochot=3, sppt=9))
    second, third = watched.read(6.0), watched.read(7.0)
    assert isinstance(first, GpuReading)
    assert isinstance(first.throttle, Unread)
    assert first.throttle.kind == "one-reading"
    assert isinstance(second, GpuReading)
    assert isinstance(second.throttle, tuple)
    assert [(one.code, one.kind) for one in second.throttle] == [("PROCHOT", "prochot"), ("SPPT", "power-cap")]
    assert isinstance(third, GpuReading)
    assert third.throttle == ()
    assert third.power_of == "socket"
    assert Count("prochot", 3) in third.throttle_counters


def test_without_a_table_the_sensors_are_read(tmp_path: Path) -> None:
    bdf = amd_card(tmp_path)
    (home(tmp_path, bdf) / "gpu_metrics").unlink()
    found = reading(tmp_path, bdf)
    assert (found.power_watts, found.power_of, found.fan_rpm, found.busy_percent) == (326.0, None, 1500, 98.0)
    assert [named(found.temperatures_celsius, name) for name in ("edge", "junction", "mem")] == [61.0, 80.0, 72.0]
    assert [named(found.clocks_mhz, name) for name in ("gfx", "mem")] == [2391.0, 1249.0]
    assert named(found.voltages_volts, "gfx") == 0.905
    assert found.throttle is found.throttle_bits is found.pcie.width is None
    assert found.unread == ()


def test_a_table_of_an_unknown_kind_is_unread_and_not_absent(tmp_path: Path) -> None:
    found = reading(tmp_path, amd_card(tmp_path, metrics=xtx()[:2] + b"\x01\x09" + xtx()[4:]))
    assert found.power_watts == 326.0
    for value in (found.throttle, found.throttle_bits, found.pcie.width, found.throttle_counters, found.unread[0]):
        assert isinstance(value, Unread)
        assert "v1.9 is not known" in value.why


def test_voltage_of_0_is_no_reading(tmp_path: Path) -> None:
    bdf = amd_card(tmp_path, metrics=strix())
    put(sensors(tmp_path, bdf), "in0_input", 0)
    assert isinstance(named(reading(tmp_path, bdf).voltages_volts, "gfx"), Unread)


def test_errors_of_the_memory_are_counted_where_the_card_counts_them(tmp_path: Path) -> None:
    bdf = amd_card(tmp_path)
    put(home(tmp_path, bdf), "ras/umc_err_count", "ue: 1\nce: 7")
    assert reading(tmp_path, bdf).memory_errors == (Count("corrected", 7), Count("uncorrected", 1))
    put(home(tmp_path, bdf), "ras/umc_err_count", "Query currently inaccessible")
    assert isinstance(reading(tmp_path, bdf).memory_errors, Unread)


def test_a_sleeping_card_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bdf = amd_card(tmp_path)
    put(home(tmp_path, bdf), "power/runtime_status", "suspended")
    watched = reader(tmp_path, bdf)
    asked: list[str] = []
    pread = os.pread

    def listening(fd: int, count: int, offset: int) -> bytes:
        asked.append(os.readlink(f"/proc/self/fd/{fd}").rsplit("/", 1)[-1])
        return pread(fd, count, offset)

    monkeypatch.setattr(os, "pread", listening)
    found = watched.read(5.0)
    assert isinstance(found, GpuSilent)
    assert found.state == "asleep"
    assert asked == ["runtime_status"]


def failing(code: int, monkeypatch: pytest.MonkeyPatch, spare: str = "") -> None:
    """Every read fails with this error, but those of files with this name."""
    pread = os.pread

    def fail(fd: int, count: int, offset: int) -> bytes:
        if spare and os.readlink(f"/proc/self/fd/{fd}").endswith(spare):
            return pread(fd, count, offset)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pread", fail)


def test_a_card_that_was_removed_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = reader(tmp_path, amd_card(tmp_path))
    failing(errno.ENODEV, monkeypatch)
    found = watched.read(5.0)
    assert isinstance(found, GpuSilent)
    assert found.state == "lost"


@pytest.mark.parametrize(("code", "word"), [(errno.EPERM, "asleep, or being reset"), (errno.EIO, "input/output error")])
def test_a_card_whose_driver_refuses_is_unread_with_the_reason(
    code: int, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = reader(tmp_path, amd_card(tmp_path))
    failing(code, monkeypatch, spare="runtime_status")
    found = watched.read(5.0)
    assert isinstance(found, GpuSilent)
    assert (found.state, found.why.kind) == ("unread", "error")
    assert word in found.why.why


def test_one_sensor_that_fails_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bdf = amd_card(tmp_path)
    (home(tmp_path, bdf) / "gpu_metrics").unlink()
    put(sensors(tmp_path, bdf), "temp2_input", 0)
    found = reading(tmp_path, bdf)
    assert isinstance(named(found.temperatures_celsius, "junction"), Unread)
    assert named(found.temperatures_celsius, "edge") == 61.0


def test_a_card_without_a_driver_is_unread(tmp_path: Path) -> None:
    bdf = amd_card(tmp_path)
    shutil.rmtree(home(tmp_path, bdf) / "hwmon")
    (home(tmp_path, bdf) / "gpu_metrics").unlink()
    found = silence(tmp_path, bdf)
    assert (found.state, found.why.kind) == ("unread", "absent")
