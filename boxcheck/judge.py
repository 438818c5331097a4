"""From findings to problems and a verdict. Pure; knows no hardware.

A blocker that failed decides. Else one that was not read, not run or crashed makes the verdict unknown: nothing that
was not looked at can pass. Advisory findings are shown and never change the verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import IntEnum

import msgspec

from boxcheck.model import Crash, Finding, Outcome, Verdict
from boxcheck.problems import group
from boxcheck.profile import Profile


class ExitCode(IntEnum):
    """See docs/reference/exit-codes.md. Precedence when several hold: 5, 1, 4, 3, 0."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    BROKEN = 4
    LOST = 5
    REBOOT = 75
    INTERRUPTED = 130
    TERMINATED = 143


def judge(
    findings: Sequence[Finding], want: Profile, *, left_out: Sequence[str] = (), crashes: Sequence[Crash] = (),
    profile_certain: bool = True,
) -> Verdict:
    """The verdict over `findings`, in which `blocker` is already set.

    `left_out` are blockers that were not run because somebody selected others. `profile_certain` is False when no
    profile says what this machine must be: then nothing can pass, though a failure still stands.
    """
    problems, assigned = group(findings)
    placed = tuple(
        msgspec.structs.replace(finding, problem=assigned.get(index)) for index, finding in enumerate(findings)
    )
    counts = Counter({outcome.value: 0 for outcome in Outcome})
    counts.update(finding.outcome.value for finding in placed)
    blockers = [finding for finding in placed if finding.blocker]
    outcome, reason = _decide(blockers, want, left_out, crashes, profile_certain)
    partial = outcome is Outcome.UNKNOWN and reason == LEFT_OUT
    return Verdict(
        outcome=outcome, reason=_subset(placed, len(left_out), profile_certain) if partial else reason,
        counts=dict(counts), findings=placed, problems=problems, not_run=len(left_out), partial=partial,
        crashed=bool(crashes), crashes=tuple(crashes), device_lost=any(
            finding.outcome is Outcome.FAIL and finding.blocker
            and (finding.cause or "").startswith(("gpu-lost:", "safety-stop:"))
            for finding in placed),
    )


def _decide(
    blockers: Sequence[Finding], want: Profile, left_out: Sequence[str], crashes: Sequence[Crash], certain: bool
) -> tuple[Outcome, str]:
    def of(outcome: Outcome) -> list[Finding]:
        return [finding for finding in blockers if finding.outcome is outcome]

    if failed := of(Outcome.FAIL):
        return Outcome.FAIL, f"{_count(failed)} failed"
    if crashes:
        return Outcome.UNKNOWN, f"boxcheck itself broke in {crashes[0].where}"
    unread = of(Outcome.UNKNOWN)
    if not certain and (unread or not left_out):
        return Outcome.UNKNOWN, NO_PROFILE
    if unread:
        return Outcome.UNKNOWN, f"{_count(unread)} {_was(unread)} not read"
    if left_out:
        return Outcome.UNKNOWN, LEFT_OUT
    if not any(finding.outcome in (Outcome.PASS, Outcome.MARGINAL) for finding in blockers):
        return Outcome.UNKNOWN, "nothing that this profile requires was judged"
    if marginal := of(Outcome.MARGINAL):
        return Outcome.MARGINAL, f"{_count(marginal)} {_is(marginal)} marginal"
    return Outcome.PASS, "every required check passed"


def for_goal(verdict: Verdict, asked: str, own: str) -> Verdict:
    """The verdict where `--goal` asked for another goal than the profile's own: then nothing passes by that profile,
    and what failed says for what. A profile whose own goal is `any` has none, so that one named adds to it."""
    if own in (asked, "any"):
        return verdict
    another = f"for another goal ({asked}) than the profile's ({own})"
    if verdict.outcome in (Outcome.PASS, Outcome.MARGINAL):
        return msgspec.structs.replace(
            verdict, outcome=Outcome.UNKNOWN,
            reason=f"{verdict.reason}, but it was judged {another}: this is no verdict by the profile")
    return msgspec.structs.replace(verdict, reason=f"{verdict.reason} (judged {another})")


