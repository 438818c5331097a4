"""The binary file `gpu_metrics` of amdgpu, decoded. Pure: bytes in, values out.

Reads   /sys/bus/pci/devices/<bdf>/gpu_metrics                                     (Linux >= 5.9, any user)
Layout  drivers/gpu/drm/amd/include/kgd_pp_interface.h: v1_0 to v1_3 for cards, v2_0 to v2_4 and v3_0 for GPUs in a
        processor. Fields are little-endian and naturally aligned, as on every 64-bit kernel.
Absent  a field of all ones: the driver fills the table with ones, then sets what it knows (smu_cmn.c).
By hand amd-smi metric; od -A d -t u2 /sys/class/drm/card0/device/gpu_metrics

Not taken: energy_accumulator of v1 (its unit is not documented before v1_4, and newer firmware leaves it invalid),
fan_pwm of v2 (percent on some chips, 0 to 255 on others), average_sys_power of v3_0 (16 bits of mW overflow at 65 W).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from struct import Struct as Layout

import msgspec

from boxcheck.model import Unread
from boxcheck.telemetry.readings import Count, Named, celsius
from boxcheck.telemetry.throttle import AMDGPU_COUNTERS

_V1_TEMPERATURES = "H edge hotspot mem vrgfx vrsoc vrmem"
_V1_BUSY = "H gfx_busy umc_busy mm_busy socket_power"
_V1_CLOCKS = ("H avg_gfx avg_soc avg_uclk avg_vclk0 avg_dclk0 avg_vclk1 avg_dclk1",
              "H gfx soc uclk vclk0 dclk0 vclk1 dclk1")
_V1_1 = ("HBB size format content", _V1_TEMPERATURES, _V1_BUSY, "Q energy", "Q clock", *_V1_CLOCKS, "I throttle",
         "H fan_rpm pcie_width pcie_speed -", "I gfx_activity mem_activity", "H hbm0 hbm1 hbm2 hbm3")
_V1_2 = (*_V1_1, "Q firmware_clock")

_V2_TEMPERATURES = "H gfx_temp soc_temp core_temp*8 l3_temp*2"
_V2_POWER = "H socket_power cpu_power soc_power gfx_power core_power*8"
_V2_CLOCKS = ("H avg_gfx avg_soc avg_uclk avg_fclk avg_vclk avg_dclk", "H gfx soc uclk fclk vclk dclk",
              "H core_clock*8 l3_clock*2")
_V2_1 = ("HBB size format content", _V2_TEMPERATURES, "H gfx_busy mm_busy", "Q clock", _V2_POWER, *_V2_CLOCKS,
         "I throttle", "H fan_pwm -*3")
_V2_2 = (*_V2_1, "Q indep")
_V2_3 = (*_V2_2, "H avg_gfx_temp avg_soc_temp avg_core_temp*8 avg_l3_temp*2")

LAYOUTS: Mapping[tuple[int, int], tuple[str, ...]] = {
    (1, 0): ("HBB size format content", "Q clock", _V1_TEMPERATURES, _V1_BUSY, "I energy", *_V1_CLOCKS, "I throttle",
             "H fan_rpm", "B pcie_width pcie_speed"),
    (1, 1): _V1_1,
    (1, 2): _V1_2,
    (1, 3): (*_V1_2, "H voltage_soc voltage_gfx voltage_mem -", "Q indep"),
    (2, 0): ("HBB size format content", "Q clock", _V2_TEMPERATURES, "H gfx_busy mm_busy", _V2_POWER, *_V2_CLOCKS,
             "I throttle", "H fan_pwm -"),
    (2, 1): _V2_1,
    (2, 2): _V2_2,
    (2, 3): _V2_3,
    (2, 4): (*_V2_3, "H voltage_cpu voltage_soc voltage_gfx current_cpu current_soc current_gfx"),
    (3, 0): ("HBB size format content", "H gfx_temp soc_temp core_temp*16 skin_temp", "H gfx_busy vcn_busy ipu_busy*8",
             "H core_busy*16 dram_reads dram_writes ipu_reads ipu_writes", "Q clock", "I socket_power", "H ipu_power",
             "I apu_power gfx_power dgpu_power cpu_power", "H core_power*16 sys_power stapm_limit stapm_limit_now",
             "H avg_gfx avg_soc avg_vpe avg_ipu avg_fclk avg_vclk avg_uclk avg_mpipu",
             "H core_clock*16 core_most gfx_most",
             "I prochot spl fppt sppt thm_core thm_gfx thm_soc", "I alpha"),
}
"""(format, content revision) -> fields in order: type codes of the struct module (one for all names of the row, or one
each), then names; `*8` is an array, `-` is padding."""

SPEEDS_GTS: Mapping[int, float] = {
    1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 25: 2.5, 50: 5.0, 80: 8.0, 160: 16.0, 320: 32.0, 640: 64.0,
}
"""pcie_link_speed is in 0.1 GT/s; for RDNA 3, kernels of 2022 to early 2024 wrote the generation."""


_PARTS: Mapping[int, tuple[str, ...]] = {1: (), 2: ("gfx",), 3: ("gfx", "cpu")}
"""Parts of the power that are milliwatts on every chip that fills them; cpu_power of v2 has the doubt of the whole."""


class GpuMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What the table tells. None and left out: the table has no such field, or the chip did not fill it."""

    revision: str
    """`v1.3`."""
    power_watts: float | Unread | None
    of_socket: bool
    """The power is that of the package with the processor in it."""
    power_parts_watts: tuple[Named, ...]
    temperatures_celsius: tuple[Named, ...]
    clocks_mhz: tuple[Named, ...]
    busy_percent: float | Unread | None
    memory_busy_percent: float | Unread | None
    fan_rpm: int | None
    voltages_volts: tuple[Named, ...]
    pcie_speed_gts: float | Unread | None
    pcie_width: int | Unread | None
    throttle_status: int | None
    """Bits that mean something else on every chip; only 0 can be understood."""
    indep_throttle_status: int | None
    """Bits of `throttle.AMDGPU`."""
    throttle_counters: tuple[Count, ...]
    """`throttle.AMDGPU_COUNTERS` -> ticks; v3.0 only."""


