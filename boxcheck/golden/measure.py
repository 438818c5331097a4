"""What a run measured of all that a profile can limit, as the checks themselves judge it: from its store alone.

Each limit is asked for twice, at its loosest and at its strictest. What passes the one and fails the other was judged;
anything else (a processor, a rate not taken alone, a pair without access, an empty drive) was not, and then the run
says nothing of that limit. So the value here is the one that a limit is held against, and none is made of what a check
would never fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from boxcheck.engine.figures import TELLS_APART, Figures, by_of
from boxcheck.engine.history_store import figures_from, options_of, stored_figures
from boxcheck.engine.inspect import Facts, findings_of
from boxcheck.engine.watch_judging import BEFORE, facts_in
from boxcheck.gpu import GpuInfo
from boxcheck.model import Crash, Finding, Limit, Outcome
from boxcheck.profile import Profile, load_gpus, part_of
from boxcheck.registry import CHECKS, LIMITS, Check, LimitSpec, discover, discover_stress
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of
from boxcheck.store.rows import Phase, Run
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.copy_checks import alone
from boxcheck.stress.judging import forget, subject_of
from boxcheck.stress.p2p_rate_checks import both_ways, one_way
from boxcheck.stress.transfer_judging import Pair, good

UNITS = ("TFLOPS", "GFLOPS", "GB/s", "us")
"""Of limits that a run can be the source of: rates and latencies. How hot, how many or whether at all a box may be is
no matter of what one box happened to be."""
NOTHING = "nothing of the run measures it"
UNNAMED = "GPU"
PAIRS: Mapping[str, Callable[[StressResults], Mapping[Pair, float]]] = {
    "p2p.one_way_gbs": one_way, "p2p.both_ways_gbs": both_ways}
"""Limits of pairs, of which a check names the slowest alone."""
SERIES: Mapping[str, str] = {
    "vram.copy_gbs": "vram.copy", "p2p.one_way_gbs": "p2p.one-way.engine-write",
    "p2p.both_ways_gbs": "p2p.both-ways.engine-write", "collective.all_reduce_busbw_gbs": "collective.all-reduce",
    "copy.host_to_device_gbs": "copy.host-to-device.pinned", "copy.device_to_host_gbs": "copy.device-to-host.pinned",
    "dram.triad_gbs": "dram.triad", "cpu.fp64_gflops": "cpu.fp64.together", "nvme.read_gbs": "nvme.read",
    "nvme.random_p99_us": "nvme.random",
    **{f"matmul.{element}_tflops": f"matmul.{element}.power" for element in (
        "bf16", "fp16", "tf32", "fp32", "int8", "e4m3")}}
"""Samples that a limit is judged by, by the beginning of their names."""


class Kind(msgspec.Struct, frozen=True, order=True):
    """What a GPU is; no more of it than others of its kind have."""

    name: str
    pci_id: str = ""
    revision: int = -1
    memory_gib: int = 0

    def __str__(self) -> str:
        return f"{self.name} ({self.memory_gib} GiB)" if self.memory_gib else self.name


class DeviceValue(msgspec.Struct, frozen=True, kw_only=True):
    """What was judged of one device: a GPU, a drive, the whole box."""

    device: str
    """Its UUID or serial number where it tells one, else its place: the same card in two runs of a box."""
    place: str
    """For a person: slot, else address, else key."""
    value: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One limit in one run."""

    limit: str
    checks: tuple[str, ...]
    """Those that judge it."""
    values: tuple[DeviceValue, ...]
    """The worst of each device."""
    over_time: float | None
    """Standard deviation of the logarithms of samples of one kind and device; None where it was not taken."""
    samples: int
    by: tuple[str, ...]
    """What did the work: `kernel mma-bf16, shape 8192x8192x8192`."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as far as limits can be made of it."""

    run: str
    path: str
    started: float
    """Seconds since the epoch."""
    box: str
    version: str
    cards: tuple[Kind, ...]
    """Sorted; a box with seven has seven."""
    devices: tuple[GpuInfo, ...]
    drivers: tuple[str, ...]
    phases: tuple[tuple[str, float, Mapping[str, str]], ...]
    """Module, planned seconds and options of each that was judged."""
    planned_seconds: float
    """Of the whole plan."""
    measured: Mapping[str, Measured]
    missing: Mapping[str, str]
    """Limits of which nothing can be said, and why."""
    injected: str | None
    held: tuple[str, ...]
    """What held clocks down, in words."""
    held_unread: tuple[str, ...]
    """Places of GPUs of which nobody told that."""
    hottest_celsius: Mapping[str, float]
    most_watts: float | None


def limits_measured() -> tuple[str, ...]:
    """Names of the limits that a run can be the source of."""
    discover()
    discover_stress()
    read = {name for check in CHECKS.values() if check.stress is not None for name in check.limits}
    return tuple(sorted(name for name in read if LIMITS[name].unit in UNITS))


