"""Runs that write until they are killed. A zygote forks them, so that a round costs no start of Python.

    python -m tests.store.victim

Each line of standard input is the directory, and the store to go on with or `-`; the answer is the process that writes,
then what it was told is on the disk, a line each, until it is killed or closes its output.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from boxcheck.store.creating import create_run, reopen_run
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.store.writer import RunWriter
from tests.store.machine import HandClock, Machine


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def write_until_killed(folder: str, path: str) -> None:
    hand, machine = HandClock(monotonic=1000.0 + os.getpid()), Machine(2, links=3, seed=os.getpid())
    if path == "-":
        store = create_run(folder, RunInfo(kind="burn", version="0.4.0", boot="b"), clock=hand.clock())
    else:
        store = reopen_run(path, version="0.4.0", boot=str(os.getpid()), clock=hand.clock())
    say(f"store {store.path}")
    for number in range(1, 10_000):
        phase(store, hand, machine, number + os.getpid() * 10_000)


def phase(store: RunWriter, hand: HandClock, machine: Machine, number: int) -> None:
    """A simulated minute and a half, so that the store is folded within and at its end."""
    assert store.plan_phase(PhasePlan(number=number, name=f"phase {number}", module="matmul")) is None
    assert store.about(number, "work") is None
    say(f"about {number}")
    store.begin_phase(number, PhaseStart(gpus=machine.gpus))
    samples = readings = 0
    for second in range(9):
        hand.pass_by(10)
        for gpu in range(2):
            readings += 2 + (gpu == 0)
            store.watched(number, machine.told_by(gpu, hand.monotonic))
            samples += 1
            if store.sample(number, machine.sample(gpu), worker=gpu, wait=True) is None:
                say(f"samples {number} {samples}")
        if second % 3 == 0:
            assert store.event("tick", f"{number} {second}", phase=number) is None
            say(f"event {number} {second}")
        if second % 4 == 1 and store.flush() is None:
            say(f"readings {number} {readings}")
    assert store.end_phase(number) is None
    say(f"ended {number}")


def main() -> None:
    for line in sys.stdin:
        folder, path = line.split()
        child = os.fork()
        if child == 0:
            with suppress(BrokenPipeError):
                write_until_killed(folder, path)
            os._exit(1)
        say(f"process {child}")
        os.waitpid(child, 0)
        say("gone")


if __name__ == "__main__":
    main()
