"""What a run came to in figures, small enough to be kept for each: rates, heat, power, throttling, errors of links.

A store keeps them as the document `figures`, made when the run ends; later runs of the box are compared with them
(boxcheck.engine.history) without reading its samples again. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.watched import CUTS, Watching

DOCUMENT = "figures"
"""Name of the attachment."""
FORMAT = 1
LEAST_SAMPLES = 3
"""Of a kind in a phase: the median of fewer is one piece of work."""
TELLS_APART = ("engine", "library", "kernel", "shape", "bytes", "together", "links", "accounting", "side", "array_mib")
"""Notes of a sample by which one rate is another than that of the same name."""
HELD = CUTS | {"thermal-software"}
"""Kinds of throttling that a sound GPU has none of."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One device, by all that may tell it from another."""

    key: str
    name: str
    backend: str
    uuid: str | None = None
    serial: str | None = None
    bdf: str | None = None
    slot: str | None = None
    driver: str = ""
    is_gpu: bool = True

    @property
    def place(self) -> str:
        """Where it is, for a person: slot, else address, else key."""
        return self.slot or self.bdf or self.key


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """The median of one kind of work of one device."""

    what: str
    unit: str
    by: str
    """What did it, as far as that tells one rate from another: `kernel mma-bf16, shape 8192x8192x8192`."""
    value: float
    samples: int
    deviation: float | None = None
    """Median absolute deviation of the samples, in the unit; None in figures from before this was kept."""


class CardFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One device in one phase."""

    card: Card
    rates: tuple[Rate, ...] = ()
    hottest_celsius: Mapping[str, float] = {}
    most_watts: float | None = None
    held_seconds: Mapping[str, float] | None = None
    """By reason that a sound GPU has none of; None where nobody told what held its clock down."""


class PhaseFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One module in one phase."""

    name: str
    """Of the step."""
    module: str
    planned_seconds: float
    options: Mapping[str, str] = {}
    full_size: bool = True
    injected: str | None = None
    warm_up: bool = False
    complete: bool = True
    """Whether it came to its planned end on all devices."""
    watched_seconds: float = 0.0
    cards: tuple[CardFigures, ...] = ()
    links: tuple[Bdf, ...] = ()
    """Functions whose error counters were read."""
    link_errors: Mapping[Bdf, Mapping[str, int]] = {}


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    format: int = FORMAT
    run: str
    started: float
    """Seconds since the epoch."""
    version: str
    box: str
    phases: tuple[PhaseFigures, ...] = ()


def card_of(info: GpuInfo, slots: Mapping[str, str]) -> Card:
    return Card(
        key=info.key, name=info.name, backend=info.backend, uuid=info.uuid, serial=info.serial, bdf=info.bdf,
        slot=slots.get(info.key), driver=info.driver, is_gpu=info.is_gpu)


def phase_figures(
    name: str, results: StressResults, watching: Watching, *, planned_seconds: float,
    options: Mapping[str, str] | None = None,
) -> PhaseFigures:
    """The figures of one module in one phase."""
    return PhaseFigures(
        name=name, module=results.module, planned_seconds=planned_seconds, options=dict(options or {}),
        full_size=results.full_size, injected=results.injected, warm_up=results.warm_up,
        complete=not results.stopped and {info.key for info in results.gpus} <= set(results.ended),
        watched_seconds=watching.seconds, links=watching.links, link_errors=watching.link_errors,
        cards=tuple(_card(results, watching, info) for info in results.gpus))


def _card(results: StressResults, watching: Watching, info: GpuInfo) -> CardFigures:
    key = info.key
    held: Mapping[str, float] | None = None
    if watching.readings.get(key):
        course = watching.courses.get(key)
        seconds = course.throttle_seconds if course is not None else {}
        held = {says: seconds.get(says, float(times))
                for says, (kind, times) in watching.throttled.get(key, {}).items() if kind in HELD}
    return CardFigures(
        card=card_of(info, results.slots), rates=rates_of([one for one in results.samples if one.gpu == key]),
        hottest_celsius=watching.hottest_celsius.get(key, {}), most_watts=watching.most_watts.get(key),
        held_seconds=held)


def rates_of(samples: Sequence[Sample]) -> tuple[Rate, ...]:
    """A rate for each kind of work that was timed and verified, all peers together: of a pair of GPUs that is slow,
    p2p.slow-pair tells."""
    kinds: dict[tuple[object, ...], tuple[Sample, list[float]]] = {}
    for one in samples:
        if one.value is not None and one.checked and not one.wrong and not one.what.endswith(".trial"):
            kind = (one.what, one.unit, *map(one.notes.get, TELLS_APART))
            kinds.setdefault(kind, (one, []))[1].append(one.value)
    return tuple(
        _rate(one, values) for one, values in kinds.values() if len(values) >= LEAST_SAMPLES)


def _rate(one: Sample, values: Sequence[float]) -> Rate:
    middle = float(median(values))
    return Rate(
        what=one.what, unit=one.unit, by=by_of(one), value=middle, samples=len(values),
        deviation=float(median(abs(value - middle) for value in values)))


def by_of(sample: Sample) -> str:
    return ", ".join(f"{name} {sample.notes[name]}" for name in TELLS_APART if name in sample.notes)
