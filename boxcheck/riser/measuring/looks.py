"""What a watch of a link came to, with what traffic moved meanwhile, as `evidence.Look`s: one for each speed that it
ran at. Pure.

A direction is judged by the end at which its bits arrive. Where that end does not report, the direction is unread,
whatever the other end says, and zero counts are no counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from boxcheck.model import Bdf, Unread
from boxcheck.poisson import link_bits
from boxcheck.riser.evidence import Conditions, Look, Way
from boxcheck.riser.measuring.course import DOWN, Segment
from boxcheck.riser.measuring.watch import Seen
from boxcheck.stress.link_ledger import OFTEN_A_SECOND, RECEIVED, UNANSWERED
from boxcheck.stress.link_routes import WAYS, Hop, Toward

LOADED = 1
"""Number of the part of a watch in which the conditions held."""
SHORT_SECONDS = 0.5
"""A part of the watch that is shorter, moved nothing and counted nothing says nothing."""
IDLE = ("no payload was moved: an active link transmits scrambled idle, so what was counted was damaged, and zero is "
        "no bound, since little of what is damaged in idle is noticed")
BIT_ALONE = ("the kernel does not count the errors of {end}: a status bit that was seen to go up stands for one error "
             "or more")


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """Payload that crossed a link one way in a time, verified."""

    toward: Toward
    size_bytes: int
    began: float
    ended: float
    """CLOCK_MONOTONIC."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The link that looks are of."""

    hop: Hop
    slot: str
    full_width: int | None = None
    full_speed_gts: float | None = None


def looks_of(
    subject: Subject, seen: Seen, moved: Sequence[Moved], conditions: Conditions, *, wanted_payload: bool,
    notes: Sequence[str] = (), replays: int | None = None, celsius: float | None = None,
) -> tuple[Look, ...]:
    """The looks of one link, that of the longest time first. Parts before and after the load are there only where they
    counted something. `wanted_payload`: whether it was to carry traffic."""
    found: list[tuple[Segment, list[Moved]]] = []
    for segment in seen.segments:
        payload = [one for one in moved if segment.began <= one.began and one.ended <= segment.ended]
        if segment.phase != LOADED and not segment.said_something:
            continue
        if not payload and not segment.said_something and segment.seconds < SHORT_SECONDS:
            continue
        _put(found, segment, payload)
    found.sort(key=lambda part: (part[0].state.word == DOWN, part[0].phase != LOADED, -part[0].seconds))
    _fold_downs(found)
    every = [*notes, *([] if wanted_payload else [IDLE]), *_changes(seen.segments)]
    looks = [_look(subject, segment, seen, payload, conditions) for segment, payload in found] or [
        _unwatched(subject, seen, conditions)]
    looks = [msgspec.structs.replace(look, celsius=celsius) for look in looks]
    looks[0] = msgspec.structs.replace(
        looks[0], notes=tuple(dict.fromkeys((*looks[0].notes, *every))), replays=replays)
    return tuple(looks)


def _put(found: list[tuple[Segment, list[Moved]]], segment: Segment, payload: list[Moved]) -> None:
    """Adds a stretch to that of the same state, where there was one: a link that flaps has two looks and not hundreds.
    What is taken is a copy; the course of the watch stays as it is."""
    for known, of in found:
        if known.state == segment.state and known.phase == segment.phase:
            known.take(segment)
            of += payload
            return
    copy = Segment(segment.phase, segment.state, segment.began)
    copy.ended = copy.began
    copy.take(segment)
    found.append((copy, payload))


def _fold_downs(found: list[tuple[Segment, list[Moved]]]) -> None:
    """What was counted while the link was down, and that it was, belongs to what it was before: a link that came back
    is no link that is not there."""
    for at in reversed(range(1, len(found))):
        segment, _ = found[at]
        if segment.state.word == DOWN:
            for (end, name), grown in segment.growths.items():
                segment.between[end, name] = segment.between.get((end, name), 0) + grown.grown
            segment.growths.clear()
            found[0][0].take(segment)
            del found[at]


def _unwatched(subject: Subject, seen: Seen, conditions: Conditions) -> Look:
    return Look(
        slot=subject.slot, conditions=conditions, present=seen.present, active=seen.active,
        full_width=subject.full_width, full_speed_gts=subject.full_speed_gts,
        ways=tuple(Way(toward=toward, unread=seen.trouble or "it was not watched long enough") for toward in WAYS))


