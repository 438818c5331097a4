"""What was seen of a link in one boot, in words: errors over payload, lost lanes or speed, what conditions change.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from boxcheck.riser.evidence import Conditions, Look
from boxcheck.riser.measuring.bounds import BITS_A_TERABYTE, direction_of, number, pooled, size
from boxcheck.stress.link_rates import rate_of
from boxcheck.stress.link_routes import Toward

BACK: dict[Toward, Toward] = {"card": "host", "host": "card"}


def errors_of(looks: Sequence[Look]) -> int:
    return sum(way.errors for look in looks for way in look.ways)


def bits_of(looks: Sequence[Look]) -> float:
    """Payload in directions whose errors are known."""
    return sum(way.bits for look in looks for way in look.ways if way.unread is None)


def as_used(looks: Sequence[Look]) -> list[Look]:
    """Those at the speed that the link trained to."""
    return [look for look in looks if look.conditions.speed_gts is None]


def bounded(looks: Sequence[Look]) -> str:
    """` (fewer than 0.56 per TB at 95 %)` of looks without an error: zero is a bound. What is read of one direction
    alone says so. Empty where there were errors; where there may have been some, that is said."""
    whole = pooled(way for look in looks for way in look.ways if way.unread is None)
    if whole is None or errors_of(looks):
        return ""
    one_way = {way.toward for look in looks for way in look.ways if way.unread is None}
    where = f" toward the {whole.toward}" if len(one_way) == 1 else ""
    if whole.at_least:
        return f"{where} (no bound: {whole.at_least[0]})"
    rate = rate_of(direction_of(whole))
    if rate is None or rate.at_most is None:
        return where
    return f"{where} (fewer than {number(rate.at_most * BITS_A_TERABYTE, 'up')} per TB at 95 %)"


def seen(looks: Sequence[Look]) -> str:
    """`4 066 errors in 1.2 TB, x8 of x16`, `47 errors in 5.4 TB over both ways of 2 looks`, `0 errors in 1.2 TB`,
    `nothing answered`, `no error count was read`. Bits are those of both directions together."""
    own = as_used(looks) or list(looks)
    absent = next((look for look in own if look.active is False or look.present is False), None)
    if absent is not None:
        if absent.present is False:
            return "the slot feels no card"
        return "a card is felt and no link comes up" if absent.present else "no link comes up"
    parts = []
    counted = [look for look in own if any(way.unread is None or way.errors for way in look.ways)]
    errors, bits = errors_of(counted), bits_of(counted)
    if counted:
        more = any(way.at_least or (way.unread and way.errors) for look in counted for way in look.ways)
        told = f"{number(errors) if errors > 99 else errors} error{'' if errors == 1 else 's'}"
        ways = {way.toward for look in counted for way in look.ways if way.bits}
        of = f" over {'both ways of ' if len(ways) > 1 else ''}{len(counted)} looks" if len(counted) > 1 else ""
        over = f" in {size(bits)}{of}{bounded(counted)}" if bits else ""
        parts.append(f"{'at least ' if more and errors else ''}{told}{over}")
    elif not any(look.replays for look in own):
        parts.append("no error count was read")
    replays = sum(look.replays or 0 for look in own)
    if replays:
        parts.append(f"{replays} replay{'' if replays == 1 else 's'}")
    narrow = next((look for look in own if look.width and look.full_width and look.width < look.full_width), None)
    if narrow is not None:
        parts.append(f"x{narrow.width} of x{narrow.full_width}")
    slow = next((look for look in own if look.speed_gts and look.full_speed_gts
                 and look.speed_gts < look.full_speed_gts), None)
    if slow is not None:
        parts.append(f"{slow.speed_gts:g} of {slow.full_speed_gts:g} GT/s")
    dropped = sum(look.dropped for look in own)
    if dropped:
        parts.append(f"went down {'once' if dropped == 1 else f'{dropped} times'}")
    return ", ".join(parts)


def _rate(looks: Sequence[Look]) -> tuple[int, float]:
    return errors_of(looks), bits_of(looks)


def _told(looks: Sequence[Look]) -> str:
    errors, bits = _rate(looks)
    return f"{number(errors) if errors > 99 else errors} in {size(bits)}" if bits else f"{errors}"


def _is_fewer(fewer: Sequence[Look], more: Sequence[Look], factor: float = 10.0) -> bool:
    """Whether the errors of `fewer` are clearly rarer: as in `more`, five or more would have been seen."""
    few, over = _rate(fewer)
    many, under = _rate(more)
    if not over or not under:
        return False
    expected = many * over / under
    return expected >= 5 and few * factor < expected


CONTRASTS: tuple[tuple[str, str, object, object, str, str], ...] = (
    ("latency", "aspm_off", True, False, "with ASPM off", "ASPM"),
    ("neighbours", "neighbours", "quiet", "loaded", "while its neighbours are quiet", "power or crosstalk"),
    ("power", "power_capped", True, False, "with power capped", "power"),
    ("heat", "hot", False, True, "cold", "heat"),
)
"""(kind, condition, its mild value, its harsh one, in words, what it means where the mild one is clean)."""


def _contrasted(looks: Sequence[Look], field: str, mild: object, harsh: object) -> tuple[list[Look], list[Look]]:
    """Looks that differ in one condition alone: (those where it is mild, those where it is harsh)."""
    groups: dict[Conditions, tuple[list[Look], list[Look]]] = {}
    for look in looks:
        value = getattr(look.conditions, field)
        if value in (mild, harsh):
            rest = msgspec.structs.replace(look.conditions, **{field: None})
            groups.setdefault(rest, ([], []))[value == harsh].append(look)
    both = [pair for pair in groups.values() if pair[0] and pair[1]]
    return [look for pair in both for look in pair[0]], [look for pair in both for look in pair[1]]


def conditions_told(looks: Sequence[Look]) -> list[tuple[str, str]]:
    """(kind of finding, what was seen and what it speaks for), for the looks at a link in one boot."""
    found: list[tuple[str, str]] = []
    full = as_used(looks)
    slow = [look for look in looks if look.conditions.speed_gts is not None and look.full_speed_gts
            and look.conditions.speed_gts < look.full_speed_gts]
    errors = errors_of(full)
    if slow and errors:
        lowest = sorted({look.conditions.speed_gts or 0.0 for look in slow})
        at = f"{' and '.join(f'{speed:g}' for speed in lowest)} GT/s"
        if _is_fewer(slow, full):
            found.append(("signal", f"clean at {at} ({_told(slow)}) and damaged at full speed ({_told(full)}): the "
                          "signal path, not power and not a setting"))
        elif errors_of(slow):
            found.append((
                "contact", f"damaged at {at} ({_told(slow)}) as at full speed ({_told(full)}): contact or power"))
    for kind, field, mild, harsh, where, means in CONTRASTS:
        good, bad = _contrasted(full, field, mild, harsh)
        if bad and good and _is_fewer(good, bad):
            found.append((kind, f"errors are gone {where} ({_told(good)}, else {_told(bad)}): {means}"))
    return [*found, *_classes(full), *_directions(full)]


def _classes(looks: Sequence[Look]) -> list[tuple[str, str]]:
    received = sum(sum(way.received.values()) for look in looks for way in look.ways)
    late = sum(count for look in looks for way in look.ways for name, count in way.unanswered.items())
    both = all(way.unread is None for look in looks for way in look.ways)
    if late >= 3 and not received and both:
        return [("late",
                 f"{late} Timeout and no damaged packet at either end: packets come late, and are not damaged")]
    return []


def _directions(looks: Sequence[Look]) -> list[tuple[str, str]]:
    counts: dict[str, int] = {"card": 0, "host": 0}
    bits: dict[str, float] = {"card": 0.0, "host": 0.0}
    for look in looks:
        for way in look.ways:
            counts[way.toward] += sum(way.received.values())
            bits[way.toward] += way.bits if way.unread is None else 0.0
    for bad, good in BACK.items():
        if bits[good] and counts[bad] >= 5 and counts[good] * 10 < counts[bad] * bits[good] / (bits[bad] or bits[good]):
            to = {"card": "toward the card", "host": "toward the host"}
            return [("direction", f"bits {to[bad]} are damaged ({counts[bad]}), those {to[good]} are not "
                     f"({counts[good]}): one direction's lanes, and no supply")]
    return []
