"""`gpu_metrics` tables as bytes, put together from offsets that were counted by hand from kgd_pp_interface.h."""

from __future__ import annotations

import struct

SIZES = {"1.0": 80, "1.1": 96, "1.2": 104, "1.3": 120, "2.0": 120, "2.1": 120, "2.2": 128, "2.3": 152, "2.4": 168,
         "3.0": 264}

_V1 = {"edge": 4, "hotspot": 6, "mem": 8, "vrgfx": 10, "gfx_busy": 16, "umc_busy": 18, "power": 22, "avg_gfx": 40,
       "gfx": 54, "soc": 56, "uclk": 58, "throttle": 68, "fan": 72, "width": 74, "speed": 76, "hbm1": 90,
       "voltage_soc": 104, "voltage_gfx": 106, "voltage_mem": 108, "indep": 112}
_V2 = {"gfx_temp": 4, "soc_temp": 6, "core0": 8, "core7": 22, "gfx_busy": 28, "power": 40, "cpu_power": 42,
       "gfx_power": 46, "avg_gfx": 64, "avg_soc": 66, "avg_uclk": 68, "avg_fclk": 70, "gfx": 76, "soc": 78, "uclk": 80,
       "fclk": 82, "throttle": 108, "fan_pwm": 112, "indep": 120, "voltage_cpu": 152, "voltage_soc": 154,
       "voltage_gfx": 156}
OFFSETS = {
    "1.0": {"edge": 16, "hotspot": 18, "mem": 20, "gfx_busy": 28, "umc_busy": 30, "power": 34, "avg_gfx": 40, "gfx": 54,
            "uclk": 58, "throttle": 68, "fan": 72, "width": 74, "speed": 75},
    "1.1": _V1, "1.2": _V1, "1.3": _V1,
    "2.0": {"gfx_temp": 16, "soc_temp": 18, "core0": 20, "core7": 34, "gfx_busy": 40, "power": 44, "gfx_power": 50,
            "avg_gfx": 68, "gfx": 80, "uclk": 84, "throttle": 112},
    "2.1": _V2, "2.2": _V2, "2.3": _V2, "2.4": _V2,
    "3.0": {"gfx_temp": 4, "soc_temp": 6, "core0": 8, "core15": 38, "skin_temp": 40, "gfx_busy": 42, "power": 112,
            "gfx_power": 124, "cpu_power": 132, "avg_gfx": 174, "avg_soc": 176, "avg_fclk": 182, "avg_uclk": 186,
            "gfx_most": 224, "prochot": 228, "spl": 232, "fppt": 236, "sppt": 240, "thm_core": 244, "thm_gfx": 248,
            "thm_soc": 252},
}
_WIDE = {"throttle": "<I", "indep": "<Q", "prochot": "<I", "spl": "<I", "fppt": "<I", "sppt": "<I", "thm_core": "<I",
         "thm_gfx": "<I", "thm_soc": "<I"}


def table(revision: str, **fields: int) -> bytes:
    """A table with these fields; all others are ones, as the driver leaves what it does not know."""
    data = bytearray(b"\xff" * SIZES[revision])
    first, second = revision.split(".")
    struct.pack_into("<HBB", data, 0, SIZES[revision], int(first), int(second))
    for name, value in fields.items():
        code = _WIDE.get(name, "<H")
        if revision == "3.0" and name.endswith("power"):
            code = "<I"
        if revision == "1.0" and name in ("width", "speed"):
            code = "<B"
        struct.pack_into(code, data, OFFSETS[revision][name], value)
    return bytes(data)


def xtx(**fields: int) -> bytes:
    """A Radeon RX 7900 XTX at work."""
    return table("1.3", **{
        "edge": 62, "hotspot": 81, "mem": 74, "gfx_busy": 99, "umc_busy": 41, "power": 327, "avg_gfx": 2391, "gfx": 2402,
        "soc": 1200, "uclk": 1249, "throttle": 0, "fan": 1510, "width": 16, "speed": 160, "voltage_gfx": 912,
        "voltage_soc": 880, "voltage_mem": 1320, "indep": 0, **fields})


def strix(**fields: int) -> bytes:
    """The GPU of a Ryzen AI Max at work."""
    counters = dict.fromkeys(("prochot", "spl", "fppt", "sppt", "thm_core", "thm_gfx", "thm_soc"), 0)
    return table("3.0", **{
        "gfx_temp": 6850, "soc_temp": 6312, "core0": 7123, "core15": 0, "skin_temp": 0, "gfx_busy": 9840,
        "power": 119_500, "gfx_power": 84_250, "cpu_power": 9_125, "avg_gfx": 2785, "avg_soc": 1103, "avg_fclk": 2000,
        "avg_uclk": 1000, "gfx_most": 2900, **counters, **fields})
