"""Judgements on what happened around a burn-in or a watch: the kernel's log, devices that left, errors of the host's
memory. One finding for each part that something happened to; each is judged once a run, over all of its phases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.model import BOX, Finding, Outcome, Quantity, Subject
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown
from boxcheck.stress.happenings import GRAVITY, Happened, Happening

MOST_WORDS = 3
"""Different happenings of one part that a finding spells out."""
LINK_KINDS = ("aer-", "dpc", "link-", "pcie-")
"""How kinds of the kernel's log begin that are about a link."""
LOST_HELP = (
    "power off; check the card's power leads at both ends, reseat card and riser; power on",
    "boxcheck triage on the kernel log of this time says what the driver reported")


def _subject(one: Happening) -> Subject:
    of = one.detail
    if len(of.gpus) == 1:
        return of.gpus[0].subject
    return Subject("function", of.name or f"device {of.bdf}", slot=of.slot, bdf=of.bdf) if of.name or of.bdf else BOX


def _cause(group: Sequence[Happening]) -> str:
    """The same key as other checks give to the same cause: `stress.completed` and doctor's checks of the log."""
    first = group[0].detail
    gpu = first.gpus[0].bdf if len(first.gpus) == 1 else None
    if any(one.detail.lost for one in group):
        return f"gpu-lost:{gpu or first.bdf or ''}"
    if all(one.kind.startswith(LINK_KINDS) for one in group):
        return f"link-errors:{first.bdf or ''}"
    if gpu is not None:
        return f"gpu-fault:{gpu}"
    return f"{group[0].kind}:{first.bdf or first.name}"


def _said(one: Happening) -> str:
    return f"{one.says}, {one.detail.count} x" if one.detail.count > 1 else one.says


def _finding(group: Sequence[Happening], what: str, next_step: str) -> Finding:
    """One part's happenings, the gravest first. `what` names them in the title."""
    ranked = sorted(group, key=lambda one: GRAVITY[one.severity].rank)
    subject = _subject(ranked[0])
    said = "; ".join(map(_said, ranked[:MOST_WORDS]))
    more = f"; and {len(ranked) - MOST_WORDS} more kinds" if len(ranked) > MOST_WORDS else ""
    make = failed if GRAVITY[ranked[0].severity] is Outcome.FAIL else marginal
    return make(
        subject, said + more, measured=Quantity(sum(one.detail.count for one in group), "events"),
        cause=_cause(ranked), where=str(subject), title=f"{subject}: {what}",
        help=tuple(dict.fromkeys(step for one in ranked for step in one.detail.help)) or (next_step,),
        notes=tuple(one.detail.text[:160] for one in ranked[:MOST_WORDS] if one.detail.text))


def _groups(bad: Sequence[Happening]) -> list[list[Happening]]:
    """By part: functions of one card together."""
    groups: dict[str, list[Happening]] = {}
    for one in bad:
        of = one.detail
        place = of.gpus[0].bdf if len(of.gpus) == 1 else of.bdf
        groups.setdefault(place.rsplit(".", 1)[0] if place else of.name, []).append(one)
    return list(groups.values())


@check("burn.log", reads=[Happened], needs=("root",), stress="burn")
def log(happened: Happened, want: Profile) -> Iterator[Finding]:
    """The kernel's log told of something bad while a burn-in or a watch went on.

    Why it matters: an Xid, a ring that hung, a PCIe error, a machine check under load is the fault itself, told by who
    saw it; the work may well have come to its end, since drivers repair much.
    What to do: what is said of the event; boxcheck triage on the log of that time joins it with others to a cause.
    Not a fault: what the kernel also logs on healthy machines; such events are kept with the run, and judge nothing.
    By hand: sudo dmesg --follow
    """
    bad = [one for one in happened.of("log") if one.severity in GRAVITY]
    for group in _groups(bad):
        yield _finding(group, "the kernel's log told of it during the run", "sudo dmesg | boxcheck triage -")
    missing = happened.missing("log")
    if missing is not None:
        rest = "" if bad else "; as far as it was followed it told of nothing bad"
        yield unknown(BOX, f"{missing}{rest}", needs_root="log" in happened.for_root)
    elif not bad:
        yield passed(BOX, "the kernel's log told of nothing bad", measured=Quantity(0, "events"))


