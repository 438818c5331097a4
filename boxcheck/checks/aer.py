"""Errors of links, judged per link and direction, and whether anybody counts them.

One rule: RxErr, BadTLP, BadDLLP, Rollover, Timeout per link and direction, over the bits moved. None passes, some is
marginal; it fails when the lower 95 % bound of the rate is above the limit, or at any Rollover or uncorrectable error.
Since boot the bits moved are not known exactly: the most that the link can have moved is taken, so a fail is proven.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from boxcheck.checks.places import (
    link_evidence,
    link_subject,
    reseat,
    short,
    slot_links,
    unjudged,
    wanted_gpus,
    where,
)
from boxcheck.checks.steps import GRUB_FILE, GRUB_RUN
from boxcheck.checks.wording import duration, listed
from boxcheck.decode.pci_aer import AER_CORRECTABLE
from boxcheck.decode.pci_config import ConfigSpace
from boxcheck.model import BOX, Bdf, Finding, Quantity, Subject, Unread
from boxcheck.poisson import link_bits, lower
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Link, Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import SIGNAL, Aer, unnamed
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, unknown

BER = limit(
    "aer.ber", float, "le", "errors/bit",
    "Link errors per bit and direction above which a link fails (lower 95 % bound).", low=1e-18, high=1e-6,
)

RECEIVER = ("RxErr", "BadTLP", "BadDLLP")
TRANSMITTER = ("Rollover", "Timeout")
_KNOWN = frozenset({*AER_CORRECTABLE.values(), "TOTAL"})


def _link_evidence(link: Link) -> tuple[str, ...]:
    return link_evidence(link, "aer_dev_correctable")


TOLD_BY_FIRMWARE = "the log holds an error of it that the firmware reported: the firmware handles its errors first"


def silence(link: Link, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs) -> str | None | Unread:
    """Why nobody counts errors of this link; None when both ends are known to be counted; Unread when unknown.

    The words name the part that an end plays and no address, so that one cause of many links reads the same on each.
    """
    if isinstance(aer.disabled_by, Unread):
        return aer.disabled_by
    if aer.disabled_by is not None:
        return f"{aer.disabled_by} on the kernel command line switches AER off"
    above = aer.uncounted.get(link.downstream.bdf)
    if above is not None and above.kind == "absent":
        return "the port above has no AER counters"
    root = (*links.chain(link.id), link)[0].id
    if isinstance(aer.service_ports, Unread):
        return aer.service_ports
    if root not in aer.service_ports:
        return "the kernel's AER service is not bound to the root port: the firmware keeps AER"
    if told_by_firmware(link, logs):
        return TOLD_BY_FIRMWARE
    hidden: Unread | None = None
    for end, part in ((link.downstream, "the port"), (link.upstream, "the card")):
        if end is None:
            continue
        blind = _blind(end.bdf, part, pci)
        if blind is None and end.bdf not in aer.counters:
            # Zero counted at the other end says nothing about the packets that arrive at this one.
            why = aer.uncounted.get(end.bdf)
            hidden = Unread(
                f"{part} has an AER capability, and its counters were not read"
                + (f": {why.why}" if why is not None else ""), why.kind if why is not None else "error")
        elif isinstance(blind, Unread):
            hidden = blind
        elif blind is not None:
            return blind
    return hidden


def told_by_firmware(link: Link, logs: KernelLogs) -> bool:
    """Whether this boot's log holds a firmware-first record (APEI, GHES) of an end of this link. Such an error never
    reaches the kernel's counters."""
    log = logs.this_boot
    if isinstance(log, Unread):
        return False
    ends = {link.downstream.bdf} | ({link.upstream.bdf} if link.upstream is not None else set())
    return any(event.kind == "ghes-pcie" and event.bdf in ends for event in log.events)


def _blind(bdf: Bdf, part: str, pci: PciInventory) -> str | None | Unread:
    """Why this end reports no link errors. `part` is what to call it."""
    function = pci.functions.get(bdf)
    if function is None:
        return Unread(f"{short(bdf)} is not in the inventory", "error")
    config = function.config
    if isinstance(config, Unread):
        return config
    if config.all_ones:
        return f"{part} no longer answers"
    if isinstance(config.express, Unread):
        return config.express
    if config.express is not None and not config.express.dev_ctl.correctable_reporting:
        return f"{part} does not report correctable errors (DevCtl)"
    if isinstance(config.aer, Unread):
        return config.aer
    if config.aer is None:
        return f"{part} has no AER capability"
    masked = [name for name in config.aer.correctable_mask if name in SIGNAL]
    if masked:
        return f"{part} masks {', '.join(masked)}"
    if config.aer.root is not None and not config.aer.root.correctable_interrupt:
        return "the root port raises no interrupt for correctable errors (RootCmd)"
    return None


