"""kill -9 at any moment: what was said to be on the disk is there, and what is there can be read."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxcheck.store.lock import is_held
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of
from boxcheck.store.salvage import salvage_run
from boxcheck.store.verify import complaints

ROUNDS = 64


class Zygote:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.victim"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2])

    def round(self, folder: Path, path: str, wait: float, acknowledged: int) -> list[list[str]]:
        """Lets a run write until it has said so much and then a while longer, kills it, and gives what it said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{folder} {path}\n")
        self.process.stdin.flush()
        out = self.process.stdout
        word, number = out.readline().split()
        assert word == "process"
        said = [out.readline().split(maxsplit=1) for _ in range(acknowledged)]
        time.sleep(wait)
        os.kill(int(number), signal.SIGKILL)
        while (line := out.readline()) != "gone\n":
            said.append(line.split(maxsplit=1))
        return [one for one in said if len(one) == 2]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    one = Zygote()
    yield one
    one.close()


def assert_all_is_there(path: str, said: list[list[str]]) -> None:
    with RunReader(path) as run:
        events = {one.says for one in run.events()}
        phases = {one.plan.number: one for one in run.phases()}
        last: dict[tuple[str, int], int] = {}
        for word, rest in said:
            if word == "event":
                assert rest in events
            elif word in ("samples", "readings"):
                phase, number = map(int, rest.split())
                last[word, phase] = number
            elif word == "about":
                assert phases[int(rest)].about is not None
            elif word == "ended":
                assert phases[int(rest)].state == "ended"
                results = results_of(run, int(rest))
                assert (results.troubles, len(results.samples)) == ((), 18)
        for (word, phase), number in last.items():
            found = run.samples(phase) if word == "samples" else run.database.count_records(("gpu", "links", "host"), phase)
            assert (found if isinstance(found, int) else len(list(found))) >= number, f"{word} of {phase}"
        assert run.run().state == "crashed"
        for phase in phases.values():
            assert phase.state in ("planned", "ended", "cut")


def test_whatever_was_acknowledged_before_a_kill_is_there(zygote: Zygote, tmp_path: Path) -> None:
    chance = random.Random(7)
    path, said = "-", list[list[str]]()
    told = 0
    for number in range(ROUNDS):
        if number % 4 == 0:  # a new run; the others go on with it
            path, said = "-", []
        heard = zygote.round(tmp_path, path, chance.uniform(0, 0.02), chance.randrange(1, 60))
        said += heard
        told += len(heard)
        path = next((rest.strip() for word, rest in heard if word == "store"), path)
        said = [[word, rest.strip()] for word, rest in said if word != "store"]
        if path == "-":
            continue
        assert not is_held(path)
        assert_all_is_there(path, said)
        if number % 4 == 3:
            assert complaints(path) == ()
    assert told > 10 * ROUNDS


def test_a_salvage_of_a_killed_run_loses_nothing(zygote: Zygote, tmp_path: Path) -> None:
    for number in range(6):
        heard = zygote.round(tmp_path, "-", 0.01 * number, 40)
        path = next(rest.strip() for word, rest in heard if word == "store")
        target = str(tmp_path / f"salvaged-{number}.sqlite")
        salvage = salvage_run(path, target)
        assert (salvage.missing, salvage.damaged, salvage.log) == ({}, 0, True)
        with RunReader(path) as run, RunReader(target) as again:
            assert list(again.samples()) == list(run.samples())
            assert list(again.events()) == list(run.events())
            assert list(again.readings()) == list(run.readings())
            assert again.phases() == run.phases()


def test_a_run_that_is_killed_while_it_is_made_leaves_a_whole_store_or_none(zygote: Zygote, tmp_path: Path) -> None:
    chance = random.Random(3)
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        zygote.round(folder, "-", chance.uniform(0, 0.012), 0)
        for name in os.listdir(folder):
            if name.endswith(".sqlite"):
                with RunReader(str(folder / name)) as run:
                    assert run.run().info.kind == "burn"
