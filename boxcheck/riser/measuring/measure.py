"""Measures links under given conditions: traffic on some, eyes on all, one `Look` each and for each speed they ran at.

    with traffic         the links of `load` carry verified payload both ways, or as the traffic says
    without              counts while seconds pass: where no runtime drives a card, or nothing answers in the slot

The watch begins before the traffic and ends after it, so that no error of a byte that counts is missed; what counts is
the time in which every device that was asked moved data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from boxcheck.checks.wording import listed
from boxcheck.engine.logwatch import LogWatch
from boxcheck.model import Bdf
from boxcheck.riser.evidence import Conditions, Look
from boxcheck.riser.links.ports import Ports
from boxcheck.riser.measuring.cards import Cards
from boxcheck.riser.measuring.looks import Subject, looks_of
from boxcheck.riser.measuring.stuck import Standing, doubted
from boxcheck.riser.measuring.targets import Measurable, Target
from boxcheck.riser.measuring.traffic import Ended, Flow, Moving, Traffic, moved_over
from boxcheck.riser.measuring.watch import EVERY_SECONDS, LinkWatch, Seen, Watched

SETTLE_SECONDS = 0.3
"""After the last byte, for interrupts that are still handled."""
MOST_SECONDS = 7 * 86400.0


def measure(
    measured: Measurable, seconds: float, conditions: Conditions | None = None, *, load: Collection[str] = (),
    traffic: Traffic | None = None, ports: Ports | None = None, root: str = "/", follow_log: bool = True,
    every_seconds: float = EVERY_SECONDS, stopping: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda says: None, standing: dict[Bdf, Standing] | None = None,
) -> tuple[Look, ...]:
    """Looks at every link of `measured` for these seconds. `load`: names of the slots whose cards carry traffic
    meanwhile; the others are watched idle. `ports`: for registers that root reads; the thread that watches asks it, so
    it is best one of its own. `standing`: what looks before know of error bits that nobody counts. Whatever ends it,
    the traffic ends with it; KeyboardInterrupt goes on to the caller. ValueError for a time that is none."""
    if not 0 < seconds <= MOST_SECONDS or not math.isfinite(seconds):
        raise ValueError(f"{seconds} is no time to measure for")
    held = conditions or Conditions()
    keys = [key for target in measured.targets if target.slot in load for key in target.keys]
    watched = [
        Watched(port=target.port, card=target.hop.card, pair=target.pair, status_bits=target.status_bits)
        for target in measured.targets]
    watch = LinkWatch(watched, root=root, ports=ports, every_seconds=every_seconds,
                      log=LogWatch() if follow_log else None, standing=standing)
    cards = Cards(tuple(dict.fromkeys(gpu for target in measured.targets for gpu in target.gpus)), root)
    flows: tuple[Flow, ...] = ()
    ended: tuple[Ended, ...] = ()
    moving_at_start: frozenset[str] = frozenset()
    paired: frozenset[str] = frozenset()
    loaded_since = math.inf
    try:
        with watch:
            if traffic is not None and keys:
                say(f"traffic on {listed(sorted(load))} for {seconds:g} s")
                with traffic.on(keys, seconds) as moving:
                    moving.wait_begun(stopping)
                    moving_at_start, paired = moving.moving(), moving.paired()
                    loaded_since = time.monotonic()
                    watch.split()
                    _wait(moving, cards, seconds, stopping)
                    moving.end()
                    flows, ended = moving.flows(), moving.ended()
                time.sleep(SETTLE_SECONDS)
                watch.settle()
                watch.split()
            else:
                watch.split()
                say(f"errors are counted for {seconds:g} s, without traffic")
                _idle(cards, seconds, stopping)
                watch.settle()
                watch.split()
            cards.read()
    finally:
        cards.close()
    return tuple(_looks(measured, watch.seen(), held, load, flows, ended, moving_at_start, paired, cards,
                        loaded_since))


def _wait(moving: Moving, cards: Cards, seconds: float, stopping: Callable[[], bool]) -> None:
    """Not longer than there is traffic: a link that nobody loads is not as it was asked for."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stopping() and moving.moving():
        moving.wait_over(min(0.5, max(0.0, until - time.monotonic())), stopping)
        cards.read()


