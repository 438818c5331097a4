"""Speed and memory of doctor, as ratios against peers in one run. By hand: `python -m tests.bench`.

Commands that are compared are run in turn, A B C A B C, and the medians of their CPU time (user and system) are set in
proportion, so that a busy machine slows all of them. Needs `lspci` (pciutils) for the comparison with it. Exit code 1
when a promise is broken.

    python -m tests.bench            all: half a minute on an idle machine, longer on a busy one
    python -m tests.bench --scale    only the growth over 100, 1 000 and 10 000 functions
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.boxes import build
from tests.boxes.generated import big_tree

RUNS = 9
EMPTY = """
import typer
app = typer.Typer(add_completion=True, rich_markup_mode=None, pretty_exceptions_enable=False)
@app.command()
def first(value: str = "1") -> None: ...
@app.command()
def second(value: int = 2) -> None: ...
app()
"""


def cpu_seconds(argv: Sequence[str]) -> tuple[float, float]:
    """User and system seconds of one finished process, and its peak memory in MB (10^6 bytes)."""
    pid = os.posix_spawn(
        argv[0], list(argv), {**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                      (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
    _, _, usage = os.wait4(pid, 0)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def medians(commands: Sequence[Sequence[str]], runs: int = RUNS) -> list[tuple[float, float]]:
    """Median CPU seconds and largest peak memory of each command, run in turn after one warm-up each."""
    for command in commands:
        cpu_seconds(command)
    samples: list[list[tuple[float, float]]] = [[] for _ in commands]
    for _ in range(runs):
        for index, command in enumerate(commands):
            samples[index].append(cpu_seconds(command))
    return [
        (statistics.median(sample[0] for sample in one), max(sample[1] for sample in one)) for one in samples
    ]


def boxcheck(*words: str) -> list[str]:
    return [sys.executable, "-m", "boxcheck", *words]


def say(name: str, value: float, limit: float, unit: str = "") -> bool:
    held = value <= limit
    print(f"{'ok    ' if held else 'BROKEN'}  {name}: {value:.2f}{unit}, at most {limit:g}{unit}")
    return held


def start_up(folder: Path) -> bool:
    empty = folder / "empty.py"
    empty.write_text(EMPTY)
    (version, _), (typer, _) = medians([boxcheck("--version"), [sys.executable, str(empty), "first"]])
    print(f"        boxcheck --version {version * 1e3:.0f} ms, empty typer program {typer * 1e3:.0f} ms")
    return say("boxcheck --version / empty two-command typer program", version / typer, 1.2)


def seven_gpus(folder: Path) -> bool:
    lspci = shutil.which("lspci")
    if lspci is None:
        print("skipped: lspci is not installed, so there is nothing to compare doctor with")
        return True
    box = folder / "wopr"
    build("wopr-7x4090").write_dir(box)
    doctor = boxcheck("doctor", "--sysroot", str(box))
    peer = [lspci, "-vvv", "-A", "linux-sysfs", "-O", f"sysfs.path={box}/sys/bus/pci"]
    (ours, memory), (version, _), (theirs, _) = medians([doctor, boxcheck("--version"), peer])
    print(f"        doctor {ours * 1e3:.0f} ms, --version {version * 1e3:.0f} ms, lspci -vvv {theirs * 1e3:.0f} ms")
    held = say("doctor on 7 GPUs / (--version + 10 x lspci -vvv)", ours / (version + 10 * theirs), 1.0)
    return say("peak memory of doctor on 7 GPUs", memory, 100, " MB") and held


def scale(folder: Path) -> bool:
    per_function: dict[int, float] = {}
    memory = 0.0
    (base, _), = medians([boxcheck("facts", "--sysroot", str(_tree(folder, 2)))], 5)
    for functions in (100, 1_000, 10_000):
        tree = _tree(folder, functions)
        runs = 5 if functions < 5000 else 3
        (seconds, memory), = medians([boxcheck("doctor", "--sysroot", str(tree), "--plain")], runs)
        per_function[functions] = (seconds - base) / functions if functions > 100 else seconds / functions
        print(f"        {functions} functions: {seconds:.2f} s, {memory:.0f} MB")
        if functions > 100:
            print(f"        {per_function[functions] * 1e6:.0f} us a function beyond start-up")
    ratio = per_function[10_000] / per_function[1_000]
    held = say("time a function, 10 000 / 1 000 functions", ratio, 1.3)
    return say("peak memory at 10 000 functions", memory, 200, " MB") and held


def _tree(folder: Path, functions: int) -> Path:
    path = folder / f"functions-{functions}"
    if not path.exists():
        big_tree(functions, path)
    return path


def main() -> int:
    load = os.getloadavg()[0]
    cores = os.cpu_count() or 1
    print(f"        Python {sys.version.split()[0]}, {cores} processors, load {load:.1f}")
    subprocess.run(boxcheck("checks"), check=True, stdout=subprocess.DEVNULL)  # byte code is written once
    # Writing and removing 150 000 files takes minutes on a disk and seconds in memory.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2e9 else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name)
        held = [scale(folder)] if "--scale" in sys.argv else [start_up(folder), seven_gpus(folder), scale(folder)]
    print(f"        peak memory of this bench {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
