"""Judgements on what the processor's cores computed: right, alike, and all of them to the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from boxcheck.model import Finding, Quantity, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, passed, unknown
from boxcheck.stress import Sample, StressResults, WrongWord
from boxcheck.stress.judging import SHOWN, in_words, many, subject_of

REPLACE = (
    "run it once more: a fault that comes back on this core is the processor's: replace it",
    "undo overclocking, undervolting (Curve Optimizer, PBO) and memory profiles in the BIOS, update it, and repeat",
    "sudo dmesg | grep -i -E 'mce|machine check'  says what the processor itself noticed")
CACHES = (
    "boxcheck stress run dram tells main memory from the caches of the core",
    "sudo dmesg | grep -i -E 'mce|machine check|edac'  says what the memory controller noticed")


def core_subject(core: object) -> Subject:
    return Subject("cpu", f"core {core}")


def core_cause(core: object) -> str:
    return f"cpu-core:{core}"


def keys(results: StressResults) -> Iterator[str]:
    yield from (info.key for info in results.gpus)


def named(results: StressResults, key: str, end: str) -> list[Sample]:
    return [one for one in results.samples if one.gpu == key and one.what.startswith("cpu.") and one.what.endswith(end)]


def by_core(samples: Sequence[Sample]) -> Mapping[int, list[Sample]]:
    found: dict[int, list[Sample]] = {}
    for one in samples:
        found.setdefault(int(one.notes["core"]), []).append(one)
    return found


def _told(words: Sequence[WrongWord]) -> tuple[str, ...]:
    return tuple(in_words(word) for word in words[:SHOWN])


@check("cpu.wrong-elements", reads=[StressResults], stress="cpu")
def wrong_elements(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A core of the processor computed a wrong product.

    Why it matters: every element of these products has one right value, in any order of work; a wrong one is a fault of
    the core's arithmetic, its caches or the memory, and no program notices it. Loaders of data and optimisers on the
    host then feed every GPU with it.
    What to do: run it again; what comes back on the same core is the processor's. Undo overclocking and undervolting
    first.
    Not a fault: rounding; the data is integers for which every sum is exact.
    By hand: boxcheck stress run cpu --seconds 60
    """
    for key in keys(results):
        exact, together = named(results, key, ".exact"), named(results, key, ".together")
        bad = [one for one in exact if one.wrong]
        for core, mine in by_core(bad).items():
            wrong, words = sum(one.wrong for one in mine), [word for one in mine for word in one.words]
            yield failed(
                core_subject(core), f"{many(wrong, 'element')} wrong in {many(len(mine), 'product')}",
                measured=Quantity(wrong, "wrong elements"), notes=_told(words), help=REPLACE, cause=core_cause(core),
                title=f"core {core} of the processor: wrong results", where=f"core {core}")
        unlike = [one for one in together if one.wrong]
        for one in unlike if not bad else ():
            yield failed(
                subject_of(results, key), f"{one.what.split('.')[1]}: the last product of {one.notes.get('odd')} has "
                "other bytes than that of the other cores", notes=_told(one.words), help=REPLACE,
                measured=Quantity(one.wrong, "cores"), cause="cpu-unlike:", title="the cores do not agree")
        if not bad and not unlike:
            yield _right(results, key, exact, together)


def _right(results: StressResults, key: str, exact: Sequence[Sample], together: Sequence[Sample]) -> Finding:
    checked = sum(one.checked for one in exact)
    subject = subject_of(results, key)
    if not checked:
        return unknown(subject, "no element was compared")
    told = f"{many(checked, 'element')} compared, none wrong"
    if not sum(one.checked for one in together):
        return unknown(subject, f"{told}; the cores were not compared with each other")
    products = sum(int(one.notes.get("products", 0)) for one in exact)
    where = f"{many(products, 'product')} on {many(len(by_core(exact)), 'core')}"
    return passed(subject, f"{told}, in {where}", measured=Quantity(0, "wrong elements"))


