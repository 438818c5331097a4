"""What the instruments showed during a run, and judgements on it: heat, what held the clocks down, link errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from boxcheck.checks.thermal_gpu import ANY_TIME
from boxcheck.gpu import GpuInfo
from boxcheck.model import BOX, Bdf, Finding, Quantity, Subject, Unread
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown
from boxcheck.stress import StressResults
from boxcheck.stress.judging import cause_of, judge_value, subject_of
from boxcheck.telemetry.readings import GpuReading, LinkReading, Reading, Values

LINK_ERRORS = frozenset(("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout"))
"""What is a damaged packet on the wire, by the kernel's names; advisory non-fatal errors are not."""
CUTS = frozenset(("thermal-hardware", "power-brake", "prochot", "hardware"))
"""Kinds of throttling by which hardware cuts the clock in an emergency."""


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """All readings of one run, summed up: a fact that the checks below judge."""

    seconds: float
    hottest_celsius: Mapping[str, Mapping[str, float]]
    """By device key, then sensor."""
    most_watts: Mapping[str, float]
    throttled: Mapping[str, Mapping[str, tuple[str, int]]]
    """By device key, then reason: its kind, and in how many readings it was there."""
    readings: Mapping[str, int]
    """How many readings told what holds a device's clock down, if anything does."""
    silent: Mapping[str, str]
    """Why a device told nothing."""
    link_errors: Mapping[Bdf, Mapping[str, int]]
    """Growth of AER counters of each function on the way to a GPU, where it grew: `BadTLP`, `fatal DLP` ..."""
    links: tuple[Bdf, ...]
    """Functions whose counters were read at least twice."""


class Tally:
    """Sums up readings as they come; several workers read the same links, which count once."""

    def __init__(self, gpus: Sequence[GpuInfo]) -> None:
        self._keys = {info.bdf or info.key: info.key for info in gpus}
        self._hot: dict[str, dict[str, float]] = {}
        self._watts: dict[str, float] = {}
        self._throttled: dict[str, dict[str, tuple[str, int]]] = {}
        self._count: dict[str, int] = {}
        self._silent: dict[str, str] = {}
        self._first: dict[tuple[Bdf, str], int] = {}
        self._last: dict[tuple[Bdf, str], int] = {}
        self._began: float | None = None
        self._ended = 0.0
        self._seen: dict[Bdf, int] = {}

    def add(self, readings: Sequence[Reading]) -> None:
        for one in readings:
            self._began = one.monotonic_seconds if self._began is None else self._began
            self._ended = max(self._ended, one.monotonic_seconds)
            if isinstance(one, GpuReading):
                self._gpu(one)
            elif isinstance(one, LinkReading):
                self._link(one)
            elif hasattr(one, "why") and hasattr(one, "bdf"):
                self._silent[self._keys.get(one.bdf, one.bdf)] = one.why.why

    def _gpu(self, one: GpuReading) -> None:
        key = self._keys.get(one.bdf)
        if key is None:
            return
        for name, value in _read(one.temperatures_celsius):
            hot = self._hot.setdefault(key, {})
            hot[name] = max(hot.get(name, value), value)
        power = one.power_instant_watts if isinstance(one.power_instant_watts, float) else one.power_watts
        if isinstance(power, (int, float)):
            self._watts[key] = max(self._watts.get(key, 0.0), power)
        if isinstance(one.throttle, tuple):
            self._count[key] = self._count.get(key, 0) + 1
            for reason in one.throttle:
                held = self._throttled.setdefault(key, {})
                held[reason.says] = (reason.kind, held.get(reason.says, ("", 0))[1] + 1)

    def _link(self, one: LinkReading) -> None:
        self._seen[one.bdf] = self._seen.get(one.bdf, 0) + 1
        for word, counts in (("", one.correctable), ("nonfatal ", one.nonfatal), ("fatal ", one.fatal)):
            for count in counts if isinstance(counts, tuple) else ():
                if isinstance(count.count, int) and not count.name.startswith("TOTAL"):
                    place = (one.bdf, f"{word}{count.name}")
                    self._first.setdefault(place, count.count)
                    self._last[place] = count.count

    def result(self) -> Watching:
        grown: dict[Bdf, dict[str, int]] = {}
        for (bdf, name), last in self._last.items():
            if last > self._first[bdf, name]:
                grown.setdefault(bdf, {})[name] = last - self._first[bdf, name]
        counted = {bdf for bdf, _ in self._last}
        return Watching(
            seconds=self._ended - self._began if self._began is not None else 0.0, hottest_celsius=self._hot,
            most_watts=self._watts, throttled=self._throttled, readings=self._count, silent=self._silent,
            link_errors=grown, links=tuple(sorted(bdf for bdf in counted if self._seen[bdf] >= 2)))


def _read(values: Values) -> Iterator[tuple[str, float]]:
    if not isinstance(values, Unread):
        for one in values:
            if not isinstance(one.value, Unread):
                yield one.name, one.value


