"""Values of one reading. All survive JSON: `msgspec.json.decode(data, type=tuple[Reading, ...])` gives them back.

A field is a value; None where the device or its driver has no such thing; Unread where it may have it and it could not
be read. In lists, what the device has not is left out, and what could not be read has an Unread as its value; a list
that is Unread as a whole could not be made at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, TypeVar

import msgspec

from boxcheck.model import Bdf, Unread
from boxcheck.telemetry.throttle import Throttle


class Named(msgspec.Struct, frozen=True, array_like=True):
    """One number of several of a kind; the unit is in the name of the field that holds the list."""

    name: str
    value: float | Unread


class Count(msgspec.Struct, frozen=True, array_like=True):
    """One counter. It runs since the driver, the device or the machine started: only its growth tells something."""

    name: str
    count: int | Unread


Values: TypeAlias = tuple[Named, ...] | Unread
Counts: TypeAlias = tuple[Count, ...] | Unread


class Pcie(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The link of a GPU as its driver tells it; `LinkReading` has what the ports themselves show."""

    speed_gts: float | Unread | None = None
    width: int | Unread | None = None
    replays: int | Unread | None = None
    received_bytes: int | Unread | None = None
    """Counter of what the GPU has received; NVML of 2024 and later."""
    sent_bytes: int | Unread | None = None
    errors: Counts = ()
    """Errors of the link that the driver counts itself."""


class GpuReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="gpu"):
    """What one GPU told at one moment."""

    bdf: Bdf
    monotonic_seconds: float
    """CLOCK_MONOTONIC when the reading of this GPU began."""
    power_watts: float | Unread | None = None
    """The driver's own figure, which most drivers average (NVIDIA since Ampere: over 1 s)."""
    power_instant_watts: float | Unread | None = None
    power_of: Literal["card", "socket"] | None = None
    """`socket`: a GPU that shares a package with the processor, and the figures are the whole package's. None where
    nobody tells which."""
    power_parts_watts: Values = ()
    """What of it goes where: `gfx`, `cpu`, `soc`."""
    power_limit_watts: float | Unread | None = None
    """The limit in force now."""
    energy_joules: float | Unread | None = None
    """Counter since the driver was loaded."""
    temperatures_celsius: Values = ()
    """By sensor: `core` (NVIDIA) or `edge` (AMD), `junction`, `mem`, `soc`, `cpu` ..."""
    clocks_mhz: Values = ()
    """By domain: `gfx`, `sm`, `mem`, `soc`, `fabric`; `gfx average` where the driver averages beside."""
    throttle: tuple[Throttle, ...] | Unread | None = None
    """Why the clocks are held down; empty when nothing does. Where the driver has only counters, what has held them
    down since the reading before."""
    throttle_bits: int | Unread | None = None
    """As the driver gave them: nvmlClocksEventReasons, or amdgpu's indep_throttle_status (throttle_status where there
    is no other)."""
    throttle_counters: Counts = ()
    """Counters that grow while a reason holds: nanoseconds with NVML, ticks of the firmware with gpu_metrics v3.0."""
    busy_percent: float | Unread | None = None
    memory_busy_percent: float | Unread | None = None
    """How much of the time memory was being read or written."""
    memory_used_bytes: int | Unread | None = None
    memory_total_bytes: int | Unread | None = None
    host_memory_used_bytes: int | Unread | None = None
    """Memory of the host that the GPU has mapped (amdgpu: GTT)."""
    fan_percent: float | Unread | None = None
    """What the fan is asked for, not what it does (NVML)."""
    fan_rpm: int | Unread | None = None
    voltages_volts: Values = ()
    performance_state: int | Unread | None = None
    """P0 is the highest (NVML)."""
    pcie: Pcie = Pcie()
    memory_errors: Counts = ()
    """ECC errors and repairs: `corrected`, `uncorrected` (since the driver was loaded), `remapped uncorrected` ..."""
    unread: tuple[Unread, ...] = ()
    """Why a whole source (gpu_metrics, the list of sensors) was not read; what it would have told is missing above."""


