"""Size of a store, and time and memory to judge it again. By hand: `python -m tests.bench.store_size`; about ten minutes.

Simulates a day of 8 GPUs in one phase: a reading of each GPU, of the eight functions on the way to it and of the host a
second, and a sample of each GPU a second, with everything in them that NVML and matmul give. Then, in a process of its
own, rebuilds results and readings from the store alone and judges them. Last, writes in real time for a while, for what
writing costs.

    python -m tests.bench.store_size --hours 2         a shorter run, told as a day
    python -m tests.bench.store_size --vendor amd      as amdgpu tells of its cards
    python -m tests.bench.store_size --samples 3       that many samples a second

Exit code 1 when a promise is broken: 100 MB, 10 s and 300 MB to judge, 1 % of a core to write.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from boxcheck.store.creating import create_run
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.store.writer import RunWriter
from boxcheck.stress import StressResults
from tests.store.machine import HandClock, Machine

GPUS = 8
LIVE_SECONDS = 20
LONGEST_JUDGING_SECONDS = 120.0


def simulate(folder: str, *, seconds: int, vendor: str = "nvidia", samples: int = 1, gpus: int = GPUS) -> str:
    """A finished store of so many simulated seconds."""
    hand, machine = HandClock(), Machine(gpus, vendor=vendor)
    store = create_run(folder, RunInfo(kind="burn", version="0.4.0", plan={"level": 4}), clock=hand.clock())
    begin(store, machine)
    for second in range(seconds):
        hand.pass_by(1)
        say(store, machine, hand.monotonic, samples)
        if second % 10 == 0:
            trouble = store.flush()
            assert trouble is None, trouble
    store.end_phase(1, StressResults(
        module="matmul", gpus=machine.gpus, samples=(), troubles=(), ended=tuple(info.key for info in machine.gpus)))
    store.end("finished", outcome="pass")
    return store.path


def begin(store: RunWriter, machine: Machine) -> None:
    store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul"))
    store.about(1, "matmul")
    store.begin_phase(1, PhaseStart(gpus=machine.gpus))


def say(store: RunWriter, machine: Machine, now: float, samples: int) -> None:
    """What the workers of all GPUs send in a second."""
    for number in range(len(machine.gpus)):
        store.watched(1, machine.told_by(number, now + 0.011 * number + 0.003 * machine.random.random()))
        for _ in range(samples):
            store.sample(1, machine.sample(number), worker=number)


def judge_again(path: str) -> None:
    """Everything that a store of one phase gives, judged. Prints figures of this process, a JSON object a line: when
    all is rebuilt, and when it is judged."""
    from boxcheck.engine.inspect import Facts
    from boxcheck.engine.stress import judge_results
    from boxcheck.profile_resolve import load
    from boxcheck.registry import discover
    from boxcheck.store.reader import RunReader
    from boxcheck.store.results import results_of, watching_of

    discover()
    want = load("generic")
    before, began = peak_mb(), time.monotonic()
    with RunReader(path) as run:
        results = results_of(run, 1)
        rebuilt = time.monotonic()
        watching = watching_of(run, 1)
    watched = time.monotonic()
    print(json.dumps({
        "samples": len(results.samples), "readings": sum(watching.readings.values()),
        "seconds for results": rebuilt - began, "seconds for readings": watched - rebuilt,
        "seconds to rebuild": watched - began, "MB before": before, "MB rebuilt": peak_mb()}), flush=True)
    findings, crashes = judge_results(results, watching, Facts(), want)
    assert not crashes
    print(json.dumps({
        "findings": len(findings), "seconds in all": time.monotonic() - began, "MB at most": peak_mb()}), flush=True)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def judge_apart(path: str) -> dict[str, float]:
    """The same in a fresh process, whose peak of memory is its own. Without the figures of judging where that did not
    come to its end."""
    found: dict[str, float] = {}
    with subprocess.Popen(
            [sys.executable, "-m", "tests.bench.store_size", "--judge", path], stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2]) as process:
        timer = threading.Timer(LONGEST_JUDGING_SECONDS, process.kill)
        timer.start()
        for line in process.stdout or ():
            found |= json.loads(line)
        timer.cancel()
    return found


def write_live(folder: str, seconds: int) -> tuple[float, float]:
    """CPU time for a second of 8 GPUs and 64 functions, as a part of a core: of writing, and of making what is written."""
    machine = Machine(GPUS)
    store = create_run(folder, RunInfo(kind="burn", version="0.4.0"))
    begin(store, machine)
    making = 0.0
    began, spent = time.monotonic(), time.process_time()
    for second in range(seconds):
        for number in range(GPUS):
            time.sleep(max(0.0, began + second + number / GPUS - time.monotonic()))
            before = time.thread_time()
            told, sample = machine.told_by(number, time.monotonic()), machine.sample(number)
            making += time.thread_time() - before
            store.watched(1, told)
            store.sample(1, sample, worker=number)
    spent = time.process_time() - spent
    store.close()
    return (spent - making) / seconds, making / seconds


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--vendor", choices=("nvidia", "amd"), default="nvidia")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--judge")
    asked = parser.parse_args()
    if asked.judge:
        judge_again(asked.judge)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        path = simulate(folder, seconds=round(asked.hours * 3600), vendor=asked.vendor, samples=asked.samples)
        size = os.path.getsize(path) / 1e6
        print(f"{asked.hours:g} hours of {GPUS} GPUs ({asked.vendor}), {asked.samples} sample(s) a second each: "
              f"{size:.1f} MB, {size * 24 / asked.hours:.1f} MB a day; written in {time.monotonic() - began:.0f} s")
        judged = judge_apart(path)
        print("\n".join(f"  {name:<22}{value:>10.1f}" for name, value in judged.items()))
        writing, making = write_live(folder, LIVE_SECONDS)
        print(f"writing costs {100 * writing:.2f} % of a core ({100 * making:.2f} % went into making what is written)")
    broken = [name for name, bad in (
        ("100 MB a day", size * 24 / asked.hours > 100), ("1 % of a core to write", writing > 0.01),
        ("10 s to judge", judged.get("seconds in all", 1e9) > 10),
        ("300 MB to judge", judged.get("MB at most", 1e9) > 300)) if bad]
    print(f"broken: {', '.join(broken)}" if broken else "all promises are kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
