"""The rule about a GPU that was lost, where nothing before it in the order explains why."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import AER, START_FAILED, indices, is_signal, lost_gpu, sign_text
from boxcheck.triage.scene import Diagnosis, Scene, Sighting, gravest, same_log


@rule("gpu-lost")
def gpu_lost(scene: Scene) -> Iterator[Diagnosis]:
    """A GPU was lost, and nothing else in the evidence says why: power or its link.

    Why: a GPU that no longer answers over PCIe has lost power, its link or itself; the driver cannot tell which. Cards
    that are lost under load, and come back after a power cycle, most often lacked power for a moment.
    Not: an application: no program can take a card off the bus.
    Source: NVIDIA's Xid catalogue (79: hardware, driver, thermal or power).
    """
    lost = [sighting for sighting in scene.free if lost_gpu(scene, sighting)]
    for card in dict.fromkeys(_card(sighting) for sighting in lost):
        mine = [sighting for sighting in lost if _card(sighting) == card]
        links = {sighting.link for sighting in mine if sighting.link is not None}
        around = [
            sighting for sighting in scene.free
            if sighting not in mine and any(same_log(sighting, one) for one in mine) and (
                (card is not None and _card(sighting) == card and sighting.kind in ("xid", *AER, *START_FAILED))
                or (sighting.kind in AER and sighting.link in links))]
        bdf = mine[0].bdf
        name = scene.machine.name(bdf) if bdf is not None else "a GPU"
        yield Diagnosis(
            rule="", key=f"gpu-lost:{bdf or ''}", title=f"{name} was lost",
            where=scene.machine.where(bdf) if bdf is not None else "a GPU that the text does not name", cause="power",
            sure="possible", because=tuple(dict.fromkeys((
                *(sighting.event.says for sighting in mine[:3]), *(sign_text(sighting) for sighting in around[:3]),
                _no_damage(around)))),
            events=indices(mine, around), severity=gravest(mine),
            help=(
                "power the machine off and on; the GPU does not come back without",
                "check the card's power plugs and cables at both ends, one cable a plug; then its seat and riser",
                "lower its power limit and run the same load again: if it holds, it is power; if not, move the card to"
                " another slot",
            ),
            not_=("an application: no program can take a card off the bus",),
        )


def _no_damage(around: list[Sighting]) -> str:
    if any(is_signal(sighting) for sighting in around):
        return "the errors of its link came after the loss, so they may be its wake"
    return "no damaged packet of its link is in what was given, so power comes before the riser"


def _card(sighting: Sighting) -> str | None:
    return sighting.bdf.rsplit(".", 1)[0] if sighting.bdf is not None else None
