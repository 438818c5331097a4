"""Each command of the specification, in words and against the simulated port."""

from __future__ import annotations

import pytest

from boxcheck.riser.margining.capabilities import read
from boxcheck.riser.margining.commands import (
    NO_COMMAND,
    REPORTS,
    Command,
    clear_error_log,
    error_limit,
    go_to_normal,
    report,
    retimer_register,
    step_status,
    step_timing,
    step_voltage,
)
from boxcheck.riser.margining.wire import COMMAND_SECONDS, Silent, Wire
from tests.riser.margin_bench import bench
from tests.riser.simulated.margin import CARD, MARGINING, PORT
from tests.riser.simulated.margin_lane import Kind


@pytest.mark.parametrize(("command", "word"), [
    (NO_COMMAND, 0x9C38),
    (report("A", "capabilities"), 0x8809), (report("F", "max-lanes"), 0x900E), (report("C", "sample-count"), 0x8F0B),
    (error_limit("A", 4), 0xC411), (error_limit("F", 63), 0xFF16),
    (go_to_normal("A"), 0x0F11), (go_to_normal(), 0x0F10), (clear_error_log("F"), 0x5516), (clear_error_log(), 0x5510),
    (step_timing("A", 5, left=False), 0x0519), (step_timing("A", 5, left=True), 0x4519),
    (step_timing("F", 63, left=None), 0x3F1E), (step_voltage("F", 127, down=True), 0xFF26),
    (step_voltage("A", 1, down=False), 0x0121), (step_voltage("A", 1, down=None), 0x0121),
    (retimer_register("B", 0xA0), 0xA00A), (retimer_register("D", 0x87), 0x870C),
])
def test_words_are_those_of_the_table(command: Command, word: int) -> None:
    assert command.word == word


@pytest.mark.parametrize(("receiver", "register"), [("A", 0), ("C", 0), ("F", 0), ("B", 0x88), ("D", 0x9F), ("B", 256)])
def test_retimer_registers_that_may_not_be_asked_for(receiver: str, register: int) -> None:
    with pytest.raises(ValueError, match="cannot be asked for"):
        retimer_register(receiver, register)  # type: ignore[arg-type]


def test_steps_and_limits_beyond_their_fields_are_not_made() -> None:
    for make in (lambda: step_timing("A", 64, left=True), lambda: step_voltage("A", 128, down=True), lambda: error_limit("A", 64),
                 lambda: step_timing("A", -1, left=None)):
        with pytest.raises(ValueError, match="0 to"):
            make()


def test_an_echo_is_of_type_and_receiver_for_answers_and_of_the_whole_word_for_settings() -> None:
    assert report("A", "max-lanes").echoed_by(0x0309)
    assert not report("A", "max-lanes").echoed_by(0x030E)
    assert not report("A", "max-lanes").echoed_by(0x0319)
    assert error_limit("A", 4).echoed_by(0xC411)
    assert not error_limit("A", 4).echoed_by(0xC311)
    assert error_limit("A", 4).echoed_by(0xC411 | 0x80), "the reserved bit says nothing"
    assert not NO_COMMAND.echoed_by(0)


@pytest.mark.parametrize(("word", "state", "errors"), [
    (0x8319, "in-progress", 3), (0x4019, "setting-up", 0), (0xC019, "nak", 0), (0x0519, "too-many-errors", 5), (0xBF19, "in-progress", 63)])
def test_the_answer_to_a_step(word: int, state: str, errors: int) -> None:
    status = step_status(word)
    assert (status.state, status.errors) == (state, errors)


def test_every_report_is_asked_and_read() -> None:
    kind = Kind(voltage=True, ind_up_down=False, ind_left_right=True, reports_rate=False, ind_sampler=True, timing_steps=21,
                voltage_steps=99, timing_percent=33, voltage_percent=17, rate_timing=5, rate_voltage=6, max_lanes=7, sample_count=80)
    machine, link, pair = bench(kind=kind)
    for end, receiver in ((pair.port, "A"), (pair.card, "F")):
        assert end is not None
        found = read(Wire(machine, end), 0, receiver)  # type: ignore[arg-type]
        assert (found.voltage, found.independent_up_down, found.independent_left_right) == (True, False, True)
        assert (found.counts_samples, found.independent_sampler) == (True, True)
        assert (found.timing_steps, found.voltage_steps, found.timing_percent, found.voltage_percent) == (21, 99, 33, 17)
        assert (found.timing_rate, found.voltage_rate, found.max_lanes) == (5, 6, 7)
        assert Wire(machine, end).ask(0, receiver, "sample-count") == 80  # type: ignore[arg-type]
    assert link.all_violations == []
    assert len(REPORTS) == 9


