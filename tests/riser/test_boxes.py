"""The simulator of boxes with bad parts: it is what it says it is, and it is the same each time."""

from __future__ import annotations

import collections
import statistics
from functools import cache, partial
from typing import Literal

import msgspec
import pytest

from boxcheck.riser.evidence import Boot, Conditions, Move, Notebook, Step, Suspect, Way, Weighed
from tests.bench import riser_swaps
from tests.riser.boxes import guilt
from tests.riser.boxes.box import Box, random_box, share_of_kinds
from tests.riser.boxes.drive import Journey, drive
from tests.riser.boxes.faults import KINDS, Fault, Kind
from tests.riser.boxes.hands import do
from tests.riser.boxes.looks import boot
from tests.riser.boxes.physics import bit_error_rate, train

MANY = 3000


@cache
def boxes() -> list[Box]:
    """Looked at and not changed."""
    return [random_box(7, index) for index in range(MANY)]


def one_of(kind: Kind | None, **wanted: object) -> Box:
    """The first box with this bad part alone and these properties, fresh. `symptom` and the like are of the part."""
    for index in range(MANY):
        box = random_box(7, index)
        parts = box.faults
        if (not parts if kind is None else len(parts) == 1 and parts[0].kind == kind) and all(
            getattr(parts[0] if parts and hasattr(parts[0], name) else box, name) == value for name, value in wanted.items()
        ):
            return box
    raise AssertionError(f"no such box: {kind} {wanted}")


def stand_in(notebook: Notebook) -> Weighed:
    """Swaps cards with another slot once, then blames the slot or the card by where the errors are."""
    last = notebook.boots[-1]
    others = [place for place in last.places if place.slot != notebook.slot]
    here = next(place for place in last.places if place.slot == notebook.slot)
    if len(notebook.boots) == 1 and here.card and others and others[0].card:
        moves = (Move(part="card", name=here.card, to=others[0].slot), Move(part="card", name=others[0].card, to=here.slot))
        return Weighed(suspects=(), healthy=0.1, verdict="not-yet", next=Step(kind="swap-cards", moves=moves))
    stays = sum(way.errors for look in last.looks if look.slot == notebook.slot for way in look.ways) > 5
    blamed = Suspect(kind="slot", name=notebook.slot, probability=0.5) if stays or not here.card else Suspect(
        kind="card", name=here.card, probability=0.5)
    return Weighed(suspects=(blamed,), healthy=0.1, verdict="found", accused=(blamed,))


def knowing(box: Box, notebook: Notebook) -> Weighed:
    """A solver that was told."""
    found = tuple(Suspect(kind=fault.kind, name=fault.name, probability=0.9) for fault in box.faults)
    return Weighed(suspects=found, healthy=0.0 if found else 1.0, verdict="found" if found else "healthy", accused=found)


def told(index: int) -> Journey:
    box = random_box(7, index)
    return drive(box, partial(knowing, box))


def test_the_same_seed_gives_the_same_story() -> None:
    first, second = ([drive(random_box(3, index), stand_in).notebook for index in range(12)] for _ in range(2))
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    assert msgspec.json.encode(first) != msgspec.json.encode([drive(random_box(4, at), stand_in).notebook for at in range(12)])


def test_a_notebook_is_stored_and_read_as_it_was() -> None:
    notebook = drive(random_box(3, 1), stand_in).notebook
    assert msgspec.json.decode(msgspec.json.encode(notebook), type=Notebook) == notebook


def test_each_bad_part_and_none_are_alike_often_and_one_box_in_ten_has_two() -> None:
    shares = share_of_kinds(boxes())
    assert shares["two"] == pytest.approx(0.1, abs=0.02)
    for kind in (*KINDS, "none"):
        assert shares[kind] == pytest.approx(0.9 / 7, abs=0.025)


def test_a_third_counts_at_one_end_half_may_write_a_third_tells_margins() -> None:
    assert statistics.mean(box.counts != "both" for box in boxes()) == pytest.approx(1 / 3, abs=0.03)
    assert statistics.mean(box.writes for box in boxes()) == pytest.approx(0.5, abs=0.03)
    assert statistics.mean(box.margining for box in boxes()) == pytest.approx(1 / 3, abs=0.03)
    assert {len(box.slots) for box in boxes()} == set(range(2, 9))
    assert {len(set(box.supplies.values())) for box in boxes()} == {1, 2, 3, 4}
    assert all(box.margining <= box.writes for box in boxes())


