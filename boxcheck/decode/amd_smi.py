"""amd-smi: `list`, `static`, `metric`, `topology` as text and JSON, and the table that it prints without a command.

Text: `GPU: 0`, below it sections (`PCIE:`) and `NAME: value`; names tell their section, so indentation is not needed.
Layouts of amd-smi 24 (ROCm 6.0) to 26 (ROCm 7.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boxcheck.decode.amd_smi_gpu import NOTHING, AmdGpu, amd_gpu, count
from boxcheck.decode.text import clean_text

MOST_GPUS = 128
MOST_ROWS = 1500
MOST_STATES = 1000
"""Of all GPUs; later ones are one state, the last."""
Rows = dict[str, str]

SECTIONS = frozenset((
    "asic", "bus", "vbios", "ifwi", "limit", "driver", "board", "ras", "vram", "cache", "numa", "partition", "usage",
    "power", "clock", "temperature", "pcie", "ecc", "ecc_blocks", "fan", "voltage_curve", "voltage", "energy",
    "mem_usage", "overdrive", "soc_pstate", "xgmi_plpd", "process_isolation", "throttle", "base_board", "policy",
    "cache_info", "gpu_board", "violation", "xgmi", "process_info", "fw_list", "bad_pages",
))
_WORDS = SECTIONS | frozenset((
    "gpu", "cpu", "bdf", "uuid", "name", "version", "type", "vendor", "size", "node", "affinity", "edge", "hotspot",
    "mem", "width", "speed", "bandwidth", "max", "rpm", "clk", "usage", "smu", "enabled", "fw", "id", "level", "pid",
    "memory", "ppt0", "ppt1", "flags", "umc", "sdma", "gfx", "mmhub", "hdp", "athub",
    "df", "smn", "sem", "mp0", "mp1", "fuse", "mca", "vcn", "jpeg", "ih", "mpio", "mmsch", "mp5", "atu", "eclr",
    "lsdma", "mpart", "mpifoe", "mpras",
))
"""Names without an underscore; from `umc` on blocks of the GPU that count errors (amdsmi.h, amdsmi_gpu_block_t)."""
BLOCKS = "ecc_blocks"
_GPU = re.compile(r"GPU: (\d{1,3})$")
_ROW = re.compile(r"([A-Z][A-Z0-9_ /.-]{1,47}):(?: (.{0,300}))?$")
_LEVEL = re.compile(r"\d{1,2}: \([\d.]{1,5} GT/s, \d{1,2}\)$")
_TABLE = re.compile(r"([A-Z][A-Z -]{2,40}) TABLE:$")
_CELL = re.compile(r"[A-Za-z0-9/,.-]{1,16}$")
_ADDRESS = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")
_BOX_FIRST = re.compile(r"\| ?([0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7])\s+(\S.{0,40}?)\s*\|(.{1,80}?)\|$")
_BOX_SECOND = re.compile(r"\|\s*(\d{1,3})\s+\S.{0,60}?\|(.{1,80}?)(\d{1,9})/(\d{1,9}) MB\s*\|$")
_HEAT = re.compile(r"(\d{1,3}) ?°C")
_ECC = re.compile(r"(?:°C|N/A)\s+(\d{1,9})\s+\S+(?: W)?$")
VERSION = re.compile(r"\| ?AMD-SMI ([\w.+]{3,40}) .{0,8}?amdgpu version: ([\w.+-]{1,24})\s+"
                     r"ROCm version: ([\w./+-]{1,16})")


def gpu_head(line: str) -> int | None:
    """The number of `GPU: 0`."""
    found = _GPU.match(line.strip()[:40])
    return int(found[1]) if found is not None else None


def is_row(line: str) -> bool:
    """Whether this is a line of amd-smi's text: a name in capitals that it has, a matrix's row, a legend."""
    text = line.strip()[:400]
    if gpu_head(text) is not None or _LEVEL.match(text) or _TABLE.match(text):
        return True
    found = _ROW.match(text)
    if found is not None:
        name = found[1].lower()
        return "_" in name or name in _WORDS
    words = text.split()
    return bool(words) and (all(_ADDRESS.fullmatch(word) for word in words) or (
        len(words) > 1 and _ADDRESS.fullmatch(words[0]) is not None and
        all(re.fullmatch(r"[A-Z0-9/,.-]{1,16}", word) for word in words[1:65])))


def states(lines: Sequence[str]) -> list[list[AmdGpu]]:
    """The GPUs of `list`, `static` and `metric`, in order. What is told of one in several places is one state of it;
    where values differ (`metric` before a load and after it), each has its own, in order."""
    closed: dict[int, list[AmdGpu]] = {}
    known: dict[int, Rows] = {}
    begun: dict[int, int] = {}
    left = MOST_STATES
    for index, at, rows in _blocks(lines):
        if index not in known and len(known) >= MOST_GPUS:
            continue
        before = known.setdefault(index, {})
        told = {name: value for name, value in rows.items()
                if name not in before or value.lower() not in NOTHING}
        if left > 0 and any(was != value and was.lower() not in NOTHING for name, value in told.items()
                            if (was := before.get(name)) is not None):
            closed.setdefault(index, []).append(amd_gpu(before, begun[index], index))
            begun[index], left = at, left - 1
        begun.setdefault(index, at)
        before.update(told)
    return [[*closed.get(index, ()), amd_gpu(rows, begun[index], index)] for index, rows in known.items()]


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, int, Rows]]:
    """(number, offset, rows) from each `GPU: 0` to the next."""
    rows: Rows = {}
    index, at, section = None, 0, ""
    for offset, line in enumerate(lines):
        text = line.strip()[:400]
        head = gpu_head(text)
        if head is not None or text.startswith("CPU:"):
            if index is not None:
                yield index, at, rows
            index, at, section, rows = head, offset, "", {}
            continue
        found = _ROW.match(text)
        if found is None or index is None or len(rows) >= MOST_ROWS:
            continue
        name, value = found[1].lower(), (found[2] or "").strip()
        if name in SECTIONS and not value:
            section = name
        elif name in ("bdf", "uuid") and section not in ("bus",):
            rows.setdefault(name, value)
        elif section == BLOCKS:
            _add(rows, name, value)
        else:
            rows.setdefault(f"{section}/{name}" if section else name, value)
    if index is not None:
        yield index, at, rows


def _add(rows: Rows, name: str, text: str) -> None:
    """Counts of a GPU's blocks are summed: each block has rows of the same names."""
    if (more := count(text)) is not None:
        path = f"{BLOCKS}/{name}"
        rows[path] = str((count(rows.get(path)) or 0) + more)


