"""What the readings of a watch show, as it shows: a notice for what has changed, and a line a minute. Judged by the
checks over all readings at the end; this is for who looks on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Unread
from boxcheck.stress.growth import Growth
from boxcheck.stress.happenings import Severity
from boxcheck.stress.link_errors import is_link_error
from boxcheck.stress.watched import CUTS
from boxcheck.stress.watched_memory import GRAVE
from boxcheck.telemetry.readings import Count, GpuReading, GpuSilent, HostReading, LinkReading, Reading

AGAIN_SECONDS = 60.0
"""Between two notices of the same kind on the same part."""
COLUMNS = 80


class Notice(msgspec.Struct, frozen=True):
    kind: str
    says: str
    severity: Severity
    subject: str


class _Now(msgspec.Struct):
    """What one GPU showed last."""

    celsius: float | None = None
    watts: float | None = None
    held: tuple[str, ...] = ()
    silent: str = ""


class Notices:
    """Fed with every reading."""

    def __init__(self, gpus: Sequence[GpuInfo], slots: Mapping[str, str]) -> None:
        self._names = {info.bdf: slots.get(info.key) or info.key for info in gpus if info.bdf is not None}
        self._now: dict[Bdf, _Now] = {bdf: _Now() for bdf in self._names}
        self._host = ""
        self._links: dict[tuple[Bdf, str], Growth] = {}
        self._memory: dict[tuple[Bdf, str], Growth] = {}
        self._bytes: dict[tuple[Bdf, str], Growth] = {}
        self._unknown_bytes: dict[Bdf, str] = {}
        self._widths: dict[Bdf, int] = {}
        self._speeds: dict[Bdf, tuple[float, float]] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._growing: dict[tuple[Bdf, str], int] = {}
        """Errors of a link that were not told yet."""
        self.link_errors = 0

    def feed(self, readings: Sequence[Reading]) -> list[Notice]:
        found: list[Notice] = []
        for one in readings:
            if isinstance(one, GpuReading) and one.bdf in self._now:
                found += self._gpu(one)
            elif isinstance(one, GpuSilent) and one.bdf in self._now:
                found += self._silent(one)
            elif isinstance(one, LinkReading):
                found += self._link(one)
            elif isinstance(one, HostReading):
                self._host = _host_words(one)
        return found

    # One reading.

    def _gpu(self, one: GpuReading) -> Iterator[Notice]:
        name, now = self._names[one.bdf], self._now[one.bdf]
        told = () if isinstance(one.temperatures_celsius, Unread) else one.temperatures_celsius
        now.celsius = max((of.value for of in told if isinstance(of.value, (int, float))), default=None)
        power = one.power_instant_watts if isinstance(one.power_instant_watts, float) else one.power_watts
        now.watts = power if isinstance(power, (int, float)) else None
        held = one.throttle if isinstance(one.throttle, tuple) else ()
        hard = tuple(of.says for of in held if of.kind in CUTS or of.kind == "thermal-software")
        for says in hard:
            if says not in now.held and self._is_news("throttled", f"{one.bdf} {says}", one.monotonic_seconds):
                yield Notice("throttled", f"its clock is held down: {says}", "warn", name)
        now.held, now.silent = hard, ""
        for way, count in (("sent", one.pcie.sent_bytes), ("received", one.pcie.received_bytes)):
            if isinstance(count, int):
                self._bytes.setdefault((one.bdf, way), Growth()).add(one.monotonic_seconds, count)
            else:
                self._unknown_bytes[one.bdf] = count.why if isinstance(count, Unread) else "its driver counts none"
        for of in one.memory_errors if isinstance(one.memory_errors, tuple) else ():
            yield from self._of_memory(one, of, name)

    def _of_memory(self, one: GpuReading, of: Count, name: str) -> Iterator[Notice]:
        if isinstance(of.count, int):
            growth = self._memory.setdefault((one.bdf, of.name), Growth())
            before = growth.grown
            growth.add(one.monotonic_seconds, of.count)
            if growth.grown > before:
                grave = any(word in of.name for word in GRAVE)
                yield Notice("gpu-memory-errors", f"its memory counted {of.name} {growth.grown - before}",
                             "fail" if grave else "warn", name)

    def _silent(self, one: GpuSilent) -> Iterator[Notice]:
        now = self._now[one.bdf]
        if now.silent != one.state and one.state == "unread":
            yield Notice("gpu-silent", f"tells nothing: {one.why.why}", "warn", self._names[one.bdf])
        self._now[one.bdf] = _Now(silent=one.state)

    def _link(self, one: LinkReading) -> Iterator[Notice]:
        if isinstance(one.width, int) and 0 < one.width <= 32:
            before = self._widths.get(one.bdf)
            self._widths[one.bdf] = one.width
            if before is not None and one.width != before:
                severity: Severity = "warn" if one.width < before else "info"
                yield Notice("link-width", f"its link went from x{before} to x{one.width}", severity, f"port {one.bdf}")
        if isinstance(one.speed_gts, float) and one.speed_gts > 0:
            low, high = self._speeds.get(one.bdf, (one.speed_gts, one.speed_gts))
            self._speeds[one.bdf] = (min(low, one.speed_gts), max(high, one.speed_gts))
        for word, counts in (("", one.correctable), ("nonfatal ", one.nonfatal), ("fatal ", one.fatal)):
            for of in counts if isinstance(counts, tuple) else ():
                name = f"{word}{of.name}"
                if isinstance(of.count, int) and is_link_error(name) and not of.name.startswith("TOTAL"):
                    self._count(one, name, of.count)
        mine = {name: number for (bdf, name), number in self._growing.items() if bdf == one.bdf}
        if mine and self._is_news("link-errors", one.bdf, one.monotonic_seconds):
            yield self._errors(one.bdf, mine)

    def _count(self, one: LinkReading, name: str, count: int) -> None:
        growth = self._links.setdefault((one.bdf, name), Growth())
        before = growth.grown
        growth.add(one.monotonic_seconds, count)
        if growth.grown > before:
            self.link_errors += growth.grown - before
            self._growing[one.bdf, name] = self._growing.get((one.bdf, name), 0) + growth.grown - before

    def _errors(self, bdf: Bdf, mine: Mapping[str, int]) -> Notice:
        for name in mine:
            self._growing.pop((bdf, name), None)
        grave = any(" " in name for name in mine)
        said = ", ".join(f"{name} {number}" for name, number in mine.items())
        end = f"{'GPU' if bdf in self._now else 'port'} {bdf}"
        return Notice("link-errors", f"its link counted {said}", "fail" if grave else "warn", end)

    def _is_news(self, kind: str, part: str, seconds: float) -> bool:
        if seconds - self._told.get((kind, part), -AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        self._told[kind, part] = seconds
        return True

    # All of it.

    def rest(self) -> list[Notice]:
        """What was counted and not told yet."""
        ports = dict.fromkeys(bdf for bdf, _ in self._growing)
        return [self._errors(bdf, {name: number for (of, name), number in self._growing.items() if of == bdf})
                for bdf in ports]

    def line(self) -> str:
        """How it is now: `8 GPUs  81 °C  3412 W  throttled 2  link errors 4`. A `?` is what nobody told."""
        if not self._now:
            return self._host or "no GPU"
        shown = list(self._now.values())
        heat = [one.celsius for one in shown if one.celsius is not None]
        watts = [one.watts for one in shown if one.watts is not None]
        asleep = sum(one.silent == "asleep" for one in shown)
        dumb = sum(one.silent in ("unread", "lost", "reset-required") for one in shown)
        held = sum(bool(one.held) for one in shown)
        words = (
            f"{len(shown)} GPU{'' if len(shown) == 1 else 's'}", f"{max(heat):.0f} °C" if heat else "? °C",
            f"{sum(watts):.0f} W" if watts else "? W", f"asleep {asleep}" if asleep else "",
            f"silent {dumb}" if dumb else "", f"throttled {held}" if held else "", f"link errors {self.link_errors}")
        return "  ".join(word for word in words if word)

    def ledger(self, gpus: Sequence[GpuInfo], slots: Mapping[str, str]) -> dict[str, Any]:
        """What crossed each GPU's link by NVML's counters, or why nobody knows; and how the links were trained."""
        return {
            "gpus": [{
                "key": info.key, "bdf": info.bdf, "slot": slots.get(info.key), "name": info.name,
                "sent_bytes": self._moved(info.bdf, "sent"), "received_bytes": self._moved(info.bdf, "received"),
                "bytes_unknown": self._why(info.bdf)} for info in gpus],
            "links": [{
                "bdf": bdf, "width": self._widths.get(bdf), "least_gts": self._speeds.get(bdf, (None, None))[0],
                "most_gts": self._speeds.get(bdf, (None, None))[1], "errors": {
                    name: growth.grown for (of, name), growth in self._links.items() if of == bdf and growth.grown},
                "counted": any(of == bdf for of, _ in self._links)}
                for bdf in sorted({*self._widths, *self._speeds, *(bdf for bdf, _ in self._links)})]}

    def _moved(self, bdf: Bdf | None, way: str) -> int | None:
        growth = None if bdf is None else self._bytes.get((bdf, way))
        return None if growth is None or growth.resets else growth.grown

    def _why(self, bdf: Bdf | None) -> str | None:
        if bdf is None or (self._moved(bdf, "sent") is not None and self._moved(bdf, "received") is not None):
            return None
        if any(growth.resets for (of, _), growth in self._bytes.items() if of == bdf):
            return "its counters began anew"
        return self._unknown_bytes.get(bdf, "it told nothing")


def _host_words(one: HostReading) -> str:
    heat = [] if isinstance(one.cpu_temperatures_celsius, Unread) else [
        of.value for of in one.cpu_temperatures_celsius if isinstance(of.value, (int, float))]
    busy = "" if isinstance(one.cpu_busy_percent, Unread) else f"  {one.cpu_busy_percent:.0f} % busy"
    return f"no GPU  processor {f'{max(heat):.0f}' if heat else '?'} °C{busy}"
