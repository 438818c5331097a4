from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.host import DiskSpace
from boxcheck.model import Unread
from boxcheck.probes.container import Container
from boxcheck.probes.storage import Disk, Mount, RaidArray, RaidMember, Storage, Volume
from boxcheck.problems import group
from tests.checks.judging import DENIED, GONE, judge, outcome, outcomes

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
    ((array(members=(), members_unread=DENIED),), ["unknown"]),
    ((array(level="raid5", degraded=0, members=(), members_unread=DENIED),), ["pass"]),  # the kernel's count suffices
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


PARTS = tuple(RaidMember(f"nvme{number}n1p1", "in_sync") for number in range(3))


@pytest.mark.parametrize(("changes", "disks", "lines"), [
    ({"state": "inactive", "level": None, "members": LOST}, (),  # one of four is not here
     ("mdadm --examine --scan", "reseat the drive", "mdadm --stop /dev/md0; sudo mdadm --assemble --scan")),
    ({"state": "inactive", "disks": 3, "members": LOST}, (),  # every member is here
     ("all 3 members are here, so start it: sudo mdadm --run /dev/md0", "mdadm --stop /dev/md0")),
    ({"state": "inactive", "level": "raid5", "members": LOST}, (),
     ("mdadm --examine --scan", "without the missing member: sudo mdadm --run /dev/md0", "reseat", "--assemble")),
    ({"state": "broken"}, (), ("mdadm --examine --scan", "reseat the drive", "--assemble --scan")),
    ({"state": "readonly"}, (), ("sudo mdadm --readwrite /dev/md0",)),
    ({"level": "raid5", "degraded": 1, "members": PARTS}, ("nvme0n1", "nvme1n1", "nvme2n1", "nvme7n1", "sda"),
     ("mdadm --detail /dev/md0", "sudo mdadm --manage /dev/md0 --re-add /dev/nvme7n1p1", "--add /dev/NEW")),
    ({"level": "raid5", "degraded": 1, "members": PARTS}, ("nvme0n1", "nvme1n1", "nvme2n1", "nvme7n1", "nvme8n1"),
     ("mdadm --detail /dev/md0", "--re-add /dev/NEW", "--add /dev/NEW")),  # two could be it: neither is named
    ({"level": "raid1", "degraded": 0, "members": (*PARTS[:1], RaidMember("sdb2", "faulty,write_mostly"))}, (),
     ("smartctl -a /dev/sdb2", "sudo mdadm --manage /dev/md0 --remove /dev/sdb2", "--add /dev/NEW"))])
def test_help_names_the_mdadm_line_for_the_state(
        changes: dict[str, Any], disks: tuple[str, ...], lines: tuple[str, ...]) -> None:
    (finding,) = judge("disk.raid", storage(arrays=(array(**changes),), disks=disks))
    assert len(finding.help) == len(lines)
    for step, line in zip(finding.help, lines, strict=True):
        assert line in step


def test_an_array_that_is_not_there_at_all_is_assembled() -> None:
    (finding,) = judge("disk.raid", storage(arrays=()), limits={"disk.raid_members": 4})
    assert finding.help[0].startswith("sudo mdadm --assemble --scan")


def test_the_profile_says_how_many_members_an_inactive_array_has() -> None:
    silent = array(state="inactive", level=None, disks=GONE, members=LOST)
    for wanted, line in ((3, "sudo mdadm --run /dev/md0"), (4, "mdadm --examine --scan")):
        found = judge("disk.raid", storage(arrays=(silent,)), limits={"disk.raid_members": wanted})
        assert line in found[0].help[0]


def test_an_array_that_shows_no_member_and_counts_none_is_not_whole() -> None:
    """RAID 0 has no count of missing members: only the members themselves tell."""
    bare = storage(arrays=(array(level="raid0", degraded=None, members=()),))
    assert outcomes(judge("disk.raid", bare)) == ["unknown"]