def box_gpus(lines: Sequence[str]) -> Iterator[AmdGpu]:
    """The GPUs of the table, two lines each."""
    rows: Rows = {}
    at, found = 0, 0
    for offset, line in enumerate(lines):
        text = line.strip()[:200]
        first = _BOX_FIRST.match(text)
        if first is not None:
            if (found := found + 1) > MOST_GPUS:
                return
            rows, at = {"bdf": first[1]}, offset
            name = first[2]
            if name.startswith("0x"):
                rows["asic/device_id"] = name
            elif not name.startswith("..."):
                rows["asic/market_name"] = name
            cell = " ".join(first[3].split())
            heat = _HEAT.search(cell)
            if heat is not None:
                rows["temperature/hotspot"] = heat[1]
            bad = _ECC.search(cell)
            if bad is not None:
                rows["ecc/total_uncorrectable_count"] = bad[1]
            continue
        second = _BOX_SECOND.match(text) if rows else None
        if second is not None:
            rows["mem_usage/total_vram"] = f"{second[4]} MB"
            use = re.match(r" ?(\d{1,3}) %", second[2])
            if use is not None:
                rows["usage/gfx_activity"] = use[1]
            yield amd_gpu(rows, at, int(second[1]))
            rows = {}
    if rows:
        yield amd_gpu(rows, at)


