"""A capture of a machine as evidence: what its kernel logs say, and its PCI devices.

`boxcheck doctor --sysroot` judges all of it; here it joins what else was given about the same machine.
"""

from __future__ import annotations

from datetime import datetime

from boxcheck.decode.klog import LogParser
from boxcheck.decode.text import clean_text
from boxcheck.engine.inspect import read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.model import Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciFunction, PciInventory
from boxcheck.probes.pcie_aer import Aer
from boxcheck.triage.evidence import Device, DeviceBar, DeviceLink, Evidence
from boxcheck.triage.judged import findings_of
from boxcheck.triage.logdevices import LogDevices
from boxcheck.triage.reading import SourceReading, log_text

MOST_FINDINGS = 500
_BOOTS = ((0, "this boot"), (-1, "the boot before"))


def read_capture(place: str, since: float | datetime | None = None) -> SourceReading:
    """Reads a folder or tar of a machine's own files. CaptureError for one that cannot be used."""
    host = CaptureHost(place)
    reading = SourceReading(name=clean_text(place, 200), index=0, complaints=list(host.complaints[:5]))
    logs: list[bytes] = []
    for boot, _ in _BOOTS:
        text = host.kernel_log(boot)  # type: ignore[arg-type]
        if not isinstance(text, Unread):
            logs.append(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    if logs:
        parser, told = LogParser(None, residue=True, since=since), LogDevices()
        border = b"-- Reboot --\n"
        for number, data in enumerate(reversed(logs)):
            told.see(data)
            parser.feed((border if number else b"") + data + (b"" if data.endswith(b"\n") else b"\n"))
        reading.log = parser.finish()
        reading.machine = told.evidence(reading.log)
        reading.lines = reading.log.lines
        reading.pieces.append(log_text(reading.log))
    facts = read_facts(host, (PciInventory, Links, Gpus, Aer))
    inventory, links, aer = facts.of(PciInventory), facts.of(Links), facts.of(Aer)
    if isinstance(inventory, PciInventory) and inventory.functions:
        devices = tuple(
            _device(function, links if isinstance(links, Links) else None, aer if isinstance(aer, Aer) else None)
            for function in inventory.functions.values())
        profile, wrong = findings_of(host)
        reading.take(Evidence(
            tool=f"capture: {len(devices)} PCI functions", devices=devices, events=tuple(wrong)[:MOST_FINDINGS], notes=(
                f"what passes, and what could not be read: boxcheck doctor --sysroot {clean_text(place, 200)}",)), 1)
        reading.pieces.append(f"a capture of a machine: {len(devices)} PCI functions, judged as {profile}")
    if not reading.pieces:
        reading.complaints.append("a capture of a machine, without PCI functions or a kernel log: boxcheck doctor "
                                  f"--sysroot {clean_text(place, 200)} says what it holds")
    return reading


def _device(function: PciFunction, links: Links | None, aer: Aer | None) -> Device:
    slot_link = links.slot_link(function.bdf) if links is not None else None
    link = None if isinstance(function.link, Unread) or function.link is None else function.link
    express = None if isinstance(function.config, Unread) else function.config.express
    registers = None if express is None or isinstance(express, Unread) else express
    regions = () if isinstance(function.regions, Unread) else function.regions
    counters = aer.counters.get(function.bdf) if aer is not None else None
    return Device(
        line=1, bdf=function.bdf, vendor=function.vendor, device=function.device, revision=function.revision,
        class_code=function.class_code, subsystem_vendor=function.subsystem_vendor,
        subsystem_device=function.subsystem_device,
        driver=function.driver if isinstance(function.driver, str) else None,
        slot=slot_link.slot if slot_link is not None else None, numa_node=function.numa_node,
        port_type=registers.port_type if registers is not None else None,
        iommu_group=function.iommu_group if isinstance(function.iommu_group, int) else None, parent=function.parent,
        link=None if link is None else DeviceLink(
            speed_gts=link.speed_gts, width=link.width, max_speed_gts=link.max_speed_gts, max_width=link.max_width,
            target_speed_gts=registers.link_ctl2.target_speed_gts if registers and registers.link_ctl2 else None),
        bars=tuple(DeviceBar(index=region.index, size_bytes=region.size_bytes, assigned=region.assigned)
                   for region in regions if region.is_memory and region.index < 6),
        aer=None if counters is None else {
            name: value for name in ("correctable", "nonfatal", "fatal")
            if (value := _counts(getattr(counters, name))) is not None},
    )


def _counts(value: object) -> dict[str, int] | None:
    return None if isinstance(value, Unread) or not isinstance(value, dict) else dict(value)

