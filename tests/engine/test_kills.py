"""Whatever is killed, filled, taken away or set wrong under a burn-in: what was committed stays, and the truth is told."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from boxcheck.engine.job import Job
from boxcheck.engine.plan import plan_from
from boxcheck.store.lock import lock_path
from boxcheck.store.reader import RunReader
from tests.engine.kills import QUICK, Victim, Yard
from tests.store.disks import Ballast, make_read_only, small_disk

MOMENTS: tuple[tuple[Victim, float], ...] = (
    ("engine", 0.2), ("engine", 0.7), ("worker", 0.5), ("engine", 0.9), ("command", 0.4), ("engine", 1.1),
    ("guard", 0.5), ("engine", 0.0), ("engine", 0.4), ("engine", 0.6), ("command", 0.7), ("engine", 1.0))


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    one = Yard(tmp_path, plan=QUICK)
    yield one
    one.end()


def test_a_kill_of_any_process_at_any_moment_loses_nothing_and_leaves_nothing(yard: Yard) -> None:
    told: Counter[str] = Counter()
    for victim, wait in MOMENTS:
        told += yard.round(victim, wait, "engine" if wait == MOMENTS[0][1] else "store")
    assert told["engine killed"] >= 5, told
    assert told["resumed"] >= 3, told
    assert told["crashed"] >= 3, told
    assert sum(len(one.events) for one in yard.seen.values()) > 10
    if yard.state() == "crashed":
        done = yard.call("burn", "--resume", os.path.basename(yard.stores()[-1]).removesuffix(".sqlite"), "--quiet")
        assert done.returncode in (0, 1, 3), done.stderr
    yard.look()
    yard.kept()
    assert yard.state() == "finished"


def test_a_run_goes_on_when_its_terminal_is_closed(yard: Yard) -> None:
    """The terminal of a session leader: it is told by SIGHUP, and what it prints goes nowhere (signal(7))."""
    master, slave = pty.openpty()
    process = yard.burn(stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    _wait_for(lambda: yard.state() == "running")
    os.close(master)
    os.kill(process.pid, signal.SIGHUP)
    process.wait(30)
    yard.gone(60)
    assert yard.state() == "finished"


def test_sigterm_ends_a_run_in_order(yard: Yard) -> None:
    process = yard.burn()
    _wait_for(lambda: _doing(yard, "matmul"))
    assert yard.strike("engine", 0, signal.SIGTERM) is not None
    assert yard.wait(process) in (1, 3)
    yard.gone()
    assert yard.state() == "stopped"
    yard.look()
    yard.kept()
    assert "went down" not in yard.call("runs").stderr


def test_a_machine_that_shuts_down_under_a_run_is_no_crash_of_a_worker(yard: Yard) -> None:
    """systemd sends SIGTERM to every process at once (systemd-shutdown(8))."""
    process = yard.burn()
    _wait_for(lambda: _doing(yard, "matmul") and len(yard.processes("worker")) == 2)
    for one in yard.processes():
        os.kill(one, signal.SIGTERM)
    process.wait(30)
    yard.gone()
    assert yard.state() == "stopped"
    with RunReader(yard.stores()[0]) as reader:
        assert not [one.says for one in reader.events() if one.severity == "fail"]
        verdict = reader.verdict()
    assert verdict is not None
    assert [one.says for one in verdict.findings if one.outcome == "fail"] == []


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 60 << 10) as disk:
        yard = Yard(disk, plan=QUICK)
        try:
            process = yard.burn()
            _wait_for(lambda: _doing(yard, "matmul"))
            ballast = Ballast(disk)
            time.sleep(0.7)
            yard.look()
            ballast.remove()
            yard.wait(process)
            yard.gone()
            yard.kept()
            assert yard.state() == "finished"
            (path,) = yard.stores()
            with RunReader(path) as reader:
                verdict = reader.verdict()
            assert verdict is not None
        finally:
            yard.end()


def test_a_disk_that_stays_full_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 60 << 10) as disk:
        yard = Yard(disk, plan=QUICK)
        try:
            process = yard.burn()
            _wait_for(lambda: _doing(yard, "vram"))
            yard.look()
            Ballast(disk)
            yard.wait(process, 120)
            yard.gone(60)
            yard.kept()
            assert yard.state() in ("crashed", "finished")
            judged = yard.call("judge", "last")
            assert judged.returncode != 0 or yard.state() == "finished"
            assert "Traceback" not in judged.stderr
        finally:
            yard.end()


def test_a_disk_that_came_up_read_only_keeps_the_run_and_every_command_says_what_it_cannot_do(tmp_path: Path) -> None:
    """As a root file system does after a crash. (It cannot be made so under files that are written: mount(2), EBUSY;
    tests/store has the errors of a disk under a writer.)"""
    with small_disk(tmp_path / "disk", 60 << 10) as disk:
        yard = Yard(disk, plan=QUICK)
        try:
            yard.burn("--detach").wait(60)
            _wait_for(lambda: _doing(yard, "vram"))
            yard.look()
            assert yard.strike("engine", 0) is not None
            yard.gone()
            make_read_only(disk)
            yard.kept()
            assert yard.state() == "crashed"
            judged = yard.call("judge", "last")
            assert judged.returncode in (1, 3)
            assert "what the logs of that time hold was not stored" in judged.stderr
            for _ in range(2):  # nobody can mark it as told
                assert "boxcheck went down in phase" in yard.call("runs").stderr
            for words in (["--resume"], ["--backend", "cpu", "--profile", "generic", "--plan", str(yard.plan)]):
                refused = yard.call("burn", *words)
                assert refused.returncode == 2, refused.stderr
                assert "error: " in refused.stderr
                assert "Traceback" not in refused.stderr
        finally:
            yard.end()


CLOCK = """
import os, time
real, flag = time.time, {flag!r}
time.time = lambda: real() - (7200.0 if os.path.exists(flag) else 0.0)
from boxcheck.engine.burn import main
main()
"""


def test_a_clock_that_is_set_back_is_told_and_changes_no_order(yard: Yard) -> None:
    yard.runs.mkdir(parents=True)
    job = Job(plan=plan_from(QUICK, "QUICK", ("matmul", "vram")), folder=str(yard.runs), backend="cpu", profile="generic",
              boot="b")
    flag = yard.folder / "set-back"
    process = subprocess.Popen(
        [sys.executable, "-c", CLOCK.format(flag=str(flag))], env=yard.environment, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _give(process, msgspec.json.encode(job))
    _wait_for(lambda: _doing(yard, "matmul"))
    flag.touch()
    assert process.wait(60) == 0
    (path,) = yard.stores()
    with RunReader(path) as reader:
        assert reader.run().state == "finished"
        (event,) = [one for one in reader.events() if one.kind == "clock-set"]
        assert "set back by 7200" in event.says
        ages = [one.at.seconds for one in reader.events()]
        assert ages == sorted(ages)
        assert 0 < max(phase.ended.seconds for phase in reader.phases() if phase.ended) < 60
    assert not os.path.exists(lock_path(path))
    assert yard.call("judge", "last").returncode in (0, 3)


def _give(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.close()


def _doing(yard: Yard, name: str) -> bool:
    for path in yard.stores():
        with RunReader(path) as reader:
            return any(one.plan.name == name and one.state == "running" for one in reader.phases())
    return False


def _wait_for(holds: object, within_seconds: float = 30.0) -> None:
    assert callable(holds)
    until = time.monotonic() + within_seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)
