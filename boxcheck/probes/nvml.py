"""What NVML says of each NVIDIA GPU.

Reads   NVML through nvidia-ml-py (extra `nvidia`), in a process of its own; without it, what `nvidia-smi --query-gpu`
        and `nvidia-smi -q` print                                                                     (any user)
Since   row remapping drivers 455, event reasons 535.54 (throttle reasons before)
Absent  when the nvidia module is not loaded: then nothing is asked. Many values on GeForce cards.
By hand nvidia-smi -q; nvidia-smi topo -p2p r

Without persistence mode the question itself starts the GPUs, some seconds each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.decode.klog.words import normal_bdf
from boxcheck.decode.nvidia_smi import gpu_values, parse_query
from boxcheck.decode.text import clean_text
from boxcheck.host import Host, ProgramOutput
from boxcheck.host.nvml import ask_nvml
from boxcheck.model import Bdf, Unread
from boxcheck.probes.nvidia import Nvidia
from boxcheck.registry import probe

VERSION_MISMATCH = 18
GPU_IS_LOST = 15
"""Error codes of nvml.h."""
HIGHEST_CELSIUS = 150.0
"""No GPU runs above it, nor at 0 or below: such a number stands for a reading that failed."""
SMI_FIELDS = ("pci.bus_id", "name", "uuid", "serial", "vbios_version", "persistence_mode", "memory.total",
              "power.limit", "power.default_limit", "temperature.gpu")
"""Fields that every nvidia-smi since 2013 knows: one that it does not know fails the whole question."""
SMI = ("nvidia-smi", f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader,nounits")

SMI_NONE = ("[N/A]", "[Not Supported]")
_SMI_NAMES = {"power.limit": "power_limit_watts", "power.default_limit": "power_default_watts",
              "temperature.gpu": "temperature_celsius"}
SMI_LONG = ("nvidia-smi", "-q")
SMI_LONG_FIELDS = (
    "event_reasons", "pcie_replays", "ecc", "ecc_uncorrected", "ecc_uncorrected_volatile", "retired_pending",
    "remapped_corrected", "remapped_uncorrected", "remap_pending", "remap_failed")
"""What only the long text tells."""
_SOURCES = {
    "power_limit_watts": "power_limit_milliwatts", "power_default_watts": "power_default_milliwatts",
    "remapped_corrected": "remapped_rows", "remapped_uncorrected": "remapped_rows", "remap_pending": "remapped_rows",
    "remap_failed": "remapped_rows",
}
"""Fields that `nvml_child` knows by another name."""

class NvmlGpu(msgspec.Struct, frozen=True, kw_only=True):
    """Values are None where this GPU has none, and where NVML could not tell: then `unread` names them."""

    index: int
    bdf: Bdf | None
    lost: bool = False
    error: str | None = None
    """Why this GPU could not be asked."""
    unread: Mapping[str, str] = {}
    """Field -> why it was not read."""
    name: str | None = None
    uuid: str | None = None
    serial: str | None = None
    vbios: str | None = None
    persistence: bool | None = None
    memory_bytes: int | None = None
    bar1_bytes: int | None = None
    power_limit_watts: float | None = None
    power_default_watts: float | None = None
    temperature_celsius: float | None = None
    pcie_replays: int | None = None
    event_reasons: int | None = None
    """Bits of nvmlClocksEventReasons: why clocks are held down right now."""
    ecc: bool | None = None
    ecc_uncorrected: int | None = None
    """In the life of the card."""
    ecc_uncorrected_volatile: int | None = None
    """Since the driver was loaded."""
    retired_pending: bool | None = None
    remapped_corrected: int | None = None
    remapped_uncorrected: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None

    def missing(self, *names: str) -> Unread | None:
        """Why one of these fields was not read; None where all were, and where the GPU has no such thing."""
        if self.error is not None:
            return Unread(self.error, "error")
        return next((Unread(self.unread[name], "error") for name in names if name in self.unread), None)


class Nvml(msgspec.Struct, frozen=True, kw_only=True):
    gpus: tuple[NvmlGpu, ...] | Unread
    """Unread of kind absent when the driver is not loaded."""
    driver: str | None = None
    mismatch: bool = False
    """NVML refused: the libraries are of another version than the module."""
    peers: Mapping[tuple[int, int], int] = {}
    """(reader, owner) by index -> NVML_P2P_STATUS; 0 is OK."""
    by: str = "NVML"
    """`NVML` or `nvidia-smi`, which knows less."""

    def of(self, bdf: Bdf) -> NvmlGpu | None:
        return None if isinstance(self.gpus, Unread) else next((gpu for gpu in self.gpus if gpu.bdf == bdf), None)


def parse_bus_id(text: object) -> Bdf | None:
    """`00000000:41:00.0` or `0000:41:00.0` as `0000:41:00.0`; None for an address without domain or function."""
    whole = text.strip() if isinstance(text, str) else ""
    return normal_bdf(whole) if whole.count(":") == 2 and "." in whole else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def _flag(value: object) -> bool | None:
    return bool(value) if value in (0, 1) else None


def _text(value: object) -> str | None:
    return clean_text(value, 80) if isinstance(value, str) and value.strip("0 ") else None


def _watts(value: object) -> float | None:
    number = _whole(value)
    return None if number is None else number / 1000


def parse_nvml(value: Any) -> Nvml:
    """The answer of `nvml_child`, taken as it is: anything of the wrong type counts as not answered."""
    if not isinstance(value, dict):
        return Nvml(gpus=Unread("NVML's answer is no object", "malformed"))
    if "error" in value:
        says = clean_text(str(value.get("says", "")), 120) or "NVML did not start"
        unread = Unread(f"NVML: {says}", "unsupported" if value["error"] == "no-binding" else "error")
        return Nvml(gpus=unread, mismatch=value["error"] == VERSION_MISMATCH)
    listed = value.get("gpus")
    if not isinstance(listed, list):
        return Nvml(gpus=Unread("NVML's answer lists no GPUs", "malformed"))
    found = tuple(_gpu(entry, number) for number, entry in enumerate(listed[:64]) if isinstance(entry, dict))
    rows = value.get("p2p_read")
    peers = {
        (reader, owner): status
        for reader, row in enumerate(rows if isinstance(rows, list) else []) if isinstance(row, list)
        for owner, cell in enumerate(row) if reader != owner and (status := _whole(cell)) is not None
    }
    return Nvml(gpus=found, driver=_text(value.get("driver")), peers=peers)


def _gpu(entry: dict[str, Any], number: int) -> NvmlGpu:
    index = _whole(entry.get("index"))
    rows = entry.get("remapped_rows")
    remapped = [*rows, None, None, None, None][:4] if isinstance(rows, list) else [None] * 4
    celsius, impossible = _heat(entry.get("temperature_celsius"))
    error = entry.get("error")
    return NvmlGpu(
        index=number if index is None else index, bdf=parse_bus_id(entry.get("bdf")), lost=error == GPU_IS_LOST,
        error=None if error is None else clean_text(str(entry.get("says", error)), 120),
        name=_text(entry.get("name")), uuid=_text(entry.get("uuid")), serial=_text(entry.get("serial")),
        vbios=_text(entry.get("vbios")), persistence=_flag(entry.get("persistence")),
        memory_bytes=_whole(entry.get("memory_bytes")), bar1_bytes=_whole(entry.get("bar1_bytes")),
        power_limit_watts=_watts(entry.get("power_limit_milliwatts")),
        power_default_watts=_watts(entry.get("power_default_milliwatts")),
        temperature_celsius=celsius,
        pcie_replays=_whole(entry.get("pcie_replays")), event_reasons=_whole(entry.get("event_reasons")),
        ecc=_flag(entry.get("ecc")), ecc_uncorrected=_whole(entry.get("ecc_uncorrected")),
        ecc_uncorrected_volatile=_whole(entry.get("ecc_uncorrected_volatile")),
        unread={**_failed(entry.get("failed")), **impossible},
        retired_pending=_flag(entry.get("retired_pending")), remapped_corrected=_whole(remapped[0]),
        remapped_uncorrected=_whole(remapped[1]), remap_pending=_flag(remapped[2]), remap_failed=_flag(remapped[3]),
    )


def _heat(value: object) -> tuple[float | None, dict[str, str]]:
    """A core temperature, or None and why it was not read where the number is none that a running chip has."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, {}
    if 0 < value <= HIGHEST_CELSIUS:
        return float(value), {}
    return None, {"temperature_celsius": f"{value:g} °C is no temperature of a GPU that runs"}


