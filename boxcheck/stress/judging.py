"""What the checks of all stress modules share: who is meant, wrong words in words, and what every run must show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, TypeAlias, TypeVar

import msgspec

from boxcheck.gpu import GpuInfo
from boxcheck.model import BOX, Finding, Limit, Quantity, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, outcome_of, passed, unknown
from boxcheck.stress import Sample, StressResults, Trouble, WrongWord

PROVEN_BAD = frozenset(("hang", "lost", "crash"))
"""Kinds of trouble that are a fault of the GPU, its driver or its link, not of the question. A hang or a crash before
the work began or while a kernel was built is of a kind of its own: a driver that starts, or a compiler, did that."""
_GRAVEST = ("lost", "hang", "crash")
_NEXT = ("boxcheck triage on the kernel log of this time says what the driver reported", )
SHOWN = 3
T = TypeVar("T")
Kind: TypeAlias = tuple[str, str, str | None]
"""Name of samples, their device, their peer."""


def subject_of(results: StressResults, key: str) -> Subject:
    """The GPU as a person would point at it: by slot where that is known."""
    info = next((one for one in results.gpus if one.key == key), None)
    if info is None:
        return Subject("gpu", key)
    kind = "gpu" if info.is_gpu else "cpu"
    return Subject(kind, f"{info.name} ({key})", slot=results.slots.get(key), bdf=info.bdf)  # type: ignore[arg-type]


def cause_of(results: StressResults, key: str) -> str:
    """Findings about one GPU's work are one problem."""
    info = next((one for one in results.gpus if one.key == key), None)
    return f"gpu-fault:{info.bdf if info is not None and info.bdf else key}"


def copies_cause(results: StressResults, key: str) -> str:
    """Findings about how fast data goes to and from one GPU: its link may be why, and the GPU itself."""
    return cause_of(results, key).replace("gpu-fault:", "gpu-copies:", 1)


def in_words(word: WrongWord) -> str:
    """`row 3, column 17: expected 0x43400000, found 0x43410000 (one bit)`."""
    again = "" if word.again in (None, word.found) else f", 0x{word.again:08x} when read again"
    place = word.where or f"word {word.index}"
    kind = f" ({word.kind})" if word.kind else ""
    return f"{place}: expected 0x{word.expected:08x}, found 0x{word.found:08x}{again}{kind}"


def many(number: int, noun: str) -> str:
    """`1 word`, `3 words`; large numbers in groups of three."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", " ")


def judge_wrong(
    results: StressResults, key: str, samples: Sequence[Sample], noun: str, help: tuple[str, ...]
) -> Finding:
    """Pass when all that was compared was right, fail on any wrong word, unknown when nothing was compared."""
    subject = subject_of(results, key)
    checked, wrong = sum([one.checked for one in samples]), sum([one.wrong for one in samples])
    if wrong:
        words = [word for one in samples for word in one.words][:SHOWN]
        times = sum(1 for one in samples if one.wrong)
        return failed(
            subject, f"{many(wrong, noun)} wrong in {times} of {many(len(samples), 'sample')}",
            measured=Quantity(wrong, f"wrong {noun}s"), notes=tuple(in_words(word) for word in words), help=help,
            cause=cause_of(results, key), title=f"{subject}: wrong results", where=str(subject))
    if not checked:
        return unknown(subject, f"no {noun} was compared")
    return passed(subject, f"{many(checked, noun)} compared, none wrong", measured=Quantity(0, f"wrong {noun}s"))


def per_gpu(results: StressResults, prefix: str) -> Iterator[tuple[GpuInfo, tuple[Sample, ...]]]:
    """Every GPU of the run, with its samples whose name begins so."""
    found = by_gpu(results, prefix)
    for info in results.gpus:
        yield info, found.get(info.key, ())


def by_gpu(results: StressResults, prefix: str) -> Mapping[str, tuple[Sample, ...]]:
    """Samples whose name begins so, by key; GPUs without any are left out. Sorted once for all checks of a module: a
    day has a million samples, and a module ten checks."""
    sorted_out = _sorted_out(results)
    known = sorted_out.by_gpu.get(prefix)
    if known is None:
        found: dict[str, list[Sample]] = {}
        for sample in results.named(prefix):
            if sample.gpu in found:
                found[sample.gpu].append(sample)
            else:
                found[sample.gpu] = [sample]
        known = sorted_out.by_gpu[prefix] = {key: tuple(some) for key, some in found.items()}
    return known


def by_kind(results: StressResults) -> Mapping[Kind, Sequence[Sample]]:
    """Samples by name, device and peer, in the order in which kinds first came. Sorted once for all who ask."""
    sorted_out = _sorted_out(results)
    if sorted_out.by_kind is None:
        found: dict[Kind, list[Sample]] = {}
        for sample in results.samples:
            kind = (sample.what, sample.gpu, sample.peer)
            if kind in found:
                found[kind].append(sample)
            else:
                found[kind] = [sample]
        sorted_out.by_kind = found
    return sorted_out.by_kind


class _Sorted(msgspec.Struct):
    results: StressResults
    by_gpu: dict[str, Mapping[str, tuple[Sample, ...]]] = {}
    by_kind: Mapping[Kind, Sequence[Sample]] | None = None
    made: dict[tuple[object, ...], Any] = {}


_last: _Sorted | None = None
"""The results that were judged last, sorted. They are held, so that no others can be taken for them."""


def _sorted_out(results: StressResults) -> _Sorted:
    global _last
    if _last is None or _last.results is not results:
        _last = _Sorted(results)
    return _last


def once(results: StressResults, key: tuple[object, ...], make: Callable[[], T]) -> T:
    """What several checks need of the same results, made once. `key` tells it from all else that is made of them."""
    made = _sorted_out(results).made
    if key not in made:
        made[key] = make()
    found: T = made[key]
    return found


def forget() -> None:
    """Lets go of the results that were judged last: those of a day take 100 MB."""
    global _last
    _last = None


def judge_value(
    results: StressResults, key: str, value: float, limit: Limit, says: str, help: tuple[str, ...],
    cause: str | None = None,
) -> Finding:
    """A measured value against a limit of the profile. `cause` where it is not the GPU's work itself."""
    outcome = outcome_of(value, limit)
    subject = subject_of(results, key)
    bad = outcome.value in ("fail", "marginal")
    return Finding(
        check="", subject=subject, outcome=outcome, says=says, measured=Quantity(round(value, 3), limit.unit),
        limit=limit, help=help if bad else (), cause=(cause or cause_of(results, key)) if bad else None,
        where=str(subject) if bad else None)


