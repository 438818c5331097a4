"""Judgements on copies between GPUs: what arrived, and who reaches whom. Rates are in `p2p_rate_checks`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from boxcheck.model import Finding, Quantity, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, outcome_of, passed, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import SHOWN, cause_of, in_words, many, subject_of
from boxcheck.stress.p2p_plan import Ends, expected
from boxcheck.stress.transfer_judging import (
    Pair,
    cause_of_pairs,
    culprit,
    listed,
    pair_cause,
    pair_subject,
    place_of,
)

ACCESS = limit("p2p.access", bool, "eq", "", "Whether every GPU must reach the memory of every other one itself.")
BROKEN = (
    "until it is mended, keep programs from it: NCCL_P2P_DISABLE=1",
    "boxcheck doctor iommu acs bar (ends in PARTIAL): an IOMMU that translates, ACS redirection, a BAR smaller than "
    "the memory break it",
    "a driver that allows peer access where the vendor does not is the first suspect on GeForce cards",
)


def all_of(results: StressResults) -> Subject:
    """The GPUs of the run, together."""
    return Subject("group", f"{len(results.gpus)} GPUs")


def groups_of(results: StressResults) -> list[list[str]]:
    """Devices that can be peers: those of one runtime, two at least."""
    groups: dict[str, list[str]] = {}
    for info in results.gpus:
        groups.setdefault(info.backend, []).append(info.key)
    return [keys for keys in groups.values() if len(keys) > 1]


def pairs_of(results: StressResults) -> list[Pair]:
    """Every ordered pair of devices of one runtime."""
    return [(one, other) for keys in groups_of(results) for one in keys for other in keys if one != other]


def answers(results: StressResults) -> dict[Pair, Sample]:
    """What each device said of each other one."""
    return {(one.gpu, one.peer): one for one in results.named("p2p.access") if one.peer is not None}


def reach_of(results: StressResults, keys: Sequence[str]) -> dict[Ends, bool]:
    """Who reaches whom, by numbers in the group."""
    return {
        (keys.index(one), keys.index(other)): sample.notes.get("access") == "yes"
        for (one, other), sample in answers(results).items() if one in keys and other in keys}


def wanted(results: StressResults) -> dict[Pair, list[str]]:
    """`Sample.what` of all that must be compared, for each ordered pair."""
    return {
        (keys[source], keys[target]): whats for keys in groups_of(results)
        for (source, target), whats in expected(len(keys), reach_of(results, keys)).items()}


def by_pair(results: StressResults, prefix: str) -> dict[Pair, list[Sample]]:
    found: dict[Pair, list[Sample]] = {}
    for one in results.named(prefix):
        if one.peer is not None:
            found.setdefault((one.gpu, one.peer), []).append(one)
    return found


@check("p2p.wrong-words", reads=[StressResults], stress="p2p")
def wrong_words(results: StressResults, want: Profile) -> Iterator[Finding]:
    """What one GPU sent to another arrived damaged, late or not at all.

    Why it matters: drivers and bridges exist that say yes to peer access, move data at full speed, and move the wrong
    data. Training then goes on with wrong numbers, and no tool that only measures speed sees it.
    What to do: turn peer access off for the owner's programs, and look at IOMMU, ACS, BAR sizes and the driver.
    Not a fault: a pair without peer access, whose copies go by way of the host; those are compared as well.
    By hand: boxcheck stress run p2p --seconds 60
    """
    samples = by_pair(results, "p2p")
    for info in results.gpus:
        blind = [one for one in results.named("p2p.self-test") if one.gpu == info.key and one.wrong]
        if blind:
            subject = subject_of(results, info.key)
            yield failed(
                subject, f"makes or compares payloads wrongly: {many(sum(one.wrong for one in blind), 'word')}",
                notes=tuple(in_words(word) for one in blind for word in one.words[:SHOWN]), help=BROKEN[1:],
                cause=cause_of(results, info.key), title=f"{subject}: wrong results", where=str(subject))
    bad = [pair for pair, of in samples.items() if any(one.wrong for one in of)]
    for pair in bad:
        yield _wrong_pair(results, pair, samples[pair], bad, list(samples))
    right, lacking = 0, []
    for pair, whats in wanted(results).items():
        compared = {one.what for one in samples.get(pair, ()) if one.checked}
        missing = [what.removeprefix("p2p.") for what in whats if what not in compared]
        if not compared:
            lacking.append(f"{pair[0]} > {pair[1]}")
        elif missing and pair not in bad:
            lacking.append(f"{pair[0]} > {pair[1]} ({listed(missing)})")
        right += not missing and pair not in bad
    if lacking:
        yield unknown(all_of(results), f"not compared: {listed(lacking)}", notes=tuple(lacking))
    if right:
        words = sum(one.checked for pair, of in samples.items() if pair not in bad for one in of)
        says = f"{many(words, 'word')} compared between {many(right, 'ordered pair')}, none wrong"
        yield passed(all_of(results), says, measured=Quantity(0, "wrong words"))
    elif not lacking and not bad:
        yield unknown(all_of(results), "no word was compared")


def _wrong_pair(
    results: StressResults, pair: Pair, samples: Sequence[Sample], bad: Sequence[Pair], tried: Sequence[Pair]
) -> Finding:
    wrong = [one for one in samples if one.wrong]
    ways = listed(sorted({one.what.removeprefix("p2p.") for one in wrong}))
    clean = sorted({one.what.removeprefix("p2p.") for one in samples if one.checked} - {
        one.what.removeprefix("p2p.") for one in wrong})
    number, subject = sum(one.wrong for one in wrong), pair_subject(results, pair)
    words = [word for one in wrong for word in one.words][:SHOWN]
    fastest = max((one.value for one in wrong if one.value is not None and one.unit == "GB/s"), default=None)
    speed = "" if fastest is None else f", at {fastest:.1f} GB/s"
    key = culprit(bad, tried)
    return failed(
        subject, f"{many(number, 'word')} wrong in {len(wrong)} of {many(len(samples), 'transfer')}{speed}: {ways}",
        measured=Quantity(number, "wrong words"),
        notes=(*(in_words(word) for word in words), *((f"right: {listed(clean)}",) if clean else ())), help=BROKEN,
        cause=cause_of_pairs(results, pair, bad, tried), where=str(subject),
        title=f"{subject if key is None else place_of(results, key)}: wrong data between GPUs")


@check("p2p.access", reads=[StressResults], limits=[ACCESS], stress="p2p")
def access(results: StressResults, want: Profile) -> Iterator[Finding]:
    """GPUs do not reach each other's memory.

    Why it matters: without peer access every copy between GPUs goes through the host's memory, at half the speed and
    three times the load; programs do that without a word.
    What to do: the BAR must cover the whole memory, the IOMMU be off or in passthrough, ACS off; GeForce cards need a
    driver that allows it; amdgpu needs a kernel with CONFIG_HSA_AMD_P2P.
    Not a fault: GPUs whose vendor gives none, where the profile says that it is not asked for (access false). Where no
    pair has it and the profile says nothing, it is unknown: a run that copied by way of the host says nothing of peers.
    Where some of one model have it and others not it is marginal, whatever the profile asks for. OpenCL has no call for
    it, so that is unknown there.
    By hand: nvidia-smi topo -p2p rw; rocm-smi --showtopoaccess
    """
    bound, told = want.limit(ACCESS), answers(results)
    silent = [f"{one} > {other}" for one, other in pairs_of(results) if (one, other) not in told]
    refused = {pair: sample for pair, sample in told.items() if sample.notes.get("access") == "refused"}
    lacking = [pair for pair, sample in told.items() if sample.notes.get("access") == "no"]
    by_opencl = [pair for pair in lacking if _backend(results, pair) == "opencl"]
    without = [f"{one} > {other}" for one, other in lacking if (one, other) not in by_opencl]
    for pair, sample in refused.items():
        yield failed(
            pair_subject(results, pair), f"the driver says that it can, and then refuses: {sample.notes.get('says')}",
            cause=pair_cause(pair), help=BROKEN[1:], where=str(pair_subject(results, pair)))
    if silent:
        yield unknown(all_of(results), f"not asked: {listed(silent)}", notes=tuple(silent))
    demanded = bound is not None and True in (bound.must, bound.should)
    if by_opencl and (demanded or bound is None):  # it has no call for that, so nobody asked the driver
        yield unknown(
            all_of(results), "OpenCL gives GPUs no peer access: whether they have it was not asked, and copies went by "
            "way of the host", notes=tuple(f"{one} > {other}" for one, other in by_opencl), help=(
                "install ROCm or CUDA, so that their own runtime drives them; then run it again",))
    elif by_opencl:
        yield skipped(all_of(results), "OpenCL gives GPUs no peer access, and the profile does not ask for it")
    if without:
        says = f"no peer access: {listed(without)}; copies go by way of the host"
        yield from _without(results, want, without, [pair for pair in lacking if pair not in by_opencl], says, told)
    elif told and not refused and not silent and not by_opencl:
        yield passed(all_of(results), f"all {len(told)} ordered pairs reach each other")
    elif not told and not silent:
        yield unknown(all_of(results), "no GPU was asked")


def _without(
    results: StressResults, want: Profile, without: Sequence[str], lacking: Sequence[Pair], says: str,
    told: Mapping[Pair, Sample],
) -> Iterator[Finding]:
    """Pairs of which the driver says no: by the profile, and by what GPUs of the same model beside them have."""
    bound = want.limit(ACCESS)
    if bound is not None and True in (bound.must, bound.should):
        yield Finding(
            check="", subject=all_of(results), outcome=outcome_of(False, bound), says=says, limit=bound,
            help=BROKEN[1:], measured=Quantity(False), notes=tuple(without), cause="p2p-access:all",
            title="GPUs have no access to each other's memory", where=listed(without))
        return
    alike = {pair: sample for pair, sample in told.items() if _model(results, pair[0]) == _model(results, pair[1])}
    reached = {pair for pair, sample in alike.items() if sample.notes.get("access") == "yes"}
    bad = [pair for pair in lacking if pair in alike]
    islands = _islands(reached, bad) if reached else ()
    if reached and bad and not islands:
        key = culprit(bad, list(alike))
        where = "some pairs of one model" if key is None else place_of(results, key)
        yield marginal(
            all_of(results) if key is None else subject_of(results, key),
            f"{f'no peer access with it, while {len(reached)} other ordered pairs have it' if key else says}, and "
            "they are of one model", notes=tuple(without), help=(
                *((f"compare {where} with the others: its slot and riser, the size of its BAR, ACS above it",)
                  if key is not None else ()), *BROKEN[1:]),
            cause="p2p-access:some" if key is None else cause_of(results, key), where=where,
            title=f"{where}: no peer access, where others of its model have it")
    elif bound is None and islands:
        groups = " and ".join("+".join(group) for group in islands)
        yield unknown(
            all_of(results), f"GPUs reach each other only within {groups}, as bridges between cards or two sockets "
            "make it; the profile does not say whether all must", notes=tuple(without))
    elif bound is None and len(without) == len(told):
        yield unknown(
            all_of(results), "no pair of GPUs reaches another directly; what was compared went by way of the host: "
            "this says nothing of peer copies", notes=tuple(without), help=BROKEN[1:])
    else:
        yield skipped(all_of(results), f"{says}; the profile does not ask for it", notes=tuple(without))


def _islands(reached: Collection[Pair], lacking: Collection[Pair]) -> tuple[tuple[str, ...], ...]:
    """Groups of two or more whose members all reach each other and nobody else; empty where it is not so. NVLink
    bridges make such groups, and the sockets of hosts that pass no peer traffic between them."""
    keys = sorted({key for pair in (*reached, *lacking) for key in pair})
    groups = {
        tuple(other for other in keys if other == key or ((key, other) in reached and (other, key) in reached))
        for key in keys}
    apart = sum(map(len, groups)) == len(keys) and all(len(group) > 1 for group in groups)
    whole = sum(len(group) * (len(group) - 1) for group in groups) == len(reached)
    return tuple(sorted(groups)) if apart and whole and len(groups) > 1 else ()


def _model(results: StressResults, key: str) -> str:
    return next((info.name for info in results.gpus if info.key == key), key)


def _backend(results: StressResults, pair: Pair) -> str:
    return next((info.backend for info in results.gpus if info.key == pair[0]), "")
