"""Config space and sysfs attributes of the live machine, read and written one register at a time.

Reads   /sys/bus/pci/devices/<bdf>/config (beyond 64 bytes: root), attributes below /sys
Writes  the same, as root and where the kernel is not locked down; never a file outside /sys
By hand setpci -s 40:01.1 CAP_EXP+0x30.w

One pread or pwrite of exactly 1, 2 or 4 aligned bytes is one access of that width; the kernel splits all others
(drivers/pci/pci-sysfs.c, pci_write_config). It answers EPERM to a write under lockdown, after it has let root open
the file, and refuses others at opening.

A file of sysfs may hang in the kernel: a device that does not come out of D3cold, or is being reset. So each access
runs on a thread, and is given up after a time. A write that was given up may still be made when the kernel lets go;
until then nothing more is asked of its function, so that no late write falls upon a later one.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from typing import Literal, Protocol

from boxcheck.host.common import errno_name, from_errno_name, not_a_path, one_line, unread
from boxcheck.host.errands import Errands, StillHanging
from boxcheck.host.refused import Refused, RefusedKind, Size
from boxcheck.model import Bdf, Unread

Lockdown = Literal["none", "integrity", "confidentiality"]

DEVICES = "/sys/bus/pci/devices"
LOCKDOWN = "/sys/kernel/security/lockdown"
ATTRIBUTE_BYTES = 4096
"""A sysfs attribute is one page at most (Documentation/filesystems/sysfs.rst)."""
ACCESS_SECONDS = 5.0
"""A card takes up to 1 s to leave D3cold (PCIe Base 6.6.1); the kernel gives it 60 s at the worst."""
SETTING_SECONDS = 15.0
"""An attribute may retrain a link, for which the kernel waits 1 s each time (drivers/pci/pci.c, pcie_retrain_link)."""

_BDF = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_SAYS = "this kernel is locked down (Secure Boot): it lets nobody write to config space, not even root"
LOCKED_HELP = "switch Secure Boot off in the BIOS, or boot without lockdown=, for the length of the experiment"
ROOT_HELP = "run it with sudo"


class Asked(Protocol):
    """The part of `boxcheck.riser.links.ports.Ports` that tells whether writes are let through."""

    def attribute(self, path: str) -> str | Unread: ...

    def writable(self, bdf: Bdf) -> Refused | None: ...


def lockdown_state(ports: Asked) -> Lockdown | Unread:
    """Whether the kernel is locked down. Unread where securityfs is not mounted, or the kernel knows no lockdown
    (before 5.4): then the first write tells."""
    text = ports.attribute(LOCKDOWN)
    if isinstance(text, Unread):
        return text
    chosen = re.search(r"\[(none|integrity|confidentiality)\]", text)
    if chosen is None:
        return Unread(f"{LOCKDOWN} says {one_line(text, 60)!r}", "malformed")
    return chosen[1]  # type: ignore[return-value]


def may_write(ports: Asked, *functions: Bdf) -> Refused | None:
    """Why config space of these functions cannot be written, found without a write; None where nothing is known against
    it. Who owns AER makes no difference."""
    for bdf in functions:
        refused = ports.writable(bdf)
        if refused is not None:
            return refused
    state = lockdown_state(ports)
    return Refused("lockdown", f"{_SAYS} (lockdown={state})", LOCKED_HELP) if state in (
        "integrity", "confidentiality") else None


class LivePorts:
    """Fulfils `boxcheck.riser.links.ports.Ports` on this machine."""

    def __init__(self, root: str = "", access_seconds: float = ACCESS_SECONDS) -> None:
        """`root`: a directory that holds `sys`, for trials; empty: this machine."""
        self._root = os.path.realpath(root) if root else ""
        self._sys = f"{self._root}/sys"
        self.access_seconds = access_seconds
        self._threads = Errands()

    def read(self, bdf: Bdf, offset: int, size_bytes: Size) -> int | Unread:
        path = self._config(bdf, offset, size_bytes)

        def work() -> bytes:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.pread(file, size_bytes, offset)
            finally:
                os.close(file)

        try:
            data = self._threads.call(bdf, work, self.access_seconds)
        except TimeoutError:
            return Unread(f"{bdf}: config space did not answer in {self.access_seconds:g} s", "timeout")
        except OSError as error:
            words, kind = from_errno_name(errno_name(error.errno))
            return Unread(f"{bdf}: {'it left the bus' if kind == 'absent' else words}", kind)
        if len(data) != size_bytes:
            # Without CAP_SYS_ADMIN reads end after 64 bytes, those of a function without extended space after 256.
            if offset >= 256 and os.geteuid() == 0:
                return Unread(f"{bdf} has no register at {offset:#x}", "unsupported")
            return Unread(f"{bdf}: config space beyond its header needs root", "permission")
        return int.from_bytes(data, "little")

    def write(self, bdf: Bdf, offset: int, size_bytes: Size, value: int) -> None:
        path = self._config(bdf, offset, size_bytes)
        data = value.to_bytes(size_bytes, "little")

        def work() -> int:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                return os.pwrite(file, data, offset)
            except PermissionError as error:
                raise _LockedOut from error
            finally:
                os.close(file)

        where = f"register {offset:#x} of {bdf}"
        try:
            written = self._threads.call(bdf, work, self.access_seconds)
        except _LockedOut:
            raise Refused("lockdown", f"{where} was not written: {_SAYS}", LOCKED_HELP) from None
        except StillHanging:
            raise _unasked(where) from None
        except TimeoutError:
            raise Refused(
                "error", f"a write to {where} did not come back in {self.access_seconds:g} s: nobody knows whether it"
                " was made", "reboot; if it stays so, power off for a minute") from None
        except OSError as error:
            raise _refused(where, error) from None
        if written != size_bytes:
            raise Refused("error", f"{where}: {written} of {size_bytes} bytes were written")

    def writable(self, bdf: Bdf) -> Refused | None:
        path = self._config(bdf, 0, 1)
        try:
            self._threads.call(bdf, lambda: os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC)), self.access_seconds)
        except TimeoutError:
            return Refused("gone", f"{bdf}: config space did not answer in {self.access_seconds:g} s")
        except OSError as error:
            return _refused(f"config space of {bdf}", error)
        return None

    def attribute(self, path: str) -> str | Unread:
        real = self._below_sys(path)
        if real is None:
            return unread(path, "not below /sys", "malformed")

        def work() -> bytes | None:
            file = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return os.read(file, ATTRIBUTE_BYTES) if stat.S_ISREG(os.fstat(file).st_mode) else None
            finally:
                os.close(file)

        try:
            data = self._threads.call(_device_of(real), work, self.access_seconds)
        except TimeoutError:
            return unread(path, "no answer in time", "timeout")
        except OSError as error:
            return unread(path, *from_errno_name(errno_name(error.errno)))
        if data is None:
            return unread(path, "not a regular file", "error")
        return data.decode("utf-8", "replace").strip()

    def set_attribute(self, path: str, text: str) -> None:
        real = self._below_sys(path)
        if real is None:
            raise Refused("unsupported", f"{one_line(path)} was not written: it is not below /sys")
        data = text.encode("ascii")

        def work() -> int:
            file = os.open(real, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # File systems that are mounted below /sys (debugfs, cgroups, firmware variables) are none of ours.
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode) or status.st_dev != os.stat(self._sys).st_dev:
                    raise OSError(errno.ENOENT, "not an attribute of sysfs")
                return os.write(file, data)
            finally:
                os.close(file)

        try:
            written = self._threads.call(_device_of(real), work, SETTING_SECONDS)
        except StillHanging:
            raise _unasked(path) from None
        except TimeoutError:
            raise Refused(
                "error", f"{path}: writing {text!r} did not come back in {SETTING_SECONDS:g} s: nobody knows whether it"
                " took effect", "reboot; if it stays so, power off for a minute") from None
        except OSError as error:
            raise _refused(path, error) from None
        if written != len(data):
            raise Refused("error", f"{path}: {written} of {len(data)} bytes were written")

    def seconds(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))

    def _config(self, bdf: Bdf, offset: int, size_bytes: int) -> str:
        """Path of a function's config space. ValueError for what is no access at all: a mistake of the caller."""
        if not _BDF.fullmatch(bdf):
            raise ValueError(f"{one_line(bdf)!r} is no PCI address")
        if size_bytes not in (1, 2, 4) or offset % size_bytes or not 0 <= offset <= 4096 - size_bytes:
            raise ValueError(f"no access of {size_bytes} bytes at {offset:#x}")
        return f"{self._root}{DEVICES}/{bdf}/config"

    def _below_sys(self, path: str) -> str | None:
        """The real path of an attribute; None where it is, or its links lead, outside /sys."""
        if not_a_path(path) or not path.startswith("/sys/") or ".." in path.split("/"):
            return None
        real = os.path.realpath(self._root + path)
        return real if real.startswith(f"{self._sys}/") else None


