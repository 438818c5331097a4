"""Retraining and equalisation of a simulated link: what is tallied is what happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxcheck.riser.links.equalisation import redo_equalisation
from boxcheck.riser.links.hold import Held, NotRestored, holding
from boxcheck.riser.links.link_state import equalisation_of, lane_errors, link_now
from boxcheck.riser.links.ports import Refused
from boxcheck.riser.links.retrain import Tally, retrain_often, retrain_once
from boxcheck.riser.links.target_speed import force_speed
from boxcheck.riser.links.training import request_retraining, train
from tests.riser.held_link import BOOT, linked, settings
from tests.riser.simulated.link import SimulatedLink, load_for


def tallied(folder: Path, times: int, *, loads: bool = True, **options: Any) -> tuple[Tally, SimulatedLink]:
    machine, link, pair = linked(**options)
    with holding(machine, pair, str(folder), boot=BOOT, load=load_for(link, 0.1)) as held:
        tally = retrain_often(held, times, load=load_for(link, 0.1) if loads else None)
        link.chances = {}
    return tally, link


def test_a_link_that_always_comes_back(tmp_path: Path) -> None:
    tally, link = tallied(tmp_path, 100)
    assert link.trainings == 100
    assert (tally.retrains.tried, tally.retrains.full) == (100, 100)
    assert tally.retrains.longest_seconds == pytest.approx(link.trains_for, abs=0.002)
    assert tally.says == "100 of 100 retrainings came back x16 at 16 GT/s; the longest took 7 ms"


def test_what_is_tallied_is_what_happened(tmp_path: Path) -> None:
    fates = ["full", "narrow", "full", "slow", "full", "full", "narrow", "full"]
    tally, _ = tallied(tmp_path, len(fates), fates=fates)
    found = [one.training.state for one in tally.trained]
    assert found == fates
    assert (tally.retrains.full, tally.retrains.narrow, tally.retrains.slow, tally.retrains.down) == (5, 2, 1, 0)
    assert "5 of 8 retrainings came back x16 at 16 GT/s; 2 with fewer lanes; 1 slower" in tally.says


def test_chances_of_a_bad_link_are_found_again(tmp_path: Path) -> None:
    tally, link = tallied(tmp_path, 200, chances={"narrow": 0.1, "slow": 0.05}, seed=5)
    assert link.trainings >= 200
    assert 8 <= tally.retrains.narrow <= 34
    assert 2 <= tally.retrains.slow <= 20
    assert tally.retrains.full + tally.retrains.narrow + tally.retrains.slow == 200


def test_a_slow_training_takes_as_long_as_it_takes(tmp_path: Path) -> None:
    tally, _ = tallied(tmp_path, 3, trains_for=0.4)
    assert tally.retrains.full == 3
    assert tally.retrains.longest_seconds == pytest.approx(0.4, abs=0.003)


def test_training_that_shows_late_is_waited_for(tmp_path: Path) -> None:
    """The training bit reads 0 for a while after the request (PCIe Base 7.5.3.7)."""
    machine, _, pair = linked(rises_after=0.015, trains_for=0.05)
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        once = retrain_once(held)
    assert once.training.seconds == pytest.approx(0.065, abs=0.003)
    assert once.full


def test_a_link_that_does_not_come_back_ends_the_tally(tmp_path: Path) -> None:
    machine, link, pair = linked(fates=["full", "full", "down"], chances={"down": 1.0})
    tallies: list[Tally] = []

    def work() -> None:
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            tallies.append(retrain_often(held, 100))

    with pytest.raises(NotRestored, match="is down; it was x16 at 16 GT/s"):
        work()
    (tally,) = tallies
    assert (tally.retrains.tried, tally.retrains.full, tally.retrains.down) == (3, 2, 1)
    assert tally.dropped == 1
    assert tally.stopped == "stopped: the link did not come back as it was"
    assert link.port.get(link.port.express + 0x30) & 0xF == 4


def test_a_link_that_goes_down_and_comes_back_has_reset_its_card(tmp_path: Path) -> None:
    machine, _, pair = linked(fates=["full", "down"])
    tallies: list[Tally] = []

    def work() -> None:
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            tallies.append(retrain_often(held, 100))

    with pytest.raises(NotRestored, match="the card was reset by that: no driver can use it"):
        work()
    assert tallies[0].retrains.tried == 2
    assert tallies[0].retrains.down == 1


def test_a_resting_card_is_no_slow_link(tmp_path: Path) -> None:
    tally, _ = tallied(tmp_path, 5, rests=True)
    assert (tally.retrains.full, tally.retrains.slow) == (5, 0)
    assert any("speed was not judged" in note for note in tally.noted)


def test_a_link_that_is_slow_under_load_too_is_slow_each_time(tmp_path: Path) -> None:
    machine, link, pair = linked(chances={"slow": 1.0})
    link.retrain()
    machine.sleep(0.5)
    assert link.code == 3
    with holding(machine, pair, str(tmp_path), boot=BOOT, load=load_for(link, 0.1)) as held:
        tally = retrain_often(held, 4, load=load_for(link, 0.1))
    assert tally.retrains.slow == 4
    assert tally.noted == ()


def test_without_a_load_slow_trainings_are_told_with_the_doubt(tmp_path: Path) -> None:
    tally, _ = tallied(tmp_path, 2, loads=False, fates=["slow", "full"])
    assert tally.retrains.slow == 1
    assert tally.noted == ("nobody loaded the card: those that came back slower may have been at rest",)


def test_a_port_that_cannot_tell_that_its_link_is_active_gets_a_second(tmp_path: Path) -> None:
    machine, _, pair = linked(tells_active=False)
    start = machine.now
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        once = retrain_once(held)
    assert once.full
    assert machine.now - start >= 1.0


def test_retrain_is_cleared_by_hand_where_it_stands(tmp_path: Path) -> None:
    machine, link, pair = linked(keeps_retrain=True)
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        assert retrain_once(held).full
    assert not link.port.get(link.port.express + 0x10) & 0x20


def test_a_link_that_trains_for_ever_is_not_asked_again() -> None:
    machine, _, pair = linked(trains_for=1e6)
    request_retraining(machine, pair)
    machine.sleep(0.01)
    with pytest.raises(Refused, match="it has been training for 1 s") as raised:
        request_retraining(machine, pair)
    assert raised.value.kind == "busy"


def test_a_link_that_is_switched_off_is_not_asked() -> None:
    machine, link, pair = linked()
    link.port.bits(link.port.express + 0x10, 0x10, 0x10)
    with pytest.raises(Refused, match="switched off at its port"):
        request_retraining(machine, pair)


@pytest.mark.parametrize("experiment", [retrain_once, retrain_often, redo_equalisation])
def test_a_port_that_takes_no_writes_comes_out_of_no_retraining_unharmed(
    experiment: Callable[[Held], object], tmp_path: Path,
) -> None:
    """QEMU's ports keep their link control read-only: nothing trains, and all would seem well."""
    machine, link, pair = linked(deaf=True)
    with pytest.raises(Refused, match="takes no writes to its link's control, as those of a hypervisor"), \
            holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        experiment(held)
    assert link.trainings == 0


