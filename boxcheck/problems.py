"""One physical or software cause is one problem, however many checks it trips.

A finding names its cause as `kind:identity`. Findings of one cause make one problem. Some causes explain others: a card
that fell off the bus also has no BAR and no driver; those findings join the graver problem instead of making their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxcheck.model import Finding, Outcome, Problem

_BAD = (Outcome.FAIL, Outcome.MARGINAL)

EXPLAINS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # graver kind, kinds it explains for the same identity
    ("gpu-lost", ("link", "bar", "gpu", "driver-binding", "node", "aer")),
    ("link-down", ("link", "gpu-missing")),
)
"""Checked by identity: `gpu-lost:0000:41:00.0` explains `bar:0000:41:00.0`."""

EXPLAINS_ALL: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("kernel-too-old", ("driver", "kfd", "driver-binding", "strix-memory")),
    ("nouveau", ("driver", "driver-binding", "nvidia-nodes")),
    ("driver-mismatch", ("nvml", "driver")),
)
"""Kinds whose presence anywhere on the box explains the other kinds anywhere."""

TITLES: Mapping[str, tuple[tuple[frozenset[str], str], ...]] = {
    "link": (
        (frozenset({"pcie.link-width", "pcie.link-speed"}), "the path of {name} is damaged"),
        (frozenset({"pcie.link-width", "aer.correctable"}), "the path of {name} is damaged"),
        (frozenset({"pcie.link-speed", "aer.correctable"}), "the path of {name} is damaged"),
    ),
}
"""Title where the given checks all fired on one cause; first match wins. Else the gravest finding speaks."""


def _key(cause: str) -> tuple[str, str]:
    kind, _, identity = cause.partition(":")
    return kind, identity


def _merge(causes: set[str]) -> dict[str, str]:
    """Cause -> the cause whose problem it joins."""
    joined = {cause: cause for cause in causes}
    for kind, explained in EXPLAINS:
        for grave in causes:
            if _key(grave)[0] != kind:
                continue
            for other in causes:
                if _key(other)[0] in explained and _key(other)[1] == _key(grave)[1]:
                    joined[other] = grave
    for kind, explained in EXPLAINS_ALL:
        grave_one = next((cause for cause in sorted(causes) if _key(cause)[0] == kind), None)
        if grave_one is not None:
            for other in causes:
                if _key(other)[0] in explained:
                    joined[other] = grave_one
    return joined


def group(findings: Sequence[Finding]) -> tuple[tuple[Problem, ...], dict[int, int]]:
    """Problems, gravest first, and for each finding's index the index of its problem."""
    causes = {finding.cause for finding in findings if finding.cause and finding.outcome in _BAD}
    joined = _merge({cause for cause in causes if cause})
    members: dict[str, list[int]] = {}
    for index, finding in enumerate(findings):
        if finding.outcome in _BAD and finding.cause:
            members.setdefault(joined[finding.cause], []).append(index)

    def gravity(cause: str) -> tuple[int, int, int]:
        found = [findings[index] for index in members[cause]]
        return (
            min(finding.outcome.rank for finding in found),
            0 if any(finding.blocker for finding in found) else 1,
            members[cause][0],
        )

    problems: list[Problem] = []
    assigned: dict[int, int] = {}
    for cause in sorted(members, key=gravity):
        indices = sorted(
            members[cause], key=lambda index: (findings[index].cause != cause, findings[index].outcome.rank))
        for index in indices:
            assigned[index] = len(problems)
        problems.append(_problem(cause, [findings[index] for index in indices], tuple(indices)))
    return tuple(problems), assigned


def _problem(cause: str, found: Sequence[Finding], indices: tuple[int, ...]) -> Problem:
    kind = _key(cause)[0]
    lead = found[0]
    fired = frozenset(finding.check for finding in found)
    name = f"slot {lead.subject.slot}" if lead.subject.slot else str(lead.subject)
    title = next((text.format(name=name) for checks, text in TITLES.get(kind, ()) if checks <= fired), None)
    if title is None:
        title = lead.title or f"{name}: {lead.says}"
    return Problem(
        id=cause, title=title, where=next((finding.where for finding in found if finding.where), str(lead.subject)),
        outcome=min((finding.outcome for finding in found), key=lambda outcome: outcome.rank),
        findings=indices,
        help=_unique(step for finding in found for step in finding.help),
        not_=_unique(text for finding in found for text in finding.not_),
    )


def _unique(texts: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))  # type: ignore[call-overload]
