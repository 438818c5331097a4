"""What the drive test reads: namespaces of NVMe drives, files, or scratch files that it was allowed to make.

Reads   /sys/block/nvme*n*, device/{model,transport} of each, /proc/self/mountinfo (any user); a drive itself: root
Absent  nodes in /dev where a container has none of them
By hand lsblk -d -o NAME,MODEL,TRAN,SIZE; findmnt -T DIRECTORY
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from boxcheck.gpu import GpuError
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.attributes import words
from boxcheck.probes.storage import DEPTH_LIMIT, parse_mountinfo

BLOCK = "/sys/block"
NAMESPACE = re.compile(r"nvme\d{1,4}n\d{1,4}")
ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
IN_MEMORY = frozenset(("tmpfs", "ramfs"))


class Target(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """`nvme0n1`, `scratch0`, or a file's name."""
    path: str
    """Of the node, the file, or the directory for a scratch file."""
    kind: Literal["device", "file", "scratch"]
    bdf: str = ""
    model: str = ""
    on: tuple[str, ...] = ()
    """Whole disks below a file, where the kernel tells them."""


def drives(host: Host, only: Sequence[str] = ()) -> tuple[Target, ...]:
    """Namespaces of NVMe drives on PCIe, by name. GpuError where they cannot be listed, or one that was named is not
    there."""
    names = host.entries(BLOCK)
    if isinstance(names, Unread) and names.kind != "absent":
        raise GpuError("unsupported", f"the drives cannot be listed: {names.why}")
    # Paths of a drive with several of them (nvme0c0n1) are hidden behind their head.
    found = {
        name: _drive(host, name) for name in (() if isinstance(names, Unread) else names) if NAMESPACE.fullmatch(name)}
    for name in only:
        if name not in found:
            raise GpuError("no-device", f"there is no NVMe namespace {name}; here are {', '.join(found) or 'none'}")
    return tuple(target for name, target in found.items() if target is not None and (not only or name in only))


def _drive(host: Host, name: str) -> Target | None:
    """None for a drive over a network fabric."""
    device = f"{BLOCK}/{name}/device"
    inside = host.entries(device)
    transports = [words(host, f"{device}/transport"), *(
        words(host, f"{device}/{one}/transport") for one in (() if isinstance(inside, Unread) else inside)
        if re.fullmatch(r"nvme\d+", one))]
    known = [one for one in transports if isinstance(one, str)]
    if known and "pcie" not in known:
        return None
    model, real = words(host, f"{device}/model"), host.target(f"{BLOCK}/{name}")
    addresses = ADDRESS.findall(real) if isinstance(real, str) else []
    return Target(
        name=name, path=f"/dev/{name}", kind="device", bdf=addresses[-1] if addresses else "",
        model=model if isinstance(model, str) else "")


def files(host: Host, paths: Sequence[str], scratch: bool) -> tuple[Target, ...]:
    """What was named instead of the drives. A directory is for a scratch file, and needs leave to write."""
    found: list[Target] = []
    for number, path in enumerate(paths):
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise GpuError("unsupported", f"files={path}: {error.strerror}") from None
        if stat.S_ISDIR(mode):
            if not scratch:
                raise GpuError(
                    "forbidden", f"files={path} is a directory, and a scratch file in it is written",
                    "say --option scratch=yes to allow that, or name a file to read")
            kind = file_system(host, path)
            if kind in IN_MEMORY:
                raise GpuError("unsupported", f"files={path} is on {kind}, which is memory and no drive")
            found.append(Target(
                name=f"scratch{number}", path=path, kind="scratch", model=kind, on=disks_below(host, path)))
        elif stat.S_ISREG(mode):
            found.append(Target(
                name=os.path.basename(path), path=path, kind="file", model=file_system(host, path),
                on=disks_below(host, path)))
        elif stat.S_ISBLK(mode):
            found.append(Target(name=os.path.basename(os.path.realpath(path)), path=path, kind="device"))
        else:
            raise GpuError("unsupported", f"files={path} is no file, directory or drive")
    names = [target.name for target in found]
    if len({*names}) < len(names):
        raise GpuError("unsupported", "files: two of them have the same name")
    return tuple(found)


def disks_below(host: Host, path: str) -> tuple[str, ...]:
    """Whole disks that hold a file: through partitions, arrays and mapped devices. Empty where the file system has no
    device of its own (btrfs, ZFS, overlays)."""
    number = os.stat(path).st_dev
    real = host.target(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    return () if isinstance(real, Unread) else tuple(dict.fromkeys(_disks(host, real.rsplit("/", 1)[-1], 0)))


def _disks(host: Host, name: str, depth: int) -> Iterator[str]:
    base = f"/sys/class/block/{name}"
    slaves, real = host.entries(f"{base}/slaves"), host.target(base)
    if depth > DEPTH_LIMIT or isinstance(real, Unread):
        return
    if isinstance(slaves, tuple) and slaves:
        for slave in slaves:
            yield from _disks(host, slave, depth + 1)
    elif isinstance(host.text(f"{base}/partition"), str):
        yield from _disks(host, real.rsplit("/", 2)[-2], depth + 1)
    else:
        yield name


def file_system(host: Host, path: str) -> str:
    """Kind of the file system that a path is on, `ext4`; empty where that is not known."""
    text = host.text("/proc/self/mountinfo")
    real = os.path.realpath(path)
    best = ("", "")
    for mount in () if isinstance(text, Unread) else parse_mountinfo(text):
        root = mount.path.rstrip("/")
        if (real == root or real.startswith(f"{root}/")) and len(mount.path) >= len(best[0]):
            best = mount.path, mount.kind
    return best[1]