def _failed(value: object) -> Mapping[str, str]:
    """Field -> why NVML did not give it."""
    if not isinstance(value, dict):
        return {}
    return {
        name: clean_text(str(value[source]), 120) for name in NvmlGpu.__struct_fields__
        if (source := _SOURCES.get(name, name)) in value
    }


def parse_smi(text: str) -> tuple[NvmlGpu, ...]:
    """Rows of `nvidia-smi --query-gpu` with `SMI_FIELDS`; `[N/A]` is None, any other word in brackets an error."""
    found: list[NvmlGpu] = []
    for line in text.splitlines()[:64]:
        cells = [cell.strip() for cell in line.split(",")]
        bdf = parse_bus_id(cells[0])
        if len(cells) != len(SMI_FIELDS) or bdf is None:
            continue
        row = {name: None if cell.startswith("[") else cell for name, cell in zip(SMI_FIELDS, cells, strict=True)}
        memory, limit, default = (
            _number(row[name]) for name in ("memory.total", "power.limit", "power.default_limit"))
        heat, impossible = _heat(_float(row["temperature.gpu"]))
        mode = row["persistence_mode"]
        unread = {
            field: f"nvidia-smi says {clean_text(cell, 40)}" for name, cell in zip(SMI_FIELDS, cells, strict=True)
            if (field := _SMI_NAMES.get(name)) is not None and cell.startswith("[") and cell not in SMI_NONE
        }
        found.append(NvmlGpu(
            index=len(found), bdf=bdf, name=_text(row["name"]), uuid=_text(row["uuid"]), serial=_text(row["serial"]),
            vbios=_text(row["vbios_version"]),
            persistence=mode == "Enabled" if mode in ("Enabled", "Disabled") else None,
            memory_bytes=None if memory is None else int(memory) << 20, power_limit_watts=limit,
            power_default_watts=default, temperature_celsius=heat, unread={**unread, **impossible}))
    return tuple(found)


