"""Who sits where, and what was moved."""

from __future__ import annotations

import msgspec
import pytest

from boxcheck.probes.links import Links
from boxcheck.riser.entry import begin, enter
from boxcheck.riser.evidence import Move, Notebook, Place, Step
from boxcheck.riser.moved import arranged, changed_cards, seen_places
from boxcheck.riser.parts import Seat, first_places, repeated_labels, seats_of, short_card
from tests.riser.facts import facts_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("boxes"))


def test_every_card_is_known_by_its_uuid_and_its_slot(folder: str) -> None:
    facts, want = facts_of("wopr-7x4090", "wopr-7x4090", folder)
    places = first_places(seats_of(facts, want), want, {"PCIE3": "R3"}, {"PCIE3": "B"})
    assert [place.slot for place in places] == [f"PCIE{number}" for number in range(1, 8)]
    assert len({place.card for place in places}) == 7
    assert all(place.card and place.card.startswith("GPU-") for place in places)
    third = places[2]
    assert (third.riser, third.supply) == ("R3", "B")
    assert places[0].riser == "R-PCIE1"


def test_amd_cards_are_known_by_the_slots_link_and_not_the_one_on_the_card(folder: str) -> None:
    facts, want = facts_of("tinybox-red", "tinybox-red", folder)
    seats = seats_of(facts, want)
    links = facts.of(Links)
    assert len(seats) == 6
    assert isinstance(links, Links)
    assert not any(seat.link.on_card for seat in seats)
    assert len({seat.card for seat in seats}) == 6


def test_a_card_that_is_absent_leaves_its_slot_in_the_list(folder: str) -> None:
    facts, want = facts_of("wopr-7x4090+card-absent", "wopr-7x4090", folder)
    links = facts.of(Links)
    assert isinstance(links, Links)
    port = next(link.id for link in links.links.values() if link.slot == "PCIE3")
    seats = {seat.slot: seat for seat in seats_of(facts, want, also=port)}
    assert (seats["PCIE3"].card, seats["PCIE3"].gpu) == (None, None)


def test_a_card_that_fell_off_is_no_card_that_answers(folder: str) -> None:
    facts, want = facts_of("wopr-7x4090+gpu-fallen-off", "wopr-7x4090", folder)
    seats = {seat.slot: seat for seat in seats_of(facts, want)}
    assert seats["PCIE3"].card is None
    assert seats["PCIE2"].card is not None


def place(slot: str, riser: str, card: str | None) -> Place:
    return Place(slot=slot, riser=riser, card=card)


BEFORE = (place("PCIE3", "R3", "GPU-aaaa-4417"), place("PCIE5", "R5", "GPU-bbbb-90ab"), place("PCIE6", "R6", "GPU-cc"))
SWAP = Step(kind="swap-both", moves=(
    Move(part="card", name="GPU-aaaa-4417", to="PCIE5"), Move(part="riser", name="R3", to="PCIE5"),
    Move(part="card", name="GPU-bbbb-90ab", to="PCIE3"), Move(part="riser", name="R5", to="PCIE3")))


def test_a_swap_that_was_done_as_asked_is_recognised_by_itself() -> None:
    asked = arranged(BEFORE, SWAP)
    assert [(one.slot, one.riser, one.card) for one in asked] == [
        ("PCIE3", "R5", "GPU-bbbb-90ab"), ("PCIE5", "R3", "GPU-aaaa-4417"), ("PCIE6", "R6", "GPU-cc")]
    found, strayed = seen_places(
        asked, {"PCIE3": "GPU-bbbb-90ab", "PCIE5": "GPU-aaaa-4417", "PCIE6": "GPU-cc"}, {})
    assert (found, strayed) == (asked, ())
    assert changed_cards(BEFORE, found) == ("PCIE3", "PCIE5")


def test_a_swap_of_another_card_than_asked_is_told_with_both_places() -> None:
    found, strayed = seen_places(
        arranged(BEFORE, SWAP), {"PCIE3": "GPU-cc", "PCIE5": "GPU-bbbb-90ab", "PCIE6": "GPU-aaaa-4417"}, {})
    assert [one.card for one in found] == ["GPU-cc", "GPU-bbbb-90ab", "GPU-aaaa-4417"]
    assert strayed == (
        "card GPU-cc sits in PCIE3, where …90ab should be; it should be in PCIE6",
        "card …90ab sits in PCIE5, where …4417 should be; it should be in PCIE3",
        "card …4417 sits in PCIE6, where GPU-cc should be; it should be in PCIE5")


def test_a_step_that_was_not_done_at_all_is_told() -> None:
    found, strayed = seen_places(
        arranged(BEFORE, SWAP), {one.slot: one.card for one in BEFORE}, {})
    assert len(strayed) == 2
    assert [one.card for one in found] == [one.card for one in BEFORE]


