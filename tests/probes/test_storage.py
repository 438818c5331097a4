from __future__ import annotations

from pathlib import Path

from boxcheck.host import DiskSpace
from boxcheck.model import Unread
from boxcheck.probes.storage import (
    Storage,
    parse_active,
    parse_containers,
    parse_inactive,
    parse_mountinfo,
    parse_mounts,
)
from tests.boxes import build
from tests.boxes.tree import Tree
from tests.probes.reading import HOSTILE, fact, kind_of, live, never_raises, tree

USB = "/sys/devices/pci0000:00/0000:00:08.1/0000:04:00.3/usb2/2-1"
DISK = f"{USB}/2-1:1.0/host8/target8:0:0/8:0:0:0/block/sda"


def usb_box(speed: str = "5000") -> Tree:
    made = tree({
        "/proc/self/mountinfo": "22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n"
        "24 22 0:6 / /dev rw - devtmpfs udev rw\n",
        f"{DISK}/size": "1000", f"{DISK}/sda2/partition": "2", f"{USB}/speed": speed,
    })
    made.link("/sys/class/block/sda", DISK)
    made.link("/sys/class/block/sda2", f"{DISK}/sda2")
    made.link("/sys/dev/block/8:2", f"{DISK}/sda2")
    made.answer("statvfs", "/", {"total_bytes": 1000, "free_bytes": 250})
    return made


def test_the_boot_disk_and_its_usb_speed(tmp_path: Path) -> None:
    storage = fact(Storage, usb_box(), tmp_path)
    assert isinstance(storage.root, tuple)
    assert [(disk.name, disk.transport, disk.usb_speed_mbps) for disk in storage.root] == [("sda", "USB", 5000)]
    assert [(volume.path, volume.space) for volume in storage.volumes] == [("/", DiskSpace(1000, 250))]
    assert isinstance(storage.mounts, tuple)
    assert [mount.path for mount in storage.mounts] == ["/"]  # the kernel's own file systems are left out


def test_root_on_lvm_on_raid_leads_to_the_disks(tmp_path: Path) -> None:
    made = tree({
        "/proc/self/mounts": "/dev/mapper/vg-root / ext4 rw 0 0\n", "/sys/devices/virtual/block/dm-0/size": "1",
        "/sys/devices/virtual/block/md0/md/level": "raid1"})
    made.link("/dev/mapper/vg-root", "/dev/dm-0")
    for name, below in (("dm-0", ["md0"]), ("md0", ["nvme0n1", "nvme1n1"])):
        made.link(f"/sys/class/block/{name}", f"/sys/devices/virtual/block/{name}")
        for one in below:
            made.link(f"/sys/devices/virtual/block/{name}/slaves/{one}", f"/sys/class/block/{one}")
    for number in (0, 1):
        home = f"/sys/devices/pci0000:00/0000:00:01.{number}/0000:0{number}:00.0/nvme/nvme{number}/nvme{number}n1"
        made.put(f"{home}/size", "1")
        made.link(f"/sys/class/block/nvme{number}n1", home)
    storage = fact(Storage, made, tmp_path)
    assert isinstance(storage.root, tuple)
    assert [(disk.name, disk.transport) for disk in storage.root] == [("nvme0n1", "NVMe"), ("nvme1n1", "NVMe")]


def test_devices_that_hold_each_other_end(tmp_path: Path) -> None:
    made = tree({"/proc/self/mounts": "/dev/dm-0 / ext4 rw 0 0\n", "/sys/devices/virtual/block/dm-0/size": "1"})
    made.link("/sys/class/block/dm-0", "/sys/devices/virtual/block/dm-0")
    made.link("/sys/devices/virtual/block/dm-0/slaves/dm-0", "/sys/devices/virtual/block/dm-0")
    assert kind_of(fact(Storage, made, tmp_path).root) == "unsupported"


def test_a_root_without_a_disk_is_unread(tmp_path: Path) -> None:
    for mounts in ("overlay / overlay rw 0 0\n", "tank/root / zfs rw 0 0\n", "/dev/sda1 /boot ext4 rw 0 0\n"):
        assert isinstance(fact(Storage, tree({"/proc/self/mounts": mounts}), tmp_path).root, Unread)