def asks(limit: Limit, value: float) -> str:
    """What the profile asks for, of the two bounds the one that tells: `must be at least 140`, `should be ...`."""
    word = "at most" if limit.compare == "le" else "at least"
    broken = limit.must is not None and outcome_of(value, limit).value == "fail"
    if limit.should is None or broken:
        return f"must be {word} {limit.must:g}"
    return f"should be {word} {limit.should:g}"


def middle(values: Sequence[float]) -> float:
    return float(median(values))


@check("stress.completed", reads=[StressResults], stress="*")
def completed(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU did not come to the end of its work.

    Why it matters: what was not run is not passed. A GPU that hangs, falls off the bus or takes its process down under
    load does the same under the owner's load.
    What to do: look into the kernel log of this time (`sudo dmesg | boxcheck triage -`); a GPU that other programs use
    must be freed first.
    Not a fault: a run that somebody stopped, a device that has no such function, a driver or a compiler that hung or
    crashed before the GPU had anything to do; these are unknown, not failed.
    By hand: boxcheck stress run NAME --gpu N
    """
    if not results.gpus:
        yield unknown(BOX, "no GPU was worked on")
    for info in results.gpus:
        subject = subject_of(results, info.key)
        trouble = _gravest([one for one in results.troubles if info.key in one.gpus])
        if trouble is None and info.key in results.ended and results.stopped:
            yield unknown(subject, "stopped before its end")
        elif trouble is None and info.key in results.ended and not verified(results, info.key):
            yield unknown(subject, "came to its end and verified nothing")
        elif trouble is None and info.key in results.ended:
            yield passed(subject, "came to its end")
        elif trouble is None:
            yield unknown(subject, "did not come to its end")
        elif trouble.kind in PROVEN_BAD:
            lost = trouble.kind == "lost"
            yield failed(
                subject, f"{_verb(trouble.kind)}: {trouble.says}", help=tuple(filter(None, (trouble.help, *_NEXT))),
                cause=f"gpu-lost:{info.bdf or info.key}" if lost else cause_of(results, info.key),
                title=f"{subject}: {_verb(trouble.kind)} under load", where=str(subject))
        else:
            yield unknown(subject, f"not run: {trouble.says}", help=(trouble.help,) if trouble.help else ())


def verified(results: StressResults, key: str) -> bool:
    """As StressResults.verified, of samples that were sorted before."""
    return any(
        any(one.checked for one in some) for (what, gpu, peer), some in by_kind(results).items()
        if key in (gpu, peer) and not what.endswith("self-test"))


def _gravest(troubles: Sequence[Trouble]) -> Trouble | None:
    """What is a fault of the GPU before what is none, else the first."""
    ranked = sorted(troubles, key=lambda one: _GRAVEST.index(one.kind) if one.kind in _GRAVEST else len(_GRAVEST))
    return ranked[0] if ranked else None


def _verb(kind: str) -> str:
    return {"hang": "hung", "lost": "was lost", "crash": "its process died"}[kind]


@check("stress.injected", reads=[StressResults], stress="*")
def injected(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A fault was put in on purpose, so nothing passes.

    Why it matters: a run with `--inject` shows that a fault is found; it says nothing of the machine.
    What to do: run it without `--inject`.
    Not a fault: this is no fault of the machine.
    """
    if results.injected is None:
        yield passed(BOX, "no fault was put in")
    else:
        yield unknown(BOX, f"the fault {results.injected} was put in on purpose: this run says nothing of the machine")
