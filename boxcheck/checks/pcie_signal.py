"""Signs of a poor signal that need no load: lanes in error, equalisation that did not finish, retraining."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.checks.places import link_evidence, link_subject, path_links, reseat, short, unjudged, where
from boxcheck.checks.wording import listed, median
from boxcheck.decode.pci_config import ConfigSpace
from boxcheck.model import BOX, Bdf, Finding, Quantity, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.links import Link, LinkEnd, Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_runtime import PcieRuntime
from boxcheck.profile import Profile
from boxcheck.registry import check, marginal, passed, skipped, unknown

FLAP_FLOOR = 100
FLAP_FACTOR = 10
"""A link that changed this many times more often than the others of the box, and at least the floor, stands out. Cards
that rest and wake change a link a few times each, all alike, so the siblings are the measure."""

EMULATED = 0x1B36
"""QEMU's own ports (Red Hat; pci.ids 1b36:000c). They copy width and speed from the card that was handed to the guest,
and have no registers behind them that training could fill."""


def ends(link: Link) -> tuple[LinkEnd, ...]:
    return tuple(end for end in (link.downstream, link.upstream) if end is not None)


def config_of(bdf: Bdf, pci: PciInventory) -> ConfigSpace | Unread:
    function = pci.functions.get(bdf)
    return Unread(f"{short(bdf)} is not in the inventory", "error") if function is None else function.config


def dead(config: ConfigSpace | Unread) -> bool:
    return not isinstance(config, Unread) and config.all_ones


RETRAINED = "the port has retrained the link, or lowered it to keep it working, since that was last cleared (LBMS)"


def retrained(link: Link, pci: PciInventory) -> bool:
    """Whether the port's sticky bit of Link Bandwidth Management is set. Training at boot sets it as well, so it is a
    note beside another sign, and never one by itself."""
    config = config_of(link.id, pci)
    express = config if isinstance(config, Unread) else config.express
    status = None if express is None or isinstance(express, Unread) else express.link_sta
    capability = None if express is None or isinstance(express, Unread) else express.link_cap
    return not dead(config) and status is not None and capability is not None and (
        capability.bandwidth_notification and status.bw_management)


@check("pcie.lane-errors", reads=[Gpus, Links, PciInventory], needs=["root"])
def lane_errors(gpus: Gpus, links: Links, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """Single lanes of a GPU's link have logged errors.

    Why it matters: one lane points at one pair of contacts: dirt on a finger, a bent pin, a cable that is nicked.
    What to do: power off, clean the edge connector with isopropyl alcohol, reseat card and riser.
    Not a fault: lanes that logged an error while the link trained at boot; the bits stay until they are cleared.
    By hand: sudo lspci -vv -s <port> | grep LaneErrStat
    """
    judged = False
    for gpu, link in path_links(gpus, links, want):
        judged = True
        subject = link_subject(link, gpu)
        evidence = link_evidence(link, "config")
        lanes: dict[str, tuple[int, ...]] = {}
        hidden: Unread | None = None
        known = 0
        for end in ends(link):
            config = config_of(end.bdf, pci)
            secondary = config if isinstance(config, Unread) else config.secondary
            if isinstance(secondary, Unread):
                hidden = secondary
            elif secondary is not None and not dead(config):
                known += 1
                if secondary.lane_errors:
                    lanes[short(end.bdf)] = secondary.lane_errors
        if lanes:
            text = "; ".join(f"lane {listed(numbers)} at {end}" for end, numbers in lanes.items())
            yield marginal(
                subject, f"lane errors are logged: {text}", evidence=evidence, cause=f"link:{link.id}",
                notes=(RETRAINED,) if retrained(link, pci) else (),
                title=f"lane errors on the link of {subject}", where=where(link, gpu, links, want),
                help=("at the next step, clean the edge connectors of card and riser with isopropyl alcohol",
                      *reseat(link, want)),
            )
        elif hidden is not None:
            yield unknown(subject, f"not read: {hidden.why}", needs_root=hidden.kind == "permission", evidence=evidence)
        elif gpu.gone:
            yield unknown(subject, "the card no longer answers", evidence=evidence)
        elif not known:
            yield skipped(subject, "neither end logs errors of single lanes")
        else:
            yield passed(subject, "no lane has logged an error", evidence=evidence)
    yield from unjudged(gpus, want, judged)


@check("pcie.equalisation", reads=[Gpus, Links, PciInventory], needs=["root"])
def equalisation(gpus: Gpus, links: Links, pci: PciInventory, want: Profile) -> Iterator[Finding]:
    """The two ends of a GPU's link did not finish tuning to each other at the speed they run at.

    Why it matters: from 8 GT/s on, transmitter and receiver agree on filters in four phases. An end that asks to do it
    again, or that never finished, has too little margin; next it falls back a generation.
    What to do: a shorter riser, one with a redriver or retimer, or another slot.
    Not a fault: a link that runs at 2.5 GT/s because its card rests still shows the phases of its last training. The
    port that a hypervisor puts above a card of its guest shows none.
    By hand: sudo lspci -vv -s <port> | grep -E 'EqualizationComplete|Phy16Sta'
    """
    judged = False
    for gpu, link in path_links(gpus, links, want):
        judged = True
        yield _judge_equalisation(gpu, link, links, pci, want)
    yield from unjudged(gpus, want, judged)


def _judge_equalisation(gpu: Gpu, link: Link, links: Links, pci: PciInventory, want: Profile) -> Finding:
    subject = link_subject(link, gpu)
    evidence = link_evidence(link, "config")
    hidden: Unread | None = None
    wrong: list[str] = []
    looked = open_ends = emulated = 0
    reached = link.under_load.speed_gts if not isinstance(link.under_load, Unread) else None
    speed = reached if reached is not None else link.speed_gts if isinstance(link.speed_gts, float) else 0.0
    for end in ends(link):
        function = pci.functions.get(end.bdf)
        if function is not None and function.vendor == EMULATED:
            emulated += 1
            continue
        config = config_of(end.bdf, pci)
        unread = _unread_of(config)
        if isinstance(config, Unread) or isinstance(config.express, Unread) or unread is not None:
            hidden = unread
            continue
        status = config.express.link_sta2 if config.express else None
        if status is None or config.all_ones:
            continue
        looked += 1
        name = short(end.bdf)
        if status.link_eq_request:
            wrong.append(f"{name} asks for it again at 8 GT/s")
        if speed >= 8.0 and not status.eq_complete:
            wrong.append(f"{name} did not finish it at 8 GT/s")
        open_ends += not status.eq_complete
        for phy, rate in ((config.phy16, 16), (config.phy32, 32), (config.phy64, 64)):
            if phy is None or isinstance(phy, Unread):
                continue
            if phy.link_eq_request:
                wrong.append(f"{name} asks for it again at {rate} GT/s")
            if speed >= rate and not phy.eq_complete and not getattr(phy, "no_eq_needed_received", False):
                wrong.append(f"{name} did not finish it at {rate} GT/s")
    if wrong:
        return marginal(
            subject, f"equalisation: {listed(wrong)}", evidence=evidence, cause=f"link:{link.id}",
            notes=(RETRAINED,) if retrained(link, pci) else (),
            title=f"the link of {subject} trained with too little margin", where=where(link, gpu, links, want),
            help=(*reseat(link, want), "it is the riser: take a shorter one, or one with a redriver or retimer"),
        )
    if hidden is not None:
        return unknown(subject, f"not read: {hidden.why}", needs_root=hidden.kind == "permission", evidence=evidence)
    if gpu.gone:
        return unknown(subject, "the card no longer answers", evidence=evidence)
    if not looked and emulated:
        return skipped(subject, "the port above is the hypervisor's: nothing trains it")
    if not looked:
        return skipped(subject, "neither end equalises: the link is older than PCI Express 3.0")
    if isinstance(link.capable_speed_gts, float) and link.capable_speed_gts < 8.0:
        return skipped(subject, f"this link does {link.capable_speed_gts:g} GT/s at most, and equalises from 8 GT/s on")
    if open_ends:
        says = f"at {speed:g} GT/s no end shows whether it would finish equalisation"
        return unknown(subject, says, evidence=evidence)
    says = "the card finished equalisation, the port above it is the hypervisor's" if emulated else (
        "both ends finished equalisation" if looked > 1 else "the end that tells finished equalisation")
    return passed(subject, says, evidence=evidence)


def _unread_of(config: ConfigSpace | Unread) -> Unread | None:
    """The first of the registers that equalisation shows in which was not read."""
    if isinstance(config, Unread):
        return config
    return next((part for part in (config.express, config.phy16, config.phy32, config.phy64)
                 if isinstance(part, Unread)), None)


@check("pcie.link-flap", reads=[Gpus, Links, PcieRuntime])
def link_flap(gpus: Gpus, links: Links, runtime: PcieRuntime, want: Profile) -> Iterator[Finding]:
    """One link changed its speed or width far more often than the others of the box.

    Why it matters: a link that retrains by itself is repairing something, and every retraining stops the traffic.
    What to do: reseat card and riser; lock the card's clocks to rule out power saving.
    Not a fault: cards that rest and wake change their link a few times each, all alike.
    By hand: grep bwctrl /proc/interrupts, twice
    """
    if isinstance(runtime.link_changes, Unread):
        yield unknown(BOX, f"not read: {runtime.link_changes.why}")
        return
    judged = [(gpu, link) for gpu, link in path_links(gpus, links, want) if link.id in runtime.link_changes]
    if not judged and gpus.unreadable is not None:
        yield unknown(BOX, f"not read: {gpus.unreadable.why}")
        return
    if not judged:
        yield skipped(BOX, "this kernel does not count link changes (it needs Linux 6.13)")
        return
    counts = {link.id: runtime.link_changes[link.id] for _, link in judged}
    for gpu, link in judged:
        subject = link_subject(link, gpu)
        count = counts[link.id]
        others = [value for id, value in counts.items() if id != link.id]
        usual = median(others) if others else 0
        measured = Quantity(count, "changes")
        if others and count >= FLAP_FLOOR and count > FLAP_FACTOR * max(usual, 1):
            yield marginal(
                subject, f"{count} link changes since boot, {usual:.0f} on the others", measured=measured,
                evidence=("/proc/interrupts",), cause=f"link:{link.id}", where=where(link, gpu, links, want),
                title=f"the link of {subject} keeps retraining", help=reseat(link, want),
            )
        elif not others and count >= FLAP_FLOOR:
            yield skipped(subject, f"{count} link changes since boot, and no other link to compare it with",
                          measured=measured, evidence=("/proc/interrupts",))
        else:
            yield passed(subject, f"{count} link changes since boot", measured=measured, evidence=("/proc/interrupts",))
