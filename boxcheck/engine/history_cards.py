"""Which card of an earlier run is the card of this one, and what became of those that are not where they were. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from boxcheck.engine.figures import Card, Figures


def match(card: Card, others: Sequence[Card]) -> Card | None:
    """The same card among those of another run: by UUID or serial number where both tell one, else by its place and
    name. None where there is none, or several have its number."""
    for number in ("uuid", "serial"):
        mine = getattr(card, number)
        if mine and any(getattr(one, number) for one in others):
            same = [one for one in others if getattr(one, number) == mine and one.name == card.name]
            if len(same) == 1:
                return same[0]
            if same:
                return None
    placed = [one for one in others if _at(one) == _at(card) and one.name == card.name and not is_another(one, card)]
    return placed[0] if len(placed) == 1 else None


def _at(card: Card) -> tuple[str, str]:
    return ("bdf", card.bdf) if card.bdf else ("key", card.key)


def is_another(one: Card, other: Card) -> bool:
    """Whether their numbers prove that they are two cards."""
    return any(
        getattr(one, number) and getattr(other, number) and getattr(one, number) != getattr(other, number)
        for number in ("uuid", "serial"))


def has_moved(then: Card, now: Card) -> bool:
    """Whether a card is in another slot. Addresses are numbered anew when cards are added, so they tell only where a
    slot is not known."""
    if then.slot and now.slot:
        return then.slot != now.slot
    return bool(then.bdf and now.bdf) and then.bdf != now.bdf


def cards_of(figures: Figures) -> tuple[Card, ...]:
    """The GPUs of a run, each once."""
    return tuple({
        (one.card.key): one.card for phase in figures.phases for one in phase.cards if one.card.is_gpu}.values())


def changes(now: Figures, earlier: Sequence[Figures]) -> list[str]:
    """What moved, what is new and what it replaces, since the runs before (the oldest first)."""
    told: list[str] = []
    for card in cards_of(now):
        seen = [(figures, then) for figures in earlier if (then := match(card, cards_of(figures))) is not None]
        name = f"{card.name} in {card.place}" + (f" ({card.uuid or card.serial})" if card.uuid or card.serial else "")
        if not seen:
            told.append(f"{name} is new: it is in none of the runs compared with{_instead(card, earlier)}")
            continue
        last, then = seen[-1]
        if has_moved(then, card):
            again = "" if then.slot and card.slot else ", or addresses were numbered anew"
            told.append(f"{card.name} moved from {then.place} to {card.place} since run {last.run}{again}")
        elif not (card.uuid and then.uuid) and not (card.serial and then.serial):
            told.append(f"{name} tells no number of its own: that it is the card of before is told by its place alone")
    return told


def _instead(card: Card, earlier: Sequence[Figures]) -> str:
    for figures in reversed(earlier):
        for then in cards_of(figures):
            same = then.slot == card.slot if then.slot and card.slot else _at(then) == _at(card)
            if same:
                number = then.uuid or then.serial
                return f"; {then.name}{f' ({number})' if number else ''} was there in run {figures.run}"
    return ""
