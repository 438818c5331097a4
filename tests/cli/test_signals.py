"""Ctrl-C and kill: one line, the exit code of the signal, and nothing left behind, at whatever moment they come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from boxcheck.host import programs
from tests.boxes import build

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}

SLOW = """
import sys
sys.argv = ["boxcheck", *sys.argv[1:]]
import boxcheck.__main__ as program
import boxcheck.engine.inspect as inspect
import boxcheck.commands.doctor as doctor
from boxcheck.host.programs import run_program, SEARCH_PATH

def reading(host, wanted=None):
    print("reading", file=sys.stderr, flush=True)
    run_program(["sleep", "60"], 50.0)
    raise AssertionError("nobody ended it")

doctor.read_facts = reading
inspect.read_facts = reading
program.main()
"""


def sleepers() -> set[int]:
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:2] == [b"60"] and words[0].endswith(b"sleep"):
                found.add(int(entry))
    return found


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("words", [("doctor",), ("capture", "out.tar.gz")])
def test_a_signal_while_reading(tmp_path: Path, number: signal.Signals, words: tuple[str, ...]) -> None:
    before = sleepers()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(Path(__file__).parents[2])})
    assert process.stderr is not None
    while process.stderr.readline() != "reading\n":
        assert process.poll() is None
    deadline = time.monotonic() + 10
    while not sleepers() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sleepers() - before
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (CODES[number], "", "interrupted before a verdict\n")
    deadline = time.monotonic() + 5  # what was killed takes a moment to go
    while sleepers() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not sleepers() - before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", CODES)
def test_a_signal_just_when_a_program_starts(tmp_path: Path, number: signal.Signals) -> None:
    """The program runs and nobody knows its number yet: the signal must wait for it."""
    early = SLOW.replace("def reading(", f"""
import os, subprocess
class Popen(subprocess.Popen):
    def __init__(self, *words, **options):
        super().__init__(*words, **options)
        os.kill(os.getpid(), {int(number)})
        for _ in range(1000):
            pass  # a handler runs between two lines
        print("started", self.pid, file=sys.stderr, flush=True)
subprocess.Popen = Popen
def reading(""")
    done = subprocess.run(
        [sys.executable, "-c", early, "doctor"], capture_output=True, text=True, cwd=tmp_path, timeout=30,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(Path(__file__).parents[2])})
    said = done.stderr.splitlines()
    assert (done.returncode, said[0], said[-1]) == (CODES[number], "reading", "interrupted before a verdict")
    pid = int(said[1].split()[1])
    deadline = time.monotonic() + 5
    while pid in sleepers() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert pid not in sleepers()


NOT_YET_OURS = ("Fatal Python error: init_", "Could not import runpy module")
"""How CPython 3.11 to 3.14 begin what they say of an interrupt before a program's first line (Python/pylifecycle.c,
Modules/main.c); the exit code is 1."""


@pytest.mark.parametrize("number", CODES)
def test_a_signal_at_any_moment_gives_no_traceback(tmp_path: Path, number: signal.Signals) -> None:
    box = str(build("wopr-7x4090").write_tar(tmp_path / "box.tar"))
    for delay in (0.06, 0.1, 0.15, 0.2):
        process = subprocess.Popen(
            [sys.executable, "-m", "boxcheck", "doctor", "--sysroot", box, "--json", str(tmp_path / "out.json")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(delay)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        # Before the first line of ours the interpreter ends as it likes: by the signal.
        assert process.returncode in (0, CODES[number], -number) or err.startswith(NOT_YET_OURS), err
        assert not [path for path in tmp_path.iterdir() if path.name not in ("box.tar", "out.json")]
        if process.returncode == CODES[number]:
            assert err.endswith("interrupted before a verdict\n")
            assert "Traceback" not in err


def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"trap '' HUP; {sys.executable} -c 'import signal, sys; sys.argv = [\"boxcheck\", \"--help\"];"
         " import boxcheck.__main__ as m\ntry: m.main()\nexcept SystemExit: pass\n"
         "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)'"], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("True\n"), done.stderr


def test_programs_that_ended_are_not_remembered() -> None:
    programs.run_program(["true"], 10.0)
    assert not programs.STARTED


def test_a_signal_while_text_is_executed_has_its_own_code(tmp_path: Path) -> None:
    """As while a dataclass or named tuple is made. A plain KeyboardInterrupt out of `exec` makes `python -m` end
    itself by SIGINT, whatever the exit code was to be (Python/pythonrun.c, run_eval_code_obj)."""
    (tmp_path / "ends.py").write_text(
        "import boxcheck.__main__ as m\n"
        "m._run = lambda: exec('import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)')\n"
        "m.main()\n")
    done = subprocess.run([sys.executable, "-m", "ends", "doctor"], cwd=tmp_path, capture_output=True, text=True,
                          check=False, timeout=60)
    assert (done.returncode, done.stderr) == (143, "interrupted before a verdict\n")


def test_a_signal_that_comes_within_a_callback_is_not_lost(tmp_path: Path) -> None:
    """The import system itself has such callbacks."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys, time, weakref\n"
        "import boxcheck.__main__ as main\n"
        "class Thing: pass\n"
        "def run():\n"
        "    thing = Thing()\n"
        "    held = weakref.ref(thing, lambda _: [os.kill(os.getpid(), signal.SIGINT), list(range(9))])\n"
        "    del thing\n"
        "    time.sleep(20)\n"
        "main._run = run\n"
        "main.main()\n")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=15)
    assert (done.returncode, done.stderr) == (130, "interrupted before a verdict\n")


@pytest.mark.parametrize(("completing", "said"), [(False, "interrupted before a verdict\n"), (True, "")])
def test_ctrl_c_between_tab_and_an_answer_writes_nothing_into_the_line_that_is_typed(completing: bool, said: str) -> None:
    code = ("import os, signal, boxcheck.__main__ as program\n"
            "program._run = lambda: os.kill(os.getpid(), signal.SIGINT)\nprogram.main()")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env={**os.environ, **({"_BOXCHECK_COMPLETE": "complete_bash"} if completing else {})})
    assert (done.returncode, done.stderr) == (130, said)