def measurement_of(reader: RunReader, want: Profile, facts: Facts | None = None) -> Measurement:
    """What the run measured. `want`: the profile that it was judged by; `facts`: of its capture, where they were read
    before. StoreError for a store that cannot be read."""
    names = limits_measured()
    run = reader.run()
    facts = facts if facts is not None else facts_in(reader, BEFORE) or Facts()
    found: dict[str, list[Measured]] = {}
    missing: dict[str, str] = {}
    devices: dict[str, GpuInfo] = {}
    phases: list[tuple[str, float, Mapping[str, str]]] = []
    injected: str | None = None
    every = reader.phases()
    for phase in every:
        if not phase.plan.module or phase.start is None:
            continue
        results = results_of(reader, phase.plan.number, only_judged=True)
        injected = injected or results.injected or phase.start.injected
        devices |= {info.key: info for info in results.gpus}
        if results.warm_up:
            continue
        phases.append(_told(run, phase))
        facts.put(StressResults, results)
        for name in names:
            one = _judged(results, name, facts, want)
            if isinstance(one, Measured):
                found.setdefault(name, []).append(one)
            elif one:
                missing.setdefault(name, f"{phase.plan.name}: {one}")
        forget()
    figures = stored_figures(reader) or figures_from(reader)
    cards = {key: info for key, info in devices.items() if info.is_gpu}
    return Measurement(
        run=run.info.id or reader.path, path=reader.path, started=run.started, box=run.info.box or run.info.host,
        version=run.info.version, cards=tuple(sorted(map(kind_of, cards.values()))), devices=tuple(devices.values()),
        drivers=tuple(sorted({info.driver for info in devices.values() if info.driver})), phases=tuple(phases),
        planned_seconds=sum(phase.plan.planned_seconds or 0.0 for phase in every),
        measured={name: _together(some) for name, some in sorted(found.items()) if name not in missing},
        missing={name: missing.get(name, NOTHING) for name in names
                 if name in missing or name not in found},
        injected=injected, held=tuple(_held(figures)), held_unread=tuple(_unread(figures)),
        hottest_celsius=_hottest(figures), most_watts=max(
            (card.most_watts for phase in figures.phases for card in phase.cards if card.most_watts is not None),
            default=None))


def kind_of(info: GpuInfo) -> Kind:
    return Kind(info.name, info.pci_id or "", -1 if info.pci_revision is None else info.pci_revision,
                round(info.memory_bytes / (1 << 30)))


def card_name(kind: Kind) -> str:
    """As gpus.toml calls it, whatever a runtime does; its own name where that does not know it."""
    part = part_of(kind.pci_id, kind.revision if kind.revision >= 0 else None) if kind.pci_id else None
    return part.name if part is not None else kind.name


def shared_name(kind: Kind) -> str:
    """As others may read it: a name of gpus.toml. What a runtime calls another card may hold what somebody wrote."""
    name = card_name(kind)
    return name if any(part.name == name for part in load_gpus().values()) else UNNAMED


def _told(run: Run, phase: Phase) -> tuple[str, float, Mapping[str, str]]:
    return phase.plan.module, phase.plan.planned_seconds or 0.0, options_of(run.info.plan, phase)


def _judged(results: StressResults, name: str, facts: Facts, want: Profile) -> Measured | str:
    """What the checks of a module make of one limit; why nothing, in words; empty where the limit is not of it."""
    checks = [one for one in CHECKS.values() if one.stress == results.module and name in one.limits]
    spec, values, ids, whys = LIMITS[name], dict[str, DeviceValue](), [], []
    for check in checks:
        loose, strict = (_asked(check, spec, bound, facts, want) for bound in _bounds(spec))
        of_it = [one for one in loose if one.limit is not None and one.limit.name == name]
        whys += [one.says for one in loose if one.outcome is Outcome.UNKNOWN]
        for one in of_it:
            again = next((two for two in strict if two.subject == one.subject and two.outcome is Outcome.FAIL), None)
            if again is None or one.outcome is not Outcome.PASS or one.measured is None:
                other = next((two.says for two in strict if two.subject == one.subject), one.says)
                whys.append(f"not judged: {other}")
                continue
            ids.append(check.id)
            device, place = _device(results, one)
            values[device] = DeviceValue(device=device, place=place, value=float(one.measured.value))
    if whys:
        return whys[0]
    if not values:
        return "its rate is not judged on this device, or in these sizes" if checks else ""
    if name in PAIRS:
        values = _worst_of_pairs(results, PAIRS[name](results))
    samples = _samples(results, name)
    return Measured(
        limit=name, checks=tuple(dict.fromkeys(ids)), values=tuple(values.values()), over_time=over_time(samples),
        samples=len(samples), by=tuple(dict.fromkeys(filter(None, map(by_of, samples)))))


