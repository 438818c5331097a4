"""The power limit of a card: read, set, and read back. By the kernel's attribute (AMD), or NVML (NVIDIA).

Reads   /sys/bus/pci/devices/<bdf>/hwmon/hwmon*/power1_cap{,_min,_max,_default}     (any user; microwatts)
        nvmlDeviceGetPowerManagementLimit, ...LimitConstraints, ...DefaultLimit     (any user; milliwatts)
Writes  power1_cap, nvmlDeviceSetPowerManagementLimit                               (root)
Absent  GPUs in a processor, most mobile ones, cards without amdgpu's power management.
By hand nvidia-smi -i 0 -q -d POWER; sudo nvidia-smi -i 0 -pl 250

NVML is asked in a process of its own (`python -m boxcheck.riser.measuring.power_limits`), since a driver that hangs,
hangs the call. Nothing survives a restart of the machine: limits are the driver's then.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol

import msgspec

from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.ports import Ports, Refused
from boxcheck.telemetry.files import names_in
from boxcheck.telemetry.instruments import AMD, NVIDIA
from boxcheck.telemetry.links import DEVICES

ASK_SECONDS = 20.0
"""For NVML: without persistence mode the driver starts the GPU first."""
SAME_WATTS = 1.5
"""Drivers round to whole watts."""
ROOT = "run it with sudo"
NO_PERMISSION, NOT_SUPPORTED = 4, 3
"""nvmlReturn_t of nvml.h."""


class PowerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one card."""

    watts: float
    """In force now."""
    default_watts: float | None
    least_watts: float | None
    most_watts: float | None


class Limiter(Protocol):
    """One card's limit."""

    bdf: Bdf

    def read(self) -> PowerLimits | Unread: ...

    def set(self, watts: float) -> None:
        """Refused where the driver did not take it."""


class AmdgpuLimiter:
    """By hwmon's attributes."""

    def __init__(self, ports: Ports, bdf: Bdf, root: str = "/") -> None:
        self.bdf, self._ports = bdf, ports
        base = f"{DEVICES}/{bdf}/hwmon"
        names = names_in(root.rstrip("/"), base)
        self._base = next((f"{base}/{name}" for name in names if name.startswith("hwmon")), None) if isinstance(
            names, tuple) else None

    def read(self) -> PowerLimits | Unread:
        if self._base is None:
            return Unread(f"{self.bdf} shows no hwmon", "absent")
        now = self._watts("power1_cap")
        if isinstance(now, Unread):
            return now
        rest = {name: self._watts(f"power1_cap_{name}") for name in ("default", "min", "max")}
        known = {name: None if isinstance(value, Unread) else value for name, value in rest.items()}
        return PowerLimits(
            watts=now, default_watts=known["default"], least_watts=known["min"], most_watts=known["max"])

    def set(self, watts: float) -> None:
        if self._base is None:
            raise Refused("unsupported", f"{self.bdf} has no power limit that can be set")
        self._ports.set_attribute(f"{self._base}/power1_cap", str(round(watts * 1e6)))

    def _watts(self, name: str) -> float | Unread:
        text = self._ports.attribute(f"{self._base}/{name}")
        if isinstance(text, Unread):
            return text
        if not text.isdecimal():
            return Unread(f"{name} of {self.bdf} is {text[:20]!r}, no number", "malformed")
        return int(text[:15]) / 1e6


class NvmlLimiter:
    """By NVML, in a process of its own for each question."""

    def __init__(self, bdf: Bdf) -> None:
        self.bdf = bdf

    def read(self) -> PowerLimits | Unread:
        found = _ask(self.bdf)
        if isinstance(found, Unread):
            return found
        if "error" in found:
            return Unread(f"NVML does not tell the power limit of {self.bdf}: {found['error']}", "error")
        try:
            return msgspec.convert(found, PowerLimits)
        except msgspec.ValidationError:
            return Unread(f"what NVML tells of the power limit of {self.bdf} is no limit", "malformed")

    def set(self, watts: float) -> None:
        found = _ask(self.bdf, watts)
        if isinstance(found, Unread):
            raise Refused("error", f"whether the power limit of {self.bdf} was set is not known: {found.why}")
        if "error" in found:
            refused = found.get("code") == NO_PERMISSION
            raise Refused(
                "permission" if refused else "unsupported" if found.get("code") == NOT_SUPPORTED else "error",
                f"the power limit of {self.bdf} was not set: {found['error']}", ROOT if refused else "")


def limiter_of(bdf: Bdf, vendor: str, ports: Ports | None, root: str = "/") -> Limiter | Unread:
    """What can limit this card; Unread says why nothing can."""
    if vendor == NVIDIA:
        return NvmlLimiter(bdf)
    if vendor == AMD and ports is not None:
        return AmdgpuLimiter(ports, bdf, root)
    return Unread(f"how the power of {bdf} (vendor {vendor}) can be limited is not known", "unsupported")


def _ask(bdf: Bdf, watts: float | None = None) -> dict[str, Any] | Unread:
    """The answer of the process that asks NVML. Unread where none came."""
    import subprocess

    from boxcheck.host.programs import STARTED, start_session

    words = [sys.executable, "-P", "-m", "boxcheck.riser.measuring.power_limits", bdf]
    process = start_session(words if watts is None else [*words, f"{watts:.3f}"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        out, _ = process.communicate(timeout=ASK_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return Unread(f"NVML gave no answer within {ASK_SECONDS:g} s", "timeout")
    finally:
        STARTED.discard(process.pid)
    try:
        found = json.loads(out)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else Unread(
        f"the process that asks NVML ended with status {process.returncode}", "error")


def answer(nvml: Any, bdf: str, watts: float | None) -> dict[str, Any]:
    """What the process prints. `nvml` is pynvml, or what stands for it."""
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByPciBusId(bdf)
        if watts is not None:
            nvml.nvmlDeviceSetPowerManagementLimit(handle, round(watts * 1000))
        now = nvml.nvmlDeviceGetPowerManagementLimit(handle)
        least, most = nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
        default = nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle)
    except Exception as error:  # noqa: BLE001  the first use of a vendor's library
        return {"error": str(error).rstrip(".") or type(error).__name__, "code": getattr(error, "value", None)}
    return {"watts": now / 1000, "default_watts": default / 1000, "least_watts": least / 1000,
            "most_watts": most / 1000}


def main() -> None:
    bdf, watts = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else None
    try:
        import pynvml
    except ImportError:
        found: dict[str, Any] = {"error": "nvidia-ml-py is not installed (pip install nvidia-ml-py)"}
    else:
        found = answer(pynvml, bdf, watts)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
