"""What stands around processors and GPUs: how warm and how busy the drives are, what the supplies take, how fans turn.

Reads   /sys/class/hwmon of nvme (temp1_input, the drive's composite temperature) and of all others but GPUs
        (fan*_input with fan*_label), /sys/block/nvme*n*/stat, and what `supply` reads (any user)
Absent  temperatures of drives before Linux 5.5 or without CONFIG_NVME_HWMON; fans of boards whose sensor chip has no
        driver, and those that a BMC alone sees: to ask it takes seconds, so a run does not
By hand sensors; iostat -x 1

Reading a temperature asks the drive itself (drivers/nvme/host/hwmon.c, nvme_hwmon_get_smart_log), and one that hangs
holds up whoever asks for as long as the kernel waits, a minute. So each kind is asked by a thread of its own, and only
in processes that hold no device: a worker that cannot end would keep the memory of its GPU.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from typing import TypeGuard

from boxcheck.model import Unread
from boxcheck.telemetry.cpu import HWMON
from boxcheck.telemetry.files import SysFile, names_in, text_of
from boxcheck.telemetry.readings import BoxReading, Named, Values, celsius
from boxcheck.telemetry.supply import Supply

BOX_SECONDS = 5.0
"""Between two readings: drives and fans are slow, and a day of it must be small in a store."""
WAIT_SECONDS = 0.05
"""For all answers together. What comes later is told with the next reading."""
GPU_CHIPS = frozenset(("amdgpu", "nouveau", "i915", "xe"))
"""hwmon names of graphics drivers: their fans are in the readings of their GPUs."""
SILENT = "no answer for {:.0f} s"

Ask = Callable[[], Values]


class BoxReader:
    """Opened once; `read` waits for nobody for long."""

    def __init__(self, root: str) -> None:
        self._busy = Busy(root)
        self._slow = {
            "drives_celsius": Slow(lambda: drive_heat(root)), "fans_rpm": Slow(lambda: fans(root)),
            "supply_watts": Slow(lambda: supply_watts(root))}

    def read(self, monotonic_seconds: float, supply: Values | None = None) -> BoxReading:
        """`supply`: what was read of the supplies by the caller, who then is not asked here."""
        until = time.monotonic() + WAIT_SECONDS
        asked = {name: one for name, one in self._slow.items() if supply is None or name != "supply_watts"}
        for one in asked.values():
            one.ask()
        told = {name: one.told(until) for name, one in asked.items()}
        return BoxReading(
            monotonic_seconds=monotonic_seconds, drives_celsius=told["drives_celsius"], fans_rpm=told["fans_rpm"],
            supply_watts=told["supply_watts"] if supply is None else supply,
            drives_busy_percent=self._busy.read(monotonic_seconds))

    def close(self) -> None:
        """Threads that wait in the kernel are left to it."""
        self._busy.close()


class Slow:
    """Files that may take long to answer. The first answer is a function that gives all others: what finds and opens
    the files is asked aside as well."""

    def __init__(self, make: Callable[[], Ask]) -> None:
        self._make = make
        self._reads: Ask | None = None
        self._thread: threading.Thread | None = None
        self._given: tuple[float, Values] | None = None
        self._asked = 0.0

    def ask(self) -> None:
        """Asks, where the question before was answered."""
        if self._thread is None or not self._thread.is_alive():
            self._asked = time.monotonic()
            self._thread = threading.Thread(target=self._run, daemon=True, name="box")
            self._thread.start()

    def told(self, until: float) -> Values:
        """The answer; Unread where none has come since the question before."""
        if self._thread is not None:
            self._thread.join(max(0.0, until - time.monotonic()))
        now = time.monotonic()
        if self._given is not None and now - self._given[0] <= 1.5 * BOX_SECONDS:
            return self._given[1]
        return Unread(SILENT.format(now - self._asked), "timeout")

    def _run(self) -> None:
        if self._reads is None:
            self._reads = self._make()
        values = self._reads()
        self._given = (time.monotonic(), values)


def drive_heat(root: str) -> Ask:
    """Degrees by drive: `nvme0`."""
    files: dict[str, SysFile] = {}
    chips = names_in(root, HWMON)
    for chip in () if isinstance(chips, Unread) else chips:
        if text_of(root, f"{HWMON}/{chip}/name") == "nvme":
            files[_drive_of(root, chip)] = SysFile(root, f"{HWMON}/{chip}/temp1_input")
    return lambda: chips if _is_unlisted(chips) else tuple(
        Named(name, value if isinstance(value, Unread) else celsius(value / 1000))
        for name, file in files.items() if (value := file.number()) is not None)


def _drive_of(root: str, chip: str) -> str:
    """`nvme0`, which the link to its device ends in; the name of the hwmon where there is no such link."""
    try:
        return os.path.basename(os.readlink(f"{root}{HWMON}/{chip}/device")) or chip
    except OSError:
        return chip


def fans(root: str) -> Ask:
    """Turns a minute by chip and label: `nct6798 fan2`. A fan that stands, and a plug without a fan, show 0."""
    files: dict[str, SysFile] = {}
    chips = names_in(root, HWMON)
    for chip in () if isinstance(chips, Unread) else chips:
        name = text_of(root, f"{HWMON}/{chip}/name")
        listed = names_in(root, f"{HWMON}/{chip}")
        for file in () if isinstance(listed, Unread) or not isinstance(name, str) or name in GPU_CHIPS else listed:
            if match := re.fullmatch(r"(fan\d{1,3})_input", file):
                label = text_of(root, f"{HWMON}/{chip}/{match[1]}_label")
                key = f"{name} {label if isinstance(label, str) and label else match[1]}"
                key = key if key not in files else f"{key} {chip}"
                files[key] = SysFile(root, f"{HWMON}/{chip}/{file}")
    return lambda: chips if _is_unlisted(chips) else tuple(
        Named(name, value if isinstance(value, Unread) else float(value))
        for name, file in files.items() if (value := file.count()) is not None)


def supply_watts(root: str) -> Ask:
    """As `supply` tells it."""
    supply = Supply(root)
    return lambda: supply.read().watts


def _is_unlisted(names: tuple[str, ...] | Unread) -> TypeGuard[Unread]:
    """Whether there is a folder that could not be listed: what is in it is not known."""
    return isinstance(names, Unread) and names.kind != "absent"


class Busy:
    """How much of the time drives had something to do, since the reading before."""

    def __init__(self, root: str) -> None:
        names = names_in(root, "/sys/block")
        self._unlisted = names if _is_unlisted(names) else None
        self._files = {} if isinstance(names, Unread) else {
            name: SysFile(root, f"/sys/block/{name}/stat") for name in names if re.fullmatch(r"nvme\d+n\d+", name)}
        self._before: dict[str, tuple[float, int]] = {}

    def read(self, monotonic_seconds: float) -> Values:
        if self._unlisted is not None:
            return self._unlisted
        return tuple(Named(name, self._of(name, file, monotonic_seconds)) for name, file in self._files.items())

    def _of(self, name: str, file: SysFile, now: float) -> float | Unread:
        data = file.read()
        if isinstance(data, Unread):
            return data
        words = data.split()
        if len(words) < 10 or not words[9].isdigit():  # io_ticks, in milliseconds: Documentation/block/stat.rst
            return Unread(f"/sys/block/{name}/stat has no time of work", "malformed")
        before, self._before[name] = self._before.get(name), (now, int(words[9]))
        if before is None or now <= before[0] or int(words[9]) < before[1]:
            return Unread("how busy a drive is needs two readings", "one-reading")
        return min(100.0, (int(words[9]) - before[1]) / 10 / (now - before[0]))

    def close(self) -> None:
        for file in self._files.values():
            file.close()