SilentState = Literal[
    "asleep",  # powered down by the kernel; not asked, since asking would wake it
    "lost",  # it was there and answers no more: fallen off the bus, or removed
    "reset-required",  # the driver has given it up until it is reset
    "unread",  # nothing could be read, and the reason says nothing about the GPU
]


class GpuSilent(msgspec.Struct, frozen=True, kw_only=True, tag="gpu-silent"):
    """A GPU that told nothing, and why."""

    bdf: Bdf
    monotonic_seconds: float
    state: SilentState
    why: Unread


class LinkReading(msgspec.Struct, frozen=True, kw_only=True, tag="link"):
    """One PCI function of the way from a root port to a GPU. Each is read once, however many GPUs are below it."""

    bdf: Bdf
    monotonic_seconds: float
    speed_gts: float | Unread | None
    """Speed and width that its own registers show; None where it has no link."""
    width: int | Unread | None
    correctable: Counts | None
    """AER counters since boot by the kernel's short names; None where the kernel counts none for this function."""
    nonfatal: Counts | None
    """Zeros where the root port shows that the device reported all of them as advisory (`pcie_aer.is_advisory`)."""
    fatal: Counts | None
    gone: bool = False
    """Its registers read all ones, or the kernel has marked it as removed."""


class Clocks(msgspec.Struct, frozen=True, tag="clocks"):
    """Clocks of processors as cpufreq shows them."""

    least_mhz: float
    median_mhz: float
    most_mhz: float
    read: int
    """How many were read; fewer than there are where the kernel takes long for each, others the next time."""


class HostReading(msgspec.Struct, frozen=True, kw_only=True, tag="host"):
    """What the processors and the memory told at one moment."""

    monotonic_seconds: float
    cpu_power_watts: Values
    """By RAPL zone (`package-0`, `dram`), since the reading before; empty where there is no RAPL."""
    cpu_clocks: Clocks | Unread | None
    cpu_temperatures_celsius: Values
    """By label of the driver: `Tctl` (AMD), `Package id 0` (Intel)."""
    cpu_busy_percent: float | Unread
    """Of all processors together, since the reading before."""
    memory_available_bytes: int | Unread
    memory_total_bytes: int | Unread
    core_throttles: int | Unread | None
    """How often a core was slowed down for heat since boot, all cores together; Intel only."""
    package_throttles: Counts
    """The same for whole packages; empty on processors without the counter."""


class BoxReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="box"):
    """What the drives, supplies and fans told. Empty lists: the box has none that can be read."""

    monotonic_seconds: float
    drives_celsius: Values = ()
    """By controller: `nvme0`."""
    drives_busy_percent: Values = ()
    """By namespace (`nvme0n1`), since the reading before."""
    supply_watts: Values = ()
    """What is taken from the mains: of a meter of the whole box (its hwmon's name), else of each supply."""
    fans_rpm: Values = ()
    """By chip and label, those of GPUs left out. 0 is a fan that stands, or a plug without one."""


Reading: TypeAlias = GpuReading | GpuSilent | LinkReading | HostReading | BoxReading

T = TypeVar("T")


HIGHEST_CELSIUS = 150.0
"""Above it, and at 0 or below, a number is no temperature of a part that runs."""


def celsius(value: float) -> float | Unread:
    """The temperature of a chip; Unread where the number can be none."""
    if 0 < value <= HIGHEST_CELSIUS:
        return value
    return Unread(f"{value:g} degrees is no temperature of a part that runs", "malformed")


def first_read(value: T | Unread | None, *others: Callable[[], T | Unread | None]) -> T | Unread | None:
    """The first that was read, asking the others only as far as needed; else the first Unread; else None."""
    unread: Unread | None = None
    for ask in (lambda: value, *others):
        one = ask()
        if isinstance(one, Unread):
            unread = unread if unread is not None else one
        elif one is not None:
            return one
    return unread


def named(values: Values, name: str) -> float | Unread | None:
    """The value of that name; None where the device has none."""
    if isinstance(values, Unread):
        return values
    return next((one.value for one in values if one.name == name), None)


def counted(counts: Counts | None, name: str) -> int | Unread | None:
    """The counter of that name; None where the device has none."""
    if counts is None or isinstance(counts, Unread):
        return counts
    return next((one.count for one in counts if one.name == name), None)
