"""What no GPU of a model can exceed: matrix products by the GPU database, copies by the links that it has.

A rate above it comes from work that was not done, or from a clock that lies; nothing that was measured with it counts.
Where the model is not in the database, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from boxcheck.decode.pci_link import SPEED_GTS
from boxcheck.gpu import GpuInfo
from boxcheck.profile import GpuPart, part_of
from boxcheck.stress import Sample
from boxcheck.stress.judging import middle
from boxcheck.stress.product_judging import is_own

CLOCK = 1.5
"""Peaks of the database are at the vendor's boost clock. Cards go above it: 2100 of 1545 MHz (RTX 2080 Ti, the largest
clock that nvidia-smi names), 3400 of 2500 MHz (RX 7900 XTX, overclocked), both 1.36 (from memory); the best that was
measured is 1.14 times its peak (RTX 5090, gpus.toml). The rest is margin."""
PEAKS: Mapping[str, tuple[tuple[str, float], ...]] = {
    "fp16": (("fp16", 1.0),),
    "bf16": (("fp16", 1.0),),
    "tf32": (("fp16", 1.0), ("fp32", 1.0)),
    "fp32": (("fp32", 1.0),),
    "int8": (("int8", 1.0), ("fp16", 4.0)),
    "e4m3": (("fp8", 1.0), ("fp16", 4.0)),
}
"""By element: entries of `peak_tflops` that bound it, and how often, the first that a card has. No GPU multiplies bf16
or tf32 faster than fp16; int8 and fp8 at four times the rate of fp16 at most, on GeForce, which halves that of fp16
with fp32 sums (NVIDIA, Ada whitepaper, table 2)."""
BY_LIBRARY: Mapping[str, tuple[tuple[str, float], ...]] = {"fp32": (("fp16", 1.0), ("fp32", 1.0))}
"""Libraries can make fp32 products on matrix units: of fp32 on CDNA, of tf32 or three bf16 where the environment says
so (NVIDIA_TF32_OVERRIDE, CUBLAS_EMULATE_SINGLE_PRECISION)."""

FABRICS: Mapping[str, float] = {
    "sm_60": 80.0, "sm_70": 150.0, "sm_75": 50.0, "sm_80": 300.0, "sm_86": 56.25, "sm_90": 450.0, "sm_100": 900.0,
    "sm_103": 900.0, "gfx906": 100.0, "gfx908": 138.0, "gfx90a": 400.0, "gfx942": 448.0, "gfx950": 538.0,
    "sm_61": 0.0, "sm_89": 0.0, "sm_12?": 0.0, "gfx10*": 0.0, "gfx11*": 0.0, "gfx12*": 0.0,
}
"""GB/s one way over all links of its own that a GPU of an architecture has; 0 where it has PCIe alone. NVLink of P100,
V100, TU102, A100, GA102, H100, B200: half of the 160, 300, 100, 600, 112.5, 900 and 1800 GB/s of NVIDIA's data sheets.
Infinity Fabric of MI60, MI100, MI250X, MI300X and MI355X: half of 200, 276, 800, 896 and 1075 GB/s of AMD's."""
IMPOSSIBLE = (
    "repeat it; if it says so again, report it with the output of boxcheck stress run --json -",
    "a virtual machine or a power-saving mode with a clock that runs slow makes everything look fast: compare with a "
    "stopwatch")
FASTEST_SLOT = (6, 16)
"""Generation and lanes of the fastest slot that there is, for cards whose link the database does not know."""


def peak_tflops(info: GpuInfo, element: str, own: bool = True) -> tuple[GpuPart, float] | None:
    """The card, and TFLOPS of an element that it cannot exceed. None where the database does not know them."""
    part = part_of(info.pci_id, info.pci_revision) if info.pci_id is not None else None
    if part is None:
        return None
    bounds = PEAKS.get(element, ()) if own else BY_LIBRARY.get(element, PEAKS.get(element, ()))
    found = next((part.peak_tflops[name] * times for name, times in bounds if name in part.peak_tflops), None)
    return None if found is None else (part, found * CLOCK)


def memory_gbs(info: GpuInfo) -> tuple[GpuPart, float] | None:
    """The card, and GB/s of its memory, read and written together, that it cannot exceed. None where the database does
    not know them. Of a part of a GPU: what the whole can."""
    part = part_of(info.pci_id, info.pci_revision) if info.pci_id is not None else None
    return None if part is None or part.memory_gbs is None else (part, part.memory_gbs * CLOCK)


def too_fast(info: GpuInfo, samples: Iterable[Sample]) -> str | None:
    """Which products took less time than the GPU can make them in, in words; None where none did or nothing is known.
    `samples` are named `MODULE.ELEMENT` or `MODULE.ELEMENT.PHASE`. A kind counts by the median of its rates, so that no
    single reading of a clock decides."""
    if info.pci_id is None or part_of(info.pci_id, info.pci_revision) is None:
        return None  # nothing is known of it: a day has a million samples to look at
    kinds: dict[tuple[str, bool], list[float]] = {}
    for one in samples:
        if one.unit == "TFLOPS" and one.value is not None:
            kinds.setdefault((one.what.split(".")[1], is_own(one)), []).append(one.value)
    for (element, own), values in kinds.items():
        bound = peak_tflops(info, element, own)
        if bound is not None and middle(values) > bound[1]:
            return (
                f"{element}: {middle(values):.4g} TFLOPS are more than any {bound[0].name} can reach ({bound[1]:.4g}): "
                "products were left out, or the clock that timed them is wrong")
    return None


def link_gbs(one: GpuInfo, other: GpuInfo) -> float | None:
    """GB/s that can go from one GPU to another at most, one way; None where the links of one are not known, or where
    both are in one memory (parts of a GPU)."""
    if not (one.is_gpu and other.is_gpu) or one.unified or other.unified or (one.bdf == other.bdf is not None):
        return None
    ends = (_most_gbs(one), _most_gbs(other))
    return None if ends[0] is None or ends[1] is None else min(ends[0], ends[1])


def _most_gbs(info: GpuInfo) -> float | None:
    fabric = next((gbs for arch, gbs in FABRICS.items() if fnmatchcase(info.arch, arch)), None)
    if fabric is None:
        return None
    part = part_of(info.pci_id, info.pci_revision) if info.pci_id is not None else None
    generation, lanes = FASTEST_SLOT
    if part is not None and part.link_generation is not None and part.link_width is not None:
        generation, lanes = part.link_generation, part.link_width
    return max(fabric, SPEED_GTS[generation] * lanes / 8)
