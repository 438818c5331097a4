"""Devices while a run goes on: which left, which came, which answer no more.

Reads   uevents (uevents.py); the names in /sys/bus/pci/devices every 2 s, which finds what no uevent told; the first
        four bytes of /sys/bus/pci/devices/<bdf>/config of each GPU and of the ports above it               (any user)
By hand watch -n 2 ls /sys/bus/pci/devices; setpci -s 41:00.0 0.l

A function that is gone answers with all ones (PCI Express Base Specification, 2.3.2: what completes with Unsupported
Request is read so), long before the kernel notices. Reading config space wakes a device that sleeps (pci-sysfs.c), so
one that is suspended is not asked. All ones are believed at the second look: a card that is being reset shows them too,
for less than a second. One cause is told once: what has left cannot also be dead, and what hangs below it goes along.

A GPU that leaves is a fault, another part of the machine a warning; what may leave a sound machine (removable.py: a
virtual function, a dock) is told and judges nothing, unless a GPU is among it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from boxcheck.engine.removable import Removable
from boxcheck.engine.uevents import Uevent, Uevents
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Unread
from boxcheck.probes.gpus import DISPLAY_CLASSES, GPU_VENDORS, Gpu
from boxcheck.stress.happenings import Concerned, Severity
from boxcheck.telemetry.files import SysFile, names_in, text_of
from boxcheck.telemetry.links import DEVICES, ports_above

SCAN_SECONDS = 2.0
SURE_SECONDS = 0.9
"""From the first look that shows all ones to the one that is believed."""
MISSED_SCANS = 3
"""Listings of the bus that may fail one after the other before it is said that devices are not followed. A machine out
of file handles or memory fails one, and lists again at the next."""
TOGETHER_SECONDS = 10.0
"""A bridge that leaves after what was below it has taken it along."""
ALL_ONES = b"\xff\xff\xff\xff"
CLASSES: Mapping[int, str] = {
    0x0108: "NVMe drive", 0x0106: "SATA controller", 0x0200: "network card", 0x0207: "InfiniBand card", 0x0280:
    "network card", 0x0300: "display controller", 0x0302: "GPU", 0x0380: "display controller", 0x0403: "audio function",
    0x0604: "PCIe port", 0x0C03: "USB controller", 0x1200: "accelerator"}
"""Class codes of PCI (pci.ids)."""
POWER = (
    "power off; check the card's power leads at both ends, reseat card and riser; power on",
    "boxcheck triage on the kernel log of this time says what the driver reported")
EventKind = Literal["device-left", "device-came", "device-back", "device-dead", "driver-left", "gpu-lost"]


class DeviceEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One change."""

    kind: EventKind
    bdf: Bdf
    says: str
    severity: Severity
    name: str
    slot: str | None = None
    gpus: tuple[Concerned, ...] = ()
    """GPUs that it concerns: itself, or those below it."""
    below: int = 0
    """How many other functions went or came along."""
    help: tuple[str, ...] = ()


class _Function(msgspec.Struct, frozen=True):
    """What is kept of a function, for when it is gone."""

    bdf: Bdf
    above: tuple[Bdf, ...]
    """Ports from the root down to the one above it."""
    kind: str
    is_gpu: bool
    may_leave: str = ""
    """Why it may, in words; empty where it belongs to the machine."""


