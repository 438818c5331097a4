"""Errors of links, judged per link and direction, and whether anybody counts them.

One rule: RxErr, BadTLP, BadDLLP, Rollover, Timeout per link and direction, over the bits moved. None passes, some is
marginal; it fails when the lower 95 % bound of the rate is above the limit, or at any Rollover or uncorrectable error.
Since boot the bits moved are not known exactly: the most that the link can have moved is taken, so a fail is proven.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from boxcheck.checks.aer_live import link_name, root_of, silence, silence_help
from boxcheck.checks.pcie_signal import RETRAINED, retrained
from boxcheck.checks.places import (
    link_evidence,
    link_subject,
    path_links,
    read_again,
    reseat,
    short,
    unjudged,
    wanted_gpus,
    where,
)
from boxcheck.checks.wording import counted, duration, not_read
from boxcheck.decode.pci_aer import AER_CORRECTABLE
from boxcheck.decode.pci_config import ConfigSpace
from boxcheck.model import Bdf, Finding, Quantity, Subject, Unread
from boxcheck.poisson import link_bits, lower
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Link, LinkEnd, Links
from boxcheck.probes.nvme import Nvme
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


@check("aer.correctable", reads=[Gpus, Links, Aer, PciInventory, KernelLogs, Nvme], limits=[BER], needs=["root"])
def correctable(
    gpus: Gpus, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs, nvme: Nvme, want: Profile,
) -> Iterator[Finding]:
    """A GPU's link repairs damaged packets.

    Why it matters: each damaged packet is sent again. A link that repairs often is one warm afternoon from dropping
    out, and a Rollover means that the same packet failed four times in a row.
    What to do: reseat the riser at both ends. Errors at 16 GT/s that are gone at 8 GT/s
    speak for the riser.
    On cards with a switch of their own (RDNA) the link on the card is told as well where it counted errors: no riser is
    in it, so they are the card's. So are the links of NVMe drives, and corrected errors inside a card or a port.
    Not a fault: a few receiver errors while the link trained at boot. Advisory non-fatal errors (NonFatalErr) are
    software's and are not counted here.
    By hand: cat /sys/bus/pci/devices/<port>/aer_dev_correctable, and the same at the card
    """
    judged: set[Bdf] = set()
    for gpu, link in path_links(gpus, links, want):
        judged.add(link.id)
        yield _judge_correctable(gpu, link, gpus, links, aer, pci, logs, want)
    yield from unjudged(gpus, want, bool(judged))
    yield from _elsewhere(gpus, links, aer, pci, logs, want, judged)
    for name, link in drive_links(nvme, links):
        if link.id not in judged:
            judged.add(link.id)
            counts = _counts(link, aer, pci)
            if counts.port or counts.card:
                yield _told(None, link, counts, links, aer, pci, want, drive=name)
    looked_at = {end.bdf for id in judged for end in (links.links[id].downstream, links.links[id].upstream) if end}
    yield from _internal(looked_at, gpus, aer, pci)
    roots = sorted({root_of(links.links[id], links) for id in judged})
    below = by_root(pci)
    with_gpus = {root_of(link, links) for _, link in path_links(gpus, links, want)}
    for root in roots:
        yield from _stray(root, below.get(root, []), aer, asked=root in with_gpus)


def drive_links(nvme: Nvme, links: Links) -> Iterator[tuple[str, Link]]:
    """Each NVMe drive on PCIe with the link that it hangs on."""
    for drive in nvme.drives:
        link = links.slot_link(drive.bdf) if drive.bdf is not None else None
        if link is not None:
            yield drive.name, link


def by_root(pci: PciInventory) -> dict[Bdf, list[Bdf]]:
    """Root port -> itself and everything below it."""
    found: dict[Bdf, list[Bdf]] = {}
    for bdf in pci.functions:
        above = [function.bdf for function in pci.ancestors(bdf)]
        found.setdefault(above[-1] if above else bdf, []).append(bdf)
    return found


def _internal(ends: set[Bdf], gpus: Gpus, aer: Aer, pci: PciInventory) -> Iterator[Finding]:
    """Corrected errors inside a device (CorrIntErr): the wire has no part in them."""
    owners = {bdf: gpu for gpu in gpus.gpus for bdf in functions_at(gpu.bdf, pci)}
    for bdf in sorted({bdf for end in ends for bdf in functions_at(end, pci)}):
        counters = aer.counters.get(bdf)
        counts = {} if counters is None or isinstance(counters.correctable, Unread) else counters.correctable
        count, gpu = counts.get(INTERNAL, 0), owners.get(bdf)
        if not count:
            continue
        name = "" if gpu is None else f" of {gpu.slot or gpu.subject.name}"
        yield marginal(
            gpu.subject if gpu is not None else Subject("function", name=short(bdf), bdf=bdf),
            f"{count} corrected errors inside {short(bdf)} ({INTERNAL}) since boot",
            measured=Quantity(count, "errors"), cause=f"function:{bdf}",
            evidence=(f"/sys/bus/pci/devices/{bdf}/aer_dev_correctable",),
            title=f"{short(bdf)}{name} corrects errors inside itself",
            help=("note the count and look again after a day of load: one that grows is for the maker of the part, "
                  "with its firmware version",),
            not_=("the riser or the slot (the wire has no part in these)",))


def _stray(root: Bdf, below: Iterable[Bdf], aer: Aer, asked: bool) -> Iterator[Finding]:
    """Corrected errors that a root port was told of and that nothing below it shows. Its total may exceed the sum of
    what is below by the messages of a burst (docs/explanation/kernel-facts.md). `asked`: a GPU is below it, so that a
    total which was not read is told."""
    totals = aer.root_totals.get(root)
    if totals is None:
        return
    if isinstance(totals.correctable, Unread):
        if asked and totals.correctable.kind != "absent":
            yield not_read(
                Subject("function", name=f"root port {short(root)}", bdf=root), totals.correctable,
                evidence=(f"/sys/bus/pci/devices/{root}/aer_rootport_total_err_cor",))
        return
    if not totals.correctable:
        return
    claimed = 0
    for bdf in below:
        counters = aer.counters.get(bdf)
        if counters is None:
            continue
        if isinstance(counters.correctable, Unread):
            return  # said of the link that it belongs to
        counts = counters.correctable
        claimed += max(counts.get("TOTAL", 0), sum(count for name, count in counts.items() if name != "TOTAL"))
    if totals.correctable <= STRAY_FACTOR * claimed:
        return
    shown = f"{claimed} of them" if claimed else "none of them"
    yield marginal(
        Subject("function", name=f"root port {short(root)}", bdf=root),
        f"{counted(totals.correctable, 'corrected error')} at root port {short(root)}, and the devices below it show "
        f"{shown}", evidence=(f"/sys/bus/pci/devices/{root}/aer_rootport_total_err_cor",),
        measured=Quantity(totals.correctable - claimed, "errors"), cause=f"link:{root}",
        where=f"somewhere below root port {short(root)}",
        title=f"corrected errors somewhere below root port {short(root)} that nothing there shows",
        help=("boxcheck doctor log -v  shows whom the kernel named",
              f"reboot; with the GPUs busy, run: {read_again('every GPU')}"),
        notes=("a device that was taken out since took its own counters with it",))


INTERNAL = "CorrIntErr"
STRAY_FACTOR = 2


class _Counts(msgspec.Struct, frozen=True):
    """Link errors at both ends, zeros left out. An end without counters counts nothing here: see `silence`."""

    port: dict[str, int]
    card: dict[str, int]
    strange: tuple[str, ...]
    """Errors that are counted under no name of the specification: `412 of an unknown kind at 40:01.1`."""
    unread: Unread | None


def functions_at(bdf: Bdf, pci: PciInventory) -> tuple[Bdf, ...]:
    """A function and the others of its device: a card's audio function shares the link of its GPU."""
    function = pci.functions.get(bdf)
    if function is None or function.is_bridge:
        return (bdf,)
    beside = () if function.parent is None else pci.children.get(function.parent, ())
    return (bdf, *(other for other in beside if other != bdf
                   and pci.functions[other].slot_address == function.slot_address))


