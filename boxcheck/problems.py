"""One physical or software cause is one problem, however many checks it trips.

A finding names its cause as `kind:identity`. Findings of one cause make one problem. Some causes explain others: a card
that fell off the bus also has no BAR and no driver; those findings join the graver problem instead of making their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from boxcheck.checks.steps import RESEAT_LINK, RESEATS, SET_LOW, cost
from boxcheck.checks.wording import natural
from boxcheck.model import Finding, Outcome, Problem
from boxcheck.registry import outcome_of

_BAD = (Outcome.FAIL, Outcome.MARGINAL)

EXPLAINS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # graver kind, kinds that it explains on the same part
    ("link-down", ("gpu-lost", "link", "gpu-missing", "gpu-fault", "gpu-copies", "bar", "driver-binding",
                   "node")),
    ("gpu-lost", ("gpu-memory", "link", "bar", "gpu", "gpu-fault", "gpu-copies", "gpu-asleep", "driver-binding", "kfd",
                  "node", "aer", "atomics", "gpu-missing")),
    ("link-throttled", ("link",)),
    ("link-untrained", ("link",)),
    ("link", ("function",)),
    ("bar", ("driver-binding", "kfd", "gpu")),
    ("atomics", ("kfd", "driver-binding")),
    ("driver-binding", ("kfd", "node")),
    ("gpu", ("gpu-differs", "gpu-missing")),
)
"""Checked by part: the same identity (`gpu-lost:0000:41:00.0` explains `bar:0000:41:00.0`), slot or bus address."""

SAME_LINK = ("link", "link-errors")
"""Kinds that are one problem where they name one link, by either of its ends, the first kind first. Never by slot or
card: a card with a switch has links of its own behind that of the slot. Nor where all that the first says is that the
link is built or set lower: errors do not come from that, and are not cured with it."""
RATE, ONE_WAY, SLOWING, FELL = "copy.rate", "copy.asymmetry", "copy.rate-drop", "stress.link-speed"
COPIES, NARROW = "gpu-copies", frozenset({"pcie.link-width", "pcie.link-speed", "stress.link-speed"})
"""A GPU's slow copies follow from a link to it that lost lanes or speed, and not from one that only has errors; where
none did, they belong to what else is wrong with the GPU."""
BUILT_LOW = "pcie.chain"
"""Says of a link what the board gives it."""

EXPLAINS_ALL: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("kernel-too-old", ("driver", "kfd", "driver-binding", "strix-memory", "node", "kfd-p2p")),
    ("own-gpu-missing", ("driver:amdgpu",)),
    ("nomodeset", ("driver:amdgpu",)),
    ("nouveau", ("driver", "driver-binding", "nvidia-nodes", "node")),
    ("driver-mismatch", ("nvml", "driver", "node")),
    ("bar-small", ("bar", "kfd-p2p")),
    ("gpu", ("gpu-mixed",)),
    ("nvme-missing", ("raid",)),
    ("power-supply", ("bmc-events", "gpu-power")),
    ("memory-dimm", ("memory-log", "machine-check", "memory-population")),
    ("node-group", ("node",)),
    ("strix-carve-out", ("strix-memory",)),
    ("strix-asked", ("strix-memory",)),
    ("iommu", ("strix-iommu", "iommu-cmdline")),
    ("nvidia-flavour", ("nvidia-p2p",)),
    ("cpu-sockets", ("gpu-missing", "memory-population", "cpu-cores")),
    ("cpu-model", ("cpu-cores",)),
)
"""Kinds whose presence anywhere on the box explains the other kinds, or whole causes, anywhere."""

PARTLESS: Mapping[str, tuple[str, ...]] = {"gpu-missing": ("link-down", "gpu-lost")}
"""A kind whose cause without an identity is explained by others, however many parts those name: two cards whose links
are down are the two that are missing."""

MOST_STEPS = 6
"""More nobody follows. Every finding keeps its own, and `-v` shows them."""
WITNESS = "log."
AFTERWARDS = frozenset({"raid", "raid-mount"})
"""Kinds that another cause explains and that still need their own steps once it is cured."""
MOST_NAMES = 8


class Common(NamedTuple):
    exact: bool
    """Whether the parts must say the very same; else the same checks with the same outcome will do."""
    title: str
    step: str
    """What to look at first: what the parts share."""


SHARED_AIR = "look first at what they share: the fans of the chassis, its air filter, and how warm the room is"
COMMON: Mapping[str, Common] = {
    "link": Common(
        True, "{count} links alike: {says}",
        "look first at what these links share: the PCIe settings of the BIOS (link speed, bifurcation), its version, "
        "and one make of riser that is not made for the speed"),
    "gpu-hot": Common(False, "{count} GPUs are hot", SHARED_AIR),
    "hot": Common(False, "{count} parts are hot", SHARED_AIR),
}
SEVERAL = 3
"""Kinds of which this many parts with one symptom are one problem: three risers do not fail alike on one day."""

ALIKE = frozenset({"node"})
"""Kinds of which several with the same title are one problem: seven nodes that one group opens."""

TITLES: Mapping[str, tuple[tuple[frozenset[str], str], ...]] = {
    "link": (
        (frozenset({"pcie.link-width", "pcie.link-speed"}), "the path of {name} is damaged"),
        *((frozenset({lost, counted}), "the path of {name} is damaged")
          for lost in ("pcie.link-width", "pcie.link-speed")
          for counted in ("aer.correctable", "stress.link-errors", "stress.link-rate", "stress.link-speed")),
        (frozenset({"aer.live", "log.firmware-first"}), "the firmware reported errors of {name}, and the kernel counts "
         "none"),
    ),
}
"""Title where the given checks all fired on one cause; first match wins. Else the gravest finding speaks."""


def _key(cause: str) -> tuple[str, str]:
    kind, _, identity = cause.partition(":")
    return kind, identity


def _parts(findings: Sequence[Finding]) -> dict[str, set[str]]:
    """Cause -> names of the parts that its findings are about."""
    parts: dict[str, set[str]] = {}
    for finding in findings:
        if finding.cause and finding.outcome in _BAD:
            here = parts.setdefault(finding.cause, {_key(finding.cause)[1]})
            here.update(name for name in (finding.subject.slot, finding.subject.bdf) if name)
    for names in parts.values():
        names.discard("")
    return parts


def _merge(findings: Sequence[Finding]) -> dict[str, str]:
    """Cause -> the cause whose problem it joins."""
    parts = _parts(findings)
    causes = list(parts)
    joined = {cause: cause for cause in causes}

    def join(other: str, grave: str) -> None:
        if joined[other] == other and _top(grave, joined) != other:
            joined[other] = grave

    for kind, explained in EXPLAINS:
        for grave in (cause for cause in causes if _key(cause)[0] == kind):
            for other in causes:
                if _key(other)[0] in explained and parts[other] & parts[grave]:
                    join(other, grave)
    for kind, explained in EXPLAINS_ALL:
        grave_one = next((cause for cause in causes if _key(cause)[0] == kind), None)
        for other in causes if grave_one is not None else ():
            if (_key(other)[0] in explained or other in explained) and grave_one is not None:
                join(other, grave_one)
    for other, grave in _of_one_link(findings, causes):
        join(other, grave)
    for cause in causes:
        kind, identity = _key(cause)
        if not identity:  # what names no part belongs to the one part that was named
            named = [other for other in causes if _key(other)[0] == kind and _key(other)[1]]
            if len(named) == 1:
                join(cause, named[0])
        if not identity and kind in PARTLESS:
            graver = next((other for other in causes if _key(other)[0] in PARTLESS[kind]), None)
            if graver is not None:
                join(cause, graver)
    for group_ in _alike(findings, causes, joined):
        for cause in group_[1:]:
            join(cause, group_[0])
    titles: dict[tuple[str, str], str] = {}
    for finding in findings:
        if finding.cause in joined and finding.title and _key(finding.cause)[0] in ALIKE:
            first = titles.setdefault((_key(finding.cause)[0], finding.title), finding.cause)
            if first != finding.cause:
                join(finding.cause, first)
    return {cause: _top(cause, joined) for cause in causes}


def _of_one_link(findings: Sequence[Finding], causes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Causes that are of one link or follow from it, each with the one whose problem it joins."""
    ends: dict[str, set[str]] = {cause: {_key(cause)[1]} for cause in causes if _key(cause)[0] in SAME_LINK}
    narrow: dict[str, list[Finding]] = {}
    """Cause -> what says that a link lost lanes or speed."""
    carries: set[str] = set()
    """Causes that more is said of than that the link is set lower."""
    for finding in findings:
        if finding.cause in ends and finding.outcome in _BAD:
            ends[finding.cause].update(finding.ends)
            if _is_narrow(finding):
                narrow.setdefault(finding.cause, []).append(finding)
            if not _is_set_low(finding):
                carries.add(finding.cause)
    for kind in SAME_LINK:
        for grave in (cause for cause in ends if _key(cause)[0] == kind and cause in carries):
            for other in ends:
                if _key(other)[0] == SAME_LINK[-1] and (
                        _key(grave)[1] in ends[other] or _key(other)[1] in ends[grave]):
                    yield other, grave
    for cause in causes:
        kind, gpu = _key(cause)
        if kind == COPIES:
            whole = f"gpu-fault:{gpu}"
            slow = [finding for finding in findings if finding.cause == cause and finding.outcome in _BAD]
            for grave, lost in narrow.items():
                here = [finding for finding in lost if gpu in (finding.subject.bdf, *finding.ends)]
                if here and _follow(slow, here, _key(grave)[0] == SAME_LINK[-1] or f"link-errors:{gpu}" in ends):
                    yield cause, grave
            yield from ((cause, grave) for grave in causes if grave == whole)


