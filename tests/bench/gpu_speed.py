"""Speed of everything that runs on a GPU, in one run: `python -m tests.bench.gpu_speed [--backend cuda] [--seconds 30]`.

Our own matrix kernels against the vendor's library on the same data, the cost of verification, memory passes against a
device copy, host copies against what the slot can do, and how long a worker takes to be ready. One command for the day
on which a GPU is at hand; what it prints belongs into docs/explanation/measurements.md with date, GPU and driver. Exit
code 1 when a promise is broken, 3 when there is no GPU.

    --rehearse    on the processor at small sizes: shows that it works, and promises nothing
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable

from boxcheck.engine.inspect import Facts
from boxcheck.engine.modules import Wanted
from boxcheck.engine.stress import find_devices, run_stress
from boxcheck.engine.supervise import Crew
from boxcheck.gpu import GpuInfo
from boxcheck.profile import load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.stress import Sample, StressResults

OWN_PERCENT, VERIFY_PERCENT, MEMORY_PERCENT, READY_SECONDS = 90.0, 3.0, 85.0, 3.0

def _best(samples: Iterable[Sample], key: str) -> Sample | None:
    return max((one for one in samples if isinstance(one.notes.get(key), (int, float))),
               key=lambda one: float(one.notes[key]), default=None)


def matrix_lines(results: StressResults) -> tuple[list[str], list[str]]:
    """Lines of the table, and promises that were broken."""
    lines, broken = [], []
    for info in results.gpus:
        for element in ("bf16", "fp16", "tf32", "int8", "e4m3", "fp32"):
            power = [one for one in results.of_gpu(info.key) if one.what == f"matmul.{element}.power" and one.value]
            if not power:
                continue
            top = max(power, key=lambda one: one.value or 0.0)
            own, library = top.notes.get("own_tflops"), top.notes.get("library_tflops")
            ratio = 100 * float(own) / float(library) if own and library else None
            cost = float(top.notes.get("verify_percent", 0.0))
            lines.append(
                f"{info.key:<9} {element:<5} {top.value or 0:8.1f} TFLOPS by {top.notes.get('kernel')} at "
                f"{top.notes.get('shape')}; own {own}, library {library}"
                f"{f', own is {ratio:.1f} % of it' if ratio else ''}; verification {cost:.1f} % of the time, "
                f"{top.notes.get('verified_percent')} % of the products")
            if ratio is not None and ratio < OWN_PERCENT and element in ("bf16", "fp16"):
                broken.append(f"{info.key} {element}: own kernel {ratio:.1f} % of the library, at least {OWN_PERCENT:g}")
            if cost > VERIFY_PERCENT:
                broken.append(f"{info.key} {element}: verification takes {cost:.1f} %, at most {VERIFY_PERCENT:g}")
    return lines, broken


def memory_lines(results: StressResults) -> tuple[list[str], list[str]]:
    lines, broken = [], []
    for info in results.gpus:
        for what in dict.fromkeys(one.what for one in results.of_gpu(info.key)):
            top = _best((one for one in results.of_gpu(info.key) if one.what == what), "of_copy_percent")
            if top is not None:
                percent = float(top.notes["of_copy_percent"])
                lines.append(f"{info.key:<9} {what:<16} {top.value or 0:8.1f} GB/s, {percent:.1f} % of a device copy")
                if percent < MEMORY_PERCENT:
                    broken.append(f"{info.key} {what}: {percent:.1f} % of a device copy, at least {MEMORY_PERCENT:g}")
    return lines, broken


def copy_lines(results: StressResults) -> list[str]:
    found = {}
    for one in results.samples:
        if one.value is not None and not one.wrong:
            found[one.gpu, one.what] = max(found.get((one.gpu, one.what), 0.0), one.value)
    return [f"{gpu:<9} {what:<34} {value:8.2f} GB/s" for (gpu, what), value in found.items() if what.startswith("copy.")]


def ready_seconds(gpus: tuple[GpuInfo, ...]) -> float:
    """For workers of all GPUs side by side to be opened, a second time: what is compiled is in the cache."""
    for _ in range(2):
        began = time.monotonic()
        with Crew([[info] for info in gpus]) as crew:
            crew.open_workers()
            spent = time.monotonic() - began
    return spent


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--backend", choices=("cuda", "hip", "opencl", "cpu"))
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--rehearse", action="store_true")
    chosen = options.parse_args()
    discover()
    discover_stress()
    runtime = find_devices("cpu" if chosen.rehearse else chosen.backend)
    gpus = tuple(info for info in runtime.gpus if info.is_gpu or chosen.rehearse)
    if not gpus:
        print("no GPU is at hand:", *(f"{name}: {one.says}" for name, one in runtime.troubles.items()), sep="\n  ")
        return 3
    for info in gpus:
        print(f"{info.key}  {info.name}  {info.arch}  {info.memory_bytes / 2**30:.1f} GiB  {info.driver}")
    run = run_stress(
        Wanted(modules=("matmul", "vram", "copy"), seconds=chosen.seconds, gpus=tuple(info.key for info in gpus)),
        runtime, Facts(), load_profile("generic"))
    broken: list[str] = []
    for results in run.results:
        print(f"\n{results.module}")
        if results.module == "copy":
            print(*copy_lines(results), sep="\n")
            continue
        lines, wrong = (matrix_lines if results.module == "matmul" else memory_lines)(results)
        print(*lines, sep="\n")
        broken += wrong
    spent = ready_seconds(gpus)
    print(f"\nworkers of {len(gpus)} devices ready in {spent:.2f} s, at most {READY_SECONDS:g}")
    if spent > READY_SECONDS:
        broken.append(f"a worker takes {spent:.1f} s to be ready")
    wrong = sum(one.wrong for results in run.results for one in results.samples)
    print(f"wrong results: {wrong}")
    if chosen.rehearse:
        print("a rehearsal on the processor: nothing is promised")
        return 0
    for line in broken:
        print(f"BROKEN  {line}")
    return 1 if broken or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
