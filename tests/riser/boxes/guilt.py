"""Whether what a solver says of a box is true of it."""

from __future__ import annotations

import re

from boxcheck.riser.evidence import Suspect
from tests.riser.boxes.box import Box
from tests.riser.boxes.drive import Journey
from tests.riser.boxes.faults import Fault


def names(box: Box, suspect: Suspect, fault: Fault) -> bool:
    """A card that never answered may be called by the slot in which it was first. A seat and a setting have no name of their own: theirs holds the slot, or of a setting the finding's id. A supply
    may have none where nobody said which feeds what."""
    if suspect.kind != fault.kind:
        return False
    if fault.kind == "supply":
        return suspect.name == fault.name or not box.supply_known
    if suspect.name == fault.name:
        return True
    if fault.kind == "card":
        return box.card_named(suspect.name) == fault.name
    words = set(re.findall(r"\w+", suspect.name))
    if fault.kind == "seat":
        return fault.name in words
    if fault.kind == "setting":
        return fault.name in words or not words & set(box.slots)
    return False


def guilty(box: Box, suspect: Suspect) -> bool:
    return any(names(box, suspect, fault) for fault in box.faults)


def traced(box: Box) -> bool:
    """Whether anything that can be read was ever different because of a bad part. Without it nobody can tell."""
    return any(fault.traced_in for fault in box.faults)


def first_right(story: Journey) -> bool:
    """The likeliest suspect is guilty; of a box without a bad part: none is likelier than that there is none."""
    last = story.last
    if not story.box.faults:
        return not last.suspects or last.healthy >= last.suspects[0].probability
    return bool(last.suspects) and guilty(story.box, last.suspects[0])


def both_right(story: Journey) -> bool:
    """The first two suspects are the two bad parts."""
    two = story.last.suspects[:2]
    return len(two) == 2 and all(any(names(story.box, one, fault) for one in two) for fault in story.box.faults)


def accused_rightly(story: Journey) -> bool:
    accused = story.last.accused
    return story.last.verdict == "found" and bool(accused) and all(guilty(story.box, one) for one in accused)


def accused_wrongly(story: Journey) -> bool:
    """Somebody innocent was accused, alone or beside a guilty one."""
    return story.last.verdict == "found" and not accused_rightly(story)
