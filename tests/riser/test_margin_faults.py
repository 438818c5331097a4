"""Ports that are not ready, do not answer, lie, or drop the link: nothing of it becomes a grade."""

from __future__ import annotations

from typing import Any

import pytest

from boxcheck.model import Unread
from boxcheck.riser.links.ports import LinkPair
from boxcheck.riser.margining.draw import left_out, sentences
from boxcheck.riser.margining.eye import Margins
from boxcheck.riser.margining.grades import graded
from boxcheck.riser.margining.run import margin
from boxcheck.riser.margining.step import SETUP_SECONDS
from tests.riser.margin_bench import bench, clean, receiver, run, wrong_edges
from tests.riser.simulated.margin import CARD, EXPRESS, MARGINING, PORT, POWER
from tests.riser.simulated.margin_lane import Kind

RECEIVER_KEYS = ("A", "F")


def obstacle(margins: Margins) -> tuple[str, str]:
    assert not any(eyes.lanes for eyes in margins.receivers)
    assert sentences(margins)[0].startswith("not margined: ")
    return margins.obstacles[0].kind, margins.obstacles[0].says


def grades(margins: Margins, letter: str) -> list[str]:
    eyes = receiver(margins, letter)
    return [graded(eyes, eye).grade for eye in eyes.lanes]


def test_a_link_that_is_too_slow_now_is_told_from_one_that_can_do_no_more() -> None:
    machine, link, pair = bench(width=2)
    machine.on_read.insert(0, lambda bdf, offset, size: 0x3021 if offset == EXPRESS + 0x12 and size == 2 else None)
    assert obstacle(run(machine, link, pair)) == ("slow", "the link runs at 2.5 GT/s now; lane margining needs 16")
    machine, link, pair = bench(width=2, speed_gts=8.0)
    writes = len([entry for entry in machine.log if entry[1] == "write"])
    kind, says = obstacle(run(machine, link, pair))
    assert (kind, "8 GT/s together" in says) == ("slow", True)
    assert len([entry for entry in machine.log if entry[1] == "write"]) == writes, "nothing was written to find that out"


def test_nothing_below_the_port() -> None:
    machine, _, pair = bench()
    assert obstacle(margin(machine, LinkPair(port=pair.port, card=None)))[0] == "absent"


def test_no_capability_at_either_end_or_at_one() -> None:
    from msgspec.structs import replace

    machine, link, pair = bench(width=2)
    assert pair.card is not None
    neither = LinkPair(port=replace(pair.port, margining=None), card=replace(pair.card, margining=None))
    assert obstacle(margin(machine, neither))[0] == "no-capability"
    one = LinkPair(port=pair.port, card=replace(pair.card, margining=None))
    margins = run(machine, link, one)
    assert len(receiver(margins, "A").lanes) == 2
    assert "no lane margining" in (receiver(margins, "F").skipped or "")


def test_without_root_nothing_is_read_beyond_the_header() -> None:
    machine, link, pair = bench()
    read = machine.read

    def user(bdf: Any, offset: int, size: Any) -> Any:
        return Unread("config space beyond its header needs root", "permission") if offset >= 64 else read(bdf, offset, size)

    machine.read = user  # type: ignore[method-assign]
    assert obstacle(margin(machine, pair)) == ("permission", "lane margining needs root")
    assert link.control_writes == 0


@pytest.mark.parametrize("text", ["none [integrity] confidentiality", "none integrity [confidentiality]"])
def test_lockdown_is_found_before_anything_is_written(text: str) -> None:
    machine, _, pair = bench()
    machine.attributes["/sys/kernel/security/lockdown"] = text
    assert obstacle(margin(machine, pair))[0] == "lockdown"
    assert not [entry for entry in machine.log if entry[1] == "write"]
    machine, link, pair = bench(width=1, max_width=1)
    machine.attributes["/sys/kernel/security/lockdown"] = "[none] integrity confidentiality"
    assert not run(machine, link, pair).obstacles


def test_a_sleeping_card_is_not_margined() -> None:
    machine, link, pair = bench(width=2)
    machine.space[CARD][POWER + 4] = 3
    assert obstacle(run(machine, link, pair))[:2] == ("asleep", "0000:41:00.0 sleeps (D3); margining needs D0")


@pytest.mark.parametrize("which", [PORT, CARD])
def test_aspm_that_cannot_be_switched_off_forbids_it(which: Any) -> None:
    machine, link, pair = bench(width=2)
    link.sticky_aspm = {which}
    assert obstacle(run(machine, link, pair)) == ("power-saving", f"ASPM of {which} cannot be switched off: LnkCtl keeps it on")


