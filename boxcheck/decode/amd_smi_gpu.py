"""What rocm-smi or amd-smi says of one AMD GPU, whichever printed it and in whichever form.

All forms are brought to rows named as amd-smi names them, section and name in lower case (`pcie/replay_count`). None:
the text does not say, or the GPU has no such thing (`N/A`, `Not supported on the given system`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from boxcheck.decode.klog.words import normal_bdf
from boxcheck.decode.text import clean_text, meaningful
from boxcheck.model import Bdf

MIB = 1 << 20
_NUMBER = re.compile(r"-?\d{1,15}(?!\d)(?:\.\d{1,6})?")
_LINK = re.compile(r"([\d.]{1,5}) ?GT/s,? ?x(\d{1,2})")
_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]{1,8})$")
_UNITS = {"B": 1, "KB": 1 << 10, "MB": MIB, "GB": 1 << 30, "KIB": 1 << 10, "MIB": MIB, "GIB": 1 << 30}
"""amd-smi writes MB and means MiB."""
NOTHING = ("n/a", "none", "", "unknown", "not supported", "n/a c", "n/a °c", "0x0000000000000000")
BUSY_PERCENT = 50


class AmdGpu(msgspec.Struct, frozen=True, kw_only=True):
    """One AMD GPU, or one partition of it."""

    offset: int
    index: int | None = None
    bdf: Bdf | None = None
    name: str | None = None
    arch: str | None = None
    """`gfx1100`."""
    vendor: int | None = None
    device: int | None = None
    revision: int | None = None
    subsystem_vendor: int | None = None
    subsystem_device: int | None = None
    serial: str | None = None
    uuid: str | None = None
    vbios: str | None = None
    driver: str | None = None
    numa_node: int | None = None
    width: int | None = None
    speed_gts: float | None = None
    width_max: int | None = None
    speed_max_gts: float | None = None
    link_level: int | None = None
    """rocm-smi: level of the link's power states; 0 is the lowest."""
    replays: int | None = None
    rollovers: int | None = None
    naks_sent: int | None = None
    naks_received: int | None = None
    recoveries: int | None = None
    """Times the link left L0 to be trained anew: a handful belong to each change of speed."""
    vram_bytes: int | None = None
    visible_vram_bytes: int | None = None
    """What the processor can reach through the BAR."""
    gtt_bytes: int | None = None
    """System memory that the GPU may use."""
    utilization_percent: float | None = None
    edge_celsius: float | None = None
    junction_celsius: float | None = None
    memory_celsius: float | None = None
    shutdown_junction_celsius: float | None = None
    power_watts: float | None = None
    power_cap_watts: float | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    ecc_deferred: int | None = None
    throttled: bool | None = None
    on_board: bool | None = None
    """A part of the processor (APU): no link, no memory of its own."""

    @property
    def at_work(self) -> bool | None:
        return None if self.utilization_percent is None else self.utilization_percent >= BUSY_PERCENT


def number(text: str | None) -> float | None:
    """The number at the beginning of `16.0 GT/s`, `35 W`; None for anything else. It may be negative."""
    found = _NUMBER.match(text.strip()) if text else None
    return float(found[0]) if found is not None else None


def count(text: str | None) -> int | None:
    """A count; None for N/A, for negative ones, and for what a register of ones gives (2^16-1, 2^32-1,
    2^64-1)."""
    value = number(text)
    if value is None or value < 0 or value != int(value) or int(value) in (0xFFFF, 0xFFFFFFFF) or value >= 1 << 52:
        return None
    return int(value)


def hexadecimal(text: str | None) -> int | None:
    """`0x744c` or `744c`; None for anything else."""
    found = _HEX.match(text.strip()) if text else None
    return int(found[1], 16) if found is not None else None


def size(text: str | None) -> int | None:
    """Bytes of `24560 MB`, or of a bare number."""
    value = number(text)
    if value is None or value < 0 or text is None:
        return None
    unit = text.strip().split(" ")[-1].upper() if " " in text.strip() else "B"
    return int(value * _UNITS.get(unit, 1))


