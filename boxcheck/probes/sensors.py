"""Temperatures, fans and power caps that drivers show through hwmon, and links that the thermal framework slows down.

Reads   /sys/class/hwmon/hwmon*/{name,temp*_*,fan*_*,power1_*}, gpu_busy_percent of amdgpu,
        /sys/class/thermal/cooling_device*/{type,cur_state,max_state},
        /sys/class/thermal/thermal_zone*/{type,temp,cdev*,trip_point_*_temp}                  (any user)
Since   power1_cap_default Linux 5.14; PCIe_Port_Link_Speed cooling devices 6.13
Absent  hwmon of NVIDIA cards: their driver has none, NVML gives these readings. hwmon of the processor where k10temp or
        coretemp is not loaded, and in virtual machines.
By hand sensors; grep . /sys/class/hwmon/hwmon*/{name,temp1_input}

cur_state of a port's cooling device is no record of what was asked for: the kernel computes it from the speed that it
believes the link has now (pcie_cooling_get_cur_level), so a card at rest and a slow drive in a fast slot show more than
0 as well. Only a thermal zone that is bound to the device makes the thermal framework slow the link down.

A graphics card that sleeps (runtime power management) is not woken to be read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.probes.attributes import integer, numbered, words
from boxcheck.probes.pci import parse_bdf
from boxcheck.registry import probe

HWMON = "/sys/class/hwmon"
THERMAL = "/sys/class/thermal"
LINK_COOLING = "PCIe_Port_Link_Speed_"
"""Start of the type of a port's cooling device (drivers/thermal/pcie_cooling.c); the port's address follows."""

CPU_CHIPS = frozenset({"k10temp", "coretemp", "zenpower"})
GPU_CHIPS = frozenset({"amdgpu", "radeon", "nouveau", "xe", "i915"})
LOWEST_CELSIUS, HIGHEST_CELSIUS = -40.0, 150.0
"""Outside of these a reading is no temperature: an input that nothing is wired to shows -128 or 255. A GPU or CPU die
makes heat of its own and is never at 0 or below; sensors of the air around may be."""

_SLEEPING = Unread("the card sleeps, and reading it would wake it", "unsupported")


class Temperature(msgspec.Struct, frozen=True, kw_only=True):
    label: str
    """As the driver names it: `edge`, `junction`, `mem`, `Tctl`, `Package id 0`, `Composite`."""
    celsius: float | Unread
    max_celsius: float | None
    """Where the device warns; None where it gives none, or none that can be."""
    critical_celsius: float | None
    alarm: bool | None
    """The device's own alarm: critical or emergency; None where it has no such flag."""
    path: str
    limits_unread: Unread | None = None
    """Why one of the limits or alarms that the driver has was not read; such a one is None above."""


class Fan(msgspec.Struct, frozen=True):
    label: str
    rpm: int | Unread
    path: str


class PowerCap(msgspec.Struct, frozen=True, kw_only=True):
    """Watts. None where the driver has no such file."""

    cap_watts: float | None | Unread
    default_watts: float | None | Unread
    max_watts: float | None | Unread
    drawn_watts: float | None | Unread


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """One hwmon device."""

    hwmon: str
    name: str
    bdf: Bdf | None
    """The PCI function it belongs to, None for a chip on another bus."""
    device: str
    """Name of the device above: `0000:03:00.0`, `coretemp.0`, `nvme0`, `nct6775.656`."""
    temperatures: tuple[Temperature, ...]
    fans: tuple[Fan, ...]
    power: PowerCap | None
    """None on a chip without a power limit or reading."""
    busy_percent: int | None | Unread
    """How busy the GPU is; None where the driver does not tell."""

    def temperature(self, *labels: str) -> Temperature | None:
        """The first temperature with one of the labels, in the order of the labels."""
        return next((item for label in labels for item in self.temperatures if item.label == label), None)


class LinkCooling(msgspec.Struct, frozen=True):
    """A port whose speed the thermal framework can lower."""

    port: Bdf
    state: int | Unread
    """How many generations the link runs below the port's fastest, for whatever reason."""
    max_state: int | Unread
    path: str
    zones: tuple[str, ...] | Unread = ()
    """Names of the thermal zones that may slow this port down; looked for where some state is above 0."""
    hot: bool | None = None
    """Whether one of these zones is at or above the trip point that slows this port down; None where no zone tells."""


class Sensors(msgspec.Struct, frozen=True):
    chips: tuple[Chip, ...] | Unread
    """Empty when the machine has none."""
    link_cooling: tuple[LinkCooling, ...] | Unread
    chips_unread: Unread | None = None
    """Why some hwmon device could not be told; it is missing in `chips`."""
    link_cooling_unread: Unread | None = None
    """Why some cooling device could not be told; it is missing in `link_cooling`."""

    def of_function(self, bdf: Bdf) -> Chip | None:
        """The chip of a PCI function."""
        return next((chip for chip in self.all() if chip.bdf == bdf), None)

    def all(self) -> tuple[Chip, ...]:
        return () if isinstance(self.chips, Unread) else self.chips


