"""Rules about power and the loss of GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Bdf
from boxcheck.triage.machine import bus_of
from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import (
    AER,
    DROPPED_LABELS,
    LINK_TROUBLE,
    UNCORRECTED,
    gpu_failed,
    indices,
    lost_gpu,
    wake_of,
)
from boxcheck.triage.scene import Diagnosis, Scene, Sighting, apart_seconds, gravest, helps, span_text

TOGETHER_SECONDS = 1.0
"""Two GPUs on two slots share nothing but supply, board and driver; a second is longer than a kernel needs to notice
both, and far shorter than the hours between two independent faults.
"""


@rule("lost-together")
def lost_together(scene: Scene) -> Iterator[Diagnosis]:
    """Several GPUs were lost within a second: look at the power supply first.

    Why: cards on different slots and risers share the supply, the board and the driver, and nothing else. A supply that
    trips, or a cable that two cards share, takes them together; a bad riser takes one.
    Not: a bad riser or a bad card, unless all of them hang below one switch.
    Source: NVIDIA's Xid catalogue (79: hardware, driver, thermal or power); the pattern follows from what the cards
    share.
    """
    lost = [sighting for sighting in scene.free if lost_gpu(scene, sighting) and sighting.bdf is not None]
    while lost:
        first = min(lost, key=lambda sighting: (sighting.stretch, sighting.first or 0.0))
        group = [sighting for sighting in lost if sighting is first or _together(first, sighting)]
        lost = [sighting for sighting in lost if sighting not in group]
        cards = {sighting.bdf.rsplit(".", 1)[0] for sighting in group if sighting.bdf is not None}
        if len(cards) > 1:
            yield _several(scene, group)


def _together(first: Sighting, other: Sighting) -> bool:
    apart = apart_seconds(first, other)
    return apart is not None and apart <= TOGETHER_SECONDS


def _several(scene: Scene, group: list[Sighting]) -> Diagnosis:
    machine = scene.machine
    gpus = sorted({sighting.bdf for sighting in group if sighting.bdf is not None})
    shared = _shared_port(scene, gpus)
    times = [sighting.first for sighting in group if sighting.first is not None]
    within = span_text(max(times) - min(times)) if times and max(times) - min(times) >= 0.05 else "the same second"
    links = {link for gpu in gpus for link in (machine.link(gpu), machine.slot_link(gpu))} | set(gpus)
    trail = [
        sighting for sighting in scene.free
        if sighting not in group and any(_near(one, sighting) for one in group)
        and (sighting.link in links or (sighting.link is not None and not machine.below(sighting.link)))
        and (sighting.kind in (*LINK_TROUBLE, "aer-recovery-failed") or (sighting.kind in AER and (
            set(sighting.labels) & DROPPED_LABELS or sighting.kind in UNCORRECTED)))]
    trail += wake_of(scene, group)
    names = ", ".join(machine.short(gpu) for gpu in gpus)
    because = [f"{len(gpus)} GPUs were lost within {within}: {names}"]
    if shared is not None:
        because.append(f"all of them hang below {bus_of(shared)}, so that link or switch may have taken them all")
    return Diagnosis(
        rule="", key="power:" + gpus[0], title=f"{len(gpus)} GPUs were lost together",
        where=names, cause="power", sure="likely" if shared is None else "possible", because=tuple(because),
        events=indices(group, trail), severity=gravest(group),
        help=(
            "power the machine off and on; lost GPUs do not come back without",
            "check the supply: its rating against the sum of the cards' limits, which cards share a cable or an outlet,"
            " and the BMC's event log for the same minute (ipmitool sel elist)",
            "lower the power limit of all cards (nvidia-smi -pl, or rocm-smi --setpoweroverdrive) and run the same load"
            " again: if it holds, it is power",
        ),
        not_=() if shared is not None else ("one bad riser or card: they share none of these",),
    )


@rule("power-cut")
def power_cut(scene: Scene) -> Iterator[Diagnosis]:
    """A card or a slot says itself that its power is missing.

    Why: the driver reads the card's sense pins, the port its slot's fuse: nothing is inferred.
    Not: the driver, the riser's data lanes or the GPU.
    Source: NVIDIA's open kernel modules (power cable messages); PCI Express Base Specification 6.7.1.8 (power fault).
    """
    signs = scene.of("gpu-power-cable", "slot-power-fault", bad=True)
    for link in dict.fromkeys(sighting.link for sighting in signs):
        mine = [sighting for sighting in signs if sighting.link == link]
        with_it = [sighting for sighting in scene.free if link is not None and sighting.link == link and (
            gpu_failed(scene, sighting) or sighting.kind in LINK_TROUBLE)]
        bdf = mine[0].bdf
        yield Diagnosis(
            rule="", key=f"power-cut:{bdf or ''}", title=f"{scene.machine.name(bdf) if bdf else 'a card'} lacks power",
            where=scene.machine.where(bdf) if bdf is not None else "a card that the log does not name", cause="power",
            sure="certain", because=tuple(dict.fromkeys(sighting.event.says for sighting in (*mine, *with_it)))[:4],
            events=indices(mine, with_it), severity=gravest(mine), help=helps(mine)[:4] or (
                "power off, check every power plug of the card and its cable at the supply",),
            not_=("the driver", "the riser's data lanes"),
        )


def _near(one: Sighting, other: Sighting) -> bool:
    apart = apart_seconds(one, other)
    return apart is not None and apart <= 2 * TOGETHER_SECONDS


def _shared_port(scene: Scene, gpus: list[Bdf]) -> Bdf | None:
    """The nearest port above all of these GPUs, None where none is known."""
    chains = [list(scene.machine.ancestors(gpu)) for gpu in gpus]
    if not all(chains):
        return None
    return next((port for port in chains[0] if all(port in chain for chain in chains[1:])), None)
