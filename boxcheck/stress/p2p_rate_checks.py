"""Judgements on the rates of copies between GPUs: as fast as asked, alike, as fast as at the start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from boxcheck.decode.matrix import slow_in
from boxcheck.model import Finding, Limit, Quantity
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, outcome_of, passed, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.ceilings import IMPOSSIBLE, link_gbs
from boxcheck.stress.judging import asks, copies_cause, many, middle, subject_of
from boxcheck.stress.kept import small_sizes
from boxcheck.stress.p2p_checks import all_of, answers, by_pair, pairs_of
from boxcheck.stress.p2p_plan import ENGINE_WRITE
from boxcheck.stress.transfer_judging import (
    Pair,
    cause_of_slow_pairs,
    good,
    judge_drop,
    listed,
    pair_cause,
    pair_subject,
)

ONE_WAY = limit(
    "p2p.one_way_gbs", float, "ge", "GB/s", "Rate of copies from one GPU to another, one way, of the slowest pair.",
    low=0.01, high=10_000)
BOTH_WAYS = limit(
    "p2p.both_ways_gbs", float, "ge", "GB/s",
    "Rate of copies between two GPUs, both ways at once, both directions together, of the slowest pair.",
    low=0.01, high=20_000)
PCIE_GBS = 64.0
"""What a PCIe 5.0 x16 link carries one way at most (PCI-SIG: 32 GT/s x 16); pairs above it are joined otherwise."""
LINK = (
    "boxcheck doctor pcie acs (ends in PARTIAL): width and speed of both links under load; whether ACS sends packets "
    "by the root port",
    "boxcheck stress run copy: a GPU that is slow to the host as well has a slow link of its own",
)


@check("p2p.rate", reads=[StressResults], limits=[ONE_WAY, BOTH_WAYS], stress="p2p")
def rate(results: StressResults, want: Profile) -> Iterator[Finding]:
    """Copies between GPUs are slower than the profile asks.

    Why it matters: the slowest pair sets the pace of every collective; an all-reduce waits for it in each step.
    What to do: look at the links of both GPUs under load; packets that ACS sends by the root port take the long way.
    Not a fault: a staged copy, which is no rate between GPUs; that pair is unknown here, and p2p.access names it. A
    rate that no link between the two can have is unknown as well: nothing may have been copied, or a clock lies.
    By hand: boxcheck stress run p2p --gpu A --gpu B
    """
    if not results.full_size or not all(info.is_gpu for info in results.gpus):
        yield skipped(all_of(results), "a processor's rate is not judged")
        return
    said = answers(results)
    for name, words, rates, pairs in (
            (ONE_WAY, "one way", one_way(results), pairs_of(results)),
            (BOTH_WAYS, "both ways", both_ways(results), [pair for pair in pairs_of(results) if pair[0] < pair[1]])):
        bound = want.limit(name)
        ways = 1 if name == ONE_WAY else 2
        impossible = {
            pair: says for pair, gbs in rates.items() if (says := _too_fast(results, pair, gbs, ways)) is not None}
        rates = {pair: gbs for pair, gbs in rates.items() if pair not in impossible}
        for pair, says in impossible.items():
            yield unknown(pair_subject(results, pair), f"{words}: {says}", help=IMPOSSIBLE)
        slowest = min(rates, key=lambda pair: rates[pair], default=None)
        if bound is None:
            measured = "nothing was timed" if slowest is None else (
                f"slowest {' > '.join(slowest)} with {rates[slowest]:.1f} GB/s")
            yield skipped(all_of(results), f"the profile sets no rate {words}; {measured}")
            continue
        lacking = [pair for pair in pairs if pair not in rates and pair not in impossible]
        if lacking or not pairs:
            staged = [pair for pair in lacking if pair in said and said[pair].notes.get("access") != "yes"]
            why = "no peer access" if staged == lacking else "not timed, or not found right"
            shown = listed([" > ".join(pair) for pair in lacking]) or "there are no two GPUs of one runtime"
            notes = tuple(" > ".join(pair) for pair in lacking)
            yield unknown(all_of(results), f"{words}: {why}: {shown}", notes=notes)
        if slowest is not None:
            yield _judge_slowest(results, slowest, rates, bound, words)


def _too_fast(results: StressResults, pair: Pair, gbs: float, ways: int = 1) -> str | None:
    """Why a rate cannot be one of copies between these GPUs, in words; None where it can, and where nobody knows."""
    infos = {info.key: info for info in results.gpus}
    one, other = (infos.get(key) for key in pair)
    most = link_gbs(one, other) if one is not None and other is not None else None
    if most is None or gbs <= ways * most:
        return None
    return (
        f"{gbs:.1f} GB/s are more than any link between these GPUs carries ({ways * most:g}): nothing may have been "
        "copied, or the clock that timed it is wrong")


def _judge_slowest(
    results: StressResults, pair: Pair, rates: Mapping[Pair, float], bound: Limit, words: str
) -> Finding:
    outcome, subject = outcome_of(rates[pair], bound), pair_subject(results, pair)
    below = [one for one in sorted(rates, key=lambda one: rates[one]) if outcome_of(rates[one], bound) != "pass"]
    more = len(below) - 1
    also = f"; {many(more, 'other pair')} below it as well" if more > 0 else ""
    return Finding(
        check="", subject=subject, outcome=outcome, limit=bound, measured=Quantity(round(rates[pair], 3), bound.unit),
        says=(
            f"{words}: {rates[pair]:.1f} GB/s, the slowest of {many(len(rates), 'pair')}, "
            f"{asks(bound, rates[pair])}{also}"),
        notes=tuple(f"{' > '.join(one)}: {rates[one]:.1f} GB/s" for one in below[1:]), help=LINK if below else (),
        cause=cause_of_slow_pairs(results, pair, below, list(rates)) if below else None,
        where=str(subject) if below else None)


def _middle(samples: Sequence[Sample]) -> float | None:
    """The median rate of those that were found right; None where there is none."""
    values = [one.value or 0.0 for one in good(samples)]
    return middle(values) if values else None


def one_way(results: StressResults) -> dict[Pair, float]:
    """GB/s by the copy engine, written by the source, of every pair that was found right."""
    return {
        pair: value for pair, of in by_pair(results, f"p2p.one-way.{ENGINE_WRITE.name}").items()
        if (value := _middle(of)) is not None}


def both_ways(results: StressResults) -> dict[Pair, float]:
    """GB/s of both directions together, by unordered pair."""
    rates = {
        pair: value for pair, of in by_pair(results, f"p2p.both-ways.{ENGINE_WRITE.name}").items()
        if (value := _middle(of)) is not None}
    return {
        pair: rates[pair] + rates[pair[1], pair[0]] for pair in rates if pair[0] < pair[1] and pair[::-1] in rates}


@check("p2p.slow-pair", reads=[StressResults], stress="p2p")
def slow_pair(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A pair of GPUs, or one GPU with all others, stays far behind the other pairs of the box.

    Why it matters: links of one kind differ by a few percent. A pair that does half of what the others do goes by way
    of the host without saying so, or over a link with half its lanes.
    What to do: if all slow pairs have one GPU in common, it is that GPU's link; else it is the way between the two.
    Not a fault: GPUs of two sockets or behind two switches, which are slower between the groups; that is said, not
    judged. Pairs joined by NVLink or xGMI beside others that are not.
    By hand: boxcheck stress run p2p --gpu A --gpu B
    """
    if not results.full_size or not all(info.is_gpu for info in results.gpus):
        yield skipped(all_of(results), "a processor's rate is not judged")
        return
    names, found, compared = [info.key for info in results.gpus], [], 0
    for what in ("one-way.engine-write", "one-way.engine-read", "one-way.kernel-write", "one-way.kernel-read"):
        samples = by_pair(results, f"p2p.{what}")
        rates = {pair: value for pair, of in samples.items() if (value := _middle(of)) is not None}
        impossible = {pair: says for pair in rates if (says := _too_fast(results, pair, rates[pair])) is not None}
        for pair, says in impossible.items():
            found.append(unknown(pair_subject(results, pair), f"{what}: {says}", help=IMPOSSIBLE))
        cells = tuple(
            tuple(None if (one, other) in impossible else rates.get((one, other)) for other in names) for one in names)
        compared += sum(value is not None for row in cells for value in row) >= 3
        slow = slow_in(cells, PCIE_GBS)
        if slow is None:
            continue
        for index, value in slow.devices:
            subject = subject_of(results, names[index])
            found.append(failed(
                subject, f"{what}: {value:.1f} GB/s with every other GPU, the others {slow.peers:.1f} among themselves",
                measured=Quantity(round(value, 3), "GB/s"), help=LINK, cause=copies_cause(results, names[index]),
                title=f"{subject}: slow to and from every other GPU", where=str(subject)))
        for row, column, value in slow.pairs:
            pair = (names[row], names[column])
            found.append(failed(
                pair_subject(results, pair), f"{what}: {value:.1f} GB/s, the other pairs {slow.peers:.1f}",
                measured=Quantity(round(value, 3), "GB/s"), help=LINK, cause=pair_cause(pair),
                title=f"{pair_subject(results, pair)}: slow", where=str(pair_subject(results, pair))))
        if slow.groups and not slow.devices and slow.between is not None:
            groups = "; ".join(", ".join(names[at] for at in group) for group in slow.groups)
            found.append(passed(
                all_of(results), f"{what}: {slow.peers:.1f} GB/s within {groups}, {slow.between:.1f} between them"))
    yield from found
    if not found:
        yield passed(all_of(results), "no pair stays behind") if compared else skipped(
            all_of(results), "too few pairs to compare")


@check("p2p.rate-drop", reads=[StressResults], stress="p2p")
def rate_drop(results: StressResults, want: Profile) -> Iterator[Finding]:
    """Copies that a GPU makes from and to others became slower while they ran.

    Why it matters: a link that warms up and begins to repair packets, or falls back to fewer lanes, does so under load.
    What to do: boxcheck doctor pcie aer (ends in PARTIAL), right after the run; watch the link while it runs.
    Not a fault: a few percent; what small sizes on a processor give, which other programs share: not judged.
    """
    if (small := small_sizes(results)) is not None:
        yield small
        return
    yield from judge_drop(results, "p2p", lambda info, one: _doer(one) == info.key, LINK)


def _doer(sample: Sample) -> str | None:
    """The device whose copy engine or kernel moved it: the target where it reads."""
    return sample.peer if sample.what.endswith("-read") else sample.gpu
