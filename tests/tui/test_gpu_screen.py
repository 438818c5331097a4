"""The screen of one GPU: curves of all it worked on, and which card it is."""

from __future__ import annotations

import re
import time

import msgspec
import pytest

from boxcheck.model import Unread
from boxcheck.store.reader import RunReader
from boxcheck.store.series import Series, Stretch, stretches
from boxcheck.telemetry.throttle import nvml_reasons
from boxcheck.tui.app import BoxcheckApp
from boxcheck.tui.curves import MOST, Curve, curves_of, held_of, made
from boxcheck.tui.frame import Frame, GpuRow
from boxcheck.tui.look import UNICODE
from boxcheck.tui.screens.gpu import GpuScreen
from boxcheck.tui.screens.gpu_curves import held_on
from boxcheck.tui.screens.gpu_texts import head, numbers
from tests.tui.conftest import Frames, Runs
from tests.tui.showing import Still, app_over, line_with, on_screen, press, run, shown, text, until

KINDS = [f"matmul.{name}.power" for name in ("bf16", "fp16", "int8", "tf32", "fp32", "e4m3")]


def of_row(runs: Runs, stills: Frames, name: str, number: int = 2) -> tuple[tuple[Curve, ...], GpuRow, Frame]:
    still = stills(name)
    row = still.frame.gpus[number]
    return curves_of(runs(name).path, row), row, still.frame


def rated(app: BoxcheckApp) -> list[str]:
    """Titles of the curves of rates."""
    return [line for line in shown(app) if line.startswith(" rate ")]


def test_there_is_a_curve_of_every_kind_of_work_and_of_every_sensor(runs: Runs, stills: Frames) -> None:
    curves, row, _ = of_row(runs, stills, "failed")
    assert [one.name for one in curves] == [
        *KINDS, "temperature core", "power", "clock", "held by power cap"]
    with RunReader(runs("failed").path) as reader:
        for one, kind in zip(curves, KINDS, strict=False):
            found = [
                (sample.seconds, sample.sample.value) for sample in reader.samples()
                if sample.sample.what == kind and sample.sample.gpu == row.key and sample.sample.value is not None]
            assert one.series == Series([seconds for seconds, _ in found], [value for _, value in found])
    amd, _, _ = of_row(runs, stills, "strix", 0)
    assert [one.name for one in amd if one.of == "reading"] == [
        "temperature core", "temperature junction", "temperature memory", "power", "clock"]


def test_a_kind_of_work_is_chosen_by_key_or_all_are_shown_on_one_scale_of_time(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("failed"))
        async with on_screen(app, (120, 90)) as pilot:
            await press(pilot, "down", "down", "enter")
            await until(pilot, lambda: "rate 6 of 6  matmul.e4m3.power" in text(app))
            await press(pilot, "r")
            assert "rate 1 of 6  matmul.bf16.power" in text(app)
            await press(pilot, "R", "R")
            assert "rate 5 of 6  matmul.fp32.power" in text(app)
            assert len(rated(app)) == 1
            await press(pilot, "n")
            await until(pilot, lambda: "rate 5 of 6  matmul.fp32.power" in text(app))  # the choice stays
            await press(pilot, "a")
            assert [name for name in KINDS if any(name in line for line in rated(app))] == KINDS
            axis = [line for line in shown(app) if re.fullmatch(r"\s+\d\d:\d\d:\d\d +\d\d:\d\d:\d\d", line)]
            assert len(axis) == 1
            before = rated(app)
            await press(pilot, "plus", "plus")
            after = rated(app)
            assert len(after) == 6
            assert after != before
            assert sum("nothing was read between these moments" in line for line in after) >= 2
            await press(pilot, "a")
            assert len(rated(app)) == 1

    run(test)


def test_what_is_still_to_come_in_a_run_that_is_played_again_is_not_among_its_kinds(stills: Frames) -> None:
    async def test() -> None:
        still = stills("failed")
        early = msgspec.structs.replace(still.frame, seconds=25.0, playing="4x", live=True)
        app = app_over(Still(still.path, early))
        async with on_screen(app, (120, 60)) as pilot:
            await press(pilot, "down", "down", "enter")
            await until(pilot, lambda: "temperature" in text(app))
            await press(pilot, "a")
            assert [name for name in KINDS if any(name in line for line in rated(app))] == KINDS[:2]

    run(test)