def _idle(cards: Cards, seconds: float, stopping: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not stopping():
        time.sleep(min(0.1, left))
        cards.read()


def _looks(
    measured: Measurable, seen: Mapping[Bdf, Seen], held: Conditions, load: Collection[str], flows: Sequence[Flow],
    ended: Sequence[Ended], began: frozenset[str], paired: frozenset[str], cards: Cards, loaded_since: float,
) -> Iterator[Look]:
    moved = moved_over(flows, measured.where)
    for target in measured.targets:
        of = seen[target.port]
        loaded = target.slot in load and bool(target.keys)
        of = msgspec.structs.replace(
            of, present=target.present if of.present is None else of.present,
            active=target.active if of.active is None else of.active)
        notes = list(dict.fromkeys(one.says for one in ended if one.key in target.keys))
        if target.slot in load and not target.keys:
            notes.append("no runtime drives a device behind this link, so nothing was moved over it")
        if loaded and not moved.get(target.port) and not notes:
            notes.append("no payload is known to have crossed it in the time that counts")
        mine = [one for one in ended if one.key in target.keys]
        lost = sum(1 for one in mine if one.lost)
        wrong = sum(one.wrong_words for one in mine)
        cut_short = "; ".join(dict.fromkeys(one.says for one in mine if one.early))
        conditions, more = _neighbours(held, target, measured, load, began)
        if conditions.traffic == "peers" and loaded and not paired & set(target.keys):
            conditions = msgspec.structs.replace(conditions, traffic="host")
            more.append("no other card of its kind was left to copy to, so it copied from and to the host's memory")
        card = cards.told([bdf for bdf, _ in target.gpus])
        if held.hot is not None and card.first_celsius is not None and card.celsius is not None:
            notes.append(f"{card.first_celsius:.0f} C when it began, {card.celsius:.0f} C at the most")
        subject = Subject(
            hop=target.hop, slot=target.slot, full_width=target.full_width, full_speed_gts=target.full_speed_gts)
        looks = looks_of(
            subject, of, moved.get(target.port, ()), conditions, wanted_payload=loaded, notes=(*notes, *more),
            replays=card.replays, celsius=card.celsius)
        if loaded:
            resent = cards.replays_since([bdf for bdf, _ in target.gpus], loaded_since)
            looks = doubted(looks, resent, target.gpus[0][1] if target.gpus else "")
        for at, look in enumerate(looks):
            # A card that its driver has lost fell off the bus, also where the link came back at once.
            yield msgspec.structs.replace(
                look, dropped=max(look.dropped, lost), wrong_words=wrong, cut_short=cut_short) if not at else look


def _neighbours(
    held: Conditions, target: Target, measured: Measurable, load: Collection[str], began: frozenset[str]
) -> tuple[Conditions, list[str]]:
    """Whether the neighbours were as the conditions say."""
    others = [one for one in measured.targets if one.port != target.port and one.slot in load and one.keys]
    idle = [one.slot for one in others if not began & set(one.keys)]
    busy = len(others) - len(idle)
    if held.neighbours == "loaded" and not busy:
        return msgspec.structs.replace(held, neighbours="quiet"), [
            "no other card moved data meanwhile, though the neighbours were to be loaded"]
    if held.neighbours == "quiet" and busy and target.slot in load:
        return msgspec.structs.replace(held, neighbours="loaded"), []
    return held, [f"{listed(idle)} moved nothing, so not all neighbours were loaded"] if idle else []


@contextmanager
def loaded(
    measured: Measurable, traffic: Traffic, load: Collection[str], seconds: float,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[frozenset[str]]:
    """Steady traffic around something else, such as margining; gives the names of the slots that carry some."""
    keys = [key for target in measured.targets if target.slot in load for key in target.keys]
    with traffic.on(keys, seconds) as moving:
        moving.wait_begun(stopping)
        busy = moving.moving()
        yield frozenset(target.slot for target in measured.targets if busy & set(target.keys))

