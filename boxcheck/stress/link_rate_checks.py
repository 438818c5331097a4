"""Judgement on the error rate per bit of every link on the way to a GPU, each direction by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from boxcheck.checks.aer import BER
from boxcheck.checks.aer_live import silence_help
from boxcheck.checks.places import short
from boxcheck.checks.steps import AER_NAMES, COPY_SHOWS, RESEAT_LINK
from boxcheck.checks.wording import duration
from boxcheck.model import BOX, Bdf, Finding, Limit, Quantity, Subject
from boxcheck.probes.kernel_log import KernelLogs
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.pcie_aer import Aer
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown
from boxcheck.stress import StressResults
from boxcheck.stress.link_ledger import Direction, Ledger
from boxcheck.stress.link_rates import (
    bounds_in_words,
    counts_in_words,
    is_above,
    per_bit,
    rate_of,
    seconds_to_show,
)
from boxcheck.stress.link_routes import Hop, link_map
from boxcheck.stress.tally import Watching

HELP = (RESEAT_LINK, COPY_SHOWS, AER_NAMES)
TOWARD = {"card": "to the card", "host": "from the card"}


def link_subject(hop: Hop) -> Subject:
    """A link by its slot, else by the port above; a card's own link by that port."""
    name = f"link {short(hop.port)}{' (on the card)' if hop.on_card else ''}"
    return Subject("link", name=name, slot=None if hop.on_card else hop.slot, bdf=hop.port)


def ends_of(hop: Hop) -> tuple[Bdf, ...]:
    return (hop.port,) if hop.card is None else (hop.port, hop.card)


def size_words(bits: float) -> str:
    """`4.2e12 bits (0.53 TB)`."""
    return f"{bits:.1e} bits ({bits / 8e12:.2g} TB)".replace("e+", "e")


@check("stress.link-rate", reads=[StressResults, Watching, Links, Aer, PciInventory, KernelLogs], limits=[BER],
       needs=["root"], stress="*")
def link_rate(
    results: StressResults, watching: Watching, links: Links, aer: Aer, pci: PciInventory, logs: KernelLogs,
    want: Profile,
) -> Iterator[Finding]:
    """A link on the way to a GPU damages more bits than PCI Express allows, or damages some.

    Why it matters: the specification allows an error in 1e12 bits. A link above it sends again all the time, and is one
    warm afternoon from dropping out; one below it with errors is worse than its neighbours without.
    What to do: reseat card and riser; the direction tells which transmitter and which lanes (the receiver counts RxErr,
    BadTLP and BadDLLP, the sender Timeout and Rollover).
    Not a fault: a rate that is only known to be below a bound. The bound is what the bits that were moved can show, and
    says how much longer shows the limit. An end that counts nothing makes the direction unknown, never clean.
    By hand: grep . /sys/bus/pci/devices/*/aer_dev_correctable, before and after bytes that were counted
    """
    if not any(info.bdf for info in results.gpus):
        yield skipped(BOX, "no device is on PCIe")
        return
    where = link_map(results.gpus, links, aer, pci, logs)
    if not where.ways:
        yield skipped(BOX, "no device has a memory of its own behind a link that can be seen")
        return
    ledger = Ledger(where)
    ledger.add(results, watching)
    directions = list(ledger.directions())
    moved = any(sample.moved for sample in results.samples)
    if not moved and results.module != "copy":
        yield skipped(BOX, f"{results.module} moves no payload over links that is counted; copies show the rate")
        return
    lost = "; ".join(
        f"of {size_words(8.0 * size)} {why}" for why, size in ledger.unattributed.items()) if moved else ""
    for one in directions:
        yield judge_direction(one, want.limit(BER), lost, must_move=results.module == "copy")


def judge_direction(one: Direction, bound: Limit | None, lost: str = "", *, must_move: bool = True) -> Finding:
    """What is to be said of a direction. `lost` is said where nothing is known to have crossed it; `must_move`: this is
    unknown then, and not a question that did not arise."""
    subject, way = link_subject(one.hop), TOWARD[one.toward]
    limit: dict[str, Any] = {} if bound is None else {"limit": bound}
    must = None if bound is None or bound.must is None else float(bound.must)
    evidence = tuple(f"/sys/bus/pci/devices/{end}/aer_dev_correctable" for end in ends_of(one.hop))
    if one.errors:
        return _with_errors(one, subject, must, {**limit, "evidence": evidence})
    if one.unread is not None:
        return unknown(subject, f"{way}: {one.unread}", evidence=evidence, needs_root=one.needs_root,
                       help=() if one.needs_root else silence_help(one.unread))
    if one.at_least:
        return unknown(subject, f"{way}: none was counted, and {one.at_least[0]}", evidence=evidence)
    if not one.payload_bits:
        make = unknown if must_move else skipped
        return make(subject, f"{way}: no byte is known to have crossed it{f' ({lost})' if lost else ''}")
    says = f"{way}: no error in {size_words(one.payload_bits)}, {bounds_in_words(one)}"
    more = None if must is None else seconds_to_show(one, must)
    if more and must is not None:
        says += f"; {duration(more + 1)} more show {per_bit(must)}"
    rate = rate_of(one)
    assert rate is not None
    return passed(subject, says, measured=Quantity(rate.at_most or 0.0, "errors/bit"), evidence=evidence, **limit)


def _with_errors(one: Direction, subject: Subject, must: float | None, options: dict[str, Any]) -> Finding:
    least = "at least " if one.at_least or one.unread is not None else ""
    over = f" in {size_words(one.payload_bits)}" if one.payload_bits else ", and no byte is known to have crossed it"
    says = f"{TOWARD[one.toward]}: {least}{counts_in_words(one)}{over}, {bounds_in_words(one)}"
    receiver, sender = one.hop.receiver(one.toward), one.hop.sender(one.toward)
    counter = receiver if one.received else sender
    notes = [*one.at_least, *([one.unread] if one.unread is not None else [])]
    if one.unanswered and not one.received:
        notes.append("only the sender counted: packets were late or lost, in this direction or their acknowledgements "
                     "in the other; ASPM does this too")
    rate = rate_of(one)
    options |= {
        "measured": Quantity(rate.middle, "errors/bit") if rate is not None and rate.middle is not None else Quantity(
            one.errors, "errors"),
        "cause": f"link-errors:{counter}", "ends": ends_of(one.hop), "where": str(subject),
        "notes": tuple(notes), "help": HELP, "title": f"{subject}: damaged packets {TOWARD[one.toward]}"}
    if one.unanswered.get("Rollover"):
        return failed(subject, f"{says}; a Rollover is a packet that failed four times in a row", **options)
    if must is not None and is_above(one, must):
        return failed(subject, f"{says}, limit {per_bit(must)}", **options)
    return marginal(subject, says, **options)