def test_serial_and_uuid_are_shown_and_what_no_driver_tells_is_said(stills: Frames, runs: Runs) -> None:
    frame = stills("failed").frame
    row, info = frame.gpus[2], runs("failed").infos[2]
    assert (row.uuid, row.serial) == (info.uuid, None)
    assert info.uuid is not None
    told = numbers(row).plain
    assert info.uuid in told
    assert "serial  not told by its driver" in told
    with_serial = msgspec.structs.replace(row, serial="1323521000123")
    assert "1323521000123" in numbers(with_serial).plain
    assert "serial 1323521000123" in head(with_serial, frame, UNICODE, 117).plain.splitlines()[0]
    assert all(len(line) <= 77 for line in head(with_serial, frame, UNICODE, 77).plain.splitlines())

    async def test() -> None:
        app = app_over(stills("failed"))
        async with on_screen(app, (120, 90)) as pilot:
            await press(pilot, "down", "down", "enter")
            await until(pilot, lambda: str(info.uuid) in text(app))

    run(test)


def test_a_long_curve_is_summed_up_beforehand_and_loses_no_peak_and_no_gap() -> None:
    count = 86_400
    values: list[float | Unread] = [70.0 + at % 7 for at in range(count)]
    values[50_000] = 99.0
    seconds = [float(at) for at in range(count)]
    gap = slice(20_000, 30_000)
    del seconds[gap], values[gap]
    one = made("temperature", "C", Series(seconds, values))
    assert len(one.coarse) == MOST
    began = time.process_time()
    whole = one.over(0.0, float(count), 220)
    spent = time.process_time() - began
    assert max(part.high or 0.0 for part in whole) == 99.0
    assert sum(part.high is None for part in whole) == pytest.approx(220 * 10_000 / count, abs=2)
    assert sum(part.read for part in whole) == len(seconds)
    assert spent < 0.05, "the screen draws it at a key"
    near = one.over(49_000.0, 51_000.0, 220)
    assert near == stretches(Series(seconds, values), 220, 49_000.0, 51_000.0)


def test_a_short_curve_is_not_rounded() -> None:
    series = Series([float(at) for at in range(100)], [float(at) for at in range(100)])
    one = made("power", "W", series)
    assert one.coarse == ()
    assert one.over(10.0, 60.0, 10) == stretches(series, 10, 10.0, 60.0)


def test_a_reason_is_held_between_readings_and_not_over_a_gap() -> None:
    series = Series([0.0, 1.0, 2.0, 9.0, 10.0], [4.0, 4.0, 0.0, Unread("timeout"), 4.0])
    (held,) = held_of(series, nvml_reasons)
    assert held.series.values == [1.0, 1.0, 0.0, Unread("timeout"), 1.0]
    assert not held.grave
    parts = held.over(0.0, 12.0, 24)
    drawn = ["#" if one.high else "." if one.high == 0.0 else " " for one in held_on(parts)]
    assert "".join(drawn) == "####........        ####"
    assert held_on([Stretch(0.0, 1.0, None, None, 0, 0)])[0].high is None


def test_a_long_run_is_read_again_less_often(stills: Frames) -> None:
    from boxcheck.tui.screens.gpu import EVERY_SECONDS, EVERY_TIMES, CurvesCame

    async def test() -> None:
        app = app_over(stills("all-well"))
        async with on_screen(app, (120, 60)) as pilot:
            await press(pilot, "enter")
            screen = app.screen
            assert isinstance(screen, GpuScreen)
            await until(pilot, lambda: bool(screen._curves))
            screen.on_curves_came(CurvesCame(screen._key, screen._curves, "", 0.01))
            assert screen._pause_seconds == EVERY_SECONDS
            screen.on_curves_came(CurvesCame("cuda:6", (), "other", 3.0))
            assert screen._curves, "of another GPU: not taken"
            assert screen._pause_seconds == 3.0 * EVERY_TIMES
            assert "rate" in line_with(shown(app), "rate ")

    run(test)
