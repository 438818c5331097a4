"""Extended capabilities, encoded from the PCI Express specification."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tests.boxes.pci_config import Capability


@dataclass
class Aer(Capability):
    """Advanced Error Reporting, version 2 (section 7.8.4). Status bits stay set until somebody writes them."""

    identity = 0x0001
    version = 2
    extended = True
    root: bool = False
    uncorrectable_status: int = 0
    uncorrectable_mask: int = 0
    uncorrectable_severity: int = 0x00462030
    correctable_status: int = 0
    correctable_mask: int = 0xE000
    first_error: int = 0
    header_log: tuple[int, int, int, int] = (0, 0, 0, 0)
    root_command: int = 0x7
    root_status: int = 0
    correctable_source: int = 0
    uncorrectable_source: int = 0

    def body(self) -> bytes:
        out = struct.pack(
            "<IIIIII4I",
            self.uncorrectable_status,
            self.uncorrectable_mask,
            self.uncorrectable_severity,
            self.correctable_status,
            self.correctable_mask,
            self.first_error | 0xA0,
            *self.header_log,
        )
        if self.root:
            out += struct.pack(
                "<IIHH", self.root_command, self.root_status, self.correctable_source, self.uncorrectable_source
            )
        return out


@dataclass
class Acs(Capability):
    identity = 0x000D
    extended = True
    capability: int = 0x5F
    """Bits 6:0: SrcValid TransBlk ReqRedir CmpltRedir UpstreamFwd EgressCtrl DirectTrans."""
    control: int = 0x01

    def body(self) -> bytes:
        return struct.pack("<HH", self.capability, self.control)


@dataclass
class RebarEntry:
    bar: int
    sizes_mib: tuple[int, ...]
    """Supported sizes; powers of two."""
    current_mib: int


@dataclass
class ResizableBar(Capability):
    identity = 0x0015
    extended = True
    entries: list[RebarEntry] = field(default_factory=list)

    def body(self) -> bytes:
        out = b""
        for position, entry in enumerate(self.entries):
            supported = sum(1 << (size.bit_length() - 1 + 4) for size in entry.sizes_mib)
            control = entry.bar | (entry.current_mib.bit_length() - 1) << 8
            if position == 0:
                control |= len(self.entries) << 5
            out += struct.pack("<II", supported, control)
        return out


@dataclass
class Dpc(Capability):
    identity = 0x001D
    extended = True
    control: int = 0x0000
    status: int = 0x1F00
    source: int = 0

    def body(self) -> bytes:
        # RP extensions, poisoned TLP egress blocking, software trigger, RP PIO log of 6, DL_Active error
        return struct.pack("<HHHH", 0x16E0, self.control, self.status, self.source)


@dataclass
class L1Substates(Capability):
    identity = 0x001E
    extended = True
    capability: int = 0x1A
    """Bits 4:0: PCI-PM L1.2, L1.1, ASPM L1.2, L1.1, supported."""

    def body(self) -> bytes:
        return struct.pack("<III", self.capability, 0, 0)


@dataclass
class SecondaryExpress(Capability):
    identity = 0x0019
    extended = True
    lane_errors: int = 0
    lanes: int = 16

    def body(self) -> bytes:
        return struct.pack("<II", 0, self.lane_errors) + struct.pack("<H", 0x7777) * self.lanes


@dataclass
class Physical16(Capability):
    """Physical Layer 16.0 GT/s."""

    identity = 0x0026
    extended = True
    status: int = 0xF
    """EquComplete, phases 1 to 3, LinkEquRequest (bit 4)."""
    parity_mismatch: int = 0
    lanes: int = 16

    def body(self) -> bytes:
        return struct.pack("<IIIIIII", 0, 0, self.status, self.parity_mismatch, 0, 0, 0) + b"\x77" * self.lanes


@dataclass
class Physical32(Capability):
    """Physical Layer 32.0 GT/s."""

    identity = 0x002A
    extended = True
    status: int = 0xF
    lanes: int = 16

    def body(self) -> bytes:
        return struct.pack("<IIIIIII", 0x1, 0, self.status, 0, 0, 0, 0) + b"\x77" * self.lanes


@dataclass
class LaneMargining(Capability):
    identity = 0x0027
    extended = True
    ready: bool = True
    lanes: int = 16

    def body(self) -> bytes:
        return struct.pack("<HH", 0, 3 if self.ready else 0) + struct.pack("<HH", 0x9C38, 0) * self.lanes


@dataclass
class DataLinkFeature(Capability):
    identity = 0x0025
    extended = True

    def body(self) -> bytes:
        return struct.pack("<II", 0x80000001, 0x80000001)


@dataclass
class SerialNumber(Capability):
    identity = 0x0003
    extended = True
    serial: int = 0

    def body(self) -> bytes:
        return struct.pack("<Q", self.serial)


@dataclass
class LatencyTolerance(Capability):
    identity = 0x0018
    extended = True

    def body(self) -> bytes:
        return struct.pack("<HH", 0x1003, 0x1003)


@dataclass
class VirtualChannel(Capability):
    identity = 0x0002
    extended = True

    def body(self) -> bytes:
        return struct.pack("<IIIIIII", 0, 0, 0, 0, 0x800000FF, 0, 0)[:24]


@dataclass
class VendorExtended(Capability):
    """Vendor-specific extended capability."""

    identity = 0x000B
    extended = True
    vendor_id: int = 0x0001
    revision: int = 1
    length: int = 0x10

    def body(self) -> bytes:
        return struct.pack("<I", self.vendor_id | self.revision << 16 | self.length << 20) + bytes(self.length - 8)


@dataclass
class DesignatedVendor(Capability):
    identity = 0x0023
    extended = True
    vendor: int = 0x1002
    vendor_id: int = 0x0001
    length: int = 0x44

    def body(self) -> bytes:
        return struct.pack("<IH", self.vendor | 1 << 16 | self.length << 20, self.vendor_id) + bytes(self.length - 10)
