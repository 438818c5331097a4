"""Devices that leave, come, come back, or answer no more: each once, with the GPUs that it concerns."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any, cast

import pytest

from boxcheck.engine.devices_watch import DeviceEvent, DevicesWatch
from boxcheck.engine.edac_watch import EdacWatch
from boxcheck.engine.uevents import MADE_UP, Uevent, Uevents, uevent_of
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf
from boxcheck.probes.gpus import Gpu
from tests.telemetry.trees import amd_card, home, put

CLASSES = {"gpu": "0x030000", "port": "0x060400", "audio": "0x040300", "network": "0x020000"}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Told(Uevents):
    """Uevents that a test tells."""

    def __init__(self) -> None:
        self.unread = None
        self.lost = 0
        self.waiting: list[Uevent] = []

    def read(self) -> list[Uevent]:
        found, self.waiting = self.waiting, []
        return found


class Box:
    """Two cards, each behind a root port and a switch of its own, with a sound function; and a network card."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock, self.told = root, Clock(), Told()
        self.cards = [amd_card(root, 0), amd_card(root, 1)]
        for bdf in os.listdir(root / "sys/bus/pci/devices"):
            self.identify(Bdf(bdf), "gpu" if bdf in self.cards else "port", 0x1002)
        self.audio = self.add(f"{self.cards[0][:-1]}1", home(root, self.cards[0]).parent, "audio", 0x1002)
        self.network = self.add("0000:01:00.0", root / "sys/devices/pci0000:00", "network", 0x8086)
        self.watch = DevicesWatch(str(root), uevents=self.told, clock=self.clock)
        self.gpus = [_info(at, bdf) for at, bdf in enumerate(self.cards)]
        self.watch.follow(self.gpus, {"hip:0": "PCIE1"})
        assert self.look() == []

    def identify(self, bdf: Bdf, kind: str, vendor: int) -> None:
        here = home(self.root, bdf)
        put(here, "class", CLASSES[kind])
        put(here, "vendor", f"0x{vendor:04x}")
        put(here, "config", vendor.to_bytes(2, "little") + b"\x34\x12" + bytes(60))

    def add(self, name: str, above: Path, kind: str, vendor: int) -> Bdf:
        (above / name).mkdir(parents=True)
        (self.root / "sys/bus/pci/devices" / name).symlink_to(above / name)
        self.identify(Bdf(name), kind, vendor)
        put(above / name, "power/runtime_status", "active")
        return Bdf(name)

    def remove(self, *bdfs: str) -> None:
        for bdf in bdfs:
            (self.root / "sys/bus/pci/devices" / bdf).rename(self.root / bdf)

    def back(self, *bdfs: str) -> None:
        for bdf in bdfs:
            (self.root / bdf).rename(self.root / "sys/bus/pci/devices" / bdf)

    def tell(self, action: str, bdf: str, subsystem: str = "pci", name: str = "") -> None:
        self.told.waiting.append(Uevent(action, subsystem, Bdf(bdf), name))

    def look(self, seconds: float = 2.0) -> list[DeviceEvent]:
        self.clock.now += seconds
        return self.watch.look()


def _info(index: int, bdf: Bdf) -> GpuInfo:
    return GpuInfo(
        backend="hip", index=index, name="RX 7900 XTX", arch="gfx1100", bdf=bdf, memory_bytes=1, free_bytes=1,
        compute_units=1, unified=False, is_gpu=True, driver="test")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def _shown(events: list[DeviceEvent]) -> list[tuple[str, str, str, list[str]]]:
    return [(one.kind, one.bdf, one.severity, [gpu.key for gpu in one.gpus]) for one in events]


def test_a_gpu_that_leaves_is_told_once_with_its_slot_and_takes_its_sound_along(box: Box) -> None:
    box.remove(box.cards[0], box.audio)
    (event,) = box.look()
    assert _shown([event]) == [("device-left", box.cards[0], "fail", ["hip:0"])]
    assert event.below == 1
    assert event.gpus[0].slot == "PCIE1"
    assert box.look() == []


