"""PCI links on the way to a GPU: speed, width and AER counters of each function from the root port down.

Reads   /sys/bus/pci/devices/<bdf>/{current_link_speed,current_link_width,aer_dev_*,power/runtime_status}, and of the
        root port aer_rootport_total_err_nonfatal                                                          (any user)
Since   aer_dev_* Linux 4.19
Absent  link files on functions without PCI Express, aer_dev_* without AER
By hand grep . /sys/bus/pci/devices/0000:41:00.0/{current_link_*,aer_dev_correctable}

Since Linux 6.13 reading a link's speed wakes a device that sleeps (pci-sysfs.c), so a sleeping one is not asked; AER
counters are the kernel's own memory. A card that fell off the bus answers all ones: width 63 and an unknown speed; once
the kernel has noticed, its files give EINVAL.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from boxcheck.decode.pci_aer import (
    AER_CORRECTABLE,
    AER_CORRECTABLE_BIT,
    AER_UNCORRECTABLE,
    AER_UNCORRECTABLE_BIT,
)
from boxcheck.model import Bdf, Unread
from boxcheck.probes.pci import parse_bdf, parse_speed_gts
from boxcheck.probes.pcie_aer import OLDEST_FATES, SIGNAL, is_advisory, parse_counters
from boxcheck.telemetry.files import SysFile
from boxcheck.telemetry.readings import Count, Counts, LinkReading

DEVICES = "/sys/bus/pci/devices"
ALL_ONES_WIDTH = 63
"""The six bits of Negotiated Link Width (PCI Express Base Specification, 7.5.3.8), all set."""
INVALID = "invalid argument"
"""Words of `host.common` for EINVAL."""
SLEEPING = Unread("the device sleeps, and reading its link would wake it", "unsupported")


def ports_above(root: str, bdf: Bdf) -> tuple[Bdf, ...]:
    """The bridges above a function, root port first, and the function itself, which is all where it is unknown."""
    real = os.path.realpath(f"{root}{DEVICES}/{bdf}")
    above = [port for part in real.split("/") if (port := parse_bdf(part)) is not None and port != bdf]
    return (*above, bdf)


class _Counters:
    """One `aer_dev_*` file."""

    def __init__(self, root: str, path: str, spellings: Mapping[str, int], names: Mapping[int, str],
                 needed: Iterable[str]) -> None:
        self.file = SysFile(root, path)
        self._spellings, self._names, self._needed = spellings, names, tuple(needed)

    def counts(self, data: bytes | Unread) -> Counts | None:
        """What the file told."""
        if isinstance(data, Unread):
            return None if self.file.absent else data
        counts = parse_counters(data.decode("ascii", "replace"), self._spellings, self._names, self._needed)
        return counts if isinstance(counts, Unread) else tuple(
            Count(name, count) for name, count in counts.items())


class Port:
    """One function's files. They rarely change, so what tells the same as before is not parsed again."""

    def __init__(self, root: str, bdf: Bdf) -> None:
        base = f"{DEVICES}/{bdf}"
        self.bdf = bdf
        self._there = os.path.isdir(root + base)
        self._status = SysFile(root, f"{base}/power/runtime_status")
        self._speed = SysFile(root, f"{base}/current_link_speed")
        self._width = SysFile(root, f"{base}/current_link_width")
        self._correctable = _Counters(
            root, f"{base}/aer_dev_correctable", AER_CORRECTABLE_BIT, AER_CORRECTABLE, SIGNAL)
        self._nonfatal, self._fatal = (
            _Counters(root, f"{base}/aer_dev_{kind}", AER_UNCORRECTABLE_BIT, AER_UNCORRECTABLE, OLDEST_FATES)
            for kind in ("nonfatal", "fatal"))
        self._messages = SysFile(root, f"{DEVICES}/{ports_above(root, bdf)[0]}/aer_rootport_total_err_nonfatal")
        """What arrived at the root port from everything below it."""
        self._link_files = (self._speed, self._width)
        # The kernel counts an error at the root port before it does at the device. Read in the opposite order, a real
        # one never looks like an advisory one.
        self._counter_files = (self._nonfatal.file, self._fatal.file, self._correctable.file, self._messages)
        self._raw: tuple[bytes | Unread, ...] = ()
        self._parsed: LinkReading | None = None
        """Of `_raw`."""

    @property
    def _files(self) -> tuple[SysFile, ...]:
        """Its own, not those of its root port."""
        return (self._status, *self._link_files, self._correctable.file, self._nonfatal.file, self._fatal.file)

    def read(self, monotonic_seconds: float) -> LinkReading:
        if not self._there:
            missing = Unread(f"{self.bdf} was not there when the watch began", "error")
            return LinkReading(
                bdf=self.bdf, monotonic_seconds=monotonic_seconds, speed_gts=missing, width=missing,
                correctable=missing, nonfatal=missing, fatal=missing, gone=True)
        link = [SLEEPING, SLEEPING] if self._status.asleep() else [file.read() for file in self._link_files]
        raw = (*link, *[file.read() for file in self._counter_files])
        known = self._parsed
        if known is None or raw != self._raw or (self._status.gone and not known.gone):
            known = self._parse(monotonic_seconds, *raw)
            self._raw, self._parsed = raw, known
        return LinkReading(
            bdf=self.bdf, monotonic_seconds=monotonic_seconds, speed_gts=known.speed_gts, width=known.width,
            correctable=known.correctable, nonfatal=known.nonfatal, fatal=known.fatal, gone=known.gone)

    def _parse(
        self, now: float, speed: bytes | Unread, width: bytes | Unread, nonfatal: bytes | Unread,
        fatal: bytes | Unread, correctable: bytes | Unread, messages: bytes | Unread,
    ) -> LinkReading:
        asleep = speed is SLEEPING
        gigatransfers, lanes, ones = (SLEEPING, SLEEPING, False) if asleep else self._link(speed, width)
        corrected, nonfatal_counts = self._correctable.counts(correctable), self._nonfatal.counts(nonfatal)
        if is_advisory(_by_name(nonfatal_counts), _by_name(corrected), self._messages.count_of(messages)):
            nonfatal_counts = tuple(Count(name, 0) for name in _by_name(nonfatal_counts))
        return LinkReading(
            bdf=self.bdf, monotonic_seconds=now, speed_gts=gigatransfers, width=lanes, correctable=corrected,
            nonfatal=nonfatal_counts, fatal=self._fatal.counts(fatal),
            gone=ones or any(file.gone for file in self._files))

    def _link(
        self, data: bytes | Unread, lanes: bytes | Unread
    ) -> tuple[float | Unread | None, int | Unread | None, bool]:
        """Speed, width, and whether the registers read all ones."""
        width = self._width.count_of(lanes)
        if isinstance(data, Unread):
            if self._speed.absent:
                return None, width, False
            dead = isinstance(width, Unread) and data.why.endswith(INVALID) and width.why.endswith(INVALID)
            return data, width, dead
        text = data.decode("ascii", "replace").strip()
        speed = parse_speed_gts(text)
        if width == ALL_ONES_WIDTH and speed is None:
            ones = Unread(f"the link registers of {self.bdf} read all ones", "error")
            return ones, ones, True
        return speed or Unread(f"{self._speed.path}: {text[:24]!r} is no speed", "malformed"), width, False

    def close(self) -> None:
        for file in (*self._files, self._messages):
            file.close()


def _by_name(counts: Counts | None) -> dict[str, int]:
    return {one.name: one.count for one in counts if isinstance(one.count, int)} if isinstance(counts, tuple) else {}
