"""`boxcheck watch`: the owner's work as without it, and what changed meanwhile."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boxcheck.commands.watch import Options, watch
from boxcheck.store.reader import RunReader
from boxcheck.usage import UsageError

BOXCHECK = [sys.executable, "-m", "boxcheck"]
WATCH = [*BOXCHECK, "watch", "--profile", "generic"]


class Box:
    """A machine of its own, as far as runs go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "COLUMNS": "100"}

    def watch(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*WATCH, *words], env=self.environment, capture_output=True, text=True, timeout=60, check=False, **options)

    def begin(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*WATCH, *words], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*BOXCHECK, *words], env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def store(self) -> str:
        (path,) = (self.folder / "state/boxcheck/runs").glob("*-watch.*[!k]")
        return str(path)

    def stores(self) -> int:
        return len(list((self.folder / "state/boxcheck/runs").glob("*-watch*")))


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def _until(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_the_commands_output_is_its_own_and_the_run_is_kept_and_judged_alike(box: Box) -> None:
    out = box.folder / "out.json"
    done = box.watch("--json", str(out), "--", "sh", "-c", "cat; echo out; echo err >&2; sleep 1.2", input="in\n")
    assert done.stdout == "in\nout\n"
    assert "err\n" in done.stderr
    found = json.loads(out.read_text())
    assert found["schema"] == "boxcheck.watch/1"
    assert (found["command_status"], found["exit_code"]) == (0, done.returncode)
    assert found["changes"]["compared"]
    checks = {one["check"]: one["outcome"] for one in found["run"]["findings"]}
    assert checks["watch.instruments"] == "skip"  # a machine without a GPU: that is said, and is no pass
    assert "No GPU was watched." in done.stderr
    assert checks["burn.devices"] in ("pass", "unknown")  # a machine without a PCI bus
    assert {"burn.log", "watch.changed"} <= checks.keys()
    with RunReader(box.store()) as reader:
        run = reader.run()
        assert (run.info.kind, run.state) == ("watch", "finished")
        assert (run.info.plan["until"], "lasting_seconds" in run.info.plan) == ("the command ends", False)
        assert [(phase.plan.module, phase.state) for phase in reader.phases()] == [("watch", "ended")]
        assert list(reader.readings(1))
    judged = json.loads(box.call("judge", Path(box.store()).stem, "--json", "-").stdout)
    again = {(one["check"], one["outcome"], one["says"]) for one in judged["findings"]}
    assert again >= {(one["check"], one["outcome"], one["says"]) for one in found["run"]["findings"]}
    assert judged["verdict"]["outcome"] == found["run"]["verdict"]["outcome"]


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_commands_own_failure_is_the_exit_code(box: Box, script: str, code: int) -> None:
    out = box.folder / "out.json"
    done = box.watch("--json", str(out), "--", "sh", "-c", script)
    assert done.returncode == code
    assert json.loads(out.read_text())["command_status"] == code


@pytest.mark.parametrize(("options", "says"), [
    (Options(command=("no-such-command-here",)), "no-such-command-here: command not found"),
    (Options(command=("/",)), "is a directory"), (Options(command=("/etc/passwd",)), "not executable"),
    (Options(lasting="soon"), "'soon' is no duration"), (Options(lasting="1h", command=("true",)), "--for ends a watch"),
    (Options(lasting="1h", pid=1), "--for ends a watch"), (Options(pid=4194999), "no process has the number"),
    (Options(pid=0), "is no process"), (Options(pid=os.getpid()), "is boxcheck itself"),
    (Options(pid=1, command=("true",)), "exclude each other"),
    (Options(json="-", command=("true",)), "belongs to the command"), (Options(json="-", jsonl="-"), "both want"),
    (Options(jsonl="/nonexistent/x"), "no such directory")])
def test_a_mistake_is_one_clear_error_before_anything_is_read_or_started(options: Options, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        watch(options)


def test_a_command_that_is_not_there_ends_with_2_and_no_run_is_kept(box: Box) -> None:
    done = box.watch("--", "no-such-command-here")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no-such-command-here: command not found")
    assert box.stores() == 0


def test_a_script_without_an_interpreter_is_a_clear_error(box: Box) -> None:
    script = box.folder / "script"
    script.write_text("echo\n")
    script.chmod(0o755)
    done = box.watch("--", str(script))
    assert done.returncode == 2
    assert "exec format error" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_directory_that_cannot_be_made_is_said_and_the_command_not_started(box: Box) -> None:
    (box.folder / "state").write_text("a file")
    done = box.watch("--", "touch", str(box.folder / "touched"))
    assert done.returncode == 2
    assert "XDG_STATE_HOME" in done.stderr
    assert not (box.folder / "touched").exists()


def test_a_process_that_was_there_before_is_watched_until_it_ends(box: Box) -> None:
    with subprocess.Popen(["sleep", "5"]) as process:
        done = box.watch("--pid", str(process.pid), "--json", "-")
    found = json.loads(done.stdout)
    assert found["command_status"] is None
    assert "(sleep)" in found["command"]
    assert 0.5 < found["seconds"] < 7
    assert done.returncode in (0, 3)


def test_a_command_that_leaves_work_behind_says_so(box: Box) -> None:
    done = box.watch("--", "sh", "-c", "sleep 9 >/dev/null 2>&1 & echo $!")
    assert "left processes behind" in done.stderr
    os.kill(int(done.stdout), signal.SIGKILL)


def test_sigterm_is_passed_on_and_leaves_no_orphan(box: Box) -> None:
    marks = box.folder / "pid"
    script = f"trap 'echo ended; exit 3' TERM; echo $$ > {marks}; while :; do sleep 0.1; done"
    with box.begin("--", "sh", "-c", script) as process:
        _until(lambda: marks.exists() and marks.read_text().strip() != "", "the command did not begin")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 3
    assert out == "ended\n"
    assert "Traceback" not in err
    assert _gone(int(marks.read_text()))


def test_ctrl_c_ends_a_watch_of_the_machine_and_it_sums_up(box: Box) -> None:
    with box.begin("--json", str(box.folder / "out.json")) as process:
        _until(lambda: box.stores() > 0, "no store was made")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    found = json.loads((box.folder / "out.json").read_text())
    assert process.returncode in (0, 3)
    assert found["reason"] == "ended by SIGINT"
    assert found["changes"]["compared"]
    assert "watched the machine" in out


def test_a_watch_does_not_stand_in_the_way_of_another_run(box: Box) -> None:
    from boxcheck.engine.detach import running

    with box.begin("--", "sleep", "2") as first:
        _until(lambda: box.stores() > 0, "no store was made")
        assert box.watch("--", "true").returncode in (0, 3)
        assert running(str(box.folder / "state/boxcheck/runs")) is None
        first.communicate(timeout=20)
    assert first.returncode in (0, 3)


def test_lines_of_json_come_as_it_happens(box: Box) -> None:
    lines = box.folder / "lines"
    box.watch("--jsonl", str(lines), "--", "sleep", "1")
    kinds = [json.loads(line)["kind"] for line in lines.read_text().splitlines()]
    assert kinds[0] == "instruments-followed"
    assert {"devices-followed", "devices-unread"} & set(kinds)


# In a terminal


class Terminal:
    """boxcheck with a terminal of its own."""

    def __init__(self, box: Box, *words: str) -> None:
        self.master, slave = pty.openpty()

        def claim() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [*WATCH, *words], env=box.environment, stdin=slave, stdout=slave, stderr=slave, preexec_fn=claim)
        os.close(slave)
        self.shown = b""

    def until(self, words: bytes, seconds: float = 20.0) -> None:
        import select

        deadline = time.monotonic() + seconds
        while words not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self.master, 1 << 16)
                except OSError:
                    break
        assert words in self.shown, self.shown

    def press(self, keys: bytes) -> None:
        time.sleep(0.3)  # nobody is as fast as a test: the command is in the foreground within milliseconds
        os.write(self.master, keys)


