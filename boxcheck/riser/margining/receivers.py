"""The receivers of a link: which there are, whose registers reach them, and which way their bits go. Pure.

Each direction of a link has one receiver without retimers; each retimer cuts the link in two segments, and each segment
has a receiver at both of its ends. B and D are in the sides of retimers that face the host, so the bits that reach them
come from the host; C and E are in the sides that face the card.
"""

from __future__ import annotations

from boxcheck.model import Unread
from boxcheck.riser.links.ports import End, LinkPair, Ports
from boxcheck.riser.margining.commands import RECEIVERS, Receiver
from boxcheck.stress.link_routes import Toward

LINK_STATUS_2 = 0x32
RETIMER, SECOND_RETIMER = 1 << 6, 1 << 7


def retimers(ports: Ports, pair: LinkPair) -> int:
    """How many the port detected (LnkSta2.6 and .7). 0 as well where it cannot detect any: then their receivers
    answer to nobody here."""
    word = ports.read(pair.port.bdf, pair.port.express + LINK_STATUS_2, 2)
    if isinstance(word, Unread) or word == 0xFFFF:
        return 0
    return bool(word & RETIMER) + bool(word & SECOND_RETIMER)


def receivers(retimer_count: int) -> tuple[Receiver, ...]:
    """In order from the host to the card."""
    return (*RECEIVERS[:1 + 2 * retimer_count], "F")


def end_of(pair: LinkPair, receiver: Receiver) -> End | None:
    """Whose registers carry its commands: F is reached through the card's function 0, all others through the port."""
    return pair.card if receiver == "F" else pair.port


def toward(receiver: Receiver) -> Toward:
    """Where the bits go that this receiver gets."""
    return "card" if receiver in ("B", "D", "F") else "host"


def where(receiver: Receiver, retimer_count: int) -> str:
    """`Rx A, in the port: card to host`; with retimers the segment is named."""
    second = "second retimer" if retimer_count > 1 else "retimer"
    first = "first retimer" if retimer_count > 1 else "retimer"
    beyond = {0: "", 1: " from the retimer", 2: " from the first retimer"}[retimer_count]
    last = {0: "", 1: " from the retimer", 2: " from the second retimer"}[retimer_count]
    return {
        "A": f"Rx A, in the port: bits toward the host{beyond}",
        "B": f"Rx B, in the {first}: bits toward the card from the port",
        "C": f"Rx C, in the {first}: bits toward the host from the {'second retimer' if retimer_count > 1 else 'card'}",
        "D": f"Rx D, in the {second}: bits toward the card from the first retimer",
        "E": f"Rx E, in the {second}: bits toward the host from the card",
        "F": f"Rx F, in the card: bits toward the card{last}",
    }[receiver]