def _follow(slow: Sequence[Finding], lost: Sequence[Finding], dirty: bool) -> bool:
    """Whether slow copies are what a link that lost lanes or speed makes of them. It is as slow both ways unless it
    throws errors (`dirty`), it becomes slower while they run only where it fell then, and it keeps its share."""
    checks = {finding.check for finding in slow}
    if (ONE_WAY in checks and not dirty) or (SLOWING in checks and not any(one.check == FELL for one in lost)):
        return False
    if all(one.check == FELL and one.outcome is Outcome.MARGINAL for one in lost):
        return False  # it was lower for moments
    kept = min((share for one in lost if (share := _share(one)) is not None), default=0.0)
    return all((share := _share(one)) is None or share >= kept / 2 for one in slow if one.check == RATE)


def _share(finding: Finding) -> float | None:
    """Of the limit, what was measured."""
    have, limit = finding.measured, finding.limit
    if have is None or limit is None:
        return None
    wanted = limit.should if limit.must is None else limit.must
    if not isinstance(have.value, (int, float)) or not isinstance(wanted, (int, float)) or not wanted:
        return None
    return have.value / wanted


def _is_narrow(finding: Finding) -> bool:
    """Whether a link has fewer lanes or less speed than it must. One whose port is told to be slower from the next
    training on still runs at full speed."""
    have, limit = finding.measured, finding.limit
    full = (have is not None and isinstance(have.value, (int, float)) and limit is not None
            and outcome_of(have.value, limit) is Outcome.PASS)
    return finding.check in NARROW and not full


