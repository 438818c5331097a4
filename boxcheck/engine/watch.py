"""The instruments of a worker: read once a second while a module works, and the word that stops it before harm."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from boxcheck.gpu import GpuError, GpuInfo
from boxcheck.model import Bdf, Unread
from boxcheck.telemetry.instruments import AMD, NVIDIA, Instruments
from boxcheck.telemetry.readings import GpuReading, GpuSilent, Named, Reading

EVERY_SECONDS = 1.0
STOP_CELSIUS = {"core": 100.0, "edge": 100.0, "junction": 110.0, "mem": 110.0}
"""Above these a run is stopped. amdgpu calls 100 (edge) and 110 (junction) critical on Navi 31, and GDDR6X throttles at
110 (both from memory, not from a data sheet); NVIDIA's cores slow down below 100 by themselves."""
HOT_CELSIUS = 120.0
"""What `--inject hot` makes the first device report."""


def vendor_of(info: GpuInfo) -> str | None:
    """PCI vendor of a device by what its runtime tells; None for one that is not read."""
    if info.backend == "cuda" or info.arch.startswith("sm_"):
        return NVIDIA
    return AMD if info.backend == "hip" or info.arch.startswith("gfx") else None


class Watch:
    """Reads when it is time to. `look` gives the readings, None when it is too early, and raises GpuError of kind
    `too-hot` or `lost`."""

    def __init__(self, devices: Sequence[GpuInfo], *, hot: bool = False) -> None:
        known = [(info.bdf, vendor) for info in devices if info.bdf is not None and (vendor := vendor_of(info))]
        self._instruments = Instruments(known)
        self._hot = Bdf(devices[0].bdf or devices[0].key) if hot and devices else None
        self._next = 0.0

    def look(self, *, at_once: bool = False) -> tuple[Reading, ...] | None:
        """`at_once`: whether or not it is time, for the last look at the end of a module."""
        now = time.monotonic()
        if now < self._next and not at_once:
            return None
        self._next = now + EVERY_SECONDS
        readings = self._instruments.read()
        return readings if self._hot is None else _heated(readings, self._hot)

    def close(self) -> None:
        self._instruments.close()


def _heated(readings: tuple[Reading, ...], bdf: Bdf) -> tuple[Reading, ...]:
    real = next((one for one in readings if isinstance(one, GpuReading) and one.bdf == bdf), None)
    reading = real or GpuReading(bdf=bdf, monotonic_seconds=time.monotonic())
    hot = msgspec.structs.replace(reading, temperatures_celsius=(Named("core", HOT_CELSIUS),))
    return (hot, *(one for one in readings if one is not real))


def refuse_harm(readings: tuple[Reading, ...]) -> None:
    """GpuError of kind `too-hot` for a device above its stop limit, `lost` for one that is gone or that its driver has
    given up: what still comes from it is no work of a sound GPU."""
    for one in readings:
        if isinstance(one, GpuSilent) and one.state in ("lost", "reset-required"):
            what = "is gone" if one.state == "lost" else "was given up by its driver until it is reset"
            raise GpuError("lost", f"{one.bdf} {what}: {one.why.why}", "power off and on; then boxcheck doctor")
        if isinstance(one, GpuReading) and not isinstance(one.temperatures_celsius, Unread):
            for sensor in one.temperatures_celsius:
                limit = STOP_CELSIUS.get(sensor.name)
                if limit is not None and not isinstance(sensor.value, Unread) and sensor.value > limit:
                    raise GpuError(
                        "too-hot", f"{sensor.name} at {sensor.value:g} °C, above {limit:g}: stopped for safety",
                        "look at fans, dust, paste and the air between the cards before it is run again")
