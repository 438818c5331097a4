"""Judgements on a watch alone: whether its instruments were read all the time, and what doctor finds worse after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from boxcheck.model import BOX, Finding, Outcome, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown
from boxcheck.stress.burn_checks import LOST_HELP
from boxcheck.stress.happenings import Happened


class Looked(msgspec.Struct, frozen=True):
    """What a watch had to look at."""

    gpus: int
    """How many GPUs it read: those that the PCI bus shows, and that are not another machine's."""


ELSEWHERE = (
    "log.", "thermal.cpu", "thermal.gpu-idle", "thermal.gpu-spread", "thermal.nvme", "cpu.frequency",
)
"""How checks of doctor begin that are not compared. The kernel's log was followed itself (`burn.log`), and its ring may
have lost its start since; the others judge a machine at rest, and after work it is warm (`stress.temperature`)."""


GONE = {"gpu": Outcome.FAIL, "nvme": Outcome.MARGINAL}
"""Kinds of parts that are missed, and how grave that is: a drive may have been taken out."""
LOOK_HELP = ("boxcheck doctor inventory disk  (ends in PARTIAL)",)


class Change(msgspec.Struct, frozen=True):
    """A finding of doctor that is worse than before."""

    before: Outcome | None
    """None where there was no such finding."""
    finding: Finding
    """As it is after; `blocker` says whether doctor's verdict hangs on it."""


class Changes(msgspec.Struct, frozen=True):
    """What doctor finds after a watch against what it found before."""

    worse: tuple[Change, ...]
    better: int
    same: int
    why_not: str = ""
    """Why it was not compared; empty where it was."""


def changes_between(
    before: Sequence[Finding], after: Sequence[Finding],
    unlisted: Callable[[Subject], str | None] = lambda part: None,
) -> Changes:
    """Findings are matched by check and part, a device's address before its name, which counts those beside it; of
    several, the gravest counts. A GPU or a drive of which nothing is said any more is gone, unless `unlisted` says why
    it could not be seen afterwards."""
    then, now = _gravest(before), _gravest(after)
    worse, better, same = [], 0, 0
    for key, one in now.items():
        if one.check.startswith(ELSEWHERE):
            continue
        was = then[key].outcome if key in then else None
        if one.outcome in (Outcome.FAIL, Outcome.MARGINAL, Outcome.UNKNOWN) and _is_worse(was, one.outcome):
            worse.append(Change(was, one))
        elif was is not None and _is_worse(one.outcome, was):
            better += 1
        else:
            same += 1
    worse += _gone(before, after, unlisted)
    return Changes(tuple(sorted(worse, key=lambda item: (item.finding.outcome.rank, item.finding.check))), better, same)


def _is_worse(before: Outcome | None, after: Outcome) -> bool:
    """A question that did not arise, or was not asked, counts as none."""
    return before is None or before is Outcome.SKIP or after.rank < before.rank


def _gone(
    before: Sequence[Finding], after: Sequence[Finding], unlisted: Callable[[Subject], str | None]
) -> list[Change]:
    """Devices that something passed for, and that nothing is said of afterwards. Whatever was wrong with a device may
    have been all that was said of it; what passes is said each time."""
    there = {one.subject.bdf for one in after}
    passed_before = {
        one.subject.bdf: one for one in reversed(before)
        if one.outcome is Outcome.PASS and one.subject.kind in GONE and one.subject.bdf not in there}
    return [_missing(one, unlisted(one.subject)) for bdf, one in passed_before.items() if bdf is not None]


def _missing(was: Finding, why_unlisted: str | None) -> Change:
    part = was.subject
    if why_unlisted is not None:
        return Change(Outcome.PASS, Finding(
            check=was.check, subject=part, outcome=Outcome.UNKNOWN, blocker=True, help=LOOK_HELP,
            says=f"whether it is still there is not known: {why_unlisted}"))
    return Change(Outcome.PASS, Finding(
        check=was.check, subject=part, outcome=GONE[part.kind], blocker=True, help=LOST_HELP,
        says="it is gone, doctor says nothing of it any more", cause=f"{part.kind}-lost:{part.bdf}",
        where=str(part), title=f"{part}: was lost during the run"))


