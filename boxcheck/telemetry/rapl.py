"""Power of the processors by RAPL, from the growth of its energy counters.

Reads   /sys/class/powercap/intel-rapl:*/{name,energy_uj,max_energy_range_uj}
Since   AMD Zen Linux 5.8, in the same driver and directory; only root may read energy_uj since 5.10 (CVE-2020-8694)
Absent  virtual machines, and kernels without intel_rapl_msr
By hand sudo grep . /sys/class/powercap/intel-rapl:*/energy_uj, twice
"""

from __future__ import annotations

import re

from boxcheck.model import Unread
from boxcheck.telemetry.files import SysFile, names_in, text_of
from boxcheck.telemetry.readings import Named, Values

POWERCAP = "/sys/class/powercap"
MOST_WATTS = 2000.0
"""More than any socket draws. A counter of 65 kJ (the usual range) overflows in 32 s at this power."""
_ZONE = re.compile(r"intel-rapl:\d{1,3}(:\d{1,3})?")
"""Packages, and the parts of packages. `intel-rapl-mmio:` shows the same counters a second time."""
ONE_READING = Unread("power by RAPL needs two readings", "one-reading")


class Zone:
    """One energy counter."""

    def __init__(self, root: str, path: str, name: str) -> None:
        self.name = name
        self._energy = SysFile(root, f"{path}/energy_uj")
        file = SysFile(root, f"{path}/max_energy_range_uj")
        self._range = file.count()
        file.close()
        self._before: tuple[int, float] | None = None

    def watts(self, now: float) -> float | Unread | None:
        """Mean power since the reading before; None where the zone has no counter."""
        energy = self._energy.count()
        if energy is None or isinstance(energy, Unread):
            return energy
        before, self._before = self._before, (energy, now)
        if before is None or now <= before[1]:
            return ONE_READING
        return self._growth(energy - before[0], now - before[1])

    def _growth(self, microjoules: int, seconds: float) -> float | Unread:
        if not isinstance(self._range, int) or self._range <= 0:
            if microjoules < 0:
                return Unread(f"{self.name}: its counter ran back, and where it overflows is not known", "malformed")
            return microjoules / 1e6 / seconds
        if seconds * MOST_WATTS > self._range / 1e6:
            why = f"{self.name}: its counter may have overflowed unseen in {seconds:.0f} s since the reading before"
            return Unread(why, "one-reading")
        return (microjoules if microjoules >= 0 else microjoules + self._range) / 1e6 / seconds

    def close(self) -> None:
        self._energy.close()


class Rapl:
    """All packages, and what of them is counted apart and matters here: memory (`dram`)."""

    def __init__(self, root: str) -> None:
        self._zones: list[Zone] = []
        self._unlisted: Unread | None = None
        names = names_in(root, POWERCAP)
        if isinstance(names, Unread):
            self._unlisted = None if names.kind == "absent" else names
            return
        for name in names:
            if (match := _ZONE.fullmatch(name)) is None:
                continue
            label = text_of(root, f"{POWERCAP}/{name}/name")
            label = name if isinstance(label, Unread) else label
            if match[1] is None:
                self._zones.append(Zone(root, f"{POWERCAP}/{name}", label))
            elif label == "dram":
                above = text_of(root, f"{POWERCAP}/{name.removesuffix(match[1])}/name")
                whole = label if isinstance(above, Unread) else f"{above} {label}"
                self._zones.append(Zone(root, f"{POWERCAP}/{name}", whole))

    def read(self, now: float) -> Values:
        """Watts by zone; empty where the machine has no RAPL."""
        if self._unlisted is not None:
            return self._unlisted
        return tuple(Named(zone.name, watts) for zone in self._zones if (watts := zone.watts(now)) is not None)

    def close(self) -> None:
        for zone in self._zones:
            zone.close()