def test_a_port_that_leaves_takes_the_gpu_below_it_along_and_says_which(box: Box) -> None:
    below = [bdf for bdf in os.listdir(box.root / "sys/bus/pci/devices") if bdf[5:7] in ("48", "49", "4a", "4b")]
    box.remove(*below)
    (event,) = box.look()
    assert _shown([event]) == [("device-left", "0000:48:01.1", "fail", ["hip:1"])]
    assert event.below == 3


def test_ports_that_leave_a_moment_after_what_was_below_them_are_no_second_cause(box: Box) -> None:
    box.remove(box.cards[0], box.audio)
    assert len(box.look()) == 1
    box.remove("0000:42:00.0", "0000:41:00.0")
    assert box.look() == []


def test_a_gpu_that_left_and_came_back_between_two_looks_is_told_by_its_uevents(box: Box) -> None:
    for action in ("remove", "add"):
        box.tell(action, box.cards[0])
    assert [kind for kind, *_ in _shown(box.look(0.1))] == ["device-left", "device-back"]
    assert box.look() == []


def test_what_a_uevent_and_the_bus_both_tell_is_told_once(box: Box) -> None:
    box.remove(box.network)
    box.tell("remove", box.network)
    assert _shown(box.look(0.1)) == [("device-left", box.network, "warn", [])]
    assert box.look() == []
    box.back(box.network)
    assert _shown(box.look()) == [("device-back", box.network, "info", [])]
    box.tell("add", box.network)
    assert box.look() == []


def test_without_uevents_the_bus_is_looked_at_every_two_seconds(box: Box) -> None:
    box.remove(box.network)
    assert box.look(1.0) == []
    assert len(box.look(1.0)) == 1


def test_config_space_of_all_ones_is_believed_at_the_second_look_and_told_once(box: Box) -> None:
    config = home(box.root, box.cards[1]) / "config"
    before = config.read_bytes()
    config.write_bytes(b"\xff" * 64)
    assert box.look(1.0) == []
    assert _shown(box.look(1.0)) == [("device-dead", box.cards[1], "fail", ["hip:1"])]
    assert box.look(1.0) == []
    box.remove(box.cards[1])
    assert box.look() == []  # the same cause
    assert box.watch.lost(box.cards[1], "NVML says so") is None
    box.back(box.cards[1])
    config.write_bytes(before)
    assert [one.kind for one in box.look()] == ["device-back"]


def test_a_reset_of_less_than_a_second_is_no_loss(box: Box) -> None:
    config = home(box.root, box.cards[1]) / "config"
    before = config.read_bytes()
    config.write_bytes(b"\xff" * 64)
    assert box.look(0.5) == []
    config.write_bytes(before)
    assert box.look(0.5) == []
    config.write_bytes(b"\xff" * 64)
    assert box.look(0.5) == []


def test_a_port_that_is_dead_is_told_and_not_all_below_it(box: Box) -> None:
    for bdf in ("0000:49:00.0", "0000:4a:00.0", box.cards[1]):
        (home(box.root, Bdf(bdf)) / "config").write_bytes(b"\xff" * 64)
    box.look(1.0)
    assert _shown(box.look(1.0)) == [("device-dead", "0000:49:00.0", "fail", ["hip:1"])]


def test_a_card_that_sleeps_is_not_asked(box: Box) -> None:
    here = home(box.root, box.cards[1])
    put(here, "power/runtime_status", "suspended")
    (here / "config").write_bytes(b"\xff" * 64)
    assert box.look() == []
    assert box.look() == []


