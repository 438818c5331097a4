"""What watching costs: `python -m tests.bench.overhead [--seconds 60] [--blocks 80]`; about four minutes.

1. Telemetry and counters of 8 GPUs (six as amdgpu shows them, two through a library in place of NVIDIA's) and the 64
   functions on the way to them, at 1 Hz as the workers of a run do it: read, sent, taken in, summed up, written into a
   store. All of it in one process, in real time, so that its processor time is the cost. Beside it the guard's readings.
2. Whether it slows the load down: products on a processor's device, with and without instruments by turns in one
   process (on, off, off, on), so that what drifts cancels. Per second of the thread's own processor time, since other
   programs share this machine; per second of the clock as well.
3. From the command `boxcheck burn` to the first verified sample of the first and of the last of 8 devices, as it is
   installed, with its bytecode compiled. Beside it, in turn, 8 processes at once that only import numpy, which no worker
   can do without; and what the start takes of a processor, which says the same on a busy machine.

Exit code 1 when a promise is broken: 1 % of a core, a ratio of 0.995, 5 s; or when the ratio is not known so well, which
other programs on the machine do. What a reading takes of the load's own thread is told beside it.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import msgspec

from boxcheck.engine.guard import Looker, Order
from boxcheck.engine.messages import Beat, Watched, decode_report, encode
from boxcheck.engine.safety import Guard, Limits
from boxcheck.engine.turns import Table, Turns
from boxcheck.gpu import GpuInfo, open_gpu
from boxcheck.model import Bdf
from boxcheck.store.creating import create_run
from boxcheck.store.listing import list_runs
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.stress.tally import Tally
from boxcheck.telemetry.instruments import AMD, NVIDIA, Instruments
from boxcheck.telemetry.readings import GpuReading, LinkReading
from tests.telemetry.test_nvml import AT_WORK, build
from tests.telemetry.trees import amd_card, function, home, processors

GPUS, FUNCTIONS = 8, 8
"""GPUs, and functions on the way to each, its own among them."""
MOST_PERCENT, LEAST_RATIO, MOST_START_SECONDS = 1.0, 0.995, 5.0
BLOCK_SECONDS, BATCH_SECONDS = 1.0, 0.33
ROOT = Path(__file__).parents[2]
PLAN = 'name = "start"\n[[step]]\nmodule = "matmul"\nminutes = 0.2\n'


def machine(root: Path) -> list[tuple[Bdf, str]]:
    """The tree of a machine: address and vendor of each GPU."""
    made = root / "made"
    found = []
    processors(root, cores=64)
    for number in range(GPUS):
        bus = 0x80 + 0x10 * number
        above = f"pci0000:{bus:02x}"
        for step in range(FUNCTIONS - 1):
            above += f"/0000:{bus + step:02x}:{'01.1' if step == 0 else '00.0'}"
            function(root, above)
        bdf = Bdf(f"0000:{bus + FUNCTIONS:02x}:00.0" if number < 6 else f"0000:{0x41 + number - 6:02x}:00.0")
        here = root / function(root, f"{above}/{bdf}")
        if number < 6:
            card = home(made, amd_card(made, number))
            subprocess.run(["cp", "-a", f"{card}/.", str(here)], check=True, timeout=30)
        found.append((bdf, AMD if number < 6 else NVIDIA))
    return found


def info_of(number: int, bdf: Bdf, vendor: str) -> GpuInfo:
    nvidia = vendor == NVIDIA
    return GpuInfo(
        backend="cuda" if nvidia else "hip", index=number, name="RTX 4090" if nvidia else "RX 7900 XTX",
        arch="sm_89" if nvidia else "gfx1100", bdf=bdf, memory_bytes=24 << 30, free_bytes=23 << 30, compute_units=128,
        unified=False, is_gpu=True, driver="made up")


def watching(root: Path, gpus: list[tuple[Bdf, str]], folder: str, seconds: int) -> float:
    """Percent of a core that all of watching takes."""
    infos = tuple(info_of(number, *one) for number, one in enumerate(gpus))
    store = create_run(folder, RunInfo(kind="burn", version="bench"))
    store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul"))
    store.begin_phase(1, PhaseStart(gpus=infos))
    instruments = [Instruments([one], str(root)) for one in gpus]
    readings = [reading for one in instruments for reading in one.read()]
    links = {one.bdf for one in readings if isinstance(one, LinkReading) and isinstance(one.correctable, tuple)}
    told = [one for one in readings if isinstance(one, GpuReading) and isinstance(one.power_watts, (int, float))]
    assert len(links) == GPUS * FUNCTIONS, f"counters of {len(links)} functions"
    assert len(told) == GPUS, f"{len(told)} GPUs told their power"
    tally, guard, table = Tally(infos), Guard(Limits()), Table()
    turns = [Turns(table.descriptor, number + 1) for number in range(GPUS)]
    parts = dict.fromkeys(("read", "sent and taken in", "summed up", "put into the store"), 0.0)
    began, spent = time.monotonic(), time.process_time()
    for second in range(seconds):
        for number, one in enumerate(instruments):
            time.sleep(max(0.0, began + second + number / GPUS - time.monotonic()))
            at = [time.thread_time()]
            found = one.read(turns[number].mine)
            at.append(time.thread_time())
            report = decode_report(encode(Watched(found)))
            assert isinstance(report, Watched)
            at.append(time.thread_time())
            guard.see(f"worker {number}", report.readings)
            tally.add(report.readings)
            at.append(time.thread_time())
            store.watched(1, report.readings)
            at.append(time.thread_time())
            for name, (before, after) in zip(parts, pairwise(at), strict=True):
                parts[name] += after - before
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    spent = time.process_time() - spent
    took = time.monotonic() - began
    store.close()
    table.close()
    rest = spent - sum(parts.values())
    for name, value in (*parts.items(), ("written, and waking up", rest)):
        print(f"        {name:<24}{100 * value / took:6.3f} %")
    return 100 * spent / took


def guarding(root: Path, gpus: list[tuple[Bdf, str]], seconds: int) -> float:
    """Percent of a core that the guard's process takes: it reads all GPUs every 0.7 s, and no links."""
    from boxcheck.engine.guard import EVERY_SECONDS

    looker, guard = Looker(Order(gpus=tuple(gpus), root=str(root))), Guard(Limits())
    began, spent = time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        readings, supply = looker.look()
        guard.see("guard", readings, supply)
        msgspec.json.encode(guard.account())
        time.sleep(EVERY_SECONDS)
    return 100 * (time.process_time() - spent) / (time.monotonic() - began)


