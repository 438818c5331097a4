"""What a measurement proves of a link, in words: bounds on its error rate, how much longer shows more, and the call.

The arithmetic is that of burn-in (boxcheck.stress.link_rates): errors are Poisson, bounds are exact and one-sided at
95 %, from above over the payload that is known to have crossed, from below over the most that can have crossed. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from boxcheck.checks.wording import counted, duration
from boxcheck.model import Bdf
from boxcheck.riser.evidence import Look, Way
from boxcheck.stress.link_ledger import Direction
from boxcheck.stress.link_rates import (
    bits_needed,
    bounds_in_words,
    is_above,
    is_shown,
    rate_of,
    seconds_to_show,
)
from boxcheck.stress.link_routes import Hop, Toward

SPECIFIED_BER = 1e-12
"""PCI Express Base Specification: a lane at 2.5 to 32 GT/s damages less than one bit in 1e12."""
SHOWN_BER = (1e-12, 1e-13, 1e-15)
"""Rates of which it is said how much longer it takes to show that a direction is below them."""
BITS_A_TERABYTE = 8e12
TOWARD: Mapping[Toward, str] = {"card": "to the card", "host": "from the card"}
REFUSED = frozenset(("UnsupReq", "ACSViol", "CmpltAbrt", "UnxCmplt", "AtomicOpBlocked", "PoisonTLPBlocked",
                     "DMWrReqBlocked", "TLPXlatBlocked", "TLPBlockedErr", "BlockedTLP"))
"""Uncorrectable errors of requests that somebody refused: those of a driver or of settings, never of the wire."""
_NOWHERE = Hop(port=Bdf("port"), card=Bdf("card"))

Call = Literal["failing", "marginal", "bounded", "unread"]
"""`failing`: proven above the specification, or broken off. `marginal`: damaged, and not proven to be above it.
`bounded`: no error, and so many bits that a bound from above follows. `unread`: nothing follows about its errors."""
GRAVITY: Mapping[Call, int] = {"failing": 0, "marginal": 1, "bounded": 2, "unread": 3}


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of a link, or of one direction of it."""

    call: Call
    says: str


def direction_of(way: Way, hop: Hop = _NOWHERE) -> Direction:
    """A direction as the ledger of a burn-in has it, so that there is one arithmetic for both."""
    return Direction(
        hop=hop, toward=way.toward, payload_bits=int(way.bits), seconds=way.seconds, received=way.received,
        most_bits=None if way.most_bits is None else max(way.most_bits, way.bits), unanswered=way.unanswered,
        at_least=way.at_least, unread=way.unread)


def pooled(ways: Iterable[Way]) -> Way | None:
    """Several windows of one direction, of the same link at the same speed, as one. The bits of a window whose errors
    are not known prove nothing and are left out; its errors are not, and make the sum a lower bound."""
    every = tuple(ways)
    if not every:
        return None
    read = [way for way in every if way.unread is None]
    received: dict[str, int] = {}
    unanswered: dict[str, int] = {}
    for way in every:
        for into, counts in ((received, way.received), (unanswered, way.unanswered)):
            for name, count in counts.items():
                into[name] = into.get(name, 0) + count
    most = [way.most_bits for way in every if way in read or way.errors]
    at_least = dict.fromkeys(why for way in every for why in way.at_least)
    at_least |= dict.fromkeys(way.unread for way in every if way.unread is not None and way.errors and read)
    return Way(
        toward=every[0].toward, bits=sum(way.bits for way in read), seconds=sum(way.seconds for way in read or every),
        most_bits=None if None in most else sum(bits for bits in most if bits is not None), received=received,
        unanswered=unanswered, at_least=tuple(at_least), unread=None if read else every[-1].unread,
        lanes=tuple(sorted({lane for way in every for lane in way.lanes})))


Rounding = Literal["near", "up", "down"]


def number(value: float, rounding: Rounding = "near") -> str:
    """`3 388`, `55`, `1.4`, `0.72`, `0.0024`: two or more digits, thousands apart. A bound is rounded so that what is
    said of it holds: one from above up, one from below down."""
    value = rounded(value, rounding)
    if value >= 99.5:
        return f"{value:,.0f}".replace(",", " ")
    if value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2g}"


def rounded(value: float, rounding: Rounding) -> float:
    """To two digits, or to a whole number where that has more."""
    if value <= 0 or rounding == "near":
        return value
    unit = min(1.0, 10.0 ** (math.floor(math.log10(value)) - 1))
    parts = value / unit
    return (math.ceil(parts * (1 - 1e-9)) if rounding == "up" else math.floor(parts * (1 + 1e-9))) * unit


def size(bits: float) -> str:
    """`1.2 TB`, `340 GB`, `12 MB` of payload."""
    for unit, name in ((8e12, "TB"), (8e9, "GB"), (8e6, "MB"), (8e3, "kB")):
        if bits >= unit:
            return f"{number(bits / unit)} {name}"
    return f"{bits / 8:.0f} bytes"


def counts(way: Way) -> str:
    """`3 BadTLP at the card, 1 Timeout at the port`: who counted what. Empty where nothing was."""
    receiver, sender = ("card", "port") if way.toward == "card" else ("port", "card")
    told = [
        f"{' and '.join(f'{count} {name}' for name, count in found.items())} at the {end}"
        for found, end in ((way.received, receiver), (way.unanswered, sender)) if found]
    return ", ".join(told)


