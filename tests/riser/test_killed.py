"""Real signals: those that can be held wait until the link is as it was, and after SIGKILL the next start puts it back."""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxcheck.model import Bdf
from boxcheck.riser.links.aspm import without_aspm
from boxcheck.riser.links.equalisation import redo_equalisation
from boxcheck.riser.links.hold import Held, holding
from boxcheck.riser.links.lanes import keep_awake
from boxcheck.riser.links.pending import restore_pending
from boxcheck.riser.links.retrain import retrain_often
from boxcheck.riser.links.target_speed import force_speed, try_speeds
from tests.riser.held_link import BOOT, journals, linked, pair_of, settings
from tests.riser.simulated.link import SYS, SimulatedLink
from tests.riser.simulated.on_disk import DiskMachine

OPTIONS: dict[str, Any] = {"substates": True, "aspm_switches": False}


def everything(held: Held) -> None:
    keep_awake(held)
    with without_aspm(held):
        try_speeds(held, (8.0, 2.5))
    redo_equalisation(held)
    retrain_often(held, 3)


def child(folder: Path, state: Path, experiments: Callable[[Held], None], rounds: int) -> int:
    """Runs experiments in another process, on registers that are files. Its process id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        machine = DiskMachine(folder, real=0.0003)
        link = SimulatedLink(machine, attach=True, **OPTIONS)
        pair = pair_of(link)
        (state / "ready").write_text("")
        for _ in range(rounds):
            with holding(machine, pair, str(state), boot=BOOT) as held:
                experiments(held)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001  a child of pytest must not come back as pytest
        traceback.print_exc()
    finally:
        os._exit(code)


def started(tmp_path: Path, rounds: int = 10_000) -> tuple[int, Path, Path, dict[str, Any]]:
    folder, state = tmp_path / "machine", tmp_path / "state"
    folder.mkdir(parents=True)
    state.mkdir()
    before = settings(SimulatedLink(DiskMachine(folder), **OPTIONS))
    process = child(folder, state, everything, rounds)
    while not (state / "ready").exists():
        time.sleep(0.001)
    (state / "ready").unlink()
    return process, folder, state, before


def attached(folder: Path) -> SimulatedLink:
    return SimulatedLink(DiskMachine(folder), attach=True, **OPTIONS)


def test_after_kill_minus_9_at_a_random_moment_the_next_start_puts_the_link_back(tmp_path: Path) -> None:
    chance, cut_off, changed = random.Random(9), 0, 0
    for number in range(120):
        if number >= 12 and cut_off >= 6 and changed >= 3:  # how many of a dozen hit the middle is the scheduler's matter
            break
        process, folder, state, before = started(tmp_path / str(number))
        time.sleep(chance.uniform(0.0, 0.08))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        link = attached(folder)
        cut_off += any(name.endswith(".link.json") for name in journals(state))
        changed += settings(link) != before
        recovered = restore_pending(link.machine, str(state), boot=BOOT)
        assert all(one.closed for one in recovered), recovered
        assert settings(link) == before
        assert (link.code, link.width) == (4, 16)
        assert [name for name in journals(state) if name.endswith(".link.json")] == []
    assert cut_off >= 6, "some were killed in the middle"
    assert changed >= 3, "some of them with the link changed"


@pytest.mark.parametrize(("number", "status"), [
    (signal.SIGINT, 130 << 8), (signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGHUP)])
def test_a_program_that_is_stopped_and_stopped_again_puts_the_link_back_first(
    number: signal.Signals, status: int, tmp_path: Path,
) -> None:
    chance = random.Random(int(number))
    for turn in range(3):
        process, folder, state, before = started(tmp_path / str(turn))
        time.sleep(chance.uniform(0.005, 0.05))
        ended = (0, 0)
        while ended == (0, 0):
            os.kill(process, number)  # impatient: again and again, also while the link is put back
            time.sleep(0.002)
            ended = os.waitpid(process, os.WNOHANG)
        assert ended[1] == status
        assert settings(attached(folder)) == before
        # An empty lock file may be left by a signal that came before anything was held.
        assert set(journals(state)) <= {"links.lock"}


def test_a_signal_in_the_middle_of_a_write_is_obeyed_after_it(tmp_path: Path) -> None:
    machine, link, pair = linked()
    before = settings(link)
    made: list[int] = []

    def strike(bdf: Bdf, offset: int, size: int, value: int) -> bool:
        made.append(offset)
        if len(made) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return False

    machine.on_write.insert(0, strike)
    with pytest.raises(KeyboardInterrupt), holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        force_speed(held, 2.5)
    # The target speed was written, no retraining was asked for, and the target was put back.
    assert made[0] == made[1] == link.port.express + 0x30
    assert settings(link) == before
    assert journals(tmp_path) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_while_the_link_is_put_back_waits(tmp_path: Path) -> None:
    machine, link, pair = linked()
    before = settings(link)
    struck: list[int] = []

    def strike(bdf: Bdf, offset: int, size: int, value: int) -> bool:
        struck.append(offset)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return False

    ended: list[int] = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))

    def work() -> None:
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            force_speed(held, 2.5)
            machine.on_write.insert(0, strike)
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        signal.signal(signal.SIGTERM, old)
    assert len(struck) >= 2
    assert ended == [signal.SIGTERM], "delivered to whoever had it, once the link was back"
    assert settings(link) == before
    assert journals(tmp_path) == []


def test_ctrl_z_waits_until_the_link_is_as_it_was(tmp_path: Path) -> None:
    machine, link, pair = linked()
    stopped: list[dict[str, Any]] = []
    old = signal.signal(signal.SIGTSTP, lambda number, frame: stopped.append(settings(link)))
    before = settings(link)
    try:
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            force_speed(held, 2.5)
            os.kill(os.getpid(), signal.SIGTSTP)
            held.sleep(0.2)
            assert stopped == []
    finally:
        signal.signal(signal.SIGTSTP, old)
    assert stopped == [before]


def test_what_an_experiment_does_on_its_way_out_is_not_interrupted(tmp_path: Path) -> None:
    machine, link, pair = linked()
    cleaned: list[int] = []

    def work() -> None:
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                held.read(link.port_bdf, 0, 2)
            finally:
                assert held.stopping
                os.kill(os.getpid(), signal.SIGINT)
                held.write(link.port_bdf, link.port.at["margining"] + 8, 2, 0x9C38)
                cleaned.append(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert cleaned == [1]


@pytest.mark.parametrize("access", ["read", "write", "attribute", "set_attribute", "sleep"])
def test_every_access_obeys_before_it_is_made(access: str, tmp_path: Path) -> None:
    machine, link, pair = linked()
    path = f"{SYS}{link.card_bdf}/power/control"
    accesses: dict[str, Callable[[Held], object]] = {
        "read": lambda held: held.read(link.port_bdf, 0, 2),
        "write": lambda held: held.write(link.port_bdf, link.port.express + 0x30, 2, 1),
        "attribute": lambda held: held.attribute(path), "set_attribute": lambda held: held.set_attribute(path, "on"),
        "sleep": lambda held: held.sleep(1.0)}
    made: list[str] = []
    machine.on_write.insert(0, lambda bdf, offset, size, value: bool(made.append("write")))
    machine.on_set.insert(0, lambda path, text: bool(made.append("set")))

    def work() -> None:
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            os.kill(os.getpid(), signal.SIGINT)
            accesses[access](held)
            pytest.fail("it went on")

    start = machine.now
    with pytest.raises(KeyboardInterrupt):
        work()
    assert made == []
    assert machine.now - start < 0.1


def test_a_load_that_is_told_to_stop_can_see_it(tmp_path: Path) -> None:
    machine, _, pair = linked()
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        assert not held.stopping
