"""Judgements on RAID, mounts, free space and the boot disk."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.raid_steps import EXAMINE, REDUNDANT, RESEAT, steps, words
from boxcheck.checks.steps import COPY_AND_REPLACE
from boxcheck.checks.wording import (
    GIB,
    broken_bound,
    counted,
    decided,
    judged,
    listed,
    not_read,
    size,
    wants,
    why_not,
    wish_of,
)
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Subject, Unread
from boxcheck.probes.container import Container
from boxcheck.probes.storage import RaidArray, Storage
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, outcome_of, passed, skipped, unknown

MEMBERS = limit(
    "disk.raid_members", int, "ge", "drives", "Drives that are at work in the largest RAID array.", low=1, high=128,
)
LEVEL = limit("disk.raid_level", str, "eq", "", "Level of the largest RAID array: `raid0`, `raid5` ...")
SIZE = limit("disk.raid_gib", float, "ge", "GiB", "Size of the largest RAID array.", low=1, high=1 << 22)
MOUNT = limit("disk.raid_mount", str, "eq", "", "Where the RAID array must be mounted.")
FREE = limit("disk.free_percent", float, "ge", "%", "Free space on / and on the RAID array.", low=0, high=100)
USB_SPEED = limit(
    "disk.boot_usb_mbps", int, "ge", "Mbit/s", "Speed of the USB port of a disk that the box boots from.",
    low=12, high=80000,
)

GOOD_STATES = frozenset({"clean", "active", "active-idle", "write-pending", "read-auto"})
"""array_state of a usable array (Documentation/admin-guide/md.rst). `read-auto` turns active with the first write."""
ARRAY_STATES = GOOD_STATES | {"clear", "inactive", "suspended", "readonly", "broken"}
"""All that the kernel says (drivers/md/md.c, array_states)."""
NO_ARRAY = ("sudo mdadm --assemble --scan puts the array together when its drives are there", EXAMINE, RESEAT)
WHY_READ_ONLY = ("sudo dmesg | grep -iE 'remount|I/O error|EXT4-fs|XFS'  says whether the kernel stopped writes after "
                 "an error; then copy the data before anything else")
BAD_MEMBERS = frozenset({"faulty", "blocked"})


def _working(array: RaidArray) -> int:
    """Members that carry data."""
    return sum(bool({"in_sync", "journal"} & words(member)) for member in array.members)


def _state(array: RaidArray) -> str | Unread:
    """Its state, where that is one."""
    if isinstance(array.state, str) and array.state in ARRAY_STATES:
        return array.state
    nothing = f"{array.name} shows no state" if array.state is None else f"{array.state!r} is no state of an array"
    return why_not(array.state, Unread(nothing, "malformed"))


def _unsure(array: RaidArray) -> Unread | None:
    """What was not read of an active array's members, so that counting them proves nothing."""
    if isinstance(state := _state(array), Unread):
        return state
    if array.members_unread is not None and array.state in GOOD_STATES:
        return array.members_unread
    return next((member.state for member in array.members if isinstance(member.state, Unread)
                 and array.state in GOOD_STATES), None)


def _cause(array: RaidArray) -> str:
    return f"raid:{array.name}"


def _array_findings(array: RaidArray, storage: Storage, expected: int | None) -> Iterator[Finding]:
    subject = Subject("disk", array.name)
    evidence = ("/proc/mdstat", f"/sys/block/{array.name}/md/array_state")
    common = {"evidence": evidence, "cause": _cause(array), "help": steps(array, storage, expected)}
    level = array.level if isinstance(array.level, str) else "array"
    if isinstance(state := _state(array), Unread):
        yield not_read(subject, state, evidence=evidence)
        return
    bad = [member.name for member in array.members if BAD_MEMBERS & words(member)]
    if state not in GOOD_STATES:
        yield failed(
            subject, f"{level} is {state}, not active"
            + (f"; members found: {listed(member.name for member in array.members)}" if array.members else ""),
            measured=Quantity(state), title=f"RAID array {array.name} is {state}",
            **common)
    elif array.read_only is True:
        yield failed(
            subject, f"{level} is {state}, and its block device refuses writes", measured=Quantity(True),
            title=f"RAID array {array.name} is read-only", evidence=(f"/sys/class/block/{array.name}/ro",),
            cause=_cause(array), help=(WHY_READ_ONLY, f"sudo blockdev --setrw /dev/{array.name}"))
    elif isinstance(array.degraded, Unread):
        yield not_read(subject, array.degraded, evidence=evidence)
    elif array.degraded or bad:
        missing = f"{counted(array.degraded, 'member')} missing" if array.degraded else f"faulty: {listed(bad)}"
        make = marginal if level in REDUNDANT and not _lost_too_many(array) else failed
        yield make(
            subject, f"{level} of {array.disks if isinstance(array.disks, int) else '?'} drives, {missing}, limit 0",
            measured=Quantity(array.degraded or len(bad), "drives"), title=f"RAID array {array.name} is degraded",
            **common)
    elif array.degraded is None and array.members_unread is not None:
        yield not_read(subject, array.members_unread, evidence=evidence)
    elif array.degraded is None and not array.members:
        none = Unread(f"{array.name} shows no member and counts none that is missing", "malformed")
        yield not_read(subject, none, evidence=evidence)
    elif array.degraded is None and isinstance(array.disks, int) and _working(array) < array.disks:
        unsure = _unsure(array)
        yield not_read(subject, unsure, evidence=evidence) if unsure is not None else failed(
            subject, f"{level} with {_working(array)} of {array.disks} drives", **common,
            measured=Quantity(_working(array), "drives"), title=f"RAID array {array.name} lacks a drive")
    elif isinstance(array.read_only, Unread):
        yield not_read(subject, array.read_only, evidence=evidence)
    else:
        yield passed(
            subject, f"{level} of {array.disks if isinstance(array.disks, int) else len(array.members)} drives, "
            f"{state}", measured=Quantity(state), evidence=evidence)