def faults_of(symptom: str = "errors") -> list[Fault]:
    return [fault for box in boxes() for fault in box.faults if fault.symptom == symptom]


def test_rates_are_log_uniform_from_1e_13_to_1e_8() -> None:
    logs = sorted(value for fault in faults_of() for value in fault.log_ber.values())
    assert logs[0] >= -13
    assert logs[-1] <= -8
    for share in (0.2, 0.4, 0.6, 0.8):
        assert logs[int(share * len(logs))] == pytest.approx(-13 + 5 * share, abs=0.2)


def test_between_boots_a_rate_changes_up_to_a_hundredfold_and_stays_log_uniform() -> None:
    logs, changes = [], []
    for index in range(400):
        box = random_box(11, index)
        for fault in box.faults:
            before = dict(fault.log_ber)
            for way in before:
                for _ in range(3):
                    last = fault.log_ber[way]
                    fault.next_boot(box.source)
                    changes.append(abs(fault.log_ber[way] - last))
                logs.append(fault.log_ber[way])
    assert max(changes) <= 2.0
    assert statistics.median(changes) > 0.6
    assert statistics.mean(logs) == pytest.approx(-10.5, abs=0.25)
    assert statistics.pstdev(logs) == pytest.approx(5 / 12 ** 0.5, abs=0.2)


def test_a_quarter_of_the_faults_answers_to_being_plugged_anew() -> None:
    faults = [fault for box in boxes() for fault in box.faults]
    assert statistics.mean(fault.responds for fault in faults) == pytest.approx(0.25, abs=0.03)
    assert all(fault.responds for fault in faults if fault.kind == "seat")


def swap(box: Box, part: Literal["card", "riser"] = "card") -> Step:
    first, second = box.slots[:2]
    names = {slot: str(getattr(box.seats[slot], part)) for slot in (first, second)}
    return Step(kind="swap-cards" if part == "card" else "swap-risers", moves=(
        Move(part=part, name=names[first], to=second), Move(part=part, name=names[second], to=first)))


def test_one_step_in_ten_is_done_wrongly() -> None:
    wrong = 0
    for index in range(1500):
        box = random_box(5, index)
        box.labels = {slot: f"R{slot}" for slot in box.slots}
        for slot, seat in box.seats.items():
            seat.riser = f"R{slot}"
        do(box, swap(box, "riser"))
        wrong += len(box.wrong_steps)
    assert wrong / 1500 == pytest.approx(0.1, abs=0.025)


def until_wrong(what: str) -> tuple[Box, dict[str, str | None], Boot]:
    for index in range(3000):
        box = random_box(5, index)
        if len(box.slots) < 3 or box.faults or any(box.seats[slot].riser == "none" for slot in box.slots):
            continue
        step = swap(box, "card" if what == "stray" else "riser")
        done = do(box, step)
        if box.wrong_steps == [what]:
            return box, done.wanted, boot(box, step, done.wanted)
    raise AssertionError(what)


def test_a_card_in_a_wrong_slot_is_seen() -> None:
    box, wanted, seen = until_wrong("stray")
    assert {place.slot: place.card for place in seen.places} == {slot: seat.card for slot, seat in box.seats.items()}
    assert {place.slot: place.card for place in seen.places} != wanted
    assert seen.strayed


@pytest.mark.parametrize("what", ["risers stay", "wrong riser"])
def test_a_riser_in_a_wrong_slot_is_not_seen(what: str) -> None:
    box, _, seen = until_wrong(what)
    assert [place.riser for place in seen.places] == list(box.labels.values())
    assert [place.riser for place in seen.places] != [seat.riser for seat in box.seats.values()]
    assert not seen.strayed


def test_signal_faults_fall_steeply_at_a_lower_speed_and_contact_faults_do_not() -> None:
    for nature, least, most in (("signal", 3.0, 6.0), ("contact", 0.0, 0.0)):
        box = one_of("slot", symptom="errors", nature=nature, needs="always", generation=4)
        fault = box.faults[0]
        way = next(iter(fault.log_ber))
        trained = train(box, box.reported, box.source)
        fast, slow = (
            bit_error_rate(box, fault, box.reported, way, Conditions(), trained, generation) for generation in (4, 3))
        assert 10 ** least <= fast / slow * 1.000001
        assert fast / slow <= 10 ** most * 1.000001


