"""Limits from what good runs measured: mean, spread, margin, and the rule that made them. Pure.

Rates are compared as ratios, so all of it is done with logarithms. Of a box each device counts once, with the worst of
its runs. Boxes that differ are counted as boxes; one box cannot show how boxes differ, which each limit of it says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

import msgspec

from boxcheck.engine.box import same_box
from boxcheck.golden.good import NotGood
from boxcheck.golden.measure import DeviceValue, Kind, Measurement, limits_measured, worst_of
from boxcheck.golden.tolerance import CONFIDENCE, CONTENT, deviation, k_factor, margin_of_groups, margin_of_one
from boxcheck.registry import LIMITS, LimitSpec
from boxcheck.store.texts import plain_line

FEW = 3
"""Devices of one box below which they do not tell how far devices differ."""
FEW_PERCENT = 8.0
"""What GPUs of one model in one box differ by, after others: SuperBench's published spread is 5 to 8 %
(stress/matmul_rate_checks.py, DROP)."""
LEAST_PERCENT = 0.5
"""A margin below this is no more than the noise from run to run (engine/history_series.py, LEAST_NOISE)."""
LOOSE_PERCENT = 15.0
"""Twice that spread: a limit further from the mean lets a slow card pass, which has to be said."""
USELESS_PERCENT = 40.0
"""A link with half its lanes, or one generation less, does half: a limit this far away is nearly as good as none."""
DIGITS = 4
SOURCE = "measured, not agreed"
ALONE = "one box cannot show how boxes differ"


class Drafted(msgspec.Struct, frozen=True, kw_only=True):
    """One limit, with all that it was made of. Values in the unit of the limit."""

    limit: str
    unit: str
    compare: str
    bound: float
    checks: tuple[str, ...]
    mean: float
    """Geometric, over the boxes' means."""
    worst: float
    best: float
    spread_percent: float | None
    """Standard deviation over all devices; None for one alone."""
    between_percent: float | None
    """Of the boxes' means; None for one box."""
    over_time_percent: float | None
    margin_percent: float
    """From the mean to the limit."""
    devices: int
    boxes: int
    runs: int
    samples: int
    by: tuple[str, ...]
    rule: str
    doubts: tuple[str, ...] = ()


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that these runs do not give."""

    limit: str
    why: str
    measured: Drafted | None = None
    """Where it is left out because it would be useless."""


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """Good runs of boxes of one kind, by box."""

    boxes: tuple[tuple[Measurement, ...], ...]
    told: tuple[str, ...]
    """What is to be known of them: that nothing says whether two are of one box, drivers that differ."""

    @property
    def runs(self) -> tuple[Measurement, ...]:
        return tuple(run for box in self.boxes for run in box)


def pattern_of(runs: Sequence[Measurement]) -> Pattern:
    """NotGood where the runs are of boxes of different kinds, one is named twice, or two boxes share a GPU."""
    first = runs[0]
    for at, run in enumerate(runs):
        # Two boxes that began in the same second have runs of one name.
        if any((run.run, run.started, run.box) == (other.run, other.started, other.box) for other in runs[:at]):
            raise NotGood(f"run {plain_line(run.run)} is named twice", "name each run once")
        if run.cards != first.cards:
            raise NotGood(
                f"run {plain_line(run.run)} is of a box with {cards_in_words(run.cards)}, run "
                f"{plain_line(first.run)} of one with {cards_in_words(first.cards)}",
                "limits are of one kind of box: draft each kind by itself")
    _refuse_shared(runs)
    boxes: list[list[Measurement]] = []
    told: list[str] = []
    for run in sorted(runs, key=lambda one: one.started):
        answers = [same_box(run.box, box[0].box) for box in boxes]
        if True in answers:
            boxes[answers.index(True)].append(run)
        elif None in answers:
            other = boxes[answers.index(None)]
            told.append(plain_line(
                f"nothing says whether runs {run.run} and {other[0].run} are of one box: they are taken for one"))
            other.append(run)
        else:
            boxes.append([run])
    for what, values in (("drivers", {", ".join(run.drivers) for run in runs}),
                         ("versions of boxcheck", {run.version for run in runs})):
        if len(values) > 1:
            told.append(plain_line(f"different {what}: {'; '.join(sorted(values))}"))
    for run in runs:
        if run.held_unread:
            told.append(plain_line(
                f"run {run.run}: nobody told whether the clocks of {', '.join(run.held_unread[:8])} were held down"))
    return Pattern(boxes=tuple(map(tuple, boxes)), told=tuple(told))


def _refuse_shared(runs: Sequence[Measurement]) -> None:
    """NotGood where runs of boxes with different names have a GPU in common: it would count as two, and what differs
    between boxes be too small."""
    for at, run in enumerate(runs):
        for other in runs[:at]:
            common = _numbers(run) & _numbers(other)
            if common and same_box(run.box, other.box) is False:
                raise NotGood(plain_line(
                    f"runs {other.run} ({other.box}) and {run.run} ({run.box}) have {count(len(common), 'GPU')} in "
                    f"common, {min(common)}: they are no two boxes"), "name runs of one of the two alone")


def _numbers(run: Measurement) -> set[str]:
    """Of its GPUs, where they tell one that no other of them has."""
    told = [info.uuid or info.serial or "" for info in run.devices if info.is_gpu]
    return {number for number in told if number and told.count(number) == 1}


def cards_in_words(cards: Sequence[Kind]) -> str:
    """`7 x RTX 4090 (24 GiB)`."""
    counted = {card: cards.count(card) for card in cards}
    return plain_line(" and ".join(f"{number} x {card}" for card, number in counted.items())) or "no GPU"


def limits_of(pattern: Pattern) -> tuple[tuple[Drafted, ...], tuple[LeftOut, ...]]:
    """Every limit that all of the runs measured; the others, and why."""
    drafted: list[Drafted] = []
    left_out: list[LeftOut] = []
    for name in limits_measured():
        lacking = next((run for run in pattern.runs if name not in run.measured), None)
        if lacking is not None:
            of = f"run {lacking.run}: " if len(pattern.runs) > 1 else ""
            left_out.append(LeftOut(limit=name, why=plain_line(f"{of}{lacking.missing[name]}")))
            continue
        one = _drafted(name, pattern)
        if isinstance(one, LeftOut):
            left_out.append(one)
        else:
            drafted.append(one)
    return tuple(drafted), tuple(left_out)


def _drafted(name: str, pattern: Pattern) -> Drafted | LeftOut:
    spec = LIMITS[name]
    groups = [_logs(spec, worst_of(name, [run.measured[name].values for run in box])) for box in pattern.boxes]
    times = [run.measured[name].over_time for run in pattern.runs]
    over_time = None if None in times else math.sqrt(fmean(each * each for each in times if each is not None))
    every = [value for group in groups for value in group]
    mean = fmean(map(fmean, groups))
    margin, rule, doubts = _margin(groups, over_time)
    least = math.log1p(LEAST_PERCENT / 100)
    if margin < least:
        margin, rule = least, f"{rule}; raised to {LEAST_PERCENT:g} %, which is noise"
    if mean - margin > min(every) - least:
        # An outlier among them, or many: the rule alone would fail what it was made of.
        alone = _value(spec, mean - margin)
        margin = mean - (min(every) - least)
        doubts = (*doubts, (
            f"the rule alone gives {_shown(alone)} {spec.unit}, which the worst of these devices fails: the limit is "
            f"{LEAST_PERCENT:g} % beyond that one; look at it first"))
    bound = _rounded(_value(spec, mean - margin), spec.compare)
    off = abs(100 * (bound / _value(spec, mean) - 1))
    if off > LOOSE_PERCENT:
        doubts = (*doubts, f"{off:.0f} % from the mean, looser than useful: more boxes make it tighter")
    made = Drafted(
        limit=name, unit=spec.unit, compare=spec.compare, bound=bound,
        checks=tuple(dict.fromkeys(id for run in pattern.runs for id in run.measured[name].checks)),
        mean=_value(spec, mean), worst=_value(spec, min(every)), best=_value(spec, max(every)),
        spread_percent=_percent(deviation(every)) if len(every) > 1 else None,
        between_percent=_percent(deviation(list(map(fmean, groups)))) if len(groups) > 1 else None,
        over_time_percent=None if over_time is None else _percent(over_time), margin_percent=off, devices=len(every),
        boxes=len(groups), runs=len(pattern.runs), samples=sum(run.measured[name].samples for run in pattern.runs),
        by=tuple(dict.fromkeys(by for run in pattern.runs for by in run.measured[name].by)), rule=rule, doubts=doubts)
    assert spec.low is not None
    assert spec.high is not None
    if off > USELESS_PERCENT or not spec.low <= bound <= spec.high:
        return LeftOut(limit=name, measured=made, why=(
            f"{_shown(bound)} {spec.unit} would be {off:.0f} % from the mean, which a card on half a link passes: "
            f"{count(len(groups), 'box')} with {count(len(every), 'device')} cannot show more"))
    return made


def _margin(groups: Sequence[Sequence[float]], over_time: float | None) -> tuple[float, str, tuple[str, ...]]:
    """From the mean to the limit, in logarithms; the rule in words, and what is to be said of it."""
    said = f"{100 * CONTENT:g} % of all such devices pass, with {100 * CONFIDENCE:g} % confidence"
    if len(groups) > 1:
        if max(map(len, groups)) == 1:
            rule = f"{said}: normal tolerance limit over {len(groups)} boxes, k {k_factor(len(groups)):.2f}"
        else:
            rule = (f"{said}: tolerance limit of a random model, {len(groups)} boxes with devices in them "
                    "(Krishnamoorthy and Mathew 2004)")
        return margin_of_groups(groups), rule, ()
    (values,) = groups
    if len(values) < FEW:
        log = -math.log1p(-FEW_PERCENT / 100)
        rule = (f"{count(len(values), 'device')} of one box cannot show how devices differ: {FEW_PERCENT:g} %, "
                "SuperBench's published spread of GPUs of one model")
        if over_time is not None:
            rule += f", and 2.33 times the {_percent(over_time):.2g} % over time"
        return log + 2.326 * (over_time or 0.0), rule, (ALONE,)
    rule = f"{said}: normal tolerance limit over {len(values)} devices, k {k_factor(len(values)):.2f}"
    if over_time is not None:
        return margin_of_one(values, over_time), f"{rule}, on their spread and that over time", (ALONE,)
    return margin_of_one(values), rule, (ALONE, "the spread over time was not measured")


def _logs(spec: LimitSpec, values: Iterable[DeviceValue]) -> list[float]:
    """The larger the better."""
    sign = 1 if spec.compare == "ge" else -1
    return [sign * math.log(one.value) for one in values]


def _value(spec: LimitSpec, log: float) -> float:
    return math.exp(log if spec.compare == "ge" else -log)


def _rounded(value: float, compare: str) -> float:
    """Four digits, to the side on which more passes."""
    step = 10.0 ** (math.floor(math.log10(value)) - DIGITS + 1)
    turned = math.floor(value / step) if compare == "ge" else math.ceil(value / step)
    return float(f"{turned * step:.{DIGITS}g}")


def _percent(log: float) -> float:
    return 100 * math.expm1(log)


def _shown(value: float) -> str:
    return f"{value:.{DIGITS}g}"


def count(number: int, noun: str) -> str:
    """`1 box`, `3 boxes`, `7 devices`."""
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('x') else 's'}"


def in_words(one: Drafted) -> str:
    """What a limit was made of, for its source in the profile."""
    parts = [f"mean {_shown(one.mean)} {one.unit}, worst {_shown(one.worst)}, best {_shown(one.best)}"]
    if one.spread_percent is not None:
        between = f", boxes {one.between_percent:.2g} %" if one.between_percent is not None else ""
        parts.append(f"standard deviation of devices {one.spread_percent:.2g} %{between}")
    if one.over_time_percent is not None:
        parts.append(f"over time {one.over_time_percent:.2g} %")
    sampled = f", {count(one.samples, 'sample')}" if one.samples else ""
    parts.append(f"{count(one.devices, 'device')} in {count(one.boxes, 'box')}, {count(one.runs, 'run')}{sampled}")
    parts.append(f"limit {one.margin_percent:.2g} % from the mean: {one.rule}")
    return "; ".join((*parts, *one.doubts))
