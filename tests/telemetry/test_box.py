"""Drives, supplies and fans: what each tells, and that one that hangs holds up nobody."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from boxcheck.model import Unread
from boxcheck.telemetry import box
from boxcheck.telemetry.box import BoxReader, Slow
from boxcheck.telemetry.readings import Named, Values, named
from tests.telemetry.trees import put

HWMON = "sys/class/hwmon"


def drive(root: Path, number: int, millidegrees: int | str, ticks: int) -> None:
    put(root, f"{HWMON}/hwmon{number}/name", "nvme")
    put(root, f"{HWMON}/hwmon{number}/temp1_input", millidegrees)
    (root / f"{HWMON}/hwmon{number}/device").symlink_to(f"../../nvme/nvme{number}")
    worked(root, number, ticks)


def worked(root: Path, number: int, ticks: int) -> None:
    put(root, f"sys/block/nvme{number}n1/stat", f"  9 0 9 9 0 0 0 0 0 {ticks} 9 0 0 0 0 0 0")


def board(root: Path) -> None:
    for name, value in {"name": "nct6798", "fan1_input": 1210, "fan2_input": 0, "fan2_label": "CHA1"}.items():
        put(root, f"{HWMON}/hwmon7/{name}", value)
    for name, value in {"name": "amdgpu", "fan1_input": 2900}.items():
        put(root, f"{HWMON}/hwmon8/{name}", value)
    for name, value in {"name": "power_meter", "power1_average": 3_240_000_000}.items():
        put(root, f"{HWMON}/hwmon9/{name}", value)


def kind_of(values: Values, name: str | None = None) -> str:
    value = values if name is None else named(values, name)
    assert isinstance(value, Unread), value
    return value.kind


def test_drives_meter_and_fans_of_the_board_are_read_and_the_fan_of_a_gpu_is_not(tmp_path: Path) -> None:
    drive(tmp_path, 0, 41850, 1000)
    board(tmp_path)
    reader = BoxReader(str(tmp_path))
    first = reader.read(10.0)
    worked(tmp_path, 0, 2200)
    second = reader.read(15.0)
    assert second.drives_celsius == (Named("nvme0", 41.85),)
    assert second.supply_watts == (Named("hwmon9", 3240.0),)
    assert second.fans_rpm == (Named("nct6798 fan1", 1210.0), Named("nct6798 CHA1", 0.0))
    assert kind_of(first.drives_busy_percent, "nvme0n1") == "one-reading"
    assert named(second.drives_busy_percent, "nvme0n1") == pytest.approx(24.0)


def test_a_box_without_any_of_it_tells_nothing_and_no_zero(tmp_path: Path) -> None:
    found = BoxReader(str(tmp_path)).read(1.0)
    assert found.drives_celsius == found.drives_busy_percent == found.supply_watts == found.fans_rpm == ()


def test_what_cannot_be_a_temperature_is_unread(tmp_path: Path) -> None:
    drive(tmp_path, 0, 0, 1)
    drive(tmp_path, 1, "odd", 1)
    found = BoxReader(str(tmp_path)).read(1.0).drives_celsius
    assert (kind_of(found, "nvme0"), kind_of(found, "nvme1")) == ("malformed", "malformed")


def test_a_counter_of_work_that_begins_anew_is_no_load(tmp_path: Path) -> None:
    drive(tmp_path, 0, 40000, 9000)
    reader = BoxReader(str(tmp_path))
    reader.read(1.0)
    worked(tmp_path, 0, 10)
    assert kind_of(reader.read(6.0).drives_busy_percent, "nvme0n1") == "one-reading"


def test_a_drive_that_hangs_is_said_and_holds_up_neither_the_reader_nor_the_fans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(tmp_path, 0, 40000, 1000)
    board(tmp_path)
    go = threading.Event()

    def hangs(root: str) -> box.Ask:
        def ask() -> Values:
            go.wait(20.0)
            return (Named("nvme0", 40.0),)

        return ask

    monkeypatch.setattr(box, "drive_heat", hangs)
    began = time.monotonic()
    reader = BoxReader(str(tmp_path))
    found = [reader.read(1.0), reader.read(6.0)][-1]
    assert time.monotonic() - began < 10.0
    assert kind_of(found.drives_celsius) == "timeout"
    assert named(found.fans_rpm, "nct6798 fan1") == 1210.0
    go.set()


def test_an_answer_that_is_too_old_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    go.set()

    def ask() -> Values:
        go.wait(20.0)
        return (Named("nvme0", 40.0),)

    one = Slow(lambda: ask)
    one.ask()
    assert one.told(time.monotonic() + 5.0) == (Named("nvme0", 40.0),)
    go.clear()
    one.ask()
    assert one.told(0.0) == (Named("nvme0", 40.0),), "of just now"
    monkeypatch.setattr(box, "BOX_SECONDS", 0.0)
    assert kind_of(one.told(0.0)) == "timeout"
    go.set()


def test_supplies_that_the_caller_has_read_are_not_asked_again(tmp_path: Path) -> None:
    board(tmp_path)
    told = (Named("hwmon9", 77.0),)
    assert BoxReader(str(tmp_path)).read(1.0, told).supply_watts == told
