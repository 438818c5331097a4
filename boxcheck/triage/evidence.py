"""What one piece of evidence says: devices, events, and what it cannot tell. Values only.

A reader (`boxcheck.triage.tools`) makes one `Evidence` from one `Section`. None means that this evidence does not
say, never zero and never "no".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.decode.klog.events import Event
from boxcheck.model import Bdf, Scalar


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """The output of one tool, cut out of a text."""

    variant: str
    """What the reader's `begins` called it: `lspci -vvv`, `nvidia-smi topo -m`."""
    lines: tuple[str, ...]
    """Without control characters, quote marks and line ends; tabs are kept."""
    first_line: int
    """Number of the first line in the file, from 1."""
    cut_short: bool = False
    """The section was too long to be kept whole."""
    numbers: tuple[int, ...] = ()
    """Line of the file for each line, where they do not simply follow `first_line`: progress that overwrites itself
    with carriage returns is one line of the file and several here."""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class DeviceLink(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a PCIe link, as a tool printed it. The words of `facts`."""

    speed_gts: float | None = None
    width: int | None = None
    max_speed_gts: float | None = None
    max_width: int | None = None
    target_speed_gts: float | None = None
    """LnkCtl2: what software or firmware asked for."""
    under_load: bool | None = None
    """Whether the device was at work when it was read; None when nobody knows, which is nearly always."""


class DeviceBar(msgspec.Struct, frozen=True, kw_only=True):
    """One base address register."""

    index: int
    size_bytes: int | None = None
    assigned: bool | None = None
    """False where the text says that it has no address (`<ignored>`, `<unassigned>`)."""
    prefetchable: bool | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device, as far as this evidence tells. Without `bdf` it is named by index, serial or UUID."""

    line: int
    """Line of the file where it begins."""
    bdf: Bdf | None = None
    name: str | None = None
    """As the tool names it: `NVIDIA GeForce RTX 4090`."""
    vendor: int | None = None
    device: int | None = None
    revision: int | None = None
    class_code: int | None = None
    """24 bits: base class, sub-class, programming interface; the lower 8 are 0 where only the class is known."""
    subsystem_vendor: int | None = None
    subsystem_device: int | None = None
    driver: str | None = None
    slot: str | None = None
    """Name or number of its physical slot, as printed."""
    index: int | None = None
    """The number that the driver's own tool gives it (GPU 0), which need not be the order of addresses. What programs
    of CUDA and HIP count is in `more`, as `cuda_index` and `hip_index`: they may see fewer, in another order."""
    serial: str | None = None
    uuid: str | None = None
    numa_node: int | None = None
    iommu_group: int | None = None
    parent: Bdf | None = None
    """The bridge above, where the text tells."""
    port_type: str | None = None
    """What the PCI Express capability says it is, in the words of `boxcheck.decode.pci_express`: `root-port`,
    `upstream-port`, `downstream-port`, `endpoint`, `legacy-endpoint` ..."""
    secondary_bus: int | None = None
    subordinate_bus: int | None = None
    """Of a bridge: the buses behind it."""
    link: DeviceLink | None = None
    bars: tuple[DeviceBar, ...] = ()
    aer: Mapping[str, Mapping[str, int]] | None = None
    """`correctable`, `nonfatal`, `fatal` -> label -> count, where a tool counts."""
    vram_bytes: int | None = None
    more: Mapping[str, Scalar] = {}
    """Other readings, named with their unit: `temperature_celsius`, `power_watts`, `vbios`."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader made of a section."""

    tool: str
    """For people: `nvidia-smi -q, driver 570.148.08`."""
    devices: tuple[Device, ...] = ()
    events: tuple[Event, ...] = ()
    """Judged: what in it is wrong, worth knowing or harmless. `line` is of the file, as in `Device`."""
    notes: tuple[str, ...] = ()
    """What this evidence cannot tell, and the command that would: one clause each."""
    readings: Mapping[str, Any] = {}
    """What was measured, as plain JSON values: matrices, counts. Units in the names."""
    box: Mapping[str, str] = {}
    """Facts of the machine as a whole: `board`, `bios`, `product`, `cpu`, `driver`, `kernel`."""


def at_line(section: Section, offset: int) -> int:
    """Line of the file for the line `offset` of a section."""
    if section.numbers:
        return section.numbers[min(offset, len(section.numbers) - 1)]
    return section.first_line + offset


def fields_of(values: Sequence[tuple[str, Scalar | None]]) -> dict[str, Scalar]:
    """For `Device.more`: the pairs that have a value."""
    return {name: value for name, value in values if value is not None}