def _bounds(spec: LimitSpec) -> tuple[float, float]:
    """The loosest that a profile may ask, and the strictest."""
    low, high = spec.low, spec.high
    assert low is not None, spec.name
    assert high is not None, spec.name
    return (low, high) if spec.compare == "ge" else (high, low)


def _asked(check: Check, spec: LimitSpec, bound: float, facts: Facts, want: Profile) -> list[Finding]:
    """What a check finds where the profile sets this limit and no other of those that can be measured."""
    kept = {name: limit for name, limit in want.limits.items() if LIMITS[name].unit not in UNITS}
    limit = Limit(spec.name, spec.compare, must=bound, unit=spec.unit, source="asked to see what is judged")
    crashes: list[Crash] = []
    found = findings_of(check, facts, msgspec.structs.replace(want, limits={**kept, spec.name: limit}), crashes)
    if crashes:
        raise RuntimeError(crashes[0].traceback)
    return found


def _device(results: StressResults, finding: Finding) -> tuple[str, str]:
    for info in results.gpus:
        if subject_of(results, info.key) == finding.subject:
            return identity(info), results.slots.get(info.key) or info.bdf or info.key
    return str(finding.subject.bdf or finding.subject), str(finding.subject)


def identity(info: GpuInfo) -> str:
    return info.uuid or info.serial or info.bdf or info.key


def _worst_of_pairs(results: StressResults, rates: Mapping[Pair, float]) -> dict[str, DeviceValue]:
    """Of each GPU its slowest pair: pairs that have a GPU in common do not differ independently."""
    infos = {info.key: info for info in results.gpus}
    worst: dict[str, float] = {}
    for pair, value in rates.items():
        for key in pair:
            worst[key] = min(worst.get(key, value), value)
    return {
        identity(infos[key]): DeviceValue(
            device=identity(infos[key]), place=results.slots.get(key) or infos[key].bdf or key, value=value)
        for key, value in worst.items()}


def _samples(results: StressResults, name: str) -> list[Sample]:
    """Those that the limit is judged by."""
    begins = SERIES.get(name)
    if begins is None:
        return []
    named = [one for one in results.named(begins) if one.what == begins or one.what.startswith(f"{begins}.")]
    return alone(results, named) or good(named) if name.startswith("copy.") else good(named)


def over_time(samples: Iterable[Sample]) -> float | None:
    """How far samples of one kind, device and peer differ: the standard deviation of their logarithms, all kinds taken
    together. None where no kind has two."""
    groups: dict[tuple[object, ...], list[float]] = {}
    for one in samples:
        if one.value is not None and one.value > 0:
            kind = (one.what, one.gpu, one.peer, *map(one.notes.get, TELLS_APART))
            groups.setdefault(kind, []).append(math.log(one.value))
    degrees = sum(len(values) - 1 for values in groups.values())
    if degrees < 1:
        return None
    squares = 0.0
    for values in groups.values():
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt(squares / degrees)


def _together(some: Sequence[Measured]) -> Measured:
    """One limit over several phases: of each device the worst, since a limit holds in all of them."""
    first = some[0]
    times = [one.over_time for one in some if one.over_time is not None]
    return Measured(
        limit=first.limit, checks=tuple(dict.fromkeys(id for one in some for id in one.checks)),
        values=worst_of(first.limit, [one.values for one in some]), over_time=max(times, default=None),
        samples=sum(one.samples for one in some), by=tuple(dict.fromkeys(by for one in some for by in one.by)))


def worst_of(name: str, some: Iterable[Iterable[DeviceValue]]) -> tuple[DeviceValue, ...]:
    """Of each device the worst value."""
    pick = min if LIMITS[name].compare == "ge" else max
    kept: dict[str, DeviceValue] = {}
    for values in some:
        for one in values:
            kept[one.device] = pick(kept.get(one.device, one), one, key=lambda each: each.value)
    return tuple(kept.values())


def _held(figures: Figures) -> list[str]:
    return [
        f"{card.card.place}: {says} for {seconds:.0f} s of {phase.name}" for phase in figures.phases
        for card in phase.cards for says, seconds in (card.held_seconds or {}).items() if seconds > 0]


def _unread(figures: Figures) -> list[str]:
    return list(dict.fromkeys(
        card.card.place for phase in figures.phases for card in phase.cards
        if card.card.is_gpu and card.held_seconds is None))


def _hottest(figures: Figures) -> dict[str, float]:
    found: dict[str, float] = {}
    for phase in figures.phases:
        for card in phase.cards:
            for sensor, celsius in card.hottest_celsius.items():
                found[sensor] = max(found.get(sensor, celsius), celsius)
    return dict(sorted(found.items()))
