"""rocm-smi: the concise table, `GPU[n] : name: value` lines of every `--show...`, `--showhw`, `--showtopo`, JSON.

Layouts of rocm-smi 1.0 (ROCm 2) to 4 (ROCm 7). Columns are as wide as their values, so a row is read word by word from
its own header line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boxcheck.decode.amd_smi_gpu import AmdGpu, amd_gpu, number

MOST_GPUS = 128
MOST_ROWS = 400
Rows = dict[str, str]

_LINE = re.compile(r"(?:ERROR: )?GPU ?\[?(\d{1,3})\]?\s{0,12}: ?(.{1,300})")
_CONCISE = re.compile(r"(\d{1,3})\s+(?:\d{1,3}\s+0x[0-9a-f]{4},|\[0x[0-9a-f]{4}|N/A|[\d.]{1,6} ?°?[cC]\b)")
_HARDWARE = re.compile(r"(\d{1,3})\s+(?:\d{1,3}\s+)?(?:0x)?([0-9a-f]{4})\s+.{0,120}?"
                       r"((?:[0-9A-Fa-f]{4}:)?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])(?=\s|$)")
_BOARD = re.compile(r"\s(1\d\d-[\w.-]{3,24})\s")
_PEER = re.compile(r"GPU(\d{1,3})\s+(\S.{0,4000})")
_CELL = re.compile(r"[A-Za-z0-9/,.-]{1,16}$")
_WATTS = re.compile(r"(?<=\s)(\d{1,4}\.\d)W(?=\s|$)")
_CELSIUS = re.compile(r"(?<=\s)([\d.]{1,6}) ?°?[cC](?=\s|$)")
_PERCENT = re.compile(r"(?<=\s)([\d.]{1,5})%")

NAMES: Mapping[str, str] = {
    "card series": "rocm/card series", "card model": "rocm/card model", "device name": "rocm/device name",
    "gpu id": "asic/device_id", "device id": "asic/device_id", "device rev": "asic/rev_id", "pci bus": "bdf",
    "vbios version": "rocm/vbios version", "unique id": "rocm/unique id", "serial number": "rocm/serial number",
    "gfx version": "rocm/gfx version", "vram total memory (b)": "mem_usage/total_vram",
    "vis_vram total memory (b)": "mem_usage/total_visible_vram", "gtt total memory (b)": "mem_usage/total_gtt",
    "pcie clock level": "rocm/pcie clock level", "pcie clock speed": "rocm/pcie clock level",
    "pcie replay count": "pcie/replay_count", "temperature (sensor edge) (c)": "temperature/edge",
    "temperature (sensor junction) (c)": "temperature/hotspot", "temperature (sensor memory) (c)": "temperature/mem",
    "average graphics package power (w)": "power/socket_power",
    "current socket graphics package power (w)": "power/socket_power",
    "max graphics package power (w)": "rocm/power cap", "gpu use (%)": "usage/gfx_activity",
    "(topology) numa node": "numa/node", "driver version": "rocm/driver version",
    "subsystem id": "asic/subsystem_id",
    "pcie_replay_count_acc (count)": "pcie/replay_count", "pcie_l0_to_recov_count_acc (count)":
    "pcie/l0_to_recovery_count", "pcie_replay_rover_count_acc (count)": "pcie/replay_roll_over_count",
    "pcie_nak_sent_count_acc (count)": "pcie/nak_sent_count", "pcie_nak_rcvd_count_acc (count)":
    "pcie/nak_received_count", "pcie_link_width (lanes)": "pcie/width",
}


HIGHEST = frozenset((
    "pcie/replay_count", "pcie/replay_roll_over_count", "pcie/nak_sent_count", "pcie/nak_received_count",
    "pcie/l0_to_recovery_count", "temperature/hotspot"))
"""Rows of which the highest is taken where lines of several readings follow one another, as `grep` leaves them."""


def banner(line: str) -> str | None:
    """The title of `===== Concise Info =====`, empty for a mere rule; None for any other line."""
    text = line.strip()
    if not text.startswith("==") or not text.endswith("="):
        return None
    title = text[:400].strip("= ")
    return title if len(title) <= 80 and "=" not in title else None


def gpu_line(line: str) -> tuple[int, str] | None:
    """(index, rest) of `GPU[0] : ...`."""
    found = _LINE.match(line.strip()[:400])
    return (int(found[1]), found[2].strip()) if found is not None else None


def is_table_row(line: str) -> bool:
    """Whether a line is a row of the concise table or of `--showhw`."""
    text = line.strip()[:400]
    return _CONCISE.match(text) is not None or _HARDWARE.match(text) is not None


def _named(text: str) -> tuple[str, str] | None:
    """(row, value) of `Card Series: Radeon`; the value of some names holds colons."""
    name, colon, value = text.partition(": ")
    name = name.strip().rstrip(":").lower()
    if not colon and text.endswith(":"):
        return None
    path = NAMES.get(name)
    return (path, value.strip().strip(":").strip()) if path is not None and colon else None


def gpus(lines: Sequence[str]) -> list[AmdGpu]:
    """The GPUs of a text, by the number that rocm-smi gives them."""
    rows: dict[int, Rows] = {}
    at: dict[int, int] = {}
    for offset, line in enumerate(lines):
        text = line.strip()[:400]
        found = gpu_line(text)
        if found is not None:
            index, rest = found
            named = _named(rest)
        elif _HARDWARE.match(text) is not None or _CONCISE.match(text) is not None:
            index, named = int(text.split()[0]), None
        else:
            continue
        if index not in rows:
            if len(rows) >= MOST_GPUS:
                continue
            rows[index], at[index] = {}, offset
        own = rows[index]
        if len(own) >= MOST_ROWS:
            continue
        if named is not None:
            path, value = named
            if path in HIGHEST and (number(value) or 0) > (number(own.get(path)) or 0):
                own[path] = value
            own.setdefault(path, value)
        elif found is None:
            for path, value in _table(text):
                own.setdefault(path, value)
    return [amd_gpu(own, at[index], index) for index, own in sorted(rows.items())]


def _table(text: str) -> Iterator[tuple[str, str]]:
    hardware = _HARDWARE.match(text)
    if hardware is not None:
        yield "asic/device_id", hardware[2]
        yield "bdf", hardware[3]
        board = _BOARD.search(text)
        if board is not None:
            yield "rocm/vbios version", board[1]
        return
    chip = re.search(r"0x([0-9a-f]{4})(?: : 0x([0-9a-f]{2})|,)", text)
    if chip is not None:
        yield "asic/device_id", chip[1]
        if chip[2]:
            yield "asic/rev_id", chip[2]
    heat = _CELSIUS.search(text)
    if heat is not None:
        yield "temperature/edge", heat[1]
    watts = _WATTS.findall(text)
    if watts:
        yield "power/socket_power", watts[0]
    if len(watts) > 1:
        yield "rocm/power cap", watts[-1]
    shares = _PERCENT.findall(text)
    if len(shares) >= 2:
        yield "usage/gfx_activity", shares[-1]


def peers(lines: Sequence[str]) -> Mapping[str, Mapping[str, list[str]]]:
    """Title of each matrix (`weight between two gpus`) -> GPU -> cells."""
    found: dict[str, dict[str, list[str]]] = {}
    title = ""
    for line in lines:
        text = line.strip()[:4200]
        head = banner(text)
        if head is not None:
            title = head.lower()
            continue
        row = _PEER.match(text) if "between two gpus" in title or "accessibility" in title else None
        if row is None:
            continue
        cells = [cell if _CELL.match(cell) else "?" for cell in row[2].split()[:MOST_GPUS]]
        if cells[0].startswith("GPU"):
            continue
        matrix = found.setdefault(title, {})
        if len(matrix) < MOST_GPUS:
            matrix.setdefault(f"GPU{int(row[1])}", cells)
    return found


def json_gpus(value: Any) -> list[AmdGpu]:
    """The GPUs of `rocm-smi --json`: `{"card0": {...}, "system": {...}}`; [] for any other JSON."""
    if not isinstance(value, dict):
        return []
    found: list[AmdGpu] = []
    for key, card in list(value.items())[:4 * MOST_GPUS]:
        if not (isinstance(key, str) and re.fullmatch(r"card\d{1,3}", key) and isinstance(card, dict)):
            continue
        rows: Rows = {}
        for name, text in list(card.items())[:4 * MOST_ROWS]:
            path = NAMES.get(str(name).strip().rstrip(":").lower())
            if (path is not None and isinstance(text, (str, float))) or (
                    path is not None and isinstance(text, int) and text.bit_length() <= 64):
                rows.setdefault(path, str(text)[:200])
        if rows and len(found) < MOST_GPUS:
            found.append(amd_gpu(rows, 0, int(key[4:])))
    return found
