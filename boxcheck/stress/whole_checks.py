"""Judgements on every stress run: nothing wrong that nobody told, and sizes that prove something."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import BOX, Finding, Quantity
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, passed, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import SHOWN, by_kind, cause_of, in_words, many, subject_of
from boxcheck.stress.shrinking import HOST, shrunk

NOT_THE_GPUS = frozenset(("own defect", "wrong library", "blind"))
"""Verdicts on kernels and libraries that other checks tell, and that are not the GPU's fault."""


@check("stress.wrong-results", reads=[StressResults], stress="*")
def wrong_results(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU gave something wrong, anywhere in a run.

    Why it matters: whatever a module compared and found different counts, also where no check of the module speaks of
    it. What to do: what the module's own check says; repeat the module on this GPU alone. Not a fault: what a kernel
    of boxcheck or a vendor's library got wrong where others were right on the same GPU.
    """
    if not results.gpus:
        yield unknown(BOX, "no GPU was worked on")
    wrong_ones = [one for one in results.samples if one.wrong and of_the_gpu(one)]
    checked: dict[str, int] = {}
    for (_, gpu, peer), some in by_kind(results).items():  # once for all GPUs: a day has a million samples
        number = sum([one.checked for one in some])
        for key in {gpu, peer} if peer else (gpu,):
            checked[key] = checked.get(key, 0) + number
    for info in results.gpus:
        bad = [one for one in wrong_ones if info.key == one.gpu]
        subject = subject_of(results, info.key)
        compared = checked.get(info.key, 0)
        if bad:
            names = ", ".join(dict.fromkeys(one.what for one in bad))
            wrong = sum(one.wrong for one in bad)
            yield failed(
                subject, f"{many(wrong, 'result')} wrong in {names}", measured=Quantity(wrong, "wrong results"),
                notes=tuple(in_words(word) for one in bad for word in one.words)[:SHOWN],
                cause=cause_of(results, info.key), where=str(subject), title=f"{subject}: wrong results",
                help=(f"run it on this GPU alone: boxcheck stress run {results.module} --gpu N",))
        elif compared:
            yield passed(subject, "nothing that was compared was wrong", measured=Quantity(0, "wrong results"))
        else:
            yield unknown(subject, "nothing was compared")


def of_the_gpu(sample: Sample) -> bool:
    """Whether what is wrong in it is the GPU's doing, as far as the sample tells."""
    return sample.notes.get("verdict") not in NOT_THE_GPUS and not sample.what.endswith(".library")


@check("stress.size", reads=[StressResults], stress="*")
def size(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A GPU or the host was worked on with sizes that are made for tests.

    Why it matters: small sizes fill neither its units nor its memory, draw little power, and their rates are not
    judged: what passes so says little of it. So does an option that makes a test smaller than it is by itself, or
    leaves out a part of it.
    What to do: leave out `--option size=test`, or the option that is named. Not a fault: of the GPU or the host. A
    processor in the place of a GPU always gets small sizes. Cores that the host leaves to the GPUs' workers by itself
    are as meant.
    """
    meant = [info for info in results.gpus if info.is_gpu or results.module in HOST]
    small = [info for info in meant if not results.full_size or results.options.get("size") == "test"]
    for info in small:
        yield unknown(subject_of(results, info.key), "worked on with test sizes: this proves little of it")
    smaller = {info.key: tuple(shrunk(results, info)) for info in meant if info not in small}
    for key, why in smaller.items():
        if why:
            yield unknown(subject_of(results, key), "; ".join(why), help=("leave out what makes it smaller",))
    if not small and not any(smaller.values()):
        yield passed(BOX, "sizes as they are meant for these devices")
