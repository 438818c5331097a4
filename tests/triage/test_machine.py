"""The machine, joined from several pieces of evidence."""

from __future__ import annotations

from pathlib import Path

from boxcheck.model import Bdf
from boxcheck.triage.evidence import Device, DeviceLink, Evidence
from boxcheck.triage.machine import Machine, join
from tests.triage.texts import BUSES, aer, told

PORT, CARD = Bdf("0000:40:01.1"), Bdf("0000:41:00.0")


def machine(*devices: Device, heard: tuple[tuple[Bdf, Bdf | None, bool], ...] = ()) -> Machine:
    return join([(Evidence(tool="test", devices=devices), 0)], heard)


def test_bridges_tell_what_hangs_below_them() -> None:
    found = machine(
        Device(line=1, bdf=PORT, class_code=0x060400, secondary_bus=0x41, subordinate_bus=0x41, slot="PCIE3",
               port_type="root-port"),
        Device(line=2, bdf=CARD, class_code=0x030000, vendor=0x10DE, device=0x2684, serial="4417"))
    assert found.parent(CARD) == PORT
    assert found.link(CARD) == found.link(PORT) == PORT
    assert found.gpu_of(PORT) == CARD
    assert found.slot(CARD) == "PCIE3"
    assert found.where(CARD) == found.where(PORT) == "root port 40:01.1 > slot PCIE3 > RTX 4090 41:00.0 (serial 4417)"


def test_a_card_without_an_address_is_found_by_its_uuid() -> None:
    found = machine(
        Device(line=1, uuid="GPU-1", serial="4417"), Device(line=2, bdf=CARD, uuid="GPU-1", class_code=0x030000))
    assert not found.unplaced
    assert found.devices[CARD].device.serial == "4417"


def test_a_card_that_nothing_places_stays_apart() -> None:
    found = machine(Device(line=1, uuid="GPU-1"), Device(line=2, bdf=CARD, uuid="GPU-2", class_code=0x030000))
    assert [device.uuid for device in found.unplaced] == ["GPU-1"]


def test_the_first_value_stands_and_the_rest_is_filled_in() -> None:
    found = join([
        (Evidence(tool="nvidia-smi -q", devices=(Device(line=1, bdf=CARD, serial="4417", link=DeviceLink(width=16)),)), 0),
        (Evidence(tool="lspci -vvv", devices=(Device(line=1, bdf=CARD, vendor=0x10DE, link=DeviceLink(width=8)),)), 1),
    ], ())
    device = found.devices[CARD].device
    assert device.link == DeviceLink(width=8)  # lspci knows the bus best
    assert device.serial == "4417"
    assert set(found.devices[CARD].sources) == {0, 1}


def test_two_machines_are_noticed() -> None:
    found = join([
        (Evidence(tool="lspci", devices=(Device(line=1, bdf=CARD, vendor=0x10DE, device=0x2684),)), 0),
        (Evidence(tool="kernel log", devices=(Device(line=1, bdf=CARD, vendor=0x1002, device=0x744C),)), 1),
    ], ())
    assert len(found.disputes) == 1
    assert "two machines" in found.disputes[0]


def test_a_circle_of_parents_ends() -> None:
    one, two = Bdf("0000:01:00.0"), Bdf("0000:02:00.0")
    found = machine(Device(line=1, bdf=one, parent=two), Device(line=2, bdf=two, parent=one))
    assert len(list(found.ancestors(one))) == 1
    assert found.link(one) in (one, two)
    assert found.where(one)
    assert set(found.below(one)) == {two}


def test_who_reports_an_error_stands_in_for_the_topology() -> None:
    found = machine(heard=((CARD, PORT, True),))
    assert found.link(CARD) == PORT
    assert found.gpus() == (CARD,)


def test_a_port_that_reports_for_a_whole_tree_is_above_nobody_in_particular() -> None:
    far, other = Bdf("0000:07:04.0"), Bdf("0000:04:01.0")
    port = Bdf("0000:00:1d.0")
    found = machine(heard=((far, port, False), (other, port, False)))
    assert found.link(far) == far
    assert found.link(other) == other


def test_a_dmesg_names_the_port_and_the_boot_lines_the_card(tmp_path: Path) -> None:
    found = told(tmp_path, BUSES + aer(500.0, "0000:40:01.1", 6, "BadTLP"))
    assert found.problems[0].where == "root port 40:01.1 > RTX 4090 41:00.0"
    assert {device.bdf for device in found.devices} >= {PORT, CARD}


def test_what_a_driver_says_without_an_address_is_about_the_one_gpu(tmp_path: Path) -> None:
    one = "[    0.900001] pci 0000:03:00.0: [1002:744c] type 00 class 0x030000\n"
    two = one + "[    0.900002] pci 0000:04:00.0: [1002:744c] type 00 class 0x030000\n"
    hang = "[  500.000000] [drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring sdma0 timeout, signaled seq=1, emitted seq=3\n"
    alone = told(tmp_path, one + hang).events[0]
    assert (alone.bdf, alone.assumed) == ("0000:03:00.0", True)
    nobody_knows = told(tmp_path, two + hang).events[0]
    assert (nobody_knows.bdf, nobody_knows.assumed) == (None, False)
    nvidia = told(tmp_path, one.replace("1002:744c", "10de:2684") + hang).events[0]
    assert nvidia.bdf is None
