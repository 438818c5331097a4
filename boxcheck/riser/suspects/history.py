"""What was where in each boot of a notebook, and in which other ways it may have been. Pure.

Cards are read, so their places are known, but for one that answers nowhere: it is followed by what was asked and by
who is missing. Risers are where somebody said they are: for each step that moved some there are courses in which it
was not done, or two of them were exchanged; for each card that moved without its riser, one in which it took it along.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from boxcheck.riser.evidence import NO_RISER, Boot, Look, Notebook, Place, Step
from boxcheck.riser.suspects.along import carried, share_along
from boxcheck.riser.suspects.faults import NOT_DONE, NOT_DONE_STRAYED

COURSES = 8
"""Courses that are weighed; the others have shares of a percent together."""
TOLD_WRONGLY = 0.02
"""Risers that the operator says he moved by himself, and did not; labels that he read wrongly."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A boot, merged with others of the same boot id, its cards named."""

    id: str
    places: Mapping[str, Place]
    """By slot; every card has a name, `of PCIE3` for one that never answered and was first in PCIE3."""
    looks: Mapping[str, tuple[Look, ...]]
    asked: Step | None
    strayed: tuple[str, ...]
    told: frozenset[str] = frozenset()
    """Slots whose riser the operator has read from its label in this boot."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which the risers may have been moved."""

    share: float
    risers: tuple[Mapping[str, str], ...]
    """By session: slot -> label of the riser that really is there."""
    undone: tuple[int, ...] = ()
    """Sessions before which a move of risers was not done as asked."""
    along: tuple[int, ...] = ()
    """Sessions before which cards took their risers along, which nobody was asked to do."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    sessions: tuple[Session, ...]
    courses: tuple[Course, ...]
    """The likeliest first; shares sum to one."""
    repeated: tuple[str, ...]
    """Labels that stood in two places of one boot: nothing follows from where they are."""

    def slots(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(slot for session in self.sessions for slot in session.places))


def history(notebook: Notebook) -> History:
    """Of all boots that hold places."""
    boots = _merged(notebook.boots)
    repeated = tuple(sorted({label for boot in boots for label in _twice(boot.places)}))
    sessions = tuple(
        Session(
            id=boot.id, asked=boot.asked, strayed=boot.strayed, told=frozenset(boot.told),
            places={place.slot: _apart(place, repeated) for place in places},
            looks={place.slot: tuple(look for look in boot.looks if look.slot == place.slot) for place in places})
        for boot, places in zip(boots, _with_cards(boots, notebook.slot), strict=True))
    return History(sessions=sessions, courses=_courses(sessions), repeated=repeated)


def _merged(boots: Sequence[Boot]) -> tuple[Boot, ...]:
    """One for each boot id: looks of all of them, equal ones once; no power cycle lies between."""
    found: dict[str, Boot] = {}
    for boot in boots:
        before = found.get(boot.id)
        if before is None:
            found[boot.id] = boot
        else:
            # Cards as they were read last; what was asked since is not done, for the box was not off.
            looks = (*before.looks, *(look for look in boot.looks if look not in before.looks))
            told = tuple(dict.fromkeys((*before.told, *boot.told)))
            found[boot.id] = msgspec.structs.replace(before, looks=looks, told=told)
    return tuple(boot for boot in found.values() if boot.places)


def _twice(places: Sequence[Place]) -> set[str]:
    labels = [place.riser for place in places if place.riser != NO_RISER]
    return {label for label in labels if labels.count(label) > 1}


def _apart(place: Place, repeated: Sequence[str]) -> Place:
    """A label that stands for two risers names neither: they are called after their slots, and never move."""
    if place.riser not in repeated:
        return place
    return msgspec.structs.replace(place, riser=f"{place.riser} in {place.slot}")


def _with_cards(boots: Sequence[Boot], slot: str) -> list[tuple[Place, ...]]:
    """Places with a name for each card that does not answer, and without empty ones."""
    found: list[dict[str, Place]] = []
    same: dict[str, str] = {}
    for number, boot in enumerate(boots):
        looked = {look.slot for look in boot.looks}
        places = {place.slot: place for place in boot.places
                  if place.card is not None or place.slot in looked or place.slot == slot}
        before = {one.slot: one.card for one in found[-1].values()} if found else {}
        supposed = _moved_cards(before, boot.asked)
        read = {place.card for place in places.values() if place.card is not None}
        known = {place.card for one in found for place in one.values()}
        missing = [card for card in supposed.values() if card is not None and card not in read]
        for name, place in list(places.items()):
            if place.card is not None:
                continue
            card = supposed.get(name)
            if number and not missing and (card is None or card in read) and not _is_felt(boot, name):
                del places[name]  # its card is elsewhere: an empty slot is no link that does not come up
                continue
            if card is None or card not in missing:
                card = missing[0] if missing else f"of {name}"
            if card in missing:
                missing.remove(card)
            places[name] = msgspec.structs.replace(place, card=card)
        # A number that nobody saw before, while one that never answered is nowhere: it is that one.
        for card in [card for card in read if number and card not in known]:
            hidden = next((one for one in missing if one.startswith("of ")), None)
            if hidden is not None:
                missing.remove(hidden)
                same[hidden] = card
        found.append(places)
    return [
        tuple(msgspec.structs.replace(place, card=same.get(place.card or "", place.card)) for place in places.values())
        for places in found]


def _is_felt(boot: Boot, slot: str) -> bool:
    return any(look.slot == slot and look.present is True for look in boot.looks)


def _moved_cards(before: Mapping[str, str | None], step: Step | None) -> dict[str, str | None]:
    """Where the cards are when a step was done as asked."""
    after = dict(before)
    for move in step.moves if step is not None else ():
        if move.part == "card" and move.to in after:
            after[move.to] = move.name
    return after


def _courses(sessions: Sequence[Session]) -> tuple[Course, ...]:
    if not sessions:
        return ()
    courses = [Course(share=1.0, risers=(_risers(sessions[0]),))]
    for session in sessions[1:]:
        longer = [_as_told(following, session) for course in courses
                  for following in _goes_on(course, session, sessions)]
        longer.sort(key=lambda course: -course.share)
        courses = longer[:COURSES]
    total = sum(course.share for course in courses)
    return tuple(msgspec.structs.replace(course, share=course.share / total) for course in courses)


def _as_told(course: Course, session: Session) -> Course:
    """Less likely where a riser is another than the operator has read from its label."""
    wrong = any(course.risers[-1].get(slot) != session.places[slot].riser
                for slot in session.told if slot in session.places)
    return msgspec.structs.replace(course, share=course.share * TOLD_WRONGLY) if wrong else course


def _risers(session: Session) -> dict[str, str]:
    return {slot: place.riser for slot, place in session.places.items()}


def _goes_on(course: Course, session: Session, sessions: Sequence[Session]) -> Iterator[Course]:
    number = len(course.risers)
    before, labels = sessions[number - 1].places, _last_labels(sessions[:number])
    share = share_along(session.asked, before, session.places, bool(course.along))
    for following in _by_what_was_said(course, session, labels):
        along = carried(following.risers[-1], before, session.places, labels)
        if along is None:
            yield following
            continue
        yield msgspec.structs.replace(following, share=following.share * (1 - share))
        yield msgspec.structs.replace(
            following, share=following.share * share, risers=(*course.risers, along), along=(*course.along, number))


def _last_labels(sessions: Sequence[Session]) -> dict[str, str]:
    """Slot -> riser as it was last said to be there, for slots that are empty since too."""
    return {slot: label for session in sessions for slot, label in _risers(session).items()}


def _by_what_was_said(course: Course, session: Session, then: Mapping[str, str]) -> Iterator[Course]:
    """With the risers moved as was asked and told, or not. `then`: labels before."""
    number, now = len(course.risers), _risers(session)
    here = dict(course.risers[-1])
    for slot in now:
        if slot not in here:  # said to be in a slot that was empty, it is not in the one that is empty since
            left = [other for other, label in here.items() if other not in now and label == now[slot] != NO_RISER]
            here |= {**dict.fromkeys(left, NO_RISER), slot: now[slot]}
    moved = [slot for slot in now if slot in then and now[slot] != then[slot]]
    if not moved:
        yield msgspec.structs.replace(course, risers=(*course.risers, here))
        return
    wrong = NOT_DONE if session.asked is not None else TOLD_WRONGLY
    if session.strayed:
        wrong = NOT_DONE_STRAYED
    done = [_by_label(here, now, moved), _by_slot(here, then, now, moved)]
    if done[0] == done[1]:
        done.pop()
    for risers in done:
        share = course.share * (1 - wrong) / len(done)
        yield msgspec.structs.replace(course, share=share, risers=(*course.risers, risers))
    others = [_exchanged(done[0], first, second)
              for place, first in enumerate(moved) for second in moved[place + 1:] if len(moved) > 2]
    # Another riser was taken than was asked: seen, if at all, by trouble at a slot that had nothing to do with it.
    others += [_exchanged(done[0], slot, odd) for odd in _troubled(session) for slot in moved
               if odd not in moved and odd in done[0]]
    undone = (*course.undone, number)
    yield msgspec.structs.replace(
        course, share=course.share * wrong * (0.6 if others else 1.0), risers=(*course.risers, here), undone=undone)
    for risers in others:
        yield msgspec.structs.replace(
            course, share=course.share * wrong * 0.4 / len(others), risers=(*course.risers, risers), undone=undone)


def _troubled(session: Session) -> list[str]:
    """Slots whose links show something in this boot."""
    return [slot for slot, looks in session.looks.items() if any(
        sum(way.errors for way in look.ways) > 2 or look.dropped or look.active is False
        or (look.width and look.full_width and look.width < look.full_width)
        or (look.conditions.speed_gts is None and look.speed_gts and look.full_speed_gts
            and look.speed_gts < look.full_speed_gts) for look in looks)]


def _by_label(here: Mapping[str, str], now: Mapping[str, str], moved: Sequence[str]) -> dict[str, str]:
    """The operator reads the labels: each riser that was to move is where it was asked to be."""
    after = dict(here)
    for slot in moved:
        old = next((other for other, label in after.items() if label == now[slot] and label != NO_RISER), None)
        if old is not None:
            after[old] = after[slot]
        after[slot] = now[slot]
    return after


def _by_slot(here: Mapping[str, str], then: Mapping[str, str], now: Mapping[str, str],
             moved: Sequence[str]) -> dict[str, str]:
    """The operator goes by the slots: what is in one goes to another, whatever it is."""
    after = dict(here)
    for slot in moved:
        source = next((other for other in moved if then[other] == now[slot]), None)
        after[slot] = here[source] if source is not None else now[slot]
    return after


def _exchanged(risers: Mapping[str, str], first: str, second: str) -> dict[str, str]:
    return {**risers, first: risers[second], second: risers[first]}
