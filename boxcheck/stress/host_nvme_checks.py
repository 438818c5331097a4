"""Judgements on what NVMe drives gave: the same each time, without errors, all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from boxcheck.checks.nvme import local
from boxcheck.checks.wording import listed, not_read, size
from boxcheck.model import BOX, Bdf, Finding, Quantity, Subject
from boxcheck.probes.nvme import Nvme
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, passed, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import SHOWN, in_words, many

SCRATCH = "sudo boxcheck stress run nvme --option files=DIRECTORY --option scratch=yes"
HEALTH = (
    "copy what is on it, then run it once more",
    "sudo nvme smart-log /dev/nvme0  says what the drive itself counted",
    "reseat the drive; what goes with it to another slot is the drive's, what stays with the slot is the link's")


def of_drives(results: StressResults) -> Mapping[str, list[Sample]]:
    """Samples of reads, by the name of the drive or file."""
    found: dict[str, list[Sample]] = {}
    for one in results.samples:
        if one.what.startswith(("nvme.sequential.", "nvme.random.")):
            found.setdefault(str(one.notes["drive"]), []).append(one)
    return found


def lost(results: StressResults) -> list[Sample]:
    """Of each drive whose process did not come to its end."""
    return [one for one in results.samples if one.what == "nvme.drives" and "says" in one.notes]


def drive_subject(samples: Sequence[Sample]) -> Subject:
    notes = samples[0].notes
    name, bdf = str(notes["drive"]), str(notes.get("bdf", ""))
    if notes.get("source") == "device":
        return Subject("nvme", name, bdf=Bdf(bdf) if bdf else None)
    kind = "scratch file in" if notes.get("source") == "scratch" else "file"
    return Subject("disk", f"{kind} {notes.get('path', name)}")


def drive_cause(samples: Sequence[Sample]) -> str:
    return f"nvme-drive:{samples[0].notes['drive']}"


def none_read(results: StressResults) -> Finding:
    """The one finding where there is nothing to judge: skipped where there was no drive."""
    if lost(results):
        return unknown(BOX, "no drive was read")
    if results.ended and not results.troubles and not results.stopped:
        return skipped(BOX, "there is no NVMe drive")
    return unknown(BOX, "no drive was read")


@check("nvme.wrong-payload", reads=[StressResults], stress="nvme")
def wrong_payload(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A drive gave other data the second time, or not what was written to it.

    Why it matters: a model that loads differently from one time to the next is wrong without a word. The drive's own
    checks, the link's and the memory's all stand behind such a read, so one of them let it through.
    What to do: reseat the drive, look at its health; boxcheck stress run dram, since a bad cell of main memory under
    the buffer looks the same.
    Not a fault: a block that somebody may have written between the readings (a mounted drive in use); it is read again,
    and counted as not provable. What the drive gives wrongly each time is only seen in a scratch file.
    By hand: sudo boxcheck stress run nvme --seconds 60
    """
    drives = of_drives(results)
    for samples in drives.values():
        subject = drive_subject(samples)
        checked, wrong = sum(one.checked for one in samples), sum(one.wrong for one in samples)
        unproven = sum(int(one.notes.get("unproven", 0)) for one in samples)
        notes = [f"{many(unproven, 'block')} changed while others used the drive: not provable"] if unproven else []
        if wrong:
            words = [word for one in samples for word in one.words]
            yield failed(
                subject, f"{many(wrong, 'byte')} wrong, of {size(checked)} read twice", help=HEALTH, where=str(subject),
                measured=Quantity(wrong, "bytes"), notes=(*(in_words(word) for word in words[:SHOWN]), *notes),
                cause=drive_cause(samples), title=f"{subject}: wrong data")
        elif not checked:
            yield unknown(subject, "nothing was compared", notes=tuple(notes))
        elif not samples[0].notes.get("direct", 1):
            yield unknown(
                subject, "its file system refuses reads past the page cache (O_DIRECT), so that what was compared may "
                "never have come from the drive", help=("name a directory on another file system, or the drive",))
        else:
            scratch = samples[0].notes.get("source") == "scratch"
            known = "compared with what was written" if scratch else "read twice, alike"
            yield passed(subject, f"{size(checked)} {known}", measured=Quantity(0, "bytes"), notes=tuple(notes))
    if not drives:
        yield none_read(results)


