"""However a run ends, the link is as it was: interrupted at every write, at every attribute, at any moment between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from boxcheck.riser.links.ports import LinkPair, Ports, Refused
from boxcheck.riser.margining.hold import NotGivenBack, kept, settle
from boxcheck.riser.margining.normal import all_to_normal
from boxcheck.riser.margining.run import margin
from tests.riser.margin_bench import bench, clean, run
from tests.riser.simulated.machine import Machine
from tests.riser.simulated.margin import CARD, PORT, MarginLink
from tests.riser.simulated.margin_lane import Kind

SMALL = Kind(timing_steps=6, voltage_steps=8, rate_timing=63, rate_voltage=63, true_timing_percent=40, max_lanes=1)
SETTINGS: list[dict[str, Any]] = [
    {"link_control": 0x0042}, {"link_control": 0x0143, "link_control_2": 0x0024, "width": 1, "max_width": 1},
    {"link_control": 0x0E40, "power": "on", "width": 1, "max_width": 1}]
LOOK = 0.011


def small(**more: Any) -> tuple[Machine, MarginLink, LinkPair]:
    machine, link, pair = bench(**({"width": 2, "max_width": 2, "kind": SMALL} | more))
    for port in link.ports.values():
        port.latency_seconds, port.setup_seconds = (0.0, 0.002), (0.0, 0.002)
    return machine, link, pair


def writes_of(**more: Any) -> int:
    machine, link, pair = small(**more)
    run(machine, link, pair, look_seconds=LOOK)
    return sum(1 for entry in machine.log if entry[1] == "write")


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_an_interruption_at_every_write_leaves_everything_as_it_was(settings: dict[str, Any]) -> None:
    total = writes_of(**settings)
    assert total > 110
    for number in range(total):
        machine, link, pair = small(**settings)
        before, hit = link.settings, []

        def cut(at: int, number: int = number, hit: list[int] = hit) -> bool:
            if at == number and not hit:
                hit.append(at)
                return True
            return False

        machine.cut = cut
        with pytest.raises(KeyboardInterrupt):
            margin(machine, pair, look_seconds=LOOK)
        assert hit == [number]
        clean(link, before)


def test_a_second_and_a_third_interruption_while_it_is_given_back_do_not_leave_it_half_done() -> None:
    total = writes_of()
    for number in range(0, total, 7):
        machine, link, pair = small()
        before = link.settings
        tried: list[int] = []

        def cut(at: int, number: int = number, tried: list[int] = tried) -> bool:
            tried.append(at)
            return at >= number and len([one for one in tried if one >= number]) in (1, 3, 6)

        machine.cut = cut
        with pytest.raises(KeyboardInterrupt):
            margin(machine, pair, look_seconds=LOOK)
        clean(link, before)


def test_an_interruption_at_any_moment_between_leaves_everything_as_it_was() -> None:
    for number in range(1, 400, 9):
        machine, link, pair = small()
        before, count = link.settings, [0]

        def tick(_: float, __: float, count: list[int] = count, number: int = number) -> None:
            count[0] += 1
            if count[0] == number:
                raise KeyboardInterrupt

        machine.on_tick.append(tick)
        with pytest.raises(KeyboardInterrupt):
            margin(machine, pair, look_seconds=LOOK)
        clean(link, before)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 1.8])
def test_a_link_that_takes_no_commands_when_it_is_interrupted_is_waited_for(seconds: float) -> None:
    machine, link, pair = small()
    before = link.settings
    struck: list[float] = []

    def strike(lane: object) -> None:
        link.recover(seconds)
        struck.append(machine.now)

    def tick(_: float, __: float) -> None:
        if len(struck) == 1:
            struck.append(0.0)
            raise KeyboardInterrupt

    link.at_step[3] = strike
    machine.on_tick.append(tick)
    with pytest.raises(KeyboardInterrupt):
        margin(machine, pair, look_seconds=LOOK)
    clean(link, before)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_an_interruption_at_every_attribute_leaves_everything_as_it_was(number: int) -> None:
    machine, link, pair = small()
    before, count = link.settings, [0]

    def on_set(path: str, text: str) -> bool:
        count[0] += 1
        if count[0] == number:
            raise KeyboardInterrupt
        return False

    machine.on_set.append(on_set)
    with pytest.raises(KeyboardInterrupt):
        margin(machine, pair, look_seconds=LOOK)
    clean(link, before)


def test_everything_that_may_put_a_link_to_sleep_is_off_meanwhile_and_only_then() -> None:
    machine, link, pair = small(link_control=0x0143)
    seen = []

    @contextmanager
    def load() -> Iterator[None]:
        seen.append("load begins")
        yield
        seen.append("load ends")

    def look(lane: object) -> None:
        seen.append((link.control[PORT], link.control[CARD], link.control_2[PORT] & 0x20, link.control_2[CARD] & 0x20,
                     machine.attributes[f"/sys/bus/pci/devices/{CARD}/power/control"]))

    link.at_step[3] = look
    run(machine, link, pair, load=load, look_seconds=LOOK)
    assert seen == ["load begins", (0x0340, 0x0340, 0x20, 0x20, "on"), "load ends"]


def test_aspm_goes_off_at_the_card_first_and_on_at_the_port_first() -> None:
    machine, link, pair = small()
    order: list[tuple[object, int]] = []
    machine.on_write.insert(0, lambda bdf, offset, size, value: bool(offset == 0x70 and order.append((bdf, value & 3))))
    run(machine, link, pair, look_seconds=LOOK)
    aspm = [(bdf, value) for at, (bdf, value) in enumerate(order)
            if value != next((earlier for one, earlier in reversed(order[:at]) if one == bdf), 2)]
    assert aspm == [(CARD, 0), (PORT, 0), (PORT, 2), (CARD, 2)]


def test_what_others_changed_meanwhile_is_not_overwritten() -> None:
    machine, link, pair = small()

    def kernel(lane: object) -> None:
        link.control[PORT] |= 0x400

    link.at_step[2] = kernel
    margin(machine, pair, look_seconds=LOOK)
    assert link.control[PORT] == 0x0442
    assert link.in_place


def test_a_card_that_is_reset_by_the_drop_gets_its_settings_back() -> None:
    machine, link, pair = bench(width=4, max_width=16)
    link.at_step[4] = lambda lane: link.drop(0.4)
    margins = margin(machine, pair)
    assert margins.stopped is not None
    assert margins.not_restored is None
    # The reset took the other bits as well; the journal's holder gives them back, this one what margining changed.
    assert link.control[CARD] == 0x0002
    assert link.control[PORT] == 0x0042
    assert link.in_place
    assert machine.now < 110


def test_a_card_that_never_comes_back_is_said_to_be_unrestored() -> None:
    machine, link, pair = bench(width=4, max_width=16)
    before = link.settings
    link.at_step[4] = lambda lane: link.drop(1e9)
    margins = margin(machine, pair)
    assert margins.stopped is not None
    assert margins.not_restored is not None
    assert CARD in margins.not_restored
    assert "cold boot" in margins.not_restored
    assert link.control[PORT] == before[0][PORT]  # type: ignore[index]
    assert link.control_2[PORT] == before[1][PORT]  # type: ignore[index]


def test_writes_that_are_refused_leave_nothing_changed_and_say_why() -> None:
    machine, link, pair = small()
    before = link.settings
    machine.refuses = "lockdown"
    margins = margin(machine, pair)
    assert [one.kind for one in margins.obstacles] == ["lockdown"]
    assert link.settings == before


def test_a_register_that_does_not_come_back_is_an_error_with_its_name() -> None:
    machine, link, pair = small()
    settled = kept(machine, pair)
    settled.__enter__()
    settle(machine, pair)
    machine.on_write.insert(0, lambda bdf, offset, size, value: bdf == PORT and offset == 0x70)
    with pytest.raises(NotGivenBack, match=r"LnkCtl of 0000:40:01\.1 could not be set back to 0x0 in its bits 0x200"):
        settled.__exit__(None, None, None)
    assert link.control[CARD] == 0x0042


def test_another_holder_can_take_the_place_of_ours() -> None:
    machine, link, pair = small()
    held = []

    @contextmanager
    def hold(ports: Ports, which: LinkPair) -> Iterator[Ports]:
        held.append("in")
        with kept(ports, which) as mine:
            yield mine
        held.append("out")

    run(machine, link, pair, hold=hold, look_seconds=LOOK)
    assert held == ["in", "out"]


def test_after_a_kill_every_sampler_is_brought_back_without_knowing_what_was_done() -> None:
    machine, link, pair = bench(width=4, max_width=16, retimers=1)
    dead = []

    class Killed(BaseException):
        pass

    def cut(at: int) -> bool:
        if dead:
            raise Killed
        return False

    machine.cut = cut
    for number in range(1, 60):
        # At a step that holds: one with too many errors brings its sampler back by itself.
        link.at_step[number] = lambda lane: dead.extend(one for one in lane.moved.values() if one.trips_after is None)
    with pytest.raises(Killed):
        margin(machine, pair)
    assert not link.in_place
    assert any(not one.ended for lane in link.ports[PORT].lanes for one in lane.moved.values())
    machine.cut = lambda at: False
    assert all_to_normal(machine, pair) == ()
    assert link.in_place


def test_bringing_back_says_which_lanes_did_not_confirm() -> None:
    machine, link, pair = bench(width=2, max_width=2)
    link.ports[PORT].kinds[1].never_echoes = True
    link.recovers_until = 1e9
    says = all_to_normal(machine, pair)
    assert len(says) == 2
    assert "0000:40:01.1: lane 0, 1 did not confirm" in says[0]


def test_a_refusal_half_way_is_said_and_the_rest_is_given_back() -> None:
    machine, link, pair = small()
    before = link.settings

    def refuse(lane: object) -> None:
        def hook(bdf: object, offset: int, size: int, value: int) -> bool:
            if offset >= 0x200:
                raise Refused("error", "the write was refused")
            return False

        machine.on_write.insert(0, hook)

    link.at_step[5] = refuse
    margins = margin(machine, pair, look_seconds=LOOK)
    assert margins.stopped == "the write was refused"
    assert link.settings == before