def tables(lines: Sequence[str]) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """Title of each topology matrix (`access`) -> address -> address -> cell."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    title = ""
    columns: list[str] = []
    for line in lines:
        text = line.strip()[:4200]
        head = _TABLE.match(text[:60])
        if head is not None:
            title, columns = head[1].lower(), []
            continue
        words = text.split()[:MOST_GPUS + 1]
        if not title or not words or not _ADDRESS.fullmatch(words[0]):
            continue
        if all(_ADDRESS.fullmatch(word) for word in words) and not columns:
            columns = words
        elif columns and len(found.get(title, ())) < MOST_GPUS:
            found.setdefault(title, {})[words[0].lower()] = {
                column.lower(): cell if _CELL.match(cell) else "?"
                for column, cell in zip(columns, words[1:], strict=False)}
    return found


def _flat(value: Mapping[str, Any]) -> Rows:
    """Rows of one GPU's JSON, two levels deep; `{"value": 16, "unit": "GT/s"}` becomes `16 GT/s`."""
    rows: Rows = {}
    for key, item in list(value.items())[:MOST_ROWS]:
        name = str(key).lower()[:48]
        if name == BLOCKS and isinstance(item, dict):
            for block in list(item.values())[:200]:
                for below, text in list(block.items())[:8] if isinstance(block, dict) else ():
                    _add(rows, str(below).lower()[:48], _scalar(text) or "")
        elif isinstance(item, dict) and "value" not in item:
            for below, text in list(item.items())[:200]:
                if (plain := _scalar(text)) is not None and len(rows) < MOST_ROWS:
                    rows.setdefault(f"{name}/{str(below).lower()[:48]}", plain)
        elif (plain := _scalar(item)) is not None:
            rows.setdefault(name, plain)
    return rows


def _scalar(item: Any) -> str | None:
    """The text of one value. `value` within `value` is a hostile document's."""
    if isinstance(item, dict):
        if isinstance(item.get("value"), dict):
            return None
        value, unit = _scalar(item.get("value")), item.get("unit")
        return None if value is None else f"{value} {unit}" if isinstance(unit, str) else value
    if isinstance(item, bool) or not isinstance(item, (str, int, float)):
        return None
    if isinstance(item, int) and item.bit_length() > 64:
        return None  # no count of a GPU, and Python refuses to print the longest
    return str(item)[:200]


def json_access(value: Any) -> Mapping[str, Mapping[str, str]]:
    """Address or name -> address or name -> `ENABLED` or `DISABLED`, of `amd-smi topology --json`.

    Since ROCm 6.3 each GPU has `links`, a list; before, `link_accessibility`, by `gpu_1`.
    """
    if isinstance(value, dict):
        value = value.get("gpu_data")
    found: dict[str, dict[str, str]] = {}
    for one in value[:MOST_GPUS] if isinstance(value, list) else ():
        if not isinstance(one, dict) or not isinstance(one.get("gpu"), int):
            continue
        own = _text(one.get("bdf")) or f"gpu_{one['gpu']}" if abs(one["gpu"]) < 1000 else ""
        row: dict[str, str] = {}
        links, access = one.get("links"), one.get("link_accessibility")
        for link in links[:MOST_GPUS] if isinstance(links, list) else ():
            if not isinstance(link, dict):
                continue
            name, state = _text(link.get("bdf")), _text(link.get("link_status"))
            if name and state:
                row[name] = state
        for name, state in list(access.items())[:MOST_GPUS] if isinstance(access, dict) else ():
            if _text(name) and _text(state):
                row[name] = state
        if row and own:
            found[own if links is not None else f"gpu_{one['gpu']}"] = row
    return found


def _text(value: Any) -> str | None:
    return clean_text(value, 48) if isinstance(value, str) else None


def json_gpus(value: Any) -> list[AmdGpu]:
    """The GPUs of `amd-smi ... --json`: a list, or an object with `gpu_data`; [] for any other JSON."""
    if isinstance(value, dict):
        value = value.get("gpu_data")
    if not isinstance(value, list):
        return []
    found: list[AmdGpu] = []
    for one in value[:MOST_GPUS]:
        if not (isinstance(one, dict) and isinstance(one.get("gpu"), int) and 0 <= one["gpu"] < 1000):
            continue
        rows = _flat(one)
        if any(path in rows or any(row.startswith(f"{path}/") for row in rows) for path in
               ("bdf", "uuid", "asic", "bus", "pcie", "ecc", BLOCKS, "temperature", "vram", "usage", "power")):
            found.append(amd_gpu(rows, 0, one["gpu"]))
    return found