@check("aer.live", reads=[Gpus, Links, Aer, PciInventory, KernelLogs], needs=["root"])
def live(
    gpus: Gpus, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs, want: Profile,
) -> Iterator[Finding]:
    """Nobody counts the errors of a GPU's link, so that zero proves nothing.

    Why it matters: the counter files exist whenever the device can report, also where the firmware kept error reporting
    to itself and every count stays at 0 for ever.
    What to do: BIOS setup, PCIe AER (or "AER reporting mechanism"): OS first. No such setting: boot with
    `pcie_ports=native`. Remove pci=noaer and pcie_ports=compat from the kernel command line.
    Not a fault: of the link. Consumer boards often keep AER in firmware.
    By hand: ls /sys/bus/pci_express/drivers/aer; sudo lspci -vv -s <port> | grep -E 'DevCtl|CEMsk|RootCmd'
    """
    judged = False
    silences: dict[str, list[tuple[Gpu, Link]]] = {}
    for gpu, link in slot_links(gpus, links, want):
        judged = True
        subject = link_subject(link, gpu)
        silent = silence(link, links, aer, pci, logs)
        evidence = (*LIVE_EVIDENCE, *link_evidence(link, "config"))
        if isinstance(silent, Unread):
            yield unknown(subject, f"whether errors are counted was not read: {silent.why}", evidence=evidence,
                          needs_root=silent.kind == "permission")
        elif silent is not None and gpu.gone:
            yield unknown(subject, silent, evidence=evidence)
        elif silent is not None:
            silences.setdefault(silent, []).append((gpu, link))
        else:
            yield passed(subject, "both ends report and the kernel counts", evidence=evidence)
    for why, found in silences.items():
        yield _silent(why, found, links, want)
    yield from unjudged(gpus, want, judged)


LIVE_EVIDENCE = ("/sys/bus/pci_express/drivers/aer", "/proc/cmdline")


def _silent(why: str, found: Sequence[tuple[Gpu, Link]], links: Links, want: Profile) -> Finding:
    """One finding for one cause, however many links it holds for."""
    gpu, link = found[0]
    subject, place = link_subject(link, gpu), where(link, gpu, links, want)
    whose = f"the link of {link_name(link, subject)}"
    if len(found) > 1:
        whose = f"{len(found)} GPU links"
        names = sorted((str(link_subject(link, gpu)) for gpu, link in found), key=lambda name: (len(name), name))
        subject, place = BOX, listed(names, most=16)
    ends = tuple(path for _, link in found for path in link_evidence(link, "config"))
    # That the firmware reported this link's error is the same happening as the error.
    cause = f"link:{link.id}" if why == TOLD_BY_FIRMWARE and len(found) == 1 else "aer-silent:"
    return marginal(
        subject, f"errors of {whose} are not counted: {why}", evidence=(*LIVE_EVIDENCE, *ends), cause=cause,
        title=f"errors of {whose} are not counted", where=place, help=_silence_help(why),
        not_=("a clean link (nobody looked)",))


def _silence_help(silent: str) -> tuple[str, ...]:
    if "command line" in silent:
        return (f"take that word out of {GRUB_FILE}", GRUB_RUN)
    if "firmware" in silent:
        return ("BIOS setup: PCIe AER (AER reporting mechanism): OS first",
                f"no such setting: add pcie_ports=native to {GRUB_FILE}, {GRUB_RUN}")
    return ("reboot; if it stays so, firmware or a tool switched reporting off at this end",)


@check("aer.correctable", reads=[Gpus, Links, Aer, PciInventory, KernelLogs], limits=[BER], needs=["root"])
def correctable(
    gpus: Gpus, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs, want: Profile,
) -> Iterator[Finding]:
    """A GPU's link repairs damaged packets.

    Why it matters: each damaged packet is sent again. A link that repairs often is one warm afternoon from dropping
    out, and a Rollover means that the same packet failed four times in a row.
    What to do: reseat the riser at both ends. Errors at 16 GT/s that are gone at 8 GT/s
    speak for the riser.
    On cards with a switch of their own (RDNA) the link on the card is told as well where it counted errors: no riser is
    in it, so they are the card's. So is the uplink of a switch that several cards share.
    Not a fault: a few receiver errors while the link trained at boot. Advisory non-fatal errors (NonFatalErr) are
    software's and are not counted here.
    By hand: cat /sys/bus/pci/devices/<port>/aer_dev_correctable, and the same at the card
    """
    judged: set[Bdf] = set()
    for gpu, link in slot_links(gpus, links, want):
        judged.add(link.id)
        yield _judge_correctable(gpu, link, gpus, links, aer, pci, logs, want)
    yield from unjudged(gpus, want, bool(judged))
    yield from _elsewhere(gpus, links, aer, pci, logs, want, judged)


