"""Units of what instruments tell, by the name of the column that the store keeps it in."""

from __future__ import annotations

_SUFFIXES = (
    ("_bytes_per_second", "B/s"), ("_watts", "W"), ("_celsius", "°C"), ("_mhz", "MHz"), ("_percent", "%"),
    ("_bytes", "B"), ("_rpm", "rpm"), ("_volts", "V"), ("_joules", "J"), ("_gts", "GT/s"), ("_seconds", "s"))
_NAMES = {
    "width": "lanes", "pcie.width": "lanes", "pcie.replays": "count", "performance_state": "", "throttle_bits": "",
    "cpu_clocks": "MHz", "core_throttles": "count"}
_COUNTS = (
    "correctable", "nonfatal", "fatal", "memory_errors", "throttle_counters", "package_throttles", "pcie.errors")


def unit_of(column: str) -> str:
    """`W` of `power_watts`, `°C` of `temperatures_celsius/core`, `count` of `correctable/BadTLP`; empty where it has
    none, or none is known."""
    field = column.partition("/")[0]
    if field in _NAMES:
        return _NAMES[field]
    if field in _COUNTS:
        return "count"
    return next((unit for suffix, unit in _SUFFIXES if field.endswith(suffix)), "")


def says_unit(column: str) -> bool:
    """Whether the name has the unit in it."""
    field = column.partition("/")[0]
    return any(field.endswith(suffix) for suffix, _ in _SUFFIXES)
