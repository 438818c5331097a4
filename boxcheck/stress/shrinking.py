"""Which options made a test of a GPU or the host smaller than it is by itself: such a run is allowed, and no pass.

Options of results are those of the user, the plan or the profile; the `spare` that the engine adds beside GPUs
(boxcheck.engine.sparing) is only in the order to the worker, and so never told here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from boxcheck.gpu import GpuInfo
from boxcheck.stress import StressResults
from boxcheck.stress.judging import by_gpu

USUAL: Mapping[tuple[str, str], float] = {
    ("copy", "megabytes"): 256, ("p2p", "megabytes"): 64, ("collective", "megabytes"): 256,
    ("power-pulse", "duty"): 0.5, ("vram", "rest"): 10, ("dram", "percent"): 50, ("nvme", "scratch_mib"): 1024,
}
"""By module and option: what the module takes where the option is not given. Less is a smaller test."""
MEMORY_PART = 0.8
"""Of a GPU's memory, as `vram.coverage` asks for: naming less to test is naming a part."""
HOST = frozenset(("cpu", "dram", "nvme", "net"))
"""Modules that work on the host, on every machine at full size."""
PART_OF_HOST = 0.5
"""Of the memory that is available, as `dram` takes by itself."""
HOST_ELEMENTS = ("fp64", "fp32")
LEAST_PULSES = 10
"""A few steps of the load are chance; the default has 37 in ten seconds."""


def shrunk(results: StressResults, info: GpuInfo) -> Iterator[str]:
    """In words, each option that made the test smaller, and a pulse that hardly was one."""
    for name, word in results.options.items():
        value, usual = _number(word), USUAL.get((results.module, name))
        if value is None:  # the module has refused it
            continue
        if usual is not None and value < usual:
            yield f"option {name}={word} makes it smaller than it is meant ({usual:g})"
        if (results.module, name) == ("vram", "megabytes") and value * (1 << 20) < MEMORY_PART * info.memory_bytes:
            yield f"option {name}={word} leaves out most of its {info.memory_bytes >> 20} MiB"
        if (results.module, name) == ("dram", "megabytes") and value * (1 << 20) < PART_OF_HOST * _available(
                results, info):
            yield f"option {name}={word} leaves out most of what dram takes by itself: half of what is available"
        if name == "spare" and results.module in HOST and value > 0:
            yield f"option {name}={word} leaves out cores"
    yield from _left_out(results, info)
    if results.module == "power-pulse":
        pulsed = [one for one in by_gpu(results, "power-pulse.bf16").get(info.key, ()) if "pulses" in one.notes]
        made = sum(int(one.notes["pulses"]) for one in pulsed)
        if pulsed and made < LEAST_PULSES:
            yield f"{made} pulse{'' if made == 1 else 's'} in all; less than {LEAST_PULSES} prove little"


def _available(results: StressResults, info: GpuInfo) -> float:
    """Bytes of the host's memory that the test could have had, by its own samples; all there is where none tells."""
    told = [float(one.notes["available_bytes"]) for one in results.samples if "available_bytes" in one.notes]
    return min(told, default=float(info.memory_bytes))


def _left_out(results: StressResults, info: GpuInfo) -> Iterator[str]:
    """In words, what of a module's products an option leaves out. A plan's warm-up leaves out most, as it is meant;
    `phase=power` is told by matmul.wrong-elements, which compares nothing then."""
    options = results.options
    if results.module == "cpu" and "elements" in options:
        usual: tuple[str, ...] = HOST_ELEMENTS
    elif results.module == "matmul" and not results.warm_up:
        if options.get("phase") == "exact":
            yield "option phase=exact leaves out the load at full power"
        if "kernel" in options:
            yield f"option kernel={options['kernel']} leaves out every other kernel"
        usual = _usual_elements(info.arch) if "elements" in options else ()
    else:
        return
    lacking = [name for name in usual if name not in options["elements"].split(",")]
    if lacking:
        yield f"option elements={options['elements']} leaves out {', '.join(lacking)}"


def _usual_elements(arch: str) -> tuple[str, ...]:
    """What matmul multiplies by itself on such a GPU."""
    from boxcheck.stress.kernel_choice import candidates
    from boxcheck.stress.matmul import ELEMENT_ORDER

    has_fp8 = any(kernel.name.split("-")[0] != "portable" for kernel in candidates(arch, "e4m3"))
    return tuple(name for name in ELEMENT_ORDER if name != "e4m3" or has_fp8)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
