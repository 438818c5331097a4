"""Every link of the box in one order, the worst first: by error rate, by lanes and speed lost, by margins. Pure.

A link of which nothing is counted is neither good nor bad: it stands last, as unread, and is never called clean. What
is known of it otherwise, that it is down or has lost lanes, still counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from boxcheck.checks.wording import counted, duration, listed
from boxcheck.riser.evidence import LaneMargin, Look, Way
from boxcheck.riser.margining.outline import ORDER as GRADES
from boxcheck.riser.margining.outline import weakest_of
from boxcheck.riser.measuring.bounds import (
    BITS_A_TERABYTE,
    SPECIFIED_BER,
    TOWARD,
    Call,
    Rounding,
    broken,
    call_link,
    call_way,
    direction_of,
    number,
    per_rate,
    pooled,
    showing,
)
from boxcheck.stress.link_rates import is_shown, rate_of
from boxcheck.stress.link_routes import WAYS, Toward

Standing = Literal["down", "failing", "marginal", "short", "weak", "bounded", "half-read", "unread", "empty"]
"""`down`: a card is felt and there is no link, or the link broke off. `short`: lanes or speed are missing. `weak`: a
lane's margin is below what the specification asks for. `half-read`: one direction is bounded, the other unread.
`empty`: nothing is felt in the slot."""
ORDER: Mapping[Standing, int] = {
    "down": 0, "failing": 1, "marginal": 2, "short": 3, "weak": 4, "bounded": 5, "half-read": 6, "unread": 7,
    "empty": 8}
WIDTH = 80


class RankedWay(msgspec.Struct, frozen=True, kw_only=True):
    """One direction. Rates are errors per terabyte of payload."""

    toward: Toward
    call: Call
    errors: int
    terabytes: float
    per_terabyte: float | None
    """Counted; None where no payload is known to have crossed it, or its errors are unread."""
    at_least_per_terabyte: float | None
    at_most_per_terabyte: float | None
    """Bounds, each at 95 %; None where there is none."""
    says: str


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """One link and its place."""

    place: int
    slot: str
    standing: Standing
    says: str
    ways: tuple[RankedWay, ...]
    width: int | None = None
    full_width: int | None = None
    speed_gts: float | None = None
    full_speed_gts: float | None = None
    dropped: int = 0
    weakest: LaneMargin | None = None
    """The lane with the worst grade, and of those with one grade that with the narrowest eye."""
    celsius: float | None = None
    also_short: str = ""
    """Lanes or speed that were missing for a part of the time: `x8 of x16, 16 GT/s`."""
    lacks: tuple[str, ...] = ()
    """Why it was not looked at as a whole, though errors were counted: then nothing good is said of it."""
    notes: tuple[str, ...] = ()
    """What else is to be known of how it was measured."""

    @property
    def is_short(self) -> bool:
        return bool(self.also_short) or _part(self.width, self.full_width) < 1 or _part(
            self.speed_gts, self.full_speed_gts) < 1

    @property
    def has_failed(self) -> bool:
        """Whatever stands first: it is down, damaged more than is allowed, lost lanes or speed, or a lane's eye is too
        small."""
        return self.standing in ("down", "failing", "short") or self.is_short or (
            self.weakest is not None and self.weakest.grade == "fail")

    @property
    def is_whole(self) -> bool:
        """Both directions were read, at a width and a speed that are known, for the whole time, and long enough to show
        that one without an error is as good as is allowed."""
        return (self.standing in ("bounded", "marginal", "weak", "short", "failing") and not self.lacks
                and {way.toward for way in self.ways} == set(WAYS)
                and not any(way.call == "unread" for way in self.ways))


def rank(looks: Iterable[Look]) -> tuple[Ranked, ...]:
    """The links of these looks, each once. Looks at a link as it is used go before those under forced conditions."""
    by_slot: dict[str, list[Look]] = {}
    for look in looks:
        by_slot.setdefault(look.slot, []).append(look)
    found = [_ranked(slot, _as_used(of)) for slot, of in by_slot.items()]
    found.sort(key=_key)
    return tuple(msgspec.structs.replace(one, place=at) for at, one in enumerate(found, 1))


def _as_used(looks: Sequence[Look]) -> Sequence[Look]:
    used = [look for look in looks if look.conditions.speed_gts is None and not look.conditions.aspm_off
            and not look.conditions.power_capped]
    return used or looks


def _ranked(slot: str, looks: Sequence[Look]) -> Ranked:
    """By the worst of the speeds that the link ran at; windows at the same speed are one. What the others add, lanes
    that were missing or errors that nobody read, is kept beside it."""
    states: dict[tuple[float | None, int | None], list[Look]] = {}
    margins_alone = [
        look for look in looks if (look.margins or look.cut_short) and not look.ways and look.active is None]
    for look in [look for look in looks if look not in margins_alone] or looks:
        states.setdefault((look.speed_gts, look.width), []).append(look)
    every = [_joined([*of, *(look for look in margins_alone if look not in of)]) for of in states.values()]
    of_slot = [_of_state(slot, look) for look in every]
    unread = [_carried_unread(one, of) for one, of in zip(of_slot, states.values(), strict=True)]
    at = min(range(len(of_slot)), key=lambda at: _state_key(of_slot[at], bool(unread[at])))
    worst = of_slot[at]
    others = [(one, blind) for nth, (one, blind) in enumerate(zip(of_slot, unread, strict=True)) if nth != at]
    short = "" if worst.is_short else next((link_words(one) for one, _ in others if one.is_short), "")
    lacks = dict.fromkeys(look.cut_short for look in looks if look.cut_short)
    lacks |= dict.fromkeys(f"{link_words(one)}: {way.says}" for one, blind in others for way in blind)
    lacks |= dict.fromkeys(filter(None, (_unknown(worst), _not_shown(worst, every[at]))))
    return msgspec.structs.replace(
        worst, weakest=_weakest(tuple(margin for look in looks for margin in look.margins)), also_short=short,
        says=f"for a time it was {short}; {worst.says}" if short else worst.says, lacks=tuple(lacks),
        notes=tuple(dict.fromkeys(note for look in looks for note in look.notes if note not in lacks)))


def _carried_unread(one: Ranked, looks: Sequence[Look]) -> tuple[RankedWay, ...]:
    """Directions that carried payload and whose errors nobody read. Without payload, such as at rest between two pieces
    of work, nothing was to be counted."""
    return tuple(way for way in one.ways if way.call == "unread" and any(
        of.bits for look in looks for of in look.ways if of.toward == way.toward))


def _state_key(one: Ranked, unread: bool) -> tuple[float, ...]:
    """As `_key`, and what carried payload unread goes before what is bounded: a short clean time hides no long one."""
    blind = unread and one.standing in ("half-read", "unread")
    return (ORDER["bounded"] - 0.5 if blind else float(ORDER[one.standing]), *_key(one)[1:])


def _unknown(one: Ranked) -> str:
    """Which of lanes and speed cannot be told to be all that they should be, of a link whose errors were counted."""
    if one.standing in ("down", "empty", "unread"):
        return ""
    unread = [name for name, value in (("width", one.width), ("speed", one.speed_gts)) if not value]
    if unread:
        return f"its {listed(unread)} {'was' if len(unread) == 1 else 'were'} not read"
    open_ = [name for name, value in (("width", one.full_width), ("speed", one.full_speed_gts)) if not value]
    return f"what its {listed(open_)} should be was not read" if open_ else ""


def _not_shown(one: Ranked, look: Look) -> str:
    """Which directions without an error carried too little to show that their rate is as low as is allowed."""
    if one.standing not in ("bounded", "marginal", "weak"):
        return ""
    called = {way.toward: way.call for way in one.ways}
    few = [way for way in look.ways
           if called[way.toward] == "bounded" and not is_shown(direction_of(way), SPECIFIED_BER)]
    if not few:
        return ""
    more = max((showing(way)[0].more_seconds or 0.0 for way in few), default=0.0)
    takes = f": it takes {duration(max(1.0, more))} more of this load (--seconds)" if more else ""
    toward = listed([TOWARD[way.toward] for way in few])
    return f"a rate below {per_rate(SPECIFIED_BER)} is not shown yet {toward}{takes}"


def _weakest(margins: Sequence[LaneMargin]) -> LaneMargin | None:
    """Of lanes of which none was measured to its end the first."""
    return weakest_of(margins) or next(iter(margins), None)


def _joined(looks: Sequence[Look]) -> Look:
    """Looks at one link at one speed as one."""
    ways = tuple(way for toward in WAYS if (
        way := pooled(way for look in looks for way in look.ways if way.toward == toward)) is not None)
    uncorrectable: dict[str, int] = {}
    for look in looks:
        for name, count in look.uncorrectable.items():
            uncorrectable[name] = uncorrectable.get(name, 0) + count
    heat = [look.celsius for look in looks if look.celsius is not None]
    of = next((look for look in reversed(looks) if look.ways), looks[-1])
    return msgspec.structs.replace(
        of, ways=ways, uncorrectable=uncorrectable, dropped=sum(look.dropped for look in looks),
        celsius=max(heat, default=None), wrong_words=sum(look.wrong_words for look in looks),
        margins=tuple(margin for look in looks for margin in look.margins))


def _of_state(slot: str, look: Look) -> Ranked:
    called = call_link(look)
    ways = tuple(_way(way) for way in look.ways)
    one = Ranked(
        place=0, slot=slot, standing="unread", says=called.says, ways=ways, width=look.width,
        full_width=look.full_width, speed_gts=look.speed_gts, full_speed_gts=look.full_speed_gts, dropped=look.dropped,
        weakest=_weakest(look.margins), celsius=look.celsius)
    standing = _standing(one, look, called.call)
    says = called.says
    if standing == "empty":
        says = "nothing is felt in the slot and there is no link"
    elif standing == "down" and look.active is False:
        felt = "a card is felt in the slot and" if look.present else "whether a card is felt was not read;"
        says = f"{felt} there is no link{'; ' + '; '.join(broken(look)) if broken(look) else ''}"
    elif one.is_short:
        says = f"{link_words(one)}; {says}"
    if standing == "weak" and one.weakest is not None:
        says = f"lane {one.weakest.lane} at receiver {one.weakest.receiver} is graded {one.weakest.grade}; {says}"
    return msgspec.structs.replace(one, standing=standing, says=says)


def _standing(one: Ranked, look: Look, call: Call) -> Standing:
    if look.active is False and look.present is False and not look.dropped:
        return "empty"
    if look.dropped or look.active is False:
        return "down"
    if call == "failing":
        return "failing"
    if call == "marginal":
        return "marginal"
    if one.is_short:
        return "short"
    if any(margin.grade in ("fail", "marginal") for margin in look.margins):
        return "weak"
    if call == "bounded":
        return "bounded"
    return "half-read" if any(way.call == "bounded" for way in one.ways) else "unread"


def _way(way: Way) -> RankedWay:
    rate, called = rate_of(direction_of(way)), call_way(way)
    known = way.bits > 0 and (way.unread is None or bool(way.errors))
    return RankedWay(
        toward=way.toward, call=called.call, errors=way.errors, terabytes=way.bits / BITS_A_TERABYTE, says=called.says,
        per_terabyte=way.errors / way.bits * BITS_A_TERABYTE if known else None,
        at_least_per_terabyte=rate.at_least * BITS_A_TERABYTE if rate is not None and rate.at_least else None,
        at_most_per_terabyte=rate.at_most * BITS_A_TERABYTE if rate is not None and rate.at_most is not None else None)


def _key(one: Ranked) -> tuple[float, ...]:
    """Smaller is worse."""
    low = max((way.at_least_per_terabyte or 0.0 for way in one.ways), default=0.0)
    counts = max((way.per_terabyte or way.at_least_per_terabyte or 0.0 for way in one.ways), default=0.0)
    high = max((way.at_most_per_terabyte or 0.0 for way in one.ways), default=0.0)
    rate = {"failing": low, "marginal": counts}.get(one.standing, 0.0)
    short = _part(one.width, one.full_width) * _part(one.speed_gts, one.full_speed_gts)
    grade = float(GRADES.index(one.weakest.grade)) if one.weakest is not None else float(len(GRADES))
    eye = _eye(one.weakest) if one.weakest is not None else 1.0
    return (float(ORDER[one.standing]), -rate, -float(one.dropped), short, grade, eye, -counts, -high)


def _part(value: float | None, full: float | None) -> float:
    """What is there of what should be; 1 where either is not known."""
    return min(1.0, value / full) if value and full else 1.0


def _eye(margin: LaneMargin) -> float:
    """Its width in unit intervals, twice the smaller side; of one that was not measured, more than any can have."""
    sides = [side for side in (margin.left_ui, margin.right_ui) if side is not None]
    return 2 * min(sides) if sides else 1.0


def link_words(one: Ranked) -> str:
    """`x16 16 GT/s`; `x8 of x16, 8 of 16 GT/s` where something is missing; `no link`."""
    if one.width is None and one.speed_gts is None:
        return "no link" if one.standing in ("down", "empty") else "link not read"
    lanes = f"x{one.width}" if one.width else "x?"
    speed = f"{one.speed_gts:g}" if one.speed_gts is not None else "?"
    lost_lanes = f" of x{one.full_width}" if _part(one.width, one.full_width) < 1 else ""
    lost_speed = f" of {one.full_speed_gts:g}" if _part(one.speed_gts, one.full_speed_gts) < 1 else ""
    return f"{lanes}{lost_lanes}{',' if lost_lanes or lost_speed else ''} {speed}{lost_speed} GT/s"


def table(ranked: Sequence[Ranked]) -> tuple[str, ...]:
    """Lines of at most 80 columns, in plain letters: errors per TB of payload each way, with their bounds."""
    if not ranked:
        return ("no link was measured",)
    rows = [("", "slot", "lanes", "GT/s", TOWARD["card"], TOWARD["host"], "")]
    for one in ranked:
        cells = {way.toward: rate_words(way) for way in one.ways}
        rows.append((
            str(one.place), _ascii(one.slot), _of(one.width, one.full_width), _of(one.speed_gts, one.full_speed_gts),
            cells.get("card", "-"), cells.get("host", "-"), one.standing))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    room = max(8, WIDTH - 2 * len(widths) - sum(widths) + widths[1])
    lines = []
    for row in rows:
        slot = row[1] if len(row[1]) <= room else f"{row[1][:room - 2]}.."
        cells_of = (row[0].rjust(widths[0]), slot.ljust(min(widths[1], room)),
                    *(text.ljust(width) for text, width in zip(row[2:], widths[2:], strict=True)))
        lines.append(f"  {'  '.join(cells_of)}".rstrip())
    lines += ["", "  errors per TB of payload; in brackets, after < and after >= bounds at 95 %"]
    blind = [one for one in ranked if one.standing in ("unread", "half-read")]
    if blind:
        lines.append(f"  {counted(len(blind), 'link')} not read both ways: nothing follows about errors there")
    return tuple(lines)


def rate_words(way: RankedWay) -> str:
    """`<0.72`, `55 (28-68)`, `>=443`, `unread`, `3 errors` where nothing but a count is known."""
    low, high = way.at_least_per_terabyte, way.at_most_per_terabyte
    if way.call == "unread":
        return "unread"
    if not way.errors:
        return f"<{_brief(high, 'up')}" if high is not None else "unread"
    if high is None or way.per_terabyte is None:
        return f">={_brief(low, 'down')}" if low else counted(way.errors, "error")
    if not low:
        return f"{_brief(way.per_terabyte)} (<{_brief(high, 'up')})"
    return f"{_brief(way.per_terabyte)} ({_brief(low, 'down')}-{_brief(high, 'up')})"


def _brief(value: float, rounding: Rounding = "near") -> str:
    """At most six letters: `3.4k`, `12M`, `2e9`."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if 999 * unit >= value >= unit:
            return f"{number(value / unit, rounding)}{letter}"
    return f"{value:.0e}".replace("e+0", "e") if value > 1e9 else number(value, rounding)


def _of(value: float | None, full: float | None) -> str:
    """`16`; `8/16` where something is missing; `-` where it is not known."""
    if value is None:
        return "-"
    return f"{value:g}/{full:g}" if full and value < full else f"{value:g}"


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