def _is_set_low(finding: Finding) -> bool:
    """Whether a link is lower, or is to be, by how it is built or set: that tells nothing of what it carries."""
    return finding.check == BUILT_LOW or (
        finding.check in NARROW and (not SET_LOW.isdisjoint(finding.not_) or not _is_narrow(finding)))


def _alike(
    findings: Sequence[Finding], causes: Sequence[str], joined: Mapping[str, str]
) -> list[list[str]]:
    """Causes of COMMON that show the same symptom on `SEVERAL` parts or more, each list in order of the findings.

    What joined a part's cause is one of its signs, so that one link of several with errors besides is not like the
    others; how many errors need not be the same."""
    signs: dict[str, set[tuple[str, str, str]]] = {}
    for finding in findings:
        if finding.cause not in joined or finding.cause is None or finding.outcome not in _BAD:
            continue
        cause = _top(finding.cause, joined)
        if _key(cause)[0] in COMMON and is_own(cause, finding):
            own = _key(finding.cause)[0] == _key(cause)[0]
            said = finding.says if own and COMMON[_key(cause)[0]].exact else ""
            signs.setdefault(cause, set()).add((finding.check, finding.outcome.value, said))
    groups: dict[tuple[str, frozenset[tuple[str, str, str]]], list[str]] = {}
    for cause in causes:
        if cause in signs and joined[cause] == cause:
            groups.setdefault((_key(cause)[0], frozenset(signs[cause])), []).append(cause)
    return [found for found in groups.values() if len(found) >= SEVERAL]


