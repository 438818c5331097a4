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
    return Verdict(
        outcome=outcome, reason=reason, counts=dict(counts), findings=placed, problems=problems,
        crashed=bool(crashes), crashes=tuple(crashes), device_lost=any(
            finding.outcome is Outcome.FAIL and finding.blocker and (finding.cause or "").startswith("gpu-lost:")
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
    if not certain:
        return Outcome.UNKNOWN, "no profile says what this machine must be"
    if unread := of(Outcome.UNKNOWN):
        return Outcome.UNKNOWN, f"{_count(unread)} {_was(unread)} not read"
    if left_out:
        return Outcome.UNKNOWN, f"what was run did not fail; {len(left_out)} required {_checks(len(left_out))} not run"
    if not any(finding.outcome in (Outcome.PASS, Outcome.MARGINAL) for finding in blockers):
        return Outcome.UNKNOWN, "nothing that this profile requires was judged"
    if marginal := of(Outcome.MARGINAL):
        return Outcome.MARGINAL, f"{_count(marginal)} {_is(marginal)} marginal"
    return Outcome.PASS, "every required check passed"


def _checks(number: int) -> str:
    return "check was" if number == 1 else "checks were"


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
