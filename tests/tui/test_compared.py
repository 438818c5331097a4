"""Two runs side by side: nothing that failed is hidden by what passed later, and what changed stands first."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from boxcheck.compare.judged import readable
from boxcheck.model import Finding, Outcome, Quantity, Subject
from boxcheck.store.creating import create_run
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.tui.compared import Line, compare, counted
from tests.store.machine import HandClock
from tests.tui.box import PROCESSOR
from tests.tui.conftest import Frames
from tests.tui.showing import app_over, line_with, on_screen, press, run, shown, text, until

CARD = Subject("gpu", "cuda:2", slot="PCIE3")
HIGHEST = Subject("gpu", "cuda:0", slot="PCIE1")


def found(
    says: str, value: float | None, outcome: Outcome = Outcome.PASS, check: str = "matmul.rate", unit: str = "TFLOPS",
    subject: Subject = CARD,
) -> Finding:
    measured = None if value is None else Quantity(value, unit)
    return Finding(check=check, subject=subject, outcome=outcome, says=says, measured=measured)


def stored(
    folder: Path, *phases: tuple[str, list[Finding]], wall: float = 1_795_000_000.0,
    start: PhaseStart | None = None,
) -> str:
    folder.mkdir(exist_ok=True)
    store = create_run(str(folder), RunInfo(kind="burn", version="0.4.0", box="W-1"), clock=HandClock(wall=wall).clock())
    for number, (name, findings) in enumerate(phases, 1):
        store.plan_phase(PhasePlan(number=number, name=name, module=name))
        store.begin_phase(number, start or PhaseStart())
        store.findings(number, findings)
        store.end_phase(number)
    store.close()
    return store.path


def row(lines: list[Line], *words: str) -> Line:
    (one,) = [line for line in lines if all(word in line.what for word in words)]
    return one


def test_a_failure_in_one_phase_is_not_hidden_by_a_pass_in_a_later_one(tmp_path: Path) -> None:
    wrong = found("3 of 96 were wrong", 3, Outcome.FAIL, "stress.wrong-results", "wrong results")
    right = found("nothing was wrong", 0, Outcome.PASS, "stress.wrong-results", "wrong results")
    one = stored(tmp_path, ("matmul", [right]), ("p2p", [right]))
    other = stored(tmp_path, ("matmul", [wrong]), ("p2p", [right]), wall=1_795_001_000.0)
    lines = compare(one, other)
    assert row(lines, "wrong-results in matmul").other == "fail  3 wrong results"
    assert row(lines, "wrong-results in matmul").outcome is Outcome.FAIL
    assert row(lines, "wrong-results in p2p").other == "0 wrong results"
    again = compare(stored(tmp_path, ("p2p", [right]), ("p2p", [wrong]), wall=1_795_002_000.0), other)
    assert any("fail" in line.one for line in again), "nor is it by another phase of the same name"


TWO = PhaseStart(
    gpus=tuple(msgspec.structs.replace(PROCESSOR, backend="cuda", index=at, is_gpu=True) for at in (0, 2)),
    slots={"cuda:0": "PCIE1", "cuda:2": "PCIE3"})


@pytest.mark.parametrize(("whole", "before", "shown"), [
    (Subject("box", "box"), TWO, "pass"), (Subject("group", "2 GPUs"), TWO, "pass"), (Subject("group", "1 GPUs"), TWO, "-"),
    (Subject("group", "2 GPUs"), msgspec.structs.replace(TWO, slots={"cuda:0": "PCIE1", "cuda:2": "PCIE4"}), "-"),
    (Subject("group", "2 GPUs"), PhaseStart(), "-")])
def test_a_fault_of_one_part_stands_beside_the_pass_of_all_of_them(
    tmp_path: Path, whole: Subject, before: PhaseStart, shown: str,
) -> None:
    passed = found("no link fell", None, check="stress.link-speed", subject=whole)
    fell = found("fell to x8", 8, Outcome.FAIL, "stress.link-speed", "lanes")
    lines = compare(stored(tmp_path, ("copy", [passed]), start=before),
                    stored(tmp_path, ("copy", [fell]), wall=1_795_001_000.0, start=TWO))
    assert (row(lines, "link-speed").one, row(lines, "link-speed").other) == (shown, "fail  8 lanes")


def test_kinds_of_work_are_rows_of_their_own(tmp_path: Path) -> None:
    one = stored(tmp_path, ("matmul", [found("bf16: 120 TFLOPS by x", 120.0, Outcome.FAIL), found("fp16: 160 by x", 160.0)]))
    other = stored(tmp_path, ("matmul", [found("bf16: 161 by x", 161.0), found("fp16: 159 by x", 159.0)]),
                   wall=1_795_001_000.0)
    lines = compare(one, other)
    assert row(lines, "bf16").one == "fail  120.0 TFLOPS"
    assert (row(lines, "bf16").kind, row(lines, "fp16").kind) == ("judged", "same")
    assert counted(lines) == "1 of 2 judgements changed: 1 judged otherwise"


def test_of_two_findings_of_one_kind_the_gravest_counts_in_any_order(tmp_path: Path) -> None:
    bad, good = found("bf16: slow", 120.0, Outcome.FAIL), found("bf16: well", 160.0)
    for at, some in enumerate(([bad, good], [good, bad])):
        path = stored(tmp_path / str(at), ("matmul", some))
        assert row(compare(path, path), "bf16").one == "fail  120.0 TFLOPS"


def test_what_failed_without_a_number_is_there_too(tmp_path: Path) -> None:
    one = stored(tmp_path, ("burn", [found("it answers", None, check="burn.answers")]))
    other = stored(tmp_path, ("burn", [found("it hung", None, Outcome.FAIL, "burn.answers")]), wall=1_795_001_000.0)
    line = row(compare(one, other), "burn.answers")
    assert (line.one, line.other, line.kind) == ("pass", "fail", "judged")
    assert not [one for one in compare(one, one) if one.part], "what passed without one says nothing"


@pytest.mark.parametrize(("after", "kind"), [(102.9, "same"), (103.1, "moved"), (96.8, "moved")])
def test_three_parts_of_a_hundred_are_the_notch_of_a_change(tmp_path: Path, after: float, kind: str) -> None:
    one = stored(tmp_path, ("m", [found("100", 100.0)]))
    other = stored(tmp_path, ("m", [found("after", after)]), wall=1_795_001_000.0)
    assert row(compare(one, other), "matmul").kind == kind


def test_of_what_is_a_percent_itself_points_are_told(tmp_path: Path) -> None:
    one = stored(tmp_path, ("m", [found("x", 0.4, unit="%")]))
    for at, (after, kind, change) in enumerate(((0.8, "same", "+0.4 pt"), (4.4, "moved", "+4.0 pt")), 1):
        line = row(compare(one, stored(tmp_path, ("m", [found("x", after, unit="%")]), wall=1_795_000_000.0 + 60 * at)), "matmul")
        assert (line.kind, line.change) == (kind, change)


def test_bytes_are_told_in_what_they_are_counted_in() -> None:
    assert [readable(value, unit) for value, unit in (
        (34359738368, "bytes"), (12, "bytes"), (12345, "errors"), (163.42, "TFLOPS"), (1.16e-11, "errors/bit"))] == [
        "32 GiB", "12 bytes", "12 345 errors", "163.4 TFLOPS", "1.16e-11 errors/bit"]


def test_on_the_screen_changes_are_first_and_alone_where_that_is_asked(stills: Frames, tmp_path: Path) -> None:
    same = [found("0", 0, check=f"a{at}.b", unit="errors", subject=HIGHEST) for at in range(9)]
    stored(tmp_path, ("m", [*same, found("x", 100.0)]))
    stored(tmp_path, ("m", [*same, found("x", 50.0, Outcome.FAIL)]), wall=1_795_001_000.0)

    async def test() -> None:
        app = app_over(stills("all-well"), folder=str(tmp_path))
        async with on_screen(app, (80, 24)) as pilot:
            await press(pilot, "r")
            await until(pilot, lambda: "2 runs" in text(app))
            await press(pilot, "space", "down", "space", "c")
            await until(pilot, lambda: "1 of 10 judgements changed" in text(app))
            lines = shown(app)
            assert lines.index(line_with(lines, "matmul.rate")) < lines.index(line_with(lines, "a0.b"))
            assert "-50.0 %" in line_with(lines, "matmul.rate")
            await press(pilot, "a")
            assert "a0.b" not in text(app)
            assert "matmul.rate" in text(app)
            await press(pilot, "a")
            assert "a0.b" in text(app)

    run(test)


def test_an_error_of_another_kind_is_said_there(
    stills: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path, ("m", []))
    stored(tmp_path, ("m", []), wall=1_795_001_000.0)

    def broken(one: str, other: str) -> None:
        raise ValueError("half a row")

    monkeypatch.setattr("boxcheck.tui.screens.compare.compare", broken)

    async def test() -> None:
        app = app_over(stills("all-well"), folder=str(tmp_path))
        async with on_screen(app, (80, 24)) as pilot:
            await press(pilot, "r")
            await until(pilot, lambda: "2 runs" in text(app))
            await press(pilot, "space", "down", "space", "c")
            await until(pilot, lambda: "ValueError: half a row" in text(app))

    run(test)
