"""One AMD GPU under the amdgpu driver: gpu_metrics first, hwmon for what that does not tell.

Reads   /sys/bus/pci/devices/<bdf>/{gpu_metrics,gpu_busy_percent,mem_busy_percent,mem_info_*_used,pcie_replay_count,
        ras/umc_err_count,power/runtime_status} and hwmon/hwmon*/{temp*,freq*,in*,fan1,power1}_*        (any user)
Since   gpu_metrics Linux 5.9, power1_input 6.4
Absent  junction and mem temperatures, fan and power cap on GPUs in a processor; RAS counters on consumer cards
By hand amd-smi metric; grep . /sys/class/drm/card0/device/hwmon/hwmon*/*_input

Each hwmon file costs a question to the card's firmware, gpu_metrics one for all, so a hwmon file whose value the table
had is not read. Never read: pcie_bw, which blocks for a second (amdgpu_pm.c). A sleeping card is not asked at all:
kernels before 6.13 wake it to answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from boxcheck.model import Bdf, Unread
from boxcheck.telemetry import gpu_metrics
from boxcheck.telemetry.files import SysFile, names_in, text_of
from boxcheck.telemetry.gpu_metrics import GpuMetrics
from boxcheck.telemetry.links import DEVICES
from boxcheck.telemetry.readings import (
    Count,
    Counts,
    GpuReading,
    GpuSilent,
    Named,
    Pcie,
    SilentState,
    Values,
    celsius,
    first_read,
)
from boxcheck.telemetry.throttle import AMDGPU_COUNTERS, Throttle, amdgpu_reasons

ASLEEP = Unread("the card sleeps, and reading it would wake it", "unsupported")
CLOCKS = {"sclk": "gfx", "mclk": "mem"}
"""hwmon's names of clocks -> ours; temperatures keep theirs."""
VOLTAGES = {"vddgfx": "gfx", "vddnb": "soc"}
NO_VOLTAGE = Unread("the driver gives 0 V, which is no supply voltage", "unsupported")


