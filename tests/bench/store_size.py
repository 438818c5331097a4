"""Size of a store, and time and memory to judge it again. By hand: `python -m tests.bench.store_size`; ten minutes.

Simulates a day of 8 GPUs by the plan of a burn-in (tests/store/day.py): each phase with the samples that its modules
send, and beside them a reading of each GPU, of the 64 functions on the way to them and of the host a second, with
everything in them that NVML gives. Then, in a process of its own, `boxcheck judge` of it; and as an anchor, only to
unpack the same bytes. Last, writes in real time for a while, for what writing costs.

    python -m tests.bench.store_size --hours 2         a shorter run, told as a day
    python -m tests.bench.store_size --vendor amd      as amdgpu tells of its cards
    python -m tests.bench.store_size --flat            one phase, and one sample a second of each GPU

Exit code 1 when a promise is broken: 100 MB, 10 s and 300 MB to judge, 1 % of a core to write.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from contextlib import closing
from pathlib import Path

import msgspec

from boxcheck.engine.plan import plan_for
from boxcheck.gpu import GpuInfo
from boxcheck.profile import load_profile
from boxcheck.registry import STRESSES, discover, discover_stress
from boxcheck.store.creating import create_run
from boxcheck.store.rows import PhasePlan, PhaseStart, ProfileName, RunInfo
from boxcheck.store.writer import RunWriter
from boxcheck.stress import StressResults
from tests.store.day import Day
from tests.store.machine import HandClock, Machine

GPUS = 8
HOST = GpuInfo(
    backend="cpu", index=0, name="EPYC", arch="cpu", bdf=None, memory_bytes=1 << 38, free_bytes=1 << 37, compute_units=64,
    unified=True, is_gpu=False, driver="numpy")
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


def simulate_plan(folder: str, *, seconds: int, vendor: str = "nvidia") -> str:
    """A finished store of a burn-in by its plan: every phase with what its modules send, and the readings beside."""
    discover()
    discover_stress()
    plan = plan_for(seconds, f"for {seconds} s", gpus=GPUS, peers=GPUS, known=tuple(STRESSES))
    hand, machine = HandClock(), Machine(GPUS, vendor=vendor)
    day = Day(machine)
    want = load_profile("generic")
    store = create_run(folder, RunInfo(kind="burn", version="0.4.0", plan=msgspec.to_builtins(plan), profile=ProfileName(
        want.name, want.revision, want.sha256)), clock=hand.clock())
    number = 0
    for step in plan.steps:
        numbers = {module: number + at for at, module in enumerate(step.modules or ("",), 1)}
        number += len(numbers)
        for module, one in numbers.items():
            host = module and STRESSES[module].scope == "host"
            gpus = (HOST,) if host else machine.gpus if module else ()
            store.plan_phase(PhasePlan(number=one, name=step.name, module=module, planned_seconds=step.seconds))
            store.about(one, step.name)
            store.begin_phase(one, PhaseStart(gpus=gpus))
        length = round(step.seconds)
        for second in range(length):
            hand.pass_by(1)
            for worker in range(GPUS) if step.modules else ():
                now = hand.monotonic + 0.011 * worker + 0.003 * machine.random.random()
                store.watched(numbers[step.modules[0]], machine.told_by(worker, now))
                if worker == 0 and second % 5 == 0:
                    store.watched(numbers[step.modules[0]], (machine.told_around(now),))
            for module, one in numbers.items():
                for worker, sample in day.second(module, second, length):
                    store.sample(one, sample, worker=worker)
            if second % 10 == 0:
                trouble = store.flush()
                assert trouble is None, trouble
        for module, one in numbers.items():
            gpus = (HOST,) if module and STRESSES[module].scope == "host" else machine.gpus
            store.end_phase(one, StressResults(
                module=module, gpus=gpus, samples=(), troubles=(), ended=tuple(info.key for info in gpus))
                if module else None, outcome="pass")
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
        if number == 0 and round(now) % 5 == 0:
            store.watched(1, (machine.told_around(now),))
        for _ in range(samples):
            store.sample(1, machine.sample(number), worker=number)


def judge_again(path: str) -> None:
    """`boxcheck judge` of it, the account and all, in this process. Prints figures, a JSON object a line: what it costs
    only to unpack the same bytes, what it costs to put them together again, and all of it."""
    import io
    from contextlib import redirect_stdout

    from boxcheck.commands.burn import Options
    from boxcheck.commands.runs import report
    from boxcheck.store.reader import RunReader
    from boxcheck.store.results import results_of, watching_of

    before, spent = peak_mb(), time.process_time()
    unpack(path)
    unpacked = time.process_time() - spent
    print(json.dumps({"seconds to unpack it": unpacked, "MB before": before}), flush=True)
    began, spent = time.monotonic(), time.process_time()
    with redirect_stdout(io.StringIO()) as account:
        report(path, None, Options())
    spent = time.process_time() - spent
    print(json.dumps({
        "lines of the account": account.getvalue().count("\n"), "seconds in all": time.monotonic() - began,
        "seconds of processor": spent, "times unpacking": spent / unpacked, "MB at most": peak_mb()}), flush=True)
    results, watching, samples, readings = 0.0, 0.0, 0, 0
    with RunReader(path) as run:
        for phase in run.phases():
            if phase.plan.module:
                spent = time.process_time()
                samples += len(results_of(run, phase.plan.number).samples)
                results, spent = results + time.process_time() - spent, time.process_time()
                readings += sum(watching_of(run, phase.plan.number).readings.values())
                watching += time.process_time() - spent
    print(json.dumps({
        "samples": samples, "readings": readings, "seconds for samples": results,
        "seconds for readings": watching}), flush=True)


def unpack(path: str) -> int:
    """What nobody can do without: every block of the store decompressed and decoded."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        return sum(len(msgspec.msgpack.decode(zlib.decompress(data))) for (data,) in base.execute(
            "SELECT data FROM blocks ORDER BY id"))


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
    parser.add_argument("--flat", action="store_true")
    parser.add_argument("--keep", help="a directory for the store; it stays")
    parser.add_argument("--judge")
    asked = parser.parse_args()
    if asked.judge:
        judge_again(asked.judge)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        began, seconds = time.monotonic(), round(asked.hours * 3600)
        make = simulate if asked.flat else simulate_plan
        path = make(asked.keep or folder, seconds=seconds, vendor=asked.vendor)
        size = os.path.getsize(path) / 1e6
        print(f"{asked.hours:g} hours of {GPUS} GPUs ({asked.vendor}), {'flat' if asked.flat else 'by the plan'}: "
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