def _lost_too_many(array: RaidArray) -> bool:
    """An array that lost members and still runs has what it needs; only its state tells otherwise."""
    return array.state not in GOOD_STATES


def _kind_findings(array: RaidArray, want: Profile) -> Iterator[Finding]:
    """Level and size of the array that the profile is about, once it is up."""
    subject = Subject("disk", array.name)
    level, room = want.limit(LEVEL), want.limit(SIZE)
    help = (f"sudo mdadm --detail /dev/{array.name}, and compare with what was to be built; for another level or other "
            "drives an array is made anew: copy its data first",)
    if level is not None and isinstance(array.level, str):
        yield judged(
            subject, array.level, level, f"level {array.level}, {broken_bound(array.level, level)}", help=help,
            evidence=(f"/sys/block/{array.name}/md/level",), cause=_cause(array),
            title=f"RAID array {array.name} is {array.level}")
    elif level is not None:
        yield not_read(subject, why_not(array.level, Unread(f"{array.name} shows no level", "malformed")))
    if room is not None and isinstance(array.size_bytes, int):
        gib = array.size_bytes / GIB
        yield judged(
            subject, gib, room, f"{size(array.size_bytes)}, {broken_bound(gib, room)} GiB", help=help,
            evidence=(f"/sys/class/block/{array.name}/size",), cause=_cause(array),
            title=f"RAID array {array.name} is too small")
    elif room is not None and isinstance(array.size_bytes, Unread):
        yield not_read(subject, array.size_bytes)


@check("disk.raid", reads=[Storage], limits=[MEMBERS, LEVEL, SIZE])
def raid(storage: Storage, want: Profile) -> Iterator[Finding]:
    """A RAID array is degraded, inactive, missing, read-only, of another level, or smaller than the box's.

    Why it matters: RAID 0 is gone with any one of its drives; a redundant array that lost one drive is safe until the
    next.
    What to do: `cat /proc/mdstat`, find the drive that is missing, reseat or replace it. An array that stopped is put
    together by `sudo mdadm --stop /dev/md0; sudo mdadm --assemble --scan`.
    Not a fault: of the file system; a resync in progress is no fault either.
    By hand: cat /proc/mdstat; sudo mdadm --detail /dev/md0
    """
    bound = want.limit(MEMBERS)
    if isinstance(storage.arrays, Unread):
        yield not_read(BOX, storage.arrays, evidence=("/proc/mdstat",))
        return
    expected = None if bound is None else int(wish_of(bound))
    containers = [array.name for array in storage.arrays if array.container]
    arrays = [array for array in storage.arrays if not array.container]
    for array in arrays:
        yield from _array_findings(array, storage, expected)
    if bound is None:
        if containers and not arrays:
            yield unknown(BOX, f"{listed(containers)} holds firmware RAID, and no array out of it is here",
                          evidence=("/proc/mdstat",), help=("sudo mdadm --assemble --scan starts the arrays in it",))
        elif not arrays:
            yield skipped(BOX, "there is no RAID array, and the profile asks for none")
        return
    working = max((_working(array) for array in arrays if array.state in GOOD_STATES), default=0)
    biggest = max(arrays, key=lambda array: len(array.members), default=None)
    unsure = next((why for array in arrays if (why := _unsure(array)) is not None), None)
    if biggest is not None and biggest.state in GOOD_STATES:
        yield from _kind_findings(biggest, want)
    if unsure is not None and outcome_of(working, bound) is not Outcome.PASS:
        yield not_read(BOX, unsure, evidence=("/proc/mdstat",))
        return
    yield judged(
        BOX, working, bound,
        f"{counted(working, 'drive')} at work in {biggest.name if biggest else 'any array'}, "
        f"{broken_bound(working, bound)}",
        evidence=("/proc/mdstat",), cause=_cause(biggest) if biggest else "raid:",
        title=f"RAID array {biggest.name} is incomplete" if biggest else "there is no RAID array",
        help=steps(biggest, storage, expected) if biggest is not None else NO_ARRAY)