@pytest.fixture
def terminal(box: Box) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def make(*words: str) -> Terminal:
        made.append(Terminal(box, *words))
        return made[-1]

    yield make
    for one in made:
        one.process.kill()
        one.process.wait()
        os.close(one.master)


def test_ctrl_c_goes_to_the_command_and_the_watch_sums_up(terminal: Callable[..., Terminal]) -> None:
    script = "trap 'echo caught$((6*7)); exit 0' INT; echo ready$((6*7)); while :; do sleep 0.1; done"
    one = terminal("--", "sh", "-c", script)
    one.until(b"ready42")
    one.press(b"\x03")
    one.until(b"caught42")
    one.until(b"-watch\r\n", 30)
    assert one.process.wait(timeout=20) in (0, 3)
    assert b"interrupted" not in one.shown


def test_a_command_that_catches_ctrl_c_goes_on_and_so_does_the_watch(terminal: Callable[..., Terminal]) -> None:
    one = terminal("--", "sh", "-c", "trap 'echo caught$((6*7))' INT; echo ready$((6*7)); read line; echo $line got")
    one.until(b"ready42")
    one.press(b"\x03")
    one.until(b"caught42")
    assert one.process.poll() is None
    one.press(b"\x03")
    time.sleep(0.3)
    assert b"Traceback" not in one.shown