def test_a_port_that_is_never_ready_leaves_the_other_end_s_receivers() -> None:
    machine, link, pair = bench(width=2)
    link.never_ready = {CARD}
    margins = run(machine, link, pair)
    assert grades(margins, "A") == ["pass", "pass"]
    assert "Margining Ready is 0" in (receiver(margins, "F").skipped or "")
    machine, link, pair = bench(width=2)
    link.never_ready = {PORT, CARD}
    assert obstacle(run(machine, link, pair))[0] == "not-ready"


def test_a_port_that_needs_its_driver_is_waited_for_and_then_said_to_need_it() -> None:
    machine, link, pair = bench(width=2)
    link.uses_driver = {PORT: machine.now + 1.0, CARD: 1e9}
    margins = run(machine, link, pair)
    assert grades(margins, "A") == ["pass", "pass"]
    assert "without its driver" in (receiver(margins, "F").skipped or "")


def test_a_receiver_without_a_sampler_of_its_own_is_refused_unless_forced() -> None:
    machine, link, pair = bench(width=2, kind=Kind(ind_sampler=False))
    margins = run(machine, link, pair)
    assert not any(eyes.lanes for eyes in margins.receivers)
    assert all("no error sampler of its own" in (eyes.skipped or "") for eyes in margins.receivers)
    assert len(left_out(margins)) == 2
    assert not link.steps
    assert not margins.discard_errors


@pytest.mark.parametrize("recovers", [False, True])
def test_forced_it_damages_data_and_the_errors_of_the_window_are_said_to_be_discarded(recovers: bool) -> None:
    machine, link, pair = bench(width=2, kind=Kind(ind_sampler=False), wear={(6, 1): 0.5})
    link.recovers_on_errors, link.recovery = recovers, "default"
    margins = run(machine, link, pair, force=True)
    assert wrong_edges(link, margins) == []
    assert margins.discard_errors
    assert any("are discarded" in note for note in margins.notes)
    assert "BadTLP 0" not in machine.attributes[f"/sys/bus/pci/devices/{CARD}/aer_dev_correctable"]
    if recovers:
        assert link.trainings > 4


def test_a_receiver_that_refuses_every_step_gets_no_grade() -> None:
    machine, link, pair = bench(width=2, kind=Kind(naks=True))
    margins = run(machine, link, pair)
    assert grades(margins, "A") == grades(margins, "F") == ["unknown", "unknown"]


def test_a_receiver_that_counts_beyond_its_limit_and_goes_on_is_judged_by_its_count() -> None:
    machine, link, pair = bench(width=2, kind=Kind(never_trips=True), wear={(6, 1): 0.5})
    margins = run(machine, link, pair, look_seconds=0.05)
    assert wrong_edges(link, margins) == []
    assert margins.seconds < 10, "a step that failed already is not watched to the end of its look"


def test_a_receiver_that_never_leaves_set_up_is_given_up_in_bounded_time() -> None:
    machine, link, pair = bench(width=16)
    link.ports[CARD].kinds[6].stuck_in_setup = True
    margins = run(machine, link, pair)
    eyes = receiver(margins, "F")
    assert "still setting up a step" in (eyes.lanes[0].why or "")
    assert "3 lanes in a row" in (eyes.skipped or "")
    assert grades(margins, "F") == ["unknown"] * 3
    assert grades(margins, "A") == ["pass"] * 16
    assert eyes.seconds < 3 * 3 * SETUP_SECONDS + 2


def test_a_receiver_that_never_echoes_is_skipped_with_the_reason() -> None:
    machine, link, pair = bench(width=2)
    link.ports[PORT].kinds[1].never_echoes = True
    margins = run(machine, link, pair)
    assert "gave no answer" in (receiver(margins, "A").skipped or "")
    assert grades(margins, "F") == ["pass", "pass"]


@pytest.mark.parametrize("number", [*range(1, 12), *range(12, 60, 5)])
def test_one_lost_write_changes_nothing(number: int) -> None:
    machine, link, pair = bench(width=1, max_width=1)
    link.lost_writes = {number}
    margins = run(machine, link, pair)
    assert wrong_edges(link, margins) == []
    assert grades(margins, "A") == grades(margins, "F") == ["pass"]


@pytest.mark.parametrize("step", [1, 5, 9])
def test_a_status_that_froze_is_not_taken_for_a_good_step(step: int) -> None:
    machine, link, pair = bench(width=2)
    link.freeze_step = step
    before = link.settings
    margins = margin(machine, pair)
    stuck = [(eyes, eye) for eyes in margins.receivers for eye in eyes.lanes if eye.why is not None]
    assert len(stuck) == 1
    assert "may be an old one" in (stuck[0][1].why or "")
    assert graded(*stuck[0]).grade == "unknown"
    assert link.settings == before
    # What froze is the status; the sampler took its commands.
    assert link.in_place
    assert any("did not confirm" in note for eyes in margins.receivers for note in (*eyes.notes, *margins.notes))


