"""GPUs and their sensors for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from boxcheck.model import Bdf, Unread
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.nvml import Nvml, NvmlGpu
from boxcheck.probes.pci import PciFunction
from boxcheck.probes.sensors import Chip, Fan, PowerCap, Sensors, Temperature
from boxcheck.profile import GpuPart, GpusWanted, Profile
from tests.checks.judging import want

PART = GpuPart(key="rx7900xtx", name="RX 7900 XTX", pci_ids=("1002:744c",), board_power_watts=355.0)


def gpu(index: int = 0, **changes: Any) -> Gpu:
    bdf = Bdf(f"0000:{index * 0x20 + 3:02x}:00.0")
    function = PciFunction(
        bdf=bdf, path=f"/sys/devices/{bdf}", parent=None, vendor=0x1002, device=0x744C, revision=0xC8,
        subsystem_vendor=None, subsystem_device=None, class_code=0x030000, driver="amdgpu", numa_node=0,
        iommu_group=None, regions=(), link=None, config=Unread("not asked", "not-captured"))
    made = Gpu(
        index=index, bdf=bdf, vendor="1002", pci_id="1002:744c", revision=0xC8, name="RX 7900 XTX", part=PART,
        slot=f"PCIE{index + 1}", slot_link=None, integrated=False, driver="amdgpu", gone=False, function=function)
    return msgspec.structs.replace(made, **changes)


def nvidia(index: int = 0) -> Gpu:
    part = GpuPart(key="rtx4090", name="RTX 4090", pci_ids=("10de:2684",), board_power_watts=450.0)
    return gpu(index, vendor="10de", pci_id="10de:2684", name="RTX 4090", part=part, driver="nvidia")


def temperature(label: str, celsius: Any, **changes: Any) -> Temperature:
    made = Temperature(label=label, celsius=celsius, max_celsius=None, critical_celsius=None, alarm=None,
                       path=f"/sys/class/hwmon/hwmon1/{label}")
    return msgspec.structs.replace(made, **changes)


def watts(cap: Any = 327.0, default: Any = 327.0) -> PowerCap:
    return PowerCap(cap_watts=cap, default_watts=default, max_watts=376.0, drawn_watts=20.0)


def chip(of: Gpu, edge: Any = 36.0, junction: Any = 41.0, memory: Any = 46.0, *, rpm: Any = 0, busy: Any = 0,
         power: PowerCap | None = None, **changes: Any) -> Chip:
    made = Chip(
        hwmon=f"hwmon{of.index}", name="amdgpu", bdf=of.bdf, device=of.bdf,
        temperatures=(temperature("edge", edge), temperature("junction", junction), temperature("mem", memory)),
        fans=(Fan("fan1", rpm, "/sys/class/hwmon/hwmon1/fan1_input"),), power=power or watts(), busy_percent=busy)
    return msgspec.structs.replace(made, **changes)


def sensors(*chips: Chip, cooling: Any = ()) -> Sensors:
    return Sensors(chips, cooling)


def card(of: Gpu, **changes: Any) -> NvmlGpu:
    """What NVML says of a healthy card at rest."""
    made = NvmlGpu(index=of.index, bdf=of.bdf, temperature_celsius=34.0, power_limit_watts=450.0,
                   power_default_watts=450.0, event_reasons=1)
    return msgspec.structs.replace(made, **changes)


def nvml(*cards: NvmlGpu, unread: Unread | None = None) -> Nvml:
    return Nvml(gpus=unread if unread is not None else cards)


NO_NVML = nvml(unread=Unread("NVML was not asked: the nvidia module is not loaded", "absent"))


def nvidia_box(goal: str = "cuda-p2p", limits: Mapping[str, Any] | None = None) -> Profile:
    """A profile that asks for NVIDIA's GPUs."""
    part = GpuPart(key="rtx4090", name="RTX 4090", pci_ids=("10de:2684",))
    return msgspec.structs.replace(want(limits), gpus=GpusWanted(parts=(part,)), goal=goal)


def gpus(*found: Gpu, unreadable: Unread | None = None) -> Gpus:
    return Gpus(found, unreadable)