def test_a_card_that_does_not_answer_is_told_and_stays_none() -> None:
    found, strayed = seen_places(BEFORE, {"PCIE3": None, "PCIE5": "GPU-bbbb-90ab", "PCIE6": "GPU-cc"}, {})
    assert found[0].card is None
    assert strayed == ("nothing answers in PCIE3, where card …4417 should be",)


def seat(slot: str, card: str | None) -> Seat:
    return Seat(slot=slot, link=None, gpu=None, card=card, name="RTX 4090")  # type: ignore[arg-type]


def test_a_number_that_two_cards_tell_is_none_in_a_later_boot_either() -> None:
    """Both were called after their slots, and are where the operator was asked to put them."""
    before = (place("PCIE3", "R3", "of PCIE3"), place("PCIE5", "R5", "of PCIE5"), place("PCIE6", "R6", "GPU-cc"))
    step = Step(kind="swap-cards", moves=(
        Move(part="card", name="of PCIE3", to="PCIE5"), Move(part="card", name="of PCIE5", to="PCIE3")))
    book = begin(Notebook(id="r-1", slot="PCIE3", started=0.0, next=step), before, "boot-1", 0.0)
    entered = enter(book, [seat("PCIE3", "same"), seat("PCIE5", "same"), seat("PCIE6", "GPU-cc")], {}, "boot-2", 1.0)
    assert [one.card for one in entered.notebook.boots[-1].places] == ["of PCIE5", "of PCIE3", "GPU-cc"]
    assert entered.complaints == ()


def test_what_the_operator_told_of_risers_is_kept_with_its_boot() -> None:
    seats = [seat(one.slot, one.card) for one in BEFORE]
    book = begin(Notebook(id="r-1", slot="PCIE3", started=0.0), BEFORE, "boot-1", 0.0, {"PCIE3": "R3"})
    assert book.boots[0].told == ("PCIE3",)
    again = enter(book, seats, {"PCIE5": "R5"}, "boot-1", 1.0).notebook
    assert again.boots[0].told == ("PCIE3", "PCIE5")
    later = enter(again, seats, {}, "boot-2", 2.0).notebook
    assert [one.told for one in later.boots] == [("PCIE3", "PCIE5"), ()]
    assert enter(again, seats, {"PCIE6": "R6"}, "boot-2", 2.0).notebook.boots[-1].told == ("PCIE6",)


@pytest.mark.parametrize(("supplies", "card", "supply"), [
    ("AAB", "GPU-cc", "B"), ("AAA", "GPU-new", "A"), ("AAB", "GPU-new", "")])
def test_a_card_in_a_new_place_brings_its_supply(supplies: str, card: str, supply: str) -> None:
    asked = tuple(msgspec.structs.replace(one, supply=name) for one, name in zip(BEFORE, supplies, strict=True))
    cards = {one.slot: one.card for one in BEFORE} | {"PCIE6": None, "PCIE7": card}
    found, _ = seen_places(asked, cards, {})
    assert (found[-1].slot, found[-1].supply) == ("PCIE7", supply)


def test_a_card_without_a_number_follows_what_was_asked() -> None:
    before = (place("PCIE3", "R3", "of PCIE3"), place("PCIE5", "R5", "of PCIE5"))
    step = Step(kind="swap-cards", moves=(
        Move(part="card", name="of PCIE3", to="PCIE5"), Move(part="card", name="of PCIE5", to="PCIE3")))
    found, strayed = seen_places(arranged(before, step), {"PCIE3": "unnamed RTX", "PCIE5": "unnamed RTX"}, {})
    assert [one.card for one in found] == ["of PCIE5", "of PCIE3"]
    assert not strayed


def test_a_riser_is_where_the_operator_says_it_is() -> None:
    found, strayed = seen_places(BEFORE, {}, {"PCIE3": "R6"})
    assert found[0].riser == "R6"
    assert strayed == ("riser R6 is in PCIE3, where R3 should be",)
    assert repeated_labels(found) == ("R6",)


def test_a_rotation_brings_card_and_riser_to_two_slots() -> None:
    step = Step(kind="rotate", moves=(
        Move(part="card", name="GPU-aaaa-4417", to="PCIE5"), Move(part="card", name="GPU-bbbb-90ab", to="PCIE3"),
        Move(part="riser", name="R3", to="PCIE6"), Move(part="riser", name="R6", to="PCIE3")))
    assert [(one.riser, one.card) for one in arranged(BEFORE, step)] == [
        ("R6", "GPU-bbbb-90ab"), ("R5", "GPU-aaaa-4417"), ("R3", "GPU-cc")]


def test_a_spare_takes_the_place_of_a_riser_and_that_one_leaves_the_box() -> None:
    step = Step(kind="replace-riser", moves=(Move(part="riser", name="S1", to="PCIE3"),))
    assert [one.riser for one in arranged(BEFORE, step)] == ["S1", "R5", "R6"]


def test_long_numbers_are_shown_by_their_end() -> None:
    assert short_card("GPU-aaaa-4417") == "…4417"
    assert short_card("of PCIE3") == "of PCIE3"
    assert short_card(None) == "-"
