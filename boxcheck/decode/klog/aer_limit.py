"""How many errors the kernel logs of one device: since Linux 6.16 ten of a kind within five seconds.

The rest is counted, and not logged. How many that were it tells ("aer_ratelimit: 30 callbacks suppressed") when the
device's next error comes after that, so never of the last burst. Where ten were logged within five seconds, more may
have happened.
Source: Documentation/ABI/testing/sysfs-bus-pci-devices-aer (since when, and how many), lib/ratelimit.c (the window
begins with its first error), drivers/pci/pcie/aer.c (fatal errors are not limited).
"""

from __future__ import annotations

from boxcheck.decode.version import at_least, parse_release

from .ledger import Fold, Ledger
from .words import forget_oldest

SINCE = (6, 16)
BURST, INTERVAL_SECONDS = 10, 5.0
_UNLIMITED = 2 * BURST
"""More than so many within the interval are of no kernel that limits: a log may begin within a window and hold two."""
_MANY = 1024
"""Devices that are watched at once."""

_Device = tuple[int, str, str | None]
"""Boot, kind, address."""


def is_limited(release: str) -> bool:
    """Whether a kernel of this release (`uname -r`) limits what it logs of a device's errors."""
    found = parse_release(release)
    return found is not None and at_least(found.numbers, SINCE)


class _Window:
    __slots__ = ("began", "logged", "most")

    def __init__(self) -> None:
        self.began: float | None = None
        self.logged = 0
        self.most = 0


class Limit:
    """Which devices reached the limit."""

    def __init__(self) -> None:
        self._windows: dict[_Device, _Window] = {}

    def logged(self, fold: Fold, seconds: float | None) -> None:
        """A record of an error. Without a time since boot all of a device count as one window."""
        device = fold.boot, fold.kind, fold.bdf
        window = self._windows.get(device)
        if window is None:
            forget_oldest(self._windows, _MANY)
            window = self._windows[device] = _Window()
        if seconds is not None and (window.began is None or not 0 <= seconds - window.began <= INTERVAL_SECONDS):
            window.began, window.logged = seconds, 0
        window.logged += 1
        window.most = max(window.most, window.logged)

    def finish(self, out: Ledger) -> None:
        """Mark the events of devices that reached it."""
        for fold in out.of_kind("aer-correctable", "aer-nonfatal"):
            window = self._windows.get((fold.boot, fold.kind, fold.bdf))
            if not out.limits_log or window is None:
                continue
            if window.most >= BURST and (window.most <= _UNLIMITED or window.began is None):
                fold.details["limited"] = True
        self._windows.clear()
