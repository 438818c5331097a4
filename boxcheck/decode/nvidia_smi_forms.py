"""The other forms of nvidia-smi's output, brought to the rows of its long text: table, CSV, XML, `-L`.

    nvidia-smi                    | 0  NVIDIA GeForce RTX 4090  On | 00000000:01:00.0 Off | Off |, two lines a GPU
    nvidia-smi --query-gpu=...    a line of field names (`pcie.link.width.current`), a line a GPU
    nvidia-smi -q -x              elements of the long text's names; read line by line, so no entity is ever expanded
    nvidia-smi -L                 GPU 0: NVIDIA H200 (UUID: GPU-...)

Field names as of `nvidia-smi --help-query-gpu` of drivers 470 to 595.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from boxcheck.decode.nvidia_smi import MOST_GPUS, MOST_ROWS
from boxcheck.decode.nvidia_smi_gpu import BUSY_PERCENT, SmiGpu, count, gpu_of, number, refusal

Rows = dict[str, str]

_BUS = re.compile(r"(?:^| )((?:[0-9A-Fa-f]{4,8}:)?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])(?= |$)")
_HEAD = re.compile(r"(\d{1,3}) +(\S.{0,60}?) +(On|Off|N/A|ERR!|WDDM|TCC|MCDM) *$")
_HEAD_ALONE = re.compile(r"(\d{1,3}) +(\S.{0,60}?) *$")
_READINGS = re.compile(r"(\S+ ?%|N/A|ERR!) +(\d{1,3}C|N/A|ERR!|\[?Unknown Error\]?) +(P\d{1,2}|N/A|ERR!|Unknown) +"
                       r"(\d{1,5}W|N/A|ERR!|Unknown Error) */ *(\d{1,5}W|N/A|ERR!|Unknown Error)")
_MEMORY = re.compile(r"(\d{1,9})MiB */ *(\d{1,9})MiB")
_UTILIZATION = re.compile(r"(\d{1,3})% ")
_VERSION = re.compile(r"(NVIDIA-SMI|Driver Version:|CUDA Version:) *([\d.]{3,24})")
_LISTED = re.compile(r" *GPU (\d{1,3}): (.{1,96}?) ?\(UUID: (GPU-[0-9a-fA-F-]{8,40})\)")
_ELEMENT = re.compile(r"\s*<(\w{1,64})(?: id=\"([0-9A-Fa-f:.]{4,20})\")?>(?:([^<]{0,200})</\w{1,64}>)?")
_CLOSED = re.compile(r"\s*</(\w{1,64})>")


def versions(line: str) -> Mapping[str, str]:
    """`driver` and `cuda` of the table's first line."""
    names = {"Driver Version:": "driver", "CUDA Version:": "cuda"}
    return {names[name]: value for name, value in _VERSION.findall(line[:400]) if name in names}


# The table

def table_gpus(lines: Sequence[str]) -> Iterator[SmiGpu]:
    """The GPUs of the table, old layout (before driver 530) or new. Rows of processes and MIG devices are passed over.

    A GPU of which every reading is `ERR!` keeps its place and name.
    """
    found = 0
    rows: Rows = {}
    at, index = 0, None
    for offset, line in enumerate(lines):
        cells = [" ".join(cell.split()) for cell in line[:400].strip().strip("|").split("|")]
        if "Processes" in line or "MIG devices" in line:
            break
        if len(cells) != 3:
            continue
        bus = _BUS.search(cells[1])
        head = _HEAD.match(cells[0]) or (_HEAD_ALONE.match(cells[0]) if bus is not None else None)
        if head is not None and (bus is not None or "ERR!" in cells[1]):
            if rows:
                yield gpu_of(rows, at, index=index)
            if (found := found + 1) > MOST_GPUS:
                return
            rows, at, index = {}, offset, count(head[1])
            rows["product name"] = head[2]
            if head.lastindex == 3:
                rows["persistence mode"] = {"On": "Enabled", "Off": "Disabled"}.get(head[3], head[3])
            if bus is not None:
                rows["pci/bus id"] = bus[1]
            _ecc(rows, cells[2])
        elif rows:
            _second(rows, cells)
    if rows:
        yield gpu_of(rows, at, index=index)


def _ecc(rows: Rows, text: str) -> None:
    if text.isascii() and text.isdigit() and len(text) < 16:
        rows["ecc mode/current"] = "Enabled"
        rows["ecc errors/volatile/double bit/total"] = text
    elif text == "Off":
        rows["ecc mode/current"] = "Disabled"
    elif text == "ERR!":
        rows["ecc mode/current"] = text