def test_a_command_reads_the_terminal_as_without_a_watch(terminal: Callable[..., Terminal]) -> None:
    one = terminal("--", "sh", "-c", "echo ready$((6*7)); read line; echo $line got")
    one.until(b"ready42")
    one.press(b"hello\n")
    one.until(b"hello got")
    assert one.process.wait(timeout=20) in (0, 3)


def test_ctrl_z_stops_both_and_both_go_on(terminal: Callable[..., Terminal]) -> None:
    one = terminal("--", "sh", "-c", "echo ready$((6*7)); sleep 1; echo done$((6*7))")
    one.until(b"ready42")
    one.press(b"\x1a")
    deadline = time.monotonic() + 10
    while "\nState:\tT" not in Path(f"/proc/{one.process.pid}/status").read_text():
        assert time.monotonic() < deadline, "boxcheck did not stop"
        time.sleep(0.05)
    one.process.send_signal(signal.SIGCONT)
    one.until(b"done42")
    assert one.process.wait(timeout=20) in (0, 3)


def test_a_terminal_that_is_closed_ends_what_it_ends_without_a_watch(box: Box) -> None:
    marks = box.folder / "pid"
    one = Terminal(box, "--", "sh", "-c", f"echo $$ > {marks}; exec sleep 60")
    _until(lambda: marks.exists() and marks.read_text().strip() != "", "the command did not begin")
    os.close(one.master)
    one.process.wait(timeout=20)
    assert _gone(int(marks.read_text()))
    with RunReader(box.store()) as reader:
        assert reader.run().state == "finished"


def test_a_profile_of_another_box_is_refused_before_the_command_is_started(box: Box) -> None:
    touched = box.folder / "touched"
    done = box.call("watch", "--profile", "wopr-7x4090", "--", "touch", str(touched))
    assert (done.returncode, touched.exists(), box.stores()) == (2, False, 0)
    assert "wopr-7x4090 is the profile of another box" in done.stderr


def test_a_box_without_the_gpus_that_its_profile_names_is_not_passed(box: Box) -> None:
    done = box.call("watch", "--profile", "wopr-7x4090", "--force-profile", "--", "true")
    assert done.returncode == 3
    assert "watched, and the profile names 7" in done.stderr


def test_judge_and_attach_print_the_account_of_a_watch_and_not_of_a_stress_run(box: Box) -> None:
    box.watch("--", "sh", "-c", "exit 4")
    for words in (("judge", "last"), ("attach", "last")):
        said = box.call(*words).stdout
        assert "watched sh -c exit 4: exit code 4" in said
        assert "No GPU was watched." in said
        assert "compared" not in said
