"""A run beside earlier runs of its box: what is slower or hotter is told with the runs and the numbers; what is noise, or
not alike, is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.engine.box import name_of, same_box
from boxcheck.engine.figures import Card, CardFigures, Figures, PhaseFigures, Rate, phase_figures
from boxcheck.engine.history import History, compare
from boxcheck.engine.history_cards import match
from boxcheck.engine.history_store import (
    Gathered,
    compare_anew,
    earlier_runs,
    figures_from,
    stored_figures,
    stored_history,
)
from boxcheck.engine.inspect import read_facts
from boxcheck.engine.plan import Step
from boxcheck.model import Bdf
from boxcheck.report.history import history_object, history_text
from boxcheck.report.text import Style
from boxcheck.store.creating import create_run
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.stress import StressResults
from boxcheck.stress.watched import Watching
from tests.boxes import build
from tests.boxes.memory import host
from tests.store.machine import HandClock, Machine
from tests.stress.every_check import matmul, watched

DAY = 86400.0
MARCH = 1_773_273_600.0  # 2026-03-12
PORT = Bdf("0000:40:01.1")


def card(number: int = 0, **changes: Any) -> Card:
    found = Card(
        key=f"cuda:{number}", name="RTX 4090", backend="cuda", uuid=f"GPU-{number}", bdf=f"0000:{number + 1:02x}:00.0",
        slot=f"PCIE{number + 1}", driver="CUDA 13.0, driver 580.65")
    return msgspec.structs.replace(found, **changes)


def figures(
    of: Card, tflops: float = 150.0, celsius: float = 70.0, watts: float | None = 440.0, by: str = "kernel mma-bf16",
    held: dict[str, float] | None = None, unit: str = "TFLOPS",
) -> CardFigures:
    return CardFigures(
        card=of, hottest_celsius={"core": celsius}, most_watts=watts, held_seconds={} if held is None else held,
        rates=(Rate(what="matmul.bf16.power", unit=unit, by=by, value=tflops, samples=50),))


def run(number: int, cards: Sequence[CardFigures], **changes: Any) -> Figures:
    """The run of a day, from 2026-03-12 on. `changes` of the phase, or of the whole."""
    phase = PhaseFigures(
        name="matmul", module="matmul", planned_seconds=1000.0, watched_seconds=1000.0, cards=tuple(cards), links=(PORT,))
    mine = {name: value for name, value in changes.items() if name in PhaseFigures.__struct_fields__}
    whole = {name: value for name, value in changes.items() if name not in mine}
    found = Figures(
        run=f"R{number}", started=MARCH + number * DAY, version="1.0", box="W1 (wopr)",
        phases=(msgspec.structs.replace(phase, **mine),))
    return msgspec.structs.replace(found, **whole)


def usual(count: int = 5, **changes: Any) -> list[Figures]:
    """Runs of one card that differ by a little."""
    return [run(at, [figures(card(), 150.0 + (at % 3 - 1) * 0.3, 70.0 + at % 2, 440.0 + at % 2)], **changes)
            for at in range(count)]


def worse(history: History) -> list[tuple[str, str]]:
    return [(one.check, one.says) for one in history.findings if one.outcome.value == "marginal"]


def test_a_gpu_that_is_slower_and_hotter_than_in_march_is_told_with_the_run_and_the_numbers() -> None:
    history = compare(run(9, [figures(card(), 144.0, 79.0)]), usual())
    (rate, says), (heat, heated) = worse(history)
    assert (rate, heat) == ("history.rate", "history.temperature")
    assert says == ("matmul.bf16.power 144 TFLOPS, 4.0 % slower than the median of 5 runs (150), 3.8 % than on "
                    "2026-03-12 (run R0); 0.6 % is noise")
    assert heated == ("matmul: core at most 79 °C at 440 W, +9 °C from the median of 5 runs (70 °C), +9 °C since "
                      "2026-03-12 (run R0); 3 °C is noise")
    assert [one.run for one in history.compared] == ["R0", "R1", "R2", "R3", "R4"]
    assert str(history.findings[0].subject) == "PCIE1"


def test_a_run_like_those_before_it_has_no_worse_finding() -> None:
    history = compare(run(9, [figures(card(), 149.6, 72.0)]), usual())
    assert worse(history) == []
    assert {one.check for one in history.findings} == {
        "history.rate", "history.temperature", "history.power", "history.throttling", "history.link-errors"}


@pytest.mark.parametrize(("tflops", "told"), [(144.1, False), (143.9, True)])
def test_with_two_earlier_runs_the_noise_is_the_stated_default(tflops: float, told: bool) -> None:
    """2 % of noise and 2 % beyond it, of 150."""
    two = [run(at, [figures(card())]) for at in range(2)]
    history = compare(run(9, [figures(card(), tflops)]), two)
    assert bool(worse(history)) is told
    if told:
        assert history.findings[0].limit is not None
        assert history.findings[0].limit.should == 4.0
        assert "2.0 % is noise" in history.findings[0].says


def test_one_bad_run_among_ten_does_not_hide_the_next_one() -> None:
    runs = [run(at, [figures(card(), 90.0 if at == 4 else 150.0)]) for at in range(10)]
    assert worse(compare(run(20, [figures(card(), 100.0)]), runs))


def test_noise_of_earlier_runs_is_room_for_the_next() -> None:
    runs = [run(at, [figures(card(), (140.0, 160.0, 150.0)[at % 3])]) for at in range(9)]
    assert worse(compare(run(20, [figures(card(), 138.0)]), runs)) == []


def test_what_creeps_is_seen_by_the_first_run() -> None:
    """Half a percent less each time: no step of it is beyond noise, and the median goes along."""
    runs = [run(at, [figures(card(), 150.0 * 0.995 ** at)]) for at in range(12)]
    (told,) = worse(compare(run(12, [figures(card(), 150.0 * 0.995 ** 12)]), runs))
    assert "than on 2026-03-12 (run R0)" in told[1]


def test_the_first_and_the_last_ten_are_compared_with() -> None:
    history = compare(run(30, [figures(card())]), [run(at, [figures(card())]) for at in range(20)])
    assert [one.run for one in history.compared] == ["R0", *(f"R{at}" for at in range(10, 20))]


def test_latency_is_worse_when_it_grows() -> None:
    runs = [run(at, [figures(card(), 10.0, unit="us")]) for at in range(5)]
    assert worse(compare(run(9, [figures(card(), 13.0, unit="us")]), runs))
    assert worse(compare(run(9, [figures(card(), 6.0, unit="us")]), runs)) == []


def test_another_kernel_is_another_rate() -> None:
    history = compare(run(9, [figures(card(), 100.0, by="kernel wmma-bf16")]), usual())
    assert worse(history) == []
    assert any("by other means then (kernel mma-bf16), now kernel wmma-bf16" in one for one in history.not_compared)


def test_heat_is_compared_at_the_same_power_alone() -> None:
    history = compare(run(9, [figures(card(), celsius=85.0, watts=470.0)]), usual())
    assert [check for check, _ in worse(history)] == ["history.power"]
    assert any("at another power then (440 W), now 470 W" in one for one in history.not_compared)
    unread = compare(run(9, [figures(card(), celsius=85.0, watts=None)]), usual())
    assert worse(unread) == []
    assert any("its power was not read" in one for one in unread.not_compared)


def test_a_warm_room_is_one_finding_of_the_box() -> None:
    earlier = [run(at, [figures(card(number)) for number in range(4)]) for at in range(5)]
    history = compare(run(9, [figures(card(number), celsius=79.0 + number / 10) for number in range(4)]), earlier)
    ((check, says),) = worse(history)
    assert check == "history.temperature"
    assert says == "matmul: 4 of 4 GPUs are 9 to 9 °C hotter than before, at the same power"
    assert history.findings[0].subject.kind == "box"
    alone = compare(run(9, [figures(card(number), celsius=79.0 if number == 2 else 71.0) for number in range(4)]), earlier)
    assert len(worse(alone)) == 1
    assert str(alone.findings[0].subject) == "PCIE3"
    assert alone.findings[0].notes == ("the other GPUs: +1 °C",)


@pytest.mark.parametrize(("now", "told"), [
    (340.0, True), (404.0, True), (405.0, False), (430.0, False), (475.0, False), (476.0, True)])
def test_other_power_is_told_either_way(now: float, told: bool) -> None:
    earlier = [run(at, [figures(card())]) for at in range(2)]  # 3 % of noise and 5 %
    history = compare(run(9, [figures(card(), watts=now)]), earlier)
    assert ("history.power" in [check for check, _ in worse(history)]) is told


@pytest.mark.parametrize(("seconds", "told"), [(0.0, False), (29.0, False), (31.0, True)])
def test_more_throttling_than_before_is_told(seconds: float, told: bool) -> None:
    earlier = [run(at, [figures(card(), held={"hardware thermal slowdown": 20.0})]) for at in range(3)]
    history = compare(run(9, [figures(card(), held={"hardware thermal slowdown": seconds})]), earlier)
    assert bool(worse(history)) is told


def test_throttling_that_nobody_told_is_not_compared() -> None:
    unread = msgspec.structs.replace(figures(card()), held_seconds=None)
    history = compare(run(9, [unread]), usual())
    assert "history.throttling" not in {one.check for one in history.findings}


@pytest.mark.parametrize(("count", "told"), [(0, False), (3, False), (30, True)])
def test_errors_of_links_are_told_when_they_are_more_often_than_before(count: int, told: bool) -> None:
    earlier = usual(link_errors={PORT: {"BadTLP": 1}})
    history = compare(run(9, [figures(card())], link_errors={PORT: {"BadTLP": count, "NonFatalErr": 500}}), earlier)
    assert bool(worse(history)) is told
    unwatched = compare(run(9, [figures(card())], link_errors={PORT: {"BadTLP": count}}), usual(links=()))
    assert "history.link-errors" not in {one.check for one in unwatched.findings}


# What is alike


def test_a_card_is_known_by_its_number_wherever_it_is() -> None:
    moved = figures(card(slot="PCIE5", bdf="0000:c1:00.0"), 130.0)
    history = compare(run(9, [moved]), usual())
    assert len(worse(history)) == 1
    assert history.told == ("RTX 4090 moved from PCIE1 to PCIE5 since run R4",)


def test_a_card_that_was_replaced_is_new_and_not_compared() -> None:
    history = compare(run(9, [figures(card(uuid="GPU-new"), 130.0)]), usual())
    assert [one.check for one in history.findings] == ["history.link-errors"], "a port's errors are the port's"
    assert history.told == (
        "RTX 4090 in PCIE1 (GPU-new) is new: it is in none of the runs compared with; RTX 4090 (GPU-0) was there in run R4",)
    assert any("no earlier run has this card" in one for one in history.not_compared)


def test_a_card_without_a_number_is_known_by_place_and_that_is_said() -> None:
    nameless = card(uuid=None)
    history = compare(run(9, [figures(nameless, 130.0)]), [run(at, [figures(nameless)]) for at in range(3)])
    assert len(worse(history)) == 1
    assert "told by its place alone" in history.told[0]
    assert match(nameless, [card(uuid=None, name="RTX 3090")]) is None
    assert match(nameless, [card(1, uuid=None)]) is None


def test_two_cards_with_one_number_are_none() -> None:
    assert match(card(), [card(), card(1, uuid="GPU-0")]) is None


@pytest.mark.parametrize(("changes", "why"), [
    ({"planned_seconds": 2000.0}, "it was 1000 s long, this one 2000 s"), ({"options": {"elements": "bf16"}}, "other options"),
    ({"full_size": False}, "small sizes"), ({"warm_up": True}, "it only warms the box up"), ({"injected": "slow"}, "the fault slow was put in on purpose"),
    ({"complete": False}, "did not come to its end"), ({"name": "everything"}, "no earlier run of this box has it")])
def test_a_phase_that_is_not_alike_is_not_compared_and_that_is_said(changes: dict[str, Any], why: str) -> None:
    history = compare(run(9, [figures(card(), 100.0)], **changes), usual())
    assert history.findings == ()
    assert any(why in one for one in history.not_compared), history.not_compared


def test_an_earlier_phase_with_a_fault_in_it_is_no_measure() -> None:
    history = compare(run(9, [figures(card(), 150.0)]), usual(injected="slow"))
    assert history.findings == ()
    assert any("was put in on purpose" in one for one in history.not_compared)


def test_another_runtime_drives_another_card() -> None:
    assert compare(run(9, [figures(card(backend="opencl", key="opencl:0"), 90.0)], links=()), usual()).findings == ()


def test_other_versions_are_compared_and_said() -> None:
    history = compare(
        run(9, [figures(card(driver="CUDA 13.1, driver 590.1"), 130.0)], version="1.1"), usual())
    assert len(worse(history)) == 1
    assert history.told == (
        "boxcheck was 1.0 then, is 1.1 now (runs up to R4)",
        "CUDA 13.0, driver 580.65 then, CUDA 13.1, driver 590.1 now (runs up to R4)")


def test_runs_of_other_boxes_and_later_ones_are_no_measure() -> None:
    others = [run(1, [figures(card())], box="W2 (wopr)"), run(2, [figures(card())], box=""), run(20, [figures(card())])]
    history = compare(run(9, [figures(card(), 100.0)]), others)
    assert history.compared == ()
    assert history.findings == ()
    assert history.left_out == ("run R1: of another box (W2 (wopr))", "run R2: nothing says whether it is of this box")
    assert "no earlier run of this box to compare with" in history_text(history, Style())


@pytest.mark.parametrize(("one", "other", "same"), [
    ("W1 (wopr)", "W1 (wopr)", True), ("W1 (wopr)", "W1 (renamed)", True), ("W1 (wopr)", "W2 (wopr)", False),
    ("wopr", "W1 (wopr)", True), ("W1", "W1 (wopr)", True), ("wopr", "red", False), ("other", "W1 (wopr)", None),
    ("", "wopr", None), ("", "", None)])
def test_a_box_is_told_by_its_serial_number_else_by_its_name(one: str, other: str, same: bool | None) -> None:
    assert same_box(one, other) is same
    assert same_box(other, one) is same


@pytest.mark.parametrize("name", ["wopr-7x4090", "tinybox-red", "laptop"])
def test_every_built_box_has_a_name(name: str) -> None:
    assert name_of(read_facts(host(build(name)))) != ""


# From runs to figures, and in stores


def watched_of() -> Watching:
    found = watched()[Watching]
    assert isinstance(found, Watching)
    return found


def test_figures_hold_what_was_timed_and_verified() -> None:
    made = matmul(bf16=120.0)
    found = phase_figures("matmul", made[StressResults], watched_of(), planned_seconds=60.0)
    rates = {one.what: one.value for one in found.cards[0].rates}
    assert rates["matmul.bf16.power"] == 120.0
    assert "matmul.bf16.exact" not in rates, "nothing was timed"
    assert found.cards[0].hottest_celsius == {"core": 70.0, "mem": 80.0}
    assert found.cards[0].most_watts == 440.0
    assert found.cards[0].held_seconds == {}
    wrong = matmul(power={"wrong": 1})
    assert phase_figures("m", wrong[StressResults], watched_of(), planned_seconds=1.0).cards[0].rates == ()


def stored(folder: Path, hand: HandClock, *, box: str = "wopr", heat: float = 0.0, finish: bool = True) -> str:
    """A run of two cards for 40 s, as the engine makes it."""
    machine = Machine(2)
    machine._heat = [40.0 + heat] * 2
    store = create_run(str(folder), RunInfo(kind="burn", version="1.0", box=box, plan={"steps": [
        {"name": "matmul", "seconds": 40.0, "options": {"elements": "bf16"}}]}), clock=hand.clock(), least_free_bytes=0)
    store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul", planned_seconds=40.0))
    store.begin_phase(1, PhaseStart(gpus=machine.gpus, slots={"cuda:0": "PCIE1"}))
    for _ in range(40):
        hand.pass_by(1)
        for number in range(2):
            store.watched(1, machine.told_by(number, hand.monotonic))
            store.sample(1, machine.sample(number), worker=number)
    store.flush()
    with RunReader(store.path) as reader:
        results = msgspec.structs.replace(results_of(reader, 1), ended=("cuda:0", "cuda:1"), troubles=())
        watching = watching_of(reader, 1)
    store.end_phase(1, results, outcome="pass")
    if finish:
        gathered = Gathered()
        gathered.take(1, Step(name="matmul", kind="stress", modules=("matmul",), seconds=40.0, options={
            "elements": "bf16"}), results, watching)
        gathered.keep(store, str(folder))
        store.end("finished", outcome="pass")
    else:
        store.close()
    return store.path


def test_the_comparison_is_kept_in_the_store_and_names_its_runs(tmp_path: Path) -> None:
    hand = HandClock()
    first = stored(tmp_path, hand)
    hand.pass_by(DAY)
    second = stored(tmp_path, hand)
    with RunReader(first) as reader:
        alone = stored_history(reader)
        assert alone is not None
        assert alone.compared == ()
    with RunReader(second) as reader:
        kept = stored_history(reader)
        assert kept is not None
        assert [one.run for one in kept.compared] == [Path(first).stem]
        assert {one.outcome.value for one in kept.findings} == {"pass"}
        assert compare_anew(reader, str(tmp_path)) == kept
        figures = stored_figures(reader)
        assert figures is not None
        assert figures.phases[0].cards[0].rates
        assert figures_from(reader) == figures, "as from the store alone"


def test_a_run_that_went_down_is_no_measure_and_can_be_compared_anew(tmp_path: Path) -> None:
    hand = HandClock()
    first = stored(tmp_path, hand)
    hand.pass_by(DAY)
    crashed = stored(tmp_path, hand, finish=False)
    found, left_out = earlier_runs(str(tmp_path), "none")
    assert [one.run for one in found] == [Path(first).stem]
    assert left_out == ["1 run that did not come to its end"]
    with RunReader(crashed) as reader:
        assert stored_history(reader) is None
        history = compare_anew(reader, str(tmp_path))
    assert [one.run for one in history.compared] == [Path(first).stem]


def test_a_damaged_store_among_earlier_runs_costs_nothing_else(tmp_path: Path) -> None:
    hand = HandClock()
    stored(tmp_path, hand)
    (tmp_path / "torn.sqlite").write_bytes(b"SQLite format 3\0" + bytes(4000))
    old = create_run(str(tmp_path), RunInfo(kind="burn", version="0.1", id="old"), least_free_bytes=0)
    old.end("finished", outcome="pass")
    strange = create_run(str(tmp_path), RunInfo(kind="burn", version="0.1", id="strange"), least_free_bytes=0)
    strange.attach("figures", b'{"format": 1, "run": 7}')
    strange.end("finished", outcome="pass")
    create_run(str(tmp_path), RunInfo(kind="watch", version="1", id="watched"), least_free_bytes=0).end("finished")
    found, left_out = earlier_runs(str(tmp_path), "none")
    assert len(found) == 1
    assert sorted(left_out) == [
        "run old: it holds no figures that this boxcheck reads", "run strange: it holds no figures that this boxcheck reads",
        "run torn: it cannot be read"]


def test_a_comparison_that_breaks_is_an_event_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> History:
        raise ZeroDivisionError("of a median")

    monkeypatch.setattr("boxcheck.engine.history_store.compare", broken)
    with RunReader(stored(tmp_path, HandClock())) as reader:
        assert reader.run().state == "finished"
        assert [one.kind for one in reader.events() if one.severity == "warn"] == ["history-failed"]
        assert stored_history(reader) is None


# For people


@pytest.mark.parametrize("columns", [80, 120])
def test_the_account_names_slot_runs_and_numbers_and_keeps_to_its_width(columns: int) -> None:
    history = compare(run(9, [figures(card(), 144.0, 79.0)]), usual(), ["run X: it cannot be read"])
    text = history_text(history, Style(columns=columns))
    assert max(map(len, text.splitlines())) <= columns
    flat = " ".join(text.split())
    assert "beside 5 runs of this box, 2026-03-12 (run R0) to 2026-03-16 (run R4)" in flat
    assert "PCIE1 RTX 4090 (cuda:0): 4.0 % slower, 9 °C hotter" in flat
    assert "4.0 % slower" in flat
    assert "+9 °C" in flat
    assert "left out: run X: it cannot be read" in flat
    assert history_text(history, Style(quiet=True)) == ""
    assert "\x1b" not in text


def test_as_json_it_has_all_of_it() -> None:
    found = history_object(compare(run(9, [figures(card(), 144.0)]), usual()))
    assert found["compared"][0] == {"run": "R0", "started": MARCH, "version": "1.0"}
    assert found["findings"][0]["check"] == "history.rate"
    assert found["findings"][0]["outcome"] == "marginal"