@check("cpu.damaged-inputs", reads=[StressResults], stress="cpu")
def damaged_inputs(results: StressResults, want: Profile) -> Iterator[Finding]:
    """What a core held in memory changed while it multiplied.

    Why it matters: the inputs were written once and only read; a changed bit is a fault of the core's caches or of main
    memory, or a write that went astray.
    What to do: boxcheck stress run dram; without ECC, test the modules one by one.
    Not a fault: nothing else may write there.
    """
    for key in keys(results):
        compared = named(results, key, ".inputs")
        bad = [one for one in compared if one.wrong]
        met = [one for one in named(results, key, ".exact") if one.notes.get("wrong_input_words")]
        for core, mine in by_core([*bad, *met]).items():
            number = sum(int(one.notes.get("wrong_input_words", one.wrong)) for one in mine)
            words = [word for one in mine for word in one.words if "input" in word.where]
            yield failed(
                core_subject(core), f"{many(number, 'element')} of its inputs changed while in use", notes=_told(words),
                measured=Quantity(number, "wrong elements"), cause=core_cause(core), help=CACHES, where=f"core {core}",
                title=f"core {core} of the processor: wrong results")
        if not bad and not met:
            checked = sum(one.checked for one in compared)
            subject = subject_of(results, key)
            if not checked:
                yield unknown(subject, "no input was compared")
            else:
                says = f"{many(checked, 'element')} compared, none changed"
                yield passed(subject, says, measured=Quantity(0, "wrong elements"))


@check("cpu.core-lost", reads=[StressResults], stress="cpu")
def core_lost(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A core stopped working, or took its process down.

    Why it matters: a process that only multiplies and compares does not crash, and does not stand still for half a
    minute, on a sound core. Programs of the owner will do the same there, without a word of which core it was.
    What to do: look for machine checks in the kernel log; undo overclocking and undervolting; run it again.
    Not a fault: a process that was ended from outside, or could not be pinned; the check is unknown then. A signal that
    ended all cores' processes alike is the matrix library's, or the emulator's, and unknown too.
    By hand: sudo dmesg | grep -i -E 'mce|machine check|soft lockup|rcu'
    """
    for key in keys(results):
        subject = subject_of(results, key)
        followed = [one for one in results.samples if one.gpu == key and one.what == "cpu.cores"]
        whole = next((one for one in followed if "all" in one.notes), None)
        if whole is None:
            yield unknown(subject, "no core was followed to its end")
            continue
        number = int(whole.notes["all"])
        bad = [one for one in followed if one.wrong]
        not_run = [one for one in followed if not one.wrong and "says" in one.notes]
        if len(bad) == number > 1 and all(one.notes["kind"] == "crash" for one in bad):
            yield unknown(
                subject, f"the processes of all {number} cores crashed, so it was no single core",
                notes=(f"core {bad[0].notes['core']}: {bad[0].notes['says']}",),
                help=("update numpy and what it multiplies with (pip install -U numpy), and repeat",))
            continue
        for one in bad:
            core = one.notes["core"]
            yield failed(
                core_subject(core), str(one.notes["says"]), help=REPLACE, cause=core_cause(core), where=f"core {core}",
                title=f"core {core} of the processor: stopped working", measured=Quantity(1, "cores lost"))
        if not_run:
            core, says = not_run[0].notes["core"], not_run[0].notes["says"]
            yield unknown(subject, f"{len(not_run)} of {many(number, 'core')} not run to the end; core {core}: {says}")
        elif not bad:
            spared = int(whole.notes.get("spared_cores", 0))
            told = f"{number} of {many(number + spared, 'core')}" if spared else many(number, "core")
            left = f"; {spared} left to the GPUs' workers" if spared else ""
            yield passed(subject, f"{told} came to the end{left}", measured=Quantity(0, "cores lost"))
