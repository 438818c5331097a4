"""A disk that outlives its guest, and every power cut that it could have suffered: all that was written to it, in order.

QEMU's blklogwrites keeps each write and each flush in the format of the kernel's dm-log-writes
(Documentation/admin-guide/device-mapper/log-writes.rst). A disk after a power cut holds all that was flushed, and of what
was written since any part: so one boot gives as many cuts as it has moments, harder ones than killing QEMU would give,
whose host still holds what no flush asked for.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kernel.cache import Unavailable

SECTOR = 512
MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD = 1, 2, 4
SIZE_MIB = 64
TOOLS = ("mke2fs", "e2fsck", "debugfs")
FIXED = (0, 1)
"""e2fsck's exit codes of a file system that is sound now (e2fsck(8))."""


@dataclass(frozen=True)
class Write:
    sector: int
    data: bytes
    flags: int
    end: int
    """Where it ends in the log, in bytes."""


def _tool(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        raise Unavailable(f"{name} is not installed (e2fsprogs)")
    return found


class Disk:
    """An ext4 file system in a file, and the log of what a guest writes to it."""

    def __init__(self, folder: Path) -> None:
        for name in TOOLS:
            _tool(name)
        self.image, self.log, self.empty = folder / "disk", folder / "disk.log", folder / "disk.empty"
        with open(self.empty, "wb") as stream:
            stream.truncate(SIZE_MIB << 20)
        subprocess.run([_tool("mke2fs"), "-q", "-F", "-t", "ext4", str(self.empty)], check=True, timeout=60)
        shutil.copyfile(self.empty, self.image)

    def arguments(self, *, logged: bool) -> tuple[str, ...]:
        """QEMU's words. The log begins anew with each guest, so what it tells starts from the image as it is now."""
        words = ["-blockdev", f"driver=file,filename={self.image},node-name=image"]
        node = "image"
        if logged:
            shutil.copyfile(self.image, self.empty)
            self.log.write_bytes(b"")
            words += ["-blockdev", f"driver=file,filename={self.log},node-name=log",
                      "-blockdev", "driver=blklogwrites,file=image,log=log,node-name=logged"]
            node = "logged"
        return (*words, "-device", f"virtio-blk-pci,drive={node},bus=pcie.0,addr=0x1c,disable-legacy=on")

    def written(self) -> int:
        """Bytes of the log so far. What was acknowledged before is in there."""
        return self.log.stat().st_size

    def writes(self) -> Iterator[Write]:
        data = self.log.read_bytes()
        if len(data) < SECTOR:
            return
        magic, version = struct.unpack_from("<QQ", data)
        assert (magic, version) == (MAGIC, 1), f"the log begins with {data[:16].hex()}"
        at = SECTOR
        while at + SECTOR <= len(data):
            sector, sectors, flags, length = struct.unpack_from("<QQQQ", data, at)
            payload = 0 if flags & DISCARD else sectors * SECTOR
            if flags & ~(FLUSH | FUA | DISCARD) or length > len(data) or at + SECTOR + payload > len(data):
                return  # the end of a log that nobody closed
            if not (sector or sectors or flags):
                return
            yield Write(sector, data[at + SECTOR:at + SECTOR + payload] if payload else bytes(sectors * SECTOR), flags,
                        at + SECTOR + payload)
            at += SECTOR + payload

    def after_cut(self, at_least: int, chance: random.Random, out: Path) -> int:
        """The disk as a cut leaves it at some moment after `at_least` bytes of the log, in `out`: what was flushed by then,
        and of the rest some sectors. Gives how many writes were torn or lost."""
        every = list(self.writes())
        first = next((number for number, one in enumerate(every) if one.end >= at_least), len(every) - 1)
        last = min(len(every), first + 1 + int(chance.expovariate(1 / 8)))
        flushed = max((number for number, one in enumerate(every[:last]) if one.flags & FLUSH), default=-1)
        shutil.copyfile(self.empty, out)
        lost = 0
        with open(out, "r+b") as stream:
            for number, one in enumerate(every[:last]):
                kept = number <= flushed or one.flags & FUA
                part = one.data if kept or not one.data else _torn(one.data, chance)
                lost += len(part) < len(one.data)
                stream.seek(one.sector * SECTOR)
                stream.write(part)
        return lost


def _torn(data: bytes, chance: random.Random) -> bytes:
    """All of a write, nothing of it, or its first sectors."""
    way = chance.random()
    if way < 0.4:
        return data
    return b"" if way < 0.7 else data[:SECTOR * chance.randrange(len(data) // SECTOR)]


def recovered(image: Path, path: str, out: Path) -> Path:
    """What a start after the cut finds below `path`: the journal is replayed as the kernel would, then it is copied."""
    done = subprocess.run([_tool("e2fsck"), "-f", "-y", str(image)], capture_output=True, text=True, timeout=60)
    assert done.returncode in FIXED, done.stdout[-2000:]
    out.mkdir(parents=True)
    done = subprocess.run(
        [_tool("debugfs"), "-R", f"rdump {path} {out}", str(image)], capture_output=True, text=True, timeout=60)
    return out / Path(path).name
