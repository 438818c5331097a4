"""The rules by which evidence is weighed: what is unread, lower bounds, steps done wrongly, labels, the same boot."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from boxcheck.riser.evidence import Conditions, LaneMargin, Move, Notebook, Step, Weighed
from boxcheck.riser.suspects.history import history
from boxcheck.riser.suspects.weigh import weigh
from tests.riser.suspects.notebooks import MINUTE_BITS, after, boot, chances, look, notebook, places, tally

UNREAD = "the port end counts no errors"


def swap(part: str, one: str, other: str) -> Step:
    """Of the parts with the numbers of these slots."""
    prefix = {"riser": "R", "card": "GPU-"}[part]
    return Step(kind=f"swap-{part}s", moves=(
        Move(part=part, name=f"{prefix}{one[-1]}", to=other), Move(part=part, name=f"{prefix}{other[-1]}", to=one)))


def test_zero_counts_of_an_end_that_counts_nothing_do_not_clear_a_link() -> None:
    looks = [look(f"PCIE{n}", card_unread=UNREAD, host_unread=UNREAD) for n in range(1, 5)]
    blind = [weigh(notebook(*(boot(n, places(), looks) for n in range(count)))) for count in (1, 4)]
    assert all(one.verdict != "healthy" for one in blind)
    assert blind[1].healthy < 0.5
    assert f"errors of PCIE3 were not counted ({UNREAD})" in blind[1].says
    assert not any("clean" in says for one in blind[1].suspects for says in one.because)


def test_an_unread_direction_says_nothing_and_the_read_one_speaks() -> None:
    found = weigh(notebook(boot(0, places(), [look("PCIE3", card=0, host=500, card_unread=UNREAD)])))
    assert found.healthy < 0.01


def test_errors_counted_in_an_unread_direction_are_errors() -> None:
    found = weigh(notebook(boot(0, places(), [look("PCIE3", card=500, card_unread=UNREAD)])))
    assert found.healthy < 0.01


def test_replays_of_the_driver_speak_where_no_end_counts() -> None:
    looks = [look("PCIE3", card_unread=UNREAD, host_unread=UNREAD, replays=800)]
    assert weigh(notebook(boot(0, places(), looks))).healthy < 0.01


def test_a_lower_bound_is_no_less_bad_than_the_count() -> None:
    counted = weigh(notebook(boot(0, places(), [look("PCIE3", card=60)])))
    least = weigh(notebook(boot(0, places(), [look("PCIE3", card=60, least=True)])))
    assert least.healthy <= counted.healthy + 0.01
    assert "at least 60 errors" in least.suspects[0].because[0]


def test_more_may_have_come_than_the_none_that_was_counted() -> None:
    quiet = look("PCIE3")
    quiet = msgspec.structs.replace(quiet, ways=tuple(
        msgspec.structs.replace(way, at_least=("the counters began anew",)) for way in quiet.ways))
    sure, unsure = (weigh(notebook(*(boot(n, places(), [one]) for n in range(3)))) for one in (look("PCIE3"), quiet))
    assert unsure.healthy < sure.healthy


def test_one_clean_boot_weakens_a_riser_and_does_not_clear_it() -> None:
    first = boot(0, places(), [look("PCIE3", card=40)])
    before = chances(weigh(notebook(first)))["riser R3"]
    after_one = chances(weigh(notebook(first, boot(1, places(), []))))["riser R3"]
    assert after_one > 0.05
    assert after_one <= before + 0.02


def test_the_same_boot_is_not_counted_twice() -> None:
    first, step = boot(0, places(6), [look("PCIE3", card=400)]), swap("riser", "PCIE3", "PCIE4")
    second = boot(1, after(places(6), step), [look("PCIE4", card=300)], step)
    once = weigh(notebook(first, second))
    twice = weigh(notebook(first, second, second))
    assert chances(once) == pytest.approx(chances(twice))
    again = msgspec.structs.replace(second, looks=(*second.looks, look("PCIE4", card=250)))
    assert len(history(notebook(first, second, again)).sessions) == 2


def test_a_riser_that_may_not_have_been_moved_stays_suspect() -> None:
    first, step = boot(0, places(6), [look("PCIE3", card=400)]), swap("riser", "PCIE3", "PCIE4")
    stays = weigh(notebook(first, boot(1, after(places(6), step), [look("PCIE3", card=300)], step)))
    assert 0.02 < chances(stays)["riser R3"] < 0.5
    assert stays.verdict == "not-yet"


def test_errors_that_follow_an_unmoved_riser_say_that_the_step_was_not_done() -> None:
    first, step = boot(0, places(6), [look("PCIE3", card=400)]), swap("riser", "PCIE3", "PCIE4")
    moved = after(places(6), step)
    # It is still in PCIE3, and the next step takes it to PCIE5 for sure.
    stays = boot(1, moved, [look("PCIE3", card=300)], step)
    later = Step(kind="swap-risers", moves=(Move(part="riser", name="R3", to="PCIE5"),
                                            Move(part="riser", name="R5", to="PCIE4")))
    weighed = weigh(notebook(first, stays, boot(2, after(moved, later), [look("PCIE5", card=350)], later)))
    assert weighed.suspects[0].name == "R3"
    assert "the risers were probably not moved as asked before boot 2" in weighed.says


def test_cards_that_strayed_make_the_risers_doubtful_and_are_said() -> None:
    first, step = boot(0, places(6), [look("PCIE3", card=400)]), swap("riser", "PCIE3", "PCIE4")
    strayed = boot(1, after(places(6), step), [look("PCIE3", card=300)], step,
                   strayed=("card …PU-4 sits in PCIE5, where card …PU-5 should be",))
    plain = boot(1, after(places(6), step), [look("PCIE3", card=300)], step)
    assert chances(weigh(notebook(first, strayed)))["riser R3"] > chances(weigh(notebook(first, plain)))["riser R3"]
    assert "boot 2 was not as asked: card …PU-4 sits in PCIE5" in weigh(notebook(first, strayed)).says


def test_a_label_on_two_risers_is_said_and_such_risers_are_not_moved() -> None:
    where = list(places(4))
    where[0] = msgspec.structs.replace(where[0], riser="R3")
    weighed = weigh(notebook(boot(0, where, [look("PCIE3", card=400)])))
    assert "riser label R3 stands on two risers" in weighed.says
    assert {one.name for one in weighed.suspects if one.kind == "riser"} >= {"R3 in PCIE3"}
    assert weighed.next is not None
    assert not [move for move in weighed.next.moves if move.part == "riser"]


def test_what_the_operator_cannot_do_is_not_asked() -> None:
    first = boot(0, places(6), [look("PCIE3", card=400)])
    asked = weigh(notebook(first)).next
    assert asked is not None
    assert asked.kind == "rotate"
    other = weigh(notebook(first, cannot=("rotate", "R3"))).next
    assert other is not None
    assert other.kind != "rotate"
    assert "R3" not in {move.name for move in other.moves}


def test_partners_are_links_that_were_clean() -> None:
    looks = [look("PCIE3", card=400), look("PCIE1", card=300), look("PCIE2", host=200)]
    step = weigh(notebook(boot(0, places(6), looks))).next
    assert step is not None
    assert not {"PCIE1", "PCIE2"} & {move.to for move in step.moves}


def test_a_step_says_why_and_what_each_outcome_would_mean() -> None:
    step = weigh(notebook(boot(0, places(6), [look("PCIE3", card=400)]))).next
    assert step is not None
    assert step.information_bits is not None
    assert step.information_bits > 0.8
    assert f"it should take away {step.information_bits:.1f} of " in step.why
    assert "were clean so far" in step.why
    assert "one boot tells slot, riser and card apart" in step.why
    riser_to = next(move.to for move in step.moves if move.name == "R3")
    card_to = next(move.to for move in step.moves if move.name == "GPU-3")
    assert step.expect[f"errors in {riser_to} alone"].startswith("riser R3 (")
    assert step.expect[f"errors in {card_to} alone"].startswith("card GPU-3 (")
    assert "the contacts of PCIE3" in next(says for where, says in step.expect.items() if where.endswith("clean"))


def test_no_step_is_asked_where_none_tells_anything() -> None:
    first = boot(0, places(1), [look("PCIE1", card=400)])
    weighed = weigh(notebook(first, slot="PCIE1", cannot=("cold-boot", "reseat")))
    assert (weighed.verdict, weighed.next) == ("exhausted", None)
    assert "no step that is possible would tell more" in weighed.says


def test_a_spare_is_used_where_no_other_riser_is() -> None:
    where = (*places(1), msgspec.structs.replace(places(2)[1], riser="none"))
    step = weigh(notebook(boot(0, where, [look("PCIE1", card=400)]), slot="PCIE1", spares=("S1",),
                          cannot=("swap-risers", "swap-both"))).next
    assert step is not None
    assert step.kind in ("replace-riser", "swap-cards")


def test_an_empty_notebook_is_no_healthy_box() -> None:
    weighed = weigh(notebook())
    assert (weighed.verdict, weighed.says) == ("not-yet", "nothing was looked at yet")
    assert weighed.healthy < 0.5


def test_one_weak_lane_speaks_for_contacts_and_many_for_loss() -> None:
    def with_weak(lanes: int) -> Weighed:
        margins = tuple(LaneMargin(receiver="F", lane=lane, left_ui=0.1 if lane < lanes else 0.3,
                                   right_ui=0.1 if lane < lanes else 0.3, grade="fail" if lane < lanes else "pass")
                        for lane in range(16))
        return weigh(notebook(boot(0, places(), [look("PCIE3", card=400, margins=margins)])))

    one, many = chances(with_weak(1)), chances(with_weak(14))
    assert one["seat PCIE3"] / one["riser R3"] > many["seat PCIE3"] / many["riser R3"]


def test_margins_measured_twice_at_one_receiver_are_one_piece_of_evidence() -> None:
    margins = tuple(LaneMargin(receiver="F", lane=lane, grade="fail") for lane in range(16))
    dirty = look("PCIE3", card=20, margins=margins)
    bare = look("PCIE3", card=20)
    twice = weigh(notebook(boot(0, places(), [dirty]), boot(1, places(), [dirty])))
    once = weigh(notebook(boot(0, places(), [dirty]), boot(1, places(), [bare])))
    assert chances(twice) == pytest.approx(chances(once))


def test_trainings_that_lose_lanes_now_and_then_are_no_setting() -> None:
    always = boot(0, places(), [look("PCIE3", width=8, retrains=tally(20, 0, narrow=20))])
    sometimes = boot(0, places(), [look("PCIE3", width=8, retrains=tally(20, 9, narrow=11))])
    assert chances(weigh(notebook(sometimes))).get("setting PCIE3", 0.0) < 0.05
    assert chances(weigh(notebook(always)))["setting PCIE3"] > 0.15
    told = {"pcie.link-width": "trained x8, x16 required: the port announces x8 at most"}
    assert chances(weigh(notebook(always, settings=told)))["setting PCIE3"] > 0.7
    assert chances(weigh(notebook(sometimes, settings=told)))["setting PCIE3"] < 0.2


def test_the_same_lost_lanes_boot_after_boot_tell_once_what_takes_them() -> None:
    """Otherwise how many are left outweighs what doctor reads, after some boots."""
    told = {"pcie.link-width": "trained x4, x16 required: the port announces x4 at most"}
    looks = [look("PCIE3", width=4, retrains=tally(20, 0, narrow=20))]
    for boots in (1, 6):
        found = chances(weigh(notebook(*(boot(at, places(), looks) for at in range(boots)), settings=told)))
        assert found["setting PCIE3"] > 0.8, boots


def test_errors_that_stay_in_a_slot_through_four_cards_are_no_supply_that_spares_three_links() -> None:
    where, boots = places(4), []
    for number in range(4):
        step = Step(kind="swap-cards", moves=tuple(
            Move(part="card", name=f"GPU-{(slot + number) % 4 + 1}", to=f"PCIE{slot + 1}") for slot in range(4)))
        where = after(where, step)
        slow, capped = Conditions(speed_gts=8.0), Conditions(neighbours="loaded", power_capped=True)
        looks = [look("PCIE3", card=400, host=300, conditions=held) for held in (Conditions(), slow, capped)]
        boots.append(boot(number, where, looks, step if number else None))
    found = chances(weigh(notebook(*boots)))
    assert found["slot PCIE3"] > 7 * found.get("supply A", 0.0)


def test_what_only_shows_with_neighbours_loaded_is_not_blamed_on_contacts() -> None:
    loaded = Conditions(neighbours="loaded")
    found = chances(weigh(notebook(boot(0, places(), [look("PCIE3"), look("PCIE3", card=500, host=400, conditions=loaded)]))))
    assert found["supply A"] > 5 * found["seat PCIE3"]


def test_a_drop_under_load_that_a_power_cap_prevents_speaks_for_power() -> None:
    loaded = Conditions(neighbours="loaded")
    capped = Conditions(neighbours="loaded", power_capped=True)
    looks = [one for slot in ("PCIE1", "PCIE3") for one in (
        look(slot, conditions=loaded, dropped=1), look(slot, conditions=capped), look(slot))]
    assert weigh(notebook(boot(0, places(), looks))).suspects[0].kind == "supply"


def test_the_story_of_the_seven_cards() -> None:
    """A dozen correctable errors in half an hour of ZeRO-3 in one slot, none in inference; another riser cures it."""
    loaded, hour = Conditions(neighbours="loaded"), 30 * MINUTE_BITS
    low = Conditions(neighbours="loaded", speed_gts=8.0)
    here = places(7)
    first = boot(0, here, [look("PCIE3"), look("PCIE3", card=9, host=3, bits=hour, conditions=loaded),
                           look("PCIE3", bits=hour / 2, conditions=low)])
    begun = weigh(notebook(first))
    assert begun.verdict == "not-yet"
    assert begun.suspects[0].name == "R3"
    step = begun.next
    assert step is not None
    there = after(here, step)
    slot = next(place.slot for place in there if place.riser == "R3")
    ended = weigh(notebook(first, boot(1, there, [
        look(slot), look(slot, card=14, host=2, bits=hour, conditions=loaded)], step)))
    assert (ended.suspects[0].kind, ended.suspects[0].name) == ("riser", "R3")
    assert ended.suspects[0].probability > 0.8, "the supply that it shares with where it was is not quite out"
    because = ended.suspects[0].because
    assert because[0].startswith(
        "damaged with it: 12 errors in 95 TB over both ways of 2 looks in PCIE3 (boot 1); 16 errors in 95 TB over both ")
    assert any(says.startswith("clean at 8 GT/s (0 in 46 TB) and damaged at full speed (12 in 95 TB)") for says in because)


def test_seven_slots_are_weighed_in_half_a_second() -> None:
    conditions = [Conditions(), Conditions(neighbours="loaded"), Conditions(speed_gts=8.0), Conditions(aspm_off=True)]
    here, step, boots = places(7, supplies=2), swap("riser", "PCIE3", "PCIE4"), []
    for number in range(4):
        looks = [look(f"PCIE{n}", card=50 * (n == 3), conditions=held) for n in range(1, 8) for held in conditions]
        boots.append(boot(number, here, looks, step if number else None))
    book: Notebook = notebook(*boots)
    weigh(book)  # numpy is loaded once
    began = time.process_time()
    weigh(book)
    assert time.process_time() - began < 0.5


def test_a_notebook_is_weighed_the_same_after_it_was_stored() -> None:
    book = notebook(boot(0, places(), [look("PCIE3", card=400)]))
    stored = msgspec.json.decode(msgspec.json.encode(book), type=Notebook)
    assert weigh(stored) == weigh(book)


def test_a_step_that_costs_more_work_is_asked_where_the_easy_ones_tell_nothing() -> None:
    bare = msgspec.structs.replace(places(2)[1], riser="none")
    here = (places(2)[0], bare)
    cards = Step(kind="swap-cards", moves=(Move(part="card", name="GPU-1", to="PCIE2"),
                                           Move(part="card", name="GPU-2", to="PCIE1")))
    reseat = Step(kind="reseat", reseat=("PCIE1",))
    boots = [boot(0, here, [look("PCIE1", card=400)]), boot(1, after(here, cards), [look("PCIE1", card=300)], cards),
             boot(2, after(here, cards), [look("PCIE1", card=200)], reseat),
             boot(3, after(here, cards), [look("PCIE1", card=250)], reseat)]
    weighed = weigh(notebook(*boots, slot="PCIE1"))
    assert (weighed.verdict, weighed.next and weighed.next.kind) == ("not-yet", "swap-risers")


def test_links_that_rise_and_fall_together_from_boot_to_boot_speak_for_their_supply() -> None:
    here = places(4, supplies=2)
    boots = [boot(number, here, [one for slot, share in (("PCIE1", 1), ("PCIE2", 4)) for one in (
        look(slot, card=share * errors, host=share * errors),
        look(slot, card=share * errors, host=share * errors, conditions=Conditions(neighbours="loaded")))])
        for number, errors in enumerate((40, 900, 12))]
    assert chances(weigh(notebook(*boots, slot="PCIE2")))["supply A"] > 0.9


def test_a_second_part_is_accused_only_where_it_did_damage_without_the_first() -> None:
    here, step = places(6), swap("riser", "PCIE3", "PCIE4")
    boots = [boot(0, here, [look("PCIE3", card=900)])]
    boots += [boot(number, after(here, step), [look("PCIE4", card=800), look("PCIE3", host=700)], step if number == 1 else None)
              for number in (1, 2, 3)]
    accused = {(one.kind, one.name) for one in weigh(notebook(*boots)).accused}
    assert ("riser", "R3") in accused
    assert all(one in {("riser", "R3"), ("slot", "PCIE3"), ("riser", "R4"), ("card", "GPU-3")} for one in accused)


@pytest.mark.parametrize(("words", "fields"), [
    ("a BIOS speed cap (target 16.0 GT/s)", {"speed_gts": 8.0}),
    ("a slot that is wired or bifurcated to fewer lanes (both ends announce more)", {"width": 8})])
@pytest.mark.parametrize("asked", ["PCIE3", "PCIE1"], ids=["link in question", "another link"])
def test_a_setting_that_doctor_excludes_is_hardly_suspect(words: str, fields: dict[str, Any], asked: str) -> None:
    first = boot(0, places(), [look("PCIE3", **fields), look("PCIE1"), look("PCIE2")])
    before = weigh(notebook(first, slot=asked))
    after = weigh(notebook(first, slot=asked, excluded={"PCIE3": (words,)}))
    assert chances(before)["setting PCIE3"] > 0.1
    assert chances(after).get("setting PCIE3", 0.0) < 0.05
    assert all(f"doctor excludes {words}" in one.because for one in after.suspects if one.kind == "setting" and one.name == "PCIE3")