class AmdgpuReader:
    """One card's files, opened once."""

    def __init__(self, root: str, bdf: Bdf) -> None:
        base = f"{DEVICES}/{bdf}"
        self.bdf = bdf
        self._status = SysFile(root, f"{base}/power/runtime_status")
        self._attributes = {
            name: SysFile(root, f"{base}/{name}")
            for name in ("gpu_metrics", "gpu_busy_percent", "mem_busy_percent", "mem_info_vram_used",
                         "mem_info_vram_total", "mem_info_gtt_used", "pcie_replay_count", "ras/umc_err_count")
        }
        self._unlisted: Unread | None = None
        self._sensors: dict[str, SysFile] = {}
        """`power1_average`, `fan1`, and by kind and label: `temp edge`, `freq sclk`, `in vddgfx`."""
        self._find_sensors(root, base)
        self._counters: tuple[Count, ...] | None = None

    def _find_sensors(self, root: str, base: str) -> None:
        found = names_in(root, f"{base}/hwmon")
        if isinstance(found, Unread):
            self._unlisted = None if found.kind == "absent" else found
            return
        for chip in found:
            here = f"{base}/hwmon/{chip}"
            names = names_in(root, here)
            if isinstance(names, Unread):
                self._unlisted = names
                continue
            for name in names:
                if (match := re.fullmatch(r"(temp|freq|in)(\d{1,3})_input", name)) is not None:
                    label = text_of(root, f"{here}/{match[1]}{match[2]}_label")
                    key = f"{match[1]} {label if isinstance(label, str) else match[2]}"
                    self._sensors.setdefault(key, SysFile(root, f"{here}/{name}"))
                elif name in ("power1_average", "power1_input", "power1_cap", "fan1_input", "energy1_input"):
                    self._sensors.setdefault(name, SysFile(root, f"{here}/{name}"))

    def read(self, monotonic_seconds: float) -> GpuReading | GpuSilent:
        """What the card tells now; silent when it sleeps, was removed, or answers nothing."""
        if self._status.asleep():
            return self._silent(monotonic_seconds, "asleep", ASLEEP)
        table = self._table()
        told = table if isinstance(table, GpuMetrics) else None
        reading = self._compose(monotonic_seconds, table, told)
        if told is not None or self._heard(reading):
            return reading
        opened = [file for file in self._files if file.opened]
        if opened and all(file.gone for file in opened):
            return self._silent(monotonic_seconds, "lost", Unread(f"{self.bdf} was removed from the machine", "error"))
        if self._status.asleep():  # fallen asleep since
            return self._silent(monotonic_seconds, "asleep", ASLEEP)
        return self._silent(monotonic_seconds, "unread", next(
            iter(reading.unread), Unread(f"{self.bdf} shows neither gpu_metrics nor sensors", "absent")))

    def _silent(self, now: float, state: SilentState, why: Unread) -> GpuSilent:
        return GpuSilent(bdf=self.bdf, monotonic_seconds=now, state=state, why=why)

    @property
    def _files(self) -> tuple[SysFile, ...]:
        return (self._status, *self._attributes.values(), *self._sensors.values())

    def _heard(self, reading: GpuReading) -> bool:
        """Whether any sensor answered."""
        lists = (reading.temperatures_celsius, reading.clocks_mhz)
        return isinstance(reading.power_watts, float) or any(
            isinstance(one.value, float) for values in lists if not isinstance(values, Unread) for one in values)

    def _table(self) -> GpuMetrics | None | Unread:
        file = self._attributes["gpu_metrics"]
        data = file.read()
        if isinstance(data, Unread):
            return None if file.absent or data.kind == "unsupported" else data
        return gpu_metrics.decode(data)

    def _compose(self, now: float, table: GpuMetrics | None | Unread, told: GpuMetrics | None) -> GpuReading:
        missing = table if isinstance(table, Unread) else None  # for what only the table could have told
        throttle, bits = self._throttle(table)
        instant = self._scaled("power1_input", 1e6)
        memory = {name: file.count() for name, file in self._attributes.items() if name.startswith("mem_info")}
        return GpuReading(
            bdf=self.bdf, monotonic_seconds=now,
            power_watts=first_read(
                told.power_watts if told else missing, lambda: self._scaled("power1_average", 1e6), lambda: instant),
            power_instant_watts=instant, power_of=None if told is None else "socket" if told.of_socket else "card",
            power_parts_watts=told.power_parts_watts if told else (() if missing is None else missing),
            power_limit_watts=self._scaled("power1_cap", 1e6), energy_joules=self._scaled("energy1_input", 1e6),
            temperatures_celsius=self._values("temp", told.temperatures_celsius if told else missing, {}),
            clocks_mhz=self._values("freq", told.clocks_mhz if told else missing, CLOCKS),
            throttle=throttle, throttle_bits=bits,
            throttle_counters=told.throttle_counters if told else (() if missing is None else missing),
            busy_percent=first_read(
                told.busy_percent if told else missing, lambda: self._percent("gpu_busy_percent")),
            memory_busy_percent=first_read(
                told.memory_busy_percent if told else missing, lambda: self._percent("mem_busy_percent")),
            memory_used_bytes=memory["mem_info_vram_used"], memory_total_bytes=memory["mem_info_vram_total"],
            host_memory_used_bytes=memory["mem_info_gtt_used"],
            fan_rpm=first_read(told.fan_rpm if told else missing, self._fan),
            voltages_volts=self._values("in", told.voltages_volts if told else missing, VOLTAGES),
            pcie=Pcie(speed_gts=told.pcie_speed_gts if told else missing, width=told.pcie_width if told else missing,
                      replays=self._attributes["pcie_replay_count"].count()),
            memory_errors=self._memory_errors(),
            unread=tuple(one for one in (table, self._unlisted) if isinstance(one, Unread)),
        )

    def _throttle(
        self, table: GpuMetrics | None | Unread
    ) -> tuple[tuple[Throttle, ...] | Unread | None, int | Unread | None]:
        """Reasons and bits. Counters of the reading before are replaced by those of this one."""
        if not isinstance(table, GpuMetrics):
            return table, table
        if table.throttle_counters:
            before, self._counters = self._counters, table.throttle_counters
            grown = gpu_metrics.counters_grown(before, table.throttle_counters)
            return grown if isinstance(grown, Unread) else tuple(AMDGPU_COUNTERS[name] for name in grown), None
        if table.indep_throttle_status is not None:
            return amdgpu_reasons(table.indep_throttle_status), table.indep_throttle_status
        if not table.throttle_status:
            return (None if table.throttle_status is None else ()), table.throttle_status
        why = (f"throttle_status 0x{table.throttle_status:x} of gpu_metrics {table.revision} means something else on "
               "every chip")
        return Unread(why, "unsupported"), table.throttle_status

    def _scaled(self, sensor: str, parts: float) -> float | Unread | None:
        """A sensor of hwmon in its whole unit; None where there is none."""
        file = self._sensors.get(sensor)
        value = None if file is None else file.count()
        return value / parts if isinstance(value, int) else value

    def _fan(self) -> int | Unread | None:
        file = self._sensors.get("fan1_input")
        return None if file is None else file.count()

    def _percent(self, name: str) -> float | Unread | None:
        value = self._attributes[name].count()
        if isinstance(value, int):
            return float(value) if value <= 100 else Unread(f"{name}: {value} % is no utilisation", "malformed")
        return value

    def _values(self, kind: str, told: tuple[Named, ...] | Unread | None, names: Mapping[str, str]) -> Values:
        """What the table told, then the sensors of that kind that it did not tell."""
        table = told if isinstance(told, tuple) else ()
        rows = {one.name: one for one in table if not isinstance(one.value, Unread)}
        for key, file in self._sensors.items():
            if not key.startswith(f"{kind} "):
                continue
            label = key.removeprefix(f"{kind} ")
            name = names.get(label, label)
            if name not in rows and (value := file.number()) is not None:
                rows[name] = Named(name, value if isinstance(value, Unread) else _in_unit(kind, value))
        for one in table:
            rows.setdefault(one.name, one)
        why = told if isinstance(told, Unread) else self._unlisted
        return why if why is not None and not rows else tuple(rows.values())

    def _memory_errors(self) -> Counts:
        """`ue: 0` and `ce: 0` of the memory controllers, where RAS is on."""
        file = self._attributes["ras/umc_err_count"]
        data = file.read()
        if isinstance(data, Unread):
            return () if file.absent or data.kind == "unsupported" else data
        found = dict(re.findall(r"(?m)^(ue|ce): (\d{1,20})$", data.decode("ascii", "replace")))
        if not {"ue", "ce"} <= found.keys():
            return Unread(f"{file.path}: {data[:40]!r} has no counters", "malformed")
        return (Count("corrected", int(found["ce"])), Count("uncorrected", int(found["ue"])))

    def close(self) -> None:
        for file in self._files:
            file.close()


def _in_unit(kind: str, value: int) -> float | Unread:
    """hwmon counts in thousandths of degrees and volts, and in hertz (Documentation/hwmon/sysfs-interface.rst)."""
    if kind == "temp":
        return celsius(value / 1000)
    if kind == "freq":
        return value / 1e6
    return value / 1000 or NO_VOLTAGE
