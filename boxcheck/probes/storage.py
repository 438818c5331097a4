"""Software RAID, mounts, free space, and what the machine boots from.

Reads   /proc/self/mountinfo, /proc/self/mounts, /proc/mdstat, /sys/block/md*/md/{level,array_state,degraded,raid_disks,
        metadata_version,dev-*/state}, /sys/class/block/<disk>, `speed` of a USB device, statvfs            (any user)
Absent  /proc/mdstat without the md driver. `degraded` of arrays without redundancy (RAID 0) on most kernels.
By hand cat /proc/mdstat; findmnt /; lsblk -s -o NAME,TRAN; cat /sys/bus/usb/devices/*/speed

Mounts are those of this process: inside a container they are the container's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import DiskSpace, Host
from boxcheck.model import Unread
from boxcheck.probes.attributes import integer, numbered, words
from boxcheck.registry import probe

BLOCK = "/sys/class/block"
SECTOR_BYTES = 512
"""Unit of `size` in sysfs, whatever the disk's own block size."""
USB_DEVICE = re.compile(r"\d+-\d+(?:\.\d+)*")
"""Directory of a USB device: bus, then ports (`2-1`, `4-1.3`)."""
TRANSPORTS = (("/nvme/", "NVMe"), ("/usb", "USB"), ("/ata", "SATA"), ("/virtio", "virtio"), ("/mmc", "MMC"))
"""Part of a disk's real path in sysfs -> how it is attached; first match wins."""
PSEUDO = frozenset({
    "proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "configfs",
    "mqueue", "hugetlbfs", "pstore", "bpf", "autofs", "binfmt_misc", "fusectl", "efivarfs", "nsfs", "ramfs",
})
"""File systems of the kernel's own, which hold no data; a machine has dozens of these mounts."""
DEPTH_LIMIT = 8
"""Block devices may be stacked (LVM on LUKS on RAID); no sane stack is deeper."""


class Mount(msgspec.Struct, frozen=True):
    source: str
    """`/dev/nvme0n1p2`, `/dev/md0`, `overlay`, `tank/root` ..."""
    path: str
    kind: str
    device: str | None = None
    """`259:2`, major and minor number, None where the kernel's older table was read."""
    read_only: bool = False
    """The mount or the file system below it refuses writes."""


class RaidMember(msgspec.Struct, frozen=True):
    name: str
    state: str | Unread
    """`in_sync`, `faulty`, `spare`, `write_mostly` ..., comma between."""


class RaidArray(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    level: str | None | Unread
    state: str | None | Unread
    """array_state: `clean`, `active`, `inactive`, `broken` ...; `inactive` of /proc/mdstat as well."""
    disks: int | Unread
    """That the array is meant to have."""
    degraded: int | None | Unread
    """Members missing; None where the kernel keeps no count for this level."""
    members: tuple[RaidMember, ...]
    members_unread: Unread | None = None
    """Why the members could not be listed; then `members` is empty and proves nothing."""
    size_bytes: int | Unread = Unread("its size", "not-captured")
    read_only: bool | None | Unread = None
    """Writes are refused whatever the array's state (blockdev --setro); None where that was not read."""
    container: bool = False
    """Holds the metadata of firmware RAID (Intel IMSM or VROC, DDF) and never becomes active: the arrays made out of it
    are arrays of their own (md(4), external metadata)."""


class Disk(msgspec.Struct, frozen=True):
    name: str
    transport: str | None
    """`NVMe`, `USB`, `SATA`, ...; None where the path does not tell."""
    usb_speed_mbps: int | None | Unread
    """None for a disk that is not on USB."""


class Volume(msgspec.Struct, frozen=True):
    path: str
    space: DiskSpace | Unread


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    mounts: tuple[Mount, ...] | Unread
    arrays: tuple[RaidArray, ...] | Unread
    root: tuple[Disk, ...] | Unread
    """The disks that hold the root file system: several where it is on RAID."""
    volumes: tuple[Volume, ...]
    """Space on / and on every mounted RAID array."""
    disks: tuple[str, ...] = ()
    """Whole disks that the kernel has: `nvme0n1`, `sda`. Empty where nobody could list them."""

    def mounted_at(self, path: str) -> Mount | None | Unread:
        """The mount at a path (the last one, which covers the others); None when there is none."""
        if isinstance(self.mounts, Unread):
            return self.mounts
        return next((mount for mount in reversed(self.mounts) if mount.path == path), None)


def _unescape(text: str) -> str:
    """Octal escapes of mount tables (`\\040` is a blank)."""
    return clean_text(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8) & 0xFF), text))


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """/proc/self/mountinfo (proc_pid_mountinfo(5)): id, parent, major:minor, root, mount point, options, optional
    fields up to a dash, then type and source."""
    found = []
    for line in text.splitlines():
        left, dash, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if dash and len(fields) >= 6 and len(tail) >= 2:
            options = {*fields[5].split(","), *(tail[2].split(",") if len(tail) > 2 else ())}
            found.append(Mount(
                _unescape(tail[1]), _unescape(fields[4]), clean_text(tail[0], 32), fields[2], "ro" in options))
    return tuple(found)


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """/proc/self/mounts: source, path, type, options."""
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) >= 4:
            found.append(Mount(_unescape(fields[0]), _unescape(fields[1]), clean_text(fields[2], 32),
                               read_only="ro" in fields[3].split(",")))
    return tuple(found)