def test_a_target_that_the_port_does_not_take_is_refused(tmp_path: Path) -> None:
    machine, _, pair = linked(deaf=True)
    with pytest.raises(Refused, match="does not take a target speed of 8 GT/s"), \
            holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        force_speed(held, 8.0)


def test_a_training_too_short_to_be_seen_is_known_by_the_ports_note(tmp_path: Path) -> None:
    machine, _, pair = linked(rises_after=1e-6, trains_for=1e-5)
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        once = retrain_once(held)
    assert once.training.seen
    assert once.says.startswith("x16 at 16 GT/s within 1 ms")


def test_trainings_that_leave_no_sign_are_told_as_such(tmp_path: Path) -> None:
    """Since Linux 6.13 the kernel clears the note at once."""
    machine, link, pair = linked(rises_after=1e-6, trains_for=1e-5)
    machine.on_tick.append(lambda before, after: link.port.bits(link.port.express + 0x12, 0xC000, 0))
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        tally = retrain_often(held, 5)
    assert link.trainings == 5
    assert tally.noted == (
        "the port showed no sign of training in any of them: they were too short to be seen, or none was made",)


def test_training_writes_the_bit_alone_and_two_bytes_wide() -> None:
    machine, link, pair = linked()
    before = link.port.get(link.port.express + 0x10)
    train(machine, pair)
    (write,) = [entry for entry in machine.log if entry[1] == "write"]
    assert write[2:] == (link.port_bdf, link.port.express + 0x10, 2, before | 0x20)