class _Counts(msgspec.Struct, frozen=True):
    """Link errors at both ends, zeros left out. An end without counters counts nothing here: see `silence`."""

    port: dict[str, int]
    card: dict[str, int]
    strange: tuple[str, ...]
    """Errors that are counted under no name of the specification: `412 of an unknown kind at 40:01.1`."""
    unread: Unread | None


def _counts(link: Link, aer: Aer) -> _Counts:
    ends: list[dict[str, int]] = []
    strange: list[str] = []
    unread: Unread | None = None
    for end in (link.downstream, link.upstream):
        counters = aer.counters.get(end.bdf) if end is not None else None
        counts = counters.correctable if counters is not None else {}
        if isinstance(counts, Unread):
            unread = Unread(f"aer_dev_correctable of {short(end.bdf) if end else ''}: {counts.why}", counts.kind)
            counts = {}
        ends.append({name: counts[name] for name in SIGNAL if counts.get(name)})
        odd = {name: count for name, count in counts.items() if count and name not in _KNOWN}
        if unknown_kind := unnamed(counts):
            odd["of an unknown kind (TOTAL_ERR_COR)"] = unknown_kind
        if odd and end is not None:
            strange.append(f"{counts_text(odd)} at {short(end.bdf)}")
    return _Counts(ends[0], ends[1], tuple(strange), unread)


def _raw_status(link: Link, pci: PciInventory) -> dict[str, tuple[str, ...]]:
    """Signal errors that stand in the status registers: they stay there where nobody counts and clears them."""
    found: dict[str, tuple[str, ...]] = {}
    for end in (link.downstream, link.upstream):
        function = pci.functions.get(end.bdf) if end else None
        config: ConfigSpace | Unread | None = function.config if function else None
        if config is None or isinstance(config, Unread) or config.aer is None or isinstance(config.aer, Unread):
            continue
        names = tuple(name for name in config.aer.correctable_status if name in SIGNAL)
        if names and not config.all_ones:
            found[short(end.bdf) if end else ""] = names
    return found


def counts_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _judge_correctable(
    gpu: Gpu, link: Link, gpus: Gpus, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs, want: Profile,
) -> Finding:
    subject = link_subject(link, gpu)
    evidence = _link_evidence(link)
    silent = silence(link, links, aer, pci, logs)
    counts = _counts(link, aer)
    port, card = counts.port, counts.card
    total = sum(port.values()) + sum(card.values())
    if total == 0 and counts.strange:
        return unknown(
            subject, f"corrected errors since boot: {' and '.join(counts.strange)}; whether the wire makes them cannot "
            "be told", evidence=evidence,
            help=(f"sudo lspci -vv -s {short(link.downstream.bdf)} | grep -E 'CESta|CEMsk'  shows which bits stand",))
    if total == 0 and counts.unread is not None:
        return unknown(subject, f"error counters not read: {counts.unread.why}", evidence=evidence,
                       needs_root=counts.unread.kind == "permission")
    if total == 0:
        if silent is None:
            since = "" if isinstance(aer.uptime_seconds, Unread) else f" in {duration(aer.uptime_seconds)}"
            return passed(subject, f"no link error counted since boot{since}", measured=Quantity(0, "errors"),
                          evidence=evidence)
        if isinstance(silent, Unread):
            return unknown(subject, f"0 counted, but whether anybody counts was not read: {silent.why}",
                           evidence=evidence, needs_root=silent.kind == "permission")
        raw = _raw_status(link, pci)
        if raw and not gpu.gone:
            return _standing(gpu, link, raw, silent, links, want)
        return unknown(subject, f"0 counted, and that proves nothing: {silent}", evidence=evidence)
    return _told(gpu, link, counts, links, aer, want)


def _standing(
    gpu: Gpu, link: Link, raw: Mapping[str, tuple[str, ...]], silent: str, links: Links, want: Profile
) -> Finding:
    """The finding on a link whose errors nobody counts and clears, so that they stand in the registers."""
    subject = link_subject(link, gpu)
    text = "; ".join(f"{end}: {', '.join(names)}" for end, names in raw.items())
    which = "the link on the card of" if link.on_card else "the link of"
    return marginal(
        subject, f"link errors stand in the status register ({text}) and nobody counts them",
        evidence=link_evidence(link, "config"), cause=f"link:{link.id}", where=where(link, gpu, links, want),
        title=f"{which} {subject} had errors that nobody counted", help=_silence_help(silent),
    )