def _second(rows: Rows, cells: Sequence[str]) -> None:
    readings = _READINGS.search(cells[0])
    if readings is not None:
        fan, temperature, state, draw, cap = readings.groups()
        rows.update({"fan speed": fan, "temperature/gpu current temp": temperature, "performance state": state,
                     "power readings/power draw": draw, "power readings/power limit": cap})
    elif "ERR!" in cells[0] or "lost" in cells[0].lower():
        rows["performance state"] = "GPU is lost" if "lost" in cells[0].lower() else "ERR!"
    memory = _MEMORY.search(cells[1])
    if memory is not None:
        rows["fb memory usage/used"], rows["fb memory usage/total"] = memory[1] + " MiB", memory[2] + " MiB"
    elif any(word in cells[1] for word in ("ERR!", "Unknown Error", "GPU is lost")):
        rows["fb memory usage/total"] = "GPU is lost" if "lost" in cells[1] else "ERR!"
    use = _UTILIZATION.match(cells[2] + " ")
    if use is not None:
        rows["utilization/gpu"] = use[1] + " %"
    elif cells[2].startswith("ERR!"):
        rows["utilization/gpu"] = "ERR!"
    if cells[2] in ("Enabled", "Disabled"):
        rows["mig mode/current"] = cells[2]


# CSV

FIELDS: Mapping[str, str] = {
    "index": "index", "name": "product name", "gpu_name": "product name", "gpu_serial": "serial number",
    "serial": "serial number", "gpu_uuid": "gpu uuid", "uuid": "gpu uuid", "vbios_version": "vbios version",
    "pci.bus_id": "pci/bus id", "gpu_bus_id": "pci/bus id", "pci.device_id": "pci/device id",
    "pci.sub_device_id": "pci/sub system id", "driver_version": "driver version",
    "persistence_mode": "persistence mode", "pstate": "performance state",
    "pcie.link.gen.current": "pci/gpu link info/pcie generation/current",
    "pcie.link.gen.gpucurrent": "pci/gpu link info/pcie generation/device current",
    "pcie.link.gen.max": "pci/gpu link info/pcie generation/max",
    "pcie.link.gen.gpumax": "pci/gpu link info/pcie generation/device max",
    "pcie.link.gen.hostmax": "pci/gpu link info/pcie generation/host max",
    "pcie.link.width.current": "pci/gpu link info/link width/current",
    "pcie.link.width.max": "pci/gpu link info/link width/max",
    "memory.total": "fb memory usage/total", "memory.used": "fb memory usage/used",
    "utilization.gpu": "utilization/gpu", "temperature.gpu": "temperature/gpu current temp",
    "temperature.gpu.tlimit": "temperature/gpu t.limit temp", "power.draw": "power readings/power draw",
    "power.draw.instant": "power readings/instantaneous power draw",
    "power.draw.average": "power readings/average power draw", "power.limit": "power readings/power limit",
    "enforced.power.limit": "power readings/enforced power limit",
    "power.default_limit": "power readings/default power limit", "power.max_limit": "power readings/max power limit",
    "ecc.mode.current": "ecc mode/current", "mig.mode.current": "mig mode/current",
    "ecc.errors.uncorrected.volatile.total": "ecc errors/volatile/double bit/total",
    "ecc.errors.uncorrected.aggregate.total": "ecc errors/aggregate/double bit/total",
    "retired_pages.double_bit.count": "retired pages/double bit ecc",
    "retired_pages.dbe": "retired pages/double bit ecc",
    "retired_pages.pending": "retired pages/pending page blacklist",
    "remapped_rows.correctable": "remapped rows/correctable error",
    "remapped_rows.uncorrectable": "remapped rows/uncorrectable error", "remapped_rows.pending":
    "remapped rows/pending", "remapped_rows.failure": "remapped rows/remapping failure occurred",
    "gpu_recovery_action": "gpu recovery action", "reset_status.reset_required": "gpu reset status/reset required",
    "fan.speed": "fan speed",
    **{f"clocks_{word}_reasons.{field}": f"clocks event reasons/{row}" for word in ("event", "throttle")
       for field, row in (("gpu_idle", "idle"), ("applications_clocks_setting", "applications clocks setting"),
                          ("sw_power_cap", "sw power cap"), ("hw_slowdown", "hw slowdown"),
                          ("hw_thermal_slowdown", "hw slowdown/hw thermal slowdown"),
                          ("hw_power_brake_slowdown", "hw slowdown/hw power brake slowdown"),
                          ("sync_boost", "sync boost"), ("sw_thermal_slowdown", "sw thermal slowdown"))},
}
_YES_NO = ("remapped rows/pending", "remapped rows/remapping failure occurred")
_UNIT = re.compile(r" ?\[[\w%/]{1,8}\]$")
MOST_FIELDS = 600
MOST_STATES = 4096
"""Of all GPUs of a log."""
_IDENTITY = ("pci/bus id", "gpu uuid", "serial number", "index")
_DRIFTING = frozenset((
    "fan speed", "fb memory usage/used", "power readings/power draw", "power readings/instantaneous power draw",
    "power readings/average power draw", "temperature/gpu current temp", "temperature/gpu t.limit temp"))
