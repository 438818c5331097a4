"""A new entry of a notebook: which boot this is, who sits where in it, and how that fits what was asked. Pure.

A boot is known by the kernel's boot id. What is asked of an operator needs the box powered off, so the same id says
that it was not done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.riser.evidence import Boot, Look, Notebook, Place
from boxcheck.riser.moved import arranged, changed_cards, seen_places
from boxcheck.riser.parts import Seat, cards_of, is_called, repeated_labels, short_card


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The notebook with this boot in it, and what is to be told beforehand."""

    notebook: Notebook
    complaints: tuple[str, ...] = ()
    same_boot: bool = False
    """This boot is in the notebook already."""


def begin(
    notebook: Notebook, places: Sequence[Place], boot: str, now: float, risers: Mapping[str, str] | None = None,
) -> Notebook:
    """The first boot. `risers`: slot -> label, as the operator says."""
    return msgspec.structs.replace(
        notebook, boots=(Boot(id=boot, started=now, places=tuple(places), told=_told(places, risers or {})),))


def _told(places: Sequence[Place], risers: Mapping[str, str], before: Sequence[str] = ()) -> tuple[str, ...]:
    return tuple(place.slot for place in places if place.slot in risers or place.slot in before)


def enter(
    notebook: Notebook, seats: Sequence[Seat], risers: Mapping[str, str], boot: str, now: float,
) -> Entry:
    """This boot as one more. `risers`: slot -> label, as the operator says now."""
    last = notebook.boots[-1]
    cards = cards_of(seats)
    if boot and boot == last.id:
        places, strayed = seen_places(last.places, cards, risers)
        complaints = [f"since it was looked at last: {one}" for one in strayed]
        kept = msgspec.structs.replace(last, places=places, told=_told(places, risers, last.told))
        return Entry(notebook=_with_last(notebook, kept), same_boot=True, complaints=tuple(complaints))
    step = notebook.next
    asked = arranged(last.places, step) if step is not None else last.places
    places, strayed = seen_places(asked, cards, risers)
    moved = [slot for slot in changed_cards(asked, places) if slot not in risers and _is_numbered(places, slot)]
    complaints = list(strayed)
    if step is None and moved:
        complaints.append(
            "nobody was asked to move cards, so it is not known whether their risers went with them: "
            "--riser SLOT=LABEL says which riser is where")
    elif step is not None and strayed:
        complaints.append("the step was not done as it was asked; what was done is what counts from here")
    complaints += [f"two places have a riser labelled {label}: one label belongs to one riser"
                   for label in repeated_labels(places)]
    one = Boot(id=boot, started=now, places=places, asked=step, strayed=strayed, told=_told(places, risers))
    return Entry(
        notebook=msgspec.structs.replace(notebook, boots=(*notebook.boots, one), next=None),
        complaints=tuple(complaints))


def _is_numbered(places: Sequence[Place], slot: str) -> bool:
    place = next(place for place in places if place.slot == slot)
    return place.card is not None and not is_called(place.card)


def with_looks(notebook: Notebook, looks: Sequence[Look]) -> Notebook:
    """The looks added to the last boot."""
    last = notebook.boots[-1]
    return _with_last(notebook, msgspec.structs.replace(last, looks=(*last.looks, *looks)))


def _with_last(notebook: Notebook, boot: Boot) -> Notebook:
    return msgspec.structs.replace(notebook, boots=(*notebook.boots[:-1], boot))


def found_by_itself(notebook: Notebook) -> tuple[str, ...]:
    """What was recognised as moved, in words: `card …4417 went from PCIE3 to PCIE5`."""
    if len(notebook.boots) < 2:
        return ()
    before, after = notebook.boots[-2].places, notebook.boots[-1].places
    then = {place.card: place.slot for place in before if place.card}
    return tuple(
        f"card {short_card(place.card)} went from {then[place.card]} to {place.slot}"
        for place in after if place.card in then and then[place.card] != place.slot)
