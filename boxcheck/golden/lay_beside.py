"""A run beside a reference measurement: per quantity what this box did, what good ones did, and where it is outside.

    beside = lay_beside("runs/ID.sqlite", "reference.json")

Differences of what was measured, and with what, come first; of other cards nothing is marked. What was not read is said
to be so, and is never like the reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Literal

import msgspec

from boxcheck.engine.inspect import Facts
from boxcheck.engine.kept_profile import profile_of
from boxcheck.engine.watch_judging import BEFORE, facts_in
from boxcheck.golden.measure import (
    UNNAMED,
    Measured,
    Measurement,
    limits_measured,
    measurement_of,
    shared_name,
)
from boxcheck.golden.reference import Quantity, Reference, parse_reference, plain_driver, plain_release, read_bytes
from boxcheck.golden.signing import SignatureSeen, signature_of
from boxcheck.model import Unread
from boxcheck.probes.cpu import Cpu
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.kernel import Kernel
from boxcheck.profile import Profile, load_profile
from boxcheck.registry import LIMITS
from boxcheck.store.reader import RunReader
from boxcheck.store.results import no_collections
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

SCHEMA = "boxcheck.beside/1"
LENGTH = 1.5
"""Factor by which the planned lengths of two phases may differ: heat and rates depend on it (engine/history.py)."""
ROUNDING = 1e-5
"""Part of a value: a reference holds six digits."""

State = Literal[
    "within",  # between what the reference's devices did
    "low",  # a device is worse than all of them, and still better than the limit made of them
    "outside",  # a device is worse than that limit
    "high",  # every device is better than all of theirs
    "other",  # not to be compared: other cards, another kernel or size; no mark
    "not-measured",  # this run does not tell
    "not-in-reference",  # the reference does not tell
]


class Mine(msgspec.Struct, frozen=True, kw_only=True):
    """What the run measured of one quantity."""

    mean: float
    """Geometric, as the reference's."""
    worst: float
    worst_at: str
    """Slot or address of that device."""
    best: float
    devices: int
    by: tuple[str, ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity on both sides."""

    limit: str
    unit: str
    state: State
    mine: Mine | None
    reference: Quantity | None
    ratio: float | None
    """Mean of this box by that of the reference; None where either is missing."""
    says: str
    """Why it has that state."""


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it."""

    schema: str = SCHEMA
    run: str
    started: float
    """Seconds since the epoch."""
    outcome: str
    """That the run ended with; `unknown` where it has none."""
    run_state: str
    reference: str
    """Path of the file."""
    reference_made: str
    reference_boxes: int
    reference_runs: int
    signature: SignatureSeen
    differences: tuple[str, ...]
    """What is another than at the reference, and what of it is not known."""
    comparable: bool
    """Whether the GPUs are of the same kind; else no row is marked."""
    injected: bool
    """Whether a fault was put in on purpose, so that the run says nothing of the box."""
    unsound: tuple[str, ...]
    """Why what the run measured is not all that the box does: it did not come to its end, clocks were held down."""
    rows: tuple[Row, ...]

    def number(self, state: State) -> int:
        return sum(row.state == state for row in self.rows)

    @property
    def compared(self) -> int:
        """Rows that were judged."""
        return sum(row.state in ("within", "low", "outside", "high") for row in self.rows)


def lay_beside(run_path: str, reference_path: str, allowed: str | None = None) -> Beside:
    """A run by the path of its store beside a reference by that of its file. StoreError, UsageError where either cannot
    be used. `allowed`: a list of allowed signers that must name whoever signed the reference."""
    data = read_bytes(reference_path)
    reference = parse_reference(data, reference_path)
    signature = signature_of(reference_path, data, allowed)
    with RunReader(run_path) as reader, no_collections():
        run, verdict = reader.run(), reader.verdict()
        facts = facts_in(reader, BEFORE) or Facts()
        want = _profile(reader)
        found = measurement_of(reader, want or load_profile("generic"), facts)
    differing = list(_differences(found, facts, want, reference))
    theirs = {_same_kind(one.name, one.memory_gib, one.pci_id) for one in reference.box.gpus}
    comparable = _cards(found) == theirs and None not in theirs
    return Beside(
        run=plain_line(found.run), started=found.started, outcome=verdict.outcome.value if verdict else "unknown",
        run_state=run.state, reference=plain_line(reference_path), reference_made=reference.made,
        reference_boxes=reference.boxes, reference_runs=reference.runs, signature=signature,
        differences=tuple(map(plain_line, differing)), comparable=comparable,
        injected=bool(found.injected), unsound=tuple(map(plain_line, _unsound(found, run.state))),
        rows=tuple(_rows(found, reference, comparable)))


def _profile(reader: RunReader) -> Profile | None:
    """The one that the run was judged by; None where it is not there. What was measured does not depend on it."""
    try:
        return profile_of(reader)[0]
    except UsageError:
        return None


def _cards(found: Measurement) -> set[tuple[str, int] | None]:
    return {_same_kind(shared_name(kind), kind.memory_gib, kind.pci_id) for kind in found.cards}


def _same_kind(name: str, memory_gib: int, pci_id: str) -> tuple[str, int] | None:
    """What two cards have in common that may be compared: a name, else their PCI id; None where neither tells."""
    name = pci_id if name == UNNAMED else name
    return (name, memory_gib) if name else None


def _rows(found: Measurement, reference: Reference, comparable: bool) -> Iterator[Row]:
    theirs = {one.limit: one for one in reference.measured}
    for name in limits_measured():
        mine, other = found.measured.get(name), theirs.get(name)
        if mine is None and other is None:
            continue
        unit = LIMITS[name].unit
        if mine is None:
            yield Row(limit=name, unit=unit, state="not-measured", mine=None, reference=other, ratio=None,
                      says=plain_line(found.missing[name]))
        elif other is None:
            yield Row(limit=name, unit=unit, state="not-in-reference", mine=_mine(mine), reference=None, ratio=None,
                      says="the reference has not measured it")
        else:
            yield _row(_mine(mine), other, comparable)


def _mine(measured: Measured) -> Mine:
    better = max if LIMITS[measured.limit].compare == "ge" else min
    values = [one.value for one in measured.values]
    best = better(values)
    worst = next(one for one in measured.values if one.value == (min if better is max else max)(values))
    return Mine(
        mean=math.exp(fmean(map(math.log, values))), worst=worst.value, worst_at=plain_line(worst.place), best=best,
        devices=len(values), by=tuple(map(plain_line, measured.by)))


def _row(mine: Mine, other: Quantity, comparable: bool) -> Row:
    sign = 1 if other.better == "higher" else -1
    state: State = "within"
    says = "between what the reference's devices did"
    if not comparable:
        state, says = "other", "other GPUs: not to be compared"
    elif not _alike(mine.by, other.by):
        state = "other"
        says = f"{' and '.join(mine.by[:2])} here, {' and '.join(other.by[:2])} there: not to be compared"
    elif _beyond(mine.worst, other.bound, sign):
        state = "outside"
        says = f"{mine.worst_at} is beyond the limit of {other.bound:.4g} {other.unit} that the reference gives"
        if not other.useful:
            says += ", and that limit is a loose one"
    elif _beyond(mine.worst, other.worst, sign):
        state, says = "low", f"{mine.worst_at} is worse than every device of the reference, and within its limit"
    elif _beyond(other.best, mine.worst, sign):
        state = "high"
        says = "every device is better than all of the reference's: is it the same card, at the same clocks?"
    return Row(limit=other.limit, unit=other.unit, state=state, mine=mine, reference=other,
               ratio=mine.mean / other.mean, says=says)


def _beyond(value: float, bound: float, sign: int) -> bool:
    """Whether a value is worse by more than the digits of the file."""
    return sign * math.log(value / bound) < -ROUNDING


def _alike(mine: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether the same did the work, as far as both tell."""
    return not mine or not theirs or bool({*mine} & {*theirs})


def _differences(found: Measurement, facts: Facts, want: Profile | None, reference: Reference) -> Iterator[str]:
    """What a reader must know before any number, the gravest first."""
    box, under = reference.box, reference.conditions
    here = {(shared_name(kind), kind.memory_gib): found.cards.count(kind) for kind in found.cards}
    theirs = {(one.name, one.memory_gib): one.count for one in box.gpus}
    if here != theirs:
        other = "other GPUs" if {*here} != {*theirs} else "another number of GPUs"
        yield f"{other}: {_gpus(here)} here, {_gpus(theirs)} there"
    if want is None:
        yield "by which profile this run was judged is not known"
    elif want.sha256 != box.profile_sha256:
        there = f"{box.profile or 'a profile of their own'} r{box.profile_revision}"
        yield f"judged by other limits: {want.name} r{want.revision} here, {there} there"
    yield from _unequal("driver", tuple(filter(None, map(plain_driver, found.drivers))), under.drivers)
    kernel = facts.of(Kernel)
    release = None if isinstance(kernel, Unread) else kernel.release
    plain = plain_release(release) if isinstance(release, str) else ""
    yield from _unequal("Linux", (plain,) if plain else (), under.kernels)
    yield from _unequal("boxcheck", (found.version,), under.boxcheck)
    cpu, dmi = facts.of(Cpu), facts.of(Dmi)
    for what, value, known in (("processor", getattr(cpu, "model", None), box.cpu),
                               ("board", getattr(dmi, "board_name", None), box.board)):
        mine = (" ".join(value.split()),) if isinstance(value, str) else ()
        yield from _unequal(what, mine, () if known is None else (known,))
    yield from _lengths(found, under.seconds)
    if found.injected:
        yield f"the fault {found.injected} was put in on purpose: this run says nothing of the box"
    if found.held:
        yield _held(found)
    if under.held_unread:
        yield "of some GPU of the reference nobody told whether its clock was held down"
    if under.self_signed:
        yield "the reference is self-signed: the key lay on a box that was measured"


def _held(found: Measurement) -> str:
    return f"clocks were held down here: {found.held[0]}"


def _unsound(found: Measurement, state: str) -> Iterator[str]:
    if state != "finished":
        yield f"the run is {state}: it did not come to its end"
    if found.held:
        yield _held(found)


def _unequal(what: str, here: tuple[str, ...], there: tuple[str, ...]) -> Iterator[str]:
    if not here or not there:
        yield f"{what}: not known {'on both sides' if not here and not there else 'here' if not here else 'there'}"
    elif {*here} != {*there}:
        yield f"{what}: {'; '.join(here)} here, {'; '.join(there)} there"


def _lengths(found: Measurement, there: Mapping[str, float]) -> Iterator[str]:
    here: dict[str, float] = {}
    for module, seconds, _ in found.phases:
        here[module] = max(here.get(module, 0.0), seconds)
    for module in sorted({*here} & {*there}):
        if max(here[module], there[module]) > LENGTH * min(here[module], there[module]):
            yield f"{module} ran for {here[module]:.0f} s here, for {there[module]:.0f} s there"


def _gpus(counted: Mapping[tuple[str, int], int]) -> str:
    return " and ".join(f"{number} x {name} ({gib} GiB)" for (name, gib), number in counted.items()) or "none"
