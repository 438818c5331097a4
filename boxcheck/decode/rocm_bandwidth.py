"""The output of rocm_bandwidth_test (ROCm/rocm_bandwidth_test, report.cpp and topology.cpp, 1.0 to 2.6).

Devices are numbered with the CPUs first. Rows are sources, columns destinations. A cell is N/A where nothing was
copied: no access between two GPUs, the host to itself. Bandwidth runs compare no data, validation (`-v`) is a run of
its own with PASS and FAIL cells. It exits 0 whatever was found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from boxcheck.decode.matrix import Cells, Table, read_table
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

VERSION = re.compile(r"Roc[mM] ?BandwidthTest Version: (\S{1,32})")
DEVICE = re.compile(r"Device: ([0-9]{1,3}),\s{1,8}(.{1,120})")
_BDF = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])")
_UUID = re.compile(r"GPU-(?:XX|[0-9a-f]{16})")
ACCESS = re.compile(r"(?:Inter-)?Device Access")
DISTANCE = re.compile(r"(?:Inter-)?Device (?:Numa Distance|Link (?:Hops|Type))")
RATE = re.compile(r"(Uni|Bi)directional copy (?:peak|average)? ?bandwidth GB/s", re.IGNORECASE)
VALIDATION = re.compile(r"Data Path Validation")
BANNER = re.compile(r"=+\s+(?:(?:Uni|Bi)directional Benchmark Result|(?:Src|Dst) Device (?:Id|Type): )")
_CPU = re.compile(r"\bCPU\b|EPYC|Xeon|Ryzen|Core\(TM\)|Threadripper|Processor|w/ Radeon", re.IGNORECASE)


class Device(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    name: str
    gpu: bool
    bdf: Bdf | None
    uuid: str | None
    line: int


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    both_ways: bool
    cells: Cells
    line: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    version: str | None
    devices: tuple[Device, ...]
    access: tuple[tuple[str, ...], ...]
    access_line: int
    rates: tuple[Rates, ...]
    validation: tuple[tuple[str, ...], ...]
    validation_line: int
    cut: bool


def _device(found: re.Match[str], line: int) -> Device:
    parts = [part.strip() for part in found[2].split(",")]
    last = _BDF.fullmatch(parts[-1].lower()) if len(parts) > 1 else None
    uuid = next((part for part in parts[1:] if _UUID.fullmatch(part)), None)
    name = clean_text(", ".join(part for part in parts if part != uuid and not (last and part is parts[-1])))
    bdf = None
    if last:
        bdf = Bdf(f"{int(last[1] or '0', 16):04x}:{int(last[2], 16):02x}:{int(last[3], 16):02x}.{last[4]}")
    gpu = last is not None or (uuid is None and _CPU.search(name) is None)
    return Device(index=int(found[1]), name=name, gpu=gpu, bdf=bdf, uuid=uuid if uuid != "GPU-XX" else None, line=line)


def _failed(rows: Sequence[Sequence[str]]) -> int:
    return sum(word.upper() == "FAIL" for row in rows for word in row)


def parse(lines: Sequence[str]) -> Run:
    """Facts of a text. Never raises."""
    version, cut = None, False
    devices: dict[int, Device] = {}
    tables: dict[Literal["access", "validation"], tuple[tuple[tuple[str, ...], ...], int]] = {}
    rates: list[Rates] = []
    at = 0
    while at < len(lines):
        line = lines[at].strip()[:512]
        here, at = at, at + 1
        table: Table | None
        if found := VERSION.match(line):
            version = version or clean_text(found[1])
        elif found := DEVICE.match(line):
            devices.setdefault(int(found[1]), _device(found, here))
        elif ACCESS.match(line) or VALIDATION.match(line):
            table = read_table(lines, at, True)
            cut = cut or table is None or table.cut
            if table is not None:
                name: Literal["access", "validation"] = "access" if ACCESS.match(line) else "validation"
                # Of several validations in one text the one that failed is told.
                if name not in tables or (name == "validation" and _failed(table.rows) > _failed(tables[name][0])):
                    tables[name] = (table.rows, here)
                at = table.end
        elif (found := RATE.match(line)) and len(rates) < 16:
            table = read_table(lines, at, True)
            cut = cut or table is None or table.cut
            if table is not None:
                rates.append(Rates(both_ways=found[1] == "Bi", cells=table.cells, line=here))
                at = table.end
    if any(one.bdf is not None for one in devices.values()):
        # Where one has an address, all GPUs have: whatever has none is a processor, by any name.
        devices = {index: msgspec.structs.replace(one, gpu=one.bdf is not None) for index, one in devices.items()}
    access, access_line = tables.get("access", ((), 0))
    validation, validation_line = tables.get("validation", ((), 0))
    return Run(version=version, devices=tuple(devices.values()), access=access, access_line=access_line,
               rates=tuple(rates), validation=validation, validation_line=validation_line, cut=cut)