@check("stress.temperature", reads=[StressResults, Watching], limits=[ANY_TIME], stress="*")
def temperature(results: StressResults, watching: Watching, want: Profile) -> Iterator[Finding]:
    """A GPU becomes too hot under load.

    Why it matters: it will throttle, and its memory and solder age. Above 100 degrees (core, edge) or 110 (junction,
    memory) the run is stopped for safety, with exit code 5.
    What to do: look at fans, dust, paste, and at the air between the cards; the hottest card is often the one whose
    intake is its neighbour's exhaust.
    Not a fault: a junction some 20 degrees above the edge.
    By hand: watch -n 1 nvidia-smi -q -d TEMPERATURE; sensors 'amdgpu-*'
    """
    bound = want.limit(ANY_TIME)
    for info in results.gpus:
        subject, hot = subject_of(results, info.key), watching.hottest_celsius.get(info.key, {})
        stopped = next((one for one in results.troubles if info.key in one.gpus and one.kind == "too-hot"), None)
        if stopped is not None:
            yield failed(
                subject, stopped.says, cause=f"safety-stop:{info.bdf or info.key}", where=str(subject),
                title=f"{subject}: stopped for safety", help=(stopped.help,))
        elif not info.is_gpu and not hot:
            yield skipped(subject, "a processor; doctor judges its temperature")
        elif not hot:
            yield unknown(subject, f"no temperature was read: {watching.silent.get(info.key, 'its driver tells none')}")
        else:
            told = ", ".join(f"{name} {value:g} °C" for name, value in hot.items())
            core = max((value for name, value in hot.items() if name in ("core", "edge")), default=None)
            if bound is None:
                yield skipped(subject, f"at most {told}; the profile sets no {ANY_TIME}")
            elif core is None:
                yield unknown(subject, f"at most {told}; neither core nor edge was read")
            else:
                yield judge_value(results, info.key, core, bound, f"at most {told}", (
                    "look at fans, dust, paste and the air between the cards",))


@check("stress.throttled", reads=[StressResults, Watching], stress="*")
def throttled(results: StressResults, watching: Watching, want: Profile) -> Iterator[Finding]:
    """Something held a GPU's clock down while it worked.

    Why it matters: an emergency cut by the hardware (heat, power brake, PROCHOT) halves the clock or worse, and comes
    from outside of the work: heat, a supply, a cable. A software slowdown for heat costs some percent.
    What to do: heat: fans and air. Power brake: the card's power connectors at both ends, then the supply.
    Not a fault: the card's own power limit, which full load always reaches; idle; clocks that somebody set.
    By hand: nvidia-smi -q -d PERFORMANCE
    """
    for info in results.gpus:
        subject, held = subject_of(results, info.key), watching.throttled.get(info.key, {})
        number = watching.readings.get(info.key, 0)
        cuts = {says: times for says, (kind, times) in held.items() if kind in CUTS}
        warm = {says: times for says, (kind, times) in held.items() if kind == "thermal-software"}
        if not info.is_gpu and not number:
            yield skipped(subject, "a processor")
        elif not number:
            yield unknown(subject, f"not read: {watching.silent.get(info.key, 'its driver does not tell')}")
        elif cuts or warm:
            named = ", ".join(f"{says} in {times} of {number} readings" for says, times in {**cuts, **warm}.items())
            make = failed if cuts else marginal
            yield make(
                subject, f"held down by {named}", measured=Quantity(sum({**cuts, **warm}.values()), "readings"),
                cause=cause_of(results, info.key), where=str(subject), title=f"{subject}: its clock was cut under load",
                help=("heat: fans and air; power brake: the power connectors at both ends, then the supply",))
        else:
            others = ", ".join(held) or "nothing"
            yield passed(subject, f"held down by {others} in {number} readings")


@check("stress.link-errors", reads=[StressResults, Watching], stress="*")
def link_errors(results: StressResults, watching: Watching, want: Profile) -> Iterator[Finding]:
    """A link on the way to a GPU counted errors while the GPU worked.

    Why it matters: damaged packets are sent again, until they are not. A port counts what arrives damaged, so errors at
    the root port were made on the way from the GPU, errors at the GPU on the way to it.
    What to do: reseat the card and its riser; boxcheck doctor aer (ends in PARTIAL) names slot and direction.
    Not a fault: advisory non-fatal errors, which are no damaged packets; a count where nothing counts is no zero.
    By hand: grep . /sys/bus/pci/devices/*/aer_dev_*
    """
    if not any(info.bdf for info in results.gpus):
        yield skipped(BOX, "no device is on PCIe")
        return
    if not watching.links:
        yield unknown(BOX, "no error counters of the links were read twice")
        return
    for bdf in watching.links:
        grown = {
            name: number for name, number in watching.link_errors.get(bdf, {}).items()
            if name in LINK_ERRORS or name.startswith(("nonfatal ", "fatal "))}
        subject = Subject("function", f"port {bdf}", bdf=bdf)
        if not grown:
            yield passed(subject, f"no error was counted in {watching.seconds:.0f} s", measured=Quantity(0, "errors"))
            continue
        grave = any(" " in name or name == "Rollover" for name in grown)
        told = ", ".join(f"{name} {number}" for name, number in grown.items())
        yield (failed if grave else marginal)(
            subject, f"counted {told} in {watching.seconds:.0f} s of work", measured=Quantity(
                sum(grown.values()), "errors"), cause=f"link-errors:{bdf}", where=str(subject),
            evidence=(f"/sys/bus/pci/devices/{bdf}/aer_dev_correctable",),
            title=f"{bdf}: damaged packets under load", help=(
                "reseat the card and its riser, then run it once more",
                "boxcheck doctor aer (ends in PARTIAL) names slot and direction"))