def word(text: str | None) -> str | None:
    """A name, cleaned; None for what the tool prints where it has none, and for placeholders."""
    if text is None or text.strip().lower() in NOTHING or "not supported" in text.lower():
        return None
    return meaningful(clean_text(text.strip(), 96))


def link(text: str | None) -> tuple[float | None, int | None]:
    """(GT/s, lanes) of `1 (16.0GT/s x16)`, `8.0GT/s, x16 619Mhz`."""
    found = _LINK.search(text[:80]) if text else None
    return (number(found[1]), int(found[2])) if found is not None else (None, None)


def amd_gpu(rows: Mapping[str, str], offset: int, index: int | None = None) -> AmdGpu:
    """The facts of one GPU from its rows."""
    def first(*names: str) -> str | None:
        return next((text for name in names if (text := rows.get(name)) is not None and
                     text.strip().lower() not in NOTHING), None)

    speed, width = link(rows.get("rocm/pcie clock level"))
    level = rows.get("rocm/pcie clock level", "").strip()
    throttle = (rows.get("power/throttle_status") or "").strip().upper()
    lanes = count(first("pcie/width"))
    most = count(first("bus/max_pcie_width"))
    speed_now = number(first("pcie/speed", "pcie/current_speed"))
    arch = word(first("asic/target_graphics_version", "rocm/gfx version"))
    return AmdGpu(
        offset=offset, index=index, bdf=normal_bdf((first("bus/bdf", "bdf") or "").strip()),
        name=word(first("asic/market_name", "board/product_name", "rocm/card series", "rocm/device name",
                        "rocm/card model")),
        arch=arch, vendor=hexadecimal(first("asic/vendor_id")), device=hexadecimal(first("asic/device_id")),
        revision=hexadecimal(first("asic/rev_id")), subsystem_vendor=hexadecimal(first("asic/subvendor_id")),
        subsystem_device=hexadecimal(first("asic/subsystem_id")),
        serial=word(first("board/product_serial", "rocm/serial number", "asic/asic_serial")),
        uuid=word(first("uuid", "rocm/unique id")),
        vbios=word(first("vbios/part_number", "ifwi/part_number", "rocm/vbios version")),
        driver=word(first("driver/version", "rocm/driver version")), numa_node=count(first("numa/node")),
        width=lanes if lanes else width, speed_gts=speed_now if speed_now is not None else speed,
        width_max=most if most else None, speed_max_gts=number(first("bus/max_pcie_speed")),
        link_level=int(level[0]) if level[:1].isdecimal() else None,
        replays=count(first("pcie/replay_count")), rollovers=count(first("pcie/replay_roll_over_count")),
        naks_sent=count(first("pcie/nak_sent_count")), naks_received=count(first("pcie/nak_received_count")),
        recoveries=count(first("pcie/l0_to_recovery_count")),
        vram_bytes=size(first("vram/size", "mem_usage/total_vram")),
        visible_vram_bytes=size(first("mem_usage/total_visible_vram")), gtt_bytes=size(first("mem_usage/total_gtt")),
        utilization_percent=number(first("usage/gfx_activity")), edge_celsius=number(first("temperature/edge")),
        junction_celsius=number(first("temperature/hotspot")), memory_celsius=number(first("temperature/mem")),
        shutdown_junction_celsius=number(first("limit/shutdown_hotspot_temperature")),
        power_watts=number(first("power/socket_power")),
        power_cap_watts=number(first("limit/socket_power", "limit/socket_power_limit", "rocm/power cap")),
        ecc_corrected=count(first("ecc/total_correctable_count", "ecc_blocks/correctable_count")),
        ecc_uncorrected=count(first("ecc/total_uncorrectable_count", "ecc_blocks/uncorrectable_count")),
        ecc_deferred=count(first("ecc/total_deferred_count", "ecc_blocks/deferred_count")),
        throttled={"THROTTLED": True, "UNTHROTTLED": False}.get(throttle),
        on_board=True if arch in APUS else None)


APUS = ("gfx902", "gfx909", "gfx90c", "gfx1013", "gfx1033", "gfx1035", "gfx1036", "gfx1037", "gfx1103", "gfx1150",
        "gfx1151", "gfx1152", "gfx1153")
"""ISA names of GPUs inside a processor (LLVM AMDGPU usage, processor table)."""
