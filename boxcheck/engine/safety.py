"""The limits at which load must end, and what readings are held against them. Pure: readings in, a stop or none out.

A GPU that is too hot stops the run with its first reading; power and the processor jump for moments, so these need two
in a row from the same reader.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from boxcheck.engine.attention import Account, Attention, present
from boxcheck.model import Unread
from boxcheck.profile import Profile
from boxcheck.registry import LIMITS
from boxcheck.stress.safety import Near, Safety, SafetyStop
from boxcheck.stress.safety_checks import CPU, GPU, GPU_WATTS, GPUS_WATTS, JUNCTION, MEMORY, RAIL_VOLTS, SUPPLY_WATTS
from boxcheck.telemetry.readings import GpuReading, HostReading, Reading, Values
from boxcheck.telemetry.supply import SupplyReading

SENSORS = {"core": GPU, "edge": GPU, "junction": JUNCTION, "mem": MEMORY}
HEAT = frozenset(SENSORS.values())
IN_A_ROW = {GPU: 1, JUNCTION: 1, MEMORY: 1, CPU: 2, GPU_WATTS: 2, GPUS_WATTS: 2, SUPPLY_WATTS: 2, RAIL_VOLTS: 2}
ABOVE_DRIVER_LIMIT = 1.25
"""Drivers average a card's power, over a second since NVIDIA's Ampere, and hold that average below the limit in force.
An average a quarter above it means that nothing holds it."""
SUPPLY_EFFICIENCY = 0.90
"""Of a good supply at full load (80 PLUS Gold: 87 to 91 %); it takes so much more than it gives."""


class StopLimit(msgspec.Struct, frozen=True, kw_only=True):
    bound: float
    source: str
    default: float | None = None
    """What would hold without the profile, where the profile sets another."""


DEFAULTS = {
    GPU: StopLimit(bound=100.0, source=(
        "amdgpu calls an edge of 100 °C critical on Navi 31 (temp1_crit); NVIDIA's cards slow down below that (both "
        "from memory)")),
    JUNCTION: StopLimit(bound=110.0, source="amdgpu calls 110 °C critical on Navi 31 (temp2_crit; from memory)"),
    MEMORY: StopLimit(bound=110.0, source=(
        "GDDR6X throttles at 110 °C (from memory); amdgpu calls 108 critical for GDDR6 (temp3_crit; from memory)")),
    CPU: StopLimit(bound=105.0, source=(
        "the highest operating temperature that AMD and Intel give for any processor, 105 °C (from memory)")),
    RAIL_VOLTS: StopLimit(bound=11.4, source="ATX12V design guide: 12 V may be 5 % off (from memory)"),
}
"""GPUs' power and what the mains give depend on the box: see `limits_of` and `Guard`."""
IN_PACKAGE = StopLimit(bound=105.0, source=(
    "a GPU on the processor's die throttles with it, at 100 °C on Strix Halo (thermal.cpu_celsius of its profile); "
    "beyond 105 °C no processor of AMD or Intel may be run (both from memory)"))
"""Of the edge of a GPU that shares its package with the processor, where the profile sets no `safety.gpu_celsius`: at
its own throttle point it is held, and in no danger."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What holds in a run, by name of the limit."""

    stops: dict[str, StopLimit] = msgspec.field(default_factory=lambda: dict(DEFAULTS))
    board_watts: float | None = None
    """Of the profile's cards, for drivers that tell no limit in force."""


def limits_of(want: Profile) -> Limits:
    """The profile's limits, and the defaults where it sets none."""
    stops = dict(DEFAULTS)
    supply, cpu, mains = (
        _number(want, name) for name in ("power.supply_watts", "power.cpu_watts", "power.mains_watts"))
    if supply is not None:
        stops[GPUS_WATTS] = StopLimit(bound=supply - (cpu or 0.0), source=(
            f"power.supply_watts of the profile{' less power.cpu_watts' if cpu else ''}: what is there for the GPUs"))
        taken = supply / SUPPLY_EFFICIENCY
        stops[SUPPLY_WATTS] = StopLimit(bound=round(taken), source=(
            f"power.supply_watts of the profile, by {SUPPLY_EFFICIENCY:.0%} efficiency at full load"))
    if mains is not None and (supply is None or mains < supply / SUPPLY_EFFICIENCY):
        stops[SUPPLY_WATTS] = StopLimit(bound=mains, source="power.mains_watts of the profile")
    for name in IN_A_ROW:
        value, limit = _number(want, name), want.limits.get(name)
        if value is not None and limit is not None:
            before = stops.get(name)
            stops[name] = StopLimit(
                bound=value, source=limit.source or f"profile {want.name}",
                default=before.bound if before is not None and before.bound != value else None)
    boards = [part.board_power_watts for part in want.gpus.parts if part.board_power_watts]
    return Limits(stops=stops, board_watts=max(boards, default=None))