def _milli(value: int | Unread, die: bool = False) -> float | Unread:
    """Thousandths of a degree to degrees; Unread for what is no temperature (`die`: of a GPU or CPU)."""
    if isinstance(value, Unread):
        return value
    celsius = round(value / 1000, 1)
    if not LOWEST_CELSIUS <= celsius <= HIGHEST_CELSIUS or (die and celsius <= 0):
        return Unread(f"{celsius:g} degrees is no temperature of a part that runs", "malformed")
    return celsius


def _threshold(value: int | Unread) -> float | None:
    celsius = _milli(value)
    return None if isinstance(celsius, Unread) or celsius <= 0 else celsius


def _watts(host: Host, path: str) -> float | None | Unread:
    value = integer(host, path)
    if isinstance(value, Unread):
        return None if value.kind == "absent" else value
    return round(value / 1e6, 1)


def _unset(host: Host, path: str) -> bool:
    """Whether a limit is there and 0 or below: the chip of a memory module (jc42) that no firmware has set up holds
    0 °C, and rings at any temperature."""
    bound = integer(host, path)
    return isinstance(bound, int) and bound <= 0


def _temperature(
    host: Host, base: str, stem: str, names: frozenset[str], asleep: bool, die: bool
) -> Temperature:
    label = words(host, f"{base}/{stem}_label") if f"{stem}_label" in names else None
    limits = {kind: integer(host, f"{base}/{stem}_{kind}") for kind in ("max", "crit") if f"{stem}_{kind}" in names}
    alarms = [integer(host, f"{base}/{stem}_{kind}_alarm") for kind in ("crit", "emergency")
              if not asleep and f"{stem}_{kind}_alarm" in names and not _unset(host, f"{base}/{stem}_{kind}")]
    rung = [value != 0 for value in alarms if isinstance(value, int)]
    unread = next((value for value in (*limits.values(), *alarms) if isinstance(value, Unread)), None)
    return Temperature(
        label=label if isinstance(label, str) else stem,
        celsius=_SLEEPING if asleep else _milli(integer(host, f"{base}/{stem}_input"), die),
        max_celsius=_threshold(limits["max"]) if "max" in limits else None,
        critical_celsius=_threshold(limits["crit"]) if "crit" in limits else None,
        alarm=any(rung) if rung else None, path=f"{base}/{stem}_input", limits_unread=None if asleep else unread,
    )


def _fan(host: Host, base: str, stem: str, names: frozenset[str], asleep: bool) -> Fan:
    label = words(host, f"{base}/{stem}_label") if f"{stem}_label" in names else None
    path = f"{base}/{stem}_input"
    return Fan(label if isinstance(label, str) else stem, _SLEEPING if asleep else integer(host, path), path)


def _power(host: Host, base: str, names: frozenset[str], asleep: bool) -> PowerCap | None:
    if not any(name.startswith("power1_") for name in names):
        return None
    if asleep:
        return PowerCap(cap_watts=_SLEEPING, default_watts=_SLEEPING, max_watts=_SLEEPING, drawn_watts=_SLEEPING)
    drawn = "power1_average" if "power1_average" in names else "power1_input"
    return PowerCap(
        cap_watts=_watts(host, f"{base}/power1_cap"), default_watts=_watts(host, f"{base}/power1_cap_default"),
        max_watts=_watts(host, f"{base}/power1_cap_max"), drawn_watts=_watts(host, f"{base}/{drawn}"),
    )


def _stems(names: Sequence[str], kind: str) -> list[str]:
    """`temp1`, `temp2` ... by number, of those that have an input."""
    inputs = (name for name in names if re.fullmatch(rf"{kind}\d{{1,3}}_input", name))
    return numbered(tuple(name.removesuffix("_input") for name in inputs), kind)


