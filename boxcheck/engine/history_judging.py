"""Rates, throttling and errors of links of a phase beside those of earlier runs that are alike. Pure.

A figure is beyond when it is off by more than what earlier runs differ among themselves and a threshold together.
"""

from __future__ import annotations

from collections.abc import Sequence

from boxcheck.checks.steps import COPY_SHOWS, RESEAT_LINK
from boxcheck.engine.figures import CardFigures, PhaseFigures, Rate
from boxcheck.engine.history_series import LAST, Judged, Pair, alike, limit_of, series, subject_of, worse
from boxcheck.model import BOX, Bdf, Finding, Quantity, Subject
from boxcheck.poisson import lower, upper
from boxcheck.stress.judging import many
from boxcheck.stress.link_errors import is_link_error

RATE_PERCENT, PROCESSOR_PERCENT, LATENCY_PERCENT = 2.0, 20.0, 20.0
"""How much slower than the noise of earlier runs is told. Copies of sound links repeat within 2 % (six RTX 4090: 50.1
to 51.2 GB/s over all pairs, tinygrad/open-gpu-kernel-modules, README of 550.54.15-p2p); processors are shared with
other programs, and latencies are of microseconds."""
RATE_NOISE = 2.0
"""Percent that is taken for the noise of runs while there are fewer than three, by the same source."""
HELD_SECONDS, HELD_SHARE = 3.0, 0.01
"""Throttling that is told: of several readings, and of more than a hundredth of the time above what was before."""


def rates(name: str, phase: PhaseFigures, pairs: Sequence[Pair]) -> Judged:
    """A finding for each card whose rates some earlier run has too."""
    findings: list[Finding] = []
    apart: list[str] = []
    for one in phase.cards:
        slower: list[tuple[float, float, float, str]] = []
        judged: list[float] = []
        runs = 0
        for rate in one.rates:
            found = [(pair, value) for pair in pairs if (value := _same_rate(pair, one, rate)) is not None]
            if not found:
                apart += _no_rate(name, one, rate, pairs)
                continue
            past, threshold = series(found, "%", RATE_NOISE), _threshold(one, rate)
            behind = [_behind(rate, past.median), _behind(rate, past.values[0])]
            judged.append(behind[0])
            runs = max(runs, len(past.values[-LAST:]))
            bound = past.noise + threshold
            if max(behind) > bound:
                since = f", {behind[1]:.1f} % than on {past.first}" if len(past.values) > 1 else ""
                slower.append((max(behind) - bound, max(behind), bound, (
                    f"{rate.what} {rate.value:.4g} {rate.unit}, {behind[0]:.1f} % slower than {past.against} "
                    f"({past.median:.4g}){since}; {past.noise:.1f} % is noise")))
        if slower:
            worst, *others = sorted(slower, reverse=True)
            findings.append(worse(
                subject_of(one), worst[3], check="history.rate", measured=Quantity(round(worst[1], 2), "%"),
                limit=limit_of("history.rate", worst[2], RATE_PERCENT if one.card.is_gpu else PROCESSOR_PERCENT, "%"),
                notes=tuple(says for _, _, _, says in others[:3]), help=(
                    "look at heat, power and throttling of this run; swap the card with another: slot or card?",)))
        elif judged:
            most = max(judged)
            told = f"at most {most:.1f} % slower" if most > 0 else "none slower"
            findings.append(alike(
                subject_of(one), f"{name}: {many(len(judged), 'rate')}, {told} than the median of {runs} runs",
                check="history.rate"))
    return findings, apart


def _same_rate(pair: Pair, one: CardFigures, rate: Rate) -> float | None:
    then = pair.card(one)
    if then is None:
        return None
    return next((
        other.value for other in then.rates
        if (other.what, other.unit, other.by) == (rate.what, rate.unit, rate.by) and other.value > 0), None)


