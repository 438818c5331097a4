"""Judgements on the links above the GPUs of a run: errors that were counted, lanes and speed that were lost."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.checks.steps import AER_NAMES, COPY_SHOWS, RESEAT_LINK
from boxcheck.model import BOX, Bdf, Finding, Quantity, Subject, Unread
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import Aer
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown
from boxcheck.stress import StressResults
from boxcheck.stress.growth import Fall
from boxcheck.stress.judging import subject_of
from boxcheck.stress.link_errors import is_link_error
from boxcheck.stress.link_routes import LinkMap, link_map
from boxcheck.stress.tally import Watching

COPYING = frozenset(("copy", "p2p", "collective", "wake"))
"""Modules that keep links busy, so that no card lowers its speed to save power."""
LOW_SECONDS = 3.0
"""A link may be read at a lower speed for as long: readings are taken between two pieces of work."""


def _end(results: StressResults, bdf: Bdf) -> Subject:
    """An end of a link: a GPU itself, or a port above one."""
    word = "GPU" if any(info.bdf == bdf for info in results.gpus) else "port"
    return Subject("function", f"{word} {bdf}", bdf=bdf)


def _ends(links: Links, bdf: Bdf) -> tuple[Bdf, ...]:
    """Both ends of the link that has `bdf` for one: a port has its link below it, all else above."""
    link = links.links.get(bdf) or next(reversed(links.chain(bdf)), None)
    return (bdf,) if link is None else (link.id, *([link.upstream.bdf] if link.upstream else []))


def _unread(results: StressResults, read: frozenset[Bdf], says: str) -> Iterator[Finding]:
    """`unknown` for every GPU whose own function was not read. With one GPU, any function is on the way to it."""
    for key in _unread_gpus(results, read).values():
        yield unknown(subject_of(results, key), says)


def _unread_gpus(results: StressResults, read: frozenset[Bdf]) -> dict[Bdf, str]:
    """Their addresses and keys."""
    gpus = [info for info in results.gpus if info.bdf is not None]
    return {
        info.bdf: info.key for info in gpus
        if info.bdf is not None and info.bdf not in read and not (len(gpus) == 1 and read)}


def _unread_ends(results: StressResults, watching: Watching, where: LinkMap) -> Iterator[Finding]:
    """`unknown` for every other function on the way to a GPU whose counters were not read: a GPU's own say nothing of
    what arrived damaged at the port above it, nor, behind a switch on the card, of the slot."""
    read = frozenset(watching.links)
    told = _unread_gpus(results, read)
    for end, silent in where.ends.items():
        if end in read or end in told:
            continue
        why = watching.unread_links.get(end) or (silent.why if isinstance(silent, Unread) else silent)
        yield unknown(
            _end(results, end), f"its error counters were not read twice{f': {why}' if why else ''}",
            needs_root=isinstance(silent, Unread) and silent.kind == "permission")


def _unread_hops(results: StressResults, read: frozenset[Bdf], links: Links) -> Iterator[Finding]:
    """`unknown` for every link on the way to a GPU of which neither end was read: one end tells lanes and speed."""
    told = _unread_gpus(results, read)
    hops = {
        link.id: link for info in results.gpus if info.bdf is not None for link in links.chain(info.bdf)}
    for link in hops.values():
        ends = {link.id, *((link.upstream.bdf,) if link.upstream else ())}
        if not ends & read and not ends & told.keys():
            yield unknown(_end(results, link.id), "its link was not read twice, at neither end")


@check("stress.link-errors", reads=[StressResults, Watching, Links, Aer, PciInventory, KernelLogs], needs=["root"],
       stress="*")
def link_errors(
    results: StressResults, watching: Watching, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs,
    want: Profile,
) -> Iterator[Finding]:
    """A link on the way to a GPU counted errors while the GPU worked.

    Why it matters: damaged packets are sent again, until they are not. A port counts what arrives damaged, so errors at
    the root port were made on the way from the GPU, errors at the GPU on the way to it.
    What to do: reseat the card and its riser; boxcheck doctor aer (ends in PARTIAL) names slot and direction.
    Not a fault: advisory non-fatal errors, which are no damaged packets. A function that nobody read is unknown. A
    count where nothing counts is no zero (firmware keeps AER, reporting is off, errors are masked; root alone can read
    that), and counters that began anew during the run tell no zero either.
    By hand: grep . /sys/bus/pci/devices/*/aer_dev_*
    """
    for found in judge_errors(results, watching, link_map(results.gpus, links, aer, pci, logs)):
        bdf = found.subject.bdf
        yield found if found.cause is None or bdf is None else msgspec.structs.replace(found, ends=_ends(links, bdf))


def judge_errors(results: StressResults, watching: Watching, where: LinkMap) -> Iterator[Finding]:
    """Every function on the way to a GPU, by what it counted and whether it counts."""
    if not any(info.bdf for info in results.gpus):
        yield skipped(BOX, "no device is on PCIe")
        return
    yield from _unread(results, frozenset(watching.links), "no error counters of its link were read twice")
    yield from _unread_ends(results, watching, where)
    for bdf in watching.links:
        grown = {name: number for name, number in watching.link_errors.get(bdf, {}).items() if is_link_error(name)}
        subject, anew = _end(results, bdf), bdf in watching.reset_links
        if not grown and anew:
            yield unknown(
                subject, "its counters began anew during the run; what they had counted just before is not known")
            continue
        if not grown and bdf in watching.unread_links:
            yield unknown(subject, f"no error was counted as long as it was read; {watching.unread_links[bdf]}")
            continue
        silent = where.silent(bdf)
        if not grown and isinstance(silent, Unread):
            yield unknown(subject, f"0 counted, but whether anybody counts was not read: {silent.why}",
                          needs_root=silent.kind == "permission")
            continue
        if not grown and silent is not None:
            yield unknown(subject, f"0 counted, and that proves nothing: {silent}")
            continue
        if not grown:
            yield passed(subject, f"no error was counted in {watching.seconds:.0f} s", measured=Quantity(0, "errors"))
            continue
        grave = any(" " in name or name == "Rollover" for name in grown)
        told = ", ".join(f"{name} {number}" for name, number in grown.items())
        least = "at least " if anew else ""
        yield (failed if grave else marginal)(
            subject, f"counted {least}{told} in {watching.seconds:.0f} s of work", measured=Quantity(
                sum(grown.values()), "errors"), cause=f"link-errors:{bdf}", where=str(subject),
            evidence=(f"/sys/bus/pci/devices/{bdf}/aer_dev_correctable",),
            notes=("its counters began anew during the run",) if anew else (),
            title=f"{bdf}: damaged packets under load", help=(RESEAT_LINK, COPY_SHOWS, AER_NAMES))


@check("stress.link-speed", reads=[StressResults, Watching, Links], stress="*")
def link_speed(results: StressResults, watching: Watching, links: Links, want: Profile) -> Iterator[Finding]:
    """A link on the way to a GPU lost lanes or speed while the GPU worked.

    Why it matters: a link that trains anew with fewer lanes or at a lower speed has errors that it cannot repair; it is
    slower from then on, and often comes back only after a restart.
    What to do: reseat the card and its riser; clean the contacts; try the card in another slot.
    Not a fault: a link that rests at a low speed before and after the work, or between two pieces of it. Of modules
    that copy little only NVIDIA's cards are judged by speed, and never as failed: a card may save power there.
    By hand: watch -n 1 'grep . /sys/bus/pci/devices/*/current_link_{speed,width}'
    """
    if not any(info.bdf for info in results.gpus):
        yield skipped(BOX, "no device is on PCIe")
        return
    read = frozenset(watching.link_widths)
    yield from _unread(results, read, "its link was not read twice")
    yield from _unread_hops(results, read, links)
    for bdf, width in watching.link_widths.items():
        speed = watching.link_speeds_gts.get(bdf)
        bad, unsteady = _lanes(width)
        if speed is None:
            unsteady += [] if bad else ["its speed was not read twice"]
        else:
            more_bad, more_unsteady = _speed(results, speed)
            bad, unsteady = bad + more_bad, unsteady + more_unsteady
        subject = _end(results, bdf)
        if bad or (unsteady and speed is not None):
            yield (failed if bad else marginal)(
                subject, "; ".join((*bad, *unsteady)), cause=f"link-errors:{bdf}", where=str(subject),
                ends=_ends(links, bdf), title=f"{bdf}: its link fell under load", help=(RESEAT_LINK, COPY_SHOWS),
                evidence=tuple(f"/sys/bus/pci/devices/{bdf}/current_link_{name}" for name in ("speed", "width")))
        elif speed is None:
            yield unknown(subject, f"x{width.best:g} throughout; its speed was not read twice")
        else:
            yield passed(subject, f"x{width.best:g} throughout, at most {speed.best:g} GT/s")


def _lanes(width: Fall) -> tuple[list[str], list[str]]:
    """What is a failure, and what is marginal. Nothing changes the number of lanes to save power."""
    if width.low_seconds >= LOW_SECONDS:
        return [f"fell from x{width.best:g} to x{width.least:g} and stayed for {width.low_seconds:.0f} s"], []
    if width.low_seconds or width.dips:
        times = width.dips + bool(width.low_seconds)
        return [], [f"fell from x{width.best:g} to x{width.least:g} {times} time{'' if times == 1 else 's'}"]
    return [], []


def _speed(results: StressResults, speed: Fall) -> tuple[list[str], list[str]]:
    """The same of the speed, which cards lower when they copy nothing."""
    fell = f"fell from {speed.best:g} to {speed.least:g} GT/s"
    if results.module in COPYING:
        if speed.low_seconds > LOW_SECONDS:
            return [f"{fell} and stayed for {speed.low_seconds:.0f} s"], []
        if speed.longest_seconds > LOW_SECONDS:
            return [], [f"{fell} and came back, for {speed.longest_seconds:.0f} s at the longest"]
    nvidia = all(info.backend == "cuda" or info.arch.startswith("sm_") for info in results.gpus if info.bdf)
    if nvidia and speed.low_seconds > max(LOW_SECONDS, speed.seconds / 3):
        return [], [f"{fell} and stayed for {speed.low_seconds:.0f} s"]
    return [], []
