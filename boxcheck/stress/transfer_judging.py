"""What the checks of transfers share: pairs as a person names them, whose fault several pairs are, rates that fall."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from boxcheck.gpu import GpuInfo
from boxcheck.model import Finding, Limit, Subject
from boxcheck.registry import skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import by_kind, cause_of, copies_cause, middle, subject_of
from boxcheck.stress.kept import judge_kept, percent

Pair = tuple[str, str]
"""Keys of the device that a payload comes from and of the one that it goes to."""
DROP = Limit("transfer.drop", "ge", must=50.0, should=80.0, unit="%", source=(
    "half of the rate is half the lanes or one PCIe generation less; copies of one link repeat within a few percent "
    "(six RTX 4090: 50.1 to 51.2 GB/s over all pairs, tinygrad/open-gpu-kernel-modules, README of 550.54.15-p2p)"))
DROP_PROCESSOR = Limit("transfer.drop", "ge", must=15.0, unit="%", source=(
    "other programs share a processor, so only a collapse counts"))
LEAST_SAMPLES = 12
SHOWN_PAIRS = 6


def good(samples: Iterable[Sample]) -> list[Sample]:
    """Those whose rate counts: timed, compared, and nothing wrong in them."""
    return [one for one in samples if one.value is not None and one.checked and not one.wrong]


def place_of(results: StressResults, key: str) -> str:
    """Slot and device: `PCIE3 (cuda:2)`; the device alone where no slot is known."""
    slot = results.slots.get(key)
    return f"{slot} ({key})" if slot else key


def pair_subject(results: StressResults, pair: Pair) -> Subject:
    return Subject("link", " > ".join(place_of(results, key) for key in pair))


def pair_cause(pair: Pair) -> str:
    """Both directions of a pair are one problem."""
    one, other = sorted(pair)
    return f"gpu-pair:{one}-{other}"


def culprit(bad: Sequence[Pair], tried: Sequence[Pair]) -> str | None:
    """The one device that is an end of every bad pair, where most of its pairs are bad and others were tried."""
    ends = set.intersection(*({*pair} for pair in bad)) if len(bad) > 1 else set()
    for key in sorted(ends):
        mine = [pair for pair in tried if key in pair]
        if len({*bad}) * 2 > len(mine) and len({*tried}) > len(mine) and len({frozenset(pair) for pair in bad}) > 1:
            return key
    return None


def cause_of_pairs(results: StressResults, pair: Pair, bad: Sequence[Pair], tried: Sequence[Pair]) -> str:
    """Cause of a wrong pair: one device's where all bad pairs have that in common, else the pair's own."""
    key = culprit(bad, tried)
    return cause_of(results, key) if key is not None else pair_cause(pair)


def cause_of_slow_pairs(results: StressResults, pair: Pair, slow: Sequence[Pair], tried: Sequence[Pair]) -> str:
    """The same of a slow pair."""
    key = culprit(slow, tried)
    return copies_cause(results, key) if key is not None else pair_cause(pair)


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN_PAIRS
    return ", ".join(names[:SHOWN_PAIRS]) + (f" and {more} more" if more > 0 else "")


def kept_percent(samples: Sequence[Sample]) -> float | None:
    """The rate of the last quarter of a run in percent of that of its start; None when there are too few samples.

    Samples of many kinds are put on one scale: each is taken as a part of the best of its own kind, peer and size. The
    start is the first eighth, as a slow device gives samples at another pace and half of them is not half the time; or
    the first half, where that is faster, as links wake up.
    """
    known: dict[tuple[object, ...], tuple[object, ...]] = {}
    values: dict[tuple[object, ...], list[float]] = {}
    series: list[tuple[tuple[object, ...], float]] = []
    for one in samples:
        if one.value is not None and one.checked and not one.wrong and one.unit == "GB/s":
            # Notes of a stored run are mostly one object, so that few are looked into.
            place = (one.what, one.peer, id(one.notes))
            kind = known.get(place)
            if kind is None:
                kind = known[place] = (one.what, one.peer, one.notes.get("bytes"), one.notes.get("together"))
            values.setdefault(kind, []).append(one.value)
            series.append((kind, one.value))
    best = {kind: max(some) for kind, some in values.items() if len(some) >= 2}
    parts = [value / best[kind] for kind, value in series if best.get(kind)]
    if len(parts) < LEAST_SAMPLES:
        return None
    start = max(middle(parts[:max(4, len(parts) // 8)]), middle(parts[:len(parts) // 2]))
    return percent(parts[-(len(parts) // 4):], [start])


def judge_drop(
    results: StressResults, prefix: str, mine: Callable[[GpuInfo, Sample], bool], help: tuple[str, ...]
) -> Iterator[Finding]:
    """For every GPU, whether its transfers became slower while they ran. `mine` goes by name, device and peer alone."""
    takers = {
        kind: [info.key for info in results.gpus if mine(info, some[0])] for kind, some in by_kind(results).items()}
    taken: dict[str, list[Sample]] = {info.key: [] for info in results.gpus}
    for one in results.named(prefix):
        for key in takers[one.what, one.gpu, one.peer]:
            taken[key].append(one)
    for info in results.gpus:
        samples = taken[info.key]
        kept, subject = kept_percent(samples), subject_of(results, info.key)
        if kept is None:
            timed = any(one.value is not None for one in samples)
            yield skipped(subject, "it ran too briefly to tell") if timed else unknown(subject, "nothing was timed")
        else:
            yield judge_kept(
                results, info, kept, DROP if info.is_gpu else DROP_PROCESSOR,
                f"at the end {kept:.0f} % of the rate at the start", help, copies_cause(results, info.key))
