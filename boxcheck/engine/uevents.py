"""What the kernel tells of devices as they come and go, through pyudev.

Reads   the netlink socket NETLINK_KOBJECT_UEVENT, subsystems pci, drm and nvme                          (any user)
Absent  without libudev or pyudev, where the socket may not be opened, and silent in most containers: the kernel sends
        only into the network namespace that is the machine's own. Whoever counts on it looks at the bus as well.
By hand udevadm monitor --kernel --subsystem-match=pci

The kernel's own messages are read, not those of udevd: they come also where udevd does not run, and before its rules.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import Any

import msgspec

from boxcheck.model import Bdf, Unread
from boxcheck.probes.pci import parse_bdf

SUBSYSTEMS = ("pci", "drm", "nvme")
MOST_AT_ONCE = 2000
MADE_UP = "SYNTH_UUID"
"""Property of an event that somebody made by writing to a `uevent` file (`udevadm trigger`; Documentation/ABI/testing/
sysfs-uevent): nothing came or left."""
CARD = re.compile(r"card\d+|nvme\d+|renderD\d+")
"""Devices of drm and nvme that stand for a whole one; `card0-DP-1` is a connector."""


class Uevent(msgspec.Struct, frozen=True):
    action: str
    """`add`, `remove`, `change`, `bind`, `unbind`."""
    subsystem: str
    bdf: Bdf
    """The PCI function: itself, or what it hangs on."""
    name: str = ""
    """`card0`, `nvme0`; empty for a PCI function."""


class Uevents:
    """Opened once; `read` gives what has come since, and never waits."""

    def __init__(self, opened: Callable[[], Any] | None = None) -> None:
        """`opened` makes the monitor; tests put in their own."""
        self.unread: Unread | None = None
        """Why there are none."""
        self.lost = 0
        """How often the kernel had more to tell than the socket held."""
        self._monitor: Any = None
        try:
            self._monitor = (opened or _open)()
        except ImportError:
            self.unread = Unread("pyudev or libudev is not installed", "unsupported")
        except Exception as error:  # noqa: BLE001  the first use of a library that may be of any version
            self.unread = Unread(f"uevents are not to be had: {str(error) or type(error).__name__}", "error")

    def read(self) -> list[Uevent]:
        found: list[Uevent] = []
        for _ in range(MOST_AT_ONCE):
            if self._monitor is None:
                break
            try:
                device = self._monitor.poll(timeout=0)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    self.lost += 1
                    continue
                self.unread = Unread(f"uevents came to an end: {error.strerror or error}", "error")
                self._monitor = None
                break
            if device is None:
                break
            one = uevent_of(device.action, device.subsystem, device.device_path)
            if one is not None and not device.properties.get(MADE_UP):
                found.append(one)
        return found

    def close(self) -> None:
        self._monitor = None


def uevent_of(action: str | None, subsystem: str | None, path: str) -> Uevent | None:
    """A uevent by its words; None for what is no device that is followed. `path` is below /sys:
    `/devices/pci0000:40/0000:40:01.1/0000:41:00.0/drm/card0`."""
    parts = [part for part in path.split("/") if part]
    above = [bdf for part in parts if (bdf := parse_bdf(part)) is not None]
    if not action or subsystem not in SUBSYSTEMS or not above:
        return None
    if subsystem == "pci":
        return Uevent(action, subsystem, above[-1]) if parse_bdf(parts[-1]) is not None else None
    return Uevent(action, subsystem, above[-1], parts[-1]) if CARD.fullmatch(parts[-1]) else None


def _open() -> Any:
    import pyudev

    monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
    for subsystem in SUBSYSTEMS:
        monitor.filter_by(subsystem)
    monitor.start()
    return monitor
