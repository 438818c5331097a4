"""How far a run is, at one moment: what a line shows every 30 s. Read from the store alone, at any time.

A temperature or a power that is older than STALE_SECONDS is not shown: the last value that was held is no reading.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from boxcheck.engine.safety import DEFAULTS, SENSORS, StopLimit, limits_of
from boxcheck.gpu import GpuInfo
from boxcheck.model import Unread
from boxcheck.profile import Profile
from boxcheck.registry import LIMITS
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Phase, Run, step_seconds, steps_of
from boxcheck.store.samples import Samples
from boxcheck.stress import Sample
from boxcheck.telemetry.readings import GpuReading, Reading

STALE_SECONDS = 5.0
EXPECTED = {
    "vram.copy": "vram.copy_gbs", "copy.host-to-device.pinned": "copy.host_to_device_gbs",
    "copy.device-to-host.pinned": "copy.device_to_host_gbs", "collective.all-reduce": "collective.all_reduce_busbw_gbs",
    **{f"matmul.{name}.power": f"matmul.{name}_tflops" for name in ("bf16", "fp16", "tf32", "fp32", "int8", "e4m3")},
}
"""Limits of a profile that say what a kind of work should reach."""


class Hot(msgspec.Struct, frozen=True):
    """The temperature that is nearest to where a run is stopped."""

    where: str
    sensor: str
    celsius: float


class Pace(msgspec.Struct, frozen=True):
    """The slowest device's rate of the kind of work that came last."""

    what: str
    value: float
    unit: str
    percent: float | None
    """Of what the profile says that it should reach; None where it says nothing."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    seconds: float
    """Age of the run, by the monotonic clock."""
    state: str
    step: int = 0
    """Of the plan, from 1; 0 before the first."""
    steps: int = 0
    doing: str = ""
    percent: float = 0.0
    """Of the planned time."""
    left_seconds: float = 0.0
    on_gpus: bool = False
    """Whether a GPU is worked on now."""
    hot: Hot | None = None
    watts: float | None = None
    """Of all GPUs that told it."""
    watts_of: tuple[int, int] = (0, 0)
    """How many told it, of how many."""
    paces: tuple[Pace, ...] = ()
    """One for each module that is running."""
    errors: int = 0


def age_of(run: Run, monotonic: float) -> float:
    """Seconds since a run began, whatever was done to the wall clock."""
    if run.end is not None:
        return run.end.at.seconds
    if not run.sessions:
        return 0.0
    last = run.sessions[-1]
    return max(0.0, monotonic - last.monotonic_seconds + last.began.seconds)


def view_of(
    reader: RunReader, run: Run, phases: Sequence[Phase], want: Profile | None, *, errors: int,
    monotonic: float | None = None,
) -> View:
    """How far a run is now. `want`: whose limits say what should be reached; None: nobody's."""
    now = time.monotonic() if monotonic is None else monotonic
    age = age_of(run, now)
    steps = [(str(one.get("name", "")), step_seconds(one)) for one in steps_of(run.info.plan)
             if isinstance(one.get("seconds"), (int, float))]
    at, since, before = place_of(phases, [name for name, _ in steps])
    active = [phase for phase in phases if phase.state in ("about", "running")]
    total = sum(seconds for _, seconds in steps)
    done = sum(steps[place][1] for place in before)
    left = sum(seconds for _, seconds in steps[at + 1:])
    if 0 <= at < len(steps):
        here = min(steps[at][1], max(0.0, age - since))
        done, left = done + here, left + steps[at][1] - here
    share = 1.0 if run.state == "finished" else min(1.0, done / total) if total else 0.0
    infos = {info.key: info for phase in active if phase.start for info in phase.start.gpus if info.is_gpu}
    slots = {key: slot for phase in active if phase.start for key, slot in phase.start.slots.items()}
    readings = reader.latest() if infos else ()
    watts, told = _watts(readings, infos, now)
    return View(
        seconds=age, state=run.state, step=at + 1, steps=len(steps), percent=100 * share, errors=errors,
        doing=steps[at][0] if 0 <= at < len(steps) and run.state == "running" else run.state,
        left_seconds=left if run.state == "running" else 0.0, on_gpus=bool(infos),
        hot=hottest(readings, infos, slots, now, want), watts=watts, watts_of=(told, len(infos)),
        paces=tuple(paces(_samples(reader), active, want)) if active else ())