def _top(cause: str, joined: Mapping[str, str]) -> str:
    seen = {cause}
    while joined[cause] not in seen:
        cause = joined[cause]
        seen.add(cause)
    return cause


def group(findings: Sequence[Finding]) -> tuple[tuple[Problem, ...], dict[int, int]]:
    """Problems, gravest first, and for each finding's index the index of its problem."""
    joined = _merge(findings)
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
            members[cause], key=lambda index: (
                not is_own(cause, findings[index]), findings[index].outcome.rank if _is_link(cause) else 0,
                findings[index].cause != cause, findings[index].outcome.rank,
                not findings[index].blocker, _is_set_low(findings[index])))
        for index in indices:
            assigned[index] = len(problems)
        problems.append(_problem(cause, [findings[index] for index in indices], tuple(indices)))
    return tuple(problems), assigned


def _is_link(cause: str) -> bool:
    return _key(cause)[0] in SAME_LINK


def is_own(cause: str, finding: Finding) -> bool:
    """Whether a finding is of the problem's cause itself, and not of what follows from it."""
    kind, found = _key(cause)[0], _key(finding.cause or "")[0]
    return found == kind or (kind in SAME_LINK and found in SAME_LINK)


def _problem(cause: str, found: Sequence[Finding], indices: tuple[int, ...]) -> Problem:
    kind = _key(cause)[0]
    lead = found[0]
    fired = frozenset(finding.check for finding in found if not _is_set_low(finding))
    name = f"slot {lead.subject.slot}" if lead.subject.slot else str(lead.subject)
    title = next((text.format(name=name) for checks, text in TITLES.get(kind, ()) if checks <= fired), None)
    own_findings = [finding for finding in found if _key(finding.cause or "")[0] == kind]
    alike = {finding.cause for finding in found if _key(finding.cause or "")[0] == kind}
    common = COMMON[kind] if kind in COMMON and len(alike) >= SEVERAL else None
    if common is not None:
        title = common.title.format(count=len(alike), says=lead.says)
    if title is None:
        own = lead.says if lead.subject.kind == "box" else f"{name}: {lead.says}"
        title = next((finding.title for finding in found if finding.title), None) or own
    return Problem(
        id=cause, title=title, where=_where(cause, found),
        outcome=min((finding.outcome for finding in found), key=lambda outcome: outcome.rank),
        findings=indices,
        help=_steps(cause, found) if common is None else (common.step, *_steps(cause, found))[:MOST_STEPS],
        not_=_unique(text for finding in (own_findings or found) for text in finding.not_),
    )


def _steps(cause: str, found: Sequence[Finding]) -> tuple[str, ...]:
    """What to do about a problem: the steps of the findings that name its cause, cheap ones first.

    Steps of one finding stay in their order; the finding whose first step is cheapest is heard first.

    What the cause explains is cured with it, so steps about that are left out but for the kinds of AFTERWARDS. What the
    log says of a cause that another check has measured is a witness with general advice; it is heard where it leads.
    """
    own = [finding for finding in found if finding.help and is_own(cause, finding)]
    measured = [finding for finding in own if not finding.check.startswith(WITNESS) or finding is found[0]]
    later = [finding for finding in found if _key(finding.cause or "")[0] in AFTERWARDS and finding not in own]
    heard = [*sorted(measured or own or found, key=lambda finding: cost(finding.help)), *later]
    steps = [step for finding in heard for step in finding.help]
    named = next((step for step in steps if step.startswith(RESEATS) and step != RESEAT_LINK), RESEAT_LINK)
    return _unique(named if step == RESEAT_LINK else step for step in steps)[:MOST_STEPS]


def _where(cause: str, found: Sequence[Finding]) -> str:
    """The chain of parts that the problem's own findings name; the parts themselves where there are several."""
    kind = _key(cause)[0]
    own = [finding for finding in found if finding.cause == cause
           or (kind in COMMON and _key(finding.cause or "")[0] == kind)] or list(found)
    chains = list(_unique(finding.where for finding in own if finding.where))
    names = sorted(_unique(str(finding.subject) for finding in own), key=natural)
    if len(names) > 1 and "box" in names:
        names.remove("box")
    if len(chains) == 1 or (chains and len(names) == 1):
        return chains[0]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