def parse_inactive(mdstat: str) -> dict[str, tuple[str, ...]]:
    """Arrays that /proc/mdstat calls inactive, with their members' names."""
    found: dict[str, tuple[str, ...]] = {}
    for line in mdstat.splitlines():
        name, colon, rest = line.partition(" : ")
        parts = rest.split()
        if colon and re.fullmatch(r"md[\w.-]{1,40}", name.strip()) and parts[:1] == ["inactive"]:
            found[name.strip()] = tuple(clean_text(part.partition("[")[0], 32) for part in parts[1:] if "[" in part)
    return found


def parse_active(mdstat: str) -> tuple[str, ...]:
    """Arrays that /proc/mdstat calls active, also `active (auto-read-only)`."""
    found = []
    for line in mdstat.splitlines():
        name, colon, rest = line.partition(" : ")
        if colon and re.fullmatch(r"md[\w.-]{1,40}", name.strip()) and rest.split()[:1] == ["active"]:
            found.append(name.strip())
    return tuple(found)


def parse_containers(mdstat: str) -> frozenset[str]:
    """Arrays whose second line ends in `super external:imsm`; the arrays inside say `super external:/md127/0`."""
    found = set()
    name = ""
    for line in mdstat.splitlines():
        head, colon, _ = line.partition(" : ")
        if colon and re.fullmatch(r"md[\w.-]{1,40}", head.strip()):
            name = head.strip()
        elif name and re.search(r"\bsuper external:\w", line):
            found.add(name)
    return frozenset(found)


def _mounts(host: Host) -> tuple[Mount, ...] | Unread:
    text = host.text("/proc/self/mountinfo")
    found: tuple[Mount, ...] | Unread = text if isinstance(text, Unread) else parse_mountinfo(text) or Unread(
        "/proc/self/mountinfo names no mount", "malformed")
    for path in ("/proc/self/mounts", "/proc/mounts") if isinstance(found, Unread) else ():
        older = host.text(path)
        if isinstance(older, str) and (parsed := parse_mounts(older)):
            found = parsed
            break
    return found if isinstance(found, Unread) else tuple(_of_data(found))


def _of_data(mounts: tuple[Mount, ...]) -> Iterator[Mount]:
    """The mounts that hold data, and those of the kernel's own that cover one of them."""
    seen: set[str] = set()
    for mount in mounts:
        if mount.kind not in PSEUDO:
            seen.add(mount.path)
            yield mount
        elif mount.path in seen and mount.path != "/":
            yield mount


def _array(host: Host, name: str) -> RaidArray:
    base = f"/sys/block/{name}/md"
    entries = host.entries(base)
    parts = () if isinstance(entries, Unread) else [entry for entry in entries if entry.startswith("dev-")]
    degraded = integer(host, f"{base}/degraded")
    level, metadata = words(host, f"{base}/level"), words(host, f"{base}/metadata_version")
    external = isinstance(metadata, str) and re.match(r"external:\w", metadata) is not None
    sectors, refuses = integer(host, f"{BLOCK}/{name}/size"), integer(host, f"{BLOCK}/{name}/ro")
    return RaidArray(
        name=name, level=level, state=words(host, f"{base}/array_state"),
        size_bytes=sectors if isinstance(sectors, Unread) else sectors * SECTOR_BYTES,
        read_only=refuses != 0 if isinstance(refuses, int) else None if refuses.kind == "absent" else refuses,
        container=level == "container" or (external and level is None),
        disks=integer(host, f"{base}/raid_disks"),
        degraded=None if isinstance(degraded, Unread) and degraded.kind == "absent" else degraded,
        members=tuple(RaidMember(part[4:], _state(host, f"{base}/{part}/state")) for part in parts),
        members_unread=entries if isinstance(entries, Unread) else None,
    )


def _state(host: Host, path: str) -> str | Unread:
    text = words(host, path)
    return text if isinstance(text, (str, Unread)) else Unread(f"{path}: empty", "malformed")


