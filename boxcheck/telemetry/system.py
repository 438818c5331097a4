"""The host in one reading: how busy, how warm, how fast, how much power and memory.

Reads   /proc/stat, /proc/meminfo, and what `cpu` and `rapl` read
By hand top; grep MemAvailable /proc/meminfo
"""

from __future__ import annotations

import re

from boxcheck.model import Unread
from boxcheck.telemetry.cpu import CoreClocks, Temperatures, Throttles, first_siblings
from boxcheck.telemetry.files import SysFile
from boxcheck.telemetry.rapl import Rapl
from boxcheck.telemetry.readings import HostReading


class HostReader:
    """The host's files, opened once. Load and power are those since the reading before; the first has none."""

    def __init__(self, root: str) -> None:
        cores = first_siblings(root)
        self._stat = SysFile(root, "/proc/stat", 512)
        self._meminfo = SysFile(root, "/proc/meminfo", 1024)
        self._clocks, self._throttles = CoreClocks(root, cores), Throttles(root, cores)
        self._temperatures, self._rapl = Temperatures(root), Rapl(root)
        self._before: tuple[int, int] | None = None

    def read(self, monotonic_seconds: float) -> HostReading:
        memory = self._meminfo.read()
        return HostReading(
            monotonic_seconds=monotonic_seconds, cpu_power_watts=self._rapl.read(monotonic_seconds),
            cpu_clocks=self._clocks.read(), cpu_temperatures_celsius=self._temperatures.read(),
            cpu_busy_percent=self._busy(), memory_available_bytes=_kibibytes(memory, "MemAvailable"),
            memory_total_bytes=_kibibytes(memory, "MemTotal"), core_throttles=self._throttles.cores(),
            package_throttles=self._throttles.packages())

    def _busy(self) -> float | Unread:
        data = self._stat.read()
        times = data if isinstance(data, Unread) else cpu_times(data)
        if isinstance(times, Unread):
            return times
        before, self._before = self._before, times
        if before is None:
            return Unread("how busy the processors are needs two readings", "one-reading")
        busy, total = times[0] - before[0], times[1] - before[1]
        if total <= 0 or not 0 <= busy <= total:  # ticks of 10 ms; iowait may run back (Documentation/filesystems/proc)
            return Unread("/proc/stat has not moved on since the reading before", "one-reading")
        return 100 * busy / total

    def close(self) -> None:
        for one in (self._stat, self._meminfo, self._clocks, self._throttles, self._temperatures, self._rapl):
            one.close()


def cpu_times(data: bytes) -> tuple[int, int] | Unread:
    """Ticks busy and in all since boot, from the first line of /proc/stat: user nice system idle iowait irq softirq
    steal. Time of guests is within user."""
    words = data.split(b"\n", 1)[0].split()
    if len(words) < 6 or words[0] != b"cpu" or not all(word.isdigit() for word in words[1:]):
        return Unread("/proc/stat does not begin with the times of all processors", "malformed")
    ticks = [int(word) for word in words[1:9]]
    total = sum(ticks)
    return total - ticks[3] - ticks[4], total


def _kibibytes(data: bytes | Unread, name: str) -> int | Unread:
    if isinstance(data, Unread):
        return data
    match = re.search(rf"(?m)^{name}: +(\d{{1,15}}) kB$".encode(), data)
    return int(match[1]) << 10 if match else Unread(f"/proc/meminfo has no {name}", "malformed")