def test_a_function_that_shows_all_ones_from_the_start_is_not_followed(tmp_path: Path) -> None:
    bdf = amd_card(tmp_path)
    put(home(tmp_path, bdf), "config", b"\xff" * 64)
    clock = Clock()
    watch = DevicesWatch(str(tmp_path), uevents=Told(), clock=clock)
    watch.follow([_info(0, bdf)], {})
    for _ in range(3):
        clock.now += 2
        assert watch.look() == []


def test_a_driver_that_lets_go_of_a_gpu_is_told_and_a_connector_is_not(box: Box) -> None:
    box.tell("remove", box.cards[0], "drm", "card0")
    box.tell("remove", box.cards[0], "drm", "renderD128")
    (event,) = box.look()
    assert _shown([event]) == [("driver-left", box.cards[0], "fail", ["hip:0"])]
    assert uevent_of("remove", "drm", f"/devices/pci0000:40/{box.cards[0]}/drm/card0/card0-DP-1") is None


def test_a_gpu_that_its_driver_lost_is_told_unless_it_was(box: Box) -> None:
    event = box.watch.lost(box.cards[0], "GPU is lost")
    assert event is not None
    assert event.kind == "gpu-lost"
    assert box.watch.lost(box.cards[0], "GPU is lost") is None
    box.remove(box.cards[0])
    assert box.look() == []


def test_a_bus_that_cannot_be_listed_says_why(tmp_path: Path) -> None:
    watch = DevicesWatch(str(tmp_path), uevents=Told())
    assert watch.unread is not None
    assert watch.look() == []


@pytest.mark.parametrize("misses", [1, 2, 3])
def test_a_listing_that_failed_ends_nothing(box: Box, misses: int) -> None:
    """What left meanwhile is told by the next one that works; where that takes long, it is said."""
    devices = box.root / "sys/bus/pci/devices"
    devices.rename(box.root / "away")
    devices.touch()
    for _ in range(misses):
        assert box.look() == []
    assert (box.watch.unread is not None) is (misses == 3)
    devices.unlink()
    (box.root / "away").rename(devices)
    box.remove(box.cards[0], box.audio)
    assert _shown(box.look()) == [("device-left", box.cards[0], "fail", ["hip:0"])]


# Uevents


class Monitor:
    def __init__(self, *devices: Any) -> None:
        self.devices = list(devices)

    def poll(self, timeout: float) -> Any:
        if not self.devices:
            return None
        one = self.devices.pop(0)
        if isinstance(one, OSError):
            raise one
        return one


class Device:
    def __init__(self, action: str, path: str, subsystem: str = "pci", **properties: str) -> None:
        self.action, self.device_path, self.subsystem, self.properties = action, path, subsystem, properties


def test_uevents_name_the_function_and_what_hangs_on_it() -> None:
    above = "/devices/pci0000:40/0000:40:01.1/0000:41:00.0"
    uevents = Uevents(lambda: Monitor(
        Device("remove", above), Device("remove", f"{above}/nvme/nvme0", "nvme"), Device("add", "/devices/virtual/x"),
        Device("remove", f"{above}/nvme/nvme0/nvme0n1", "block")))
    assert uevents.read() == [
        Uevent("remove", "pci", Bdf("0000:41:00.0")), Uevent("remove", "nvme", Bdf("0000:41:00.0"), "nvme0")]


def test_an_event_that_somebody_made_up_is_none() -> None:
    uevents = Uevents(lambda: Monitor(Device("remove", "/devices/pci0000:40/0000:40:01.1", **{MADE_UP: "0"})))
    assert uevents.read() == []


def test_a_socket_that_overflowed_goes_on_and_one_that_broke_says_why() -> None:
    uevents = Uevents(lambda: Monitor(
        OSError(errno.ENOBUFS, "no room"), Device("add", "/devices/pci0000:40/0000:40:01.1"),
        OSError(errno.EBADF, "bad descriptor")))
    assert len(uevents.read()) == 1
    assert uevents.lost == 1
    assert uevents.unread is not None


