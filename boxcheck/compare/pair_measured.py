"""What was measured under load on two sides, and what of the change their scatter explains. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from boxcheck.compare.difference import Difference, Tally, Value
from boxcheck.compare.judged import readable
from boxcheck.compare.matching import Match, physical
from boxcheck.compare.measures import Measure, apart, bound_of, changed, measures_of, phases_of, unmeasured
from boxcheck.compare.side import Side
from boxcheck.engine.figures import PhaseFigures
from boxcheck.engine.history import unlike
from boxcheck.engine.history_judging import errors_of
from boxcheck.poisson import lower, upper

SAME_VALUE = 0.005
"""Part by which a judgement's value may differ from the rate that it judges: it was rounded to be told."""


def measured(tally: Tally, a: Side, b: Side, found: Sequence[Match]) -> None:
    for side, name in ((a, "A"), (b, "B")):
        if side.figures is None and side.figures_unread:
            tally.told.append(f"rates, heat and power of {name} are not there: {side.figures_unread}")
    if a.figures is None or b.figures is None:
        tally.not_compared += a.has_load and b.has_load  # load on one side alone was counted with its judgements
        return
    phases = phases_of(a), phases_of(b)
    left_out = {**{name: f"A: {why}" for name, why in unmeasured(a).items()},
                **{name: f"B: {why}" for name, why in unmeasured(b).items()}}
    for name in phases[0].keys() & phases[1].keys():
        if name not in left_out and (why := unlike(phases[1][name], phases[0][name])) is not None:
            left_out[name] = f"in B {why.replace('this one', 'in A')}"
    for name in sorted(left_out):
        tally.leave_out(f"what {name} measured is not compared: {left_out[name]}")
    twins = _twins(found)
    left = {(*one.quantity, twins[0].get(physical(one.card), physical(one.card))): one for one in measures_of(a)
            if one.phase not in left_out}
    right = {(*one.quantity, twins[1].get(physical(one.card), physical(one.card))): one for one in measures_of(b)
             if one.phase not in left_out}
    judged = [one for one in tally.found if one.section == "measured"]
    for key in {**left, **right}:
        one, other = left.get(key), right.get(key)
        where = key[-1]
        if one is None or other is None:
            if key[0] in phases[0] and key[0] in phases[1]:
                tally.found += _alone(one, other, where)
            continue
        seconds = min(phases[0][key[0]].watched_seconds, phases[1][key[0]].watched_seconds)
        _measured(tally, one, other, where, seconds)
    for name in sorted((phases[0].keys() ^ phases[1].keys()) - left_out.keys()):
        which = "A" if name in phases[0] else "B"
        tally.leave_out(f"{name} was run in {which} alone: what it measured is not compared")
    _without_twice(tally, judged)
    for name in sorted(phases[0].keys() & phases[1].keys() - left_out.keys()):
        _link_errors(tally, phases[0][name], phases[1][name], name)


def _twins(found: Sequence[Match]) -> tuple[dict[str, str], dict[str, str]]:
    both = [one for one in found if one.a is not None and one.b is not None]
    return ({physical(one.a): one.where for one in both if one.a is not None},
            {physical(one.b): one.where for one in both if one.b is not None})


def _measured(tally: Tally, a: Measure, b: Measure, where: str, seconds: float) -> None:
    why = apart(a, b)
    bound = bound_of(a, b)
    if why is None and not changed(a, b, bound, seconds):
        tally.same += 1
        return
    loweris_worse = a.kind == "rate" and a.unit != "us"
    percent = f"{100 * (b.value - a.value) / abs(a.value):+.1f} %" if a.value and a.kind not in (
        "heat", "throttling") else f"{b.value - a.value:+.3g} {a.unit.split()[0]}"
    if why is not None and abs(b.value - a.value) <= bound.value:
        tally.same += 1
        return
    tally.found.append(Difference(
        section="one-sided" if why is not None else "measured", what=_name(a), where=where, unit=a.unit, by=a.by,
        a=_value(a), b=_value(b), change=percent, says=why or bound.says,
        worse=None if why is not None or a.kind == "power" else (b.value < a.value) is loweris_worse))


def _name(one: Measure) -> str:
    """`matmul.bf16.power`, `hottest core in matmul`."""
    phase = "" if one.what.startswith(f"{one.phase}.") else f" in {one.phase}"
    return f"{one.what}{phase}"


def _value(one: Measure) -> Value:
    return Value(text=readable(one.value, one.unit), value=one.value, samples=one.samples, deviation=one.deviation)


def _alone(a: Measure | None, b: Measure | None, where: str) -> Iterator[Difference]:
    """A measure that the other side has not, though it ran the phase."""
    one = a or b
    assert one is not None
    missing = Value(text="not measured: too few samples, or by other means", state="none")
    yield Difference(section="one-sided", what=_name(one), where=where, unit=one.unit, by=one.by,
                     a=missing if a is None else _value(a), b=missing if b is None else _value(b),)


def _without_twice(tally: Tally, judged: Sequence[Difference]) -> None:
    """A judgement that moved is not told once more where what it judges is told by itself."""
    known = {id(one) for one in judged}
    measured = [one for one in tally.found if one.section == "measured" and id(one) not in known]
    twice = {id(one) for one in judged if any(_is_same(one, other) for other in measured)}
    tally.found = [one for one in tally.found if id(one) not in twice]


def _is_same(one: Difference, other: Difference) -> bool:
    return (one.where, one.unit) == (other.where, other.unit) and all(
        isinstance(left.value, (int, float)) and isinstance(right.value, (int, float))
        and math.isclose(left.value, right.value, rel_tol=SAME_VALUE)
        for left, right in ((one.a, other.a), (one.b, other.b)))


def _link_errors(tally: Tally, a: PhaseFigures, b: PhaseFigures, name: str) -> None:
    """Functions whose errors are more frequent, at 95 % on both sides; what only one read is told."""
    for bdf in dict.fromkeys((*a.links, *b.links)):
        sides = [(errors_of(one, bdf), one.watched_seconds) if bdf in one.links and one.watched_seconds > 0 else None
                 for one in (a, b)]
        one, other = sides
        values = [Value(text="not read: its counters were not read", state="unread") if side is None else Value(
            text=f"{side[0]} in {side[1]:.0f} s", value=side[0]) for side in sides]
        if one is None and other is None:
            tally.unread += 1
            continue
        worse: bool | None = None
        if one is not None and other is not None:
            more = lower(other[0]) / other[1] > upper(one[0]) / one[1]
            fewer = lower(one[0]) / one[1] > upper(other[0]) / other[1]
            if not more and not fewer:
                tally.same += 1
                continue
            worse = more
        tally.found.append(Difference(
            section="unread" if worse is None else "measured", what=f"link errors in {name}", where=f"port {bdf}",
            unit="errors", a=values[0], b=values[1], worse=worse,
            says="" if worse is None else "their rates differ at 95 % on both sides"))
