"""Kinds of events by what they mean for a part, and texts that several rules share."""

from __future__ import annotations

from collections.abc import Iterable

from boxcheck.decode.klog.aer_bits import SIGNAL_LABELS
from boxcheck.model import Bdf
from boxcheck.triage.machine import bus_of
from boxcheck.triage.scene import Scene, Sighting, apart_seconds, not_after

CORRECTED = ("aer-correctable",)
UNCORRECTED = ("aer-nonfatal", "aer-fatal")
AER = (*CORRECTED, *UNCORRECTED, "ghes-pcie")
LINK_TROUBLE = ("link-down", "link-retrain", "dpc", "link-width", "link-speed")
"""What is about a link by its kind alone."""

DROPPED_LABELS = frozenset(("SDES", "DLP", "Inaccessible"))
"""Uncorrectable bits of a link that is going or gone."""
DAMAGE_LABELS = SIGNAL_LABELS | DROPPED_LABELS | {"ECRC", "Undefined"}

LOST = ("gpu-lost", "device-lost", "device-inaccessible", "device-not-ready")
LOST_XIDS = ("79",)
"""GPU has fallen off the bus."""
START_FAILED = (
    "nvidia-init-fail", "amdgpu-init-fail", "ib-test-fail", "ring-test-fail", "psp-fail", "amdgpu-resume-fail",
    "kfd-device-fail")
HUNG = (
    "amdgpu-ring-timeout", "amdgpu-reset", "amdgpu-ring-reset", "amdgpu-ip-hung", "amdgpu-mes-fail", "amdgpu-smu-fail",
    "amdgpu-queue-hang", "gpu-hang")
WAKE_XIDS = frozenset(("43", "45", "154"))
WAKE_SECONDS = 60.0
CARD_MEMORY = ("ecc-errors", "amdgpu-ras-ue", "amdgpu-ras-ce", "amdgpu-ras-poison", "amdgpu-ras-bad-pages")
CARD_MEMORY_XIDS = frozenset(("48", "63", "64", "92", "94", "95", "171", "172"))
"""Errors of a GPU's own memory (NVIDIA's Xid catalogue)."""
HARDWARE_ERRORS = ("ghes-pcie", "ghes-memory", "ghes-other", "aer-fatal", "mce", "dpc", "edac-ue")
"""After which a kernel may stop at once."""

RESEAT_DEVICE = (
    "power off, reseat the device, its cable or its adapter (a part that is soldered on cannot be), power on")
RESEAT = "power off, reseat the card and both ends of its riser, check the card's power plugs, power on"
SWAP = (
    "not cured: move the card alone to another slot. The fault moves with it: the card; it stays: riser or slot; then "
    "swap only the riser")
READ_BOTH_ENDS = "on the box: sudo boxcheck doctor pcie aer reads both ends of every link"


def is_narrow(sighting: Sighting) -> bool:
    """Whether a GPU's link has fewer lanes than the card, and the other end was not read: a slot that has no more, or
    damage."""
    return (sighting.kind in ("link-width", "bw-limited") and sighting.event.severity == "warn"
            and sighting.event.cause is None and bool(sighting.event.width))


def is_signal(sighting: Sighting) -> bool:
    """Whether an AER event is damage on the wire (not a request that was refused)."""
    if sighting.kind not in AER or not sighting.bad:
        return False
    return bool(set(sighting.labels) & DAMAGE_LABELS) or (
        sighting.kind in ("aer-fatal",) and not sighting.labels)


def reseat(scene: Scene, link: Bdf) -> str:
    """The first step at a link: of a card in a slot, of a card's own switch, of anything else."""
    machine = scene.machine
    if machine.on_card(link):
        return "the link runs between the card's own switch and its GPU: nothing to reseat; swap the card to confirm"
    return RESEAT if machine.is_gpu(link) or any(machine.is_gpu(bdf) for bdf in machine.below(link)) or (
        not machine.below(link) and not machine.is_other(link)) else RESEAT_DEVICE


def wake_of(scene: Scene, events: Iterable[Sighting]) -> list[Sighting]:
    """What NVIDIA's driver says of the same card in the minute after a graver event: channels that were stopped (43,
    45), the change of the recovery action (154), its GSP's slowness. They are that event's wake."""
    causes = list(events)
    wakes = (*scene.of("xid", labels=WAKE_XIDS), *scene.of("gsp-slow"))
    return [sighting for sighting in wakes if any(_wakes(scene, event, sighting) for event in causes)]


def _wakes(scene: Scene, event: Sighting, after: Sighting) -> bool:
    if after is event or after.bdf is None or event.bdf is None or not scene.machine.same_card(after.bdf, event.bdf):
        return False
    apart = apart_seconds(event, after)
    return not_after(event, after) and (apart is None or apart <= WAKE_SECONDS)


def is_lost(sighting: Sighting) -> bool:
    """Whether a device stopped answering."""
    return sighting.bad and (
        sighting.kind in LOST or (sighting.kind == "xid" and bool(set(sighting.labels) & set(LOST_XIDS))))


def lost_gpu(scene: Scene, sighting: Sighting) -> bool:
    """Whether it was a GPU that stopped answering. An event that names no device is NVIDIA's own word for one."""
    if not is_lost(sighting):
        return False
    return sighting.kind in ("gpu-lost", "xid") or (sighting.bdf is not None and scene.machine.is_gpu(sighting.bdf))


def gpu_failed(scene: Scene, sighting: Sighting) -> bool:
    """Whether a GPU was lost, hung or did not start."""
    return sighting.bad and (lost_gpu(scene, sighting) or sighting.kind in (*START_FAILED, *HUNG) or (
        sighting.kind == "xid" and sighting.event.severity == "fail"))


def sign_text(sighting: Sighting) -> str:
    """`412 x BadTLP at 40:01.1: a packet arrived damaged and was sent again`: one event, for a `because`."""
    says = sighting.event.says
    if sighting.kind in AER and ": " in says:
        says = says.split(": ", 1)[1]
    named = times_text(sighting) if sighting.kind in AER else sighting.kind.replace("-", " ")
    return f"{named}{at_text(sighting.bdf)}: {says}"


def counted(sighting: Sighting) -> str:
    """`3 x Xid 31: ...`: what it says, with its count where it is not one."""
    event = sighting.event
    least = "at least " if event.at_least else ""
    return f"{least}{event.count} x {event.says}" if event.count > 1 or least else event.says


def times_text(sighting: Sighting) -> str:
    """`412 x BadTLP at 40:01.1`, `at least 3 x ...`: one event with its count, for a `because`."""
    event = sighting.event
    named = " ".join(event.labels) or event.kind
    least = "at least " if event.at_least else ""
    count = f"{least}{event.count} x " if event.count > 1 or least else ""
    return f"{count}{named}"


def at_text(bdf: Bdf | None) -> str:
    """` at 40:01.1`, empty where no device is named."""
    return f" at {bus_of(bdf)}" if bdf is not None else ""


def indices(*groups: tuple[Sighting, ...] | list[Sighting]) -> tuple[int, ...]:
    """Indices of all sightings of some groups, each once, in the order of the evidence."""
    return tuple(sorted({sighting.index for group in groups for sighting in group}))
