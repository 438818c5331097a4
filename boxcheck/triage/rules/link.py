"""Rules about PCIe links: what is the wire, what is power management, what is software."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Bdf
from boxcheck.triage.rules import rule
from boxcheck.triage.rules.links import direction, is_training, link_name, links_of, trouble
from boxcheck.triage.rules.words import (
    AER,
    CORRECTED,
    DROPPED_LABELS,
    LINK_TROUBLE,
    READ_BOTH_ENDS,
    SWAP,
    at_text,
    indices,
    is_narrow,
    is_signal,
    reseat,
    sign_text,
    times_text,
)
from boxcheck.triage.scene import Diagnosis, Scene, Sighting, Sure, apart_seconds, gravest, helps

CHECKSUM_LABELS = frozenset(("BadTLP", "BadDLLP", "Rollover", "ECRC"))
SAME_SECONDS = 1.0
"""An error message climbs from the device to the root port; each port on the way logs it within milliseconds."""


@rule("link-dropped")
def link_dropped(scene: Scene) -> Iterator[Diagnosis]:
    """A link dropped: power, seat or riser, or a port put to sleep.

    Why: `Surprise Down` (SDES) and `Data Link Protocol` errors, DPC and `Link Down` are the port's word that the wire
    went away without being asked.
    Not: an application; a hot-unplug that somebody asked for is not reported as an error.
    Source: PCI Express Base Specification 3.2.1 (surprise down), 6.2.10 (DPC); convergence.ninja's and the rtx6kpro
    community's reports of Surprise Down on Blackwell cards that ended with pcie_port_pm=off.
    """
    signs = tuple(
        # A bit that a tool found standing dates from nobody knows when; with what else the link shows it is damage.
        sighting for sighting in scene.free if sighting.bad and (sighting.log or sighting.kind == "dpc") and (
            (sighting.kind in AER and bool(set(sighting.labels) & DROPPED_LABELS))
            or (sighting.kind == "aer-fatal" and not sighting.labels)
            or sighting.kind in ("dpc",) or (sighting.kind == "link-down" and sighting.event.severity == "fail")))
    for link in links_of(signs):
        group = [sighting for sighting in trouble(scene, link) if sighting in scene.free]
        mine = [sighting for sighting in group if sighting in signs]
        if not mine:
            continue
        aftermath = [
            sighting for sighting in scene.free
            if sighting.kind in ("aer-recovery-failed", "amdgpu-pci-error", *AER) and scene.on_link(sighting, link)]
        yield Diagnosis(
            rule="", key=f"link:{link}",
            title=f"{link_name(scene, link)} dropped" + (" its link" if scene.machine.slot(link) else ""),
            where=scene.machine.where(link), cause="signal", sure="likely",
            because=tuple(sign_text(sign) for sign in mine[:5]),
            events=indices(group, aftermath), severity=gravest(group),
            help=(
                "check the power plugs of the card and of its riser, then reseat both",
                "if it happens at rest or at wake-up: boot once with pcie_port_pm=off pcie_aspm=off; if it stops, it"
                " was power management", READ_BOTH_ENDS,
            ),
            not_=("an application",),
        )


@rule("damaged-link")
def damaged_link(scene: Scene) -> Iterator[Diagnosis]:
    """Packets arrive damaged on a link, or it trained below what both ends can do: riser, slot, card edge or connector.

    Why: a bad TLP or DLLP failed its checksum at the receiver, so bits changed on the wire; each is sent again. Width
    and speed below what both ends can do, on the same link, are the same damage seen at training.
    Not: the driver or an application: neither can change bits on the wire.
    Source: PCI Express Base Specification 3.6 (data link layer), 6.2; the kernel's sysfs-bus-pci-devices-aer ABI (an
    error may be counted at the link partner).
    """
    signs = tuple(
        sighting for sighting in scene.free if (is_signal(sighting) or (sighting.kind in LINK_TROUBLE and sighting.bad))
        and sighting.event.cause in ("signal", None) and not is_narrow(sighting))
    for link in links_of(signs):
        group = [sighting for sighting in trouble(scene, link) if sighting.event.cause in ("signal", None)]
        # A missing acknowledgement beside damaged packets of the same link is the same damage.
        # So are records of the same port whose details the log does not have.
        group += [sighting for sighting in scene.of(*CORRECTED, where=lambda item: not item.labels or (
            "Timeout" in item.labels)) if scene.on_link(sighting, link) and sighting not in group]
        if not group:
            continue
        slow = [sighting for sighting in scene.free if sighting.link == link and sighting.bdf is not None and (
            is_narrow(sighting) or sighting.kind in ("p2p-slow", "copy-slow", "bw-limited"))]
        slow += [sighting for sighting in scene.of("amdgpu-pci-error", "link-replays") if sighting.link == link]
        damaged = [sighting for sighting in group if is_signal(sighting)]
        trained = [sighting for sighting in group if sighting.kind in LINK_TROUBLE]
        name = link_name(scene, link)
        if damaged:
            title = f"the path of {name} is damaged" if trained else f"{name}: packets arrive damaged"
        else:
            title = f"{name}: {trained[0].event.says}"
        because = [sign_text(sign) for sign in group[:5]]
        because += [text for sign in damaged if (text := direction(scene, sign)) is not None][:2]
        because += [f"beside it: {sighting.event.says}" for sighting in slow[:2]]
        if scene.machine.slot(link) is None and not scene.machine.below(link):
            because.append(
                "the evidence does not say which slot this is; sudo lspci -vvv of the same machine beside it would")
        yield Diagnosis(
            rule="", key=f"link:{link}", title=title, where=scene.machine.where(link), cause="signal",
            sure=_sureness(damaged), because=tuple(dict.fromkeys(because)),
            events=indices(group, slow), severity=gravest(group),
            help=(reseat(scene, link), READ_BOTH_ENDS, *(() if scene.machine.on_card(link) else (SWAP,))),
            not_=_not_damage(scene, link, damaged),
        )


def _sureness(damaged: list[Sighting]) -> Sure:
    """Certain where a checksum failed; less where receivers only lost symbols, and least while links trained."""
    if damaged and all(is_training(sign) for sign in damaged):
        return "possible"
    return "certain" if any(set(sign.labels) & CHECKSUM_LABELS for sign in damaged) else "likely"


def _not_damage(scene: Scene, link: Bdf, damaged: list[Sighting]) -> tuple[str, ...]:
    if not damaged:
        return ()
    if scene.machine.on_card(link):
        return ("the riser or the slot: this link is on the card itself", "a driver or an application")
    if all(is_training(sign) for sign in damaged):
        return ("proof of a fault: a few receiver errors while links train are usual",)
    return ("a driver or an application: they cannot change bits on the wire",)


@rule("timeout-alone")
def timeout_alone(scene: Scene) -> Iterator[Diagnosis]:
    """Acknowledgements came late, and no packet was damaged: more likely power management than the wire.

    Why: a replay timer also runs out while the far end wakes from L0s or L1. A damaged wire shows BadTLP or BadDLLP at
    one of the two ends as well.
    Not: proof that the link is sound: the far end may not count, or nobody captured its log.
    Source: PCI Express Base Specification 3.6.2.1 (replay timer); endlessm/linux pull request 54 and
    olafkfreund/nixos_config pull request 1824 (errors that ended with ASPM off, the second on a 7900 XTX).
    """
    late = scene.of(*CORRECTED, where=lambda sighting: sighting.labels == ("Timeout",))
    for link in links_of(late):
        group = [sighting for sighting in late if sighting.link == link]
        yield Diagnosis(
            rule="", key=f"link:{link}",
            title=f"{link_name(scene, link)}: acknowledgements come late, nothing is damaged",
            where=scene.machine.where(link), cause="power", sure="likely",
            because=(*(f"{times_text(sign)}{at_text(sign.bdf)}" for sign in group[:4]),
                     "no BadTLP, BadDLLP or RxErr at either end of this link in what was given"),
            events=indices(group), severity=gravest(group),
            help=("boot once with pcie_aspm=off; if it stops, it was link power management and no damage",
                  "not stopped: treat it as a damaged link: reseat card and riser", READ_BOTH_ENDS),
            not_=("damaged packets, as far as this evidence goes",),
        )


@rule("advisory-only")
def advisory_only(scene: Scene) -> Iterator[Diagnosis]:
    """Requests were refused and reported as advisory: software, not the link.

    Why: an advisory non-fatal error is a request that the other side does not support, answered as the specification
    asks. The packet arrived whole.
    Not: a riser, a slot or a card.
    Source: PCI Express Base Specification 6.2.3.2.4 (advisory non-fatal error cases).
    """
    for sighting in scene.of(*CORRECTED, where=lambda item: item.labels != () and set(item.labels) <= {
            "NonFatalErr", "HeaderOF"}):
        if sighting.bdf is None:
            continue
        yield Diagnosis(
            rule="", key=f"advisory:{sighting.bdf}",
            title=f"{scene.machine.short(sighting.bdf)}: requests were refused, the link is not damaged",
            where=scene.machine.where(sighting.bdf), cause="driver", sure="likely",
            because=(sign_text(sighting),),
            events=(sighting.index,), severity=sighting.event.severity,
            help=("nothing, if the machine works; else update driver and firmware of this device",),
            not_=("a riser, slot or card: no packet was damaged",),
        )


@rule("refused-requests")
def refused_requests(scene: Scene) -> Iterator[Diagnosis]:
    """A device reported an error that is not the wire: a request that was refused, unanswered or malformed.

    Why: time-outs, aborts, unsupported and malformed requests are the transaction layer's: the packet arrived whole.
    Devices that could not be brought back afterwards are the same happening.
    Not: damaged packets: none was counted.
    Source: PCI Express Base Specification 6.2.3.2 (error classes), drivers/pci/pcie/err.c (recovery).
    """
    signs = scene.of(*AER, bad=True, where=lambda item: not is_signal(item) and item.kind not in CORRECTED)
    waiting = [*signs, *scene.of("aer-recovery-failed", "amdgpu-pci-error", bad=True)]
    while waiting:
        lead = waiting[0]
        mine = [sighting for sighting in waiting if sighting is lead or sighting.link == lead.link is not None or (
            (apart := apart_seconds(lead, sighting)) is not None and apart <= SAME_SECONDS)]
        waiting = [sighting for sighting in waiting if sighting not in mine]
        named = [bdf for bdf in dict.fromkeys(sighting.bdf for sighting in mine) if bdf is not None]
        links = {sighting.link for sighting in mine}
        damaged = any(is_signal(item) and item.link in links for item in scene.all)
        name = scene.machine.short(named[0]) if named else "a device"
        yield Diagnosis(
            rule="", key=f"request:{named[0] if named else ''}", title=f"{name}: {lead.event.says.split(': ')[0]}",
            where=scene.machine.where(named[0]) if len(named) == 1 else ", ".join(map(scene.machine.short, named[:6])),
            cause=lead.event.cause, sure="likely" if lead.labels else "possible",
            because=tuple(dict.fromkeys(sign_text(sighting) for sighting in mine))[:5], events=indices(mine),
            severity=gravest(mine), help=helps(mine)[:5],
            not_=() if damaged else ("damaged packets on this link, as far as this evidence goes",),
        )