@check("disk.raid-mounted", reads=[Storage, Container], limits=[MOUNT])
def raid_mounted(storage: Storage, container: Container, want: Profile) -> Iterator[Finding]:
    """The RAID array is not mounted where it should be.

    Why it matters: with `nofail` in /etc/fstab the box boots without it; datasets then land on the boot disk, which
    fills up and is slow.
    What to do: `cat /proc/mdstat`, then `sudo mount -a`; look at the line in /etc/fstab.
    Not a fault: inside a container, which has mounts of its own.
    By hand: findmnt /raid
    """
    bound = want.limit(MOUNT)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {MOUNT}")
        return
    place = str(wish_of(bound))
    mount = storage.mounted_at(place)
    evidence = ("/proc/self/mounts",)
    outcome = Outcome.FAIL if bound.must is not None else Outcome.MARGINAL
    help = (f"sudo mount {place}; refused: look at its line in /etc/fstab, and at the array in /proc/mdstat",)
    if isinstance(mount, Unread):
        yield not_read(BOX, mount, evidence=evidence)
    elif mount is not None and mount.source.startswith("/dev/md") and mount.read_only:
        yield decided(
            outcome, BOX, f"{mount.source} is mounted at {place} read-only, {wants(bound)} an array to write to",
            measured=Quantity("ro"), limit=bound, evidence=evidence, cause=_mount_cause(storage),
            title=f"{place} is mounted read-only", help=(WHY_READ_ONLY, f"sudo mount -o remount,rw {place}"))
    elif mount is not None and mount.source.startswith("/dev/md"):
        yield passed(
            BOX, f"{mount.source} is mounted at {place}", measured=Quantity(place), limit=bound, evidence=evidence)
    elif isinstance(container.container, str):
        yield not_read(BOX, Unread(
            f"inside a container ({container.container}), whose mounts are its own", "unsupported"), evidence=evidence)
    elif mount is None:
        yield decided(
            outcome, BOX, f"nothing is mounted at {place}, {wants(bound)} the RAID array there",
            measured=Quantity(""), limit=bound, evidence=evidence, cause=_mount_cause(storage),
            title=f"the RAID array is not mounted at {place}", help=help)
    else:
        yield decided(
            outcome, BOX, f"{mount.source} is mounted at {place}, {wants(bound)} the RAID array there",
            measured=Quantity(mount.source), limit=bound, evidence=evidence, cause=_mount_cause(storage),
            title=f"no RAID array is mounted at {place}", help=help)


def _mount_cause(storage: Storage) -> str:
    """The broken array's problem where there is one, so that a lost drive is one problem."""
    arrays = () if isinstance(storage.arrays, Unread) else storage.arrays
    broken = next((array for array in arrays if array.state not in GOOD_STATES), None)
    if broken is not None:
        return _cause(broken)
    return "raid-mount:" if arrays else "raid:"


DATA_KINDS = frozenset({"ext2", "ext3", "ext4", "xfs", "f2fs", "jfs"})
"""File systems whose root is written to. Distributions that never write to theirs use btrfs, overlay, squashfs."""


