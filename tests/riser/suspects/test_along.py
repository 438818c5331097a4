"""Cards that moved, and may have taken their risers along; and cards that went to a slot that was empty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from boxcheck.riser.evidence import Boot, Move, Notebook, Place, Step, Weighed
from boxcheck.riser.moved import seen_places
from boxcheck.riser.suspects.history import TOLD_WRONGLY, history
from boxcheck.riser.suspects.weigh import weigh
from tests.riser.boxes.box import random_box
from tests.riser.boxes.hands import do
from tests.riser.suspects.notebooks import after, boot, chances, dark, look, notebook, places
from tests.riser.suspects.test_rules import swap

SWAP = swap("card", "PCIE3", "PCIE4")
FIRST = boot(0, places(6), [look("PCIE3", card=400)])


def swapped(asked: Step | None, where: Sequence[Place] | None = None, **more: object) -> Weighed:
    """Errors were in PCIE3, and are in PCIE4 after the card of PCIE3 went there."""
    return weigh(notebook(FIRST, boot(1, where or after(places(6), SWAP), [look("PCIE4", card=300)], asked, **more)))


def test_a_card_that_nobody_was_asked_to_move_is_not_accused_for_its_riser_may_have_come_along() -> None:
    found = swapped(None)
    assert not found.accused
    assert chances(found)["riser R3"] > chances(found)["card GPU-3"] > 0.1
    assert "took their risers along" in found.says


def test_a_card_that_was_swapped_as_asked_is_likelier_than_its_riser_and_the_riser_is_not_out() -> None:
    found = swapped(SWAP)
    assert chances(found)["card GPU-3"] > 0.6
    assert 0.05 < chances(found)["riser R3"] < 0.3


def test_labels_that_the_operator_told_settle_where_the_risers_are() -> None:
    told = tuple(msgspec.structs.replace(place, riser={"PCIE3": "R4", "PCIE4": "R3"}.get(place.slot, place.riser))
                 for place in after(places(6), SWAP))
    found = swapped(None, told, strayed=("riser R3 is in PCIE4, where R4 should be",))
    assert "took their risers along" not in found.says
    book = notebook(FIRST, boot(1, told, [look("PCIE4", card=300)]))
    assert not any(course.along for course in history(book).courses)


def test_a_label_that_was_read_where_it_should_be_clears_the_card_of_doubt_about_its_riser() -> None:
    """The operator looked: R3 stayed in PCIE3 when its card was swapped, so it is not what errors followed."""
    plain, told = swapped(SWAP), swapped(SWAP, told=("PCIE3", "PCIE4"))
    assert chances(plain)["riser R3"] > 0.05
    assert chances(told).get("riser R3", 0.0) < 0.02
    assert chances(told)["card GPU-3"] > chances(plain)["card GPU-3"]


def test_a_riser_that_was_moved_as_asked_and_read_there_was_moved() -> None:
    step = swap("riser", "PCIE3", "PCIE4")
    book = [notebook(FIRST, boot(1, after(places(6), step), [look("PCIE4", card=300)], step, told=told))
            for told in ((), ("PCIE3", "PCIE4"))]
    plain, read = (sum(course.share for course in history(one).courses if course.undone) for one in book)
    assert plain > 0.09
    assert read < 0.005
    assert msgspec.json.decode(msgspec.json.encode(book[1]), type=Notebook) == book[1]


def test_cards_that_went_elsewhere_than_asked_make_their_risers_more_doubtful() -> None:
    strayed = (*swap("card", "PCIE3", "PCIE5").moves[:1], *SWAP.moves[1:])
    plain, odd = swapped(SWAP), swapped(msgspec.structs.replace(SWAP, moves=strayed), strayed=("card GPU-3 is in PCIE4",))
    assert chances(odd)["riser R3"] > chances(plain)["riser R3"] + 0.05


def test_a_step_that_asks_for_the_riser_too_has_no_such_course() -> None:
    both = Step(kind="swap-both", moves=(*SWAP.moves, *swap("riser", "PCIE3", "PCIE4").moves))
    book = notebook(FIRST, boot(1, after(places(6), both), [look("PCIE4", card=300)], both))
    assert not any(course.along for course in history(book).courses)


def test_a_swap_brings_both_risers_along_and_a_bare_slot_gets_one() -> None:
    where = list(places(6))
    where[3] = msgspec.structs.replace(where[3], riser="none")
    book = notebook(boot(0, where, [look("PCIE3", card=400)]), boot(1, after(where, SWAP), [look("PCIE4", card=300)]))
    along = next(course for course in history(book).courses if course.along)
    assert (along.risers[1]["PCIE3"], along.risers[1]["PCIE4"]) == ("none", "R3")


def test_who_takes_risers_along_each_time_does_not_get_a_card_accused() -> None:
    """Errors follow the card over two steps that asked for cards alone, and the riser is screwed to it."""
    back = Step(kind="swap-cards", moves=(Move(part="card", name="GPU-3", to="PCIE5"),
                                          Move(part="card", name="GPU-5", to="PCIE4")))
    second, third = after(places(6), SWAP), after(after(places(6), SWAP), back)
    found = weigh(notebook(FIRST, boot(1, second, [look("PCIE4", card=300)], SWAP),
                           boot(2, third, [look("PCIE5", card=350)], back)))
    assert not found.accused
    assert chances(found)["riser R3"] > 0.05


def test_the_next_step_tells_card_and_riser_apart() -> None:
    step = swapped(None).next
    assert step is not None
    assert {move.name for move in step.moves} & {"R3", "R4", "GPU-3"}
    assert step.kind != "swap-both"


def test_one_simulated_operator_in_twenty_takes_the_risers_along_and_believes_that_he_did_not() -> None:
    along = 0
    for index in range(600):
        box = random_box(21, index)
        first, second = box.slots[:2]
        if "none" in (box.seats[first].riser, box.seats[second].riser):
            continue
        cards, risers = [box.seats[slot].card for slot in (first, second)], [box.seats[slot].riser for slot in (first, second)]
        do(box, swap_of(str(cards[0]), str(cards[1]), first, second))
        if "risers along" in box.wrong_steps:
            along += 1
            assert [box.seats[slot].riser for slot in (second, first)] == risers
            assert [box.labels[slot] for slot in (first, second)] == risers
    assert 10 < along < 60


def swap_of(one: str, other: str, first: str, second: str) -> Step:
    return msgspec.convert({"kind": "swap-cards", "moves": [
        {"part": "card", "name": one, "to": second}, {"part": "card", "name": other, "to": first}]}, Step)


# -- to a slot that was empty

EMPTY: dict[str, str | None] = {"PCIE1": "GPU-1", "PCIE2": "GPU-2", "PCIE3": None, "PCIE4": "GPU-4", "PCIE7": "GPU-3"}
UNTOLD: dict[str, str] = {}


@pytest.mark.parametrize("listed", [True, False], ids=["its slot is listed", "its slot is not"])
def test_a_card_in_a_slot_that_was_empty_is_told_and_leaves_its_own_empty(listed: bool) -> None:
    cards = EMPTY if listed else {slot: card for slot, card in EMPTY.items() if card}
    found, strayed = seen_places(places(4), cards, UNTOLD)
    assert [(place.slot, place.riser, place.card) for place in found][2:] == [
        ("PCIE3", "R3", None), ("PCIE4", "R4", "GPU-4"), ("PCIE7", "R-PCIE7", "GPU-3")]
    assert strayed == ("card GPU-3 sits in PCIE7, which was empty before; it should be in PCIE3",)


def test_a_riser_that_is_told_to_have_gone_to_the_empty_slot_is_in_one_place() -> None:
    found, _ = seen_places(places(4), EMPTY, {"PCIE7": "R3"})
    assert {place.slot: place.riser for place in found if place.slot in ("PCIE3", "PCIE7")} == {
        "PCIE3": "none", "PCIE7": "R3"}


def test_a_new_card_in_a_new_slot_was_not_in_the_box_before() -> None:
    found, strayed = seen_places(places(2), {"PCIE1": "GPU-1", "PCIE2": "GPU-2", "PCIE10": "GPU-9"}, UNTOLD)
    assert [place.slot for place in found] == ["PCIE1", "PCIE2", "PCIE10"]
    assert strayed == ("card GPU-9 sits in PCIE10, which was empty before; it was not in the box before",)


def test_a_card_without_a_number_that_is_gone_from_its_slot_is_the_one_in_the_new_slot() -> None:
    before = (Place(slot="PCIE1", riser="R1", card="of PCIE1"), Place(slot="PCIE2", riser="R2", card="of PCIE2"))
    found, _ = seen_places(before, {"PCIE1": None, "PCIE2": "unnamed RTX", "PCIE7": "unnamed RTX"}, UNTOLD)
    assert [place.card for place in found] == [None, "of PCIE2", "of PCIE1"]
    found, _ = seen_places(before, {"PCIE1": "unnamed RTX", "PCIE2": "unnamed RTX", "PCIE7": "unnamed RTX"}, UNTOLD)
    assert [place.card for place in found] == ["of PCIE1", "of PCIE2", "of PCIE7"]


def to_empty(slot: str, dirty: bool) -> Boot:
    """The second boot, in which the card of PCIE3 sits in PCIE7, and PCIE3 answers nothing."""
    where, strayed = seen_places(places(4), EMPTY, UNTOLD)
    return boot(1, where, [dark("PCIE3", present=False), look(slot, card=300 if dirty else 0)], strayed=strayed)


def test_errors_that_went_with_a_card_to_an_empty_slot_are_weighed() -> None:
    first = boot(0, places(4), [look("PCIE3", card=400)])
    found = chances(weigh(notebook(first, to_empty("PCIE7", dirty=True))))
    assert found["card GPU-3"] + found["riser R3"] > 0.8
    assert found.get("slot PCIE3", 0.0) < 0.05
    stays = chances(weigh(notebook(first, to_empty("PCIE7", dirty=False))))
    assert stays["slot PCIE3"] > 3 * found.get("slot PCIE3", 0.0)


def test_a_slot_that_its_card_left_is_no_link_that_does_not_come_up() -> None:
    past = history(notebook(boot(0, places(4), []), to_empty("PCIE7", dirty=False)))
    assert "PCIE3" not in past.sessions[1].places
    assert "PCIE7" in past.sessions[1].looks
    clean = weigh(notebook(boot(0, places(4), []), to_empty("PCIE7", dirty=False)))
    assert clean.healthy > 0.5, "nothing was ever wrong"


def test_the_page_says_how_much_doubt_a_label_leaves_and_so_much_is_left() -> None:
    page = " ".join((Path(__file__).parents[3] / "docs/explanation/riser-suspects.md").read_text().split())
    assert f"`--riser SLOT=LABEL` leaves {100 * TOLD_WRONGLY:.0f} % of that doubt" in page
    step = Step(kind="swap-risers", moves=(
        Move(part="riser", name="R1", to="PCIE2"), Move(part="riser", name="R2", to="PCIE1")))
    where = after(places(4), step)

    def undone(told: tuple[str, ...]) -> float:
        """Odds that it was not done."""
        book = notebook(boot(0, places(4), []), boot(1, where, [], step, told=told))
        shares = {bool(course.undone): course.share for course in history(book).courses}
        return shares[True] / shares[False]

    assert undone(("PCIE1", "PCIE2")) == pytest.approx(TOLD_WRONGLY * undone(()))