def strictly(verdict: Verdict) -> Verdict:
    """The verdict under `--strict`, by which a marginal one fails."""
    if verdict.outcome is not Outcome.MARGINAL:
        return verdict
    return msgspec.structs.replace(verdict, outcome=Outcome.FAIL, reason=f"{verdict.reason}, which --strict fails")


NO_PROFILE = "no profile says what this machine must be"
NO_GPU = "no GPU was judged"


def without_gpus(verdict: Verdict, want: Profile) -> Verdict:
    """The verdict where no GPU is there to be judged. What is left of such a box may be sound, and a box that lost all
    its GPUs looks so too where the profile does not count them: it does not pass. A failure stands."""
    if verdict.outcome is Outcome.FAIL:
        return verdict
    which = "none that the profile names" if want.gpus.parts else "no discrete one"
    said = f"{NO_GPU}: {which} is on the PCI bus"
    if verdict.outcome in (Outcome.PASS, Outcome.MARGINAL):
        return msgspec.structs.replace(verdict, outcome=Outcome.UNKNOWN, reason=said)
    first, then = (said, verdict.reason) if verdict.partial else (verdict.reason, said)
    return msgspec.structs.replace(verdict, reason=f"{first}; {then}")


LEFT_OUT = "required checks were not run"
"""Why a verdict is unknown where nothing else makes it so; `_subset` says it in full."""


def _subset(findings: Sequence[Finding], left_out: int, certain: bool) -> str:
    """What a subset of the checks came to, and that it is no verdict: `what was run passed (7 of 7 checks) ...`."""
    by_check: dict[str, Outcome] = {}
    for finding in findings:
        known = by_check.get(finding.check, Outcome.SKIP)
        by_check[finding.check] = min(known, finding.outcome, key=lambda outcome: outcome.rank)
    came: Counter[Outcome] = Counter(outcome for outcome in by_check.values() if outcome is not Outcome.SKIP)
    total, number = came.total(), came[Outcome.PASS]
    skipped = len(by_check) - total
    others = f", {skipped} {'does' if skipped == 1 else 'do'} not arise on this box" if skipped else ""
    if not total:
        said = "what was run does not arise on this box"
    elif number == total:
        said = f"what was run passed ({number} of {total} check{'' if total == 1 else 's'}{others})"
    else:
        graver = ((Outcome.FAIL, "not required failed"), (Outcome.MARGINAL, "marginal"), (Outcome.UNKNOWN, "not read"))
        rest = ", ".join(f"{came[outcome]} {word}" for outcome, word in graver if came[outcome])
        said = f"what was run and is required did not fail ({number} of {total} checks passed, {rest}{others})"
    were = "check was" if left_out == 1 else "checks were"
    not_run = f"{said}; this is no verdict on the box: {left_out} required {were} not run"
    return f"{not_run}; `boxcheck doctor` gives one" if certain else f"{not_run}, and {NO_PROFILE}"


def _was(findings: Sequence[Finding]) -> str:
    return "was" if len({finding.check for finding in findings}) == 1 else "were"


def _is(findings: Sequence[Finding]) -> str:
    return "is" if len({finding.check for finding in findings}) == 1 else "are"


def _count(findings: Sequence[Finding]) -> str:
    ids = {finding.check for finding in findings}
    return f"{len(ids)} required check{'' if len(ids) == 1 else 's'}"


def exit_code(verdict: Verdict, *, strict: bool = False) -> ExitCode:
    if verdict.device_lost:
        return ExitCode.LOST
    if verdict.outcome is Outcome.FAIL or (strict and verdict.outcome is Outcome.MARGINAL):
        return ExitCode.FAILED
    if verdict.crashed:
        return ExitCode.BROKEN
    if verdict.outcome is Outcome.UNKNOWN:
        return ExitCode.INCOMPLETE
    return ExitCode.PASSED
