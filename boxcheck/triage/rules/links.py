"""What several rules ask about a link: all its trouble, its name, which way the damaged packets went."""

from __future__ import annotations

from collections.abc import Iterable

from boxcheck.decode.klog.aer_bits import SIGNAL_LABELS
from boxcheck.model import Bdf
from boxcheck.triage.machine import bus_of
from boxcheck.triage.rules.words import LINK_TROUBLE, is_narrow, is_signal
from boxcheck.triage.scene import Scene, Sighting, apart_seconds, not_after


def links_of(sightings: Iterable[Sighting]) -> list[Bdf]:
    """Their links, each once."""
    return list(dict.fromkeys(sighting.link for sighting in sightings if sighting.link is not None))


def trouble(scene: Scene, link: Bdf) -> tuple[Sighting, ...]:
    """All signs of damage on one link that nothing has explained yet."""
    return tuple(
        sighting for sighting in scene.free
        if scene.on_link(sighting, link) and (is_signal(sighting) or (
            sighting.kind in LINK_TROUBLE and sighting.bad and not is_narrow(sighting))))


def link_name(scene: Scene, link: Bdf) -> str:
    """`slot PCIE3`, or by its port where no slot is known."""
    if scene.machine.on_card(link):
        return f"the link on the card at {bus_of(link)}"
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


LONG_AGO_SECONDS = 3600.0
"""A link that fails under load shows it in its last hour; an error of days ago says little of today's loss."""
TRAINING_SECONDS = 60.0
FEW = 3


def is_training(sign: Sighting) -> bool:
    """A few receiver errors in the first minute: links that train make them, and no packet was lost."""
    return (
        sign.log and sign.labels == ("RxErr",) and sign.event.count <= FEW and isinstance(sign.event.last, float)
        and sign.event.last <= TRAINING_SECONDS and not sign.event.at_least)


def goes_with(sign: Sighting, failed: Sighting) -> bool:
    """Whether a sign of the link goes with a failure: not after it and not long before, or in other evidence without a
    time."""
    if not sign.log or sign.stretch[0] != failed.stretch[0]:
        return not sign.log
    apart = apart_seconds(sign, failed)
    if apart is None:
        return not_after(sign, failed)
    since_last = failed.first - sign.last if failed.first is not None and sign.last is not None else apart
    return (not_after(sign, failed) and since_last <= LONG_AGO_SECONDS) or apart <= 1.0
