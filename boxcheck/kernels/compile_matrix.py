"""Compiles every kernel for the usual architectures, with no GPU, and shows what the compilers made of it.

    python -m boxcheck.kernels.compile_matrix [--markdown] [--json FILE] [--arch sm_89]... [--only 'mma-e4m3*']

CUDA goes through NVRTC (`pip install 'boxcheck[cuda13]'`), whose ptxas tells registers and spills; HIP through clang,
from the ziglang wheel or from the system. Tensor instructions are counted where nvdisasm is (nvidia-cuda-nvdisasm).

Exit code 1 where something spills, does not compile, is slow in ptxas' own opinion, or uses another tensor unit than
its element's; 2 where nothing of that was seen, but a tool was missing, so that not everything was looked at.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import msgspec

from boxcheck.gpu import GpuError
from boxcheck.kernels import Source, compile_amd, compile_nvidia
from boxcheck.kernels.catalogue import portable_sources
from boxcheck.kernels.compile_report import Row
from boxcheck.kernels.matrix import ELEMENTS, MatrixKernel

CUDA_ARCHS = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
HIP_ARCHS = ("gfx1100", "gfx1151", "gfx1201")
_MODULES = re.compile(r"w?g?mma\w*")
"""Modules of tuned matrix kernels: each has `kernels()`."""


class Item(msgspec.Struct, frozen=True):
    """A source to compile, and where for."""

    name: str
    source: Source
    archs: tuple[str, ...]
    element: str = ""
    """Of a tuned matrix kernel."""


def items(archs: Sequence[str]) -> Iterator[Item]:
    """Every source of the package with those of the architectures that it is for."""
    cuda, hip = (tuple(arch for arch in archs if arch.startswith(start)) for start in ("sm_", "gfx"))
    names = {str(element.code): element.name for element in ELEMENTS.values()}
    for source in portable_sources():
        element = names.get(dict(source.defines).get("BC_ELEMENT", ""), "")
        yield Item(f"{source.name} {element}".strip(), source, (*cuda, *hip))
    for kernel in matrix_kernels():
        fitting = cuda if kernel.source.language == "cuda" else hip
        yield Item(
            kernel.name, kernel.source, tuple(arch for arch in fitting if kernel.runs_on(arch)), kernel.element)


def matrix_kernels() -> Iterator[MatrixKernel]:
    """The tuned kernels of all modules."""
    package = import_module("boxcheck.kernels")
    for module in iter_modules(package.__path__):
        if _MODULES.fullmatch(module.name):
            yield from import_module(f"boxcheck.kernels.{module.name}").kernels()


def compiled(item: Item, arch: str) -> list[Row]:
    """One row for each entry point of a source. A missing compiler raises GpuError of kind `no-binding`."""
    begun = time.monotonic()
    maker = compile_nvidia if arch.startswith("sm_") else compile_amd
    try:
        rows = maker.rows(item.name, item.source, arch)
    except GpuError as error:
        if error.kind == "no-binding":
            raise
        names = [kernel.name for kernel in item.source.kernels]
        rows = [Row(kernel=item.name, entry=name, arch=arch, wrong=error.says) for name in names]
    replace, seconds = msgspec.structs.replace, round(time.monotonic() - begun, 2)
    return [replace(row, seconds=seconds, wrong=row.wrong or defect(row, item.element)) for row in rows]


def defect(row: Row, element: str) -> str:
    if row.registers is None or row.spill_bytes is None:
        return "the compiler's report has no word of it"
    if row.spill_bytes:
        return f"spills: {row.spill_bytes} bytes"
    if not element or element == "fp32" or row.tensor is None:
        return ""
    if not row.tensor:
        return "no tensor instruction is used"
    unit = {"int8": "I", "e4m3": "Q"}.get(element, "H")
    other = [name for name in row.tensor if not name.startswith(unit)]
    return f"{element} is computed by {other[0]}" if other and row.arch.startswith("sm_") else ""


def table(rows: Iterable[Row], markdown: bool = False) -> str:
    """Rows as columns of text, or as a table of Markdown."""
    head = ("kernel", "entry", "arch", "registers", "shared", "spilled", "groups", "tensor instructions", "s", "defect")
    lines = [head, *(_cells(row) for row in rows)]
    if markdown:
        lines.insert(1, ("---",) * len(head))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def _cells(row: Row) -> tuple[str, ...]:
    def number(value: int | None) -> str:
        return "?" if value is None else str(value)

    counts = None if row.tensor is None else sorted(row.tensor.items())
    tensor = "?" if counts is None else " ".join(f"{name} {count}" for name, count in counts) or "-"
    numbers = map(number, (row.registers, row.shared_bytes, row.spill_bytes, row.groups))
    return (row.kernel, row.entry, row.arch, *numbers, tensor, f"{row.seconds:.2f}", " ".join(row.wrong.split())[:200])


def compile_all(archs: Sequence[str], only: str = "*") -> tuple[list[Row], list[str]]:
    """Rows of all kernels whose name is like `only`, and what could not be looked at, in words."""
    jobs = [(item, arch) for item in items(archs) if fnmatchcase(item.name, only) for arch in item.archs]
    rows: list[Row] = []
    missing: dict[str, None] = {}
    if not compile_nvidia.nvdisasm() and any(arch.startswith("sm_") for _, arch in jobs):
        missing["tensor instructions of CUDA: no nvdisasm (pip install nvidia-cuda-nvdisasm)"] = None
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for job in [pool.submit(compiled, *job) for job in jobs]:
            try:
                rows += job.result()
            except GpuError as error:
                missing[f"{error.says} ({error.help})"] = None
    return rows, list(missing)


def main(words: Sequence[str] | None = None) -> int:
    prog = "python -m boxcheck.kernels.compile_matrix"
    parser = argparse.ArgumentParser(prog=prog, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--markdown", action="store_true", help="a table of Markdown")
    parser.add_argument("--json", metavar="FILE", help="rows as JSON, too; - for standard output instead of the table")
    parser.add_argument("--arch", action="append", choices=(*CUDA_ARCHS, *compile_nvidia.LIMITS, *HIP_ARCHS))
    parser.add_argument("--only", default="*", metavar="GLOB", help="kernels whose name is like it")
    asked = parser.parse_args(words)
    rows, missing = compile_all(tuple(dict.fromkeys(asked.arch or (*CUDA_ARCHS, *HIP_ARCHS))), asked.only)
    text = msgspec.json.format(msgspec.json.encode(rows)).decode()
    if asked.json not in (None, "-"):
        Path(asked.json).write_text(text + "\n")
    print(text if asked.json == "-" else table(rows, asked.markdown))
    for line in missing:
        print(f"not looked at: {line}", file=sys.stderr)
    wrong = [row for row in rows if row.wrong]
    for row in wrong:
        print(f"{row.kernel}, {row.entry}, {row.arch}: {row.wrong}", file=sys.stderr)
    return 1 if wrong else 2 if missing or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