def _beside(end: LinkEnd, aer: Aer, pci: PciInventory) -> tuple[dict[str, int], Unread | None]:
    """Signal errors that the other functions of the device at an end counted, and what of them was not read. All
    functions log what one wire did, so the highest count is the wire's."""
    most: dict[str, int] = {}
    unread: Unread | None = None
    for bdf in functions_at(end.bdf, pci)[1:]:
        counters = aer.counters.get(bdf)
        counts = {} if counters is None else counters.correctable
        if isinstance(counts, Unread):
            unread = _hidden(bdf, counts)
            continue
        for name in SIGNAL:
            most[name] = max(most.get(name, 0), counts.get(name, 0))
    return most, unread


def _hidden(bdf: Bdf, counts: Unread) -> Unread:
    return Unread(f"aer_dev_correctable of {short(bdf)}: {counts.why}", counts.kind)


def _counts(link: Link, aer: Aer, pci: PciInventory) -> _Counts:
    ends: list[dict[str, int]] = []
    strange: list[str] = []
    unread: Unread | None = None
    for end in (link.downstream, link.upstream):
        counters = aer.counters.get(end.bdf) if end is not None else None
        counts = counters.correctable if counters is not None else {}
        if isinstance(counts, Unread):
            unread = _hidden(end.bdf, counts) if end is not None else counts
            counts = {}
        beside, hidden = _beside(end, aer, pci) if end is not None else ({}, None)
        unread = hidden if unread is None else unread
        most = {name: max(counts.get(name, 0), beside.get(name, 0)) for name in SIGNAL}
        ends.append({name: count for name, count in most.items() if count})
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
    counts = _counts(link, aer, pci)
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
    return _told(gpu, link, counts, links, aer, pci, want)


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
        title=f"{which} {subject} had errors that nobody counted", help=silence_help(silent),
    )