def _arrays(host: Host) -> tuple[RaidArray, ...] | Unread:
    names = host.entries("/sys/block")
    mdstat = host.text("/proc/mdstat")
    inactive = {} if isinstance(mdstat, Unread) else parse_inactive(mdstat)
    active = () if isinstance(mdstat, Unread) else parse_active(mdstat)
    containers = frozenset() if isinstance(mdstat, Unread) else parse_containers(mdstat)
    if isinstance(names, Unread):
        if names.kind != "absent" or not (inactive or active):
            return () if names.kind == "absent" and not isinstance(mdstat, Unread) else names
        names = ()
    arrays = {name: _array(host, name) for name in names if re.fullmatch(r"md[\w.-]{1,40}", name)}
    for name, members in inactive.items():
        known = arrays.get(name)
        unread = Unread(f"{name} is inactive, so the kernel shows nothing of it", "absent")
        if known is None or isinstance(known.state, Unread):
            arrays[name] = RaidArray(
                name=name, level=known.level if known else None, state="inactive",
                disks=known.disks if known else unread, degraded=None,
                members=tuple(RaidMember(member, unread) for member in members),
                container=known is not None and known.container)
    for name in active:
        if name not in arrays:
            hidden = Unread(f"{name} is active in /proc/mdstat and missing in /sys/block", "malformed")
            arrays[name] = RaidArray(
                name=name, level=hidden, state=hidden, disks=hidden, degraded=hidden, members=())
    for name in containers & arrays.keys():
        arrays[name] = msgspec.structs.replace(arrays[name], container=True)
    if not arrays and isinstance(mdstat, Unread) and mdstat.kind != "absent":
        return mdstat  # a list of disks that somebody else captured does not prove that there is no array
    return tuple(arrays[name] for name in sorted(arrays))


def _whole_disks(host: Host, name: str, depth: int = 0) -> list[str]:
    """The disks below a partition, a mapped device or an array."""
    if depth > DEPTH_LIMIT or not re.fullmatch(r"[\w.!+-]{1,64}", name):
        return []
    base = f"{BLOCK}/{name}"
    slaves = host.entries(f"{base}/slaves")
    if isinstance(slaves, tuple) and slaves:
        return [disk for slave in slaves for disk in _whole_disks(host, slave, depth + 1)]
    real = host.target(base)
    if isinstance(real, Unread):
        return []
    if isinstance(host.text(f"{base}/partition"), str):
        return _whole_disks(host, real.rsplit("/", 2)[-2], depth + 1)
    return [name]


def _disk(host: Host, name: str) -> Disk:
    path = host.target(f"{BLOCK}/{name}")
    if isinstance(path, Unread):
        return Disk(name, None, path)
    transport = next((shown for part, shown in TRANSPORTS if part in path), None)
    if transport != "USB":
        return Disk(name, transport, None)
    parts = path.split("/")
    ports = [index for index, part in enumerate(parts) if USB_DEVICE.fullmatch(part)]
    if not ports:
        return Disk(name, transport, Unread(f"{path} names no USB device", "malformed"))
    return Disk(name, transport, integer(host, "/".join(parts[: ports[-1] + 1]) + "/speed"))


def _root(host: Host, mounts: tuple[Mount, ...] | Unread) -> tuple[Disk, ...] | Unread:
    if isinstance(mounts, Unread):
        return mounts
    mount = next((mount for mount in reversed(mounts) if mount.path == "/"), None)
    if mount is None:
        return Unread("nothing is mounted at /", "malformed")
    names: list[str] = []
    if mount.device is not None and not mount.device.startswith("0:"):
        block = host.target(f"/sys/dev/block/{mount.device}")
        if isinstance(block, str):
            names = _whole_disks(host, block.rsplit("/", 1)[-1])
    if not names and mount.source.startswith("/dev/"):
        # /dev/mapper/x is a link to /dev/dm-N; other names are the kernel's own.
        real = host.target(mount.source)
        names = _whole_disks(host, (real if isinstance(real, str) else mount.source).rsplit("/", 1)[-1])
    if not names:
        return Unread(f"the disk behind / ({mount.source}, {mount.kind}) is not known", "unsupported")
    return tuple(_disk(host, name) for name in dict.fromkeys(names))


DISK = re.compile(r"nvme\d{1,4}n\d{1,4}|[sv]d[a-z]{1,3}")


def _disks(host: Host) -> tuple[str, ...]:
    names = host.entries("/sys/block")
    return () if isinstance(names, Unread) else tuple(name for name in names if DISK.fullmatch(name))


@probe("storage", Storage)
def storage(host: Host) -> Storage:
    mounts = _mounts(host)
    paths = ["/", *(mount.path for mount in (() if isinstance(mounts, Unread) else mounts)
                    if numbered((mount.source.removeprefix("/dev/"),), "md"))]
    return Storage(
        mounts=mounts, arrays=_arrays(host), root=_root(host, mounts),
        volumes=tuple(Volume(path, host.disk(path)) for path in dict.fromkeys(paths)),
        disks=_disks(host),
    )