def _gravest(findings: Sequence[Finding]) -> Mapping[tuple[str, object], Finding]:
    found: dict[tuple[str, object], Finding] = {}
    for one in findings:
        key = (one.check, (one.subject.kind, one.subject.bdf) if one.subject.bdf else one.subject)
        if one.outcome is not Outcome.SKIP and (key not in found or one.outcome.rank < found[key].outcome.rank):
            found[key] = one
    return found


@check("watch.changed", reads=[Changes], stress="watch")
def changed(changes: Changes, want: Profile) -> Iterator[Finding]:
    """doctor finds something worse after a watch than before it.

    Why it matters: what a machine has lost while it worked (a device, lanes of a link, rows of memory, a drive of an
    array) is told by comparing, whether or not anything noticed the moment.
    What to do: what doctor says of it, below.
    Not a fault: what was as bad before; doctor alone judges that. Temperatures after work, which are no longer those of
    a machine at rest. A device that the look afterwards could not list is unknown, and not lost.
    By hand: boxcheck doctor --no-wake, before and after
    """
    if changes.why_not:
        yield unknown(BOX, f"not compared with before: {changes.why_not}")
        return
    judged = [one for one in changes.worse if one.finding.blocker]
    for one in judged:
        after = one.finding
        make = {Outcome.FAIL: failed, Outcome.MARGINAL: marginal}.get(after.outcome, unknown)
        was = "not there" if one.before is None else one.before.value
        yield make(
            after.subject, f"{after.check} was {was} before: {after.says}", measured=after.measured, limit=after.limit,
            evidence=after.evidence, help=after.help or (f"boxcheck explain {after.check}",), cause=after.cause,
            title=after.title, where=after.where)
    if not judged:
        others = tuple(f"{one.finding.check}: {one.finding.says}" for one in changes.worse)
        better = f", {changes.better} are better" if changes.better else ""
        yield passed(BOX, f"nothing that doctor requires is worse: {changes.same} findings are as before{better}",
                     notes=others[:5])


@check("watch.instruments", reads=[Happened, Looked], stress="watch")
def instruments(happened: Happened, looked: Looked, want: Profile) -> Iterator[Finding]:
    """The instruments of a watch were not read all the time, or not those of every GPU.

    Why it matters: heat, errors and throttling of the time in between are not known, and count as no pass. NVML that
    answers no more is often the first sign of a GPU that is about to be lost. A GPU that is not there is not watched:
    with fewer than the profile's nothing is said of the box.
    What to do: boxcheck doctor inventory driver (ends in PARTIAL) says which GPU or library is missing; where they fell
    silent, look into the kernel log of that time (`sudo dmesg | boxcheck triage -`); nvidia-smi hangs as well then.
    Not a fault: a moment on a busy machine; a GPU that sleeps; a machine without any, by a profile that asks for none.
    By hand: timeout 10 nvidia-smi -q
    """
    missing = happened.missing("instruments")
    least = want.gpus.count or 0
    if missing is not None:
        yield unknown(BOX, missing, help=("sudo dmesg | boxcheck triage -",))
    if looked.gpus < least:
        none = "no GPU was" if not looked.gpus else f"{looked.gpus} GPU{'' if looked.gpus == 1 else 's'} were"
        yield unknown(BOX, f"{none} watched, and the profile names {least}", help=(
            "boxcheck doctor inventory driver  (ends in PARTIAL)",))
    elif missing is None and not looked.gpus:
        yield skipped(BOX, "no GPU was watched: the PCI bus shows none that boxcheck reads")
    elif missing is None:
        many = "the GPU" if looked.gpus == 1 else f"all {looked.gpus} GPUs"
        yield passed(BOX, f"{many} read all the time: {happened.followed['instruments']}")
