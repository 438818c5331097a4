"""What several rules ask about a link: all its trouble, its name, which way the damaged packets went."""

from __future__ import annotations

from collections.abc import Iterable

from boxcheck.decode.klog.aer_bits import SIGNAL_LABELS
from boxcheck.model import Bdf
from boxcheck.triage.machine import bus_of
from boxcheck.triage.rules.words import LINK_TROUBLE, is_signal
from boxcheck.triage.scene import Scene, Sighting, apart_seconds, not_after


def links_of(sightings: Iterable[Sighting]) -> list[Bdf]:
    """Their links, each once."""
    return list(dict.fromkeys(sighting.link for sighting in sightings if sighting.link is not None))


def trouble(scene: Scene, link: Bdf) -> tuple[Sighting, ...]:
    """All signs of damage on one link that nothing has explained yet."""
    return tuple(
        sighting for sighting in scene.free
        if scene.on_link(sighting, link) and (is_signal(sighting) or (sighting.kind in LINK_TROUBLE and sighting.bad)))


def link_name(scene: Scene, link: Bdf) -> str:
    """`slot PCIE3`, or by its port where no slot is known."""
    slot = scene.machine.slot(link)
    if slot is not None:
        return f"slot {slot}"
    return f"the link at {bus_of(link)}"


def direction(scene: Scene, sighting: Sighting) -> str | None:
    """Which way the damaged packets went, from who counted them: a receiver counts what arrives."""
    labels = set(sighting.labels) & SIGNAL_LABELS - {"Rollover"}
    if not labels or sighting.bdf is None or sighting.link is None:
        return None
    if sighting.event.agent == "transmitter":
        return None
    if sighting.bdf == sighting.link:
        gpu = scene.machine.gpu_of(sighting.link)
        if not scene.machine.below(sighting.link):
            return f"{bus_of(sighting.bdf)} received them"
        what = "the GPU" if gpu is not None else "the device below"
        return f"the port above received them, so packets from {what} to the processor are damaged"
    what = "the GPU" if scene.machine.is_gpu(sighting.bdf) else "the device"
    return f"{what} received them, so packets from the processor to {what} are damaged"


def goes_with(sign: Sighting, failed: Sighting) -> bool:
    """Whether a sign of the link goes with a failure: not after it, or in other evidence without a time."""
    if not sign.log or sign.source != failed.source:
        return not sign.log
    apart = apart_seconds(sign, failed)
    return not_after(sign, failed) or (apart is not None and apart <= 1.0)