@pytest.mark.parametrize(("code", "gts"), [(3, 8.0), (4, 16.0), (5, 32.0)])
def test_equalisation_is_done_again_at_the_speed_of_the_link(code: int, gts: float, tmp_path: Path) -> None:
    machine, link, pair = linked(port_code=code, card_code=code)
    before = settings(link)
    said: list[str] = []
    with holding(machine, pair, str(tmp_path), boot=BOOT, announce=said.append) as held:
        redone = redo_equalisation(held)
    assert link.equalisations == 1
    assert redone.taken
    assert redone.equalisation.complete
    assert f"equalise again at {gts:g} GT/s" in said[0]
    assert settings(link) == before


@pytest.mark.parametrize(("code", "gts"), [(3, 8), (4, 16), (5, 32)])
def test_an_equalisation_that_does_not_finish_is_named_by_end_and_speed(code: int, gts: int, tmp_path: Path) -> None:
    machine, _, pair = linked(port_code=code, card_code=code, unequal=1.0)
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        redone = redo_equalisation(held)
    assert not redone.equalisation.complete
    assert f"0000:41:00.0 asks for it again at {gts} GT/s" in redone.says
    assert f"0000:40:01.1 did not finish it at {gts} GT/s" in redone.says


def test_phases_that_a_port_leaves_out_each_time_are_no_fault_and_those_left_out_now_and_then_are(tmp_path: Path) -> None:
    machine, link, pair = linked(port_code=4)
    tallies = []
    for turn, every in enumerate((1, 3)):
        count = 0

        def leave_out(before: float, after: float, every: int = every) -> None:
            nonlocal count
            if link.trainings != count:
                count = link.trainings
                for one in (link.port, link.card):
                    one.bits(one.at["phy16"] + 0x0C, 0xF, 0b0011 if count % every == 0 else 0b1111, 4)

        machine.on_tick.append(leave_out)
        (tmp_path / str(turn)).mkdir()
        with holding(machine, pair, str(tmp_path / str(turn)), boot=BOOT) as held:
            tallies.append(retrain_often(held, 9))
        machine.on_tick.remove(leave_out)
    assert [tally.retrains.incomplete_equalisation for tally in tallies] == [0, 3]
    assert "0000:40:01.1 shows no success of phases 2, 3 at 16 GT/s" in tallies[0].trained[0].says


def test_requests_from_before_are_not_counted_again_and_are_cleared_where_asked(tmp_path: Path) -> None:
    machine, link, pair = linked()
    for one in (link.port, link.card):
        one.bits(one.at["phy16"] + 0x0C, 0x10, 0x10, 4)
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        assert retrain_once(held).equalisation.complete
        assert retrain_often(held, 3).retrains.incomplete_equalisation == 0
        assert link.card.get(link.card.at["phy16"] + 0x0C, 4) & 0x10
        assert retrain_often(held, 3, clear=True).retrains.incomplete_equalisation == 0
    assert not link.card.get(link.card.at["phy16"] + 0x0C, 4) & 0x10


def test_a_link_of_5_gts_does_not_equalise(tmp_path: Path) -> None:
    machine, _, pair = linked(port_code=2, card_code=2)
    with pytest.raises(Refused, match="does not equalise: it runs at 5 GT/s at most"), \
            holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        redo_equalisation(held)
    assert not equalisation_of(machine, pair, 5.0).read


def test_a_card_that_left_says_nothing_of_its_lanes() -> None:
    machine, link, pair = linked(bad_lanes={"host": 11}, ber={("host", 4): 1e-9})
    load_for(link, 0.2)(lambda: None)
    port, card = lane_errors(machine, pair)
    assert (port.lanes, card.lanes, card.unread) == ((11,), (), None)
    link.drop()
    _, card = lane_errors(machine, pair)
    assert card.unread == "0000:41:00.0 does not answer"
    now = link_now(machine, pair)
    assert getattr(now, "says", "") == "down"