def _no_rate(name: str, one: CardFigures, rate: Rate, pairs: Sequence[Pair]) -> list[str]:
    """Why a rate has none beside it; nothing for a card that is new, of which all is told at once."""
    cards = [then for pair in pairs if (then := pair.card(one)) is not None]
    if not cards:
        return [f"{name} on {one.card.place}: no earlier run has this card, driven by {one.card.backend}"]
    others = [other.by for then in cards for other in then.rates if other.what == rate.what]
    if others:
        return [f"{rate.what} on {one.card.place}: by other means then ({others[-1]}), now {rate.by}"]
    return [f"{rate.what} on {one.card.place}: not measured in earlier runs"]


def _behind(rate: Rate, before: float) -> float:
    """Percent by which it is slower; below zero where it is faster."""
    return 100 * (rate.value / before - 1) if rate.unit == "us" else 100 * (1 - rate.value / before)


def _threshold(one: CardFigures, rate: Rate) -> float:
    if rate.unit == "us":
        return LATENCY_PERCENT
    return RATE_PERCENT if one.card.is_gpu else PROCESSOR_PERCENT


def throttling(name: str, phase: PhaseFigures, pairs: Sequence[Pair]) -> Judged:
    """A finding for each card of which both then and now somebody told what held its clock down."""
    findings: list[Finding] = []
    for one in phase.cards:
        shares = [share for pair in pairs if (share := _share(pair, one)) is not None]
        if not shares or one.held_seconds is None or phase.watched_seconds <= 0:
            continue
        seconds, most = sum(one.held_seconds.values()), max(shares)
        share = seconds / phase.watched_seconds
        reasons = ", ".join(one.held_seconds) or "nothing"
        says = (f"{name}: its clock was cut by {reasons} for {seconds:.0f} s, {100 * share:.1f} % of the time, at most "
                f"{100 * most:.1f} % in {len(shares)} earlier runs")
        if not one.held_seconds:
            says = (f"{name}: nothing cut its clock; for at most {100 * most:.1f} % of the time in {len(shares)} "
                    "earlier runs")
        if seconds >= HELD_SECONDS and share > most + HELD_SHARE:
            findings.append(worse(
                subject_of(one), says, check="history.throttling", measured=Quantity(round(100 * share, 2), "%"),
                limit=limit_of("history.throttling", 100 * (most + HELD_SHARE), 100 * HELD_SHARE, "%"),
                help=("heat: fans and air; power brake: the power connectors at both ends, then the supply",)))
        else:
            findings.append(alike(subject_of(one), says, check="history.throttling"))
    return findings, []


def _share(pair: Pair, one: CardFigures) -> float | None:
    """Part of the time for which the clock was cut then; None where nobody told."""
    then = pair.card(one)
    if then is None or then.held_seconds is None or pair.phase.watched_seconds <= 0:
        return None
    return sum(then.held_seconds.values()) / pair.phase.watched_seconds


def links(name: str, phase: PhaseFigures, pairs: Sequence[Pair]) -> Judged:
    """A finding for each function that counted errors, where earlier runs read its counters too; one pass for all that
    counted none."""
    findings: list[Finding] = []
    quiet = 0
    for bdf in phase.links:
        before = [pair.phase for pair in pairs if bdf in pair.phase.links and pair.phase.watched_seconds > 0]
        now = errors_of(phase, bdf)
        if not before or phase.watched_seconds <= 0:
            continue
        then, seconds = sum(errors_of(one, bdf) for one in before), sum(one.watched_seconds for one in before)
        says = (f"{name}: {now} errors in {phase.watched_seconds:.0f} s, {then} in {seconds:.0f} s of {len(before)} "
                "earlier runs")
        if lower(now) / phase.watched_seconds > upper(then) / seconds:
            findings.append(worse(
                Subject("function", f"port {bdf}", bdf=bdf), says, check="history.link-errors",
                measured=Quantity(now, "errors"), notes=("more often than before, at 95 % on both sides",),
                help=(RESEAT_LINK, COPY_SHOWS)))
        else:
            quiet += 1
    if quiet:
        findings.append(alike(
            BOX, f"{name}: {quiet} functions counted no more errors than before", check="history.link-errors"))
    return findings, []


def errors_of(phase: PhaseFigures, bdf: Bdf) -> int:
    """Errors that a function counted in a phase, of the kinds that a link makes."""
    return sum(number for name, number in phase.link_errors.get(bdf, {}).items() if is_link_error(name))
