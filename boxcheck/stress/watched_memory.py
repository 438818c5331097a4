"""Judgement on errors of GPU memory that its own correction counted during a run."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Finding, Quantity
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown
from boxcheck.stress import StressResults
from boxcheck.stress.judging import cause_of, subject_of
from boxcheck.stress.tally import Watching
from boxcheck.stress.watched import untold

GRAVE = ("uncorrected", "failed", "pending")
"""Words in the names of counters (boxcheck.telemetry.nvml.MEMORY_ERRORS) that stand for data that was lost. A pending
row is one that had an uncorrected error, or two corrected ones, and is replaced at the next reset."""


@check("stress.memory-errors", reads=[StressResults, Watching], stress="*")
def memory_errors(results: StressResults, watching: Watching, want: Profile) -> Iterator[Finding]:
    """A GPU's own correction counted errors of its memory during a run.

    Why it matters: an uncorrected error is data that was lost; corrected ones are where these come from.
    What to do: boxcheck stress run vram (it places them); a card whose rows cannot be replaced any more belongs back to
    where it was bought.
    Not a fault: cards that count no errors of memory, which are most of those for games.
    By hand: nvidia-smi -q -d ECC,ROW_REMAPPER; cat /sys/class/drm/card*/device/ras/umc_err_count
    """
    for info in results.gpus:
        subject, counted = subject_of(results, info.key), watching.memory_errors.get(info.key, {})
        silent = untold(watching, info.key, "memory errors")
        grown = {name: number for name, number in counted.items() if number}
        least = "at least " if info.key in watching.reset_memory else ""
        if grown:
            grave = any(word in name for name in grown for word in GRAVE)
            told = ", ".join(f"{name} {number}" for name, number in grown.items())
            yield (failed if grave else marginal)(
                subject, f"counted {least}{told} in {watching.seconds:.0f} s", measured=Quantity(
                    sum(grown.values()), "errors"), cause=cause_of(results, info.key), where=str(subject),
                title=f"{subject}: errors of its memory", help=("boxcheck stress run vram  (it places them)",))
        elif not info.is_gpu:
            yield skipped(subject, "a processor; doctor judges its memory")
        elif least:
            yield unknown(subject, "its counters began anew during the run; what they had counted is not known")
        elif info.key in watching.unread_memory:
            yield unknown(subject, f"its counters were not read twice: {watching.unread_memory[info.key]}")
        elif counted and silent is None:
            yield passed(subject, f"none was counted in {watching.seconds:.0f} s", measured=Quantity(0, "errors"))
        elif counted:
            yield unknown(subject, f"none was counted as long as they were read; {silent}")
        else:
            yield skipped(subject, "its driver counts no errors of memory")
