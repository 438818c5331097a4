"""Clocks, temperatures and thermal throttling of the processors.

Reads   /sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq, cpu*/topology/thread_siblings_list,
        cpu*/thermal_throttle/{core,package}_throttle_count, /sys/class/hwmon of k10temp, coretemp, zenpower (any user)
Absent  clocks in most virtual machines, counts of throttling on AMD processors
By hand grep . /sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq; sensors
"""

from __future__ import annotations

import re
import time
from statistics import median

from boxcheck.model import Unread
from boxcheck.telemetry.files import SysFile, names_in, text_of
from boxcheck.telemetry.readings import Clocks, Count, Counts, Named, Values, celsius

CPUS = "/sys/devices/system/cpu"
HWMON = "/sys/class/hwmon"
PACKAGE_LABELS = {"k10temp": r"Tctl|Tdie", "zenpower": r"Tctl|Tdie", "coretemp": r"Package id \d{1,3}"}
"""Driver -> labels of its sensors for a whole processor; those of single cores and dies are left out."""
CLOCK_SECONDS = 0.002
"""Time for reading clocks at one go. Kernels before 5.18 wait 10 ms for the clock of a processor that was not asked for
a second (arch/x86/kernel/cpu/aperfmperf.c), which for a hundred of them is a second."""


def first_siblings(root: str) -> tuple[int, ...]:
    """Numbers of the processors, one a core: the first of its threads. All where the kernel does not tell."""
    names = names_in(root, CPUS)
    numbers = [] if isinstance(names, Unread) else [
        int(name[3:]) for name in names if re.fullmatch(r"cpu\d{1,5}", name)]
    return tuple(number for number in sorted(numbers) if _first_of(root, number) in (None, number))


def _first_of(root: str, number: int) -> int | None:
    text = text_of(root, f"{CPUS}/cpu{number}/topology/thread_siblings_list")
    match = None if isinstance(text, Unread) else re.match(r"\d{1,5}", text)
    return int(match[0]) if match else None


class CoreClocks:
    """One clock a core, each core in its turn where there is no time for all."""

    def __init__(self, root: str, cores: tuple[int, ...]) -> None:
        names = names_in(root, f"{CPUS}/cpufreq")
        self._unlisted = names if isinstance(names, Unread) and names.kind != "absent" else None
        policies = () if isinstance(names, Unread) else names
        wanted = [f"policy{core}" for core in cores if f"policy{core}" in policies]
        self._files = [SysFile(root, f"{CPUS}/cpufreq/{name}/scaling_cur_freq") for name in wanted]
        self._next = 0

    def read(self) -> Clocks | Unread | None:
        if not self._files:
            return self._unlisted
        found: list[float] = []
        unread: Unread | None = None
        until = time.monotonic() + CLOCK_SECONDS
        for _ in self._files:
            value = self._files[self._next].count()
            self._next = (self._next + 1) % len(self._files)
            if isinstance(value, Unread):
                unread = value
            elif value is not None:
                found.append(value / 1000)
            if time.monotonic() > until:
                break
        return Clocks(min(found), median(found), max(found), len(found)) if found else unread

    def close(self) -> None:
        for file in self._files:
            file.close()


class Temperatures:
    """One sensor a processor."""

    def __init__(self, root: str) -> None:
        self._files: dict[str, SysFile] = {}
        chips = names_in(root, HWMON)
        self._unlisted = chips if isinstance(chips, Unread) and chips.kind != "absent" else None
        for chip in () if isinstance(chips, Unread) else chips:
            name = text_of(root, f"{HWMON}/{chip}/name")
            labels = PACKAGE_LABELS.get(name) if isinstance(name, str) else None
            files = names_in(root, f"{HWMON}/{chip}") if labels is not None else ()
            for file in () if isinstance(files, Unread) else files:
                if labels is None or (match := re.fullmatch(r"(temp\d{1,3})_label", file)) is None:
                    continue
                label = text_of(root, f"{HWMON}/{chip}/{file}")
                if isinstance(label, str) and re.fullmatch(labels, label):
                    # A second processor of AMD's shows a chip with the same labels.
                    key = label if label not in self._files else f"{label} {chip}"
                    self._files[key] = SysFile(root, f"{HWMON}/{chip}/{match[1]}_input")

    def read(self) -> Values:
        if self._unlisted is not None:
            return self._unlisted
        return tuple(Named(label, value if isinstance(value, Unread) else celsius(value / 1000))
                     for label, file in self._files.items() if (value := file.number()) is not None)

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class Throttles:
    """Counts of slowdowns for heat, of cores and of packages."""

    def __init__(self, root: str, cores: tuple[int, ...]) -> None:
        self._cores: list[SysFile] = []
        self._packages: dict[str, SysFile] = {}
        for core in cores:
            here = f"{CPUS}/cpu{core}"
            file = SysFile(root, f"{here}/thermal_throttle/core_throttle_count")
            if file.absent:
                continue
            self._cores.append(file)
            package = text_of(root, f"{here}/topology/physical_package_id")
            name = "package" if isinstance(package, Unread) else f"package {package}"
            if name not in self._packages:
                self._packages[name] = SysFile(root, f"{here}/thermal_throttle/package_throttle_count")

    def cores(self) -> int | Unread | None:
        """Sum over the cores; Unread when one of them could not be read."""
        total: int | None = None
        for file in self._cores:
            value = file.count()
            if isinstance(value, Unread):
                return value
            if value is not None:
                total = value if total is None else total + value
        return total

    def packages(self) -> Counts:
        return tuple(Count(name, value) for name, file in self._packages.items() if (value := file.count()) is not None)

    def close(self) -> None:
        for file in (*self._cores, *self._packages.values()):
            file.close()