@pytest.mark.parametrize("how", ["suspend", "default", "freeze"])
def test_a_step_during_which_the_link_recovered_is_taken_again(how: str) -> None:
    machine, link, pair = bench(width=2)
    link.recovery = how
    for step in (2, 7, 20):
        link.at_step[step] = lambda lane: link.recover(0.03)
    before = link.settings
    margins = margin(machine, pair)
    clean(link, before)
    assert link.trainings == 3
    assert wrong_edges(link, margins) == []
    assert grades(margins, "A") == ["pass", "pass"]


def test_a_link_that_recovers_at_every_step_gives_no_grade() -> None:
    machine, link, pair = bench(width=2)
    for step in range(1, 400):
        link.at_step[step] = lambda lane: link.recover(0.01)
    margins = run(machine, link, pair)
    assert {grade for letter in RECEIVER_KEYS for grade in grades(margins, letter)} == {"unknown"}
    assert "went through Recovery" in (receiver(margins, "A").lanes[0].why or "")


@pytest.mark.parametrize("step", [1, 2, 5, 11, 23])
@pytest.mark.parametrize("seconds", [0.02, 0.3, 2.0])
def test_a_link_that_drops_ends_it_and_what_was_not_measured_is_unknown(step: int, seconds: float) -> None:
    machine, link, pair = bench(width=2)
    link.at_step[step] = lambda lane: link.drop(seconds)
    before = link.settings
    margins = margin(machine, pair)
    assert margins.stopped is not None
    assert any(line.startswith("ended early") for line in sentences(margins))
    assert margins.not_restored is None
    assert link.in_place
    assert link.all_violations == []
    assert link.control[PORT] == before[0][PORT]  # type: ignore[index]
    assert link.control[CARD] & 0x203 == before[0][CARD] & 0x203  # type: ignore[index]
    assert link.control_2 == before[1]
    open_lanes = [graded(eyes, eye).grade for eyes in margins.receivers for eye in eyes.lanes if eye.why]
    assert "pass" not in open_lanes
    assert "fail" not in open_lanes
    assert len([eye for eyes in margins.receivers for eye in eyes.lanes if eye.why is None]) < 4


@pytest.mark.parametrize("step", [1, 4, 9])
def test_a_drop_that_leaves_no_trace_in_the_settings_is_seen_as_well(step: int) -> None:
    machine, link, pair = bench(width=2)
    link.keeps_settings = True
    link.at_step[step] = lambda lane: link.drop(0.2)
    margins = run(machine, link, pair)
    assert margins.stopped == "the link below 0000:40:01.1 went down"


def test_a_driver_that_switches_aspm_on_again_ends_it() -> None:
    machine, link, pair = bench(width=2)

    def driver(lane: object) -> None:
        link.control[CARD] |= 2

    link.at_step[6] = driver
    margins = run(machine, link, pair)
    assert margins.stopped == ("0000:41:00.0 was reset, or somebody changed its link settings (its LnkCtl is no longer as it "
                               "was set)")


def test_a_link_that_comes_back_narrower_ends_it() -> None:
    machine, link, pair = bench(width=4)

    def narrow(lane: object) -> None:
        link.width = 2

    link.at_step[6] = narrow
    margins = margin(machine, pair)
    assert margins.stopped == "the link changed to x2 at 16 GT/s, from x4 at 16"


def test_more_lanes_at_once_than_a_receiver_can_would_give_nonsense_so_it_is_never_asked_for() -> None:
    machine, link, pair = bench(width=8, kind=Kind(max_lanes=0))
    margins = run(machine, link, pair, parallel=8, lanes=range(4))
    assert wrong_edges(link, margins) == []
    assert any("1 lanes at a time" in note for note in margins.notes)


def test_only_lanes_and_receivers_that_are_asked_for_are_touched() -> None:
    machine, link, pair = bench(width=8, retimers=1)
    margins = run(machine, link, pair, lanes=[5, 2, 99], only=["C"])
    assert [eyes.receiver for eyes in margins.receivers] == ["C"]
    assert [eye.lane for eye in margins.receivers[0].lanes] == [5, 2]
    assert {lane for lane, *_ in link.steps} == {5, 2}


def test_the_simulated_port_itself_refuses_what_the_specification_forbids() -> None:
    """The rules that the tests above lean on: nonsense beyond MaxLanes, a wide write seen, a command repeated seen."""
    machine, link, _ = bench(width=4, kind=Kind(max_lanes=0))
    lanes = link.ports[PORT].lanes
    at = machine.now
    for lane in lanes[:3]:
        lane.write(0x0119, at)
    for lane in lanes[:3]:
        lane.settle(at + 0.5)
    assert link.ports[PORT].overrun(1, at + 0.5)
    machine.write(PORT, MARGINING + 8, 4, 0x9C38)
    lanes[0].write(0x0119, at + 1)
    lanes[0].write(0x0119, at + 2)
    assert len(link.all_violations) == 2