"""Readings that change all the time, and that no judgement hangs on where nothing but this line is known."""
_PER_PROCESS = ("pid", "retired_pages.address")
"""Columns of `--query-compute-apps` and `--query-retired-pages`, whose lines are no GPUs."""


def csv_fields(line: str) -> list[str]:
    """The field names of a header line, without units; [] when it is none: two names at least must be known."""
    if "," not in line or line[:1] in "[<|+":
        return []
    names = [_UNIT.sub("", cell.strip()) for cell in line.split(",")[:MOST_FIELDS]]
    known = sum(name in FIELDS for name in names)
    spaced = sum(" " in name for name in names)
    return names if known >= 2 and not spaced and known * 8 >= len(names) else []


def csv_states(lines: Sequence[str]) -> tuple[list[list[SmiGpu]], bool]:
    """The GPUs under a header line of `--query-gpu`, numbered only where `index` is among its fields, and whether there
    was more than is kept. A log (`-l 5`) shows each again and again: its states in order, without those that differ
    from an earlier one in readings that drift only."""
    found: dict[tuple[str, str], list[SmiGpu]] = {}
    names: list[str] = []
    seen: set[tuple[object, ...]] = set()
    nameless = 0
    for offset, line in enumerate(lines):
        if fields := csv_fields(line):
            names = fields
            continue
        cells = [cell.strip() for cell in line.split(",")[:MOST_FIELDS]]
        if len(cells) != len(names) or any(name in names for name in _PER_PROCESS):
            continue
        rows = _csv_rows(names, cells)
        gpu = next(((path, text) for path in _IDENTITY
                    if (text := rows.get(path, "N/A")) != "N/A" and refusal(text) is None), None)
        state = tuple(_steady(path, text) for path, text in rows.items())
        if gpu is None and nameless < MOST_GPUS:
            gpu, nameless = ("", str(nameless)), nameless + 1
        elif state in seen:
            continue
        gpu = gpu or ("", str(nameless - 1))
        if len(seen) >= MOST_STATES or (gpu not in found and len(found) >= MOST_GPUS):
            return list(found.values()), True
        seen.add(state)
        found.setdefault(gpu, []).append(gpu_of(rows, offset, index=count(rows.get("index"))))
    return list(found.values()), False


def _csv_rows(names: Sequence[str], cells: Sequence[str]) -> Rows:
    rows: Rows = {}
    for name, cell in zip(names, cells, strict=True):
        path = FIELDS.get(name)
        if path is None:
            continue
        text = "N/A" if cell in ("[N/A]", "[Not Supported]") else cell
        if path in _YES_NO:
            text = {"0": "No", "1": "Yes"}.get(text, text)
        rows.setdefault(path, text)
    return rows


def _steady(path: str, text: str) -> str | bool | None:
    """The reading, or of one that drifts whether it is refused, of utilisation whether the GPU is at work."""
    if path == "utilization/gpu":
        return refusal(text) or (number(text) or 0) >= BUSY_PERCENT
    return refusal(text) if path in _DRIFTING else text


# -L

def listed_gpu(line: str) -> tuple[int, str, str] | None:
    """(index, name, UUID) of a line of `nvidia-smi -L`."""
    found = _LISTED.match(line[:240])
    return (int(found[1]), found[2], found[3]) if found is not None else None


# XML

