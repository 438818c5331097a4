"""Speeds that are forced, confirmed under load, rewritten by a driver, and put back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxcheck.riser.evidence import Look
from boxcheck.riser.links.hold import Held, NotRestored, holding
from boxcheck.riser.links.ports import Refused
from boxcheck.riser.links.target_speed import Measure, Tour, force_speed, try_speeds
from tests.riser.held_link import BOOT, counts, linked, settings
from tests.riser.simulated.link import SimulatedLink, load_for


def measure(link: SimulatedLink, seconds: float = 1.0) -> Measure:
    def work(sample: Callable[[], None]) -> Look:
        load_for(link, seconds)(sample)
        return Look(slot="PCIE3")
    return work


def toured(folder: Path, speeds: tuple[float, ...] | None = None, **options: Any) -> tuple[Tour, SimulatedLink]:
    machine, link, pair = linked(**options)
    before = settings(link)
    with holding(machine, pair, str(folder), boot=BOOT, load=load_for(link, 0.2)) as held:
        tour = try_speeds(held, speeds, measure(link))
    assert settings(link) == before
    assert link.violations == []
    return tour, link


@pytest.mark.parametrize("options", [{}, {"cooling": 0}, {"cooling": 7, "port_code": 5}, {"rests": True}])
def test_each_common_speed_is_reached_confirmed_and_left(options: dict[str, Any], tmp_path: Path) -> None:
    tour, link = toured(tmp_path, **options)
    assert [trial.gts for trial in tour.trials] == [16.0, 8.0, 5.0, 2.5]
    assert all(trial.confirmed for trial in tour.trials), [trial.says for trial in tour.trials]
    assert [trial.look.conditions.speed_gts for trial in tour.trials if trial.look] == [16.0, 8.0, 5.0, 2.5]
    how = "kernel" if "cooling" in options else "registers"
    # A speed that the kernel believes in already is set by way of another one, or by the register.
    assert {trial.forced.how for trial in tour.trials[1:]} == {how}
    assert tour.back is not None
    link.traffic = {"card"}
    link.machine.sleep(0.1)
    assert link.code == 4


def test_errors_are_counted_at_the_end_that_receives_and_at_the_speed_that_makes_them(tmp_path: Path) -> None:
    machine, link, pair = linked(ber={("card", 4): 1e-9})
    seen: list[int] = []

    def work(sample: Callable[[], None]) -> Look:
        before = counts(machine, link.card_bdf)["TOTAL_ERR_COR"]
        load_for(link, 1.0)(sample)
        seen.append(counts(machine, link.card_bdf)["TOTAL_ERR_COR"] - before)
        return Look(slot="PCIE3")

    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        try_speeds(held, (16.0, 8.0), work)
    assert 180 <= seen[0] <= 340
    assert seen[1] == 0
    assert counts(machine, link.port_bdf)["TOTAL_ERR_COR"] == 0


def test_a_driver_that_rewrites_the_speed_under_load_is_found(tmp_path: Path) -> None:
    tour, _ = toured(tmp_path, (8.0,), driver_sets=(0.45, 4))
    (trial,) = tour.trials
    assert trial.confirmed is False
    assert trial.rewritten_gts == 16.0
    assert trial.look is not None
    assert trial.look.conditions.speed_gts is None, "what was measured is not of 8 GT/s"
    assert "somebody set 16 GT/s while the load ran, as drivers do" in trial.says


def test_a_speed_that_nobody_looked_at_under_load_is_not_confirmed(tmp_path: Path) -> None:
    machine, _, pair = linked()
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        (without,) = try_speeds(held, (8.0,)).trials
        (blind,) = try_speeds(held, (8.0,), lambda sample: Look(slot="PCIE3")).trials
    assert without.confirmed is None
    assert blind.confirmed is None
    assert blind.look is not None
    assert blind.look.conditions.speed_gts is None
    assert "not looked at" in blind.says


def test_a_speed_that_is_not_reached_is_said(tmp_path: Path) -> None:
    machine, link, pair = linked(fates=["slow"])
    with holding(machine, pair, str(tmp_path), boot=BOOT, load=load_for(link, 0.2)) as held:
        (trial,) = try_speeds(held, (16.0,), measure(link)).trials
    assert trial.confirmed is False
    assert trial.says == "16 GT/s was not reached: the link is x16 at 8 GT/s after 7 ms"


def test_a_speed_that_is_refused_half_way_loses_none_that_was_seen(tmp_path: Path) -> None:
    """The kernel lets registers not be written, and its own control offers no speed below 8 GT/s."""
    machine, link, pair = linked(cooling=0)
    machine.attributes["/sys/kernel/security/lockdown"] = "[integrity]"
    machine.refuses = "lockdown"
    with holding(machine, pair, str(tmp_path), boot=BOOT, load=load_for(link, 0.2)) as held:
        machine.on_set.insert(0, refuses_below_8)
        tour = try_speeds(held, (8.0, 5.0), measure(link))
        machine.on_set.remove(refuses_below_8)
    assert [(trial.gts, trial.confirmed) for trial in tour.trials] == [(8.0, True)]
    assert tour.back is None
    assert tour.stopped is not None
    assert tour.stopped.startswith("stopped: ")
    assert link.target == 4


def refuses_below_8(path: str, text: str) -> bool:
    if path.endswith("/cur_state") and text in ("2", "3"):
        raise Refused("error", "EINVAL")
    return False


@pytest.mark.parametrize("gts", [32.0, 64.0, 3.0])
def test_a_speed_that_the_ends_do_not_share_is_refused(gts: float, tmp_path: Path) -> None:
    machine, link, pair = linked(port_code=5, card_code=4)
    with pytest.raises(Refused, match=f"{gts:g} GT/s is no speed of both ends of PCIE3; they share 2.5, 5, 8, 16"), \
            holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        force_speed(held, gts)
    assert [entry for entry in machine.log if entry[1] == "write"] == []
    assert link.trainings == 0


def test_the_kernels_belief_in_a_speed_does_not_pass_for_the_speed(tmp_path: Path) -> None:
    """A card that rests at 2.5 GT/s: the kernel is asked for 2.5, believes it is there, and sets no target."""
    machine, link, pair = linked(cooling=2, rests=True)
    machine.sleep(1.0)
    assert link.cached == 1
    with holding(machine, pair, str(tmp_path), boot=BOOT, load=load_for(link, 0.2)) as held:
        (trial,) = try_speeds(held, (2.5,), measure(link)).trials
    assert trial.confirmed
    assert link.target == 4


def test_a_link_that_goes_down_at_a_speed_ends_the_tour(tmp_path: Path) -> None:
    machine, link, pair = linked(fates=["full", "down"])
    tours: list[Tour] = []

    def work() -> None:
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            tours.append(try_speeds(held, None, measure(link)))

    with pytest.raises(NotRestored, match="the card was reset by that"):
        work()
    (tour,) = tours
    assert [trial.gts for trial in tour.trials] == [16.0, 8.0]
    assert tour.stopped is not None
    assert tour.stopped.startswith("stopped: at 8 GT/s the link is down")
    assert tour.back is None
    assert link.target == 4, "the port does not aim for 8 GT/s any more"


def test_a_link_that_drops_by_itself_under_load_is_said(tmp_path: Path) -> None:
    machine, link, pair = linked()
    link.chances = {"down": 1.0}
    tours: list[Tour] = []

    def work(sample: Callable[[], None]) -> Look:
        machine.sleep(0.1)
        link.drop()
        sample()
        return Look(slot="PCIE3", dropped=1)

    def run() -> None:
        link.fates = ["full"]
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            tours.append(try_speeds(held, (8.0,), work))

    with pytest.raises(NotRestored, match="the link of PCIE3 is down; it was x16 at 16 GT/s"):
        run()
    assert link.target == 4


def test_the_caller_may_fail_in_the_middle(tmp_path: Path) -> None:
    machine, link, pair = linked()
    before = settings(link)

    def work(sample: Callable[[], None]) -> Look:
        raise RuntimeError("the load broke")

    def run(held: Held) -> None:
        try_speeds(held, (2.5,), work)

    with pytest.raises(RuntimeError, match="the load broke"), \
            holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        run(held)
    assert settings(link) == before
    assert link.code == 4


def test_a_change_of_speed_that_begins_late_is_waited_for(tmp_path: Path) -> None:
    machine, link, pair = linked(rises_after=0.15)
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        forced = force_speed(held, 8.0)
        assert link.code == 3
        assert forced.reached
        assert forced.training.seconds == pytest.approx(0.156, abs=0.003)


def test_a_target_that_is_rewritten_without_a_change_of_speed_is_found_at_the_end(tmp_path: Path) -> None:
    machine, link, pair = linked()

    def work(sample: Callable[[], None]) -> Look:
        load_for(link, 1.0)(sample)
        link.port.bits(link.port.express + 0x30, 0xF, 2)
        return Look(slot="PCIE3")

    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        (trial,) = try_speeds(held, (8.0,), work).trials
    assert trial.seen_gts == (8.0,)
    assert trial.confirmed is False
    assert trial.rewritten_gts == 5.0
    assert trial.look is not None
    assert trial.look.conditions.speed_gts is None
