"""What happens around a run while it goes on: the kernel's log, devices, the host's memory. A burn-in and a watch both
look at it now and then, keep what it tells as events, and judge them at the end (`boxcheck.stress.burn_checks`).

    around = Surroundings()
    around.follow(gpus, slots)
    for happening in around.look(): ...      # once a second or two
    for happening in around.close(): ...
    happened = around.happened()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from boxcheck.checks.log import LOST_XIDS
from boxcheck.decode.klog import Event
from boxcheck.engine.devices_watch import DeviceEvent, DevicesWatch
from boxcheck.engine.edac_watch import EdacWatch
from boxcheck.engine.logwatch import LogWatch
from boxcheck.gpu import GpuInfo
from boxcheck.host.common import one_line
from boxcheck.model import Bdf
from boxcheck.probes.gpus import Gpu
from boxcheck.stress.burn_checks import NO_EDAC
from boxcheck.stress.happenings import FOR_ROOT, Chronicle, Concerned, Detail, Happened, Happening, Severity, Source
from boxcheck.telemetry.links import ports_above

KEEPING: Mapping[Source, str] = {"log": "log-followed", "devices": "devices-followed", "memory": "memory-followed"}
"""Kinds of the events that say how far a source was followed."""
LOST_KINDS = frozenset(("device-left", "device-dead", "gpu-lost"))


class Store(Protocol):
    """What keeps events: boxcheck.store.writer.RunWriter."""

    def event(
        self, kind: str, says: str, *, severity: Severity = "info", subject: str = "", phase: int = 0, data: Any = None,
        wait: bool = True,
    ) -> object: ...


def keep(store: Store, one: Happening, phase: int = 0) -> None:
    """Writes a happening into a store, from which `happening_of` reads it back. Load goes on meanwhile, so it does not
    wait for the disk."""
    store.event(
        one.kind, one.says, severity=one.severity, subject=one.subject, phase=phase,
        data=msgspec.to_builtins(one.detail), wait=False)


def happening_of_log(event: Event, count: int, gpu: Concerned | None) -> Happening:
    """What the kernel's log told, of a GPU of the run or of none of them."""
    severity: Severity = "info" if event.severity == "benign" else event.severity
    return Happening(
        kind=event.kind, says=event.says, severity=severity, detail=Detail(
            source="log", bdf=event.bdf, name=f"device {event.bdf}" if event.bdf and gpu is None else "",
            gpus=() if gpu is None else (gpu,), lost=event.kind == "gpu-lost" or event.xid in LOST_XIDS, count=count,
            labels=event.labels, help=event.help, text=one_line(event.text)))