def _look(
    subject: Subject, segment: Segment, seen: Seen, payload: Iterable[Moved], conditions: Conditions
) -> Look:
    hop, state, moved = subject.hop, segment.state, list(payload)
    uncorrectable = {
        f"{name} at {end}": count for end in (hop.port, hop.card) if end is not None
        for name, count in segment.uncorrectable(end).items()}
    held, notes = _held(conditions, segment)
    if segment.phase != LOADED:
        notes.append("it was seen before or after the load")
    speed, full = state.speed_gts, subject.full_speed_gts or hop.gigatransfers
    if speed is not None and not moved and held.speed_gts is None and full is not None and speed < full:
        notes.append(f"at rest it ran at {speed:g} GT/s; cards lower the speed of a link that rests, so its speed "
                     "under load is not known")
        speed = None
    ends = [end for end in (hop.port, hop.card) if end is not None]
    for end in ends:
        mark = segment.marks.get(end)
        if mark is not None:
            notes += [f"{end}: {lack}" for lack in mark.unequalised]
            if mark.trained:
                notes.append(f"{end} noted that the link was trained anew to keep working (LBMS)")
            if mark.correctable and not mark.errors and (end in hop.silent or not segment.seen.get(end)):
                notes.append(f"{end} noted a correctable error of a kind that nobody counts (DevSta)")
            if mark.changed:
                notes.append(f"{end} noted that the hardware changed speed or width by itself (LABS)")
    return Look(
        slot=subject.slot, conditions=held, present=seen.present, active=_is_up(seen), width=state.width or None,
        speed_gts=speed, full_width=subject.full_width, full_speed_gts=subject.full_speed_gts,
        ways=tuple(_way(subject, segment, seen, toward, moved) for toward in WAYS), dropped=segment.drops,
        uncorrectable=uncorrectable, notes=tuple(notes))


def _is_up(seen: Seen) -> bool | None:
    """Whether the link was up when it was last looked at."""
    last = seen.segments[-1].state
    if last.word == DOWN:
        return False
    return True if last.width else seen.active


def _held(conditions: Conditions, segment: Segment) -> tuple[Conditions, list[str]]:
    """The conditions as they were: a driver may have set a speed of its own."""
    forced, speed = conditions.speed_gts, segment.state.speed_gts
    if forced is None or speed == forced:
        return conditions, []
    if speed is None:
        return msgspec.structs.replace(conditions, speed_gts=None), [
            f"it was forced to {forced:g} GT/s, and its speed was not read meanwhile"]
    return msgspec.structs.replace(conditions, speed_gts=None), [
        f"it was forced to {forced:g} GT/s and ran at {speed:g} GT/s: something changed it, such as the driver"]


def _way(subject: Subject, segment: Segment, seen: Seen, toward: Toward, payload: Iterable[Moved]) -> Way:
    hop, state = subject.hop, segment.state
    receiver, sender = hop.receiver(toward), hop.sender(toward)
    received = _named(segment, receiver, RECEIVED)
    unanswered = _named(segment, sender, UNANSWERED)
    at_least = list(_at_least(segment, receiver, RECEIVED, received))
    if received or unanswered:
        at_least += _at_least(segment, sender, UNANSWERED, unanswered)
        at_least += seen.several
    at_least += _between(segment, receiver, sender)
    unread, bits = _unread(hop, receiver, sender, segment, seen), _bits_alone(segment, receiver, RECEIVED)
    if bits and receiver is not None and not received:
        received, unread = bits, None
        at_least.append(BIT_ALONE.format(end=receiver))
    if not unanswered and sender is not None and (bits := _bits_alone(segment, sender, UNANSWERED)):
        unanswered = bits
        at_least.append(BIT_ALONE.format(end=sender))
    if seen.trouble and (received or unanswered):
        at_least.append(f"it was not watched to the end: {seen.trouble}")
    mark = segment.marks.get(receiver) if receiver is not None else None
    return Way(
        toward=toward, bits=8.0 * sum(one.size_bytes for one in payload if one.toward == toward),
        most_bits=None if state.speed_gts is None or not state.width else link_bits(
            state.speed_gts, state.width, segment.seconds),
        seconds=segment.seconds, received=received, unanswered=unanswered, at_least=tuple(dict.fromkeys(at_least)),
        unread=unread, lanes=tuple(sorted(mark.lanes)) if mark is not None else ())


