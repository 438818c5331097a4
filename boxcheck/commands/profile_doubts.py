"""What speaks against a machine as the pattern of a profile: a draft of a box with a fault asks for the fault.

Pure, save that judging puts the slot names of the nearest profile on the links of the facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.decode.text import clean_text
from boxcheck.engine.inspect import Facts, choose_checks, inspect_facts, name_slots
from boxcheck.model import Outcome, Verdict
from boxcheck.profile import Profile, load_profile
from boxcheck.profile_detect import Detection, detect

MOST = 20
"""Faults that are named; of more, the number."""


def doubts_about(facts: Facts) -> tuple[str, ...]:
    """Lines for a person: which shipped profile is near, what doctor finds wrong by it, what it could not read."""
    found = detect(facts)
    near = _nearest(found)
    want = load_profile(near or "generic")
    name_slots(facts, want)
    verdict = inspect_facts(facts, want, choose_checks(()), profile_certain=near is not None)
    return tuple(clean_text(line) for line in _lines(found, near, want, verdict))


def comments(doubts: Sequence[str]) -> str:
    """The doubts as lines of TOML; no character of a machine ends a comment."""
    return "".join(f"# {''.join(filter(str.isprintable, doubt))}".rstrip() + "\n" for doubt in doubts)


def _nearest(found: Detection) -> str | None:
    """The one profile that the machine could be meant to match, None where there is none or more than one."""
    if found.name is not None:
        return found.name
    possible = found.candidates or found.near
    return possible[0] if len(possible) == 1 else None


def _lines(found: Detection, near: str | None, want: Profile, verdict: Verdict) -> Iterator[str]:
    if found.name is not None:
        yield f"{want.name} r{want.revision} comes with boxcheck and matches this machine: {found.why}"
    elif near is not None or found.candidates or found.near:
        yield f"no profile that comes with boxcheck matches this machine: {found.why}"
    by = f"{want.name} r{want.revision}" if near is not None else "what holds for any box"
    faults = list(dict.fromkeys(_faults(verdict)))
    if faults:
        yield f"doctor finds this wrong with the machine, by {by}; cure it first, or the draft asks for it:"
        yield from (f"  {fault}" for fault in faults[:MOST])
        if len(faults) > MOST:
            yield f"  and {len(faults) - MOST} more: boxcheck doctor"
    unread = sorted({finding.check for finding in verdict.findings
                     if finding.outcome is Outcome.UNKNOWN and finding.blocker})
    if unread:
        yield f"not read, so nothing is known of it: {', '.join(unread)}"


def _faults(verdict: Verdict) -> Iterator[str]:
    """Problems, then what stands alone, each gravest first."""
    for problem in verdict.problems:
        yield f"{problem.outcome.value}: {problem.title}"
    for finding in sorted(verdict.findings, key=lambda one: one.outcome.rank):
        if finding.problem is None and finding.outcome in (Outcome.FAIL, Outcome.MARGINAL):
            yield f"{finding.outcome.value}: {finding.subject}: {finding.says}"