@pytest.mark.parametrize("error", [ImportError("no pyudev"), PermissionError(1, "not permitted"), RuntimeError("odd")])
def test_uevents_that_are_not_to_be_had_say_why_and_the_bus_is_still_looked_at(
    tmp_path: Path, error: Exception
) -> None:
    def refuse() -> Any:
        raise error

    uevents = Uevents(refuse)
    assert uevents.unread is not None
    amd_card(tmp_path)
    watch = DevicesWatch(str(tmp_path), uevents=uevents)
    assert watch.unread is None
    assert uevents.unread.why in watch.says


@pytest.mark.skipif(not os.access("/sys/class/mem/null/uevent", os.W_OK), reason="needs root")
def test_the_running_kernels_uevents_are_heard() -> None:
    """Seen by the monitor itself: an event that is made up by hand is no change, so `read` gives none."""
    pyudev = pytest.importorskip("pyudev")
    uevents = Uevents()
    if uevents.unread is not None:
        pytest.skip(uevents.unread.why)
    pci = sorted(Path("/sys/bus/pci/devices").glob("*/uevent"))
    if not pci:
        pytest.skip("no PCI bus")
    pci[0].write_text("change")
    assert isinstance(uevents._monitor, pyudev.Monitor)
    deadline = time.monotonic() + 2
    while (device := uevents._monitor.poll(timeout=0.1)) is None:
        assert time.monotonic() < deadline, "the kernel told nothing"
    assert (device.action, device.subsystem, MADE_UP in device.properties) == ("change", "pci", True)
    pci[0].write_text("remove")
    time.sleep(0.1)
    assert uevents.read() == []
    assert pci[0].exists()


# The host's memory


def _edac(root: Path) -> Path:
    here = root / "sys/devices/system/edac/mc/mc0"
    for name in ("ce_count", "ue_count", "dimm0/dimm_ce_count", "dimm0/dimm_ue_count", "dimm1/dimm_ce_count",
                 "dimm1/dimm_ue_count"):
        put(here, name, 3)
    for at in range(2):
        put(here, f"dimm{at}/dimm_label", f"DIMM_{'AB'[at]}1")
    return here


def test_errors_of_memory_are_those_that_came_since_with_the_module(tmp_path: Path) -> None:
    here = _edac(tmp_path)
    watch = EdacWatch(str(tmp_path))
    assert watch.unread is None
    assert watch.look() == []
    put(here, "ce_count", 8)
    put(here, "dimm1/dimm_ce_count", 7)
    assert [(one.corrected, one.count, one.name) for one in watch.look()] == [
        (True, 4, "DIMM_B1"), (True, 1, "memory controller mc0")]
    put(here, "ue_count", 4)
    put(here, "dimm0/dimm_ue_count", 4)
    assert [(one.corrected, one.count, one.name) for one in watch.look()] == [(False, 1, "DIMM_A1")]
    assert watch.look() == []


def test_counters_of_memory_that_were_set_back_count_from_zero(tmp_path: Path) -> None:
    here = _edac(tmp_path)
    watch = EdacWatch(str(tmp_path))
    put(here, "ce_count", 2)
    assert sum(one.count for one in watch.look()) == 2


def test_a_counter_of_memory_that_could_not_be_read_at_first_is_followed_from_when_it_can(tmp_path: Path) -> None:
    here = _edac(tmp_path)
    put(here, "ce_count", "nonsense")
    watch = EdacWatch(str(tmp_path))
    put(here, "ce_count", 8)
    assert watch.look() == []
    put(here, "ce_count", 9)
    put(here, "dimm1/dimm_ce_count", 4)
    assert [(one.corrected, one.count, one.name) for one in watch.look()] == [(True, 1, "DIMM_B1")]
    assert watch.unread is not None  # of the time before nobody knows


