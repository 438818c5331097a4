"""Each kind of bad part is found, in a box in which it is followed through the steps that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from boxcheck.riser.evidence import Boot, Conditions, Look, Place, Weighed
from boxcheck.riser.suspects.weigh import weigh
from tests.riser.suspects.notebooks import after, boot, chances, dark, look, notebook, places, tally

LOADED, CAPPED = Conditions(neighbours="loaded"), Conditions(neighbours="loaded", power_capped=True)
GEN3, NO_ASPM = Conditions(speed_gts=8.0), Conditions(aspm_off=True)
Where = Callable[[Sequence[Place], int], str | None]


def with_part(field: str, name: str) -> Where:
    """The slot in which a part is."""
    return lambda where, cycles: next((place.slot for place in where if getattr(place, field) == name), None)


def followed(where: Where, *looks: Callable[[str], Look], count: int = 6, cycles: int = 4, **more: Any) -> tuple[Weighed, int]:
    """The last verdict, and power cycles until then. `looks`: those at the damaged link, if there is one."""
    here = places(count)
    boots: list[Boot] = []
    step = None
    for number in range(cycles + 1):
        if step is not None:
            here = after(here, step)
        slot = where(here, number)
        boots.append(boot(number, here, [make(slot) for make in looks] if slot else [], step))
        weighed = weigh(notebook(*boots, **more))
        step = weighed.next
        if step is None:
            return weighed, number
    return weighed, cycles


def accused(weighed: Weighed) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in weighed.accused]


NOISY = (lambda slot: look(slot, card=400), lambda slot: look(slot, conditions=GEN3))


def test_a_riser_is_found_in_one_power_cycle() -> None:
    weighed, cycles = followed(with_part("riser", "R3"), *NOISY)
    assert (weighed.verdict, accused(weighed), cycles) == ("found", [("riser", "R3")], 1)
    assert weighed.says.startswith("riser R3 (98 %) is at fault, probably too much loss at this speed")


def test_a_card_is_found_in_two_power_cycles() -> None:
    weighed, cycles = followed(with_part("card", "GPU-3"), *NOISY)
    assert (weighed.verdict, accused(weighed)) == ("found", [("card", "GPU-3")])
    assert cycles <= 2


def test_a_slot_is_found_when_more_moves_left_the_errors_where_they_were() -> None:
    weighed, cycles = followed(lambda where, cycles: "PCIE3", *NOISY)
    assert (weighed.verdict, accused(weighed)) == ("found", [("slot", "PCIE3")])
    assert 2 <= cycles <= 3, "the first move of the riser may not have been done"


def test_contacts_are_found_when_errors_stay_away_after_plugging() -> None:
    weighed, _ = followed(lambda where, cycles: None if cycles else "PCIE3", lambda slot: look(slot, card=4000, host=300))
    assert chances(weighed)["seat PCIE3"] > 0.8
    assert accused(weighed) in ([], [("seat", "PCIE3")])


def test_a_supply_is_found_from_its_links_without_a_power_cycle() -> None:
    where = places(6, supplies=2)
    looks = [one for slot in ("PCIE1", "PCIE2", "PCIE3") for one in (
        look(slot, card=40, host=60, conditions=LOADED), look(slot, conditions=CAPPED), look(slot))]
    weighed = weigh(notebook(boot(0, where, looks)))
    assert accused(weighed) == [("supply", "A")]
    says = " ".join(weighed.accused[0].because)
    assert "3 links that it feeds are damaged" in says
    assert "errors are gone with power capped" in says


def test_aspm_is_found_from_timeouts_that_go_away_with_it() -> None:
    weighed = weigh(notebook(boot(0, places(), [look("PCIE3", late=50), look("PCIE3", conditions=NO_ASPM)]),
                             settings={"pcie.aspm": "ASPM L1 is on"}))
    assert accused(weighed) == [("setting", "PCIE3")]
    assert weighed.says.startswith("ASPM of PCIE3")
    because = weighed.accused[0].because
    assert "it would be ASPM" in because
    assert "doctor, pcie.aspm: ASPM L1 is on" in because
    assert any("50 Timeout and no damaged packet at either end" in says for says in because)


def test_half_the_lanes_without_an_error_and_each_time_is_a_setting_where_doctor_says_so() -> None:
    looks = [look("PCIE3", width=8, retrains=tally(20, 0, narrow=20))]
    weighed = weigh(notebook(boot(0, places(), looks), settings={"pcie.bifurcation": "the slot is split x8x8"}))
    assert (weighed.suspects[0].kind, weighed.suspects[0].name) == ("setting", "PCIE3")
    assert weighed.suspects[0].probability > 0.8
    assert "it would be the lane split" in weighed.suspects[0].because


def test_a_capped_speed_is_a_setting_when_the_link_can_be_forced_to_more() -> None:
    looks = [look("PCIE3", speed_gts=8.0), look("PCIE3", conditions=Conditions(speed_gts=16.0))]
    weighed = weigh(notebook(boot(0, places(), looks)))
    assert weighed.suspects[0].kind == "setting"
    assert "it would be the speed limit" in weighed.suspects[0].because


def test_a_card_that_does_not_appear_is_followed_like_any_other() -> None:
    """The story of the first box: the second GPU is missing behind the longer riser."""
    here = places(4)

    def seen(where: Sequence[Place], slot: str) -> list[Place]:
        import msgspec

        return [msgspec.structs.replace(place, card=None) if place.slot == slot else place for place in where]

    first = boot(0, seen(here, "PCIE2"), [dark("PCIE2")])
    weighed = weigh(notebook(first, slot="PCIE2"))
    assert weighed.suspects[0].kind == "riser"
    step = weighed.next
    assert step is not None
    assert ("card", "of PCIE2") in {(move.part, move.name) for move in step.moves}
    assert any(says.startswith("no link in") for says in step.expect)
    there = after(here, step)
    slot = next(place.slot for place in there if place.riser == "R2")
    # The card that never answered answers elsewhere, with a number that nobody saw before.
    there = tuple(msgspec_card(place, "GPU-2") if place.card == "of PCIE2" else place for place in there)
    weighed = weigh(notebook(first, boot(1, seen(there, slot), [dark(slot)], step), slot="PCIE2"))
    assert accused(weighed) == [("riser", "R2")]
    assert "a card is felt and no link comes up in PCIE2 (boot 1)" in weighed.accused[0].because[0]


def msgspec_card(place: Place, card: str) -> Place:
    import msgspec

    return msgspec.structs.replace(place, card=card)


def test_two_bad_parts_on_two_links_are_both_accused() -> None:
    def where_of(where: Sequence[Place], part: str, name: str) -> str:
        return next(place.slot for place in where if getattr(place, part) == name)

    here, boots, step = places(6), [], None
    for number in range(5):
        if step is not None:
            here = after(here, step)
        boots.append(boot(number, here, [
            look(where_of(here, "riser", "R3"), card=900), look(where_of(here, "card", "GPU-5"), host=700)], step))
        weighed = weigh(notebook(*boots))
        step = weighed.next
        if step is None:
            break
    assert weighed.verdict == "found"
    assert set(accused(weighed)) <= {("riser", "R3"), ("card", "GPU-5")}


def test_a_healthy_box_is_called_healthy_and_not_before_enough_crossed() -> None:
    boots = [boot(number, places(), [one for n in range(1, 5) for one in (
        look(f"PCIE{n}"), look(f"PCIE{n}", conditions=LOADED))]) for number in range(4)]
    verdicts = [weigh(notebook(*boots[:count])) for count in range(1, 5)]
    assert verdicts[0].verdict == "not-yet"
    assert all(not one.accused for one in verdicts)
    assert verdicts[-1].verdict == "healthy"
    assert verdicts[-1].says.startswith("nothing is at fault (")
    assert "0 errors in 25 TB on PCIE3 over 4 boots" in verdicts[-1].says


def test_stray_errors_of_a_healthy_box_accuse_nobody() -> None:
    looks = [look("PCIE3", card=1), look("PCIE1", host=1)]
    weighed = weigh(notebook(boot(0, places(), looks), boot(1, places(), [look("PCIE2", card=2)])))
    assert not weighed.accused


@pytest.mark.parametrize("speed", [8.0, 16.0])
def test_errors_at_every_speed_speak_for_contacts_and_clean_low_speeds_for_the_signal(speed: float) -> None:
    slow = look("PCIE3", card=300 if speed == 16.0 else 0, conditions=GEN3)
    found = chances(weigh(notebook(boot(0, places(), [look("PCIE3", card=400), slow]))))
    if speed == 8.0:
        assert found["riser R3"] > 3 * found["seat PCIE3"]
    else:
        assert found["seat PCIE3"] > found["riser R3"]
