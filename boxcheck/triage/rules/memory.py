"""Rules about the host's memory."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import CARD_MEMORY, CARD_MEMORY_XIDS, counted, indices, wake_of
from boxcheck.triage.scene import Diagnosis, Scene, apart_seconds, gravest, helps

_MEMORY = ("edac-ce", "edac-ue", "memory-failure", "ghes-memory")
SAME_SECONDS = 2.0
"""EDAC prints its line from the same decode chain as the machine check's, within milliseconds."""


@rule("card-memory")
def card_memory(scene: Scene) -> Iterator[Diagnosis]:
    """A GPU's own memory has errors.

    Why: ECC, row remapping and RAS count what the card itself finds in its memory, wherever it is plugged.
    Not: the host's memory, the riser or the slot.
    Source: NVIDIA's GPU memory error management (ECC, row remapping, Xid 48, 63, 64, 92, 94, 95); amdgpu RAS.
    """
    signs = [*scene.of(*CARD_MEMORY, bad=True), *scene.of("xid", labels=CARD_MEMORY_XIDS, bad=True)]
    for card in dict.fromkeys(sighting.bdf.rsplit(".", 1)[0] if sighting.bdf else None for sighting in signs):
        mine = [sighting for sighting in signs
                if (sighting.bdf.rsplit(".", 1)[0] if sighting.bdf else None) == card]
        mine += wake_of(scene, mine)
        bdf = mine[0].bdf
        name = scene.machine.name(bdf) if bdf is not None else "a GPU"
        yield Diagnosis(
            rule="", key=f"card-memory:{bdf or ''}", title=f"the memory of {name} has errors",
            where=scene.machine.where(bdf) if bdf is not None else "a GPU that the text does not name", cause="memory",
            sure="certain" if gravest(mine) == "fail" else "likely",
            because=tuple(dict.fromkeys(sighting.event.says for sighting in mine))[:5], events=indices(mine),
            severity=gravest(mine), help=helps(mine)[:4], not_=("a riser, a slot or the host's memory",),
        )


@rule("memory-module")
def memory_module(scene: Scene) -> Iterator[Diagnosis]:
    """Memory errors: a DIMM, its slot or its speed; a machine check at the same moment is the same error.

    Why: the memory controller reports the error, EDAC says at which DIMM, the machine check repeats it by bank.
    Not: a GPU or its riser.
    Source: drivers/edac/edac_mc.c, drivers/edac/mce_amd.c (one decode chain).
    """
    signs = list(scene.of(*_MEMORY))
    checks = [sighting for sighting in scene.of("mce") if sighting.event.cause == "memory" or any(
        (apart := apart_seconds(sighting, sign)) is not None and apart <= SAME_SECONDS for sign in signs)]
    group = [*signs, *checks]
    if not any(sighting.bad for sighting in group):
        return
    places = list(dict.fromkeys(label for sign in signs for label in sign.labels[1:] or sign.labels))
    uncorrected = gravest(group) == "fail"
    yield Diagnosis(
        rule="", key="memory:", title="memory errors" + (f" at {places[0]}" if len(places) == 1 else ""),
        where=", ".join(places[:6]) or "a DIMM that the log does not name", cause="memory",
        sure="certain" if uncorrected or signs else "likely",
        because=tuple(dict.fromkeys(
            counted(sighting) for sighting in group))[:5],
        events=indices(group), severity=gravest(group), help=helps(group)[:4], not_=("a GPU or its riser",),
    )