class DevicesWatch:
    """`look` gives what has changed since the look before."""

    def __init__(
        self, root: str = "/", *, uevents: Uevents | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._root, self._clock = root.rstrip("/"), clock
        self.uevents = Uevents() if uevents is None else uevents
        self.unread: Unread | None = None
        """Why the bus is not followed, or was not for a while."""
        self._missed = 0
        """Listings that failed since the last one that did not."""
        self._removable = Removable(self._root)
        names = names_in(self._root, DEVICES)
        self._began = not isinstance(names, Unread)
        """Whether it is known what was there at first, which all else is held against."""
        if isinstance(names, Unread):
            self.unread = names
        self._known = {} if isinstance(names, Unread) else {bdf: self._read(bdf) for bdf in map(Bdf, names)}
        self._here = set(self._known)
        self._scanned = clock()
        self._gone: dict[Bdf, float] = {}
        """When it was told that a function left or died; until it comes back."""
        self._gpus: dict[Bdf, Concerned] = {}
        self._others: dict[Bdf, Concerned] = {}
        """GPUs of the box that the run does not work on, by what the bus tells of them."""
        self._slots: Mapping[str, str] = {}
        self._configs: dict[Bdf, tuple[SysFile, SysFile]] = {}
        self._dead_since: dict[Bdf, float] = {}

    def follow(self, gpus: Sequence[GpuInfo], slots: Mapping[str, str], box: Sequence[Gpu] = ()) -> None:
        """The GPUs of the run, and the labels of their slots by key; all GPUs that the bus shows. From now on these are
        named, and asked whether they still answer."""
        named = {info.bdf: info for info in gpus if info.bdf is not None}
        self._slots = {bdf: slots[info.key] for bdf, info in named.items() if info.key in slots}
        self._gpus = {bdf: Concerned(bdf, info.key, info.name, self._slots.get(bdf)) for bdf, info in named.items()}
        self._others = {gpu.bdf: Concerned(gpu.bdf, "", gpu.name, gpu.slot) for gpu in box if gpu.bdf not in named}
        watched = [*self._gpus, *(one.bdf for one in self._known.values() if one.is_gpu)]
        for bdf in dict.fromkeys(port for gpu in watched for port in ports_above(self._root, gpu)):
            if bdf not in self._configs and bdf in self._here:
                self._follow_config(bdf)

    @property
    def says(self) -> str:
        """How the devices are followed, as a clause."""
        by = f"by the names on the bus every {SCAN_SECONDS:g} s"
        if self.uevents.unread is not None:
            return f"{by} ({self.uevents.unread.why})"
        return f"by the kernel's events and {by}"

    def look(self) -> list[DeviceEvent]:
        """What left, came, or answers no more, each once."""
        if not self._began:
            return []
        now, told = self._clock(), self.uevents.read()
        left, came = self._moved(told)
        if told or now - self._scanned >= SCAN_SECONDS:
            self._scanned = now
            more_left, more_came = self._scan()
            left, came = left + more_left, came + more_came
        events = self._tell_left(left, now) + self._tell_came(came)
        events += self._tell_drivers(told, set(left))
        return events + self._tell_dead(now)

    def lost(self, bdf: Bdf, why: str) -> DeviceEvent | None:
        """The same for a GPU that the driver calls lost; None where it was told before."""
        if bdf in self._gone:
            return None
        self._gone[bdf] = self._clock()
        return self._event("gpu-lost", bdf, f"its driver has lost it: {why}", help=POWER)

    def close(self) -> None:
        self.uevents.close()
        for files in self._configs.values():
            for file in files:
                file.close()
        self._configs = {}

    # What there is.

    def _read(self, bdf: Bdf) -> _Function:
        code = self._hex(bdf, "class")
        word = (code or 0) >> 8
        vendor = self._hex(bdf, "vendor")
        virtual = not isinstance(names_in(self._root, f"{DEVICES}/{bdf}/physfn"), Unread)
        above = ports_above(self._root, bdf)[:-1]
        return _Function(
            bdf=bdf, above=above, kind=CLASSES.get(word, "device"),
            may_leave=self._removable.why(bdf, above, code or 0),
            is_gpu=word in DISPLAY_CLASSES and vendor in GPU_VENDORS and not virtual)

    def _hex(self, bdf: Bdf, name: str) -> int | None:
        text = text_of(self._root, f"{DEVICES}/{bdf}/{name}")
        try:
            return None if isinstance(text, Unread) else int(text, 16)
        except ValueError:
            return None

    def _follow_config(self, bdf: Bdf) -> None:
        """Only a function that answered when it was first asked, or slept: a virtual one shows all ones always."""
        base = f"{DEVICES}/{bdf}"
        files = (SysFile(self._root, f"{base}/power/runtime_status"), SysFile(self._root, f"{base}/config", 4))
        if files[0].asleep() or files[1].read() != ALL_ONES:
            self._configs[bdf] = files
            return
        for file in files:
            file.close()

    # What has changed.

    def _moved(self, told: Iterable[Uevent]) -> tuple[list[Bdf], list[Bdf]]:
        left: list[Bdf] = []
        came: list[Bdf] = []
        for one in told:
            if one.subsystem != "pci":
                continue
            if one.action == "remove" and one.bdf in self._here:
                self._here.remove(one.bdf)
                left.append(one.bdf)
            elif one.action == "add" and one.bdf not in self._here:
                self._here.add(one.bdf)
                came.append(one.bdf)
        return left, came

    def _scan(self) -> tuple[list[Bdf], list[Bdf]]:
        names = names_in(self._root, DEVICES)
        if isinstance(names, Unread):
            self._missed += 1
            if self._missed >= MISSED_SCANS:
                self.unread = names
            return [], []
        self._missed = 0
        now = set(map(Bdf, names))
        left, came = sorted(self._here - now), sorted(now - self._here)
        self._here = now
        return left, came

    def _tell_left(self, left: Sequence[Bdf], now: float) -> list[DeviceEvent]:
        gone = set(left)
        events: list[DeviceEvent] = []
        for bdf in sorted(gone, key=lambda one: (len(self._above(one)), one)):
            taken = any(port in gone for port in self._above(bdf)) or (bdf[-1] != "0" and Bdf(f"{bdf[:-1]}0") in gone)
            before = bdf in self._gone or any(
                now - at < TOGETHER_SECONDS and bdf in self._above(other) for other, at in self._gone.items())
            if not taken and not before:
                along = [other for other in gone if other != bdf and (
                    bdf in self._above(other) or other[:-1] == bdf[:-1])]
                events.append(self._event("device-left", bdf, "left the bus", below=len(along), help=POWER))
        for bdf in gone:
            self._gone.setdefault(bdf, now)
            self._dead_since.pop(bdf, None)
            for file in self._configs.pop(bdf, ()):
                file.close()
        return events

    def _tell_came(self, came: Sequence[Bdf]) -> list[DeviceEvent]:
        events: list[DeviceEvent] = []
        there = set(came)
        for bdf in sorted(there, key=lambda one: (len(self._above(one)), one)):
            back = self._gone.pop(bdf, None) is not None
            self._known[bdf] = self._read(bdf) if bdf not in self._known or not back else self._known[bdf]
            if bdf in self._gpus or self._known[bdf].is_gpu:
                self._follow_config(bdf)
            taken = any(port in there for port in self._above(bdf)) or (
                bdf[-1] != "0" and Bdf(f"{bdf[:-1]}0") in there)
            if not taken:
                says = "came back to the bus" if back else "came to the bus"
                events.append(self._event("device-back" if back else "device-came", bdf, says))
        return events

    def _tell_drivers(self, told: Iterable[Uevent], left: set[Bdf]) -> list[DeviceEvent]:
        """A node that goes while its PCI function stays: the driver was taken off it, or gave it up."""
        events: dict[Bdf, DeviceEvent] = {}
        for one in told:
            if one.action == "remove" and one.name and one.bdf in self._here and one.bdf not in (*left, *self._gone):
                events.setdefault(one.bdf, self._event(
                    "driver-left", one.bdf, f"its driver let go of it: {one.name} went away",
                    help=("sudo dmesg | boxcheck triage -", "boxcheck doctor driver  (ends in PARTIAL)")))
        return list(events.values())

    def _tell_dead(self, now: float) -> list[DeviceEvent]:
        dead: list[Bdf] = []
        events: list[DeviceEvent] = []
        for bdf, (status, config) in self._configs.items():
            if status.asleep():
                self._dead_since.pop(bdf, None)
                continue
            if config.read() != ALL_ONES:
                self._dead_since.pop(bdf, None)
                if bdf in self._gone and bdf in self._here:
                    del self._gone[bdf]
                    events.append(self._event("device-back", bdf, "answers on its bus again"))
                continue
            since = self._dead_since.setdefault(bdf, now)
            if now - since >= SURE_SECONDS:
                dead.append(bdf)
        for bdf in dead:
            above = self._above(bdf)
            if bdf not in self._gone and not any(port in self._gone or port in dead for port in above):
                events.append(self._event(
                    "device-dead", bdf, "answers no more: its config space reads all ones", help=POWER))
        for bdf in dead:
            self._gone.setdefault(bdf, now)
        return events

    # In words.

    def _above(self, bdf: Bdf) -> tuple[Bdf, ...]:
        known = self._known.get(bdf)
        return known.above if known is not None else ()

    def _concerned(self, bdf: Bdf) -> tuple[Concerned, ...]:
        """The GPUs that are this function, or below it; those of the run, and others of the machine."""
        found = dict(self._gpus)
        for one in self._known.values():
            if one.is_gpu and one.bdf not in found:
                found[one.bdf] = self._others.get(one.bdf) or Concerned(one.bdf, "", "GPU")
        return tuple(one for gpu, one in sorted(found.items()) if gpu == bdf or bdf in self._above(gpu))

    def _event(
        self, kind: EventKind, bdf: Bdf, says: str, *, below: int = 0, help: tuple[str, ...] = ()
    ) -> DeviceEvent:
        gpus, known = self._concerned(bdf), self._known.get(bdf)
        itself = any(one.bdf == bdf for one in gpus)
        name = f"{known.kind if known is not None else 'device'} {bdf}"
        may_leave = known.may_leave if known is not None else ""
        severity: Severity = "fail" if gpus else "info" if may_leave else "warn"
        if kind in ("device-came", "device-back"):
            severity = "info"
        if may_leave and not gpus:
            says = f"({may_leave}) {says}"
        where = "" if itself else f"{name} above it " if len(gpus) == 1 else f"{name} "
        along = f", with {below} other function{'' if below == 1 else 's'}" if below else ""
        return DeviceEvent(
            kind=kind, bdf=bdf, says=f"{where}{says}{along}", severity=severity, name=name, gpus=gpus, below=below,
            slot=self._slots.get(bdf), help=help if gpus else ())
