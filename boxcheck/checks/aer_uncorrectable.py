"""Uncorrectable errors: by the counters of both ends of a link, and by what its root port counted from below.

The kernel does not read the registers of a device that reported a fatal error, because the link to it may be dead
(drivers/pci/pcie/aer.c, aer_get_device_error_info). The device's own counter stays at 0 then, and only the total of
the root port above it shows that something happened. That total counts messages from every device below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from boxcheck.checks.aer import by_root, counts_text, drive_links, functions_at
from boxcheck.checks.aer_live import link_name, root_of, silence
from boxcheck.checks.pcie_link import on_card_links
from boxcheck.checks.pcie_signal import config_of
from boxcheck.checks.places import link_evidence, link_subject, path_links, reseat, short, unjudged, where
from boxcheck.checks.steps import READ_THE_LOG
from boxcheck.checks.wording import counted, not_read
from boxcheck.model import Bdf, Finding, Outcome, Quantity, Subject, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Link, Links
from boxcheck.probes.nvme import Nvme
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import Aer, is_advisory, unnamed
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, unknown

KINDS = ("fatal", "nonfatal")
REFUSED = "UnsupReq"
LOSS = frozenset({"DLP", "SDES", "TLP", "FCP", "CmpltTO", "RxOF", "MalfTLP", "ECRC"})
"""Errors that mean a lost link or packet. Probing the bus leaves Unsupported Request and its like in the registers."""
REFUSED_NOTE = (
    "UnsupReq is a request that the device does not support: software or firmware that probed it, not the wire",)
UNCLAIMED_NOTE = (
    "a device's own counter stays at 0 after a fatal error: the kernel does not ask a device whose link may be dead",)


class Unclaimed(msgspec.Struct, frozen=True):
    """Error messages that a root port counted and that neither it nor a device below it shows."""

    fatal: int
    nonfatal: int

    def text(self, root: Bdf) -> str:
        parts = [counted(number, f"{kind} error") for kind, number in
                 (("fatal", self.fatal), ("non-fatal", self.nonfatal)) if number]
        return f"{' and '.join(parts)} at root port {short(root)} that no device below it shows"


def _shown(counts: Mapping[str, int]) -> dict[str, int]:
    """The errors by name. What the total has beyond the names is of a kind that this kernel has no name for."""
    found = {name: count for name, count in counts.items() if count and name != "TOTAL"}
    if beyond := unnamed(counts):
        found["unnamed"] = beyond
    return found


def unclaimed(root: Bdf, below: Mapping[Bdf, list[Bdf]], aer: Aer) -> Unclaimed | Unread:
    """What the root port counted beyond the totals of itself and of all devices below it."""
    totals = aer.root_totals.get(root)
    if totals is None:
        return Unread(f"root port {short(root)} has no totals of error messages", "absent")
    left: list[int] = []
    for kind, total in zip(KINDS, (totals.fatal, totals.nonfatal), strict=True):
        if isinstance(total, Unread):
            return Unread(f"aer_rootport_total_err_{kind} of {short(root)}: {total.why}", total.kind)
        claimed = 0
        for bdf in below.get(root, ()) if total else ():
            counters = aer.counters.get(bdf)
            counts = {} if counters is None else counters.fatal if kind == "fatal" else counters.nonfatal
            if isinstance(counts, Unread):
                return Unread(f"{kind} error counters of {short(bdf)}: {counts.why}", counts.kind)
            # TOTAL counts messages as the root port does; one message can set several of the named bits.
            claimed += counts["TOTAL"] if "TOTAL" in counts else sum(counts.values())
        left.append(max(total - claimed, 0))
    return Unclaimed(*left)


def without_advisory(aer: Aer, below: Mapping[Bdf, list[Bdf]]) -> Aer:
    """The counters without the non-fatal errors that devices reported as advisory, where the root port shows that they
    were."""
    counters = dict(aer.counters)
    for root, totals in aer.root_totals.items():
        for bdf in below.get(root, ()):
            mine = counters.get(bdf)
            if mine is None or isinstance(mine.nonfatal, Unread):
                continue
            if is_advisory(mine.nonfatal, mine.correctable, totals.nonfatal):
                counters[bdf] = msgspec.structs.replace(mine, nonfatal=dict.fromkeys(mine.nonfatal, 0))
    return msgspec.structs.replace(aer, counters=counters)


def _total_files(root: Bdf) -> tuple[str, ...]:
    return tuple(f"/sys/bus/pci/devices/{root}/aer_rootport_total_err_{kind}" for kind in KINDS)


@check("aer.uncorrectable", reads=[Gpus, Links, Aer, PciInventory, KernelLogs, Nvme], needs=["root"])
def uncorrectable(
    gpus: Gpus, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs, nvme: Nvme, want: Profile,
) -> Iterator[Finding]:
    """A link or a device had an error that could not be repaired.

    Why it matters: a packet was lost. SDES means that the link dropped; CmpltTO that a device stopped answering; both
    end jobs and reset cards. A fatal error often shows at the root port only: the card that had it cannot be asked.
    What to do: for SDES, power leads, riser and `pcie_port_pm=off`; for others read the kernel log around it.
    Not a fault: UnsupReq alone and non-fatal: software asked the device for something that it does not have, as some
    firmware does while it probes the bus at boot. That is marginal; any other uncorrectable error fails. Errors that
    the device reported as advisory (NonFatalErr) are none, though Linux 7.3 counts them as non-fatal ones too.
    By hand: cat /sys/bus/pci/devices/<port>/aer_dev_{fatal,nonfatal}, and aer_rootport_total_err_{fatal,nonfatal} of
    the root port
    """
    below = by_root(pci)
    aer = without_advisory(aer, below)
    told: set[Bdf] = set()
    roots: dict[Bdf, bool] = {}
    for gpu, link in path_links(gpus, links, want):
        told.update(_ends(link, pci))
        root = root_of(link, links)
        alone = not [
            other for id, other in links.links.items()
            if id != link.id and not other.on_card and (id == root or root in links.above.get(id, ()))
        ]
        roots[root] = alone
        found = _judge_link(gpu, link, unclaimed(root, below, aer), alone, links, aer, pci, logs, want)
        standing = _standing(link, pci) if found.outcome in (Outcome.PASS, Outcome.UNKNOWN) and not gpu.gone else ""
        if standing:
            yield _of_old(gpu, link, standing, links, want)
        if not standing or found.outcome is not Outcome.PASS:
            yield found
    yield from unjudged(gpus, want, bool(roots))
    for gpu, link in on_card_links(gpus, links, want):
        seen = _seen(link, aer, pci)
        told.update(_ends(link, pci))
        if seen.texts or seen.hidden is not None:
            yield _on_the_card(gpu, link, seen, links, want)
    for name, link in drive_links(nvme, links):
        seen = _seen(link, aer, pci)
        if seen.texts and not told.issuperset(_ends(link, pci)):
            told.update(_ends(link, pci))
            yield _of_a_drive(name, link, seen, links, pci, want)
    for bdf, counters in aer.counters.items():
        if bdf in told:
            continue
        for kind, counts in (("fatal", counters.fatal), ("nonfatal", counters.nonfatal)):
            shown = {} if isinstance(counts, Unread) else _shown(counts)
            if shown:
                yield marginal(
                    Subject("function", name=short(bdf), bdf=bdf), f"{counts_text(shown)} ({kind}) since boot",
                    evidence=(f"/sys/bus/pci/devices/{bdf}/aer_dev_{kind}",), cause=f"function:{bdf}",
                    title=f"{short(bdf)} had {kind} errors", help=(READ_THE_LOG,),
                )
    for root in aer.root_totals:
        if not roots.get(root, False):
            yield from _judge_root(root, unclaimed(root, below, aer), gpu_below=root in roots)


class Seen(msgspec.Struct, frozen=True):
    """What both ends of a link counted, with the other functions of the card."""

    texts: tuple[str, ...]
    names: frozenset[str]
    grave: bool
    """Anything but a refused request."""
    hidden: Unread | None


def _ends(link: Link, pci: PciInventory) -> tuple[Bdf, ...]:
    return (link.downstream.bdf, *(functions_at(link.upstream.bdf, pci) if link.upstream is not None else ()))


def _seen(link: Link, aer: Aer, pci: PciInventory) -> Seen:
    texts: list[str] = []
    names: set[str] = set()
    grave = False
    hidden: Unread | None = None
    for bdf in _ends(link, pci):
        counters = aer.counters.get(bdf)
        if counters is None:
            continue
        for kind, counts in (("fatal", counters.fatal), ("nonfatal", counters.nonfatal)):
            if isinstance(counts, Unread):
                hidden = Unread(f"{kind} error counters of {short(bdf)}: {counts.why}", counts.kind)
                continue
            found = _shown(counts)
            if found:
                texts.append(f"{counts_text(found)} ({kind}) at {short(bdf)}")
                names |= found.keys()
                grave = grave or kind == "fatal" or found.keys() != {REFUSED}
    return Seen(tuple(texts), frozenset(names), grave, hidden)


def _standing(link: Link, pci: PciInventory) -> str:
    """Errors of a lost link or packet that stand in the status registers, which they do where nobody clears them."""
    found: list[str] = []
    for bdf in _ends(link, pci):
        config = config_of(bdf, pci)
        registers = None if isinstance(config, Unread) or config.all_ones else config.aer
        if registers is None or isinstance(registers, Unread):
            continue
        names = [name for name in registers.uncorrectable_status if name in LOSS]
        if names:
            found.append(f"{', '.join(names)} at {short(bdf)}")
    return "; ".join(found)


def _of_old(gpu: Gpu, link: Link, standing: str, links: Links, want: Profile) -> Finding:
    subject = link_subject(link, gpu)
    return marginal(
        subject, f"uncorrectable errors stand in the status register ({standing}) and no counter shows them",
        evidence=link_evidence(link, "config"), cause=f"link:{link.id}", where=where(link, gpu, links, want),
        title=f"the link of {link_name(link, subject)} had uncorrectable errors that nobody counted",
        help=(READ_THE_LOG,), notes=("they may be as old as the last power-on: nobody cleared them",))


def _on_the_card(gpu: Gpu, link: Link, seen: Seen, links: Links, want: Profile) -> Finding:
    """Of the link between a card's own switch and its GPU: no hand can reach it."""
    subject, text = link_subject(link, gpu), "; ".join(seen.texts)
    evidence = link_evidence(link, "aer_dev_fatal", "aer_dev_nonfatal")
    if not seen.texts and seen.hidden is not None:
        return not_read(subject, seen.hidden, evidence=evidence)
    make = failed if seen.grave else marginal
    return make(
        subject, f"since boot: {text}, on the card itself", evidence=evidence, cause=f"link:{link.id}",
        where=where(link, gpu, links, want), title=f"uncorrectable errors on the card in {gpu.slot or subject.name}",
        notes=() if seen.grave else REFUSED_NOTE,
        help=(READ_THE_LOG, "check the card's power leads; move the card alone to another slot: errors that move with "
              "it are its own") if seen.grave else (READ_THE_LOG,))