ELEMENTS: Mapping[str, str] = {
    "product_name": "product name", "product_brand": "product brand", "product_architecture": "product architecture",
    "serial": "serial number", "uuid": "gpu uuid", "minor_number": "minor number", "vbios_version": "vbios version",
    "persistence_mode": "persistence mode", "current_mig": "mig mode/current", "pci_device_id": "pci/device id",
    "pci_bus_id": "pci/bus id", "pci_sub_system_id": "pci/sub system id",
    "max_link_gen": "pci/gpu link info/pcie generation/max",
    "current_link_gen": "pci/gpu link info/pcie generation/current",
    "device_current_link_gen": "pci/gpu link info/pcie generation/device current",
    "max_device_link_gen": "pci/gpu link info/pcie generation/device max",
    "max_host_link_gen": "pci/gpu link info/pcie generation/host max",
    "max_link_width": "pci/gpu link info/link width/max", "current_link_width": "pci/gpu link info/link width/current",
    "replay_counter": "pci/replays since reset", "replay_rollover_counter": "pci/replay number rollovers",
    "performance_state": "performance state", "fan_speed": "fan speed", "gpu_util": "utilization/gpu",
    "current_ecc": "ecc mode/current", "gpu_recovery_action": "gpu recovery action",
    "reset_required": "gpu reset status/reset required", "gpu_temp": "temperature/gpu current temp",
    "gpu_temp_tlimit": "temperature/gpu t.limit temp", "gpu_temp_max_threshold": "temperature/gpu shutdown temp",
    "gpu_temp_slow_threshold": "temperature/gpu slowdown temp",
    "gpu_temp_max_tlimit_threshold": "temperature/gpu shutdown t.limit temp",
    "gpu_temp_slow_tlimit_threshold": "temperature/gpu slowdown t.limit temp",
    "remapped_row_corr": "remapped rows/correctable error", "remapped_row_unc": "remapped rows/uncorrectable error",
    "remapped_row_pending": "remapped rows/pending",
    "remapped_row_failure": "remapped rows/remapping failure occurred",
    "pending_blacklist": "retired pages/pending page blacklist", "pending_retirement":
    "retired pages/pending page blacklist",
}
_WITHIN: Mapping[tuple[str, str], str] = {
    ("fb_memory_usage", "total"): "fb memory usage/total", ("fb_memory_usage", "used"): "fb memory usage/used",
    ("memory_usage", "total"): "fb memory usage/total", ("bar1_memory_usage", "total"): "bar1 memory usage/total",
    **{(section, element): f"gpu power readings/{row}" for section in ("gpu_power_readings", "power_readings")
       for element, row in (
           ("power_draw", "power draw"), ("instant_power_draw", "instantaneous power draw"),
           ("average_power_draw", "average power draw"), ("current_power_limit", "current power limit"),
           ("power_limit", "power limit"), ("default_power_limit", "default power limit"),
           ("max_power_limit", "max power limit"))},
    **{(section, element): f"ecc errors/{section}/{element.replace('_', ' ')}" for section in ("volatile", "aggregate")
       for element in ("sram_uncorrectable", "sram_uncorrectable_parity", "sram_uncorrectable_secded",
                       "dram_uncorrectable", "sram_threshold_exceeded")},
}
_REASON = re.compile(r"clocks_(?:event|throttle)_reason_(\w{1,40})")
_REASON_ROWS = {"gpu_idle": "idle", "hw_thermal_slowdown": "hw slowdown/hw thermal slowdown",
                "hw_power_brake_slowdown": "hw slowdown/hw power brake slowdown"}


def is_xml(line: str) -> bool:
    """Whether a line is of a document: an element, its end, or the head."""
    text = line.lstrip()
    return text.startswith("<") and (_ELEMENT.match(line) is not None or _CLOSED.match(line) is not None
                                     or text.startswith(("<!DOCTYPE nvidia_smi_log", "<?xml"))
                                     or text.rstrip().endswith(("/>", ">")))


def xml_gpus(lines: Sequence[str]) -> Iterator[SmiGpu]:
    """The GPUs of `nvidia-smi -q -x`, as far as the text goes: it may be cut at both ends."""
    rows: Rows = {}
    at, bus, found = 0, None, 0
    open_: list[str] = []
    for offset, line in enumerate(lines):
        element = _ELEMENT.match(line[:600])
        if element is None:
            closed = _CLOSED.match(line[:120])
            if closed is not None and closed[1] in open_:
                while open_ and open_.pop() != closed[1]:
                    pass
            continue
        name, id_, text = element.groups()
        if text is None:
            if name == "gpu":
                if rows:
                    yield gpu_of(rows, at, bus)
                if (found := found + 1) > MOST_GPUS:
                    return
                rows, at, bus, open_ = {}, offset, id_, []
            open_ = [*open_[-8:], name]
            continue
        if "mig_device" in open_ or len(rows) >= MOST_ROWS:
            continue
        path = _WITHIN.get((open_[-1] if open_ else "", name)) or ELEMENTS.get(name)
        reason = _REASON.fullmatch(name)
        if path is None and reason is not None:
            path = "clocks event reasons/" + _REASON_ROWS.get(reason[1], reason[1].replace("_", " "))
        if name == "retired_count" and open_[-1:] == ["double_bit_retirement"]:
            path = "retired pages/double bit ecc"
        if name == "total" and open_[-1:] == ["double_bit"] and open_[-2:-1] in (["volatile"], ["aggregate"]):
            path = f"ecc errors/{open_[-2]}/double bit/total"  # cards before Turing
        if path is not None:
            rows.setdefault(path, text.strip())
    if rows:
        yield gpu_of(rows, at, bus)