@check("burn.devices", reads=[Happened], stress="burn")
def devices(happened: Happened, want: Profile) -> Iterator[Finding]:
    """A device left the machine while a burn-in or a watch went on, or answered no more.

    Why it matters: a GPU that falls off the bus under load, and be it for a moment, falls off under the owner's load;
    whatever its program could still tell. A port or switch that leaves takes all below it along.
    What to do: power off and on; check the card's power leads at both ends, reseat card and riser.
    Not a fault: what may leave a sound machine, which is told beside a pass unless a GPU is among it: a virtual
    function; what hangs at Thunderbolt or USB4 or, but for drives, at a port for hot plug. A device that sleeps; a new
    one. Whoever unplugs a built-in device on purpose knows why it is told.
    By hand: udevadm monitor --kernel --subsystem-match=pci; sudo setpci -s 41:00.0 0.l (ffffffff: it is gone)
    """
    bad = [one for one in happened.of("devices") if one.severity in GRAVITY]
    lost: dict[str, list[tuple[Subject, Happening]]] = {}
    for one in bad:
        for gpu in one.detail.gpus:
            lost.setdefault(gpu.bdf, []).append((gpu.subject, one))
    for bdf, found in lost.items():
        subject = found[0][0]
        worst = min((GRAVITY[one.severity] for _, one in found), key=lambda outcome: outcome.rank)
        gone = any(one.detail.lost for _, one in found)
        yield (failed if worst is Outcome.FAIL else marginal)(
            subject, "; ".join(_said(one) for _, one in found[:MOST_WORDS]),
            measured=Quantity(sum(one.detail.count for _, one in found), "events"),
            cause=f"{'gpu-lost' if gone else 'gpu-fault'}:{bdf}", where=str(subject),
            title=f"{subject}: {'was lost' if gone else 'its driver let go of it'} during the run", help=LOST_HELP)
    for group in _groups([one for one in bad if not one.detail.gpus]):
        yield _finding(group, "left the machine during the run", "boxcheck doctor pcie  (ends in PARTIAL)")
    missing = happened.missing("devices")
    if missing is not None:
        yield unknown(BOX, missing)
    elif not bad:
        others = tuple(_said(one) for one in happened.of("devices"))[:MOST_WORDS]
        yield passed(BOX, f"no device of the machine left: {happened.followed['devices']}", notes=others)


@check("burn.memory-errors", reads=[Happened], stress="burn")
def memory(happened: Happened, want: Profile) -> Iterator[Finding]:
    """The host's memory counted errors while a burn-in or a watch went on.

    Why it matters: an uncorrected error is data that was lost; corrected ones under load are where these come from.
    What to do: exchange or reseat the module that is named; memory that is overclocked belongs at its rated speed.
    Not a fault: a machine whose memory corrects nothing, or where no driver counts: there doctor's memory.ecc speaks.
    By hand: grep . /sys/devices/system/edac/mc/mc*/{ce,ue}_count
    """
    bad = [one for one in happened.of("memory") if one.severity in GRAVITY]
    for group in _groups(bad):
        yield _finding(group, "counted errors of memory during the run", "boxcheck doctor memory  (ends in PARTIAL)")
    missing = happened.missing("memory")
    if bad and missing is None:
        return
    if missing is not None:
        absent = happened.gaps.get("memory") == NO_EDAC
        yield skipped(BOX, NO_EDAC) if absent else unknown(BOX, missing)
    else:
        yield passed(BOX, f"none was counted: {happened.followed['memory']}", measured=Quantity(0, "errors"))


NO_EDAC = "nothing counts errors of the host's memory here (no driver of EDAC is loaded)"
