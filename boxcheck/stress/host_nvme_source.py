"""One drive or file, opened past the page cache, and how it is known that nobody wrote to it meanwhile.

Reads   the node or file with O_DIRECT (open(2)); /sys/class/block/<name>/{stat,inflight} (Documentation/block/stat.rst)
By hand sudo dd if=/dev/nvme0n1 of=/dev/null bs=1M count=4096 iflag=direct; cat /sys/block/nvme0n1/stat

The node is opened for reading only. A scratch file has no name from the moment it is made (O_TMPFILE, or unlinked at
once), so that nothing stays behind, however the test ends.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from contextlib import suppress

import msgspec
import numpy as np

from boxcheck.gpu import GpuError
from boxcheck.stress.host_child import Pulse
from boxcheck.stress.host_memory_patterns import CHUNK_BYTES, CHUNK_WORDS, Maker, Pattern

DIRECT = getattr(os, "O_DIRECT", 0)
WRITE_BYTES = 8 * CHUNK_BYTES
FREE_PART = 0.1
"""Of the free space of a file system that a scratch file may take."""
OLD_SECONDS = 1.0
"""A file's time stamp moves in ticks of up to 10 ms; one that is older than this shows every later write."""


class Mark(msgspec.Struct, frozen=True):
    """What tells whether somebody wrote between two moments."""

    written: tuple[int, ...]
    """Counts of what was written, or time stamp and size of a file."""
    reads: int
    """Reads that were counted; -1 where nobody counts them."""
    in_flight: int
    """Writes that were on their way; -1 where that is not known."""


class Source:
    """A drive, a file or a scratch file."""

    def __init__(self, path: str, kind: str, name: str, scratch_bytes: int, seed: int) -> None:
        self.path = path
        self.kind = kind
        self._name = name
        self.direct = True
        self.expected: Maker | None = None
        """What every byte of a scratch file is."""
        if kind == "scratch":
            self._make(scratch_bytes, seed)
        else:
            self._descriptor = self._open(os.O_RDONLY)
            self.size_bytes = os.lseek(self._descriptor, 0, os.SEEK_END)

    def _open(self, flags: int, path: str | None = None) -> int:
        """GpuError in words for what cannot be opened. Where O_DIRECT is refused it opens without, and says so."""
        path = self.path if path is None else path
        try:
            return os.open(path, flags | DIRECT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno == errno.EINVAL:
                self.direct = False
                return os.open(path, flags | os.O_CLOEXEC, 0o600)
            if error.errno in (errno.EACCES, errno.EPERM) and self.kind == "device" and os.geteuid() != 0:
                raise GpuError("forbidden", f"reading {path} needs root", "sudo boxcheck stress run nvme") from None
            if error.errno in (errno.EACCES, errno.EPERM):
                why = "refused to root: a container's devices, or a security policy" if self.kind == "device" else ""
                raise GpuError("forbidden", f"{path}: {why or error.strerror}") from None
            here = ", as in a container" if error.errno == errno.ENOENT and self.kind == "device" else ""
            raise GpuError("unsupported", f"{path}: {error.strerror}{here}") from None

    def _make(self, asked_bytes: int, seed: int) -> None:
        try:
            space = os.statvfs(self.path)
            free = int(space.f_bavail * space.f_frsize * FREE_PART)
            self.size_bytes = min(asked_bytes, free) // WRITE_BYTES * WRITE_BYTES
            if not self.size_bytes:
                raise GpuError("out-of-memory", f"{self.path} has too little free space for a scratch file")
            try:
                self._descriptor = os.open(self.path, os.O_TMPFILE | os.O_RDWR | DIRECT | os.O_CLOEXEC, 0o600)
            except OSError:  # a file system without O_TMPFILE or O_DIRECT
                descriptor, path = tempfile.mkstemp(prefix=".boxcheck-scratch-", dir=self.path)
                try:
                    self._descriptor = self._open(os.O_RDWR, path)
                finally:
                    os.unlink(path)
                    os.close(descriptor)
        except OSError as error:
            raise GpuError("forbidden", f"{self.path}: no scratch file can be made: {error.strerror}") from None
        self.expected = Maker(Pattern("keyed", seed & 0xFFFFFFFF), 0, self.size_bytes // CHUNK_BYTES)

    def fill(self, pulse: Pulse) -> None:
        """Writes the content of a scratch file, and waits until the drive has it. GpuError where that fails."""
        assert self.expected is not None
        with buffer(WRITE_BYTES) as memory:
            whole = np.frombuffer(memory, np.uint64)
            try:
                for offset in range(0, self.size_bytes, WRITE_BYTES):
                    for number in range(WRITE_BYTES // CHUNK_BYTES):
                        part = whole[number * CHUNK_WORDS:(number + 1) * CHUNK_WORDS]
                        self.expected.into(offset // CHUNK_BYTES + number, part)
                    if os.pwrite(self._descriptor, memory, offset) != WRITE_BYTES:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    pulse.alive()
                    if pulse.stopping:
                        break
                os.fsync(self._descriptor)
            except OSError as error:
                raise GpuError("error", f"{self.path}: a scratch file is not written: {error.strerror}") from None
            finally:
                del whole, part

    def read(self, memory: mmap.mmap, offset: int) -> int:
        """Bytes read. OSError as the kernel says it."""
        return os.preadv(self._descriptor, [memory], offset)

    def forget(self) -> None:
        """Takes what was read out of the page cache, where that is in between."""
        if not self.direct:
            with suppress(OSError):
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def mark(self) -> Mark | None:
        """The state of its counters now; None where nobody counts."""
        if self.kind == "device":
            return device_mark(f"/sys/class/block/{self._name}")
        state = os.fstat(self._descriptor)
        return Mark((state.st_mtime_ns, state.st_ctime_ns, state.st_size), -1, 0)


def buffer(size_bytes: int) -> mmap.mmap:
    """Memory that O_DIRECT takes: whole pages."""
    return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def device_mark(base: str) -> Mark | None:
    """Counters of a whole drive: reads (field 1), writes and written sectors (5 and 7), discards and discarded sectors
    (12 and 14, since Linux 4.19), and writes in flight (inflight, second number)."""
    try:
        with open(f"{base}/stat") as file:
            fields = [int(word) for word in file.read().split()]
        with open(f"{base}/inflight") as file:
            in_flight = int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    if len(fields) < 11:
        return None
    return Mark((fields[4], fields[6], *fields[11:14:2]), fields[0], in_flight)


def untouched(first: Mark | None, last: Mark | None, kind: str, now_seconds: float) -> bool:
    """Whether it is certain that nobody wrote between two marks. Reads of our own lay between them: where these were
    not counted (queue/iostats is 0, or the head of a drive with several paths on older kernels), writes were not."""
    if first is None or last is None or first.written != last.written:
        return False
    if kind == "device":
        return last.reads > first.reads and first.in_flight == last.in_flight == 0
    return now_seconds - first.written[0] / 1e9 > OLD_SECONDS
