"""What is silent, lost, old, over, slow or not there yet is said, and holds up no key."""

from __future__ import annotations

import re
import threading
import time

import msgspec

from boxcheck.store.errors import StoreError
from boxcheck.tui.app import FrameCame
from boxcheck.tui.feed import Later
from boxcheck.tui.frame import Frame
from boxcheck.tui.replay import ReplayFeed
from boxcheck.tui.screens.big import BigVerdict
from boxcheck.tui.screens.burn import BurnScreen
from boxcheck.tui.screens.gpu import GpuScreen
from tests.tui.conftest import Frames, Runs
from tests.tui.screens import table_lines, top
from tests.tui.showing import Still, app_over, line_with, on_screen, press, run, shown, text, until


def test_what_is_silent_lost_or_old_is_said_and_not_shown_as_if_it_were_of_now(stills: Frames) -> None:
    async def test() -> None:
        for name, place, word in (("stale", "PCIE7", "SILENT"), ("lost", "PCIE5", "LOST")):
            app = app_over(stills(name))
            async with on_screen(app, (120, 34)) as pilot:
                row = line_with(table_lines(app)[1], place)
                assert word in row
                if name == "stale":
                    assert "silent 41 s" in row
                    bar = shown(app)[2]
                    assert "UNKNOWN" in bar
                    assert "PASSING" not in bar
                    assert "PCIE7: no reading for 41 s" in bar  # the word stands alone at no time
                    assert " W " not in row
                    assert "6 of 7 GPUs" in text(app)
                else:  # it was fast while it was there
                    assert re.search(r"PCIE5 +- +- ", row), row
                await press(pilot, *["down"] * 6 if name == "stale" else ["down"] * 4, "enter")
                assert word in text(app)
                assert not re.search(r"\d+ W|\d+ °C   ", "\n".join(shown(app)[1:5])), text(app)

    run(test)


def test_a_run_that_is_over_says_that_its_readings_are_of_the_end(stills: Frames) -> None:
    async def test() -> None:
        for name in ("finished", "crashed"):
            app = app_over(stills(name))
            async with on_screen(app, (120, 34)) as pilot:
                assert "as it was at the end" in text(app)
                assert "verdict so far" not in text(app)
                await press(pilot, "enter")
                assert "as it was at the end" in text(app)

    run(test)


class Failing:
    """A feed whose store becomes unreadable."""

    def __init__(self, path: str, frame: Frame) -> None:
        self.path, self.frame, self.broken = path, frame, False

    def look(self) -> Frame:
        if self.broken:
            raise StoreError("damaged", "the store is damaged: page 3")
        return self.frame

    def close(self) -> None:
        pass


def test_a_store_that_can_no_longer_be_read_is_said_and_no_verdict_is_left_standing(stills: Frames) -> None:
    async def test() -> None:
        still = stills("all-well")
        feed = Failing(still.path, still.frame)
        app = app_over(feed, every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            assert "PASSING" in text(app)
            feed.broken = True
            await until(pilot, lambda: "the store can no longer be read" in text(app))
            assert "PASSING" not in text(app)
            assert "as last read" in text(app)
            await press(pilot, "b")
            assert top(app) is BigVerdict
            assert "W-0007" in text(app)
            assert "page 3" in text(app)

        feed.broken = True
        app = app_over(feed, every_seconds=0.05)
        async with app.run_test(size=(120, 34)) as pilot:
            await until(pilot, lambda: "the store can no longer be read" in text(app))

    run(test)


def test_nothing_yet_is_drawn_without_a_number(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("nothing-yet"))
        async with on_screen(app, (80, 24)) as pilot:
            assert "UNKNOWN" in text(app)
            assert "nothing was judged yet" in text(app)
            for key in ("m", "l", "e", "f", "escape", "enter", "b"):
                await press(pilot, key)

    run(test)


def test_a_processor_alone_is_no_gpu(stills: Frames) -> None:
    async def test() -> None:
        app = app_over(stills("no-gpu"))
        async with on_screen(app, (120, 34)) as pilot:
            assert "processor, no GPU" in text(app)
            assert "GFLOPS" in text(app)
            await press(pilot, "enter")
            await until(pilot, lambda: "the host's" in text(app))

    run(test)


# At work


def test_the_screen_stands_before_its_run_is_read(stills: Frames) -> None:
    go = threading.Event()

    async def test() -> None:
        still = stills("all-well")

        def make(path: str) -> Still:
            go.wait(5.0)
            return still

        app = app_over(Later(still.path, make))
        async with app.run_test(size=(120, 34)) as pilot:
            await until(pilot, lambda: "reading the run" in text(app))
            assert "PASSING" not in text(app)
            go.set()
            await until(pilot, lambda: "PASSING" in text(app))
            assert app.feed is still

    run(test)


class Slow(Still):
    """A store on a disk that hangs."""

    def __init__(self, path: str, frame: Frame) -> None:
        super().__init__(path, frame)
        self.go = threading.Event()

    def look(self) -> Frame:
        if self.looks:
            self.go.wait(5.0)
        return super().look()


def test_a_disk_that_hangs_holds_up_no_key(stills: Frames) -> None:
    async def test() -> None:
        still = stills("all-well")
        feed = Slow(still.path, still.frame)
        app = app_over(feed, every_seconds=0.01)
        async with on_screen(app, (120, 34)) as pilot:
            began = time.monotonic()
            await press(pilot, "down", "down")
            assert "▸ 2" in text(app)
            assert time.monotonic() - began < 2.0
            feed.go.set()

    run(test)


def test_frames_that_wait_are_replaced_by_newer_ones(stills: Frames) -> None:
    still = stills("all-well")
    one, other = FrameCame(still.frame, still), FrameCame(still.frame, still)
    assert one.can_replace(other)


def test_a_newer_frame_is_drawn_and_the_cursor_stays(stills: Frames) -> None:
    async def test() -> None:
        feed = stills("all-well")
        app = app_over(feed, every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            await press(pilot, "down", "down")
            feed.frame = msgspec.structs.replace(feed.frame, seconds=7261.0)
            await until(pilot, lambda: "02:01:01" in text(app))
            assert "▸ 2" in text(app)
            feed.frame = msgspec.structs.replace(feed.frame, gpus=feed.frame.gpus[:1])
            await until(pilot, lambda: "PCIE2" not in text(app))
            await press(pilot, "enter")
            assert top(app) is GpuScreen

    run(test)


def test_a_run_is_played_slower_faster_back_and_on_by_keys(runs: Runs) -> None:
    async def test() -> None:
        found = runs("finished")
        feed = ReplayFeed(found.path, found.want, clock=lambda: 1.0)
        app = app_over(feed, every_seconds=0.05)
        async with on_screen(app, (120, 34)) as pilot:
            assert "played again, 1x" in text(app)
            await press(pilot, "greater_than_sign", "greater_than_sign", "less_than_sign")
            assert feed.speed == 2.0
            await press(pilot, "right_square_bracket", "right_square_bracket")
            await until(pilot, lambda: "00:02:00" in text(app))
            await press(pilot, "left_square_bracket")
            await until(pilot, lambda: "00:01:00" in text(app))
            await press(pilot, "space")
            assert feed.paused
            await until(pilot, lambda: "played again, paused" in text(app))
            await press(pilot, "s")
            assert top(app) is BurnScreen
        feed.close()

    run(test)
