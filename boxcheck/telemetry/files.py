"""Files of sysfs and procfs that are opened once and read again and again.

A `pread` at offset 0 makes the kernel compute the content anew (fs/seq_file.c, seq_read_iter), and costs a tenth of
opening the file each time. Opening wakes no device; reading may.
"""

from __future__ import annotations

import errno
import os

from boxcheck.host.common import from_errno, unread
from boxcheck.model import Unread

PAGE_BYTES = 4096
"""The most that one attribute of sysfs can hold."""
ASLEEP = frozenset({b"suspended", b"suspending"})
"""Words of power/runtime_status while a device is powered down (Documentation/ABI/testing/sysfs-devices-power)."""


class SysFile:
    """One file below `root`. What is not there when it is opened stays `absent`: devices bring all their files at once.

    `gone` turns True when the device that it belongs to was removed: ENODEV or ENXIO from a file that could be opened.
    """

    __slots__ = ("_bytes", "_fd", "_why", "gone", "path")

    def __init__(self, root: str, path: str, most_bytes: int = PAGE_BYTES) -> None:
        self.path = path
        self.gone = False
        self._bytes = most_bytes
        self._fd = -1
        self._why: Unread | None = None
        try:
            self._fd = os.open(root + path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._why = from_errno(error.errno, path)

    @property
    def absent(self) -> bool:
        return self._why is not None and self._why.kind == "absent"

    @property
    def opened(self) -> bool:
        return self._fd >= 0

    def read(self) -> bytes | Unread:
        """What the file holds now, at most `most_bytes` of it."""
        if self._why is not None:
            return self._why
        try:
            return os.pread(self._fd, self._bytes, 0)
        except OSError as error:
            return self._failed(error)

    def _failed(self, error: OSError) -> Unread:
        if error.errno in (errno.ENODEV, errno.ENXIO):
            self.gone = True
            return unread(self.path, "the device is gone", "error")
        if error.errno in (errno.EPERM, errno.EBUSY):
            # amdgpu_pm.c gives these while the card sleeps, is suspended or is being reset; no right is missing.
            return unread(self.path, "the driver does not answer now (asleep, or being reset)", "error")
        return from_errno(error.errno, self.path)

    def number(self) -> int | None | Unread:
        """The whole number in the file; None where there is no such file, or the driver says that it has no value."""
        return self.number_of(self.read())

    def number_of(self, data: bytes | Unread) -> int | None | Unread:
        """The same of what was read from it."""
        if isinstance(data, Unread):
            return None if self.absent or data.kind == "unsupported" else data
        try:
            return int(data)
        except ValueError:
            return unread(self.path, f"{data[:24]!r} is no number", "malformed")

    def count(self) -> int | None | Unread:
        """The same, for what no kernel lets fall below 0."""
        return self.count_of(self.read())

    def count_of(self, data: bytes | Unread) -> int | None | Unread:
        """The same of what was read from it."""
        value = self.number_of(data)
        return unread(self.path, f"{value} is no count", "malformed") if isinstance(value, int) and value < 0 else value

    def asleep(self) -> bool:
        """For a `power/runtime_status`: whether the device is powered down. What cannot be read is taken as awake."""
        data = self.read()
        return not isinstance(data, Unread) and data.strip() in ASLEEP

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._why = unread(self.path, "was closed", "error")


def names_in(root: str, path: str) -> tuple[str, ...] | Unread:
    """Names in a directory, sorted; Unread of kind `absent` where there is none."""
    try:
        return tuple(sorted(os.listdir(root + path)))
    except OSError as error:
        return from_errno(error.errno, path)


def text_of(root: str, path: str) -> str | Unread:
    """A file that is read just once: a label, a name."""
    file = SysFile(root, path)
    data = file.read()
    file.close()
    return data if isinstance(data, Unread) else data.decode("utf-8", "replace").strip()
