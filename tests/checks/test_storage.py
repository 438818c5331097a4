from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.host import DiskSpace
from boxcheck.model import Unread
from boxcheck.probes.container import Container
from boxcheck.probes.storage import Disk, Mount, RaidArray, RaidMember, Storage, Volume
from boxcheck.problems import group
from tests.checks.judging import GONE, judge, outcome, outcomes

BARE = Container(None, None)
DOCKER = Container("docker", None)
MEMBERS = tuple(RaidMember(f"nvme{number}n1", "in_sync") for number in range(4))
ARRAY = RaidArray(name="md0", level="raid0", state="clean", disks=4, degraded=None, members=MEMBERS)
ROOT = Mount("/dev/sda2", "/", "ext4")
RAID = Mount("/dev/md0", "/raid", "ext4")


def array(**changes: Any) -> RaidArray:
    return msgspec.structs.replace(ARRAY, **changes)


def storage(**changes: Any) -> Storage:
    made = Storage(mounts=(ROOT, RAID), arrays=(ARRAY,), root=(Disk("sda", "USB", 5000),),
                   volumes=(Volume("/", DiskSpace(1000, 100)),))
    return msgspec.structs.replace(made, **changes)


LOST = tuple(msgspec.structs.replace(one, state=GONE) for one in MEMBERS[:3])
INACTIVE = array(state="inactive", level=None, members=LOST)


@pytest.mark.parametrize(("arrays", "wanted"), [
    ((ARRAY,), ["pass"]), ((array(level="raid5", degraded=0),), ["pass"]),
    ((array(level="raid5", degraded=1),), ["marginal"]),  # redundancy still holds
    ((array(level="raid0", degraded=1),), ["fail"]),
    ((array(state="broken"),), ["fail"]), ((INACTIVE,), ["fail"]),
    ((array(level="raid1", degraded=0, members=(*MEMBERS[:1], RaidMember("b", "faulty"))),), ["marginal"]),
    ((array(members=MEMBERS[:3]),), ["fail"]), ((array(state=GONE),), ["unknown"]),
    ((array(level="raid5", degraded=GONE),), ["unknown"]), (GONE, ["unknown"]), ((), ["skip"])])
def test_raid(arrays: Any, wanted: list[str]) -> None:
    assert outcomes(judge("disk.raid", storage(arrays=arrays))) == wanted


@pytest.mark.parametrize(("arrays", "wanted"), [
    ((ARRAY,), ["pass", "pass"]), ((array(disks=3, members=MEMBERS[:3]),), ["pass", "fail"]), ((), ["fail"]),
    (GONE, ["unknown"]), ((INACTIVE,), ["fail", "fail"])])
def test_raid_that_the_profile_demands(arrays: Any, wanted: list[str]) -> None:
    assert outcomes(judge("disk.raid", storage(arrays=arrays), limits={"disk.raid_members": 4})) == wanted


UNSURE = (*MEMBERS[:3], RaidMember("nvme3n1", GONE))


@pytest.mark.parametrize(("one", "wanted"), [
    (array(state=GONE), ["unknown", "unknown"]), (array(members=UNSURE), ["unknown", "unknown"]),
    (array(members=UNSURE, disks=3, degraded=0), ["pass", "unknown"])])
def test_members_that_were_not_read_are_not_lost(one: RaidArray, wanted: list[str]) -> None:
    assert outcomes(judge("disk.raid", storage(arrays=(one,)), limits={"disk.raid_members": 4})) == wanted


def test_a_lost_drive_is_one_problem() -> None:
    facts = storage(arrays=(INACTIVE,), mounts=(ROOT,))
    limits = {"disk.raid_members": 4, "disk.raid_mount": "/raid"}
    found = [*judge("disk.raid", facts, limits=limits), *judge("disk.raid-mounted", facts, BARE, limits=limits)]
    problems, _ = group(found)
    assert [problem.id for problem in problems] == ["raid:md0"]


@pytest.mark.parametrize(("mounts", "container", "wanted"), [
    ((ROOT, RAID), BARE, "pass"), ((ROOT,), BARE, "fail"), ((ROOT, Mount("/dev/sdb1", "/raid", "ext4")), BARE, "fail"),
    ((ROOT,), DOCKER, "unknown"), ((ROOT, RAID), DOCKER, "pass"), (GONE, BARE, "unknown")])
def test_raid_mounted(mounts: Any, container: Container, wanted: str) -> None:
    limits = {"disk.raid_mount": "/raid"}
    assert outcome("disk.raid-mounted", storage(mounts=mounts), container, limits=limits) == wanted


@pytest.mark.parametrize(("space", "wanted"), [
    (DiskSpace(1000, 100), "pass"), (DiskSpace(1000, 99), "marginal"), (GONE, "unknown"), (DiskSpace(0, 0), "unknown")])
def test_free(space: Any, wanted: str) -> None:
    facts = storage(volumes=(Volume("/", space),))
    assert outcome("disk.free", facts, limits={"disk.free_percent": {"should": 10.0}}) == wanted


@pytest.mark.parametrize(("root", "wanted"), [
    ((Disk("sda", "USB", 5000),), "pass"), ((Disk("sda", "USB", 480),), "fail"),
    ((Disk("nvme0n1", "NVMe", None),), "skip"), ((Disk("sda", "USB", GONE),), "unknown"), (GONE, "unknown"),
    ((Disk("sda", None, GONE),), "unknown")])
def test_boot_usb_speed(root: Any, wanted: str) -> None:
    assert outcome("disk.boot-usb-speed", storage(root=root), limits={"disk.boot_usb_mbps": 5000}) == wanted


@pytest.mark.parametrize(("check", "facts"), [
    ("disk.raid-mounted", (storage(), BARE)), ("disk.free", (storage(),)), ("disk.boot-usb-speed", (storage(),))])
def test_what_no_profile_asks_for_is_skipped(check: str, facts: tuple[Any, ...]) -> None:
    assert outcome(check, *facts) == "skip"


def test_an_array_that_was_not_read_is_not_there_by_accident() -> None:
    assert isinstance(GONE, Unread)
    assert outcomes(judge("disk.raid", storage(arrays=GONE), limits={"disk.raid_members": 4})) == ["unknown"]


CONTAINER = array(name="md127", level=None, state="inactive", disks=0, container=True)


@pytest.mark.parametrize(("arrays", "wanted"), [
    ((array(name="md126", level="raid1", degraded=0), CONTAINER), ["pass"]), ((CONTAINER,), ["unknown"]),
    ((array(name="md126", level="raid1", state="inactive"), CONTAINER), ["fail"]),
    ((array(state=GONE, level=GONE, disks=GONE, degraded=GONE, members=()),), ["unknown"])])
def test_a_container_of_firmware_raid_is_no_array(arrays: Any, wanted: list[str]) -> None:
    assert outcomes(judge("disk.raid", storage(arrays=arrays))) == wanted