class _Table(msgspec.Struct, frozen=True):
    layout: Layout
    names: tuple[str, ...]
    absent: tuple[int, ...]
    """All ones of each field's width."""


@cache
def _table(revision: tuple[int, int]) -> _Table:
    """The layout with C's padding: every field at a multiple of its size, the end at a multiple of the largest."""
    text, names, absent, offset, widest = "<", [], [], 0, 1
    for row in LAYOUTS[revision]:
        codes, *fields = row.split(" ")
        for index, field in enumerate(fields):
            code = codes[index] if len(codes) > 1 else codes
            width = Layout(f"<{code}").size
            name, _, times = field.partition("*")
            text += "x" * (-offset % width)
            offset += -offset % width
            widest = max(widest, width)
            for number in range(int(times or 1)):
                text += "x" * width if name == "-" else code
                offset += width
                if name != "-":
                    names.append(f"{name}{number}" if times else name)
                    absent.append((1 << 8 * width) - 1)
    return _Table(Layout(text + "x" * (-offset % widest)), tuple(names), tuple(absent))


def decode(data: bytes) -> GpuMetrics | Unread:
    """The table, or one Unread when these bytes are none that is known here."""
    if len(data) < 4:
        return Unread(f"gpu_metrics has {len(data)} bytes, too few for its header", "malformed")
    size, revision = int.from_bytes(data[:2], "little"), (data[2], data[3])
    if revision not in LAYOUTS:
        return Unread(f"gpu_metrics v{revision[0]}.{revision[1]} is not known here", "unsupported")
    table = _table(revision)
    if size != table.layout.size or len(data) != size:
        why = (f"gpu_metrics v{revision[0]}.{revision[1]} has {table.layout.size} bytes; "
               f"its header says {size}, and {len(data)} were read")
        return Unread(why, "malformed")
    if not data[4:].strip(b"\xff"):
        return Unread("gpu_metrics is all ones, so the firmware filled nothing in", "malformed")
    found = {
        name: value for name, value, absent in zip(table.names, table.layout.unpack(data), table.absent, strict=True)
        if value != absent
    }
    card = revision[0] == 1
    return GpuMetrics(
        revision=f"v{revision[0]}.{revision[1]}", of_socket=not card,
        power_watts=_card_power(found) if card else _socket_power(found, revision),
        power_parts_watts=_parts(found, _PARTS[revision[0]]), temperatures_celsius=_temperatures(found, card),
        clocks_mhz=_clocks(found), busy_percent=_percent(found.get("gfx_busy"), 1 if card else 100),
        memory_busy_percent=_percent(found.get("umc_busy"), 1), fan_rpm=found.get("fan_rpm"),
        voltages_volts=_voltages(found), pcie_speed_gts=_speed(found.get("pcie_speed")),
        pcie_width=_width(found.get("pcie_width")), throttle_status=found.get("throttle"),
        indep_throttle_status=found.get("indep"),
        throttle_counters=tuple(Count(name, found[name]) for name in AMDGPU_COUNTERS if name in found),
    )


def _card_power(found: Mapping[str, int]) -> float | Unread | None:
    watts = found.get("socket_power")
    return Unread("0 W is no power of a card that answers", "malformed") if watts == 0 else watts


