"""What stopped a run before harm, and what was watched for that: values of a run's results."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class SafetyStop(msgspec.Struct, frozen=True, kw_only=True):
    """The reading that stopped a run."""

    limit: str
    """Name of the limit: `safety.gpu_celsius`."""
    subject: str
    """Address or key of a GPU; `processor`, `supply`, or `all GPUs`."""
    sensor: str
    """`core`, `junction`, `Tctl`, `board power` ..."""
    value: float
    bound: float
    unit: str
    source: str
    """Where the limit comes from."""
    readings: tuple[float, ...]
    """Those in a row that were beyond it; the last is `value`."""
    monotonic_seconds: float
    """CLOCK_MONOTONIC of the last of them."""
    wall: float
    """Seconds since the epoch."""

    @property
    def says(self) -> str:
        """`core at 104 °C, above 100 °C`."""
        way = "below" if self.value < self.bound else "above"
        times = f" in {len(self.readings)} readings" if len(self.readings) > 1 else ""
        return f"{self.sensor} at {self.value:g} {self.unit}, {way} {self.bound:g} {self.unit}{times}"


class Blind(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor that was read and then told nothing for a while, though it was asked."""

    limit: str
    subject: str
    sensor: str
    silent_seconds: float


class BlindStop(msgspec.Struct, frozen=True, kw_only=True):
    """A run was stopped since no temperature of a GPU came any more."""

    subject: str
    """Address or key of the GPU."""
    silent_seconds: float
    """Until load was ended."""
    asked: bool = True
    """Whether the process that asks for it was there: else the silence says nothing of the GPU."""
    why: str = ""
    """What became of that process, where it was not."""
    monotonic_seconds: float
    """CLOCK_MONOTONIC when that was decided."""

    @property
    def says(self) -> str:
        why = f": {self.why}" if self.why else ""
        return f"no temperature came for {self.silent_seconds:.0f} s under load, after it had told one before{why}"


class Near(msgspec.Struct, frozen=True, kw_only=True):
    """The reading that came nearest to a limit."""

    subject: str
    sensor: str
    value: float
    bound: float
    source: str


class Safety(msgspec.Struct, frozen=True, kw_only=True):
    """What was watched while a module ran."""

    stop: SafetyStop | None = None
    ended_after_seconds: float | None = None
    """From that reading until no worker worked any more."""
    nearest: Mapping[str, Near] = {}
    """By name of the limit, of what was read."""
    watched: tuple[str, ...] = ()
    """Addresses of GPUs of which a temperature was read that has a limit."""
    blind: tuple[Blind, ...] = ()
    """Sensors that fell silent, each with its longest silence."""
    blind_stop: BlindStop | None = None
    silent: str = ""
    """Why the process that looks beside the workers told nothing, or nothing any more; empty where it did."""