def _number(want: Profile, name: str) -> float | None:
    limit = want.limits.get(name)
    must = limit.must if limit is not None else None
    return float(must) if isinstance(must, (int, float)) and not isinstance(must, bool) else None


def in_words(limits: Limits) -> list[str]:
    """A line a limit: `safety.gpu_celsius 100 °C`, with what the profile changed."""
    lines = []
    for name, compare, unit in ((name, LIMITS[name].compare, LIMITS[name].unit) for name in IN_A_ROW):
        stop = limits.stops.get(name)
        if stop is None:
            if name == GPU_WATTS:
                lines.append(f"{name}: {ABOVE_DRIVER_LIMIT:g} times the limit that the driver keeps")
            continue
        way = "below" if compare == "ge" else "above"
        weaker = stop.default is not None and (
            stop.bound < stop.default if compare == "ge" else stop.bound > stop.default)
        changed = f" ({'weaker' if weaker else 'stricter'} than {stop.default:g}: {stop.source})" if (
            stop.default is not None) else ""
        lines.append(f"{name}: {way} {stop.bound:g} {unit}{changed}")
    return lines


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One number that has a limit."""

    limit: str
    subject: str
    sensor: str
    value: float
    at: float
    whole: bool = True
    """False for a sum of which a part that was there before is missing."""


class Guard:
    """Holds readings against the limits. `see` gives the stop when there is one, and the same one from then on."""

    def __init__(self, limits: Limits, *, wall: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._wall = wall
        self._rows: dict[tuple[str, str, str, str], tuple[float, ...]] = {}
        """By reader and sensor: readings in a row beyond the limit."""
        self.stop: SafetyStop | None = None
        self.pending = False
        """Whether something was beyond its limit at the last look, and another will tell whether it stays so."""
        self._nearest: dict[str, Near] = {}
        self._watched: set[str] = set()
        """GPUs that told a temperature."""
        self._attention = Attention()
        self._parts: dict[str, frozenset[str]] = {}
        """By limit of a sum: what was part of it at the last look."""

    def see(
        self, reader: str, readings: Sequence[Reading], supply: SupplyReading | None = None
    ) -> SafetyStop | None:
        self.pending = False
        held, asked = list(self._held(readings, supply)), present(readings, supply)
        now = max((one.monotonic_seconds for one in readings), default=0.0)
        self._attention.see(
            ((one.limit, one.subject, one.sensor) for one, _ in held if one.whole),
            (one.subject for one, _ in held if one.limit in HEAT), asked, now)
        self._watched |= {one.subject for one, _ in held if one.limit in HEAT}
        for one, stop in held:
            below = LIMITS[one.limit].compare == "ge"
            known = self._nearest.get(one.limit)
            if known is None or nearness(one.limit, one.value, stop.bound) > nearness(
                    one.limit, known.value, known.bound):
                self._nearest[one.limit] = Near(
                    subject=one.subject, sensor=one.sensor, value=one.value, bound=stop.bound, source=stop.source)
            place = (reader, one.limit, one.subject, one.sensor)
            if one.value >= stop.bound if below else one.value <= stop.bound:
                self._rows.pop(place, None)
                continue
            row = self._rows[place] = (*self._rows.get(place, ()), one.value)[-IN_A_ROW[one.limit]:]
            self.pending = True
            if len(row) >= IN_A_ROW[one.limit] and self.stop is None:
                self.stop = SafetyStop(
                    limit=one.limit, subject=one.subject, sensor=one.sensor, value=one.value, bound=stop.bound,
                    unit=LIMITS[one.limit].unit, source=stop.source, readings=row, monotonic_seconds=one.at,
                    wall=self._wall())
        return self.stop

    def account(self) -> Safety:
        return Safety(
            stop=self.stop, nearest=dict(self._nearest), watched=tuple(sorted(self._watched)),
            blind=self._attention.blind())

    def told(self) -> Account:
        """For the engine."""
        return Account(
            safety=self.account(), heat=dict(self._attention.heat), asked=self._attention.asked)

    def _whole(self, limit: str, parts: frozenset[str], asked: frozenset[str] | None = None) -> bool:
        """Whether nothing is missing in a sum that was in it before; a GPU that sleeps or is lost adds nothing."""
        known = self._parts.get(limit, frozenset())
        self._parts[limit] = parts | (known if asked is None else known & asked)
        return self._parts[limit] == parts

    def _held(self, readings: Sequence[Reading], supply: SupplyReading | None) -> Iterator[tuple[_Seen, StopLimit]]:
        stops = self._limits.stops
        total, boards, at = 0.0, set[str](), 0.0
        for one in readings:
            at = max(at, one.monotonic_seconds)
            if isinstance(one, GpuReading):
                for name, value in _read(one.temperatures_celsius):
                    if name in SENSORS:
                        stop = stops[SENSORS[name]]
                        stop = IN_PACKAGE if one.power_of == "socket" and stop == DEFAULTS[GPU] else stop
                        yield _Seen(limit=SENSORS[name], subject=one.bdf, sensor=name, value=value,
                                    at=one.monotonic_seconds), stop
                watts = one.power_watts
                if isinstance(watts, (int, float)):
                    total += watts
                    boards.add(one.bdf)
                    bound = self._board_limit(one)
                    if bound is not None:
                        yield _Seen(limit=GPU_WATTS, subject=one.bdf, sensor="board power", value=watts,
                                    at=one.monotonic_seconds), bound
            elif isinstance(one, HostReading):
                for name, value in _read(one.cpu_temperatures_celsius):
                    yield _Seen(limit=CPU, subject="processor", sensor=name, value=value,
                                at=one.monotonic_seconds), stops[CPU]
        if GPUS_WATTS in stops and boards:
            yield _Seen(limit=GPUS_WATTS, subject="all GPUs", sensor="board power of all", value=round(total, 1),
                        at=at, whole=self._whole(GPUS_WATTS, frozenset(boards), present(readings, None))), stops[
                GPUS_WATTS]
        if supply is not None:
            taken = dict(_read(supply.watts))
            if SUPPLY_WATTS in stops and taken:
                yield _Seen(limit=SUPPLY_WATTS, subject="supply", sensor="power from the mains", at=at,
                            value=round(sum(taken.values()), 1),
                            whole=self._whole(SUPPLY_WATTS, frozenset(taken))), stops[SUPPLY_WATTS]
            for name, value in _read(supply.twelve_volts):
                yield _Seen(limit=RAIL_VOLTS, subject="supply", sensor=name, value=value, at=at), stops[RAIL_VOLTS]

    def _board_limit(self, one: GpuReading) -> StopLimit | None:
        """The profile's; else by the limit that the driver keeps; else by the board power of the profile's cards. A GPU
        that shares its package with the processor has none of its own."""
        if GPU_WATTS in self._limits.stops:
            return self._limits.stops[GPU_WATTS]
        if one.power_of == "socket":
            return None
        kept = one.power_limit_watts
        if isinstance(kept, (int, float)) and kept > 0:
            return StopLimit(
                bound=round(kept * ABOVE_DRIVER_LIMIT, 1),
                source=f"{ABOVE_DRIVER_LIMIT:g} times the {kept:g} W that its driver keeps to (computed)")
        if self._limits.board_watts is not None:
            return StopLimit(
                bound=round(self._limits.board_watts * ABOVE_DRIVER_LIMIT, 1),
                source=f"{ABOVE_DRIVER_LIMIT:g} times the board power in gpus.toml (computed)")
        return None


def nearness(name: str, value: float, bound: float) -> float:
    """1 at the limit, more beyond it."""
    return bound / value if LIMITS[name].compare == "ge" else value / bound


def _read(values: Values) -> Iterator[tuple[str, float]]:
    for one in values if not isinstance(values, Unread) else ():
        if not isinstance(one.value, Unread):
            yield one.name, one.value