@check("nvme.read-errors", reads=[StressResults], stress="nvme")
def read_errors(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A drive could not read what it holds, or stopped answering.

    Why it matters: an error that reaches a program was repeated by the kernel before; a read that does not come back
    for half a minute is what the kernel resets a drive for. Arrays drop such a drive.
    What to do: save what is on it; look at its health, then reseat it; power saving of the drive or the link (APST,
    ASPM) is a known cause of drives that vanish.
    Not a fault: a drive that this user may not read (nvme.not-read).
    By hand: sudo dmesg | grep -i nvme; sudo nvme smart-log /dev/nvme0
    """
    drives, gone = of_drives(results), {str(one.notes["drive"]): one for one in lost(results)}
    bad = {name: one for name, one in gone.items() if one.wrong}
    for one in bad.values():
        subject = drive_subject([one])
        yield failed(
            subject, f"stopped answering: {one.notes['says']}", help=("sudo dmesg | grep -i nvme", *HEALTH),
            measured=Quantity(1, "errors"), cause=drive_cause([one]), where=str(subject),
            title=f"{subject}: stopped answering")
    for name, samples in drives.items():
        subject = drive_subject(samples)
        errors = [one for one in samples if one.notes.get("errors")]
        number = sum(int(one.notes["errors"]) for one in errors)
        if errors:
            yield failed(
                subject, f"{many(number, 'read')} failed; the first: {errors[0].notes['first_error']}", help=HEALTH,
                measured=Quantity(number, "errors"), cause=drive_cause(samples), where=str(subject),
                title=f"{subject}: read errors")
        elif name in gone and name not in bad:  # ended from outside, for lack of memory: what it had read was right
            yield unknown(subject, f"not read to the end: {gone[name].notes['says']}")
        elif name not in bad:
            moved = sum(int(one.notes.get("bytes", 0)) for one in samples)
            yield unknown(subject, "nothing was read") if not moved else passed(
                subject, f"{size(moved)} read without an error", measured=Quantity(0, "errors"))
    if not drives and not bad:
        yield none_read(results)


@check("nvme.not-read", reads=[StressResults, Nvme], stress="nvme")
def not_read_at_all(results: StressResults, nvme: Nvme, want: Profile) -> Iterator[Finding]:
    """A drive of the box was not read.

    Why it matters: what was not read is not passed: neither that it answers, nor how fast.
    What to do: run it as root; in a container give it the drives' nodes.
    Not a fault: of the drive. Drives over a network fabric are not the box's, and are left out.
    By hand: sudo boxcheck stress run nvme; ls -l /dev/nvme*
    """
    if nvme.unreadable is not None:
        yield not_read(BOX, nvme.unreadable, evidence=("/sys/class/nvme",))
        return
    why = {str(one.notes["drive"]): one for one in lost(results)}
    read: dict[str, str] = {}
    for name, samples in of_drives(results).items():
        if sum(one.checked for one in samples):
            read[name] = "was read"
            # A file that was read stands for the drives below it.
            for disk in filter(None, str(samples[0].notes.get("on", "")).split(",")):
                read.setdefault(disk, f"{drive_subject(samples)} on it was read")
    for drive in local(nvme):
        # A drive with several paths shows them as nvme0c0n1 and is read through its head, nvme0n1.
        for name in dict.fromkeys(re.sub(r"c\d+n", "n", one.name) for one in drive.namespaces):
            subject = Subject("nvme", name, bdf=drive.bdf)
            if name in read:
                yield passed(subject, read[name])
            elif name in why:
                help = (str(why[name].notes["help"]),) if "help" in why[name].notes else ()
                yield unknown(
                    subject, str(why[name].notes["says"]), help=help, needs_root=why[name].notes["kind"] == "forbidden")
            else:
                yield unknown(subject, "was not read")
        if not drive.namespaces:
            yield unknown(Subject("nvme", drive.name, bdf=drive.bdf), "shows no namespace that could be read")
    if not local(nvme):
        says = f"{listed(nvme.undriven)} without the nvme driver" if nvme.undriven else ""
        yield unknown(BOX, f"NVMe controllers {says}") if says else skipped(BOX, "there is no NVMe drive")
