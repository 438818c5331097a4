"""What a kernel log tells of the machine: PCI devices as found at boot, the buses behind bridges, and its facts.

    pci 0000:40:01.1: [1022:1483] type 01 class 0x060400 PCIe Root Port
    pci 0000:40:01.1: PCI bridge to [bus 41]
    pci 0000:41:00.0: [10de:2684] type 00 class 0x030000 PCIe Legacy Endpoint

With these a dmesg alone says which card hangs below the port that reports errors. The words after the class came with
Linux 6.9. Source: drivers/pci/probe.c (pci_setup_device, pci_read_bridge_windows).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from boxcheck.decode.klog import KernelLog
from boxcheck.decode.klog.words import normal_bdf
from boxcheck.model import Bdf
from boxcheck.triage.evidence import Device, Evidence

MOST_DEVICES = 20_000
_ADDRESS = rb"pci(?:_bus)? ([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]): "
_DEVICE_WORD, _BRIDGE_WORD = b"] type 0", b"PCI bridge to [bus "
_DEVICE = re.compile(_ADDRESS + rb"\[([0-9a-f]{4}):([0-9a-f]{4})\] type 0[0-9a-f] class 0x([0-9a-f]{6})([^\n]{0,60})")
_BRIDGE = re.compile(_ADDRESS + rb"PCI bridge to \[bus ([0-9a-f]{2})(?:-([0-9a-f]{2}))?\]")
_PORT_TYPES = (
    (b"Root Port", "root-port"), (b"Upstream Port", "upstream-port"), (b"Downstream Port", "downstream-port"),
    (b"Legacy Endpoint", "legacy-endpoint"), (b"Endpoint", "endpoint"),
)


class LogDevices:
    """Collects devices from a log that comes in pieces of whole lines. A later boot replaces what an earlier one said.
    """

    def __init__(self) -> None:
        self._found: dict[Bdf, Device] = {}
        self.moved = False
        """Two boots of the log have different devices at one address."""

    def see(self, data: bytes) -> None:
        """Take in some whole lines."""
        if _DEVICE_WORD in data:
            for found in _DEVICE.finditer(data):
                bdf = normal_bdf(found[1].decode())
                if bdf is not None and (bdf in self._found or len(self._found) < MOST_DEVICES):
                    before = self._found.get(bdf)
                    self.moved = self.moved or (
                        before is not None and before.device not in (None, int(found[3], 16)))
                    self._found[bdf] = Device(
                        line=1, bdf=bdf, vendor=int(found[2], 16), device=int(found[3], 16),
                        class_code=int(found[4], 16),
                        port_type=next((name for word, name in _PORT_TYPES if word in found[5]), None))
        if _BRIDGE_WORD in data:
            for found in _BRIDGE.finditer(data):
                bdf = normal_bdf(found[1].decode())
                if bdf is None or (bdf not in self._found and len(self._found) >= MOST_DEVICES):
                    continue
                first = int(found[2], 16)
                known = self._found.get(bdf) or Device(line=1, bdf=bdf, class_code=0x060400)
                self._found[bdf] = msgspec.structs.replace(
                    known, secondary_bus=first, subordinate_bus=int(found[3], 16) if found[3] else first)

    def evidence(self, log: KernelLog) -> Evidence | None:
        """All that the log says of the machine, None when it says nothing."""
        devices = (*self._found.values(), *_of_drivers(log))
        box = dict(_box(log))
        return Evidence(tool="kernel log", devices=devices, box=box) if devices or box else None


def _of_drivers(log: KernelLog) -> Iterator[Device]:
    for bdf, uuid in log.facts.nvidia_uuids:
        yield Device(line=1, bdf=bdf, uuid=uuid)
    for memory in log.facts.amdgpu_memory:
        if memory.bdf is not None and memory.vram_mib is not None:
            yield Device(line=1, bdf=memory.bdf, vram_bytes=memory.vram_mib << 20)


def _box(log: KernelLog) -> Iterator[tuple[str, str]]:
    facts = log.facts
    if facts.firmware is not None:
        if facts.firmware.machine:
            yield "product", facts.firmware.machine
        if facts.firmware.bios_version:
            yield "bios", f"BIOS {facts.firmware.bios_version}"
    if facts.kernel_release:
        yield "kernel", facts.kernel_release
    if facts.nvidia_module is not None:
        kind = "open" if facts.nvidia_module.open_kernel_module else "proprietary"
        yield "driver", f"nvidia {facts.nvidia_module.version} {kind}"
