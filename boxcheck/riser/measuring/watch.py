"""Watches links: both ends of each, ten times a second, in a thread of its own.

Reads   /sys/bus/pci/devices/<bdf>/{current_link_speed,current_link_width,aer_dev_*} of both ends   (any user)
        registers of both ends (boxcheck.riser.measuring.registers)                                           (root)
        /dev/kmsg, for what the kernel says of several errors in one message                        (often root)
By hand watch -n 0.1 'grep . /sys/bus/pci/devices/{0000:40:01.1,0000:41:00.0}/aer_dev_correctable'

The kernel counts the interrupts that it handles, not the errors (docs/explanation/kernel-facts.md), so what comes fast
is counted in part: counts of which two came between two readings are lower bounds, and readings must be close.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from boxcheck.decode.pci_link import decode_link_cap, decode_link_sta
from boxcheck.decode.pci_slot import decode_slot_sta
from boxcheck.engine.logwatch import LogWatch
from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.ports import LinkPair, Ports
from boxcheck.riser.measuring.course import Course, Segment
from boxcheck.riser.measuring.registers import EndRegisters
from boxcheck.riser.measuring.stuck import Standing
from boxcheck.telemetry.links import DEVICES, Port
from boxcheck.telemetry.readings import LinkReading

EVERY_SECONDS = 0.1
REGISTERS_EVERY = 10
"""Slow registers are asked in each tenth reading."""
AGAIN_SECONDS, AGAIN_AT_MOST = 0.7, 6
"""At the end, while an error bit stands: long enough for LEAST_READINGS in STANDING_SECONDS, and a second."""
END_SECONDS = 5.0
"""For the thread to end; one that is stuck in the kernel does not."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """One link that is to be watched."""

    port: Bdf
    card: Bdf | None
    pair: LinkPair | None = None
    """With the offsets of registers, where they may be read."""
    status_bits: frozenset[Bdf] = frozenset()
    """Ends whose error status bits are looked at, since the kernel does not count theirs."""


class Seen(msgspec.Struct, kw_only=True):
    """What was seen of one link."""

    segments: tuple[Segment, ...]
    present: bool | None = None
    """Presence detect of the slot, as it was last; None where the port has none or nobody may read it."""
    active: bool | None = None
    """The data link layer, the same."""
    several: tuple[str, ...] = ()
    """What the kernel's log said of several errors in one message."""
    trouble: str = ""
    """Why it was not watched to the end."""


class _End:
    """One function's files, opened anew when the device was enumerated again."""

    def __init__(self, root: str, bdf: Bdf) -> None:
        self._root, self.bdf = root, bdf
        self._port = Port(root, bdf)
        self._identity = self._device()

    def _device(self) -> tuple[int, int] | None:
        try:
            found = os.stat(f"{self._root}{DEVICES}/{self.bdf}/.")
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def read(self, now: float) -> LinkReading:
        reading = self._port.read(now)
        if reading.gone and (device := self._device()) is not None and device != self._identity:
            self._port.close()
            self._port, self._identity = Port(self._root, self.bdf), device
            return self._port.read(now)
        return reading

    def close(self) -> None:
        self._port.close()


class _Link:
    """One link's ends and what they come to."""

    def __init__(self, of: Watched, root: str, ports: Ports | None, standing: dict[Bdf, Standing]) -> None:
        self.of, self._ports = of, ports
        ends = [end for end in (of.port, of.card) if end is not None]
        self._ends = [_End(root, bdf) for bdf in ends]
        self.course = Course(of.port, of.card)
        pair = of.pair
        self._registers: dict[Bdf, EndRegisters] = {}
        if pair is not None and ports is not None:
            self._registers = {end.bdf: EndRegisters(ports, end) for end in (pair.port, pair.card) if end is not None}
        self._standing = {
            bdf: standing.setdefault(bdf, Standing()) for bdf in self._registers if bdf not in of.status_bits}
        for one in self._standing.values():
            one.begin()
        self._can_tell_active = self._tells_active()
        self.present: bool | None = None
        self.active: bool | None = None

    def _tells_active(self) -> bool:
        """Whether the port reports that its data link layer is up (LnkCap)."""
        pair = self.of.pair
        if pair is None or self._ports is None:
            return False
        word = self._ports.read(pair.port.bdf, pair.port.express + 0x0C, 4)
        return not isinstance(word, Unread) and word != 0xFFFF_FFFF and decode_link_cap(word).dll_active_reporting

    def _presence(self) -> bool | None:
        """SltSta, where the port has a slot (bit 8 of its PCI Express flags)."""
        pair = self.of.pair
        if pair is None or self._ports is None:
            return None
        flags = self._ports.read(pair.port.bdf, pair.port.express + 0x02, 2)
        status = self._ports.read(pair.port.bdf, pair.port.express + 0x1A, 2)
        if isinstance(flags, Unread) or isinstance(status, Unread) or 0xFFFF in (flags, status) or not flags & 0x100:
            return None
        return decode_slot_sta(status).presence_detect

    def read(self, now: float, *, all_registers: bool) -> None:
        of, active = self.of, None
        if self._can_tell_active and (status := self._registers[of.port].link_status()) is not None:
            active = self.active = decode_link_sta(status).dll_active
        readings = {end.bdf: end.read(now) for end in self._ends}
        self.course.add(now, readings, active)
        for bdf, registers in self._registers.items():
            bits = bdf in of.status_bits
            if bits or all_registers:
                marks = registers.news(errors=bits)
                if all_registers:
                    marks = msgspec.structs.replace(
                        marks, unequalised=registers.equalisation(self.course.speed_gts),
                        **self._stuck(now, bdf, registers, readings.get(bdf)))
                self.course.mark(bdf, marks)
        if all_registers:
            self.present = self._presence() if self._registers else None

    def _stuck(
        self, now: float, bdf: Bdf, registers: EndRegisters, reading: LinkReading | None
    ) -> dict[str, tuple[str, ...]]:
        """Status bits that stand though the kernel counts this end's errors, with the errors that they are known by."""
        standing = self._standing.get(bdf)
        if standing is None or reading is None or not isinstance(reading.correctable, tuple):
            return {}
        counts = {one.name: one.count for one in reading.correctable if isinstance(one.count, int)}
        new = standing.add(now, registers.standing(), counts)
        return {"stuck": tuple(standing.stuck), **({"errors": new} if new else {})}

    @property
    def is_open(self) -> bool:
        """Whether an error bit stands of which nobody can say yet whether its counter is stuck."""
        return any(standing.is_open for standing in self._standing.values())

    def close(self) -> None:
        for end in self._ends:
            end.close()