def ways_of(seen: Boot, slot: str) -> list[Way]:
    return [way for look in seen.looks if look.slot == slot for way in look.ways]


def test_bits_that_are_damaged_on_the_way_to_the_card_are_counted_by_the_card() -> None:
    box = one_of("slot", symptom="errors", nature="signal", needs="always", counts="both")
    box.faults[0].log_ber = {"card": -9.0}
    received: collections.Counter[str] = collections.Counter()
    for way in ways_of(boot(box), box.reported):
        received[way.toward] += sum(way.received.values())
    assert received["card"] > 1000
    assert received["host"] < 5


def test_an_end_that_counts_nothing_leaves_its_direction_unread() -> None:
    seen = boot(one_of(None, counts="port"))
    ways = [way for look in seen.looks for way in look.ways]
    assert {way.unread is None for way in ways if way.toward == "host"} == {True}
    assert all(way.unread is not None and not way.received for way in ways if way.toward == "card")


def test_to_an_ordinary_user_a_direction_without_errors_is_unread() -> None:
    index = next(box.index for box in boxes() if not box.writes and box.counts == "both" and box.kind == "none")
    ways = [way for look in boot(random_box(7, index, plain_users=1.0)).looks for way in look.ways]
    assert any(not way.received for way in ways)
    assert all((way.unread is None) == bool(way.received) for way in ways)


def test_healthy_links_have_an_error_now_and_then() -> None:
    errors, bits = 0, 0.0
    for box in (box for box in boxes()[:400] if not box.faults):
        for look in boot(random_box(7, box.index)).looks:
            errors += sum(way.errors for way in look.ways)
            bits += sum(way.most_bits or 0.0 for way in look.ways)
    assert 1e-16 < errors / bits < 5e-15


def test_margins_are_told_at_16_gt_and_above_and_forced_speeds_only_where_it_may_write() -> None:
    for index in range(80):
        box = random_box(9, index)
        for look in boot(box).looks:
            assert not look.margins or (box.margining and (look.speed_gts or 0) >= 16)
            assert look.conditions.speed_gts is None or box.writes
            assert not look.retrains or box.writes


def test_frequent_errors_are_told_to_be_at_least_so_many() -> None:
    box = one_of("slot", symptom="errors", nature="contact", needs="always", counts="both", generation=4)
    box.faults[0].log_ber = {"card": -8.0, "host": -13.0}
    ways = [way for way in ways_of(boot(box), box.reported) if way.toward == "card"]
    assert all(way.at_least for way in ways)


def test_a_card_that_does_not_answer_has_no_name_and_no_counts() -> None:
    box = one_of("card", symptom="absent", full_chance=0.0)
    seen = boot(box)
    place = next(place for place in seen.places if place.slot == box.reported)
    looks = [look for look in seen.looks if look.slot == box.reported]
    assert place.card is None
    assert [(look.active, look.ways, look.width) for look in looks] == [(False, (), None)]


def test_a_solver_that_was_told_is_always_right() -> None:
    results = [riser_swaps.judge(index, 7, stand_in) for index in range(3)]
    assert all(one.failed is None for one in results)
    for index in range(40):
        story = told(index)
        assert guilt.first_right(story)
        assert guilt.accused_rightly(story) == bool(story.box.faults)
        assert not guilt.accused_wrongly(story)
        assert guilt.both_right(story) == (len(story.box.faults) == 2)


def test_a_solver_that_blames_without_looking_is_found_out() -> None:
    results = [riser_swaps.judge(index, 7, stand_in) for index in range(30)]
    assert sum(one.wrongly for one in results) > 5
    assert not all(held for held, _ in riser_swaps.promises(results))


def test_a_solver_that_breaks_is_told_and_does_not_end_the_bench() -> None:
    def broken(notebook: Notebook) -> Weighed:
        raise ValueError("no idea")

    assert riser_swaps.judge(0, 7, broken).failed == "ValueError: no idea"


def test_a_step_that_makes_no_sense_is_told() -> None:
    box = random_box(7, 0)
    done = do(box, Step(kind="swap-cards", moves=(Move(part="card", name="GPU-nobody", to=box.slots[0]),)))
    assert done.odd == ["no card GPU-nobody"]
