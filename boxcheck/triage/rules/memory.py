"""Rules about the host's memory."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import indices
from boxcheck.triage.scene import Diagnosis, Scene, apart_seconds, gravest, helps

_MEMORY = ("edac-ce", "edac-ue", "memory-failure", "ghes-memory")
SAME_SECONDS = 2.0
"""EDAC prints its line from the same decode chain as the machine check's, within milliseconds."""


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
            f"{sighting.event.count} x {sighting.event.says}" for sighting in group))[:5],
        events=indices(group), severity=gravest(group), help=helps(group)[:4], not_=("a GPU or its riser",),
    )
