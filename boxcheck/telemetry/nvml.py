"""NVIDIA GPUs through NVML: opened once for all, asked again at each reading.

Reads   NVML through nvidia-ml-py, in this process: run it in one that may hang and be given up        (any user)
Since   average and instant power drivers 530, event reasons 535.54 (throttle reasons before)
Absent  GeForce: memory temperature, ECC, most error counters. What the driver calls "Not Supported" is None here.
By hand nvidia-smi -q; nvidia-smi dmon

Only field ids below 251 are asked: later ones were numbered anew between releases of NVML 12, so an id would mean one
thing to the binding and another to the driver. Times of throttling come from nvmlDeviceGetViolationStatus instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from boxcheck.model import Bdf, Unread, UnreadKind
from boxcheck.telemetry.readings import (
    Count,
    Counts,
    GpuReading,
    GpuSilent,
    Named,
    Pcie,
    SilentState,
    celsius,
    first_read,
)
from boxcheck.telemetry.throttle import nvml_reasons

NOT_SUPPORTED, FUNCTION_NOT_FOUND, GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND, UNKNOWN = 3, 13, 15, 16, 28, 999
"""nvmlReturn_t of nvml.h."""
KINDS: Mapping[int, UnreadKind] = {2: "unsupported", 4: "permission", 10: "timeout", 13: "unsupported",
                                   25: "unsupported", 26: "unsupported"}
"""INVALID_ARGUMENT is how an older driver answers for a field that it does not know."""
DEAD: Mapping[int, SilentState] = {
    GPU_IS_LOST: "lost", GPU_NOT_FOUND: "lost", RESET_REQUIRED: "reset-required",
}
ALL_ONES = frozenset({0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF})
SPEEDS_GTS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0}

POWER_AVERAGE, POWER_INSTANT, MEMORY_TEMP, REPLAYS, SENT, RECEIVED = 185, 186, 82, 94, 197, 198
"""NVML_FI_DEV_* of nvml.h."""
MEMORY_ERRORS = {
    3: "corrected", 4: "uncorrected", 142: "remapped corrected", 143: "remapped uncorrected", 144: "remap pending",
    145: "remap failed",
}
"""ECC counts since the driver was loaded, and rows of memory that spare ones stand in for."""
LINK_ERRORS = {
    95: "replay rollovers", 169: "recoveries", 173: "correctable", 174: "naks received", 175: "receiver errors",
    176: "bad TLPs", 177: "naks sent", 178: "bad DLLPs", 179: "non-fatal", 180: "fatal", 182: "LCRC errors",
    183: "lane errors",
}
FIELDS = (POWER_AVERAGE, POWER_INSTANT, MEMORY_TEMP, REPLAYS, SENT, RECEIVED, *MEMORY_ERRORS, *LINK_ERRORS)
VALUE_TYPES: Mapping[int, tuple[str, int | None]] = {
    0: ("dVal", None), 1: ("uiVal", 0xFFFF_FFFF), 2: ("ulVal", 0xFFFF_FFFF_FFFF_FFFF),
    3: ("ullVal", 0xFFFF_FFFF_FFFF_FFFF), 4: ("sllVal", -1), 5: ("siVal", -1), 6: ("usVal", 0xFFFF),
}
"""nvmlValueType_t -> member of nvmlValue_t, and what stands for no value in it."""
VIOLATIONS = {0: "power", 1: "thermal", 3: "board limit", 5: "reliability"}
"""nvmlPerfPolicyType_t -> our name. Nanoseconds since the driver was loaded."""
CLOCKS = {0: "gfx", 1: "sm", 2: "mem"}
"""nvmlClockType_t."""


class NvmlReader:
    """All NVIDIA GPUs. NVML is loaded at the first reading."""

    def __init__(self) -> None:
        self._nvml: Any | None = None
        self._closed: Unread | None = None
        """Why NVML cannot be asked."""
        self._gpus: dict[Bdf, _Gpu | tuple[SilentState, Unread]] = {}

    def read(self, bdf: Bdf, monotonic_seconds: float) -> GpuReading | GpuSilent:
        """One GPU. Its handle is opened when it is first asked for, which starts a GPU that sleeps. One that
        could not be opened is not tried again."""
        if self._nvml is None and self._closed is None:
            self._open()
        if self._closed is not None:
            return GpuSilent(bdf=bdf, monotonic_seconds=monotonic_seconds, state="unread", why=self._closed)
        gpu = self._gpus.get(bdf)
        if gpu is None:
            gpu = self._gpus[bdf] = self._find(bdf)
        if isinstance(gpu, tuple):
            return GpuSilent(bdf=bdf, monotonic_seconds=monotonic_seconds, state=gpu[0], why=gpu[1])
        return gpu.read(monotonic_seconds)

    def _open(self) -> None:
        try:
            import pynvml
        except ImportError:
            self._closed = Unread("nvidia-ml-py is not installed (pip install nvidia-ml-py)", "unsupported")
            return
        try:
            pynvml.nvmlInit()
        except Exception as error:  # noqa: BLE001  the first use of a vendor's library
            self._closed = Unread(f"NVML did not start: {_words(error)}", "error")
            return
        self._nvml = pynvml

    def _find(self, bdf: Bdf) -> _Gpu | tuple[SilentState, Unread]:
        nvml = self._nvml
        assert nvml is not None
        try:
            return _Gpu(nvml, bdf, nvml.nvmlDeviceGetHandleByPciBusId(bdf))
        except nvml.NVMLError as error:
            return DEAD.get(error.value, "unread"), Unread(f"NVML does not open {bdf}: {_words(error)}", "error")

    def close(self) -> None:
        """Lets go of NVML. A reading after it says that it was closed."""
        if self._nvml is not None:
            with suppress(Exception):  # nothing can be done about it, and nothing is lost by it
                self._nvml.nvmlShutdown()
        self._nvml, self._gpus = None, {}
        self._closed = Unread("NVML was closed", "error")


class _Gpu:
    """One GPU's handle."""

    def __init__(self, nvml: Any, bdf: Bdf, handle: Any) -> None:
        self._nvml, self._bdf, self._handle = nvml, bdf, handle
        self._answered = 0
        self._errors: dict[int, str] = {}
        """Errors of the reading under way: code -> words."""

    def read(self, now: float) -> GpuReading | GpuSilent:
        self._answered, self._errors = 0, {}
        fields = self._fields()
        # A GPU that NVML has given up refuses every question, and may take its time for each.
        reading = None if self._dead is not None else self._compose(now, fields)
        if (code := self._dead) is not None:
            return self._silent(now, DEAD[code], f"NVML says of {self._bdf}: {self._errors[code]}")
        if reading is not None and (self._answered or not self._errors):
            return reading
        # nvml.h: Unknown is an internal driver error; a GPU about to fall off the bus answers nothing else.
        words = self._errors.get(UNKNOWN) or next(iter(self._errors.values()))
        return self._silent(now, "lost" if UNKNOWN in self._errors else "unread",
                            f"NVML answers no question about {self._bdf}: {words}")

    @property
    def _dead(self) -> int | None:
        """The first error of this reading that is about the whole GPU."""
        return next((code for code in DEAD if code in self._errors), None)

    def _silent(self, now: float, state: SilentState, why: str) -> GpuSilent:
        return GpuSilent(bdf=self._bdf, monotonic_seconds=now, state=state, why=Unread(why, "error"))

    def _compose(self, now: float, fields: Mapping[int, int | float | None | Unread]) -> GpuReading:
        ask, scaled = self._ask, _scaled
        reasons = ask(("CurrentClocksEventReasons", "CurrentClocksThrottleReasons"))
        memory, busy = ask(("MemoryInfo",)), ask(("UtilizationRates",))
        temperatures = {"core": ask(("Temperature", "TemperatureV"), 0), "mem": fields[MEMORY_TEMP]}
        return GpuReading(
            bdf=self._bdf, monotonic_seconds=now, power_of="card",
            power_watts=first_read(scaled(fields[POWER_AVERAGE], 1e3), lambda: scaled(ask(("PowerUsage",)), 1e3)),
            power_instant_watts=scaled(fields[POWER_INSTANT], 1e3),
            power_limit_watts=scaled(ask(("EnforcedPowerLimit",)), 1e3),
            energy_joules=scaled(ask(("TotalEnergyConsumption",)), 1e3),
            temperatures_celsius=tuple(
                Named(name, value if isinstance(value, Unread) else celsius(float(value)))
                for name, value in temperatures.items() if value is not None),
            clocks_mhz=tuple(Named(name, value) for kind, name in CLOCKS.items()
                             if (value := ask(("ClockInfo",), kind)) is not None),
            throttle=nvml_reasons(reasons) if isinstance(reasons, int) else reasons, throttle_bits=reasons,
            throttle_counters=self._violations(),
            busy_percent=_part(busy, "gpu"), memory_busy_percent=_part(busy, "memory"),
            memory_used_bytes=_part(memory, "used"), memory_total_bytes=_part(memory, "total"),
            fan_percent=ask(("FanSpeed",)), fan_rpm=self._fan_rpm(),
            performance_state=_state(ask(("PerformanceState",))), pcie=self._pcie(fields),
            memory_errors=_counts(MEMORY_ERRORS, fields),
        )

    def _pcie(self, fields: Mapping[int, Any]) -> Pcie:
        generation = self._ask(("CurrPcieLinkGeneration",))
        speed = generation if generation is None or isinstance(generation, Unread) else SPEEDS_GTS.get(
            generation, Unread(f"{generation} is no generation of PCI Express", "malformed"))
        return Pcie(
            speed_gts=speed, width=self._ask(("CurrPcieLinkWidth",)),
            replays=first_read(fields[REPLAYS], lambda: self._ask(("PcieReplayCounter",))),
            sent_bytes=fields[SENT], received_bytes=fields[RECEIVED], errors=_counts(LINK_ERRORS, fields))

    def _fan_rpm(self) -> int | Unread | None:
        """None also where driver or binding are too old for it (before driver 565): the percentage is there then."""
        value: int | Unread | None = self._ask(("FanSpeedRPM",))
        return None if isinstance(value, Unread) and value.kind == "unsupported" else value

    def _violations(self) -> Counts:
        rows = ((name, self._ask(("ViolationStatus",), policy)) for policy, name in VIOLATIONS.items())
        return tuple(Count(name, value if isinstance(value, Unread) else value.violationTime)
                     for name, value in rows if value is not None)

    def _fields(self) -> dict[int, int | float | None | Unread]:
        """Field id -> value, all in one call."""
        answer = self._ask(("FieldValues",), list(FIELDS))
        if answer is None or isinstance(answer, Unread):
            return dict.fromkeys(FIELDS, answer)
        self._answered = 0  # the call succeeds whatever becomes of its fields
        found: dict[int, int | float | None | Unread] = {}
        for wanted, field in zip(FIELDS, answer, strict=True):
            if field.nvmlReturn:
                words = f"field {wanted}: {_words(self._nvml.NVMLError(field.nvmlReturn))}"
                found[wanted] = self._refused(field.nvmlReturn, words)
                continue
            self._answered += 1
            member, ones = VALUE_TYPES.get(field.valueType, ("", None))
            value = getattr(field.value, member) if member else Unread(f"field {wanted} has no known type", "malformed")
            found[wanted] = None if value == ones else value
        return found

    def _ask(self, names: tuple[str, ...], *arguments: Any) -> Any:
        """The answer of nvmlDeviceGet<name>: of the first name that driver and binding have. None where this GPU has no
        such thing, Unread where the answer is an error."""
        unread = Unread(f"nvidia-ml-py has no nvmlDeviceGet{names[0]}", "unsupported")
        for name in names:
            call: Callable[..., Any] | None = getattr(self._nvml, f"nvmlDeviceGet{name}", None)
            if call is None:
                continue
            try:
                value = call(self._handle, *arguments)
            except self._nvml.NVMLError as error:
                if error.value == FUNCTION_NOT_FOUND:
                    unread = Unread(f"this driver's NVML has no nvmlDeviceGet{name}", "unsupported")
                    continue
                return self._refused(error.value, f"nvmlDeviceGet{name}: {_words(error)}")
            self._answered += 1
            return None if isinstance(value, int) and value in ALL_ONES else value
        return unread

    def _refused(self, code: int, words: str) -> Unread | None:
        if code == NOT_SUPPORTED:
            return None
        self._errors.setdefault(code, words)
        return Unread(words, KINDS.get(code, "error"))


def _words(error: Exception) -> str:
    """What the library says, as a clause."""
    return str(error).rstrip(".") or type(error).__name__


def _scaled(value: Any, parts: float) -> float | Unread | None:
    return value if value is None or isinstance(value, Unread) else value / parts


def _part(answer: Any, name: str) -> Any:
    """A member of a structure that NVML gave."""
    if answer is None or isinstance(answer, Unread):
        return answer
    value = getattr(answer, name)
    return None if value in ALL_ONES else value


def _state(value: int | Unread | None) -> int | Unread | None:
    """NVML_PSTATE_UNKNOWN is 32."""
    return Unread("NVML does not know the performance state", "unsupported") if value == 32 else value


def _counts(names: Mapping[int, str], fields: Mapping[int, Any]) -> tuple[Count, ...]:
    return tuple(Count(name, value if isinstance(value, Unread) else int(value))
                 for field, name in names.items() if (value := fields[field]) is not None)
