"""A run that was killed and gone on with: what is left of the time in between is looked at, and closes the gap or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.engine.aftermath import take_in
from boxcheck.engine.around import earlier_happenings, happened_of, judge_around
from boxcheck.engine.bridging import bridge_devices
from boxcheck.engine.devices_watch import DevicesWatch
from boxcheck.engine.logwatch import LogWatch
from boxcheck.engine.surroundings import Surroundings, keep
from boxcheck.model import Bdf, Outcome, Unread
from boxcheck.probes.pci import PciFunction, PciInventory
from boxcheck.profile import load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.store.creating import reopen_run
from boxcheck.store.reader import RunReader
from boxcheck.stress.happenings import Detail, Happening
from tests.engine.test_aftermath import BEFORE, BEGAN, LAST, NOW, SHUTDOWN, XID, crashed, here, stamp
from tests.engine.test_devices_watch import Told
from tests.engine.test_surroundings import Fed

discover()
discover_stress()
START = stamp(0.5, "Linux version 6.8.0 (gcc)")
QUIET = START + stamp(BEGAN + 5, "usb 1-1: new device")


@pytest.fixture
def killed(tmp_path: Path) -> str:
    """A run that followed log and devices when it was cut off."""
    (tmp_path / "runs").mkdir()
    path = crashed(tmp_path / "runs", "matmul")
    store = reopen_run(path, version="1", boot=BEFORE)
    for source in ("log", "devices", "memory"):
        keep(store, Happening(kind=f"{source}-followed", says="x", detail=Detail(source=source, state="began")))
    Path(f"{path}.lock").rename(tmp_path / "kept")
    store.close()
    (tmp_path / "kept").rename(f"{path}.lock")
    return path


def log_after(path: str, folder: Path, **machine: Any) -> list[tuple[str, Outcome, str]]:
    """What is found of log and memory, once the run was gone on with to its end."""
    assert take_in(path, here(folder, **machine)).trouble == ""
    around = Surroundings("/nonexistent", log=LogWatch(Fed()), devices=DevicesWatch("/nonexistent", uevents=Told()))
    around.take_in(earlier_happenings(path))
    around.look()
    around.close()
    found = judge_around(around.happened(), load_profile("generic"), [])
    return [(one.check, one.outcome, one.says) for one in found if one.check == "burn.log"]


def test_a_log_that_was_read_over_the_gap_closes_it(killed: str, tmp_path: Path) -> None:
    ((_, outcome, _),) = log_after(killed, tmp_path, boot=BEFORE, this_boot=QUIET)
    assert outcome is Outcome.PASS
    with RunReader(killed) as reader:
        assert "log-bridged" in [one.kind for one in reader.events()]


@pytest.mark.parametrize("seconds", [LAST + 1, LAST - 1, LAST + 59])
def test_what_it_told_then_is_judged(killed: str, tmp_path: Path, seconds: float) -> None:
    ((_, outcome, says),) = log_after(killed, tmp_path, boot=BEFORE, this_boot=QUIET + stamp(seconds, XID))
    assert outcome is Outcome.FAIL
    assert "bus" in says


@pytest.mark.parametrize("seconds", [BEGAN - 100, LAST + 61])
def test_what_it_told_before_and_long_after_is_not(killed: str, tmp_path: Path, seconds: float) -> None:
    lines = sorted([*QUIET.splitlines(True), stamp(seconds, XID)], key=lambda one: float(one[1:].split("]")[0]))
    ((_, outcome, _),) = log_after(killed, tmp_path, boot=BEFORE, this_boot="".join(lines))
    assert outcome is Outcome.PASS


@pytest.mark.parametrize("log", [
    "", "no stamp at all\n", stamp(LAST - 1, "usb 1-1: new device"), stamp(LAST + 1, "usb 1-1: new device")])
def test_a_log_whose_beginning_was_overwritten_closes_nothing(killed: str, tmp_path: Path, log: str) -> None:
    ((_, outcome, says),) = log_after(killed, tmp_path, boot=BEFORE, this_boot=log)
    assert outcome is Outcome.UNKNOWN
    assert "nobody looked from then on" in says


@pytest.mark.parametrize(("shutdown", "outcome"), [(SHUTDOWN, Outcome.PASS), ("", Outcome.UNKNOWN)])
def test_the_journal_of_a_boot_closes_it_where_that_was_shut_down_in_order(
    killed: str, tmp_path: Path, shutdown: str, outcome: Outcome
) -> None:
    ((_, found, _),) = log_after(killed, tmp_path, boot=NOW, kernel=QUIET, shutdown=shutdown)
    assert found is outcome


def test_a_second_cut_that_nobody_looked_into_is_a_gap_though_the_first_is_closed(killed: str, tmp_path: Path) -> None:
    assert take_in(killed, here(tmp_path, boot=BEFORE, this_boot=QUIET)).trouble == ""
    store = reopen_run(killed, version="1", boot=BEFORE)
    keep(store, Happening(kind="log-followed", says="x", detail=Detail(source="log", state="began")))
    store.close()
    with RunReader(killed) as reader:
        assert happened_of(reader).missing("log") == "the run was cut off, and nobody looked from then on"


# Devices.


def function(bdf: str, vendor: int = 0x8086, code: int = 0x020000, parent: str | None = None, **more: Any) -> PciFunction:
    absent = Unread("not read", "absent")
    return PciFunction(
        bdf=Bdf(bdf), path="", parent=None if parent is None else Bdf(parent), vendor=vendor, device=1, revision=None,
        subsystem_vendor=None, subsystem_device=None, class_code=code, driver=None, numa_node=None, iommu_group=None,
        regions=(), link=None, config=absent, **more)


def inventory(*functions: PciFunction) -> PciInventory:
    return PciInventory({one.bdf: one for one in functions}, {})


PORT = function("0000:40:01.1", 0x1022, 0x060400)
CARD = function("0000:41:00.0", 0x10DE, 0x030000, "0000:40:01.1")
SOUND = function("0000:41:00.1", 0x10DE, 0x040300, "0000:40:01.1")
NETWORK = function("0000:05:00.0")
VIRTUAL = function("0000:05:10.0", virtual_function=True)
ALL = inventory(PORT, CARD, SOUND, NETWORK, VIRTUAL)


@pytest.mark.parametrize(("now", "told"), [
    (ALL, []),
    (inventory(PORT, NETWORK, VIRTUAL), [("fail", ["0000:41:00.0"])]),
    (inventory(NETWORK, VIRTUAL), [("fail", ["0000:41:00.0"])]),
    (inventory(PORT, CARD, SOUND, VIRTUAL), [("warn", [])]),
    (inventory(PORT, CARD, SOUND, NETWORK), [("info", [])]),
    (inventory(PORT, CARD, SOUND, msgspec.structs.replace(NETWORK, bdf=Bdf("0000:06:00.0")), VIRTUAL), [])],
    ids=["all there", "card", "port", "network", "virtual", "moved"])
def test_devices_are_compared_with_those_from_before(
    killed: str, monkeypatch: pytest.MonkeyPatch, now: PciInventory, told: list[tuple[str, list[str]]]
) -> None:
    monkeypatch.setattr("boxcheck.engine.bridging._inventory", lambda facts: ALL)
    *found, closed = bridge_devices(killed, now)
    assert [(one.severity, [gpu.bdf for gpu in one.detail.gpus]) for one in found] == told
    assert all(one.detail.lost == (one.severity == "fail") for one in found)
    assert closed.detail.state == "bridged"
    around = Surroundings("/nonexistent", log=LogWatch(Fed()))
    around.take_in([*earlier_happenings(killed), *found, closed])
    assert "devices" not in around.happened().gaps


@pytest.mark.parametrize("unread", ["before", "now"])
def test_devices_that_were_not_read_close_nothing(
    killed: str, monkeypatch: pytest.MonkeyPatch, unread: str
) -> None:
    why = Unread("permission denied", "permission")
    monkeypatch.setattr("boxcheck.engine.bridging._inventory", lambda facts: why if unread == "before" else ALL)
    assert bridge_devices(killed, why if unread == "now" else ALL) == []