def _elsewhere(
    gpus: Gpus, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs, want: Profile, judged: set[Bdf],
) -> Iterator[Finding]:
    """Errors of the other links between the processor and a GPU: on a card with a switch of its own.
    Nothing where none was counted: what is required is said of the slot links."""
    for gpu in wanted_gpus(gpus, want):
        for link in links.chain(gpu.bdf):
            if link.id in judged:
                continue
            judged.add(link.id)
            counts = _counts(link, aer, pci)
            silent = silence(link, links, aer, pci, logs)
            if counts.port or counts.card:
                yield _told(gpu, link, counts, links, aer, pci, want)
            elif isinstance(silent, str) and not gpu.gone and (raw := _raw_status(link, pci)):
                yield _standing(gpu, link, raw, silent, links, want)


def _told(
    gpu: Gpu | None, link: Link, counts: _Counts, links: Links, aer: Aer, pci: PciInventory, want: Profile,
    drive: str | None = None,
) -> Finding:
    """The finding on a link with errors: of a GPU, or of a `drive`."""
    subject, evidence = link_subject(link, gpu), _link_evidence(link)
    if drive is not None:
        subject = Subject("link", name=drive, slot=link.slot, bdf=link.upstream.bdf if link.upstream else link.id)
    port, card = counts.port, counts.card
    total = sum(port.values()) + sum(card.values())
    place = where(link, gpu, links, want) + (f" > {drive}" if drive else "")
    ends = []
    if port:
        ends.append(f"{counts_text(port)} at the port {short(link.downstream.bdf)}")
    if card and link.upstream:
        ends.append(f"{counts_text(card)} at the {'drive' if drive else 'card'} {short(link.upstream.bdf)}")
    says = f"{' and '.join(ends)} since boot"
    notes = (*_directions(port, card), *(f"besides: {text}" for text in counts.strange))
    if retrained(link, pci):
        notes = (*notes, RETRAINED)
    if counts.unread is not None:
        notes = (*notes, f"not read: {counts.unread.why}")
    helps: tuple[str, ...] = reseat(link, want) if drive is None else (
        f"power off, reseat {drive} and the cable or adapter between it and the board, power on",
        f"not cured: put {drive} in another slot. The fault moves with it: the drive; it stays: slot or cable")
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
    options: dict[str, Any] = {
        "measured": Quantity(total, "errors"), "limit": want.limit(BER), "evidence": evidence,
        "cause": f"link:{link.id}", "where": place, "title": title,
        "notes": notes, "help": helps, "not_": excluded,
    }
    if port.get("Rollover") or card.get("Rollover"):
        return failed(subject, f"{says}; a Rollover is a packet that failed four times in a row", **options)
    bound = want.limit(BER)
    most = max(sum(port.values()), sum(card.values()))
    rate = _proven_rate(link, most, aer)
    if rate is None and bound is not None and bound.must is not None:
        return _without_uptime(link, most, float(bound.must), says, subject, options)
    if bound is not None and bound.must is not None and rate is not None and rate > bound.must:
        return failed(subject, f"{says}: at least {rate:.1e} errors per bit, limit {bound.must:.0e}", **options)
    return marginal(subject, says, **options)


def _without_uptime(
    link: Link, count: int, bound: float, says: str, subject: Subject, options: dict[str, Any],
) -> Finding:
    """The finding on errors over a time or a rate that was not read: settled only where no time would change it."""
    speed, width = link.capable_speed_gts, link.capable_width
    bits_a_second = link_bits(speed if isinstance(speed, float) else FASTEST_GTS,
                              width if isinstance(width, int) else 16, 1.0)
    seconds = lower(count) / bits_a_second / bound
    if seconds > LONGEST_SECONDS:
        return failed(subject, f"{says}: more than {bound:.0e} errors per bit, however long the box has been up",
                      **options)
    if seconds <= SHORTEST_SECONDS:
        return marginal(subject, says, **options)
    return unknown(
        subject, f"{says}; the time since boot or what the link can do was not read, so the rate cannot be told",
        measured=options["measured"], evidence=options["evidence"], help=options["help"])


FASTEST_GTS = 64.0
SHORTEST_SECONDS, LONGEST_SECONDS = 60.0, 10 * 365 * 86400.0
"""A box that is looked at has been up for a minute at least, and for ten years at most."""


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
