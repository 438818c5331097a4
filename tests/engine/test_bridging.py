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
from boxcheck.engine.late_bridging import bridge_gap
from boxcheck.engine.logwatch import LogWatch
from boxcheck.engine.surroundings import Surroundings, keep
from boxcheck.engine.survival import RESUMED
from boxcheck.model import Bdf, Outcome, Unread
from boxcheck.probes.pci import PciFunction, PciInventory
from boxcheck.profile import load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.store.creating import reopen_run
from boxcheck.store.reader import RunReader
from boxcheck.store.writer import RunWriter
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
    *found, closed = bridge_devices(killed, now, closes=True)
    assert [(one.severity, [gpu.bdf for gpu in one.detail.gpus]) for one in found] == told
    assert all(one.detail.lost == (one.severity == "fail") for one in found)
    assert closed.detail.state == "bridged"
    assert bridge_devices(killed, now, closes=False) == found
    around = Surroundings("/nonexistent", log=LogWatch(Fed()))
    around.take_in([*earlier_happenings(killed), *found, closed])
    assert "devices" not in around.happened().gaps


@pytest.mark.parametrize("unread", ["before", "now"])
def test_devices_that_were_not_read_close_nothing(
    killed: str, monkeypatch: pytest.MonkeyPatch, unread: str
) -> None:
    why = Unread("permission denied", "permission")
    monkeypatch.setattr("boxcheck.engine.bridging._inventory", lambda facts: why if unread == "before" else ALL)
    assert bridge_devices(killed, why if unread == "now" else ALL, closes=True) == []


# What is left to whoever goes on with the run.


EARLY: dict[str, Any] = {"boot": BEFORE, "monotonic": LAST + 59}


def gone_on_with(path: str, folder: Path, boot: str = BEFORE) -> tuple[RunWriter, Surroundings]:
    """The engine that has begun anew."""
    store = reopen_run(path, version="1", boot=boot)
    store.event(RESUMED, "gone on with", severity="warn", data={"missing": []})
    around = Surroundings("/nonexistent", log=LogWatch(Fed()), devices=DevicesWatch("/nonexistent", uevents=Told()))
    around.take_in(earlier_happenings(path))
    return store, around


def after_resume(
    path: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **machine: Any
) -> dict[str, list[tuple[Outcome, str]]]:
    monkeypatch.setattr("boxcheck.engine.bridging._inventory", lambda facts: ALL)
    store, around = gone_on_with(path, folder, machine["boot"])
    for one in bridge_gap(path, here(folder, **machine), ALL):
        keep(store, around.tell(one))
    for one in (*around.look(), *around.close()):
        keep(store, one)
    store.end("finished", outcome="pass")
    found = judge_around(around.happened(), load_profile("generic"), [])
    with RunReader(path) as reader:
        assert judge_around(happened_of(reader), load_profile("generic"), []) == found
    return {check: [(one.outcome, one.says) for one in found if one.check == check] for check in (
        "burn.log", "burn.devices")}


@pytest.mark.parametrize(("monotonic", "closed"), [(LAST + 0.5, False), (LAST + 59.9, False), (LAST + 61, True)])
def test_a_log_that_was_read_before_the_time_had_passed_closes_nothing(
    killed: str, tmp_path: Path, monotonic: float, closed: bool
) -> None:
    ((_, outcome, _),) = log_after(killed, tmp_path, boot=BEFORE, this_boot=QUIET, monotonic=monotonic)
    assert outcome is (Outcome.PASS if closed else Outcome.UNKNOWN)


@pytest.mark.parametrize("seconds", [5, 300])
def test_what_a_driver_says_after_the_log_was_read_first_is_found_when_the_run_goes_on(
    killed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    assert take_in(killed, here(tmp_path, this_boot=QUIET, **EARLY)).trouble == ""
    text = QUIET + stamp(LAST + seconds, XID)
    found = after_resume(killed, tmp_path, monkeypatch, boot=BEFORE, this_boot=text, monotonic=LAST + 400)
    ((outcome, says),) = found["burn.log"]
    assert outcome is Outcome.FAIL
    assert "bus" in says


def test_a_quiet_log_closes_the_gap_when_the_run_goes_on_and_a_list_of_devices_does_not_claim_more(
    killed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert take_in(killed, here(tmp_path, this_boot=QUIET, **EARLY)).trouble == ""
    found = after_resume(killed, tmp_path, monkeypatch, boot=BEFORE, this_boot=QUIET)
    ((outcome, _),) = found["burn.log"]
    assert outcome is Outcome.PASS
    with RunReader(killed) as reader:
        (says,) = [one.says for one in reader.events() if one.kind == "devices-bridged"]
    assert says.endswith("what happened in between was not seen")


@pytest.mark.parametrize(("boot", "log", "journal"), [(BEFORE, "", ""), (NOW, QUIET, QUIET)], ids=["no log", "restart"])
def test_devices_stay_open_where_nothing_tells_of_the_time_between(
    killed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str, log: str, journal: str
) -> None:
    assert take_in(killed, here(tmp_path, boot=boot, this_boot=log, kernel=journal, shutdown=SHUTDOWN)).trouble == ""
    found = after_resume(killed, tmp_path, monkeypatch, boot=boot, this_boot=log)
    assert [outcome for outcome, _ in found["burn.devices"]] == [Outcome.UNKNOWN]


def test_a_log_that_was_taken_in_is_not_taken_in_twice_when_the_run_goes_on(
    killed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = QUIET + stamp(LAST + 5, XID)
    assert take_in(killed, here(tmp_path, boot=BEFORE, this_boot=text)).trouble == ""
    ((outcome, says),) = after_resume(killed, tmp_path, monkeypatch, boot=BEFORE, this_boot=text)["burn.log"]
    assert outcome is Outcome.FAIL
    assert "2 x" not in says


def test_a_run_that_goes_on_is_not_said_to_be_cut_off(killed: str, tmp_path: Path) -> None:
    assert take_in(killed, here(tmp_path, boot=BEFORE, this_boot=QUIET)).trouble == ""
    store, around = gone_on_with(killed, tmp_path)
    for one in around.look():
        keep(store, one)
    store.flush()
    with RunReader(killed) as reader:
        words = happened_of(reader).missing("log")
    store.close()
    assert words == "the run goes on"


def test_where_the_box_was_restarted_after_the_first_look_the_journal_is_read_when_the_run_goes_on(
    killed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert take_in(killed, here(tmp_path, this_boot=QUIET, **EARLY)).trouble == ""
    journal = QUIET + stamp(LAST + 300, XID)
    found = after_resume(killed, tmp_path, monkeypatch, boot=NOW, kernel=journal, shutdown=SHUTDOWN)
    assert [outcome for outcome, _ in found["burn.log"]] == [Outcome.FAIL]
    assert [outcome for outcome, _ in found["burn.devices"]] == [Outcome.UNKNOWN]
