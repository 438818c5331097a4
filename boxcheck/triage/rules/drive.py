"""Rules about drives."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.triage.machine import bus_of
from boxcheck.triage.rules import rule
from boxcheck.triage.rules.links import goes_with
from boxcheck.triage.rules.words import at_text, counted, indices, is_lost, is_signal, times_text
from boxcheck.triage.scene import Diagnosis, Scene, gravest, helps

_DRIVE = ("nvme-timeout", "nvme-reset", "disk-io-error")


@rule("drive-link")
def drive_link(scene: Scene) -> Iterator[Diagnosis]:
    """A drive timed out, and its link shows errors: look at its slot before its flash.

    Why: a drive whose packets are damaged answers late or not at all.
    Not: the drive's flash, first.
    Source: PCI Express Base Specification 6.2; drivers/nvme/host/pci.c (a timeout says nothing of why).
    """
    for slow in scene.of(*_DRIVE, bad=True):
        if slow.bdf is None:
            continue
        link = scene.machine.link(slow.bdf)
        signs = [sighting for sighting in scene.all
                 if scene.on_link(sighting, link) and is_signal(sighting) and goes_with(sighting, slow)]
        if signs:
            yield Diagnosis(
                rule="", key=f"drive:{slow.bdf}",
                title=f"the drive at {bus_of(slow.bdf)} does not answer, and its link shows errors",
                where=scene.machine.where(slow.bdf), cause="signal", sure="likely",
                because=(*(f"{times_text(sign)}{at_text(sign.bdf)}" for sign in signs[:3]), slow.event.says),
                events=(slow.index,), severity=slow.event.severity,
                help=("power off, reseat the drive or its adapter and cable", *slow.event.help),
                not_=("worn flash, first: a worn drive does not damage packets",),
            )


@rule("drive-does-not-answer")
def drive_does_not_answer(scene: Scene) -> Iterator[Diagnosis]:
    """A drive did not answer in time, was reset, or failed requests: one drive is one problem.

    Why: a time-out, the reset after it and the requests that failed are one happening. Deep power saving, a slot or
    adapter with too little power, and the drive itself look alike from here.
    Not: a GPU, though both may hang on one supply.
    Source: drivers/nvme/host/pci.c (nvme_timeout, nvme_reset_work); block/blk-core.c.
    """
    group = scene.of(*_DRIVE, bad=True)
    addresses = {label: one.bdf for one in scene.all if one.bdf is not None for label in one.labels
                 if label.startswith("nvme")}
    for name in dict.fromkeys(_drive(sighting.bdf, sighting.labels) for sighting in group):
        mine = [sighting for sighting in group if _drive(sighting.bdf, sighting.labels) == name]
        bdf = addresses.get(name) or mine[0].bdf
        lost = [sighting for sighting in scene.free if is_lost(sighting) and sighting not in mine]
        own = [one for one in lost if bdf is not None and one.bdf == bdf]
        if bdf is None and len({_drive(one.bdf, one.labels) for one in group}) == 1:
            # The log names one drive by its number and one by its address.
            own = [one for one in lost if one.event.text.startswith("nvme ") and one.bdf is not None]
            bdf = own[0].bdf if len({one.bdf for one in own}) == 1 else None
        mine += own if bdf is not None else []
        lead = min(mine, key=lambda sighting: (sighting.event.severity != "fail", sighting.index))
        yield Diagnosis(
            rule="", key=f"drive:{name}", title=f"the drive {name} does not answer as it should",
            where=scene.machine.where(bdf) if bdf is not None else name, cause=lead.event.cause, sure="possible",
            because=tuple(dict.fromkeys(counted(sighting) for sighting in mine))[:4],
            events=indices(mine), severity=gravest(mine), help=helps(mine)[:5],
        )


def _drive(bdf: str | None, labels: tuple[str, ...]) -> str:
    """`nvme0`, `sda` or `ata3`, else its address."""
    return next((label for label in labels if label.startswith(("nvme", "sd", "ata"))),
                bdf or "that the log does not name")