def _named(segment: Segment, end: Bdf | None, names: tuple[str, ...]) -> Mapping[str, int]:
    grown = segment.grown(end) if end is not None else {}
    return {name: grown[name] for name in names if grown.get(name)}


def _bits_alone(segment: Segment, end: Bdf | None, names: tuple[str, ...]) -> Mapping[str, int]:
    """Errors that only status bits tell of: how often each was seen to go up."""
    mark = segment.marks.get(end) if end is not None else None
    if mark is None:
        return {}
    return {name: mark.errors.count(name) for name in names if name in mark.errors}


def _at_least(
    segment: Segment, end: Bdf | None, names: tuple[str, ...], counts: Mapping[str, int]
) -> Iterator[str]:
    """Why an end may have seen more than it counted."""
    if end is None:
        return
    if end in segment.reset:
        yield f"the counters of {end} began anew: the device was set back or enumerated again"
    if end in segment.unread and segment.seen.get(end):
        yield f"the counters of {end} were not read at some time"
    if number := segment.unnamed(end):
        yield (f"{end} counted {number} correctable error{'' if number == 1 else 's'} under no name that is known, of "
               "either direction")
    for name, count in counts.items():
        step = segment.most_step(end, name)
        if step > 1:
            yield f"{step} {name} of {end} came between two readings, and of a burst the kernel counts a part"
        elif count > 1 and count >= OFTEN_A_SECOND * segment.seconds:
            yield f"{name} of {end} came about once a second, and of those that meet the kernel counts one"


def _between(segment: Segment, receiver: Bdf | None, sender: Bdf | None) -> Iterator[str]:
    told = [f"{count} {name} of {end}" for (end, name), count in segment.between.items() if count and (
        (end == receiver and name in RECEIVED) or (end == sender and name in UNANSWERED))]
    if told:
        yield f"{', '.join(told)} came while speed or width changed, and are counted at neither"


def _unread(hop: Hop, receiver: Bdf | None, sender: Bdf | None, segment: Segment, seen: Seen) -> str | None:
    """Why nothing follows from what the receiver did not count."""
    if receiver is None:
        return "nothing was read of what hangs below the port"
    if segment.state.word == DOWN:
        return "the link was down"
    if seen.trouble:
        return f"it was not watched to the end: {seen.trouble}"
    if not segment.seen.get(receiver):
        why = segment.unread.get(receiver)
        return f"{receiver}: {why}" if why else f"the counters of {receiver} were not read"
    for end, names in ((receiver, (*RECEIVED, *UNANSWERED)), (sender, UNANSWERED)):
        mark = segment.marks.get(end) if end is not None else None
        held = [name for name in mark.stuck if name in names] if mark is not None else []
        if held:
            stand = "stands" if len(held) == 1 else "stand"
            return (f"the counters of {end} are stuck: {' and '.join(held)} {stand} in its AER status (CESta), and "
                    "nobody counts or clears it")
    silent = hop.silent.get(receiver)
    if isinstance(silent, Unread):
        return f"whether {receiver} reports errors was not read: {silent.why}"
    return f"{receiver} counts no errors: {silent}" if silent is not None else None


def _changes(segments: Sequence[Segment]) -> Iterator[str]:
    """Speed and width that did not stay as they were under load."""
    loaded = [one for one in segments if one.phase == LOADED]
    states = [one.state for one in loaded]
    told: list[str] = []
    for before, after in pairwise(states):
        if before != after:
            told.append(f"{_state(before.speed_gts, before.width, before.word)} to "
                        f"{_state(after.speed_gts, after.width, after.word)}")
    if told:
        shown = ", ".join(told[:4]) + (f" and {len(told) - 4} changes more" if len(told) > 4 else "")
        yield f"the link changed while it was watched: {shown}; each speed is counted by itself"
    short = [one for one in loaded if one.longest_gap > 1.0]
    if short:
        yield f"it was not read for {max(one.longest_gap for one in short):.1f} s at one time"


def _state(speed: float | None, width: int | None, word: str) -> str:
    if word:
        return word
    lanes = f"x{width}" if width else "x?"
    return f"{lanes} {speed:g} GT/s" if speed is not None else f"{lanes} at a speed that was not read"
