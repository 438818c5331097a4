"""Judgements on the kernel log of this boot, subject by subject. What an event means is known to decode/klog.

One finding for each device and subject, with how often and how long ago; evidence is the log itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from boxcheck.checks.log_events import Scene, cut, judge_events, no_vendor
from boxcheck.checks.wording import listed, not_read
from boxcheck.decode.klog import Event
from boxcheck.model import BOX, Finding, Outcome, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Links
from boxcheck.profile import Profile
from boxcheck.registry import check, marginal, passed, unknown

READS = [KernelLogs, Gpus, Links]
NEEDS = ("root",)
"""Distributions keep the kernel log from ordinary users (dmesg_restrict); group adm reads the journal as well."""
LOST_XIDS = frozenset({79})


def _gpu_cause(scene: Scene, events: Sequence[Event]) -> str:
    """`gpu-lost` when one of the events says so, else a fault of this GPU."""
    lost = any(event.kind == "gpu-lost" or event.xid in LOST_XIDS for event in events)
    return f"{'gpu-lost' if lost else 'gpu-fault'}:{events[0].bdf or ''}"


def _lost_cause(scene: Scene, events: Sequence[Event]) -> str:
    return f"gpu-lost:{events[0].bdf or ''}"


def _driver_cause(scene: Scene, events: Sequence[Event]) -> str:
    return f"driver-binding:{events[0].bdf or ''}"


def _link_cause(scene: Scene, events: Sequence[Event]) -> str:
    """A link that would not train explains the target speed that the kernel then lowered (drivers/pci/quirks.c)."""
    kind = "link-untrained" if all(event.kind == "link-retrain" for event in events) else "link"
    return f"{kind}:{scene.link_id(events[0].bdf) or events[0].bdf or ''}"


def _xids(events: Sequence[Event]) -> str:
    return listed(sorted({event.xid for event in events if event.xid is not None}))


def _name(scene: Scene, events: Sequence[Event]) -> str:
    subject = scene.subject(events[0].bdf)
    return f"{subject.name} in slot {subject.slot}" if subject.slot else subject.name or "a device"


@check("log.xid", reads=READS, needs=NEEDS)
def xid(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """The NVIDIA driver reported an error of a GPU (Xid) that a healthy one does not have.

    Why it matters: Xid 48, 63, 64, 92, 94 and 95 are failing memory, 62, 119 and 120 failing firmware, 74 and 79 a lost
    connection. The driver carries on after many of them, and the machine looks well.
    What to do: by the number: 48, 63, 64, 92, 94, 95: replace the card; 62, 119, 120: power off fully, then
    another driver; 74, 79: power off, check the card's power leads, reseat card and riser.
    Not a fault: Xid 13, 31, 43 and 45 alone, which a faulty program causes on a healthy GPU; these are notes only.
    By hand: sudo dmesg | grep 'NVRM: Xid'
    """
    scene = Scene(logs, gpus, links, want)
    if (skip := no_vendor(scene, "10de", "NVIDIA")) is not None:
        yield skip
        return
    yield from judge_events(
        scene, ("xid", "sxid", "gsp-timeout", "nvidia-uvm-fatal"), "no Xid but those of faulty programs", _gpu_cause,
        title=lambda scene, events: f"{_name(scene, events)} reported Xid {_xids(events)}")


@check("log.gpu-lost", reads=READS, needs=NEEDS)
def gpu_lost(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A GPU fell off the bus since boot.

    Why it matters: it stopped answering over PCIe: power was cut, the link broke, or the chip hung. It comes back only
    after the power was off, and it will happen again.
    What to do: power off; check the card's power leads at both ends, reseat card and riser. Again: try the
    card in another slot.
    Not a fault: of software, in most cases; a program cannot switch a GPU's link off.
    By hand: sudo dmesg | grep -iE 'fallen off the bus|lost from bus'; lspci | grep 'rev ff'
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("gpu-lost",), "no GPU was lost", _lost_cause,
        title=lambda scene, events: f"{_name(scene, events)} fell off the bus")


@check("log.device-not-ready", reads=READS, needs=NEEDS)
def device_not_ready(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A device did not answer after a reset or when it should wake up.

    Why it matters: it sat in a power saving state that it never left, or its link did not come back.
    What to do: power off and on. It returns: keep it awake (`echo on | sudo tee
    /sys/bus/pci/devices/.../power/control`), then look at its link.
    Not a fault: a device that refuses a power saving state; that is information. A device that is no GPU and on no
    GPU's way is never more than marginal here: drives and network have checks of their own.
    By hand: sudo dmesg | grep -E 'not ready|D3cold'
    """
    scene = Scene(logs, gpus, links, want)
    for finding in judge_events(
        scene, ("device-not-ready", "device-inaccessible", "device-lost"), "every device woke up", _link_cause
    ):
        other = finding.outcome is Outcome.FAIL and finding.subject.kind != "gpu"
        yield msgspec.structs.replace(finding, outcome=Outcome.MARGINAL) if other else finding