def _socket_power(found: Mapping[str, int], revision: tuple[int, int]) -> float | Unread | None:
    """Milliwatts; but v2.0 to v2.2 of Renoir and Cezanne hold watts with newer firmware (renoir_ppt.c). No package with
    a GPU in it runs below 0.3 W or above 255 W, which tells the two apart."""
    power = found.get("socket_power")
    if power is None:
        return None
    if power == 0:
        return Unread("0 W is no power of a processor that answers", "malformed")
    if (2, 0) <= revision <= (2, 2) and power < 300:
        if power < 256:
            return float(power)
        return Unread(f"a socket power of {power} is neither watts nor milliwatts", "malformed")
    return power / 1000


def _parts(found: Mapping[str, int], names: tuple[str, ...]) -> tuple[Named, ...]:
    return tuple(Named(name, found[f"{name}_power"] / 1000) for name in names if f"{name}_power" in found)


def _hottest(values: Iterable[int]) -> int:
    return max(values, default=0)


_CARD_SENSORS = {"edge": "edge", "hotspot": "junction", "mem": "mem"}
_UNWIRED_ARE_ZERO = {
    "vrgfx": "regulator gfx", "vrsoc": "regulator soc", "vrmem": "regulator mem", "hbm0": "hbm0", "hbm1": "hbm1",
    "hbm2": "hbm2", "hbm3": "hbm3",
}
"""Firmware writes 0 for those that a board does not have."""


def _temperatures(found: Mapping[str, int], card: bool) -> tuple[Named, ...]:
    """Degrees for cards, hundredths for processors. Names as amdgpu's hwmon labels: `edge` is what a processor's table
    calls gfx; `cpu` is its hottest core."""
    if card:
        sure = [Named(name, celsius(found[key])) for key, name in _CARD_SENSORS.items() if key in found]
        more = [Named(name, celsius(found[key])) for key, name in _UNWIRED_ARE_ZERO.items() if found.get(key)]
        return (*sure, *more)
    rows = {"edge": found.get("gfx_temp"), "soc": found.get("soc_temp")}
    cores = _hottest(found[name] for number in range(16) if (name := f"core_temp{number}") in found)
    rows["cpu"] = cores or None  # 0 for cores that are off, and on chips that do not tell
    rows["skin"] = found.get("skin_temp") or None  # a sensor of the case, which few machines have
    return tuple(Named(name, celsius(value / 100)) for name, value in rows.items() if value is not None)


def _clocks(found: Mapping[str, int]) -> tuple[Named, ...]:
    """`gfx` and so on, now where the table tells it, else averaged; the average beside it where it tells both."""
    rows: list[Named] = []
    for name, key in (("gfx", "gfx"), ("mem", "uclk"), ("soc", "soc"), ("fabric", "fclk")):
        now, average = found.get(key), found.get(f"avg_{key}")
        if (one := average if now is None else now) is not None:
            rows.append(Named(name, one))
        if name == "gfx" and now is not None and average is not None:
            rows.append(Named("gfx average", average))
    if "gfx_most" in found:
        rows.append(Named("gfx limit", found["gfx_most"]))
    return tuple(rows)


def _percent(value: int | None, parts: int) -> float | Unread | None:
    """`parts` to a percent: processors count in hundredths (smu_v14_0_0_ppt.c and renoir_ppt.c divide by 100)."""
    if value is None:
        return None
    percent = value / parts
    return percent if percent <= 100 else Unread(f"{percent:g} % is no utilisation", "malformed")


def _voltages(found: Mapping[str, int]) -> tuple[Named, ...]:
    # 0: this chip's firmware does not measure it.
    return tuple(Named(name, found[f"voltage_{name}"] / 1000) for name in ("gfx", "soc", "mem", "cpu")
                 if found.get(f"voltage_{name}"))


def _speed(code: int | None) -> float | Unread | None:
    if code is None:
        return None
    return SPEEDS_GTS.get(code) or Unread(f"{code} is no speed of a PCI link", "malformed")


def _width(lanes: int | None) -> int | Unread | None:
    if lanes is None or lanes in (1, 2, 4, 8, 12, 16, 32):
        return lanes
    return Unread(f"{lanes} is no width of a PCI link", "malformed")


def counters_grown(before: tuple[Count, ...] | None, now: tuple[Count, ...]) -> tuple[str, ...] | Unread:
    """Names of the counters that grew; Unread where there is nothing to compare with, or where one ran backwards other
    than by the overflow of its 32 bits: then the firmware was started anew in between."""
    if before is None:
        return Unread("counters of throttling need two readings", "one-reading")
    old = {one.name: one.count for one in before}
    grown: list[str] = []
    for one in now:
        was = old.get(one.name)
        if not isinstance(was, int) or not isinstance(one.count, int):
            return Unread("counters of throttling need two readings", "one-reading")
        if one.count < was and (one.count - was) % (1 << 32) > 1 << 31:
            return Unread("the firmware has started its counters of throttling anew", "one-reading")
        if one.count != was:
            grown.append(one.name)
    return tuple(grown)