def _float(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    number = _float(text)
    return number if number is not None and 0 <= number < 1e9 else None


def _by_smi(host: Host, why: Unread) -> Nvml:
    output = host.run(SMI)
    if isinstance(output, Unread):
        return Nvml(gpus=why)
    if output.exit != 0:
        said = clean_text((output.stdout or output.stderr).split("\n", 1)[0], 120)
        mismatch = "version mismatch" in output.stdout + output.stderr
        return Nvml(gpus=Unread(f"nvidia-smi: {said or f'ended with {output.exit}'}", "error"), mismatch=mismatch,
                    by="nvidia-smi")
    return Nvml(gpus=with_long(parse_smi(output.stdout), host.run(SMI_LONG)), driver=None, by="nvidia-smi")


def with_long(gpus: Sequence[NvmlGpu], output: ProgramOutput | Unread) -> tuple[NvmlGpu, ...]:
    """The GPUs with what `nvidia-smi -q` says of them. What it does not say is unread."""
    why = output.why if isinstance(output, Unread) else "nvidia-smi -q does not say"
    told = {} if isinstance(output, Unread) else {
        bdf: gpu_values(rows) for bus, rows in parse_query(output.stdout).items()
        if (bdf := parse_bus_id(bus)) is not None
    }
    found: list[NvmlGpu] = []
    for gpu in gpus:
        values = told.get(gpu.bdf, {}) if gpu.bdf is not None else {}
        unread = {name: why for name in SMI_LONG_FIELDS if name not in values}
        found.append(msgspec.structs.replace(gpu, **dict(values), unread={**gpu.unread, **unread}))
    return tuple(found)


@probe("nvml", Nvml, reads=[Nvidia])
def nvml(host: Host, nvidia: Nvidia) -> Nvml:
    if nvidia.loaded is False:
        return Nvml(gpus=Unread("NVML was not asked: the nvidia module is not loaded", "absent"))
    if isinstance(nvidia.loaded, Unread) and host.live:
        return Nvml(gpus=nvidia.loaded)
    answer = host.answer("nvml", "gpus", ask_nvml)
    if isinstance(answer, Unread):
        # A binding that hangs will hang nvidia-smi, too.
        return Nvml(gpus=answer) if answer.kind == "timeout" else _by_smi(host, answer)
    parsed = parse_nvml(answer)
    if isinstance(parsed.gpus, Unread) and parsed.gpus.kind == "unsupported":
        return _by_smi(host, parsed.gpus)
    return parsed