def test_memory_that_nobody_counts_is_absent_and_one_that_went_away_is_unread(tmp_path: Path) -> None:
    nobody = EdacWatch(str(tmp_path))
    assert nobody.unread is not None
    assert nobody.unread.kind == "absent"
    here = _edac(tmp_path)
    watch = EdacWatch(str(tmp_path))
    put(here, "ue_count", "nonsense")
    watch.look()
    assert watch.unread is not None
    shutil.rmtree(here)


def _port(hot_plug: bool) -> bytes:
    """The config space of a root port with a slot."""
    data = bytearray(256)
    data[0:4] = b"\x22\x10\x83\x14"
    data[6] = 0x10  # it has a list of capabilities
    data[0x0E] = 1
    data[0x34] = 0x58
    data[0x58:0x5C] = bytes((0x10, 0, 0x42, 0x01))  # PCI Express, version 2, root port, slot implemented
    data[0x58 + 0x14] = 0x40 if hot_plug else 0
    return bytes(data)


@pytest.mark.parametrize(("what", "severity"), [
    ("nothing", "warn"), ("virtual", "info"), ("removable", "info"), ("fixed", "warn"), ("usb4", "info"),
    ("hot plug", "info"), ("slot", "warn"), ("hot plug port asleep", "warn"), ("drive at hot plug", "warn")])
def test_what_may_leave_a_sound_machine_is_told_and_judges_nothing(tmp_path: Path, what: str, severity: str) -> None:
    box = Box(tmp_path)
    root = tmp_path / "sys/devices/pci0000:00"
    port = box.add("0000:00:1c.0", root, "port", 0x1022)
    dock = box.add("0000:05:00.0", root / port, "network", 0x8086)
    here = home(tmp_path, dock)
    if what == "virtual":
        (here / "physfn").mkdir()
    elif what in ("removable", "fixed"):
        put(here, "removable", what)
    elif what == "usb4":
        put(here, "class", "0x0c0340")
    elif what != "nothing":
        put(home(tmp_path, port), "config", _port("hot plug" in what))
        put(home(tmp_path, port), "power/runtime_status", "suspended" if "asleep" in what else "active")
    if "drive" in what:
        put(here, "class", "0x010802")
    box.watch = DevicesWatch(str(tmp_path), uevents=box.told, clock=box.clock)
    box.watch.follow(box.gpus, {})
    box.remove(dock)
    (event,) = box.look()
    assert (event.kind, event.severity) == ("device-left", severity)
    assert ("(" in event.says) == (severity == "info")


def test_a_gpu_at_a_port_for_hot_plug_that_leaves_is_lost_all_the_same(tmp_path: Path) -> None:
    box = Box(tmp_path)
    put(home(tmp_path, box.cards[0]), "removable", "removable")
    box.watch = DevicesWatch(str(tmp_path), uevents=box.told, clock=box.clock)
    box.watch.follow(box.gpus, {})
    box.remove(box.cards[0], box.audio)
    assert _shown(box.look()) == [("device-left", box.cards[0], "fail", ["hip:0"])]


def test_a_gpu_that_the_run_does_not_work_on_is_told_by_name_and_slot(tmp_path: Path) -> None:
    """A burn on one card of a box: that another one leaves is a fault of the box, in a slot that has a name."""
    box = Box(tmp_path)
    other = Gpu(
        index=1, bdf=Bdf(box.cards[1]), vendor="1002", pci_id="1002:744c", revision=0xC8, name="RX 7900 XTX", part=None, slot="PCIE3",
        slot_link=None, integrated=False, driver=None, gone=False, function=cast(Any, None))
    box.watch = DevicesWatch(str(tmp_path), uevents=box.told, clock=box.clock)
    box.watch.follow(box.gpus[:1], {"hip:0": "PCIE1"}, [other])
    box.remove(box.cards[1])
    (event,) = box.look()
    assert (event.kind, event.severity) == ("device-left", "fail")
    assert [(one.key, one.name, str(one.subject)) for one in event.gpus] == [("", "RX 7900 XTX", "PCIE3")]
