"""Which options made a test on a GPU smaller than it is by itself: such a run is allowed, and no pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from boxcheck.gpu import GpuInfo
from boxcheck.stress import StressResults
from boxcheck.stress.judging import by_gpu

USUAL: Mapping[tuple[str, str], float] = {
    ("copy", "megabytes"): 256, ("p2p", "megabytes"): 64, ("collective", "megabytes"): 256,
    ("power-pulse", "duty"): 0.5,
}
"""By module and option: what the module takes where the option is not given. Less is a smaller test."""
MEMORY_PART = 0.8
"""Of a GPU's memory, as `vram.coverage` asks for: naming less to test is naming a part."""
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
        if (results.module, name) == ("vram", "rest") and value == 0:
            yield f"option {name}={word} leaves out the rest in which what leaks shows"
    if results.module == "power-pulse":
        pulsed = [one for one in by_gpu(results, "power-pulse.bf16").get(info.key, ()) if "pulses" in one.notes]
        made = sum(int(one.notes["pulses"]) for one in pulsed)
        if pulsed and made < LEAST_PULSES:
            yield f"{made} pulse{'' if made == 1 else 's'} in all; less than {LEAST_PULSES} prove little"


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
