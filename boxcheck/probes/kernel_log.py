"""The kernel's log of this boot and the one before, read through one parser, and what a crash left behind.

Reads   /dev/kmsg or `journalctl -k -b 0` (root where kernel.dmesg_restrict is 1, the default of most distributions),
        `journalctl -k -b -1` (group adm or systemd-journal), /proc/uptime, names in /sys/fs/pstore (root) and
        /var/lib/systemd/pstore, /proc/sys/kernel/osrelease
Absent  the log of the previous boot where journald keeps none on disk
By hand sudo dmesg; sudo journalctl -k -b -1

The ring buffer is finite: on a machine that logs much it no longer holds the start of the boot; `from_boot` tells.
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.klog import KernelLog, parse_log
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.attributes import parse_uptime
from boxcheck.registry import probe

PSTORE = ("/sys/fs/pstore", "/var/lib/systemd/pstore")


class KernelLogs(msgspec.Struct, frozen=True):
    this_boot: KernelLog | Unread
    previous_boot: KernelLog | Unread
    uptime_seconds: float | Unread
    """When the log was read, so that an event can be said to be `3 h 12 min ago`."""
    crash_records: tuple[str, ...] | Unread
    """Paths of what a kernel saved while it died."""
    release: str | Unread = Unread("the running kernel's release was not asked", "not-captured")
    recorded: bool = True
    """boxcheck read the log, here or for its own capture: it ends when the machine was read. False: somebody saved a
    file, and /var/log/dmesg is where several distributions keep the first seconds of a boot only."""


def _crash_records(host: Host) -> tuple[str, ...] | Unread:
    found: list[str] = []
    unread: Unread | None = None
    for directory in PSTORE:
        names = host.entries(directory)
        if isinstance(names, Unread):
            unread = names if unread is None and names.kind != "absent" else unread
            continue
        found += [f"{directory}/{name}" for name in names]
    return tuple(found) if found or unread is None else unread


@probe("kernel_log", KernelLogs)
def kernel_log(host: Host) -> KernelLogs:
    this, previous, uptime = host.kernel_log(0), host.kernel_log(-1), host.text("/proc/uptime")
    return KernelLogs(
        this_boot=this if isinstance(this, Unread) else parse_log(this),
        previous_boot=previous if isinstance(previous, Unread) else parse_log(previous),
        uptime_seconds=uptime if isinstance(uptime, Unread) else parse_uptime(uptime),
        crash_records=_crash_records(host),
        release=host.text("/proc/sys/kernel/osrelease"),
        recorded=host.live or bool(getattr(host, "ours", False)),
    )
