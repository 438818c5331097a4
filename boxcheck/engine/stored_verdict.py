"""A run that is judged again beside the verdict that it ended with: by the run's own profile the graver of both counts.
Pure."""

from __future__ import annotations

import msgspec

from boxcheck.judge import exit_code, judge
from boxcheck.model import Finding, Verdict
from boxcheck.profile import Profile

_GRAVEST = (5, 1, 4, 3, 0)
"""As in docs/reference/exit-codes.md."""


def _rank(verdict: Verdict) -> tuple[int, int]:
    return _GRAVEST.index(int(exit_code(verdict))), verdict.outcome.rank


def _words(verdict: Verdict) -> str:
    return f"{verdict.outcome.value} ({verdict.reason})"


def with_stored(judged: Verdict, stored: Verdict | None, want: Profile) -> tuple[Verdict, str]:
    """The verdict that counts, and what is to be said of the other; empty where both are alike."""
    if stored is None or _rank(stored) == _rank(judged):
        return judged, ""
    if _rank(judged) < _rank(stored):
        return judged, f"when it ended it was judged {_words(stored)}; judged again it is {_words(judged)}"
    known = {_bare(one) for one in judged.findings}
    findings = [*judged.findings, *(one for one in stored.findings if _bare(one) not in known)]
    crashes = tuple(dict.fromkeys((*judged.crashes, *stored.crashes)))
    both = judge(findings, want, crashes=crashes)
    whole = msgspec.structs.replace(
        both, outcome=stored.outcome, crashed=stored.crashed or judged.crashed, partial=stored.partial,
        device_lost=stored.device_lost or judged.device_lost, not_run=max(stored.not_run, judged.not_run),
        reason=f"{stored.reason}, as it was judged when it ended")
    return whole, f"when it ended it was judged {_words(stored)}, and that counts; judged again it is {_words(judged)}"


def _bare(finding: Finding) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(finding, problem=None))