def _of_a_drive(name: str, link: Link, seen: Seen, links: Links, pci: PciInventory, want: Profile) -> Finding:
    """Of an NVMe drive. Where drives may be pulled while the box runs, a link that went down is no fault."""
    config = config_of(link.id, pci)
    express = None if isinstance(config, Unread) or isinstance(config.express, Unread) else config.express
    pulled = express is not None and express.slot_cap is not None and express.slot_cap.hot_plug_surprise and (
        seen.names <= {"SDES", "DLP", REFUSED})
    make = failed if seen.grave and not pulled else marginal
    return make(
        Subject("link", name=name, slot=link.slot, bdf=link.upstream.bdf if link.upstream else link.id),
        f"since boot: {'; '.join(seen.texts)}", evidence=link_evidence(link, "aer_dev_fatal", "aer_dev_nonfatal"),
        cause=f"link:{link.id}", where=f"{where(link, None, links, want)} > {name}",
        title=f"uncorrectable errors on the link of {name}",
        notes=("this port lets drives be pulled while the box runs",) if pulled else
        () if seen.grave else REFUSED_NOTE,
        help=(READ_THE_LOG, f"power off, reseat {name} and the cable or adapter between it and the board, power on"))


def _judge_root(root: Bdf, stray: Unclaimed | Unread, gpu_below: bool) -> Iterator[Finding]:
    """Errors from somewhere below a root port with several links, or with no GPU. Nothing where there were none."""
    if isinstance(stray, Unread) or not (stray.fatal or stray.nonfatal):
        return
    make = failed if gpu_below and stray.fatal else marginal
    yield make(
        Subject("function", name=f"root port {short(root)}", bdf=root),
        f"{stray.text(root)}, from somewhere below it", evidence=_total_files(root),
        measured=Quantity(stray.fatal + stray.nonfatal, "errors"),
        cause=f"{'link' if gpu_below else 'function'}:{root}", where=f"somewhere below root port {short(root)}",
        title=f"an uncorrectable error somewhere below root port {short(root)}", help=(READ_THE_LOG,),
        notes=UNCLAIMED_NOTE if stray.fatal else (),
    )