def place_of(phases: Sequence[Phase], steps: Sequence[str]) -> tuple[int, float, frozenset[int]]:
    """Which step of a plan a run is at, from 0 (-1 before the first), its age when that began, and the steps that it
    was at before: one that is told to end leaves some out. A phase that was gone on with is one more of the same name;
    a plan may have a step twice."""
    at, since = -1, 0.0
    before: set[int] = set()
    modules: set[str] = set()
    ended = False
    for phase in phases:
        if phase.state == "planned":
            continue
        moment = phase.started or phase.about
        begins = moment.seconds if moment else since
        same = 0 <= at < len(steps) and steps[at] == phase.plan.name
        later = next((place for place in range(at + 1, len(steps)) if steps[place] == phase.plan.name), None)
        if later is not None and (not same or (phase.plan.module in modules and ended)):
            before |= {at} if at >= 0 else set()
            at, since, modules = later, begins, set()
        elif same and phase.plan.module in modules:  # begun anew after a crash
            since, modules = begins, set()
        modules.add(phase.plan.module)
        ended = phase.state == "ended"
    return at, since, frozenset(before)


def _fresh(readings: Sequence[Reading], infos: Mapping[str, GpuInfo], now: float) -> list[tuple[GpuInfo, GpuReading]]:
    by_bdf = {info.bdf: info for info in infos.values() if info.bdf}
    return [
        (by_bdf[one.bdf], one) for one in readings
        if isinstance(one, GpuReading) and one.bdf in by_bdf and now - one.monotonic_seconds <= STALE_SECONDS]


def hottest(
    readings: Sequence[Reading], infos: Mapping[str, GpuInfo], slots: Mapping[str, str], now: float,
    want: Profile | None = None,
) -> Hot | None:
    """The sensor with the least room below its stop limit; None where nothing was read of late."""
    stops: Mapping[str, StopLimit] = DEFAULTS if want is None else limits_of(want).stops
    found: list[tuple[float, Hot]] = []
    for info, one in _fresh(readings, infos, now):
        for sensor in () if isinstance(one.temperatures_celsius, Unread) else one.temperatures_celsius:
            stop = stops.get(SENSORS.get(sensor.name, ""))
            if stop is not None and not isinstance(sensor.value, Unread):
                where = slots.get(info.key) or info.key
                found.append((stop.bound - sensor.value, Hot(where, sensor.name, sensor.value)))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _watts(readings: Sequence[Reading], infos: Mapping[str, GpuInfo], now: float) -> tuple[float | None, int]:
    told = [
        float(one.power_watts) for _, one in _fresh(readings, infos, now) if isinstance(one.power_watts, (int, float))]
    return (sum(told), len(told)) if told else (None, 0)


def _samples(reader: RunReader) -> list[tuple[int, int, Sample]]:
    """Samples of the last minute or so: number, phase, sample."""
    made = Samples()
    found: list[tuple[int, int, Sample]] = []
    for minute in reader.database.records(("sample",), last=True):
        for rows in minute:
            with reader.guarded("samples"):
                found += ((number, rows.phase, one) for number, one in zip(rows.numbers, made.of(rows), strict=True))
    return sorted(found, key=lambda one: one[0])


def paces(
    samples: Sequence[tuple[int, int, Sample]], active: Sequence[Phase], want: Profile | None
) -> list[Pace]:
    """For each phase that goes on, the kind that was timed last, of the device that is slowest in it."""
    found = []
    for phase in active:
        timed = [one for _, number, one in samples
                 if number == phase.plan.number and one.value is not None and one.checked and not one.wrong]
        if not timed:
            continue
        last = timed[-1]
        by_gpu: dict[str, list[float]] = {}
        for one in timed:
            if one.what == last.what and one.value is not None:
                by_gpu.setdefault(one.gpu, []).append(one.value)
        medians = [float(median(values)) for values in by_gpu.values()]
        slowest = max(medians) if last.unit == "us" else min(medians)
        judged = phase.start is not None and phase.start.full_size and all(
            info.is_gpu for info in phase.start.gpus if info.key in by_gpu)
        should = expected(last.what, want) if judged else None
        percent = 100 * slowest / should if should else None
        found.append(Pace(last.what.removeprefix(f"{phase.plan.module}."), slowest, last.unit, percent))
    return found


def expected(what: str, want: Profile | None) -> float | None:
    """What a kind of work should reach by a profile, else what it must; None where it says nothing."""
    name = EXPECTED.get(what)
    limit = want.limit(name) if want is not None and name in LIMITS else None
    if limit is None:
        return None
    bound = limit.should if limit.should is not None else limit.must
    return float(bound) if isinstance(bound, (int, float)) else None