def _elsewhere(
    gpus: Gpus, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs, want: Profile, judged: set[Bdf],
) -> Iterator[Finding]:
    """Errors of the other links between the processor and a GPU: above a switch, and on a card with one of its own.
    Nothing where none was counted: what is required is said of the slot links."""
    for gpu in wanted_gpus(gpus, want):
        for link in links.chain(gpu.bdf):
            if link.id in judged:
                continue
            judged.add(link.id)
            counts = _counts(link, aer)
            silent = silence(link, links, aer, pci, logs)
            if counts.port or counts.card:
                yield _told(gpu, link, counts, links, aer, want)
            elif isinstance(silent, str) and not gpu.gone and (raw := _raw_status(link, pci)):
                yield _standing(gpu, link, raw, silent, links, want)


def _told(gpu: Gpu, link: Link, counts: _Counts, links: Links, aer: Aer, want: Profile) -> Finding:
    """The finding on a link with errors."""
    slot = link.id == gpu.slot_link
    subject, evidence = link_subject(link, gpu if slot or link.on_card else None), _link_evidence(link)
    port, card = counts.port, counts.card
    total = sum(port.values()) + sum(card.values())
    place = where(link, gpu, links, want)
    ends = []
    if port:
        ends.append(f"{counts_text(port)} at the port {short(link.downstream.bdf)}")
    if card and link.upstream:
        ends.append(f"{counts_text(card)} at the card {short(link.upstream.bdf)}")
    says = f"{' and '.join(ends)} since boot"
    notes = (*_directions(port, card), *(f"besides: {text}" for text in counts.strange))
    if counts.unread is not None:
        notes = (*notes, f"not read: {counts.unread.why}")
    helps: tuple[str, ...] = reseat(link, want)
    excluded: tuple[str, ...] = ()
    if port.keys() | card.keys() == {"Timeout"}:
        helps = ("boot once with pcie_aspm=off: a link that wakes too slowly also times out", *helps)
        excluded = ("damaged packets (neither end counted any)",)
    title = f"the link of {link_name(link, subject)} makes errors"
    if link.on_card:
        title = f"the link on the card of {subject} makes errors"
        helps = ("no riser is in this link: move the card alone to another slot; errors that move with it are its own",)
        excluded = (*excluded, "the riser or the slot (this link is on the card)")
        says = f"{says}, on the card itself"
    options = {
        "measured": Quantity(total, "errors"), "limit": want.limit(BER), "evidence": evidence,
        "cause": f"link:{link.id}", "where": place, "title": title,
        "notes": notes, "help": helps, "not_": excluded,
    }
    if port.get("Rollover") or card.get("Rollover"):
        return failed(subject, f"{says}; a Rollover is a packet that failed four times in a row", **options)
    bound = want.limit(BER)
    rate = _proven_rate(link, max(sum(port.values()), sum(card.values())), aer)
    if bound is not None and bound.must is not None and rate is not None and rate > bound.must:
        return failed(subject, f"{says}: at least {rate:.1e} errors per bit, limit {bound.must:.0e}", **options)
    return marginal(subject, says, **options)


def link_name(link: Link, subject: Subject) -> str:
    return f"slot {link.slot}" if link.slot else str(subject)


def _proven_rate(link: Link, count: int, aer: Aer) -> float | None:
    """Lower 95 % bound of the error rate, over the most bits the link can have moved since boot."""
    speed, width = link.capable_speed_gts, link.capable_width
    if isinstance(aer.uptime_seconds, Unread) or not isinstance(speed, float) or not isinstance(width, int):
        return None
    bits = link_bits(speed, width, aer.uptime_seconds)
    return lower(count) / bits if bits > 0 else None


def _directions(port: Mapping[str, int], card: Mapping[str, int]) -> tuple[str, ...]:
    """Which way the damaged packets went. The receiver of damaged bits logs RxErr, BadTLP and BadDLLP; the sender of
    what was not acknowledged logs Timeout and Rollover (drivers/pci/pcie/aer.c, AER_AGENT_TRANSMITTER)."""
    notes: list[str] = []
    if any(name in port for name in RECEIVER):
        notes.append("counted at the port, so damaged on the way from the card to the processor")
    if any(name in card for name in RECEIVER):
        notes.append("counted at the card, so damaged on the way from the processor to the card")
    if any(name in port for name in TRANSMITTER):
        notes.append("the port sent packets that were not acknowledged: either way may be damaged")
    if any(name in card for name in TRANSMITTER):
        notes.append("the card sent packets that were not acknowledged: either way may be damaged")
    return tuple(notes)