def _chip(host: Host, hwmon: str) -> Chip | None | Unread:
    base = f"{HWMON}/{hwmon}"
    listed = host.entries(base)
    name = words(host, f"{base}/name")
    if isinstance(listed, Unread) or not isinstance(name, str):
        return next((one for one in (listed, name) if isinstance(one, Unread) and one.kind != "absent"), None)
    names = frozenset(listed)
    real = host.target(base)
    above = host.target(f"{base}/device")
    # hwmon directories hang below their device; in trees without the kernel's links only the link `device` tells.
    parts = (real if isinstance(real, str) else f"{above}/" if isinstance(above, str) else "").split("/")
    bdf = next((found for part in reversed(parts) if (found := parse_bdf(part)) is not None), None)
    if bdf is None and isinstance(above, str):
        bdf = next((found for part in reversed(above.split("/")) if (found := parse_bdf(part)) is not None), None)
    device = above.rsplit("/", 1)[-1] if isinstance(above, str) else ""
    asleep = name in GPU_CHIPS and host.text(f"{base}/device/power/runtime_status") == "suspended"
    busy = integer(host, f"{base}/device/gpu_busy_percent") if name == "amdgpu" and not asleep else None
    return Chip(
        hwmon=hwmon, name=name, bdf=bdf, device=clean_text(device, 64),
        temperatures=tuple(_temperature(host, base, stem, names, asleep, name in GPU_CHIPS | CPU_CHIPS)
                           for stem in _stems(listed, "temp")),
        fans=tuple(_fan(host, base, stem, names, asleep) for stem in _stems(listed, "fan")),
        power=_power(host, base, names, asleep),
        busy_percent=None if isinstance(busy, Unread) and busy.kind == "absent" else busy,
    )


def _chips(host: Host) -> tuple[tuple[Chip, ...] | Unread, Unread | None]:
    names = host.entries(HWMON)
    if isinstance(names, Unread):
        return () if names.kind == "absent" else names, None
    found = [_chip(host, name) for name in numbered(names, "hwmon")]
    return (tuple(chip for chip in found if isinstance(chip, Chip)),
            next((chip for chip in found if isinstance(chip, Unread)), None))


def _link_cooling(host: Host) -> tuple[tuple[LinkCooling, ...] | Unread, Unread | None]:
    names = host.entries(THERMAL)
    if isinstance(names, Unread):
        return () if names.kind == "absent" else names, None
    found = []
    unread: Unread | None = None
    for name in numbered(names, "cooling_device"):
        base = f"{THERMAL}/{name}"
        kind = host.text(f"{base}/type")
        if isinstance(kind, Unread) and kind.kind != "absent" and unread is None:
            unread = kind
        port = parse_bdf(kind.removeprefix(LINK_COOLING)) if isinstance(kind, str) else None
        if port is not None:
            found.append(LinkCooling(
                port, integer(host, f"{base}/cur_state"), integer(host, f"{base}/max_state"), f"{base}/cur_state"))
    if not any(isinstance(one.state, int) and one.state > 0 for one in found):
        return tuple(found), unread
    bound = _bound_zones(host, numbered(names, "thermal_zone"))
    return tuple(
        msgspec.structs.replace(one, zones=bound) if isinstance(bound, Unread) else
        _with_zones(one, [zone for zone in bound if zone[0] == one.path.split("/")[-2]]) for one in found), unread


def _with_zones(one: LinkCooling, zones: Sequence[tuple[str, str, bool | None]]) -> LinkCooling:
    heat = [hot for _, _, hot in zones if hot is not None]
    return msgspec.structs.replace(one, zones=tuple(name for _, name, _ in zones), hot=any(heat) if heat else None)


def _bound_zones(host: Host, names: Sequence[str]) -> tuple[tuple[str, str, bool | None], ...] | Unread:
    """Cooling device, the zone that it is bound to by one of the links `cdev0`, `cdev1` ... of each zone, and whether
    that zone is hot."""
    found = []
    for name in names:
        entries = host.entries(f"{THERMAL}/{name}")
        if isinstance(entries, Unread):
            return entries
        kind = words(host, f"{THERMAL}/{name}/type")
        for entry in entries:
            if not re.fullmatch(r"cdev\d{1,4}", entry):
                continue
            target = host.target(f"{THERMAL}/{name}/{entry}")
            if isinstance(target, Unread):
                return target
            found.append((target.rsplit("/", 1)[-1], kind if isinstance(kind, str) else name,
                          _hot(host, f"{THERMAL}/{name}", entry)))
    return tuple(found)


def _hot(host: Host, zone: str, device: str) -> bool | None:
    """Whether a zone is at or above the trip point at which it uses a cooling device (thermal/sysfs-api.rst)."""
    trip = integer(host, f"{zone}/{device}_trip_point")
    if isinstance(trip, Unread) or trip < 0:  # -1: no trip point
        return None
    now, bound = integer(host, f"{zone}/temp"), integer(host, f"{zone}/trip_point_{trip}_temp")
    return None if isinstance(now, Unread) or isinstance(bound, Unread) else now >= bound


@probe("sensors", Sensors)
def sensors(host: Host) -> Sensors:
    (chips, chips_unread), (cooling, cooling_unread) = _chips(host), _link_cooling(host)
    return Sensors(chips, cooling, chips_unread, cooling_unread)