class LinkWatch:
    """A context manager: the thread runs as long as it is entered. `split` begins a new part; `seen` gives what came of
    it, after it was left or before. `standing`: error bits of each end, as looks before left them; kept up."""

    def __init__(
        self, links: Iterable[Watched], *, root: str = "/", ports: Ports | None = None,
        every_seconds: float = EVERY_SECONDS, log: LogWatch | None = None,
        clock: Callable[[], float] = time.monotonic, standing: dict[Bdf, Standing] | None = None,
    ) -> None:
        self._root = root.rstrip("/")
        known = {} if standing is None else standing
        self._links = [_Link(one, self._root, ports, known) for one in links]
        self._every, self._clock = every_seconds, clock
        self._log = log
        self._several: dict[Bdf, dict[str, None]] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="riser watch", daemon=True)
        self._trouble = ""
        self._turn = 0

    def __enter__(self) -> LinkWatch:
        self._read()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            self._trouble = self._trouble or "its registers do not answer: the reading has not come back"
            return  # its files are still in use
        with self._lock:
            if not self._trouble:
                self._guarded(self._last)
            for link in self._links:
                link.close()
        if self._log is not None:
            self._log.close()

    def split(self) -> None:
        """Reads at once, and begins a part after that reading."""
        if not self._lock.acquire(timeout=END_SECONDS):
            self._trouble = "its registers do not answer: the reading has not come back"
            return
        try:
            self._guarded(self._read)
            for link in self._links:
                link.course.split()
        finally:
            self._lock.release()

    def settle(self) -> None:
        """Before the last `split`: goes on while an error bit stands of which nobody can say yet whether the kernel is
        late with it or does not count it. What came up at the end of a look would else be a zero."""
        for _ in range(AGAIN_AT_MOST):
            if not self._lock.acquire(timeout=END_SECONDS):
                return  # which `split` tells
            try:
                self._turn = 0
                self._guarded(self._read)
            finally:
                self._lock.release()
            if self._trouble or not any(link.is_open for link in self._links):
                return
            self._stop.wait(AGAIN_SECONDS)

    def seen(self) -> Mapping[Bdf, Seen]:
        """By the port of each link."""
        return {
            link.of.port: Seen(
                segments=tuple(link.course.segments()), present=link.present, active=link.active,
                several=tuple(self._several.get(link.of.port, {})), trouble=self._trouble)
            for link in self._links}

    def _work(self) -> None:
        at = self._clock()
        while not self._stop.is_set() and not self._trouble:
            at = max(at + self._every, self._clock())  # a reading that took long leaves out those that it overtook
            if self._stop.wait(max(0.0, at - self._clock())):
                return
            with self._lock:
                self._guarded(self._read)

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # noqa: BLE001  a thread that dies in silence would leave zeros behind
            self._trouble = f"boxcheck's own error: {type(error).__name__}: {error}"

    def _read(self) -> None:
        slow = self._turn % REGISTERS_EVERY == 0
        for link in self._links:
            link.read(self._clock(), all_registers=slow)
        self._turn += 1
        if slow and self._log is not None:
            self._hear()

    def _last(self) -> None:
        self._turn = 0
        self._read()

    def _hear(self) -> None:
        assert self._log is not None
        for event, _ in self._log.news():
            if not event.multiple:
                continue
            # The root port keeps the first sender alone: whose the others were nobody knows.
            about = {event.bdf, event.requester} - {None}
            for link in self._links:
                if about & {link.of.port, link.of.card}:
                    self._several.setdefault(link.of.port, {})[
                        f"the kernel's log has several errors in one message of {event.bdf}"] = None
