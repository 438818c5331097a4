"""The rule about a GPU's link with fewer lanes than the card, of which only the card's end was read."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Bdf
from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import indices, is_narrow
from boxcheck.triage.scene import Diagnosis, Scene, Sighting, gravest
from boxcheck.triage.tools.steps import NARROW_HELP

NARROW = "a slot with fewer lanes by design, or the riser, slot or card edge"
FEW = "a slot or adapter of {lanes} by design (a mining riser has one lane), or the riser, slot or card edge"
FEW_LANES = 2
"""Long slots for cards with so few lanes are the chipset's, and what hangs on a USB cable has one."""


def _gpu(scene: Scene, sighting: Sighting) -> Bdf | None:
    """The GPU whose link it is: a log may name the switch on its card."""
    if sighting.bdf is None or scene.machine.is_gpu(sighting.bdf):
        return sighting.bdf
    return scene.machine.gpu_of(sighting.bdf) or sighting.bdf


@rule("narrow-link")
def narrow_link(scene: Scene) -> Iterator[Diagnosis]:
    """A GPU's link has fewer lanes than the card can use, and nothing given tells how many its slot has.

    Why: a card shows its own lanes and those that came up. Fewer may be all that the slot has, and may be lanes that a
    riser, a contact or a loose seat lost; the port above the card tells. So it is down to x1: slots and mining risers
    of one lane are sold, and a link of sixteen whose contacts are bad comes up with it as well.
    Not: power saving: a link at rest is slower, and has all its lanes.
    Source: PCI Express Base Specification 7.5.3.6 (Link Capabilities), 7.5.3.8 (Link Status).
    """
    signs = [sighting for sighting in scene.free if is_narrow(sighting)]
    for place in dict.fromkeys(_gpu(scene, sighting) or sighting.index for sighting in signs):
        mine = [sighting for sighting in signs if (_gpu(scene, sighting) or sighting.index) == place]
        event, bdf = mine[0].event, _gpu(scene, mine[0])
        name = scene.machine.name(bdf) if bdf is not None else "a GPU"
        most = next((one.event.capable_width for one in mine if one.event.capable_width), None)
        above = bdf is not None and event.limited_at not in (
            None, scene.machine.link(bdf), scene.machine.slot_link(bdf))
        noun = "card" if bdf is None or scene.machine.is_gpu(bdf) else "device"
        yield Diagnosis(
            rule="", key=f"narrow:{bdf or ''}",
            title=f"the {'way to' if above else 'link of'} {name} is x{event.width}, "
            f"the {noun} can do {f'x{most}' if most else 'more'}",
            where=scene.machine.where(bdf) if bdf is not None else "", cause=None, sure="possible",
            part=FEW.format(lanes=f"x{event.width}") if (event.width or 0) <= FEW_LANES else NARROW,
            because=tuple(dict.fromkeys(sighting.event.says for sighting in mine))[:4], events=indices(mine),
            severity=gravest(mine), help=NARROW_HELP, not_=("power saving: at rest a link is slower, not narrower",),
        )
