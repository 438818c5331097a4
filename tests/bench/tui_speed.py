"""What the full screen costs, on a terminal of its own. By hand: `python -m tests.bench.tui_speed`; two minutes.

Another process writes a run of 8 GPUs in real time: readings once a second, samples of each GPU three times a second, or
twenty times while keys are pressed. The screen (120 x 34, looking twice a second) runs in a third process behind a
pseudo-terminal; its processor time is read from /proc, a key's answer is the first byte that comes back. The peer, in the
same run: a bare Textual table of eight rows with a sparkline each, redrawn twice a second.

    python -m tests.bench.tui_speed --day FILE         a store of a day to open; without it one is made, ten minutes

Last, the day is played again: how long a jump of a minute takes, back and on, in the middle of it.

Exit code 1 when a promise is broken: 12 % of a core, 1 s to the first picture, 2 s to open a day, 100 ms from key to
picture, 200 ms for a jump.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from statistics import median

GPUS, SIZE = 8, (34, 120)
SHARE, FIRST, DAY, KEY, JUMP = 12.0, 1.0, 2.0, 0.1, 0.2
SETTLE_SECONDS = 4.0


def write(folder: str, hertz: float) -> None:
    """A run of matmul in real time, until it is killed."""
    from boxcheck.registry import discover, discover_stress
    from boxcheck.store.creating import create_run
    from boxcheck.store.rows import PhasePlan, PhaseStart, ProfileName, RunInfo
    from tests.store.machine import Machine

    discover()
    discover_stress()
    machine = Machine(GPUS)
    store = create_run(folder, RunInfo(
        kind="burn", version="0", box="BENCH", profile=ProfileName("generic", 1, ""),
        plan={"steps": [{"name": "matmul", "seconds": 3600.0}]}))
    store.plan_phase(PhasePlan(
        number=1, name="matmul", module="matmul", planned_seconds=3600.0, devices=tuple(info.key for info in machine.gpus)))
    store.about(1, "matmul")
    store.begin_phase(1, PhaseStart(
        gpus=machine.gpus, slots={info.key: f"PCIE{at + 1}" for at, info in enumerate(machine.gpus)}))
    print(store.path, flush=True)
    told = 0.0
    while True:
        now = time.monotonic()
        if now - told >= 1.0:
            told = now
            for number in range(GPUS):
                store.watched(1, machine.told_by(number, time.monotonic()))
        for number in range(GPUS):
            store.sample(1, machine.sample(number), worker=number)
        time.sleep(max(0.0, now + 1 / hertz - time.monotonic()))


def view(path: str) -> None:
    """The screen, as `boxcheck attach` opens it."""
    from boxcheck.profile import load_profile
    from boxcheck.registry import discover, discover_stress
    from boxcheck.tui.app import BoxcheckApp
    from boxcheck.tui.base import Means
    from boxcheck.tui.expected import expected_by
    from boxcheck.tui.feed import Later, StoreFeed

    def opened(place: str) -> StoreFeed:
        discover()
        discover_stress()
        want = load_profile("generic")
        return StoreFeed(place, want, expected=expected_by(want))

    BoxcheckApp(Later(path, opened), opens=opened, means=Means(folder=os.path.dirname(path))).run()


def peer() -> None:
    """A bare table with eight sparklines."""
    import random

    from textual.app import App, ComposeResult
    from textual.containers import Horizontal, Vertical
    from textual.widgets import Sparkline, Static

    class Bare(App[None]):
        CSS = "Horizontal { height: 1; } Static { width: 70; } Sparkline { width: 32; }"

        def compose(self) -> ComposeResult:
            with Vertical():
                for number in range(GPUS):
                    with Horizontal():
                        yield Static("", id=f"row{number}")
                        yield Sparkline([1.0] * 32, id=f"line{number}")

        def on_mount(self) -> None:
            self.values = [[random.random() for _ in range(32)] for _ in range(GPUS)]
            self.set_interval(0.5, self.again)

        def again(self) -> None:
            for number in range(GPUS):
                self.values[number] = [*self.values[number][1:], random.random()]
                cells = "  ".join(f"{random.uniform(10, 500):7.1f}" for _ in range(7))
                self.query_one(f"#row{number}", Static).update(f"{number}  {cells}")
                self.query_one(f"#line{number}", Sparkline).data = self.values[number]

    Bare().run()


class Terminal:
    """A process behind a terminal."""

    def __init__(self, *arguments: str) -> None:
        self.began = time.monotonic()
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.environ.pop("NO_COLOR", None)
            os.execv(sys.executable, [sys.executable, "-m", "tests.bench.tui_speed", *arguments])
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self.bytes = 0

    def read(self, seconds: float) -> bytes:
        """What comes within a time; ends with the first."""
        ready, _, _ = select.select([self.file], [], [], seconds)
        if not ready:
            return b""
        with suppress(OSError):
            data = os.read(self.file, 1 << 16)
            self.bytes += len(data)
            return data
        return b""

    def wait_for(self, words: bytes, seconds: float) -> float:
        """How long after the start they were drawn; infinite where they were not."""
        seen = b""
        while time.monotonic() - self.began < seconds:
            seen += self.read(0.2)
            if words in seen:
                return time.monotonic() - self.began
        return float("inf")

    def drain(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.read(left)

    def quiet(self, seconds: float = 0.03) -> None:
        """Waits until nothing has come for a moment."""
        while self.read(seconds):
            pass

    def cpu_seconds(self) -> float:
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stream:
            fields = stream.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def share(self, seconds: float) -> float:
        """Percent of a core that it takes."""
        before, began = self.cpu_seconds(), time.monotonic()
        self.drain(seconds)
        return 100 * (self.cpu_seconds() - before) / (time.monotonic() - began)

    def end(self) -> None:
        with suppress(OSError):
            os.kill(self.pid, 15)
        with suppress(OSError):
            os.close(self.file)
        with suppress(OSError):
            os.waitpid(self.pid, 0)


def keys(terminal: Terminal, number: int) -> list[float]:
    """Seconds from each key to the first byte of its picture. Pressed at moments that have nothing to do with looks."""
    found = []
    for at in range(number):
        time.sleep(0.11 + 0.037 * (at % 7))
        terminal.quiet()
        began = time.monotonic()
        os.write(terminal.file, b"j" if at % 2 else b"k" if at else b"j")
        if terminal.read(2.0):
            found.append(time.monotonic() - began)
    return found


def written(folder: str, hertz: float) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.tui_speed", "--write", folder, "--hertz", str(hertz)],
        stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


Say = Callable[[str, float, float, str], None]


def measure(seconds: float, day: str, hours: float, only: str) -> list[str]:
    """Prints figures; the promises that are broken."""
    broken = []

    def say(what: str, value: float, most: float, unit: str) -> None:
        kept = value <= most
        print(f"{what:<58} {value:8.2f} {unit:<3} promised {most:g} {'' if kept else '  BROKEN'}", flush=True)
        if not kept:
            broken.append(what)

    if only in ("", "share"):
        of_share(say, seconds)
    if only in ("", "keys"):
        of_keys(say)
    if only in ("", "day", "seek"):
        of_day(say, day, hours, only)
    return broken


def of_share(say: Say, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process, path = written(folder, 3.0)
        try:
            time.sleep(70)  # a minute of records, as there always is
            terminal = Terminal("--view", path)
            first = terminal.wait_for(b"reading the run", 20)
            spent = terminal.cpu_seconds()
            say("first picture, the interpreter's start included", first, FIRST, "s")
            print(f"{'  of it on a processor':<58} {spent:8.2f} s")
            print(f"{'  with all GPUs':<58} {terminal.wait_for(b'PCIE8', 20):8.2f} s   load {os.getloadavg()[0]:.1f}")
            terminal.drain(SETTLE_SECONDS)
            sent = terminal.bytes
            ours = terminal.share(seconds)
            rate = (terminal.bytes - sent) / seconds
            terminal.end()
            bare = Terminal("--peer")
            bare.drain(SETTLE_SECONDS)
            theirs = bare.share(seconds)
            bare.end()
        finally:
            process.kill()
            process.wait()
        say("processor, 8 GPUs looked at twice a second", ours, SHARE, "%")
        print(f"{'  a bare table with eight sparklines':<58} {theirs:8.2f} %   ratio {ours / theirs:.2f}")
        print(f"{'  bytes to the terminal a second':<58} {rate:8.0f}")


def of_keys(say: Say) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process, path = written(folder, 20.0)
        try:
            time.sleep(5)
            terminal = Terminal("--view", path)
            terminal.wait_for(b"PCIE8", 20)
            terminal.drain(SETTLE_SECONDS)
            times = sorted(keys(terminal, 60))
            terminal.end()
        finally:
            process.kill()
            process.wait()
        print(f"{'  key to picture, median of ' + str(len(times)):<58} {1000 * median(times):8.1f} ms")
        say("key to picture, 95 of 100, samples at 20 Hz of each GPU", times[int(0.95 * (len(times) - 1))], KEY, "s")


def of_day(say: Say, day: str, hours: float, only: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if not day:
            from tests.bench.store_size import simulate

            day = simulate(folder, seconds=round(hours * 3600), samples=3)
        print(f"  {day}: {os.path.getsize(day) / 1e6:.1f} MB")
        if only != "seek":
            terminal = Terminal("--view", day)
            first = terminal.wait_for(b"cap", 60)
            spent = terminal.cpu_seconds()
            say("a day's store: first picture with its GPUs", first, DAY, "s")
            print(f"{'  of it on a processor':<58} {spent:8.2f} s")
            terminal.end()
        if only != "day":
            of_jumps(say, day)


def of_jumps(say: Say, day: str) -> None:
    """In this process, as the thread of the screen does it."""
    from boxcheck.profile import load_profile
    from boxcheck.registry import discover, discover_stress
    from boxcheck.tui.expected import expected_by
    from boxcheck.tui.replay import ReplayFeed

    discover()
    discover_stress()
    want = load_profile("generic")
    began = time.monotonic()
    feed = ReplayFeed(day, want, expected=expected_by(want), clock=lambda: 0.0)
    feed.look()
    print(f"{'  a day played again: opened, at its beginning':<58} {time.monotonic() - began:8.2f} s")

    def jump(seconds: float) -> tuple[float, float]:
        """Seconds, and seconds on a processor: whoever else works here makes the first longer."""
        began, spent = time.monotonic(), time.process_time()
        feed.by(seconds)
        feed.look()
        return time.monotonic() - began, time.process_time() - spent

    middle = feed.ended_seconds / 2
    print(f"{'  at once to its middle, where nothing was gone through':<58} {jump(middle)[0]:8.2f} s")
    back, on = zip(*((jump(-60.0), jump(60.0)) for _ in range(20)), strict=True)
    row = [jump(-60.0) for _ in range(30)]
    far = [jump(middle * part) for part in (-0.5, 0.3, -0.4, 0.5)]
    for what, times in (
            ("a minute back", back), ("a minute on", on), ("thirty minutes back, one by one", row),
            ("far, where one was before", far)):
        waited, spent = zip(*times, strict=True)
        print(f"{'  a jump ' + what + ', median of ' + str(len(times)):<58} {1000 * median(waited):8.1f} ms")
        print(f"{'  the same on a processor, the longest':<58} {1000 * max(spent):8.1f} ms   load {os.getloadavg()[0]:.1f}")
        say(f"a jump {what}, the longest", max(waited), JUMP, "s")
    feed.close()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--day", default="")
    parser.add_argument("--only", choices=("share", "keys", "day", "seek"), default="")
    parser.add_argument("--hertz", type=float, default=3.0)
    parser.add_argument("--write", default="")
    parser.add_argument("--view", default="")
    parser.add_argument("--peer", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.write:
        write(asked.write, asked.hertz)
    elif asked.view:
        view(asked.view)
    elif asked.peer:
        peer()
    else:
        return 1 if measure(asked.seconds, asked.day, asked.hours, asked.only) else 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