class Surroundings:
    """Opened when a run begins. Nothing here raises for what the machine does or lacks."""

    def __init__(
        self, root: str = "/", *, log: LogWatch | None = None, devices: DevicesWatch | None = None,
        memory: EdacWatch | None = None, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._clock, self._began = root, clock, clock()
        self._log = LogWatch() if log is None else log
        self.devices = DevicesWatch(root, clock=clock) if devices is None else devices
        self._memory = EdacWatch(root) if memory is None else memory
        self._gpus: dict[str, Concerned] = {}
        """By address without function."""
        self._below: dict[Bdf, Concerned | None] = {}
        """By port, the one GPU of the run below it; None where there are several."""
        self._chronicle = Chronicle()
        self._gaps: set[Source] = set()
        self._started = self._closed = False

    def follow(self, gpus: Sequence[GpuInfo], slots: Mapping[str, str], box: Sequence[Gpu] = ()) -> None:
        """The GPUs of the run: what happens to them is told by their names. `box`: all that the bus shows; one that
        leaves while others work is told by its slot as well."""
        self.devices.follow(gpus, slots, box)
        for info in gpus:
            if info.bdf is None:
                continue
            one = Concerned(info.bdf, info.key, info.name, slots.get(info.key))
            self._gpus[info.bdf.rsplit(".", 1)[0]] = one
            for port in ports_above(self._root.rstrip("/"), info.bdf)[:-1]:
                self._below[port] = None if port in self._below else one

    def look(self) -> list[Happening]:
        """What has happened since the look before; the first time also what is followed from now on."""
        found = [] if self._started else list(self._begin())
        self._started = True
        found += (self._of_log(event, more) for event, more in self._log.news())
        found += (self._of_device(event) for event in self.devices.look())
        for event in self._memory.look():
            word = "corrected" if event.corrected else "uncorrected"
            found.append(Happening(
                kind=f"memory-{word}", severity="warn" if event.corrected else "fail",
                says=f"{event.count} {word} error{'' if event.count == 1 else 's'} of the host's memory",
                detail=Detail(source="memory", name=event.name, count=event.count)))
        return self._noted([*found, *self._new_gaps()])

    def tell_lost(self, bdf: Bdf, why: str) -> list[Happening]:
        """A GPU that instruments or a worker found lost, where nothing told it before."""
        event = self.devices.lost(bdf, why)
        return [] if event is None else self._noted([self._of_device(event)])

    def take_in(self, earlier: Iterable[Happening]) -> None:
        """What happened before the run was gone on with."""
        self._noted(list(earlier))

    def tell(self, one: Happening) -> Happening:
        """Takes in what somebody else noticed."""
        return self._noted([one])[0]

    def close(self) -> list[Happening]:
        """The last look, and what was followed to the end."""
        if self._closed:
            return []
        self._closed = True
        found = self.look()
        seconds = self._clock() - self._began
        for source, says in self._says().items():
            if source not in self._gaps:
                found += self._noted([Happening(
                    kind=KEEPING[source], says=f"{says}, for {seconds:.0f} s",
                    detail=Detail(source=source, state="ended"))])
        self._log.close()
        self.devices.close()
        self._memory.close()
        return found

    def happened(self) -> Happened:
        """All of it, for the checks."""
        return self._chronicle.result()

    # How it is told.

    def _noted(self, found: list[Happening]) -> list[Happening]:
        for one in found:
            self._chronicle.add(one)
        return found

    def _says(self) -> Mapping[Source, str]:
        return {"log": "the kernel's log was followed", "devices": self.devices.says, "memory": self._memory.says}

    def _begin(self) -> Iterator[Happening]:
        missing = self._missing()
        for source, kind in KEEPING.items():
            if source not in missing:
                words = {"log": "the kernel's log is followed", "devices": "devices are followed",
                         "memory": "errors of the host's memory are followed"}[source]
                yield Happening(kind=kind, says=words, detail=Detail(source=source, state="began"))

    def _missing(self) -> dict[Source, str]:
        """Sources that are not followed, or not any more, and why."""
        found: dict[Source, str] = {}
        if self._log.unread is not None:
            found["log"] = f"the kernel's log is not followed: {self._log.unread.why}"
        elif self._log.lost:
            found["log"] = f"the kernel overwrote messages of its log before they were read, {self._log.lost} x"
        if self.devices.unread is not None:
            found["devices"] = f"devices are not followed: {self.devices.unread.why}"
        if self._memory.unread is not None:
            absent = self._memory.unread.kind == "absent" and not self._memory.counting
            found["memory"] = NO_EDAC if absent else (
                f"errors of the host's memory are not followed: {self._memory.unread.why}")
        return found

    def _new_gaps(self) -> Iterator[Happening]:
        for source, why in self._missing().items():
            if source not in self._gaps:
                self._gaps.add(source)
                yield Happening(
                    kind=f"{source}-unread", says=why, severity="info" if why == NO_EDAC else "warn",
                    detail=Detail(source=source, state="gap", labels=(FOR_ROOT,) if self._for_root(source) else ()))

    def _for_root(self, source: Source) -> bool:
        return source == "log" and self._log.unread is not None and self._log.unread.kind == "permission"

    def _of_log(self, event: Event, more: int) -> Happening:
        return happening_of_log(event, more, self._gpu_at(event.bdf))

    def _gpu_at(self, bdf: Bdf | None) -> Concerned | None:
        """The GPU of the run at an address, or the only one below it. A log may name another function of the card."""
        if bdf is None:
            return None
        return self._gpus.get(bdf.rsplit(".", 1)[0]) or self._below.get(bdf)

    def _of_device(self, event: DeviceEvent) -> Happening:
        return Happening(
            kind=event.kind, says=event.says, severity=event.severity, detail=Detail(
                source="devices", bdf=event.bdf, name="" if event.gpus else event.name, slot=event.slot,
                gpus=event.gpus, lost=event.kind in LOST_KINDS and bool(event.gpus), help=event.help))
