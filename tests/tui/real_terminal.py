"""Real runs on real terminals, driven by keys: `python -m tests.tui.real_terminal`; five minutes.

Burn-ins of this machine's processor and of PoCL's devices, in tmux at 80 x 24 and 200 x 60: every key that
docs/how-to/watch-a-run.md promises, a terminal that is resized, one that is closed, one without Unicode, without colour,
an old one; a run that is played again, one that is watched. What is on the screen is read as text: the words that must
be there, frames that are closed, columns under their titles, no traceback. Leaving must leave the run going, and the
load must end within two seconds of being told to.

    python -m tests.tui.real_terminal --write          keeps what was seen in docs/pictures/terminal
    python -m tests.tui.real_terminal --only replay    one scene, with the run that it needs

Exit code 1 where something is not as it should be; 0 with a word where there is no tmux.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from boxcheck.engine.detach import tell_to_stop
from boxcheck.store.errors import StoreError
from boxcheck.store.lock import is_held
from boxcheck.store.reader import RunReader
from tests.tui.keys_of_page import promised
from tests.tui.tmux import TMUX, Terminal, Wrong, misaligned, not_ascii

SMALL, LARGE = (80, 24), (200, 60)
KEPT = Path(__file__).parents[2] / "docs" / "pictures" / "terminal"
BOXCHECK = (sys.executable, "-P", "-m", "boxcheck")
SHOWN = re.compile(
    r"cpu-(run|gpu|events|links|end)-80x24|cpu-(run|stopped)-200x60|cpu-resized-(40x12|60x16)|pocl-(run|gpu)-200x60|"
    r"pocl-run-80x24|(replay|compare|start|watch-for|watch-open|c-locale|vt100|linux|no-color)-80x24")
"""What is kept of all that is looked at."""
DRAIN_SECONDS = 2.0
KILL_SECONDS = 0.6
"""More for PoCL: a worker in the middle of a long product is ended two seconds after it was told to, and then judged."""
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|38;2;\d+;\d+;\d+|38;5;\d+|4[0-7]|48;2;\d+;\d+;\d+|48;5;\d+|9[0-7]|10[0-7])")


class Bench:
    """What all scenes share: a folder for runs, what was pressed, what was seen."""

    def __init__(self, state: Path, write: bool) -> None:
        self.state, self._write = state, write
        self.pressed: set[tuple[str, str]] = set()
        self.seen: list[str] = []

    @contextmanager
    def terminal(
        self, *words: str, size: tuple[int, int], term: str = "xterm-256color", **more: str
    ) -> Iterator[Terminal]:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.state), "XDG_STATE_HOME": str(self.state), "LANG": "C.UTF-8",
            "BOXCHECK_CPU_DEVICES": "2", "POCL_DEVICES": "pthread pthread", "COLORTERM": "truecolor",
            "PYTHONPATH": str(Path(__file__).parents[2]), **more}
        terminal = Terminal((*BOXCHECK, *words), environment, size, term=term)
        try:
            yield terminal
        finally:
            terminal.end()

    def press(self, terminal: Terminal, where: str, key: str, *words: str, gone: str = "", seconds: float = 15.0) -> str:
        """A key of the page, and what must be there, or go, for it."""
        self.pressed.add((where, key))
        terminal.press(key)
        if gone:
            return terminal.wait_gone(gone, seconds=seconds)
        if not words:
            time.sleep(0.3)
        return terminal.wait_for(*words, seconds=seconds)

    def keep(self, terminal: Terminal, name: str, *, framed: bool = True) -> str:
        """Reads the screen, says what is wrong with it, and keeps it under a name."""
        lines = terminal.lines()
        width, height = terminal.size
        text = "\n".join(line.rstrip() for line in lines)
        wrong = misaligned(lines, width) if framed else []
        wrong += [f"it has {len(lines)} lines"] * (len(lines) > height)
        wrong += ["a traceback"] * ("Traceback" in text) + ["an escape is shown"] * ("\x1b" in text)
        if wrong:
            raise Wrong(f"{name}: {'; '.join(wrong)}\n{text}")
        name = f"{name}-{width}x{height}"
        self.seen.append(name)
        print(f"  {name}", flush=True)
        if self._write and SHOWN.fullmatch(name):
            KEPT.mkdir(parents=True, exist_ok=True)
            inert = re.sub(rf"\bbox {re.escape(socket.gethostname())}\b", "box host", text)
            inert = inert.replace(str(self.state), "~/.local/state")
            (KEPT / f"{name}.txt").write_text(inert.rstrip("\n") + "\n", encoding="utf-8")
        return text

    def newest(self, kind: str = "*") -> str:
        found = sorted((self.state / "boxcheck" / "runs").glob(f"*-{kind}.sqlite"), key=lambda path: path.name)
        if not found:
            raise Wrong("no run was kept")
        return str(found[-1])

    def last_burn(self) -> str:
        return Path(self.newest("burn")).stem

    def goes_on(self) -> bool:
        with RunReader(self.newest()) as reader:
            return reader.run().state == "running"

    def end_runs(self) -> None:
        """Of a scene that broke off: its run would stand in the way of the next one."""
        for path in (self.state / "boxcheck" / "runs").glob("*.sqlite"):
            with suppress(StoreError):
                tell_to_stop(str(path))
        for _ in range(300):
            if not any(is_held(str(path)) for path in (self.state / "boxcheck" / "runs").glob("*.sqlite")):
                return
            time.sleep(0.1)

    def loaded(self) -> bool:
        """Whether anything puts load on a device."""
        with RunReader(self.newest()) as reader:
            return any(one.plan.module and one.state in ("about", "running") for one in reader.phases())


def need(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)


def every_key(bench: Bench, terminal: Terminal, name: str) -> None:
    """All keys of a run that goes on, but for those that end it or leave it."""
    press = bench.press
    press(terminal, "everywhere", "?", "on every screen")
    bench.keep(terminal, f"{name}-help", framed=False)
    press(terminal, "everywhere", "escape", gone="on every screen")
    press(terminal, "everywhere", "ctrl+p", "Search for commands")
    press(terminal, "everywhere", "escape", gone="Search for commands")
    before = set(COLOUR.findall(terminal.coloured()))
    press(terminal, "everywhere", "T")
    terminal.until(lambda text: before != set(COLOUR.findall(terminal.coloured())), "another colour after `T`")
    press(terminal, "everywhere", "T")
    press(terminal, "run", "down", "▸ 1")
    press(terminal, "run", "up", "▸ 0")
    press(terminal, "run", "enter", "esc back", "nearer")
    terminal.until(lambda text: re.search(r"[⠁-⣿]", text) is not None, "a curve", 20.0)
    bench.keep(terminal, f"{name}-gpu")
    for key in ("r", "R", "a", "a", "+", "right", "left", "-", "0"):
        press(terminal, "GPU", key, "processor 0")
    press(terminal, "GPU", "n", "processor 1")
    press(terminal, "GPU", "p", "processor 0")
    press(terminal, "GPU", "l", "processor 0", "not on PCIe")
    terminal.press("escape")
    terminal.wait_for("nearer")
    terminal.press("escape")
    terminal.wait_for("verdict so far")
    for key, pane in (("e", "events"), ("m", "copies"), ("l", "links, and what"), ("f", "findings")):
        press(terminal, "run", key, f"─ {pane}")
        bench.keep(terminal, f"{name}-{pane.partition(',')[0]}")
    press(terminal, "run", "l")
    press(terminal, "links", "enter", "processor 0", "not on PCIe")
    terminal.press("escape")
    terminal.wait_for("links, and what")
    press(terminal, "run", "/", "show events with these words")
    terminal.press("f", "o", "l", "l", "o", "w", "e", "d")
    text = terminal.wait_for("with 'followed'")
    need("counters after" not in text.partition("with 'followed'")[2], "the filter shows other events")
    terminal.press("escape")
    terminal.wait_gone("with 'followed'")
    press(terminal, "run", "b", "████")
    bench.keep(terminal, f"{name}-big")
    press(terminal, "run", "b", "verdict so far")
    press(terminal, "run", "d", "doctor before")
    press(terminal, "doctor", "a", "skip")
    before_it = terminal.text()
    press(terminal, "doctor", "enter")
    terminal.until(lambda text: text != before_it, "what the check is about")
    terminal.press("enter")
    press(terminal, "doctor", "n", "doctor now", seconds=60.0)
    press(terminal, "doctor", "left", "doctor before")
    press(terminal, "doctor", "right", "doctor now")
    terminal.press("escape")
    terminal.wait_for("verdict so far")
    press(terminal, "run", "r", "began (UTC)", "running")
    press(terminal, "runs", "space", " *")
    terminal.press("escape")
    terminal.wait_for("verdict so far")
    press(terminal, "run", "s", "End the run?")
    bench.keep(terminal, f"{name}-end", framed=False)
    terminal.press("n")
    terminal.wait_gone("End the run?")
    need(bench.goes_on(), "the run did not go on after `n`")


def ends(bench: Bench, terminal: Terminal, name: str, most: float = DRAIN_SECONDS) -> None:
    """Is told to end: how soon the load ends, and the account."""
    bench.press(terminal, "run", "s", "End the run?")
    need(bench.loaded(), "nothing puts load on anything: it cannot be seen to end")
    began = time.monotonic()
    terminal.press("y")
    while bench.loaded():
        need(time.monotonic() - began < 30.0, "the load does not end")
        time.sleep(0.02)
    took = time.monotonic() - began
    print(f"  {name}: the load had ended {took:.2f} s after `y`", flush=True)
    need(took < most, f"the load ended after {took:.2f} s")
    terminal.wait_for("The run has ended", seconds=90.0)
    bench.keep(terminal, f"{name}-ended", framed=False)
    terminal.press("n")
    terminal.wait_gone("The run has ended")
    terminal.wait_for("STOPPED")
    bench.keep(terminal, f"{name}-stopped")
    bench.press(terminal, "run", "q", "exit code", seconds=60.0)
    text = terminal.text()
    need("exit code 3" in text, "a run that was stopped does not end with 3")
    need("Traceback" not in text, f"a traceback:\n{text}")


def begun(terminal: Terminal, device: str) -> None:
    """Until the devices work, and instruments were read."""
    terminal.wait_for("verdict so far", seconds=60.0)
    terminal.until(
        lambda text: f"{device}:1" in text and re.search(r"TFLOPS|GB/s|GFLOPS", text) is not None, "a rate", 60.0)


def processor(bench: Bench) -> None:
    """Two devices of the processor: all keys, left, closed, come back to, resized, ended."""
    words = ("burn", "--backend", "cpu", "--for", "240s", "--profile", "generic")
    with bench.terminal(*words, size=SMALL) as terminal:
        begun(terminal, "cpu")
        bench.keep(terminal, "cpu-run")
        every_key(bench, terminal, "cpu")
        bench.press(terminal, "run", "q", "exit code 3")
        need("goes on" in terminal.text() and bench.goes_on(), "the run did not go on after `q`")
    with bench.terminal("attach", size=LARGE) as terminal:
        begun(terminal, "cpu")
        bench.keep(terminal, "cpu-run")
        terminal.hang_up()
        time.sleep(1.0)
        need(bench.goes_on(), "the run ended with its terminal")
    with bench.terminal("attach", size=LARGE) as terminal:
        begun(terminal, "cpu")
        bench.press(terminal, "everywhere", "ctrl+c", "exit code 3")
        need(bench.goes_on(), "ctrl+c ended the run")
    with bench.terminal("attach", size=LARGE) as terminal:
        begun(terminal, "cpu")
        for size, said in (((40, 12), "60"), (SMALL, "verdict so far"), ((60, 16), "verdict so far"),
                           ((300, 80), "verdict so far"), (LARGE, "verdict so far")):
            terminal.resize(*size)
            terminal.wait_for(said)
            time.sleep(0.5)
            bench.keep(terminal, "cpu-resized", framed=size[0] >= 60)
        ends(bench, terminal, "cpu")


def pocl(bench: Bench) -> None:
    """Two devices of PoCL."""
    words = ("burn", "--backend", "opencl", "--for", "180s", "--profile", "generic")
    with bench.terminal(*words, size=LARGE) as terminal:
        begun(terminal, "opencl")
        bench.keep(terminal, "pocl-run")
        every_key(bench, terminal, "pocl")
        bench.press(terminal, "run", "q", "exit code 3")
        need(bench.goes_on(), "the run did not go on after `q`")
    with bench.terminal("attach", size=SMALL) as terminal:
        begun(terminal, "opencl")
        bench.keep(terminal, "pocl-run")
        ends(bench, terminal, "pocl", DRAIN_SECONDS + KILL_SECONDS)


def replay(bench: Bench) -> None:
    """The run of before, played again; other runs."""
    for size in (SMALL, LARGE):
        with bench.terminal("attach", bench.last_burn(), "--replay", "--speed", "2", size=size) as terminal:
            press = bench.press
            terminal.wait_for("played again, 2x", seconds=30.0)
            press(terminal, "played again", ">", "played again, 4x")
            press(terminal, "played again", "<", "played again, 2x")
            press(terminal, "played again", "space", "played again, paused")
            bench.keep(terminal, "replay")
            press(terminal, "played again", "]", "as it was at the end")  # it is shorter than a minute
            press(terminal, "played again", "[", " 00:00:00 of")
            press(terminal, "run", "r", "began (UTC)")
            terminal.press("space", "down", "space")
            press(terminal, "runs", "c", "judgements changed")
            bench.keep(terminal, "compare")
            press(terminal, "side by side", "a", "changes alone; ")
            terminal.press("escape")
            terminal.wait_gone("judgements changed")
            press(terminal, "runs", "enter", "╭─ verdict", " boxcheck ")
            terminal.press("q")
            terminal.wait_for("exit code")


PLAIN: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "c-locale": ("xterm-256color", {"LANG": "C"}), "vt100": ("vt100", {}),
    "no-color": ("xterm-256color", {"NO_COLOR": "1"}), "linux": ("linux", {})}


def plain(bench: Bench) -> None:
    """Terminals without Unicode, and without colour."""
    for name, (term, more) in PLAIN.items():
        with bench.terminal("attach", bench.last_burn(), size=SMALL, term=term, **more) as terminal:
            mark = "│" if name == "no-color" else "|"
            terminal.until(lambda text, mark=mark: "verdict" in text and mark in text, "the run", 30.0)  # type: ignore[misc]
            for key in ("", "l", "b", "b", "?", "escape", "ctrl+p", "escape"):
                if key:
                    terminal.press(key)
                    time.sleep(0.8)
                text = terminal.text()
                need(name == "no-color" or not not_ascii(text), f"{name}: {not_ascii(text)!r} is no ASCII:\n{text}")
                need(name != "no-color" or not COLOUR.search(terminal.coloured()), f"{name}: a colour")
                if key == "l":
                    bench.keep(terminal, name)
            terminal.press("q")
            terminal.wait_for("exit code")


def start(bench: Bench) -> None:
    """`boxcheck` alone."""
    with bench.terminal(size=SMALL) as terminal:
        terminal.wait_for("bring up, validate and certify", "doctor", "burn in", seconds=30.0)
        bench.keep(terminal, "start", framed=False)
        terminal.press("b")
        terminal.wait_for("how long?")
        terminal.press("escape")
        terminal.wait_gone("how long?")
        terminal.press("r")
        terminal.wait_for("began (UTC)")
        terminal.press("escape")
        terminal.wait_for("bring up, validate")
        terminal.press("q")
        terminal.wait_for("exit code 0")


def watched(bench: Bench) -> None:
    """A watch for a time, and one until it is told to end."""
    for words, said in ((("--for", "20s"), " left"), ((), "until it is told to end")):
        with bench.terminal("watch", "--profile", "generic", *words, size=SMALL) as terminal:
            terminal.wait_for("verdict so far", said, seconds=60.0)
            bench.keep(terminal, f"watch-{'for' if words else 'open'}")
            if not words:
                terminal.press("s")
                terminal.wait_for("End the run?")
                terminal.press("y")
                terminal.wait_for("The run has ended", seconds=60.0)
                terminal.press("y")
            else:
                terminal.until(lambda text: "so far" not in text, "its end", 60.0)
                terminal.press("q")
            terminal.wait_for("exit code", seconds=60.0)
            need("goes on" not in terminal.text(), "the watch did not end")


SCENES: Mapping[str, Callable[[Bench], None]] = {
    "cpu": processor, "pocl": pocl, "replay": replay, "plain": plain, "start": start, "watch": watched}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help="keep what was seen in docs/pictures/terminal")
    parser.add_argument("--only", choices=tuple(SCENES), action="append", default=[])
    parser.add_argument("--state", type=Path, help="a folder for runs; it stays")
    asked = parser.parse_args()
    if TMUX is None:
        print("skipped: there is no tmux on this machine")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        bench, wrong = Bench(asked.state or Path(folder), asked.write), 0
        for name in asked.only or SCENES:
            began = time.monotonic()
            try:
                SCENES[name](bench)
                print(f"{name}: as it should be, {time.monotonic() - began:.0f} s", flush=True)
            except Wrong as error:
                wrong += 1
                print(f"{name}: {error}", flush=True)
            finally:
                bench.end_runs()
    if not asked.only:
        missing = sorted(promised() - bench.pressed)
        print(f"keys of the page that were not pressed: {missing}" if missing else "every key of the page was pressed")
        wrong += bool(missing)
        if asked.write and not wrong:
            for place in KEPT.glob("*.txt"):
                if place.stem not in bench.seen or not SHOWN.fullmatch(place.stem):
                    place.unlink()
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
