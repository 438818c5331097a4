"""What to do about a software RAID array, by its state: the `mdadm` lines with the names of array and members.

Source: mdadm(8), modes assemble, manage and misc; array_state and the members' state in
Documentation/admin-guide/md.rst. A drive is named only where the kernel names it. Which of several drives is the new
one nobody knows but its owner, so that one is `NEW`; `--re-add` refuses a drive that never was a member.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from boxcheck.model import Unread
from boxcheck.probes.storage import RaidArray, RaidMember, Storage

REDUNDANT = frozenset({"raid1", "raid4", "raid5", "raid6", "raid10"})
EXAMINE = "nvme list; sudo mdadm --examine --scan --verbose  shows which drives are there and which array each is of"
RESEAT = "power off, reseat the drive that nvme list does not show, power on"
NEW = "/dev/NEW"
_WHOLE = re.compile(r"(nvme\d{1,4}n\d{1,4}|sd[a-z]{1,3}|vd[a-z]{1,3})(p?\d{1,4})?")
"""A disk's name and the part that names its partition."""


def words(member: RaidMember) -> frozenset[str]:
    """The words of a member's state, none where it was not read."""
    return frozenset() if isinstance(member.state, Unread) else frozenset(member.state.split(","))


def _nodes(members: Sequence[RaidMember]) -> str:
    return " ".join(f"/dev/{member.name}" for member in members)


def left_over(array: RaidArray, storage: Storage) -> str | None:
    """The one device that is here, is no member of an array, holds no root file system, and is called as the members
    are: it may be the member that dropped out. None where there is no such device, or more than one."""
    suffixes = {match[2] or "" for member in array.members if (match := _WHOLE.fullmatch(member.name))}
    if len(suffixes) != 1 or isinstance(storage.arrays, Unread) or isinstance(storage.root, Unread):
        return None
    taken = {match[1] for one in storage.arrays for member in one.members if (match := _WHOLE.fullmatch(member.name))}
    taken |= {disk.name for disk in storage.root}
    kind = array.members[0].name[:2]
    free = [name for name in storage.disks if name not in taken and name.startswith(kind)]
    return f"/dev/{free[0]}{suffixes.pop()}" if len(free) == 1 else None


def steps(array: RaidArray, storage: Storage, expected: int | None = None) -> tuple[str, ...]:
    """What brings this array back, cheap things first. `expected` is the profile's number of members, for an array of
    which the kernel does not tell how many it is meant to have."""
    node = f"/dev/{array.name}"
    meant = expected if isinstance(array.disks, Unread) else array.disks
    lost = None if meant is None else max(meant - len(array.members), 0)
    redundant = isinstance(array.level, str) and array.level in REDUNDANT
    faulty = [member for member in array.members if "faulty" in words(member)]
    again = f"sudo mdadm --stop {node}; sudo mdadm --assemble --scan"
    if array.state == "readonly":
        return (f"sudo mdadm --readwrite {node}; refused: sudo dmesg | grep {array.name} | tail -30",)
    if array.state == "broken":
        return (EXAMINE, RESEAT, f"not active after that: {again}")
    if array.state in ("inactive", "clear"):
        return _start(array, node, lost, redundant, again)
    if faulty:
        gone = _nodes(faulty)
        return (f"sudo mdadm --detail {node}; sudo smartctl -a {gone.split(' ')[0]}  shows its health",
                f"sudo mdadm --manage {node} --remove {gone}",
                f"replace the drive, then sudo mdadm --manage {node} --add {NEW}; cat /proc/mdstat shows the rebuild")
    if not redundant:
        return (EXAMINE, RESEAT, f"not complete after that: {again}")
    back = left_over(array, storage)
    first = f"{back} is in no array: " if back else "when nvme list shows the drive that is missing: "
    return (f"sudo mdadm --detail {node}  shows the place that is empty",
            f"{first}sudo mdadm --manage {node} --re-add {back or NEW}",
            f"it is dead or refused: replace it, then sudo mdadm --manage {node} --add {NEW}; "
            "cat /proc/mdstat shows the rebuild")


def _start(array: RaidArray, node: str, lost: int | None, redundant: bool, again: str) -> tuple[str, ...]:
    """An array that was found and not started. mdadm holds its members until it is stopped."""
    if array.members and lost == 0:
        return (f"all {len(array.members)} members are here, so start it: sudo mdadm --run {node}",
                f"refused: {again}; sudo dmesg | grep -w md | tail -30  says why")
    if redundant and array.members:
        return (EXAMINE, f"it can work without the missing member: sudo mdadm --run {node}", RESEAT,
                f"still not started: {again}")
    return (EXAMINE, RESEAT, f"not started after that: {again}")