@check("log.amdgpu-init", reads=READS, needs=NEEDS)
def amdgpu_init(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """amdgpu could not start a GPU.

    Why it matters: the GPU has no driver, or one that gave up half-way; ROCm does not see it.
    What to do: power the machine off and on (a warm reboot may leave the GPU's firmware hung); update linux-firmware
    and kernel together; look for BAR and PCIe errors of the same card just before.
    Not a fault: of ROCm. An optional firmware file that is missing is information.
    By hand: sudo dmesg | grep -E 'amdgpu.*(failed|error|Fatal)'
    """
    scene = Scene(logs, gpus, links, want)
    if (skip := no_vendor(scene, "1002", "AMD")) is not None:
        yield skip
        return
    yield from judge_events(
        scene, ("amdgpu-init-fail", "ib-test-fail", "ring-test-fail", "psp-fail", "firmware-load-fail",
                "amdgpu-resume-fail", "kfd-device-fail"), "amdgpu started every GPU it found", _driver_cause,
        title=lambda scene, events: f"amdgpu could not start {_name(scene, events)}")


@check("log.nvidia-init", reads=READS, needs=NEEDS)
def nvidia_init(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """The NVIDIA driver could not start a GPU, or its two halves do not match.

    Why it matters: RmInitAdapter failed means that the GPU is on the bus and does not work; an API mismatch means that
    the libraries are newer than the module that runs.
    What to do: mismatch: reboot. A GPU that does not start: power off and on, reseat; still: try it in another slot.
    Not a fault: of CUDA.
    By hand: sudo dmesg | grep -E 'NVRM|nvidia.*probe'
    """
    scene = Scene(logs, gpus, links, want)
    if (skip := no_vendor(scene, "10de", "NVIDIA")) is not None:
        yield skip
        return
    yield from judge_events(
        scene, ("nvidia-init-fail", "driver-mismatch"), "the NVIDIA driver started every GPU it found",
        lambda scene, events: "driver-mismatch:nvidia" if events[0].kind == "driver-mismatch"
        else _driver_cause(scene, events), key=lambda event: (event.kind == "driver-mismatch", event.bdf))


@check("log.amdgpu-reset", reads=READS, needs=NEEDS)
def amdgpu_reset(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """amdgpu reset a GPU, or a part of its firmware stopped answering.

    Why it matters: after a reset every program on that GPU has lost its work, and often its memory. MES, SMU or PSP
    that do not answer are firmware that hangs.
    What to do: update kernel and linux-firmware; if it needs load and any program does it, look at power and heat of
    this GPU.
    Not a fault: a reset that somebody asked for (tinygrad resets GPUs when it starts).
    By hand: sudo dmesg | grep -E 'GPU reset|MES|SMU'
    """
    scene = Scene(logs, gpus, links, want)
    if (skip := no_vendor(scene, "1002", "AMD")) is not None:
        yield skip
        return
    yield from judge_events(
        scene, ("amdgpu-reset", "amdgpu-ring-reset", "amdgpu-mes-fail", "amdgpu-smu-fail", "amdgpu-ip-hung",
                "amdgpu-queue-hang"),
        "no GPU was reset", _gpu_cause, title=lambda scene, events: f"{_name(scene, events)} hung and was reset")


@check("log.amdgpu-ring-timeout", reads=READS, needs=NEEDS)
def amdgpu_ring_timeout(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """Work on an AMD GPU hung, or touched memory that is not there.

    Why it matters: a ring that times out is work that never ended: a faulty program, firmware or GPU.
    What to do: look at the program that ran; the same with every program: update kernel and firmware, then swap the GPU
    with another slot's to see whether it follows.
    Not a fault: a page fault of one program, by itself.
    By hand: sudo dmesg | grep -E 'ring .* timeout|page fault'
    """
    scene = Scene(logs, gpus, links, want)
    if (skip := no_vendor(scene, "1002", "AMD")) is not None:
        yield skip
        return
    yield from judge_events(
        scene, ("amdgpu-ring-timeout", "amdgpu-page-fault", "amdgpu-ras-ue", "amdgpu-ras-ce", "amdgpu-ras-poison",
                "amdgpu-ras-bad-pages"), "no work hung on a GPU",
        _gpu_cause, title=lambda scene, events: f"work hung on {_name(scene, events)}")


@check("log.atomics", reads=READS, needs=NEEDS)
def atomics(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """The driver says that PCIe atomic operations do not reach a GPU.

    Why it matters: ROCm needs them; without, the GPU is left out or fails in odd ways.
    What to do: move the card to a slot of the processor; a slot of the chipset, or behind a switch that does not route
    atomics, will not do.
    Not a fault: on a machine whose GPU is not used for computing.
    By hand: sudo dmesg | grep -i atomic
    """
    scene = Scene(logs, gpus, links, want)
    if (skip := no_vendor(scene, "1002", "AMD")) is not None:
        yield skip
        return
    needed = "1002" in want.gpus.vendors or want.goal == "rocm"
    yield from judge_events(
        scene, ("atomics-unsupported",), "no driver misses atomic operations",
        lambda scene, events: f"atomics:{events[0].bdf or ''}", keep=lambda event: needed or event.severity == "fail")


@check("log.bar-assignment", reads=READS, needs=NEEDS)
def bar_assignment(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """The kernel found no address space for a device's memory window.

    Why it matters: a GPU without its BAR does not start, or cannot be reached by other GPUs.
    What to do: in the BIOS switch on Above 4G Decoding and Resizable BAR and raise the MMIO size; then pci=realloc on
    the kernel command line.
    Not a fault: I/O windows (`BAR 13: no space for [io ...]`), which GPUs do not use, and a BAR that got its place
    later.
    By hand: sudo dmesg | grep -E "can't assign|no space|failed to assign"
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("bar-assign-fail", "bar-resize-fail", "bar-write-fail"), "every memory window found its place",
        lambda scene, events: f"bar:{events[0].bdf or ''}")


@check("log.iommu-fault", reads=READS, needs=NEEDS)
def iommu_fault(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """The IOMMU refused a device's access to memory.

    Why it matters: data did not arrive where the device sent it. Copies between GPUs under a translating IOMMU end like
    this, sometimes with wrong data and no error to the program.
    What to do: boot with iommu=pt (or the IOMMU off where peer copies need it); the mode right already: update the
    device's driver.
    Not a fault: of the cable or the slot.
    By hand: sudo dmesg | grep -E 'IO_PAGE_FAULT|DMAR: \\[DMA'
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("iommu-fault",), "the IOMMU refused nothing", lambda scene, events: "iommu:",
        title=lambda scene, events: f"the IOMMU refuses memory accesses of {_name(scene, events)}")


@check("log.pcie-fatal", reads=READS, needs=NEEDS)
def pcie_fatal(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A PCIe link failed since boot: an uncorrectable error, a containment, a link that went down or would not train.

    Why it matters: data was lost, or the device was. Corrected errors are judged by their counters (aer.*), this is
    what no retry could mend.
    What to do: power off, reseat card and riser at both ends, power on; not cured: move the card to another
    slot, to tell card from slot and riser.
    Not a fault: a card that was unplugged on purpose, and ports whose error log has size 0.
    By hand: sudo dmesg | grep -E 'PCIe Bus Error|DPC|Link Down|retrain'
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("aer-fatal", "aer-nonfatal", "aer-recovery-failed", "dpc", "link-down", "link-retrain"),
        "no link failed", _link_cause, key=lambda event: scene.link_id(event.bdf) or event.bdf,
        title=lambda scene, events: f"the link of {_name(scene, events)} failed")


@check("log.aer-correctable", reads=READS, needs=NEEDS)
def aer_correctable(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """The log holds corrected PCIe errors.

    Why it matters: every one is a packet that arrived damaged and was sent again. The log leaves most of them out (it
    is rate limited), so it shows that there were some, and the counters of aer.* how many.
    What to do: see aer.correctable: shorten or replace the riser, or reseat the card.
    Not a fault: advisory non-fatal errors, which software causes.
    By hand: sudo dmesg | grep -A3 'severity=Correct'
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("aer-correctable",), "no corrected PCIe error in the log", _link_cause,
        key=lambda event: scene.link_id(event.bdf) or event.bdf)


@check("log.firmware-first", reads=READS, needs=NEEDS)
def firmware_first(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """Firmware reported a PCIe error, so firmware handles them on this machine.

    Why it matters: where firmware keeps the errors to itself the kernel's counters stay at 0, whatever happens.
    What to do: treat the error as any PCIe error; in the BIOS give AER to the operating system, then read the BMC's
    log.
    Not a fault: by itself; the error it tells of is.
    By hand: sudo dmesg | grep 'Hardware Error'
    """
    scene = Scene(logs, gpus, links, want)
    yield from judge_events(
        scene, ("ghes-pcie",), "firmware reported no PCIe error", _link_cause,
        key=lambda event: scene.link_id(event.bdf) or event.bdf)


PREVIOUS = ("xid", "gpu-lost", "amdgpu-reset", "aer-fatal", "aer-nonfatal", "dpc", "link-down", "mce", "edac-ue",
            "memory-failure", "ghes-pcie", "ghes-memory", "ghes-other", "kernel-panic", "oops", "nmi", "nvme-reset",
            "thermal", "filesystem-error", "raid-failure")


@check("log.previous-boot", reads=READS, needs=NEEDS)
def previous_boot(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """The boot before this one saw a fatal error.

    Why it matters: a machine that hung and was switched off and on shows nothing in the log of this boot.
    What to do: read that log; the same device again in this boot, or under load: it is that device.
    Not a fault: that is still there, by itself; so this is never more than marginal.
    By hand: sudo journalctl -k -b -1 -p err
    """
    scene = Scene(logs, gpus, links, want)
    log = logs.previous_boot
    evidence = ("/var/log/dmesg.0",)
    if isinstance(log, Unread):
        yield not_read(BOX, log, evidence=evidence)
        return
    bad = [event for event in log.events if event.kind in PREVIOUS and event.severity == "fail"]
    nothing = f"no fatal error in {log.lines} line{'' if log.lines == 1 else 's'} of the boot before"
    if not bad and (gap := cut(log, "the boot before")) is not None:
        yield unknown(BOX, f"not read: {gap}; {nothing}", evidence=evidence)
    elif not bad:
        yield passed(BOX, nothing, evidence=evidence)
    for bdf in dict.fromkeys(event.bdf for event in bad):
        mine = [event for event in bad if event.bdf == bdf]
        yield marginal(
            scene.subject(bdf), f"in the boot before: {listed(dict.fromkeys(event.says for event in mine), 3)}",
            evidence=evidence, cause=f"previous-boot:{bdf or ''}", where=scene.place(bdf),
            title=f"{_name(scene, mine)} had a fatal error in the boot before",
            help=("sudo journalctl -k -b -1 -p err  shows what led to it", *mine[0].help))


@check("log.crash-record", reads=READS, needs=NEEDS)
def crash_record(logs: KernelLogs, gpus: Gpus, links: Links, want: Profile) -> Iterator[Finding]:
    """A kernel that died left a record behind.

    Why it matters: the record (pstore) holds the last lines before a panic, which no log on disk has.
    What to do: keep it, then remove it: sudo cp -a /sys/fs/pstore /var/lib/systemd/pstore ~/
    Not a fault: that is new, by itself: records stay until somebody removes them.
    By hand: sudo ls /sys/fs/pstore /var/lib/systemd/pstore
    """
    match logs.crash_records:
        case Unread() as unread:
            yield not_read(BOX, unread, evidence=("/sys/fs/pstore",))
        case ():
            yield passed(BOX, "no record of a crash", evidence=("/sys/fs/pstore", "/var/lib/systemd/pstore"))
        case records:
            yield marginal(
                BOX, f"{len(records)} record{'s' if len(records) > 1 else ''} of a crash: {listed(records, 2)}",
                evidence=records[:4], cause="crash-record:", title="a kernel that died left a record",
                help=("read its last lines, keep a copy, then remove it",))
