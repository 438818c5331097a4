"""Screens on small terminals, and with names that are long or wide: nothing that tells is cut away."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len

from boxcheck.model import Outcome
from boxcheck.report.matrices import TITLES, Matrix
from boxcheck.tui.frame import LinkView
from boxcheck.tui.look import apart, cut, figure, filled, in_line, middle, padded, reason_of, trained, untold_of
from boxcheck.tui.matrix import direction, lined, table
from boxcheck.tui.unheard import lost
from boxcheck.tui.widgets.gpus import fitting
from tests.tui.conftest import Frames
from tests.tui.runs import PCIE3
from tests.tui.screens import hold_lines
from tests.tui.showing import Still, app_over, line_with, on_screen, press, run, settled, shown, text, until

WIDE = ("槽位三", "PCIE2", "e\u0301e\u0301x", "PCIE4", "🔥5", "PCIE6", "P7")
LONG = ("PCIEX16_1", "PCIEX16_2", "0001:41:00.0", "0002:41:00.0", "A_VERY_LONG_NAME_OF_A_SLOT_1", "A_VERY_LONG_NAME_OF_A_SLOT_2",
        "7")


def named(still: Still, names: tuple[str, ...]) -> Still:
    gpus = tuple(msgspec.structs.replace(row, slot=name) for row, name in zip(still.frame.gpus, names, strict=True))
    return Still(still.path, msgspec.structs.replace(still.frame, gpus=gpus))


# Words and their columns


def test_texts_are_measured_in_columns() -> None:
    for name in WIDE:
        assert cell_len(padded(name, 9)) == cell_len(padded(name, 9, left=False)) == 9
        for width in range(1, 9):
            assert cell_len(cut(name * 3, width)) <= width
            assert cell_len(middle(name * 3, width)) <= width
    assert all(cell_len(line) <= 14 for line in filled("箱七号 " * 9 + "槽" * 40, 14, "  "))
    assert "".join(filled("槽" * 40, 14)) == "槽" * 40


def test_names_that_are_cut_stay_apart() -> None:
    for width in (4, 6, 8, 12):
        short = apart(LONG, width)
        assert len({*short.values()}) == len(LONG), width
        assert all(cell_len(one) <= width for one in short.values())
    assert apart(LONG[:2], 12) == {one: one for one in LONG[:2]}
    assert all("~" in one for name, one in apart(LONG, 8).items() if len(name) > 8)


@pytest.mark.parametrize("names", [WIDE, LONG])
@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 34)])
def test_every_slot_has_a_name_of_its_own_and_columns_stand(
    stills: Frames, names: tuple[str, ...], size: tuple[int, int]
) -> None:
    async def test() -> None:
        app = app_over(named(stills("failing"), names))
        async with on_screen(app, size) as pilot:
            lines = [line for line in shown(app) if re.match(r"^│[▸ ] \d ", line)]
            first = fitting(size[0] - 2, app.frame.gpus if app.frame else ())[0].width
            slots = {line[5:].split("  ")[0] for line in lines}
            assert len(slots) == len(lines) >= 5
            assert first >= 8
            ends = {cell_len(line[:line.index("x16 16")]) for line in lines if "x16 16" in line}
            assert len(ends) <= 1
            hold_lines(app, size)
            await press(pilot, "l")
            hold_lines(app, size)

    run(test)


@pytest.mark.parametrize("value", [0.00044231, 0.1234567, 12.3456, 162.34, 1234567.0, -0.000123, 4.2e11])
def test_a_number_is_never_cut(value: float) -> None:
    assert len(f"({figure(value)})") <= 10
    assert float(figure(value)) == pytest.approx(value, rel=0.006)


def test_points_of_a_column_stand_in_one_line_unless_that_would_leave_nothing() -> None:
    assert [in_line((25.94, 6.1))(value) for value in (25.94, 6.1, None)] == ["25.9", "6.1", "-"]
    assert [in_line((9.5, 8.25))(value) for value in (9.5, 8.25)] == ["9.50", "8.25"]
    assert [in_line((0.5, 0.25))(value) for value in (0.5, 0.25)] == ["0.500", "0.250"]
    assert in_line((1600.0, 0.004))(0.004) == "0.004"


def test_points_and_marks_of_a_matrix_stand_in_one_line_too() -> None:
    one = Matrix(title="t", rows=("a", "b", "c"), columns=("x",), cells=(("6.10",), ("12.4*",), ("?",)))
    assert [row[0] for row in lined(one).cells] == ["6.10", "12.4*", "?"]
    two = msgspec.structs.replace(one, cells=(("6.1",), ("12.4*",), (".",)))
    assert [row[0] for row in lined(two).cells] == ["6.1 ", "12.4*", "."]


def test_rows_of_a_matrix_with_wide_names_stand_in_columns() -> None:
    one = Matrix(title="t", rows=("cuda:0 槽位三", "cuda:1 P"), columns=("x", "y"), cells=(("1.0", "2.0"),) * 2)
    _, *rest = table(one, 60)
    assert len({cell_len(line) for line in rest}) == 1
    assert {cell_len(line[:line.index("1.0")]) for line in rest[1:]} == {cell_len(rest[0][:rest[0].index("x")]) - 2}


def test_who_moves_the_data_is_said_of_every_matrix_of_pairs() -> None:
    for what, title in TITLES.items():
        said = direction(Matrix(title=f"{title}, GB/s", rows=(), columns=(), cells=()))
        assert said, title
        reads = what.endswith("-read")
        assert said.startswith("column reads from row") is reads, what
    assert direction(Matrix(title="host and GPU, pinned memory", rows=(), columns=(), cells=())) == ""


# Links


@pytest.mark.parametrize(("width", "speed", "words"), [
    (8, 16.0, "x8! 16"), (16, 8.0, "x16 8!"), (8, 8.0, "x8! 8!"), (16, 16.0, "x16 16"), (None, 16.0, "-")])
def test_the_mark_stands_at_what_fell(stills: Frames, width: int | None, speed: float, words: str) -> None:
    link: LinkView = stills("all-well").frame.gpus[0].chain[0]
    assert trained(msgspec.structs.replace(
        link, width=width, speed_gts=speed, best_width=16, best_gts=16.0)) == words


def test_the_tree_of_a_link_fits_80_columns_and_says_each_step_once(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("failing"))
        async with on_screen(app, (80, 60)) as pilot:
            await press(pilot, *["down"] * PCIE3, "enter", "l")
            lines = shown(app)
            assert all(line.startswith((" ", "▸")) for line in lines if line), "no line begins at the left edge"
            assert not any("blamed," in line and "other end" in line for line in lines)
            helps = [line.strip(" │") for line in lines if "help: " in line]
            assert len(helps) == len(set(helps)) > 2

    run(test)


def test_a_card_that_computes_slowly_blames_no_link(stills: Frames) -> None:
    frame = stills("marginal").frame
    slow = next(one for one in frame.problems if one.check.startswith("matmul.rate"))
    assert slow.outcome in (Outcome.MARGINAL, Outcome.FAIL)
    row = next(row for row in frame.gpus if slow.is_of(row))
    assert slow.blames == row.bdf
    assert not frame.blaming(row.chain[-1].bdf)


# The verdict's bar


@pytest.mark.parametrize("width", [80, 100])
def test_why_a_run_is_lost_is_said_first(stills: Frames, width: int) -> None:
    still = stills("all-well")
    path = "/very/long/way/to/the/folder/of/all/the/runs/of/this/box/2026-11-21T132004Z-burn.sqlite"
    frame = lost(still.frame, f"{path} is damaged (the file is damaged (malformed, SQLITE_CORRUPT))", path)
    assert "boxcheck runs salvage 2026-11-21T132004Z-burn" in reason_of(frame)

    async def test() -> None:
        app = app_over(Still(path, frame))
        async with on_screen(app, (width, 24)):
            assert "LOST  damaged: 2026-11-21T132004Z-burn.sqlite" in text(app)
            assert "/very/long" not in text(app)

    run(test)


def test_when_all_gpus_tell_nothing_that_is_said_so(stills: Frames) -> None:
    frame = stills("all-well").frame
    silent = msgspec.structs.replace(
        frame, gpus=tuple(msgspec.structs.replace(row, state="silent") for row in frame.gpus))
    assert untold_of(silent).startswith("all 7 GPUs tell nothing")


def test_a_reason_is_not_cut_where_there_is_room(stills: Frames) -> None:
    reason = "x" * 60 + " end"
    frame = msgspec.structs.replace(stills("failing").frame, reason=reason)

    async def test() -> None:
        async with on_screen(app_over(Still("/x", frame)), (80, 24)) as pilot:
            assert reason in text(pilot.app)

    run(test)


# Runs and doctor


def test_a_run_that_cannot_be_read_is_told_with_its_file_and_why(stills: Frames, tmp_path: Path) -> None:
    (tmp_path / "2026-11-28T010203Z-burn.sqlite").write_bytes(b"SQLite format 3\0 and no more")

    async def test() -> None:
        app = app_over(stills("failing"), folder=str(tmp_path))
        async with on_screen(app, (80, 24)) as pilot:
            await press(pilot, "r")
            await until(pilot, lambda: "1 run" in text(app))
            for size in ((60, 16), (80, 24), (120, 34)):
                await pilot.resize_terminal(*size)
                await settled(pilot)
                said = " ".join(text(app).split())
                assert "2026-11-28T010203Z-burn.sqlite is no run of boxcheck, or its first page is damaged" in said, size
                assert "boxcheck runs salvage" in said
                hold_lines(app, size)

    run(test)


@pytest.mark.parametrize("keys", [("r",), ("d",)])
def test_every_screen_says_that_a_terminal_is_too_small(stills: Frames, tmp_path: Path, keys: tuple[str, ...]) -> None:
    async def test() -> None:
        app = app_over(stills("failed"), folder=str(tmp_path))
        async with on_screen(app, (80, 24)) as pilot:
            await press(pilot, *keys)
            await pilot.resize_terminal(59, 15)
            await settled(pilot)
            assert "this terminal has 59 x 15" in text(app)

    run(test)


@pytest.mark.parametrize(("here", "reads"), [(False, False), (None, True), (True, True)])
def test_this_machine_is_not_read_as_if_it_were_the_box_of_the_run(
    stills: Frames, monkeypatch: pytest.MonkeyPatch, here: bool | None, reads: bool
) -> None:
    from boxcheck.tui.doctor_read import Reading

    monkeypatch.setattr(
        "boxcheck.tui.screens.doctor.read_now", lambda program, began: Reading(name="doctor now", why="it was read"))

    async def test() -> None:
        app = app_over(stills("failed"), doctor=("x",), is_here=lambda path: here)
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "d")
            await until(pilot, lambda: "doctor after" in text(app))
            await press(pilot, "n")
            if reads:
                await until(pilot, lambda: "it was read" in text(app))
                assert ("of this machine" in shown(app)[0]) is (here is None)
            else:
                await until(pilot, lambda: "this run is of box W-0007" in " ".join(text(app).split()))
                assert "doctor now" not in text(app)

    run(test)


def test_the_head_of_doctor_has_the_reason_at_80_columns_and_says_that_it_reads(
    stills: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from boxcheck.tui.doctor_read import Reading

    go = threading.Event()

    def slow(program: object, began: object) -> Reading:
        go.wait(5.0)
        return Reading(name="doctor now", why="it was read")

    monkeypatch.setattr("boxcheck.tui.screens.doctor.read_now", slow)

    async def test() -> None:
        app = app_over(stills("failed"), doctor=("x",))
        async with on_screen(app, (80, 24)) as pilot:
            await press(pilot, "d")
            await until(pilot, lambda: "doctor after" in text(app))
            assert "1 required check failed" in shown(app)[0]
            await press(pilot, "n")
            assert "reading the machine ..." in line_with(shown(app), "doctor after")
            go.set()
            await until(pilot, lambda: "it was read" in text(app))

    run(test)
