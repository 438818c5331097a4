"""Matrices beside what is expected, or beside the median of the box, which is told as what it is."""

from __future__ import annotations

import msgspec
import pytest

from boxcheck.gpu import GpuInfo
from boxcheck.model import Outcome
from boxcheck.profile import Profile, load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.report.matrices import MAIN, TITLES, Matrix, matrices
from boxcheck.stress import Sample, StressResults
from boxcheck.tui.matrix import beside, notes_of
from tests.store.machine import Machine
from tests.tui.box import PROCESSOR
from tests.tui.conftest import Frames
from tests.tui.showing import app_over, on_screen, press, run, text

discover()
discover_stress()
WOPR, PRO = load_profile("wopr-7x4090"), load_profile("tinybox-pro")


def square(*rows: str, title: str = TITLES[MAIN] + ", GB/s; every payload verified") -> Matrix:
    names = tuple(f"cuda:{at}" for at in range(len(rows)))
    return Matrix(title=title, rows=names, columns=names, cells=tuple(tuple(row.split()) for row in rows))


SLOW = square(". 25.9 12.3 25.8", "25.9 . 15.6! 25.8", "? x . 25.8", "25.9 25.9 23.4 .")


def asks_of_pairs(want: Profile) -> bool:
    return want.limit("p2p.one_way_gbs") is not None


def test_where_the_profile_asks_nothing_the_median_stands_under_its_name_and_what_is_apart_is_marked() -> None:
    assert not asks_of_pairs(WOPR)
    found = beside(SLOW, WOPR)
    assert found.rows[0] == "median"
    assert found.cells[0] == ("25.8",) * 4
    assert [cell for row in found.cells for cell in row if cell.endswith("*")] == ["12.3*"]
    assert "15.6!" in found.cells[2], "wrong data is graver than a rate"
    assert {"?", "x", "."} <= {cell for row in found.cells for cell in row}
    (note,) = notes_of(found)
    assert "cuda:0 > cuda:2, 48 % of it" in note
    assert "asks nothing" in note
    assert "expected" not in note


def test_a_tenth_below_the_median_is_the_notch() -> None:
    for cell, marked in (("23.3", False), ("23.1", True)):
        found = beside(square(f". 25.8 {cell}", "25.8 . 25.8", "25.8 25.8 ."), WOPR)
        assert found.cells[1][2].endswith("*") is marked, cell


def test_of_a_latency_what_is_higher_is_marked() -> None:
    slow = square(". 1.40 2.90", "1.41 . 1.42", "0.70 1.40 .", title="latency of a load from the column's memory, us; all")
    found = beside(slow, WOPR)
    assert [cell for row in found.cells for cell in row if cell.endswith("*")] == ["2.90*"]
    assert "207 % of it" in notes_of(found)[0]


def test_too_few_cells_have_no_median() -> None:
    two = square(". 25.9", "12.3 .")
    assert beside(two, WOPR) is two
    assert notes_of(two) == []


def test_where_the_profile_asks_that_stands_there_and_no_median() -> None:
    want = next(one for one in (PRO, *(load_profile(name) for name in ("tinybox-green-v2", "tinybox-green")))
                if asks_of_pairs(one))
    found = beside(SLOW, want)
    assert found.rows[0] == "expected"
    assert "12.3<" in found.cells[1]
    assert notes_of(found) == ["< less than expected"]


@pytest.mark.parametrize(("count", "has"), [(4, True), (3, False)])
def test_of_copies_with_the_host_each_column_has_its_own_median(count: int, has: bool) -> None:
    asked = tuple(f"cuda:{at}" for at in range(count))
    one = Matrix(
        title="host and GPU, pageable memory, one GPU at a time, GB/s; every payload verified", rows=asked,
        columns=("to GPU", "from GPU"), cells=(("6.10", "12.4"), *((("12.1", "12.3"),) * (count - 1))))
    found = beside(one, WOPR)
    assert (found.rows[0] == "median") is has
    assert ("6.10*" in found.cells[1]) is has
    assert (found.cells[0] == ("12.1", "12.3")) is has
    assert notes_of(found)[:1] == (
        ["* more than a tenth from the median; farthest: cuda:0 to GPU, 50 % of it. The profile asks nothing here, and "
         "nothing is judged by it"] if has else [])


def test_rows_of_collectives_are_of_different_kinds_and_have_no_median() -> None:
    one = Matrix(title="ring over 7 GPUs, bus bandwidth, GB/s; every payload verified",
                 rows=("all-reduce", "all-gather", "reduce-scatter", "zero3"), columns=("x",),
                 cells=(("20.1",), ("12.0",), ("20.0",), ("19.0",)))
    assert beside(one, WOPR) is one


def test_it_is_on_the_screen_with_its_mark_without_colour_and_changes_no_verdict(stills: Frames) -> None:
    frame = stills("failing").frame
    assert frame.outcome is Outcome.FAIL
    assert not any(one.check.startswith("p2p") for one in frame.problems)

    async def test() -> None:
        async with on_screen(app_over(stills("failing"), color=False), (120, 40)) as pilot:
            await press(pilot, "m")
            assert "median" in text(pilot.app)
            assert "12.3*" in text(pilot.app)
            assert "48 % of it" in text(pilot.app)
            assert "expected" not in text(pilot.app)

    run(test)


def copied(*infos: GpuInfo) -> list[Matrix]:
    return matrices(StressResults(
        module="copy", gpus=infos, troubles=(), ended=(), full_size=False, samples=tuple(
            Sample(what="copy.host-to-device.pinned", gpu=info.key, peer="host", seconds=0.1, value=26.0, unit="GB/s",
                   checked=1, of="bytes", wrong=0, notes={"together": "no"}) for info in infos)))


def test_a_processor_is_called_no_gpu() -> None:
    (one,) = copied(PROCESSOR)
    assert "the one device" in one.title
    assert "GPU" not in " ".join((one.title, *one.columns, *one.rows))
    (two,) = copied(PROCESSOR, msgspec.structs.replace(PROCESSOR, index=1))
    assert "GPU" not in " ".join((two.title, *two.columns, *two.rows))
    (gpu,) = copied(Machine(1).gpus[0])
    assert "the one GPU" in gpu.title
    assert gpu.columns[:2] == ("to GPU", "from GPU")


def test_nor_is_it_on_the_screen_of_a_device(stills: Frames) -> None:
    async def test() -> None:
        async with on_screen(app_over(stills("no-gpu")), (120, 40)) as pilot:
            for keys, words in ((("enter",), "processor 0"), (("l",), "processor 0"), (("escape", "escape"), "no GPU")):
                await press(pilot, *keys)
                assert words in text(pilot.app)
                assert "GPU 0" not in text(pilot.app)

    run(test)
