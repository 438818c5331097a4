"""Judgements on what the kernel log says of the machine around the GPUs: memory, processor, drives, heat, hangs."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.log import NEEDS, READS
from boxcheck.checks.log_events import Scene, judge_events
from boxcheck.decode.klog import Event
from boxcheck.model import Bdf, Finding, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Links
from boxcheck.profile import Profile
from boxcheck.registry import check

EDAC_LINES = 6
"""EDAC tells its part of a memory error within so many lines of the machine check."""


def _memory_lines(logs: KernelLogs) -> frozenset[int]:
    """Lines of the machine checks that are memory errors, by their own words or by EDAC's just after them."""
    log = logs.this_boot
    if isinstance(log, Unread):
        return frozenset()
    told = [event.line for event in log.events if event.kind in ("edac-ce", "edac-ue")]
    return frozenset(
        event.line for event in log.events if event.kind == "mce"
        and (event.cause == "memory" or any(0 <= line - event.line <= EDAC_LINES for line in told)))


@check("log.mce", reads=READS, needs=NEEDS)
def mce(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """The processor reported a machine check.

    Why it matters: an uncorrected one is lost data in processor, memory or fabric; corrected ones are the warning
    before.
    What to do: note bank and core; run at stock clocks and memory speed; memory bank: swap that DIMM.
    Not a fault: of the GPUs.
    By hand: sudo dmesg | grep -iE 'mce|machine check'
    """
    scene = Scene(logs, gpus, links, want)
    memory = _memory_lines(logs)
    yield from judge_events(
        scene, ("mce", "ghes-other"), "no machine check",
        lambda scene, events: "memory-log:" if events[0].line in memory else "machine-check:",
        key=lambda event: event.line in memory,
        title=lambda scene, events: "the processor reported a machine check")


@check("log.edac", reads=READS, needs=NEEDS)
def edac(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """The log holds memory errors.

    Why it matters: an uncorrected one is wrong data in some program; corrected ones at a rate are a module on its way.
    What to do: read the module's counters (memory.edac-ce, memory.edac-ue), then swap it with another one.
    Not a fault: one corrected error in months.
    By hand: sudo dmesg | grep -E 'EDAC|Memory failure'
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("edac-ue", "edac-ce", "memory-failure", "ghes-memory"), "no memory error in the log",
        lambda scene, events: "memory-log:", key=lambda event: event.labels,
        title=lambda scene, events: "the log holds memory errors")


@check("log.thermal", reads=READS, needs=NEEDS)
def thermal(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """Something became too hot since boot.

    Why it matters: what throttles is slower than it should be; what shuts down is gone.
    What to do: look at fans, dust, paste and the air in front of the part that is named.
    Not a fault: of the part itself, in most cases.
    By hand: sudo dmesg | grep -i temperature
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("thermal",), "nothing became too hot", lambda scene, events: f"thermal:{events[0].bdf or 'cpu'}")


@check("log.power", reads=READS, needs=NEEDS)
def power(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A card or a slot reported that its power is missing.

    Why it matters: the driver reads the card's own sense pins, the port the fuse of its slot: nothing is inferred. Such
    a card does not start, or stops under load.
    What to do: power off; check every power plug of that card and its cable at the supply; a slot that cuts out: take
    the card out and look for a short.
    Not a fault: of the driver or the riser's data lanes.
    By hand: sudo dmesg | grep -iE 'power cable|power fault'
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("gpu-power-cable", "slot-power-fault"), "no card and no slot lacks power",
        lambda scene, events: f"gpu-power:{events[0].bdf or ''}",
        title=lambda scene, events: f"{scene.subject(events[0].bdf)} lacks power")


@check("log.nvme", reads=READS, needs=NEEDS)
def nvme(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """An NVMe drive did not answer in time, or had to be reset.

    Why it matters: a drive that disappears under load is a bad slot, too little power, or the drive itself.
    What to do: reseat it, look at its link (disk.nvme-link) and health; keep it out of deep power saving:
    nvme_core.default_ps_max_latency_us=0.
    Not a fault: of the GPUs, though a shared lane or power supply may be.
    By hand: sudo dmesg | grep nvme
    """
    scene = Scene(logs, gpus, links, want)
    log = logs.this_boot
    names = {} if isinstance(log, Unread) else {bdf: name for name, bdf in log.facts.nvme_functions}
    yield from judge_events(
        scene, ("nvme-timeout", "nvme-reset", "disk-io-error"), "every NVMe drive answered in time",
        lambda scene, events: f"nvme:{names.get(bdf, bdf) if (bdf := events[0].bdf) else ''}",
        title=lambda scene, events: _drive_title(names, events[0]))


def _drive_title(names: dict[Bdf, str], event: Event) -> str:
    if event.kind == "disk-io-error" and event.labels and not event.labels[0].startswith("nvme"):
        return f"{event.labels[0]} failed a request"
    return f"{names.get(event.bdf or Bdf(''), 'an NVMe drive')} did not answer in time"


@check("log.filesystem", reads=READS, needs=NEEDS)
def filesystem(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """The kernel found a file system damaged, stopped writing to it, or lost a drive of an array.

    Why it matters: data are wrong or gone, and what is written now may be as well; datasets and checkpoints live there.
    What to do: copy what can be read; look for errors of the drive or its link just before; replace what is at fault,
    then check the file system unmounted.
    Not a fault: of the file system itself, in most cases: drive, memory or link below it.
    By hand: sudo dmesg | grep -E 'EXT4-fs error|XFS .*orruption|BTRFS (critical|error)|read-?only|Disk failure'
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("filesystem-error", "raid-failure"), "no file system was found damaged and no array lost a drive",
        lambda scene, events: f"filesystem:{events[0].labels[0] if events[0].labels else ''}",
        key=lambda event: event.labels,
        title=lambda scene, events: f"the file system on {events[0].labels[0]} is damaged"
        if events[0].kind == "filesystem-error" and events[0].labels else "an array lost a drive")


@check("log.lockup", reads=READS, needs=NEEDS)
def lockup(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A processor or a task was stuck in the kernel, the kernel crashed and went on, or the chipset raised an alarm.

    Why it matters: a lockup under load is often a device that does not answer; after an oops nothing of this boot can
    be trusted.
    What to do: read the lines before it for a device; reboot; if it comes back under the same load, it is that device
    or its driver.
    Not a fault: a task blocked on a slow network disk.
    By hand: sudo dmesg | grep -E 'lockup|blocked for more|rcu.*stall|BUG:|Oops|NMI: '
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("lockup", "oops", "kernel-panic", "nmi", "gpu-hang"), "nothing was stuck and nothing crashed",
        lambda scene, events: "lockup:", key=lambda event: event.kind)