def _unasked(where: str) -> Refused:
    return Refused("busy", f"{where} was not written: an earlier access has not come back from the kernel",
                   "wait a minute; if it stays so, reboot")


class _LockedOut(Exception):
    """EPERM of a write to a file that could be opened for it."""


_REFUSALS: dict[int, RefusedKind] = {
    errno.EACCES: "permission", errno.EPERM: "permission", errno.EROFS: "permission",
    errno.ENODEV: "gone", errno.ENXIO: "gone", errno.ENOENT: "gone",
    errno.EAGAIN: "busy", errno.EBUSY: "busy", errno.EOPNOTSUPP: "unsupported",
}


def _refused(where: str, error: OSError) -> Refused:
    """What an OSError of a file below /sys means."""
    kind = _REFUSALS.get(error.errno or 0, "error")
    words = from_errno_name(errno_name(error.errno))[0]
    if kind == "permission" and os.geteuid() != 0:
        return Refused(kind, f"{where} can be written by root alone", ROOT_HELP)
    if error.errno == errno.EROFS:
        return Refused(kind, f"{where} cannot be written: /sys is mounted read-only, as in a container",
                       "run it on the machine itself")
    if error.errno == errno.ENOENT and not where.startswith("/sys/"):
        return Refused("gone", f"{where}: no such device; it left the bus")
    if error.errno == errno.ENOENT:
        return Refused("unsupported", f"{where}: this kernel has no such attribute")
    if kind == "gone":
        return Refused(kind, f"{where}: the device left the bus")
    return Refused(kind, f"{where} was not written: {words}")


_FUNCTION = re.compile(r"/([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?=/)")


def _device_of(real: str) -> str:
    """What hangs together: a function's files and its config space, else the file alone."""
    found = _FUNCTION.findall(real)
    return found[-1] if found else real