def test_arrays(tmp_path: Path) -> None:
    md = "/sys/devices/virtual/block/md0/md"
    made = tree({
        f"{md}/level": "raid5", f"{md}/array_state": "clean", f"{md}/degraded": "1", f"{md}/raid_disks": "4",
        f"{md}/dev-nvme0n1/state": "in_sync", f"{md}/dev-nvme1n1/state": "faulty",
        "/proc/mdstat": "Personalities : [raid0]\nmd0 : active raid5 nvme0n1[0]\n"
        "md127 : inactive nvme2n1[0](S) sdb1[1](S)\n",
    })
    made.link("/sys/block/md0", "/sys/devices/virtual/block/md0")
    arrays = fact(Storage, made, tmp_path).arrays
    assert isinstance(arrays, tuple)
    first = arrays[0]
    assert (first.name, first.level, first.state, first.disks, first.degraded) == ("md0", "raid5", "clean", 4, 1)
    assert [member.state for member in arrays[0].members] == ["in_sync", "faulty"]
    assert (arrays[1].name, arrays[1].state) == ("md127", "inactive")
    assert [member.name for member in arrays[1].members] == ["nvme2n1", "sdb1"]


def test_raid_0_keeps_no_count_of_missing_members(tmp_path: Path) -> None:
    made = tree({"/sys/block/md0/md/level": "raid0", "/sys/block/md0/md/array_state": "clean"})
    arrays = fact(Storage, made, tmp_path).arrays
    assert isinstance(arrays, tuple)
    assert arrays[0].degraded is None


def test_nothing_captured_is_nothing_read(tmp_path: Path) -> None:
    storage = fact(Storage, tree(whole=False), tmp_path)
    assert {kind_of(value) for value in (storage.mounts, storage.arrays, storage.root)} == {"not-captured"}
    assert kind_of(storage.mounted_at("/raid")) == "not-captured"


def test_a_foreign_list_of_disks_does_not_prove_that_there_is_no_array(tmp_path: Path) -> None:
    files = {"/sys/block/sda/size": "1"}
    assert kind_of(fact(Storage, tree(files, whole=False), tmp_path).arrays) == "not-captured"
    assert fact(Storage, tree(files), tmp_path).arrays == ()
    known = {**files, "/proc/mdstat": "Personalities :\nunused devices: <none>\n"}
    assert fact(Storage, tree(known, whole=False), tmp_path).arrays == ()


def test_parsers() -> None:
    mount = parse_mountinfo(r"36 35 98:0 /mnt1 /mnt/a\040b rw,noatime master:1 - ext3 /dev/root rw,errors=continue")[0]
    assert (mount.source, mount.path, mount.kind, mount.device) == ("/dev/root", "/mnt/a b", "ext3", "98:0")
    assert parse_mounts("/dev/md0 /raid ext4 rw 0 0")[0].path == "/raid"
    assert parse_inactive("md0 : inactive nvme0n1[1](S)") == {"md0": ("nvme0n1",)}
    for parse in (parse_mountinfo, parse_mounts, parse_inactive):
        never_raises(parse, *HOSTILE)


def test_a_built_tinybox(tmp_path: Path) -> None:
    storage = fact(Storage, build("tinybox-red"), tmp_path)
    assert isinstance(storage.arrays, tuple)
    assert [(array.level, array.state, len(array.members)) for array in storage.arrays] == [("raid0", "clean", 4)]
    assert isinstance(storage.root, tuple)
    assert storage.root[0].usb_speed_mbps == 5000


def test_this_machine() -> None:
    storage = live(Storage)
    assert isinstance(storage.mounts, tuple)
    assert isinstance(storage.volumes[0].space, DiskSpace)


IMSM = """Personalities : [raid1]
md126 : active raid1 sda[1] sdb[0]
      976748544 blocks super external:/md127/0 [2/2] [UU]

md127 : inactive sdb[1](S) sda[0](S)
      5032 blocks super external:imsm

unused devices: <none>
"""


def test_containers_of_firmware_raid(tmp_path: Path) -> None:
    assert parse_containers(IMSM) == {"md127"}
    made = tree({"/proc/mdstat": IMSM})
    for name, level, state, metadata in (
            ("md126", "raid1", "active", "external:/md127/0"), ("md127", "", "inactive", "external:imsm")):
        for file, text in (("level", level), ("array_state", state), ("metadata_version", metadata)):
            made.put(f"/sys/block/{name}/md/{file}", text)
    for text in (IMSM, ""):  # sysfs alone tells as well
        made.put("/proc/mdstat", text)
        found = fact(Storage, made, tmp_path).arrays
        assert not isinstance(found, Unread)
        assert [(one.name, one.container) for one in found] == [("md126", False), ("md127", True)]


def test_an_array_that_sysfs_hides_is_not_gone(tmp_path: Path) -> None:
    assert parse_active(IMSM) == ("md126",)
    made = tree({"/proc/mdstat": "Personalities : [raid0]\nmd0 : active raid0 nvme0n1[0] nvme1n1[1]\n"})
    for there in (False, True):
        found = fact(Storage, made, tmp_path).arrays
        assert not isinstance(found, Unread)
        assert [(one.name, kind_of(one.state)) for one in found] == [("md0", "malformed")]
        if not there:
            made.put("/sys/block/sda/size", "1")
