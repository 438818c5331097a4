"""Starting a burn: Ctrl-C meanwhile, whose the files are, options that exclude each other, names from a store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from boxcheck.commands.burn import Options, burn
from boxcheck.commands.follow import held_interrupts
from boxcheck.engine.aside import Aside
from boxcheck.engine.detach import _is_engine, _log
from boxcheck.engine.unit import unit_text
from boxcheck.host.owner import give_to_owner
from boxcheck.store.lock import is_held, lock_path
from boxcheck.usage import UsageError


def test_ctrl_c_while_a_run_is_started_waits_until_it_is_known() -> None:
    with held_interrupts() as came:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
    assert came == [signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):  # from here on it is as before
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("options", "word"), [
    (Options(plan="x.toml", level=3), "--level"), (Options(plan="x.toml", only=("vram",)), "--only"),
    (Options(resume=True, profile="generic"), "--profile"), (Options(resume=True, level=2), "--level"),
    (Options(inject="slow-down"), "slow-down"), (Options(resume=True, seed=77), "--seed"),
    (Options(resume=True, on_error="stop"), "--on-error"),
])
def test_an_option_that_would_be_dropped_is_refused(options: Options, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        burn(options)


def test_a_pipe_in_place_of_a_lock_hangs_nobody(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sqlite")
    os.mkfifo(lock_path(path))
    done = threading.Event()
    threading.Thread(target=lambda: (is_held(path), done.set()), daemon=True).start()
    assert done.wait(5)
    assert not is_held(path)


def test_only_a_process_of_boxcheck_is_told_to_stop() -> None:
    assert not _is_engine(1)
    assert not _is_engine(0)
    with subprocess.Popen(["sleep", "30"]) as other:
        assert not _is_engine(other.pid)
        other.kill()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)", "boxcheck.engine.burn"]) as engine:
        time.sleep(0.2)
        assert _is_engine(engine.pid)
        engine.kill()


def test_the_log_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "engine.log").symlink_to(tmp_path / "victim")
    with pytest.raises(UsageError, match=r"engine\.log"), _log(str(tmp_path / "engine.log"), str(tmp_path)):
        raise AssertionError("it was opened")
    (tmp_path / "log.d").mkdir()
    with pytest.raises(UsageError, match=r"log\.d"), _log(str(tmp_path / "log.d"), str(tmp_path)):
        raise AssertionError("it was opened")


def test_what_root_makes_in_a_users_folder_is_that_users(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("takes root")
    os.chown(tmp_path, 1234, 1234)
    with open(tmp_path / "made", "w") as made:
        give_to_owner(str(tmp_path), made.fileno())
    assert (tmp_path / "made").stat().st_uid == 1234


def test_the_unit_names_the_folder_that_is_used() -> None:
    text = unit_text("/home/ann/.local/state/boxcheck/runs")
    assert "Environment=XDG_STATE_HOME=/home/ann/.local/state\n" in text
    assert "ConditionPathExistsGlob=/home/ann/.local/state/boxcheck/runs/*.sqlite.lock" in text


def test_a_call_that_hangs_holds_nobody_up() -> None:
    gate, calls = threading.Event(), []

    def call() -> int:
        calls.append(len(calls))
        gate.wait(10)
        return len(calls)

    aside = Aside(call, "test")
    began = time.monotonic()
    assert [aside.poll() for _ in range(5)] == [None] * 5
    assert aside.finish(0.05) == (False, None)
    assert time.monotonic() - began < 5
    gate.set()
    assert aside.finish(5) == (True, 1)
    assert calls == [0], "one at a time"


def test_what_a_call_aside_raises_is_raised_by_whoever_asks() -> None:
    def call() -> None:
        raise ValueError("x")

    aside = Aside(call, "test")
    aside.poll()
    with pytest.raises(ValueError, match="x"):
        aside.finish(5)


def test_one_load_at_a_time_on_a_box(tmp_path: Path) -> None:
    """Also from another folder of runs."""
    from boxcheck.engine.box_lock import whole_box

    words = [sys.executable, "-m", "boxcheck", "stress", "run", "cpu", "--backend", "cpu", "--seconds", "1"]
    with whole_box():
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2],
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path)})
    assert done.returncode == 2, done.stderr
    assert "error: another boxcheck puts load on this box\n" in done.stderr