def _judge_link(
    gpu: Gpu, link: Link, stray: Unclaimed | Unread, alone: bool, links: Links, aer: Aer, pci: PciInventory,
    logs: KernelLogs,
    want: Profile,
) -> Finding:
    """`alone`: no other link is below this one's root port, so what the root port counted is of this link."""
    subject = link_subject(link, gpu)
    root = root_of(link, links)
    evidence = (*link_evidence(link, "aer_dev_fatal", "aer_dev_nonfatal"), *_total_files(root))
    name = link_name(link, subject)
    place = where(link, gpu, links, want)
    seen = _seen(link, aer, pci)
    texts, names, grave, hidden = list(seen.texts), seen.names, seen.grave, seen.hidden
    if alone and isinstance(stray, Unclaimed) and stray.fatal:
        texts.append(stray.text(root))
        grave = True
    if grave:
        dropped = "SDES" in names or "DLP" in names
        return failed(
            subject, f"since boot: {'; '.join(texts)}", evidence=evidence, cause=f"link:{link.id}", where=place,
            title=f"the link of {name} dropped" if dropped else f"uncorrectable errors on the link of {name}",
            notes=() if names else UNCLAIMED_NOTE,
            help=(
                "check the card's power leads and its riser; then boot with pcie_port_pm=off" if dropped
                else READ_THE_LOG,
                *reseat(link, want),
            ),
        )
    so_far = "; ".join(texts) or "0 counted"
    if hidden is not None:
        head = f"{so_far}, but " if texts else ""
        return not_read(subject, Unread(f"{head}{hidden.why}", hidden.kind), evidence=evidence)
    silent = silence(link, links, aer, pci, logs, "uncorrectable")
    if isinstance(silent, Unread):
        return unknown(subject, f"{so_far}, but whether anybody counts was not read: {silent.why}", evidence=evidence,
                       needs_root=silent.kind == "permission")
    if silent is not None:
        return unknown(subject, f"{so_far}, and that proves nothing: {silent}", evidence=evidence)
    both = so_far if texts else "0 counted at both ends"
    if isinstance(stray, Unread):
        return not_read(subject, Unread(f"{both}, but {stray.why}", stray.kind), evidence=evidence)
    if stray.fatal:
        return unknown(
            subject, f"{both}, but {stray.text(root)}: whose it was cannot be told", evidence=evidence)
    if alone and stray.nonfatal:
        return marginal(
            subject, f"{both}, but {stray.text(root)}", evidence=evidence, cause=f"link:{link.id}",
            where=place, title=f"uncorrectable errors on the link of {name}", help=(READ_THE_LOG,),
            measured=Quantity(stray.nonfatal, "errors"))
    if texts:
        return marginal(
            subject, f"since boot: {so_far}", evidence=evidence, cause=f"link:{link.id}", where=place,
            title=f"a request was refused on the link of {name}", notes=REFUSED_NOTE, help=(READ_THE_LOG,))
    return passed(
        subject, "no uncorrectable error counted since boot", measured=Quantity(0, "errors"), evidence=evidence)
