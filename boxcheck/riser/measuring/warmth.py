"""Cards made hot, or found cold, before their links are measured.

An error that comes with heat is that of a contact or of a transmitter's margin; one that goes away with it too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from boxcheck.checks.wording import duration
from boxcheck.riser.measuring.cards import Cards
from boxcheck.riser.measuring.targets import Measurable, Target
from boxcheck.riser.measuring.traffic import Traffic

COLD_CELSIUS = 45.0
"""A card that is no hotter was idle since a cold start, or for long."""
STEADY_SECONDS, STEADY_CELSIUS = 60.0, 1.5
"""A card is as hot as it becomes when it has changed by no more in that time."""
LEAST_SECONDS = 120.0
"""Of load, from which a card whose temperature nobody reads is called hot."""
MOST_SECONDS = 600.0


class Warmth(msgspec.Struct, frozen=True, kw_only=True):
    """How warm a card is."""

    hot: bool | None
    """As `Conditions.hot`: None where neither can be said."""
    celsius: float | None
    says: str


def cold(measured: Measurable, slot: str, *, root: str = "/") -> Warmth:
    """Whether the card in a slot is as cold as after a cold start."""
    target = measured.of(slot)
    bdfs = [bdf for bdf, _ in target.gpus] if target is not None else []
    cards = Cards(target.gpus if target is not None else (), root)
    try:
        cards.await_heat(bdfs)
        now = cards.told(bdfs).celsius
    finally:
        cards.close()
    if now is None:
        return Warmth(hot=None, celsius=None, says=f"the temperature of the card in {slot} is not read")
    if now <= COLD_CELSIUS:
        return Warmth(hot=False, celsius=now, says=f"the card in {slot} is cold: {now:.0f} C")
    return Warmth(hot=None, celsius=now, says=f"the card in {slot} is not cold: {now:.0f} C, and {COLD_CELSIUS:.0f} C "
                  "was wanted; leave it idle, or measure right after a cold start")


def heat(
    measured: Measurable, traffic: Traffic, load: Collection[str], *, most_seconds: float = MOST_SECONDS,
    root: str = "/", stopping: Callable[[], bool] = lambda: False, say: Callable[[str], None] = lambda says: None,
) -> Mapping[str, Warmth]:
    """Works on the cards of these slots until they are as hot as they become. `traffic` must be of direction `heat`.
    A card whose worker fails is what it is, and says so."""
    targets = [target for target in measured.targets if target.slot in load and target.keys]
    keys = [key for target in targets for key in target.keys]
    cards = Cards(tuple(dict.fromkeys(gpu for target in targets for gpu in target.gpus)), root)
    say(f"cards are heated for {duration(most_seconds)} at the most")
    try:
        with traffic.on(keys, most_seconds) as moving:
            moving.wait_begun(stopping)
            began = time.monotonic()
            while time.monotonic() - began < most_seconds and not stopping() and moving.moving():
                moving.wait_over(min(1.0, most_seconds), stopping)
                cards.read()
                if targets and all(_is_steady(cards, target, began) for target in targets):
                    break
            worked, still = time.monotonic() - began, moving.moving()
            moving.end()
            troubles = {one.key: one.says for one in moving.ended()}
        cards.read()
        return {target.slot: _warmth(cards, target, worked, bool(still & set(target.keys)), troubles, began)
                for target in targets}
    finally:
        cards.close()


def _warmth(
    cards: Cards, target: Target, worked: float, to_the_end: bool, troubles: Mapping[str, str], began: float
) -> Warmth:
    told = cards.told([bdf for bdf, _ in target.gpus])
    rows = [row for bdf, _ in target.gpus for row in cards.heat(bdf)]
    last = max(rows)[1] if rows else None
    trouble = next((troubles[key] for key in target.keys if key in troubles), "")
    where = f"the card in {target.slot}"
    if trouble or not to_the_end:
        return Warmth(hot=None, celsius=last, says=f"{where} was not heated: {trouble or 'its work ended early'}")
    if last is None:
        says = f"{where} worked for {duration(worked)}; its temperature is not read"
        if worked >= LEAST_SECONDS:
            return Warmth(hot=True, celsius=None, says=says)
        return Warmth(hot=None, celsius=None, says=f"{says}, and after less than {duration(LEAST_SECONDS)} it is not "
                      "called hot")
    rose = f"from {told.first_celsius:.0f} to {last:.0f} C in {duration(worked)}"
    if _is_steady(cards, target, began) or worked >= LEAST_SECONDS:
        return Warmth(hot=True, celsius=last, says=f"{where} is hot: {rose}")
    return Warmth(hot=None, celsius=last, says=f"{where} was not heated long enough: {rose}")


def _is_steady(cards: Cards, target: Target, began: float) -> bool:
    """Of all cards behind a link whose temperatures are read; False where none is."""
    every = [cards.heat(bdf) for bdf, _ in target.gpus]
    read = [rows for rows in every if rows]
    return bool(read) and all(is_steady(rows, began) for rows in read)


def is_steady(rows: Sequence[tuple[float, float]], began: float) -> bool:
    """Whether a row of temperatures has not changed for a while since the work began."""
    last = rows[-1][0]
    if last - began < STEADY_SECONDS:
        return False
    late = [value for at, value in rows if at >= last - STEADY_SECONDS]
    return len(late) > 1 and max(late) - min(late) <= STEADY_CELSIUS
