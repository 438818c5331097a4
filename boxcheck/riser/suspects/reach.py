"""Which parts there are to suspect, on which links each of them was, and when it was plugged anew. Pure."""

from __future__ import annotations

from boxcheck.riser.evidence import NO_RISER, Notebook
from boxcheck.riser.evidence import Place as Sitting
from boxcheck.riser.suspects import faults
from boxcheck.riser.suspects.history import Course, History
from boxcheck.riser.suspects.suspicion import UNNAMED_SUPPLY, Bad, Part, Place, Reach, Side


def is_on(part: Part, slot: str, sitting: Sitting, riser: str | None = None) -> bool:
    """Whether a link goes through a part. `riser`: which one really is there, where that is another than was said."""
    return part.name == {
        "slot": slot, "seat": slot, "setting": slot, "card": sitting.card, "riser": riser or sitting.riser,
        "supply": sitting.supply or UNNAMED_SUPPLY}[part.kind]


def suspects(past: History, notebook: Notebook) -> dict[Bad, float]:
    """All that may be bad -> its weight beforehand."""
    found: dict[Bad, float] = {}
    for number, session in enumerate(past.sessions):
        for slot, sitting in session.places.items():
            asked = faults.ASKED if number == 0 and slot == notebook.slot else 1.0
            bare = sitting.riser == NO_RISER
            here = [Bad(Part("slot", slot)), Bad(Part("setting", slot)),
                    Bad(Part("supply", sitting.supply or UNNAMED_SUPPLY))]
            if sitting.card is not None:
                here.append(Bad(Part("card", sitting.card)))
            if not bare:
                here.append(Bad(Part("riser", sitting.riser)))
            for one in here:
                spare = one.part.kind == "riser" and sitting.riser in notebook.spares
                weight = faults.WEIGHTS[one.part.kind] * (faults.SPARE if spare else asked)
                found[one] = max(weight, found.get(one, 0.0))  # a supply feeds several links, the one in question too
            sides: tuple[Side, ...] = ("",) if bare else ("slot", "card")
            for side in sides:
                weight = faults.WEIGHTS["seat"] * (1.0 if bare else 0.5)
                if not number:
                    found[Bad(Part("seat", slot), 0, side)] = weight * asked
                elif renewed(past, past.courses[0], number, slot, side):
                    found[Bad(Part("seat", slot), number, side)] = weight * faults.SPOILT
    return found


def reach(past: History, one: Bad, course: Course) -> tuple[Reach, ...]:
    """Where a part was, in the order of the boots."""
    found: list[Reach] = []
    plugged, part = 0, one.part
    for number, session in enumerate(past.sessions):
        for slot, sitting in session.places.items():
            if number < one.since or not is_on(part, slot, sitting, course.risers[number].get(slot)):
                continue
            cured = 0.0
            if number > one.since and part.kind == "seat":
                cured = renewed(past, course, number, slot, one.side)
            elif number and part.kind in ("slot", "card", "riser"):
                # A part is plugged anew with either of its contacts; a slot has one, and so has a card.
                sides = {"slot": ("slot",), "card": ("card",)}.get(part.kind, ("slot", "card"))
                plugged += any(renewed(past, course, number, slot, side) > 0 for side in sides)
            found.append(Reach(Place(number, slot), plugged, cured))
    return tuple(found)


def renewed(past: History, course: Course, number: int, slot: str, side: str) -> float:
    """Probability that contacts of a slot, if they were bad, are good after what was plugged before a boot; 0 where
    nothing was plugged on that side. `side`: at the `slot`, at the `card`, or empty for a slot without a riser."""
    now, before = past.sessions[number], past.sessions[number - 1]
    if number == 0 or slot not in now.places:
        return 0.0
    if slot not in before.places or course.risers[number].get(slot) != course.risers[number - 1].get(slot):
        return faults.CURED
    if now.asked is not None and slot in now.asked.reseat:
        return faults.CURED * (1 - faults.NOT_DONE)
    moved = now.places[slot].card != before.places[slot].card
    on_riser = course.risers[number].get(slot, NO_RISER) != NO_RISER
    return faults.CURED if moved and not (side == "slot" and on_riser) else 0.0
