"""`boxcheck demo` shows what the commands themselves show, says that it is a demo, and reads nothing of this machine."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from boxcheck.commands.demo_files import BOXES, FOLDER, LOG, unpacked_run
from tests.demo.making import FILES, stale
from tests.tui.tmux import TMUX, Terminal

ROOT = Path(__file__).parents[2]
SPY = """\
import os, sys
_log = os.open(os.environ["SPY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_told = {"open", "os.mkdir", "os.rename", "os.symlink", "os.chmod", "subprocess.Popen", "os.exec", "os.fork",
         "os.posix_spawn", "socket.connect", "socket.bind", "os.listdir"}
def _hear(event, words):
    if event in _told:
        how = words[2] if event == "open" and isinstance(words[2], int) else 0
        writes = event != "open" or bool(how & (os.O_WRONLY | os.O_RDWR))
        os.write(_log, f"{event}\\t{'w' if writes else 'r'}\\t{words[0]}\\n".encode())
sys.addaudithook(_hear)
"""
WORDS = (
    (), *(("doctor", box.name) for box in BOXES), ("report",), ("report", "--html", "OUT"), ("triage",), ("riser",))


def run(words: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "boxcheck", *words], capture_output=True, text=True, timeout=120.0, check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1", **environment})


def test_the_files_are_what_the_command_makes() -> None:
    assert stale() == [], "python -m tests.demo makes them anew"


def test_the_files_are_small_and_said_to_be_built() -> None:
    told = Path(FOLDER, "README.md").read_text()
    lying = {path.name for path in Path(FOLDER).iterdir()} - {"README.md"}
    assert lying == set(FILES)
    assert all(f"`{name}`" in told for name in lying)
    assert all(f"`{box.built_of}`" in told for box in BOXES)
    assert sum(path.stat().st_size for path in Path(FOLDER).iterdir()) < 700_000


@pytest.mark.parametrize("words", [(), ("doctor", "wopr"), ("report",), ("triage",), ("riser",)], ids=" ".join)
def test_a_demo_says_that_it_is_one_and_exits_with_0(words: tuple[str, ...]) -> None:
    done = run(("demo", *words))
    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    if words:
        assert re.match(r"demo: .*(not this machine|not of this one)$", first)
        what = "log" if words[0] == "triage" else "box"
        assert last == f"demo: boxcheck {words[0]} exits with 1 on such a {what}; a demo exits with 0"
    else:
        assert first.startswith("Demos on machines that were built")


def test_the_list_names_commands_that_there_are() -> None:
    listed = re.findall(r"boxcheck (demo [a-z -]+)$", run(("demo",)).stdout, re.MULTILINE)
    assert len(listed) == len(BOXES) + 4
    for line in listed:
        assert run((*line.split(), "--help")).returncode == 0, line


@pytest.mark.parametrize(("name", "check"), [
    ("wopr", "pcie.link-width"), ("tinybox-red", "pcie.link-speed"), ("strix-halo", "strix.gpu-memory")])
def test_doctor_says_of_a_demo_what_it_says_of_that_capture(name: str, check: str) -> None:
    (box,) = [one for one in BOXES if one.name == name]
    shown, told = (run((*words, "--json", "-")) for words in (
        ("demo", "doctor", name), ("doctor", "--sysroot", os.path.join(FOLDER, box.file))))
    one, other = json.loads(shown.stdout), json.loads(told.stdout)
    assert one["findings"] == other["findings"]
    assert check in {finding["check"] for finding in one["findings"] if finding["outcome"] == "fail"}
    assert (shown.returncode, told.returncode) == (0, 1)
    assert shown.stderr.startswith("demo: a built capture, not this machine\n"), "JSON alone is on standard output"
    assert "demo-" in json.dumps(one["box"]), "no account of it passes for a real box"


def test_triage_and_report_say_what_the_commands_say() -> None:
    told = run(("triage", os.path.join(FOLDER, LOG))).stdout.splitlines()
    assert len(told) > 20
    assert set(told[1:]) <= set(run(("demo", "triage")).stdout.splitlines())
    with unpacked_run() as path:
        told = run(("report", path), XDG_STATE_HOME=os.path.dirname(path)).stdout.splitlines()
    shown = run(("demo", "report")).stdout.splitlines()
    assert len(told) > 50
    assert told == shown[3 : 3 + len(told)]


def test_the_text_and_the_page_count_the_same(tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    passed = re.search(r"^FAIL +(\d+) pass", run(("demo", "report")).stdout, re.MULTILINE)
    run(("demo", "report", "--html", str(page)))
    shown = re.search(r"(\d+) passed", page.read_text())
    assert passed is not None
    assert shown is not None
    assert passed[1] == shown[1]


def test_the_worked_example_finds_the_riser_by_the_solver() -> None:
    shown = run(("demo", "riser")).stdout
    assert "Not told apart yet" in shown.split("Boot 2 of 2")[0]
    assert "Riser R7 (98 %) is at fault" in shown.split("Boot 2 of 2")[1]
    told = json.loads(run(("demo", "riser", "--json", "-")).stdout)
    assert told["schema"].startswith("boxcheck.riser/")


def test_a_page_is_written_where_it_is_told_and_says_demo(tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    done = run(("demo", "report", "--html", str(page)))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"demo: written to {page}")
    assert "DEMO (a built machine)" in page.read_text()
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_nothing_of_this_machine_is_read_and_nothing_else_is_written(words: tuple[str, ...], tmp_path: Path) -> None:
    for name in ("spy", "tmp", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(SPY)
    heard, page = tmp_path / "heard", tmp_path / "page.html"
    done = run(("demo", *(str(page) if word == "OUT" else word for word in words)),
               PYTHONPATH=f"{tmp_path / 'spy'}:{ROOT}", SPY=str(heard), HOME=str(tmp_path / "home"),
               XDG_STATE_HOME=str(tmp_path / "home" / "state"), TMPDIR=str(tmp_path / "tmp"),
               PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stderr
    told = [line.split("\t") for line in heard.read_text().splitlines()]
    assert any(path.endswith("demo_files.py") or "demo_files" in path for _, _, path in told), "the spy hears"
    machine = [(event, path) for event, _, path in told if re.match(
        r"/(sys|dev(?!/null|/urandom)|run|boot|var|proc(?!/self/))(/|$)|/etc/machine-id", path)]
    assert machine == []
    assert [event for event, _, _ in told if event.startswith(("subprocess", "os.exec", "os.fork", "os.posix", "socket"))] == []
    written = {path for event, how, path in told if how == "w" and event != "os.listdir" and not path.isdecimal()}
    outside = {path for path in written if not path.startswith((str(tmp_path / "tmp"), str(page), "/dev/null"))}
    assert outside == set()
    assert list((tmp_path / "home").iterdir()) == list((tmp_path / "tmp").iterdir()) == []


def test_a_word_that_is_none() -> None:
    done = run(("demo", "doctor", "wop"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no demo has a box 'wop'\nhelp: did you mean wopr?\n"
    assert run(("demo", "tui")).stderr == (
        "error: a run is played again on a terminal alone\nhelp: boxcheck demo report prints its account\n")


@pytest.mark.skipif(TMUX is None, reason="there is no tmux")
@pytest.mark.parametrize(("size", "says"), [((120, 34), "played again, 60x, a demo"), ((80, 24), "60x, a demo")])
def test_the_screen_says_that_it_is_a_demo_and_leaves_nothing(tmp_path: Path, size: tuple[int, int], says: str) -> None:
    for name in ("tmp", "home"):
        (tmp_path / name).mkdir()
    terminal = Terminal(
        (sys.executable, "-P", "-m", "boxcheck", "demo", "tui", "--speed", "60"),
        {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "LANG": "C.UTF-8",
         "PYTHONPATH": str(ROOT)}, size)
    try:
        terminal.wait_for(says, seconds=60.0)
        terminal.press("q")
        terminal.wait_for("exit code 0", seconds=60.0)
        assert "demo: that was a run of a built machine" in terminal.text()
    finally:
        terminal.end()
    assert list((tmp_path / "home").iterdir()) == list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("told", [True, False])
def test_a_screen_whose_terminal_is_closed_leaves_nothing(tmp_path: Path, told: bool) -> None:
    """As a lost connection does: what is printed fails, and SIGHUP tells the leader of the session (signal(7)), which
    may keep it to itself."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with subprocess.Popen(
            [sys.executable, "-P", "-m", "boxcheck", "demo", "tui"], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, env={
                "PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "LANG": "C.UTF-8",
                "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}) as process:
        os.close(slave)
        shown = b""
        while b"a demo" not in shown:
            assert select.select([master], [], [], 60.0)[0], shown
            shown += os.read(master, 65536)
        assert list(tmp_path.glob("boxcheck-demo-*"))
        os.close(master)
        if told:
            process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 128 + signal.SIGHUP
    assert list(tmp_path.iterdir()) == []