def load(blocks: int, root: Path, gpu: tuple[Bdf, str]) -> tuple[list[float], list[float], float]:
    """Ratios of products with instruments to those without, a pair of blocks each: by the thread's own time, and by the
    clock. And the part of that time that readings took, the host's and all, as of a worker that is alone."""
    from boxcheck.stress.kernel_choice import choose
    from boxcheck.stress.products import Random

    device = open_gpu("cpu", 0)
    kernel, _ = choose(device, "bf16")
    assert kernel is not None
    product = Random(device, kernel, (256, 256, 256), 1)
    out = os.open(os.devnull, os.O_WRONLY)
    with Instruments([gpu], str(root)) as instruments:

        looks: list[float] = []

        def look() -> None:
            before = time.thread_time()
            os.write(out, encode(Watched(instruments.read())))
            looks.append(time.thread_time() - before)

        block(product.multiply, device.finish, look, out)
        rates = [block(product.multiply, device.finish, look if on else None, out)
                 for _ in range(blocks // 4) for on in (True, False, False, True)]
    os.close(out)
    own: list[float] = []
    clock: list[float] = []
    for at in range(0, len(rates), 2):
        first, second = rates[at], rates[at + 1]
        with_them, without = (first, second) if at % 4 == 0 else (second, first)
        own.append(with_them[0] / without[0])
        clock.append(with_them[1] / without[1])
    return own, clock, statistics.mean(looks) / BLOCK_SECONDS


def known(ratios: list[float]) -> tuple[float, float]:
    """Between which two the median lies, at 95 %: by the binomial distribution, whatever that of the ratios is."""
    if len(ratios) < 6:
        return 0.0, float("inf")
    aside = max(0, int(len(ratios) / 2 - 0.98 * len(ratios) ** 0.5))
    return sorted(ratios)[aside], sorted(ratios)[-1 - aside]


def block(
    multiply: Callable[[int], None], finish: Callable[[int], None], look: Callable[[], None] | None, out: int
) -> tuple[float, float]:
    """Products a second, of the thread's own time and of the clock, as a worker makes them: signs of life between
    batches, and a look once a second."""
    began, spent, done, next_look = time.monotonic(), time.thread_time(), 0, 0.0
    while (now := time.monotonic()) - began < BLOCK_SECONDS:
        while time.monotonic() - now < BATCH_SECONDS:
            multiply(done)
            done += 1
        finish(0)
        os.write(out, encode(Beat("products", 0.5)))
        if look is not None and time.monotonic() >= next_look:
            next_look = time.monotonic() + 1.0
            look()
    return done / (time.thread_time() - spent), done / (time.monotonic() - began)


def compiled(folder: Path) -> dict[str, str]:
    """An environment in which bytecode is kept in a folder."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "OPENBLAS_NUM_THREADS": "1"}


def importing(folder: Path) -> float:
    """Seconds until as many processes as there are devices, started at once, have imported numpy."""
    began = time.monotonic()
    started = [subprocess.Popen([sys.executable, "-c", "import numpy"], env=compiled(folder)) for _ in range(GPUS)]
    for one in started:
        one.wait(60)
    return time.monotonic() - began


def spent_by(engine: int) -> float:
    """Seconds of processor of the engine, of its workers, and of what it waited for."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = stat.read_text().rpartition(")")[2].split()
            if engine in (int(stat.parent.name), int(words[1])):
                ticks += sum(map(int, words[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def starting(folder: Path, plan: str | None) -> tuple[float, float, float]:
    """Seconds from the command to the first sample of the first and of the last of 8 devices; and of processor until
    all of them have one."""
    environment = {
        **compiled(folder.parent), "XDG_STATE_HOME": str(folder), "BOXCHECK_CPU_DEVICES": str(GPUS)}
    words = ["--level", "1"]
    if plan is not None:
        path = folder / "plan.toml"
        path.write_text(plan)
        words = ["--plan", str(path)]
    began, before = time.time(), os.times()
    subprocess.run(
        [sys.executable, "-m", "boxcheck", "burn", "--backend", "cpu", "--profile", "generic", "--detach", *words],
        env=environment, cwd=ROOT, check=True, timeout=60, capture_output=True)
    after = os.times()
    (run,) = (one for one in list_runs(str(folder / "boxcheck" / "runs")) if one.state == "running")
    firsts: dict[str, float] = {}
    while len(firsts) < GPUS and time.time() - began < 60:
        time.sleep(0.1)
        with RunReader(run.path) as reader:
            session = reader.run().sessions[0]
            for one in reader.samples():
                firsts.setdefault(one.sample.gpu, session.began.wall + one.seconds - began)
    spent = spent_by(session.pid) + after.children_user - before.children_user
    spent += after.children_system - before.children_system
    os.kill(session.pid, signal.SIGTERM)
    while any(one.state == "running" for one in list_runs(str(folder / "boxcheck" / "runs"))):
        time.sleep(0.2)
    return min(firsts.values()), max(firsts.values()), spent


def in_its_environment() -> None:
    """Starts this once more with the library in place of NVIDIA's, which the loader must find before Python runs."""
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder))
        mock = {f"MOCK_{name}": value for name, value in AT_WORK.items()}
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.overhead", *sys.argv[1:]], cwd=ROOT, check=False,
            env={**os.environ, **mock, "LD_LIBRARY_PATH": str(library), "OPENBLAS_NUM_THREADS": "1"})
    sys.exit(done.returncode)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--blocks", type=int, default=80)
    asked = parser.parse_args()
    if "MOCK_F186" not in os.environ:
        in_its_environment()
    kept = []

    def promise(says: str, good: bool, unclear: bool = False) -> None:
        kept.append(good)
        print(f"{'ok' if good else 'unclear' if unclear else 'BROKEN':<8}{says}", flush=True)

    print(f"        load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        gpus = machine(root)
        percent = watching(root, gpus, name, asked.seconds)
        promise(f"watching {GPUS} GPUs and {GPUS * FUNCTIONS} functions at 1 Hz for {asked.seconds} s: {percent:.2f} % of "
                f"a core, at most {MOST_PERCENT:g} %", percent < MOST_PERCENT)
        print(f"        the guard beside it: {guarding(root, gpus, max(10, asked.seconds // 4)):.2f} % of a core")
        own, clock, looking = load(asked.blocks, root, gpus[0])
        for ratios, by in ((own, "of its own time"), (clock, "of the clock")):
            low, high = known(ratios)
            says = f"products a second {by}, with instruments to without: {statistics.median(ratios):.4f} ({low:.4f} to "
            says += f"{high:.4f} at 95 %, {len(ratios)} pairs)"
            if ratios is own:
                promise(f"{says}, at least {LEAST_RATIO}", low >= LEAST_RATIO, unclear=high >= LEAST_RATIO)
            else:
                print(f"        {says}")
        print(f"        readings take {100 * looking:.3f} % of its thread")
        for words, plan in (("a plan of matmul alone", PLAN), ("level 1, doctor first", None)):
            folder = root / words.partition(",")[0].replace(" ", "-")
            folder.mkdir()
            starting(folder, plan)  # compiles
            anchors, tries = [], []
            for _ in range(3):
                anchors.append(importing(root))
                tries.append(starting(folder, plan))
            first, last, spent = map(max, zip(*tries, strict=True))
            says = f"{words}: first sample after {first:.1f} s, of the last device after {last:.1f} s (of 3)"
            promise(f"{says}, at most {MOST_START_SECONDS:g} s", first < MOST_START_SECONDS)
            print(f"        {spent:.2f} s of processor; {GPUS} processes that only import numpy: {max(anchors):.1f} s")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
