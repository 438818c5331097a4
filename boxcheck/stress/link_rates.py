"""Error rates per bit of a direction of a link, with exact bounds. Pure.

A count of independent errors is Poisson; its one-sided bounds are chi-square quantiles (Garwood 1936, see
boxcheck.poisson). No error in N bits says that the rate is below 2.996/N at 95 %: zero is a bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from boxcheck.poisson import lower, upper
from boxcheck.stress.link_ledger import Direction

CONFIDENCE = 0.95


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Errors per bit of one direction. Each bound holds by itself at 95 %."""

    at_most: float | None
    """Over the bits of verified payloads. None where there may be more errors than were counted, or no bits."""
    at_least: float | None
    """Over the most bits that the link can have moved; None where these are not known."""
    middle: float | None
    """Errors that were counted over the bits of payloads."""


def rate_of(one: Direction) -> Rate | None:
    """None where the errors of the direction are not known, or where none were counted and more may have been."""
    if one.unread is not None and not one.errors:
        return None
    if one.at_least and not one.errors:
        return None
    whole, bits = one.unread is None and not one.at_least, one.payload_bits
    return Rate(
        at_most=upper(one.errors, CONFIDENCE) / bits if whole and bits else None,
        at_least=lower(one.proven_errors, CONFIDENCE) / one.most_bits if one.most_bits else None,
        middle=one.errors / bits if bits else None)


def bits_needed(errors: int, ber: float) -> float:
    """Bits that must have crossed with so many errors to show at 95 % that the rate is below `ber`."""
    return upper(errors, CONFIDENCE) / ber


def seconds_to_show(one: Direction, ber: float) -> float | None:
    """How much longer, at the pace so far and without a further error, until the rate is shown to be below `ber`. 0
    where it is; None where it never will be by going on: errors uncounted, no traffic, or a rate as high as that."""
    rate = rate_of(one)
    if rate is None or rate.at_most is None or not one.seconds:
        return None
    left = bits_needed(one.errors, ber) - one.payload_bits
    if left > 0 and rate.middle is not None and rate.middle >= ber:
        return None
    return max(0.0, left) * one.seconds / one.payload_bits


def is_shown(one: Direction, ber: float) -> bool:
    """Whether the rate is shown to be below `ber` at 95 %."""
    rate = rate_of(one)
    return rate is not None and rate.at_most is not None and rate.at_most <= ber


def is_above(one: Direction, ber: float) -> bool:
    """Whether the rate is proven to be above `ber` at 95 %."""
    rate = rate_of(one)
    return rate is not None and rate.at_least is not None and rate.at_least > ber


def counts_in_words(one: Direction) -> str:
    """`3 BadTLP at 0000:41:00.0, 1 Timeout at 0000:40:01.1`."""
    ends: tuple[tuple[Mapping[str, int], str | None], ...] = (
        (one.received, one.hop.receiver(one.toward)), (one.unanswered, one.hop.sender(one.toward)))
    told = [f"{' and '.join(f'{number} {name}' for name, number in counts.items())} at {end}"
            for counts, end in ends if counts]
    return ", ".join(told)


def per_bit(rate: float) -> str:
    """Rounded up in the second digit, so that what is said of a bound holds: `3.0e-14`."""
    if rate <= 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return f"{math.ceil(rate / unit * (1 - 1e-9)) * unit:.1e}"


def bounds_in_words(one: Direction) -> str:
    """`below 3.0e-14 per bit at 95 %`, `2.0e-13 to 1.8e-12 per bit at 95 %`, `at least 2.0e-13 per bit at 95 %`."""
    rate = rate_of(one)
    if rate is None or (rate.at_most is None and not rate.at_least):
        return "no bound on its rate"
    if not one.errors and rate.at_most is not None:
        return f"below {per_bit(rate.at_most)} per bit at 95 %"
    low = f"{rate.at_least:.1e}" if rate.at_least else ""
    if rate.at_most is None:
        return f"at least {low} per bit at 95 %"
    high = f"{per_bit(rate.at_most)} per bit at 95 %"
    return f"{low} to {high}" if low else f"below {high}"