def terabytes(way: Way) -> str:
    """Errors per terabyte of payload with their bounds; why there is no bound where there is none.

    `0 errors in 4.2 TB (fewer than 0.72 per TB at 95 %)`, `66 errors in 1.2 TB: 55 per TB (44 to 68 at 95 %)`,
    `at least 900 errors in 1.2 TB (at least 710 per TB at 95 %)`.
    """
    if way.unread is not None and not way.errors:
        return f"no bound: {way.unread}"
    over = f" in {size(way.bits)}" if way.bits else ""
    rate = rate_of(direction_of(way))
    if not way.errors:
        if way.at_least:
            return f"no bound: 0 errors counted{over}, and there may have been some ({way.at_least[0]})"
        if rate is None or rate.at_most is None:
            return f"no bound: 0 errors counted in {duration(way.seconds)}, and no payload is known to have crossed it"
        return f"0 errors{over} (fewer than {number(rate.at_most * BITS_A_TERABYTE, 'up')} per TB at 95 %)"
    least = "at least " if way.at_least or way.unread is not None else ""
    plural = "" if way.errors == 1 else "s"
    low = rate.at_least * BITS_A_TERABYTE if rate is not None and rate.at_least else None
    if not way.bits:
        bound = "" if low is None else f", at least {number(low, 'down')} per TB of what it can carry at 95 %"
        return f"{least}{way.errors} error{plural} in {duration(way.seconds)}{bound}"
    if rate is None or rate.at_most is None:
        return (f"{least}{way.errors} error{plural}{over}"
                + ("" if low is None else f" (at least {number(low, 'down')} per TB at 95 %)"))
    high = number(rate.at_most * BITS_A_TERABYTE, "up")
    span = f"{number(low, 'down')} to {high}" if low else f"fewer than {high}"
    return (f"{way.errors} error{plural}{over}: {number(way.errors / way.bits * BITS_A_TERABYTE)} per TB "
            f"({span} at 95 %)")


class Showing(msgspec.Struct, frozen=True, kw_only=True):
    """How far a direction is from being shown to be below a rate at 95 %."""

    ber: float
    more_seconds: float | None
    """Without a further error, at the pace so far. 0: it is shown. None: going on does not show it."""
    more_bits: float | None
    """The same in payload; None for the same reason."""


def showing(way: Way) -> tuple[Showing, ...]:
    """For each rate of SHOWN_BER."""
    one = direction_of(way)
    found: list[Showing] = []
    for ber in SHOWN_BER:
        more = 0.0 if is_shown(one, ber) else seconds_to_show(one, ber)
        bits = None if more is None else max(0.0, bits_needed(one.errors, ber) - one.payload_bits)
        found.append(Showing(ber=ber, more_seconds=more, more_bits=bits))
    return tuple(found)


def per_rate(ber: float) -> str:
    """`1e-12`."""
    return f"{ber:.0e}"


def call_way(way: Way) -> Called:
    """The call on one direction, with the numbers that it is made by."""
    one, toward = direction_of(way), TOWARD[way.toward]
    if way.errors:
        says = f"{toward}: {counts(way)}; {terabytes(way)}, {bounds_in_words(one)}"
        if way.unanswered.get("Rollover"):
            return Called(call="failing", says=f"{says}; a Rollover is a packet that failed four times in a row")
        if is_above(one, SPECIFIED_BER):
            return Called(call="failing", says=f"{says}, above the {per_rate(SPECIFIED_BER)} that PCI Express allows")
        return Called(call="marginal", says=says)
    says = f"{toward}: {terabytes(way)}"
    rate = rate_of(one)
    if rate is None or rate.at_most is None:
        return Called(call="unread", says=says)
    says = f"{says}, {bounds_in_words(one)}"
    more = showing(way)[0].more_seconds
    if more:
        says += f"; {per_rate(SPECIFIED_BER)} takes {duration(max(1.0, more))} more to show"
    return Called(call="bounded", says=says)


def broken(look: Look) -> tuple[str, ...]:
    """What of a link is failing whatever its error rate."""
    found = []
    if look.dropped:
        found.append(f"it went down {'once' if look.dropped == 1 else f'{look.dropped} times'}")
    if look.wrong_words:
        found.append(f"{counted(look.wrong_words, 'word')} arrived wrong")
    grave = {name: count for name, count in look.uncorrectable.items() if not REFUSED & set(name.split())}
    found += [f"{count} {name}" for name, count in grave.items()]
    return tuple(found)


def call_link(look: Look) -> Called:
    """The call on a link: that of its worse direction. One unread direction keeps it from being called bounded."""
    said = [call_way(way) for way in look.ways]
    for toward in TOWARD:
        if look.way(toward) is None:
            said.append(Called(call="unread", says=f"{TOWARD[toward]}: no bound: nothing was read of it"))
    worst = broken(look)
    call: Call = "failing" if worst else min(
        (one.call for one in said if one.call in ("failing", "marginal")), key=lambda call: GRAVITY[call],
        default="unread" if any(one.call == "unread" for one in said) else "bounded")
    ordered = sorted(said, key=lambda one: GRAVITY[one.call])
    return Called(call=call, says="; ".join((*worst, *(one.says for one in ordered))))
