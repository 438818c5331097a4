"""The instruments of a worker: read once a second while a module works, and the word that ends it with a lost GPU.

Heat and power are held against their limits by the engine (guarding.py), for all devices together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from boxcheck.engine.turns import HOST, Turns
from boxcheck.gpu import GpuError, GpuInfo
from boxcheck.model import Bdf
from boxcheck.telemetry.instruments import AMD, NVIDIA, Instruments
from boxcheck.telemetry.readings import GpuReading, GpuSilent, Named, Reading

EVERY_SECONDS = 1.0
HOT_CELSIUS = 120.0
"""What `--inject hot` makes the first device report."""


def vendor_of(info: GpuInfo) -> str | None:
    """PCI vendor of a device: by its card's id, else by what its runtime tells; None for one that is not read. OpenCL
    tells no architecture, so only the id tells whose card it is."""
    if info.pci_id is not None:
        vendor = info.pci_id.partition(":")[0].lower()
        return vendor if vendor in (NVIDIA, AMD) else None
    if info.backend == "cuda" or info.arch.startswith("sm_"):
        return NVIDIA
    return AMD if info.backend == "hip" or info.arch.startswith("gfx") else None


class Watch:
    """Reads when it is time to. `look` gives the readings, None when it is too early. What another worker reads is
    left out: the host, and ports above GPUs of both."""

    def __init__(
        self, devices: Sequence[GpuInfo], *, hot: bool = False, turns: Turns | None = None, module: str = ""
    ) -> None:
        """`module`: links are summed up for each, so those that work side by side do not read them for each other."""
        known = [(info.bdf, vendor) for info in devices if info.bdf is not None and (vendor := vendor_of(info))]
        self._instruments = Instruments(known)
        self._hot = Bdf(devices[0].bdf or devices[0].key) if hot and devices else None
        self._next = 0.0
        self._turns = turns or Turns(None)
        self._module = module

    def look(self, *, at_once: bool = False) -> tuple[Reading, ...] | None:
        """`at_once`: whether or not it is time, and all of it, for the last look at the end of a module."""
        now = time.monotonic()
        if now < self._next and not at_once:
            return None
        self._next = now + EVERY_SECONDS
        readings = self._instruments.read() if at_once else self._instruments.read(self._mine)
        return readings if self._hot is None else _heated(readings, self._hot)

    def _mine(self, name: str) -> bool:
        return self._turns.mine(name if name == HOST else f"{self._module} {name}")

    def close(self) -> None:
        self._turns.leave()
        self._instruments.close()


def _heated(readings: tuple[Reading, ...], bdf: Bdf) -> tuple[Reading, ...]:
    real = next((one for one in readings if isinstance(one, GpuReading) and one.bdf == bdf), None)
    reading = real or GpuReading(bdf=bdf, monotonic_seconds=time.monotonic())
    hot = msgspec.structs.replace(reading, temperatures_celsius=(Named("core", HOT_CELSIUS),))
    return (hot, *(one for one in readings if one is not real))


def refuse_lost(readings: tuple[Reading, ...]) -> None:
    """GpuError of kind `lost` for a device that is gone or that its driver has given up: what still comes from it is no
    work of a sound GPU."""
    for one in readings:
        if isinstance(one, GpuSilent) and one.state in ("lost", "reset-required"):
            what = "is gone" if one.state == "lost" else "was given up by its driver until it is reset"
            raise GpuError("lost", f"{one.bdf} {what}: {one.why.why}", "power off and on; then boxcheck doctor")
