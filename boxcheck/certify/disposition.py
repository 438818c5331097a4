"""From the verdict on a run to the disposition of the box. Pure.

Required and not passed is never PASS: what failed makes FAIL, what was not read, not run or run shorter than the
profile wants makes INCOMPLETE. A waiver answers for what failed, and the disposition then says so.

What holds first decides: stopped before harm (ABORTED, exit code 5, where nothing else failed), failed (FAIL: 1, or 5
where a GPU was lost), stopped by somebody (ABORTED: 3), not all known (INCOMPLETE: 3, or 4 where boxcheck itself
broke), marginal, passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from boxcheck.certify.acceptance import Disposition, Waiver
from boxcheck.certify.waivers import Waived, waive
from boxcheck.judge import ExitCode
from boxcheck.model import Finding, Outcome, Verdict
from boxcheck.store.texts import plain_line

BY_SOMEBODY = "stopped by "
"""How the engine begins why it was stopped, where a person or the machine's shutdown did it (engine/begin.py)."""
FOR_SAFETY = "stopped for safety"
"""The same before harm (engine/burn.py)."""
COMPLETED = "stress.completed"
"""The check that a load came to its end (stress/judging.py)."""
NOT_DRIVEN = "gpu-runtime:"
"""Cause of a GPU that is there, and that no runtime can put load on (stress/runtime.py)."""
_SAFETY = ("safety-stop:", "guard-gone:")

Without = Callable[[frozenset[int]], Verdict]
"""The verdict as it is when findings with these indices do not decide."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, as far as the disposition depends on it."""

    state: Literal["finished", "stopped", "crashed"]
    reason: str = ""
    started: float
    finished: float
    now: float
    """By the box's clock, when it is decided."""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    disposition: Disposition
    verdict: Literal["pass", "marginal", "fail", "unknown"]
    """Before waivers."""
    reason: str
    verdict_string: str = ""
    waivers: tuple[Waiver, ...] = ()
    with_waivers: bool = False
    exit_code: int = 0


def decide(
    verdict: Verdict, ended: Ended, waivers: Sequence[Waiver], without: Without, *, shortened: str = "",
    lacking: Sequence[str] = (), strict: bool = False,
) -> Decided:
    """`shortened`: how the plan was cut below what the profile asks for, empty where it was not. `lacking`: what else
    keeps it from being an acceptance."""
    waived = waive(
        waivers, verdict.findings, started=ended.started, finished=ended.finished, now=ended.now)
    rest = without(waived.indices) if waived.indices else verdict
    lacking = (*lacking, *_never_ended(waived, verdict))
    failed = [rest.findings[index] for index in _deciding(rest, Outcome.FAIL) if index not in waived.indices]
    disposition, reason, culprit, code = _of(rest, ended, failed, shortened, lacking, strict)
    with_waivers = bool(waived.indices)
    return Decided(
        disposition=disposition, verdict=_word(verdict.outcome), reason=_with_waivers(reason, waived, verdict),
        verdict_string=_short(culprit), waivers=waived.waivers,
        with_waivers=with_waivers and disposition in ("PASS", "MARGINAL PASS"), exit_code=int(code))


def _of(
    rest: Verdict, ended: Ended, failed: Sequence[Finding], shortened: str, lacking: Sequence[str], strict: bool,
) -> tuple[Disposition, str, str, ExitCode]:
    """Disposition, reason, what it is booked on, exit code."""
    safety = ended.reason.startswith(FOR_SAFETY)
    broken = [one for one in failed if not (one.cause or "").startswith(_SAFETY)]
    stopped = "" if ended.state == "finished" else f"; {ended.reason or 'the run was cut off and not gone on with'}"
    if safety and not broken:
        return "ABORTED", ended.reason, "stopped-for-safety", ExitCode.LOST
    if failed or rest.outcome is Outcome.FAIL:
        code = ExitCode.LOST if rest.device_lost or safety else ExitCode.FAILED
        return "FAIL", rest.reason + stopped, _booked(failed), code
    if ended.state == "stopped" and ended.reason.startswith(BY_SOMEBODY):
        return "ABORTED", ended.reason, "stopped", ExitCode.BROKEN if rest.crashed else ExitCode.INCOMPLETE
    missing = [f"the plan was shortened: {shortened}"] if shortened else []
    missing += lacking
    if rest.outcome not in (Outcome.PASS, Outcome.MARGINAL):
        unread = [rest.findings[index] for index in _deciding(rest, Outcome.UNKNOWN)]
        code = ExitCode.BROKEN if rest.crashed else ExitCode.INCOMPLETE
        reason = "; ".join((rest.reason, *missing))
        return "INCOMPLETE", reason + (stopped if ended.reason not in rest.reason or not ended.reason else ""), (
            _booked(unread) or ("boxcheck-broke" if rest.crashed else "not-complete")), code
    if ended.state != "finished":
        return "INCOMPLETE", stopped.removeprefix("; "), "not-complete", ExitCode.INCOMPLETE
    if missing:
        what = "what was run passed" if rest.outcome is Outcome.PASS else "nothing that was run failed"
        return "INCOMPLETE", f"{what}, and {'; '.join(missing)}", "plan-shortened" if shortened else "not-complete", (
            ExitCode.INCOMPLETE)
    if rest.outcome is Outcome.MARGINAL:
        culprit = _booked([rest.findings[index] for index in _deciding(rest, Outcome.MARGINAL)])
        if strict:
            return "FAIL", f"{rest.reason}, which --strict fails", culprit, ExitCode.FAILED
        return "MARGINAL PASS", rest.reason, culprit, ExitCode.PASSED
    return "PASS", rest.reason, "", ExitCode.PASSED


def _with_waivers(reason: str, waived: Waived, verdict: Verdict) -> str:
    if not waived.indices:
        return reason
    ids = sorted({verdict.findings[index].check for index in waived.indices})
    return f"{reason}; waived: {', '.join(ids)}"


def _never_ended(waived: Waived, verdict: Verdict) -> list[str]:
    """Loads that hung or died or never began, and are waived: somebody may answer for that, and what was not run is not
    passed."""
    found = [verdict.findings[index] for index in sorted(waived.indices)]
    said = dict.fromkeys(
        f"the load on {one.subject} did not come to its end" if one.check == COMPLETED else f"{one.subject} got no load"
        for one in found if one.check == COMPLETED or (one.cause or "").startswith(NOT_DRIVEN))
    return [plain_line(one) for one in said]


def _deciding(verdict: Verdict, outcome: Outcome) -> list[int]:
    """Indices of the required findings with an outcome, that first which leads the gravest problem: what follows from
    it, or was found before it, is not what a failure is booked on."""
    led = [index for problem in verdict.problems for index in problem.findings]
    found = verdict.findings
    return [index for index in dict.fromkeys((*led, *range(len(found))))
            if found[index].blocker and found[index].outcome is outcome]


def _booked(findings: Sequence[Finding]) -> str:
    return f"{findings[0].check} {findings[0].subject}" if findings else ""


def _short(text: str) -> str:
    return plain_line(text)[:100]


def _word(outcome: Outcome) -> Literal["pass", "marginal", "fail", "unknown"]:
    match outcome:
        case Outcome.PASS:
            return "pass"
        case Outcome.MARGINAL:
            return "marginal"
        case Outcome.FAIL:
            return "fail"
        case _:
            return "unknown"