def test_a_receiver_without_voltage_is_not_asked_about_voltage() -> None:
    machine, _, pair = bench(kind=Kind(voltage=False))
    found = read(Wire(machine, pair.port), 0, "A")
    asked = {value >> 8 for _, what, bdf, offset, _, value in machine.log if what == "write" and offset == MARGINING + 8}
    assert not found.voltage
    assert asked.isdisjoint({0x89, 0x8C, 0x8D})


def test_retimer_registers_answer_through_the_port_and_zero_where_there_is_none() -> None:
    machine, link, pair = bench(retimers=1)
    link.ports[PORT].retimer_registers[2, 0xA3] = 0x5A
    wire = Wire(machine, pair.port)
    assert wire.order(0, retimer_register("B", 0xA3)) >> 8 == 0x5A
    wire.done(0)
    assert wire.order(0, retimer_register("B", 0x10)) >> 8 == 0
    wire.done(0)
    assert link.all_violations == []


def test_settings_take_effect_limit_clear_and_normal() -> None:
    machine, link, pair = bench(width=1, max_width=1)
    wire, lane = Wire(machine, pair.port), link.ports[PORT].lanes[0]
    wire.rest(0)
    for command in (error_limit("A", 9), step_timing("A", 3, left=True)):
        wire.order(0, command)
        wire.done(0)
    assert lane.limits[1] == 9
    assert lane.moved[1].steps == 3
    wire.order(0, clear_error_log("A"))
    wire.done(0)
    assert 1 in lane.moved, "clearing the log moves no sampler"
    wire.order(0, go_to_normal("A"))
    wire.done(0)
    assert not lane.moved
    assert not lane.limits
    assert link.all_violations == []


def test_go_to_normal_for_all_receivers_reaches_those_of_retimers() -> None:
    machine, link, pair = bench(width=1, max_width=1, retimers=2)
    wire, lane = Wire(machine, pair.port), link.ports[PORT].lanes[0]
    wire.rest(0)
    for receiver in ("A", "C", "E"):
        wire.order(0, step_timing(receiver, 2, left=False))  # type: ignore[arg-type]
        wire.done(0)
    assert set(lane.moved) == {1, 3, 5}
    wire.order(0, go_to_normal())
    wire.done(0)
    assert not lane.moved


def test_a_receiver_that_is_not_there_never_answers_and_the_wait_is_bounded() -> None:
    machine, link, pair = bench(retimers=0)
    wire = Wire(machine, pair.port)
    wire.rest(0)
    began = machine.now
    with pytest.raises(Silent, match="lane 0 gave no answer to the command 0x880a in 2 tries of 250 ms"):
        wire.order(0, report("B", "capabilities"))
    assert machine.now - began < 2 * COMMAND_SECONDS + 0.2
    card = Wire(machine, pair.card)  # type: ignore[arg-type]
    card.rest(0)
    with pytest.raises(Silent):
        card.order(0, report("A", "capabilities"))
    assert link.all_violations == []


def test_a_lost_write_is_made_once_more() -> None:
    machine, link, pair = bench()
    link.lost_writes = {2}
    wire = Wire(machine, pair.port)
    wire.rest(0)
    assert wire.ask(0, "A", "timing-steps") == 16
    assert link.all_violations == []


def test_the_reserved_bit_of_a_control_register_is_kept() -> None:
    machine, link, pair = bench()
    link.ports[CARD].lanes[0].control |= 0x80
    wire = Wire(machine, pair.card)  # type: ignore[arg-type]
    wire.rest(0)
    wire.ask(0, "F", "max-lanes")
    assert link.ports[CARD].lanes[0].control & 0x80


def test_only_words_of_16_bits_are_written_and_only_to_control_registers() -> None:
    machine, _, pair = bench(width=2, max_width=2)
    read(Wire(machine, pair.port), 1, "A")
    writes = [(offset, size) for _, what, _, offset, size, _ in machine.log if what == "write"]
    assert writes
    assert all(size == 2 and (offset - MARGINING - 8) % 4 == 0 for offset, size in writes)