@check("disk.read-only", reads=[Storage, Container])
def read_only(storage: Storage, container: Container, want: Profile) -> Iterator[Finding]:
    """The root file system is mounted read-only.

    Why it matters: ext4 and XFS are remounted read-only, or stop, when the disk below them fails; programs then fail
    one by one, and the log that would say why is not written.
    What to do: read the kernel log for the first error, copy what matters, then replace the disk. Only after a check
    of the file system: `sudo mount -o remount,rw /`.
    Not a fault: inside a container; on distributions that never write to their root (it is no ext4 or XFS there).
    By hand: findmnt -no OPTIONS /
    """
    mount = storage.mounted_at("/")
    evidence = ("/proc/self/mountinfo",)
    if isinstance(mount, Unread):
        yield not_read(BOX, mount, evidence=evidence)
    elif mount is None and not isinstance(container.container, str):
        none = Unread(f"{evidence[0]} names nothing that is mounted at /, as in a chroot", "malformed")
        yield not_read(BOX, none, evidence=evidence)
    elif mount is None or mount.kind not in DATA_KINDS or isinstance(container.container, str):
        yield skipped(BOX, "the root file system is of a kind that may be read-only on purpose")
    elif mount.read_only:
        yield failed(
            Subject("disk", "/"), f"{mount.source} ({mount.kind}) is mounted at / read-only", measured=Quantity("ro"),
            evidence=evidence, cause="disk-read-only:/", title="the root file system is read-only",
            help=(WHY_READ_ONLY, COPY_AND_REPLACE))
    else:
        yield passed(Subject("disk", "/"), f"{mount.source} is mounted at / for reading and writing", evidence=evidence)


@check("disk.free", reads=[Storage], limits=[FREE])
def free(storage: Storage, want: Profile) -> Iterator[Finding]:
    """A file system is nearly full.

    Why it matters: checkpoints fail to be written, and a full root file system breaks updates and logs.
    What to do: `sudo du -xh --max-depth=2 PATH | sort -h | tail`; old kernels, journals and container images first.
    Not a fault: of the disk.
    By hand: df -h / /raid
    """
    bound = want.limit(FREE)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {FREE}")
        return
    for volume in storage.volumes:
        subject = Subject("disk", volume.path)
        if isinstance(volume.space, Unread):
            yield not_read(subject, volume.space)
        elif volume.space.total_bytes <= 0:
            yield not_read(subject, Unread(f"{volume.path} says it has no size", "malformed"))
        else:
            percent = 100 * volume.space.free_bytes / volume.space.total_bytes
            yield judged(
                subject, percent, bound,
                f"{round(percent, 2):g} % free ({size(volume.space.free_bytes)} of {size(volume.space.total_bytes)}), "
                f"{broken_bound(percent, bound)} %", cause=f"disk-full:{volume.path}",
                title=f"{volume.path} is nearly full",
                help=(f"sudo du -xh --max-depth=2 {volume.path} | sort -h | tail",))


@check("disk.boot-usb-speed", reads=[Storage], limits=[USB_SPEED])
def boot_usb_speed(storage: Storage, want: Profile) -> Iterator[Finding]:
    """The USB disk that the box boots from runs at a lower USB speed.

    Why it matters: at 480 Mbit/s a boot disk reads 40 MB/s instead of 400; every program start waits for it. It is a
    worn plug, a USB 2 port or a bad cable.
    What to do: move the disk to a USB 3 port at the back of the board; swap the cable.
    Not a fault: a box that does not boot from USB is not judged.
    By hand: findmnt /; cat /sys/bus/usb/devices/*/speed
    """
    bound = want.limit(USB_SPEED)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {USB_SPEED}")
        return
    if isinstance(storage.root, Unread):
        yield not_read(BOX, storage.root, evidence=("/proc/self/mounts",))
        return
    on_usb = [disk for disk in storage.root if disk.transport == "USB"]
    if not on_usb:
        unsure = next((disk.usb_speed_mbps for disk in storage.root if isinstance(disk.usb_speed_mbps, Unread)), None)
        if unsure is not None:
            yield not_read(BOX, unsure)
        else:
            disks = listed(_named(disk.name, disk.transport) for disk in storage.root)
            yield skipped(BOX, f"the box boots from {disks}")
    for disk in on_usb:
        yield _usb_finding(disk.name, disk.usb_speed_mbps, bound)


def _named(name: str, transport: str | None) -> str:
    return f"{name} ({transport})" if transport else name


def _usb_finding(name: str, speed: int | None | Unread, bound: Limit) -> Finding:
    subject = Subject("disk", name)
    evidence = (f"/sys/class/block/{name}",)
    if speed is None or isinstance(speed, Unread):
        none = Unread("the USB device shows no speed", "malformed")
        return not_read(subject, why_not(speed, none), evidence=evidence)
    return decided(
        outcome_of(speed, bound), subject, f"boot disk at {speed} Mbit/s, {broken_bound(speed, bound)} Mbit/s",
        measured=Quantity(speed, "Mbit/s"), limit=bound, evidence=evidence, cause=f"usb-boot:{name}",
        title=f"the boot disk runs at {speed} Mbit/s",
        help=("move the disk to a USB 3 port of the board itself; not cured: swap the cable",))
