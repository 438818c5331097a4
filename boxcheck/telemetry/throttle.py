"""Why a GPU's clocks are held down: the bits of NVIDIA and AMD by name and kind. Pure.

Sources: nvmlClocksEventReasons of nvml.h (nvmlClocksThrottleReasons before driver 535); SMU_THROTTLER_*_BIT of Linux
drivers/gpu/drm/amd/pm/swsmu/inc/amdgpu_smu.h, the bits of `indep_throttle_status`, which mean the same on every chip.
By hand nvidia-smi -q -d PERFORMANCE; amd-smi metric --throttle
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import msgspec

ThrottleKind = Literal[
    "idle",  # there is nothing to do
    "setting",  # somebody set these clocks
    "power-cap",  # the power limit of the card or the package
    "current",  # the most that a voltage regulator may deliver, or its peaks
    "thermal-software",  # firmware or driver holds a temperature by lowering clocks
    "thermal-hardware",  # an emergency: a signal of the chip or of a regulator cuts the clocks
    "power-brake",  # a signal from outside of the card: its supply, or the board
    "prochot",  # "processor hot": a signal that any part of the machine may pull
    "hardware",  # slowed down by hardware, which does not say why
    "reliability",  # voltage limited for the sake of the chip's life
    "unknown",  # a bit without a name here
]


class Throttle(msgspec.Struct, frozen=True):
    """One reason."""

    code: str
    """As the vendor writes it: `SwPowerCap`, `TEMP_HOTSPOT`."""
    says: str
    """For a person: `software thermal slowdown`."""
    kind: ThrottleKind


NVML: tuple[Throttle, ...] = (
    Throttle("GpuIdle", "idle", "idle"),
    Throttle("ApplicationsClocksSetting", "clocks set by an application", "setting"),
    Throttle("SwPowerCap", "power cap", "power-cap"),
    Throttle("HwSlowdown", "hardware slowdown", "hardware"),
    Throttle("SyncBoost", "sync boost", "setting"),
    Throttle("SwThermalSlowdown", "software thermal slowdown", "thermal-software"),
    Throttle("HwThermalSlowdown", "hardware thermal slowdown", "thermal-hardware"),
    Throttle("HwPowerBrakeSlowdown", "power brake", "power-brake"),
    Throttle("DisplayClockSetting", "clocks set for the display", "setting"),
    Throttle("BoardLimit", "board limit", "power-cap"),
    Throttle("Reliability", "voltage limit", "reliability"),
)
"""By bit, 0 first. A hardware slowdown is set together with its reason, so bits are masked, never compared as a whole.
BoardLimit and Reliability are in nvidia-ml-py 13, not in the documented list."""

AMDGPU: dict[int, Throttle] = {
    0: Throttle("PPT0", "package power limit 0", "power-cap"),
    1: Throttle("PPT1", "package power limit 1", "power-cap"),
    2: Throttle("PPT2", "package power limit 2", "power-cap"),
    3: Throttle("PPT3", "package power limit 3", "power-cap"),
    4: Throttle("SPL", "sustained power limit", "power-cap"),
    5: Throttle("FPPT", "fast package power limit", "power-cap"),
    6: Throttle("SPPT", "slow package power limit", "power-cap"),
    7: Throttle("SPPT_APU", "slow package power limit of the APU", "power-cap"),
    16: Throttle("TDC_GFX", "current limit of the graphics supply", "current"),
    17: Throttle("TDC_SOC", "current limit of the SoC supply", "current"),
    18: Throttle("TDC_MEM", "current limit of the memory supply", "current"),
    19: Throttle("TDC_VDD", "current limit of the core supply", "current"),
    20: Throttle("TDC_CVIP", "current limit of the CVIP supply", "current"),
    21: Throttle("EDC_CPU", "peak current limit of the processor", "current"),
    22: Throttle("EDC_GFX", "peak current limit of the graphics part", "current"),
    23: Throttle("APCC", "peak current control", "current"),
    32: Throttle("TEMP_GPU", "temperature of the GPU", "thermal-software"),
    33: Throttle("TEMP_CORE", "temperature of the processor cores", "thermal-software"),
    34: Throttle("TEMP_MEM", "temperature of the memory", "thermal-software"),
    35: Throttle("TEMP_EDGE", "edge temperature", "thermal-software"),
    36: Throttle("TEMP_HOTSPOT", "hotspot temperature", "thermal-software"),
    37: Throttle("TEMP_SOC", "temperature of the SoC", "thermal-software"),
    38: Throttle("TEMP_VR_GFX", "temperature of the graphics regulator", "thermal-software"),
    39: Throttle("TEMP_VR_SOC", "temperature of the SoC regulator", "thermal-software"),
    40: Throttle("TEMP_VR_MEM0", "temperature of memory regulator 0", "thermal-software"),
    41: Throttle("TEMP_VR_MEM1", "temperature of memory regulator 1", "thermal-software"),
    42: Throttle("TEMP_LIQUID0", "temperature of the coolant, sensor 0", "thermal-software"),
    43: Throttle("TEMP_LIQUID1", "temperature of the coolant, sensor 1", "thermal-software"),
    44: Throttle("VRHOT0", "regulator 0 signals that it is too hot", "thermal-hardware"),
    45: Throttle("VRHOT1", "regulator 1 signals that it is too hot", "thermal-hardware"),
    46: Throttle("PROCHOT_CPU", "PROCHOT of the processor", "prochot"),
    47: Throttle("PROCHOT_GFX", "PROCHOT of the graphics part", "prochot"),
    # smu11_driver_if_*.h: PpmPowerLimit is the power limit to switch to above PpmTemperatureThreshold.
    56: Throttle("PPM", "lower power limit for a high temperature", "thermal-software"),
    57: Throttle("FIT", "voltage limit for the life of the chip", "reliability"),
}

AMDGPU_COUNTERS: dict[str, Throttle] = {
    "prochot": Throttle("PROCHOT", "PROCHOT", "prochot"),
    "spl": AMDGPU[4],
    "fppt": AMDGPU[5],
    "sppt": AMDGPU[6],
    "thm_core": AMDGPU[33],
    "thm_gfx": Throttle("TEMP_GFX", "temperature of the graphics part", "thermal-software"),
    "thm_soc": AMDGPU[37],
}
"""throttle_residency_* of gpu_metrics v3.0: each grows with every update of the table during which it was engaged
(smu14_driver_if_v14_0_0.h)."""


# A machine under load shows a handful of different values; the bound is for hostile input.
@lru_cache(maxsize=256)
def nvml_reasons(bits: int) -> tuple[Throttle, ...]:
    """Reasons of nvmlClocksEventReasons, lowest bit first; a bit without a name is of kind `unknown`."""
    return tuple(NVML[bit] if bit < len(NVML) else _unnamed(bit) for bit in _set_bits(bits))


@lru_cache(maxsize=256)
def amdgpu_reasons(bits: int) -> tuple[Throttle, ...]:
    """Reasons of amdgpu's indep_throttle_status, lowest bit first; a bit without a name is of kind `unknown`."""
    return tuple(AMDGPU.get(bit) or _unnamed(bit) for bit in _set_bits(bits))


def _set_bits(bits: int) -> Iterable[int]:
    return (bit for bit in range(64) if bits >> bit & 1)


def _unnamed(bit: int) -> Throttle:
    return Throttle(f"bit {bit}", f"reason {bit}, which has no name here", "unknown")
