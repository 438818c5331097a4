"""Judgements on the vendor's library as it does collectives beside boxcheck's ring: right, at its end, fast enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.model import Finding, Limit, Quantity, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, outcome_of, passed, skipped, unknown
from boxcheck.stress import SLOW_LIBRARY_PERCENT, Sample, StressResults, Trouble
from boxcheck.stress.collective import LIBRARY, NAMES
from boxcheck.stress.judging import SHOWN, in_words, many
from boxcheck.stress.transfer_judging import good, listed

SLOW = Limit("collective.library_percent", "ge", should=SLOW_LIBRARY_PERCENT, unit="%", source=(
    "computed: both carry the same bytes over the same links, and the library reaches what copies reach (six RTX 4090: "
    "bus bandwidth 24.5 GB/s at 32 MiB, copies 50 both ways; tinygrad/open-gpu-kernel-modules, README of "
    "550.54.15-p2p); a tenth is another way than the links, such as sockets"))
OTHER_WAY = (
    "repeat with NCCL_DEBUG=INFO in the environment: it says by which way each pair is joined (P2P, SHM, NET)",
    "unset NCCL_P2P_DISABLE NCCL_P2P_LEVEL NCCL_ALGO NCCL_PROTO, which may stand in /etc/nccl.conf too, and repeat")
REINSTALL = (
    "install library and driver of one release, and repeat: boxcheck stress run collective",
    "--option engine=own leaves it out")
P2P = "boxcheck stress run p2p: its copies by kernel go the way that the library goes"
REPORT = "if all_reduce_perf -c 1 of nccl-tests finds the library right, please report this, with --json -"
HANGS = (
    "boxcheck doctor acs iommu (ends in PARTIAL): libraries hang where ACS or the IOMMU sends packets between GPUs "
    "another way (NCCL issue 2079, nccl-tests issue 117)", P2P,
    "until it is mended, keep the library from peer access: NCCL_P2P_DISABLE=1")


@check("collective.library", reads=[StressResults], stress="collective")
def library(results: StressResults, want: Profile) -> Iterator[Finding]:
    """The vendor's library gives wrong sums over these GPUs, hangs, or cannot be used there.

    Why it matters: PyTorch and all that is built on it train by NCCL or RCCL. Where the own ring is right over
    the same GPUs, a wrong sum or a hang of the library is a fault of its own, or of the way that it alone goes.
    What to do: boxcheck stress run p2p, which tries that way (kernels that read and write other GPUs' memory); install
    library and driver of one release.
    Not a fault: a box without the library. Where own results are wrong as well, collective.wrong-words tells more.
    By hand: all_reduce_perf -g N -c 1 of nccl-tests or rccl-tests
    """
    subject = Subject("group", f"{len(results.gpus)} GPUs")
    samples = results.named(LIBRARY)
    wrong = [one for one in samples if one.wrong]
    state, says = _state(results)
    if wrong:
        yield _wrong(results, subject, samples, wrong)
    elif state == "hung":
        yield failed(
            subject, f"{says}; {_own(results)}", help=HANGS, cause=f"library:{_engine(samples)}",
            title=f"{_engine(samples)} hangs", where=f"{subject} > {_engine(samples)}")
    elif trouble := _trouble(results):
        # A hang or a crash that took the process along: stress.completed says which GPUs that cost.
        yield unknown(subject, f"the library did not come back: {trouble.says}", help=HANGS)
    elif state == "unusable":
        yield unknown(subject, f"not used: {says}", help=REINSTALL)
    elif state in ("absent", "unsupported"):
        yield skipped(subject, says)
    elif state is None:
        own = results.named("collective.all-reduce") or results.named("collective.staged.all-reduce")
        yield skipped(subject, "no library was looked for") if own else unknown(subject, "nothing was run")
    else:
        compared = {name: sum(one.checked for one in _of(samples, name)) for name in NAMES}
        if missing := [name for name, number in compared.items() if not number]:
            yield unknown(subject, f"not compared by {says}: {listed(missing)}")
        else:
            yield passed(subject, f"{says}: {many(sum(compared.values()), 'word')} compared, none wrong")


def _of(samples: Sequence[Sample], name: str) -> list[Sample]:
    return [one for one in samples if one.what == f"{LIBRARY}.{name}"]


def _engine(samples: Sequence[Sample]) -> str:
    return str(next((one.notes["engine"] for one in samples if "engine" in one.notes), "the library"))


def _state(results: StressResults) -> tuple[str | None, str]:
    """What became of the library at last, and its words; None where it was not looked for."""
    told = [one.notes for one in results.named("collective") if "library_state" in one.notes]
    return (str(told[-1]["library_state"]), str(told[-1].get("library", ""))) if told else (None, "")


def _trouble(results: StressResults) -> Trouble | None:
    """What ended the worker while the library worked (the supervisor's words)."""
    return next((one for one in results.troubles if "a library of the vendor" in one.says), None)


def _own_samples(results: StressResults) -> list[Sample]:
    return [
        one for one in results.named("collective")
        if one.of == "words" and not one.what.startswith(f"{LIBRARY}.") and not one.what.endswith(".self-test")]


def _own(results: StressResults) -> str:
    """Whether the own ring was right."""
    own = _own_samples(results)
    if any(one.wrong for one in own):
        return "the own ring gives wrong results as well"
    compared = sum(one.checked for one in own)
    return f"the own ring is right ({many(compared, 'word')})" if compared else "nothing else was compared"


def _wrong(
    results: StressResults, subject: Subject, samples: Sequence[Sample], wrong: Sequence[Sample]
) -> Finding:
    """The library's fault where its result is wrong in the same way again and boxcheck's are right; else nobody knows
    whether GPUs or links did it, but a wrong result it is."""
    engine, number = _engine(wrong), sum(one.wrong for one in wrong)
    names = [name for name in NAMES if any(one.wrong for one in _of(samples, name))]
    again = all(one.notes.get("verdict") == "wrong library" for one in wrong)
    right = sum(one.checked for one in _own_samples(results)) and not any(one.wrong for one in _own_samples(results))
    how = "in the same way when repeated" if again else "not in the same way when repeated"
    return failed(
        subject, f"the results of {engine} are wrong: {many(number, 'word')} in {listed(names)}, {how}; "
        f"{_own(results)}", measured=Quantity(number, "wrong words"),
        notes=tuple(in_words(word) for one in wrong for word in one.words)[:SHOWN], cause=f"library:{engine}",
        title=f"{engine} gives wrong results", where=f"{subject} > {engine}", help=(P2P, *REINSTALL, REPORT),
        not_=("the copy engines: the own ring is right over the same GPUs",) if right and again else ())


@check("collective.library-slow", reads=[StressResults], stress="collective")
def library_slow(results: StressResults, want: Profile) -> Iterator[Finding]:
    """The vendor's library does collectives at less than a tenth of the rate of the own ring.

    Why it matters: training by this library will be slow over links that are not. Mostly it goes another way than the
    links: peer access is switched off for it, or it does not know the GPUs, and sends by sockets.
    What to do: let it say which way it goes (NCCL_DEBUG=INFO); look for variables that begin with NCCL_.
    Not a fault: of the GPUs and links, whose rate the ring shows. A library that is half as fast as the ring, or that
    is faster. A processor's rate, and that of test sizes.
    By hand: all_reduce_perf -g N -b 256M -e 256M of nccl-tests or rccl-tests
    """
    subject = Subject("group", f"{len(results.gpus)} GPUs")
    samples = results.named(LIBRARY)
    rates = {name: pair for name in NAMES if (pair := _rates(results, name)) is not None}
    if not results.full_size or not all(info.is_gpu for info in results.gpus):
        yield skipped(subject, "a processor's rate, and that of test sizes, is not judged")
        return
    if not rates:
        yield skipped(subject, "no library was timed beside the own ring")
        return
    percent, name = min((100 * theirs / own, name) for name, (own, theirs) in rates.items())
    own, theirs = rates[name]
    outcome, engine = outcome_of(percent, SLOW), _engine(samples)
    low = outcome.value in ("fail", "marginal")
    yield Finding(
        check="", subject=subject, outcome=outcome, limit=SLOW, measured=Quantity(round(percent, 3), "%"),
        says=f"{name}: bus bandwidth {theirs:.4g} GB/s by {engine}, {own:.4g} by the own ring",
        notes=tuple(f"{one}: {theirs:.4g} GB/s by {engine}, {own:.4g} by the own ring"
                    for one, (own, theirs) in rates.items()),
        help=(*OTHER_WAY, *REINSTALL) if low else (), cause=f"library:{engine}" if low else None,
        where=f"{subject} > {engine}" if low else None, title=f"{engine} is slow over these GPUs" if low else None,
        not_=("the links: the own ring is fast over them",) if low else ())


def _rates(results: StressResults, name: str) -> tuple[float, float] | None:
    """The best rate of the own ring, staged or not, and of the library; None where one of them was not timed."""
    theirs = good(_of(results.named(LIBRARY), name))
    own = good([
        *results.named(f"collective.{name}"), *results.named(f"collective.staged.{name}")]) if theirs else []
    if not own:
        return None
    return max(one.value or 0.0 for one in own), max(one.value or 0.0 for one in theirs)
