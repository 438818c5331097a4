"""Judgements on network cards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from boxcheck.checks.wording import broken_bound, counted, judged, listed, not_read, wish_of
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Unread
from boxcheck.probes.network import ETHERNET_CLASS, Network
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, skipped

CARDS = limit(
    "nic.cards", str, "in", "", "Network functions that must be there: `8086:1563 x2`; alternatives with `|` between.",
)
PORTS = limit(
    "nic.ports", int, "ge", "ports", "Ethernet functions on the PCI bus, one a port on most cards.", low=0, high=64,
)
HELP = ("lspci -nnd ::0200 shows which are there; reseat the card, or look for a switched-off one in the BIOS",)

_ENTRY = re.compile(r"(?P<ids>[0-9a-f]{4}:[0-9a-f]{4}(?:\|[0-9a-f]{4}:[0-9a-f]{4})*)(?: x(?P<count>\d{1,2}))?")


def parse_card(entry: str) -> tuple[tuple[str, ...], int] | None:
    """`14e4:16d8|8086:1563 x2` -> ids and how many functions of them; None for anything else."""
    match = _ENTRY.fullmatch(entry.strip().lower())
    return (tuple(match["ids"].split("|")), int(match["count"] or 1)) if match else None


def _missing(entries: Sequence[object], there: Counter[str]) -> list[str]:
    """What of a list of cards is not there, in words."""
    missing = []
    for entry in entries:
        card = parse_card(str(entry))
        if card is None:
            missing.append(f"{entry} (not of the form 8086:1563 x2)")
            continue
        ids, count = card
        found = sum(there[pci_id] for pci_id in ids)
        if found < count:
            missing.append(f"{' or '.join(ids)}: {found} of {count}")
    return missing


def _shown(entry: str, there: Counter[str]) -> str:
    """`2 of 8086:1563 or 14e4:16d8`, as they were found."""
    card = parse_card(entry)
    return entry if card is None else f"{sum(there[pci_id] for pci_id in card[0])} of {' or '.join(card[0])}"


@check("nic.present", reads=[Network], limits=[CARDS, PORTS])
def present(network: Network, want: Profile) -> Iterator[Finding]:
    """A network card or port that the box has is not there.

    Why it matters: a dead OCP or onboard controller shows itself when the box is already in the rack.
    What to do: `lspci -d ::0200`; look for a BIOS switch of the onboard controller; reseat an OCP card.
    Not a fault: a port without a cable. Which ports have a link, and how fast, is told by -v and not judged.
    By hand: lspci -nnd ::0200
    """
    cards, ports = want.limit(CARDS), want.limit(PORTS)
    if cards is None and ports is None:
        yield skipped(BOX, f"the profile sets no {CARDS} and no {PORTS}")
        return
    evidence = ("/sys/bus/pci/devices",)
    if network.unreadable is not None:
        yield not_read(BOX, network.unreadable, evidence=evidence)
        return
    there = Counter(controller.pci_id for controller in network.controllers)
    notes = _links(network)
    if cards is not None:
        yield _cards(cards, there, notes)
    if ports is not None:
        ethernet = [item for item in network.controllers if item.class_code >> 8 == ETHERNET_CLASS]
        yield judged(
            BOX, len(ethernet), ports,
            f"{counted(len(ethernet), 'Ethernet function')} on the PCI bus, {broken_bound(len(ethernet), ports)}",
            evidence=evidence, cause="nic-missing:", title="a network port is missing",
            help=HELP, notes=notes)


def _links(network: Network) -> tuple[str, ...]:
    """Which ports have a link, and how fast; nothing where that was not read."""
    if isinstance(network.ports, Unread) or any(isinstance(port.state, Unread) for port in network.ports):
        return ()
    up = [port for port in network.ports if port.state == "up"]
    names = listed(f"{port.name} {f'{port.speed_mbps} Mbit/s' if port.speed_mbps else 'up'}" for port in up)
    return (f"{len(up)} of {counted(len(network.ports), 'port')} up: {names}",)


def _cards(bound: Limit, there: Counter[str], notes: tuple[str, ...]) -> Finding:
    for demanded, outcome in ((bound.must, Outcome.FAIL), (bound.should, Outcome.MARGINAL)):
        missing = _missing(demanded or (), there)
        if missing:
            make = failed if outcome is Outcome.FAIL else marginal
            return make(
                BOX, f"missing: {listed(missing)}", measured=Quantity(len(missing), "cards"), limit=bound,
                evidence=("/sys/bus/pci/devices",), cause="nic-missing:", title="a network card is missing",
                help=HELP)
    here = listed(_shown(str(entry), there) for entry in wish_of(bound))
    return passed(BOX, f"every network card is there: {here}", measured=Quantity(0, "cards"), limit=bound, notes=notes)
