"""Capabilities of configuration space, encoded from the PCI and PCI Express specifications.

Field positions follow PCI Express Base Specification 5.0, chapter 7, and the names of linux/pci_regs.h; nothing is
taken from boxcheck's decoder, whose opponent this is.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

SPEED_CODES = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
PORT_TYPES = {"endpoint": 0, "legacy": 1, "root": 4, "upstream": 5, "downstream": 6, "pci-bridge": 7, "rciep": 9}
PortType = Literal["endpoint", "legacy", "root", "upstream", "downstream", "pci-bridge", "rciep"]

CORRECTABLE = {
    "RxErr": 0,
    "BadTLP": 6,
    "BadDLLP": 7,
    "Rollover": 8,
    "Timeout": 12,
    "NonFatalErr": 13,
    "CorrIntErr": 14,
    "HeaderOF": 15,
}
UNCORRECTABLE = {
    "DLP": 4,
    "SDES": 5,
    "TLP": 12,
    "FCP": 13,
    "CmpltTO": 14,
    "CmpltAbrt": 15,
    "UnxCmplt": 16,
    "RxOF": 17,
    "MalfTLP": 18,
    "ECRC": 19,
    "UnsupReq": 20,
    "ACSViol": 21,
    "UncorrIntErr": 22,
    "BlockedTLP": 23,
    "AtomicOpBlocked": 24,
    "TLPBlockedErr": 25,
    "PoisonTLPBlocked": 26,
}


def speed_vector(max_speed_gts: float) -> int:
    """Supported Link Speeds Vector (LnkCap2 bits 7:1) for all rates up to the given one."""
    return sum(1 << code for speed, code in SPEED_CODES.items() if speed <= max_speed_gts)


def _bits(*flags: tuple[int, bool]) -> int:
    return sum(1 << position for position, on in flags if on)


@dataclass
class Capability(ABC):
    """A capability at a fixed offset. `body()` is everything after the id and next pointer."""

    offset: int
    identity: ClassVar[int] = 0
    version: ClassVar[int] = 1
    extended: ClassVar[bool] = False

    @abstractmethod
    def body(self) -> bytes: ...


@dataclass
class PowerManagement(Capability):
    identity = 0x01
    state: int = 0
    """D-state, 0..3."""

    def body(self) -> bytes:
        return struct.pack("<HI", 0xC803, self.state | 0x0008)  # version 3, PME from D0, D3hot, D3cold; NoSoftRst


@dataclass
class Msi(Capability):
    identity = 0x05
    enabled: bool = True
    vector: int = 0x21

    def body(self) -> bytes:
        if not self.enabled:
            return struct.pack("<HIIH", 0x0080, 0, 0, 0)
        return struct.pack("<HIIH", 0x0081, 0xFEE00000, 0, self.vector)


@dataclass
class MsiX(Capability):
    identity = 0x11
    vectors: int = 33
    bar: int = 0
    table: int = 0x3000
    pending: int = 0x2000
    enabled: bool = True

    def body(self) -> bytes:
        return struct.pack(
            "<HII", (self.vectors - 1) | (0x8000 if self.enabled else 0), self.table | self.bar, self.pending | self.bar
        )


@dataclass
class SubsystemIds(Capability):
    """Subsystem ids of a bridge (capability 0x0d)."""

    identity = 0x0D
    vendor: int = 0x1022
    device: int = 0x1453

    def body(self) -> bytes:
        return struct.pack("<HHH", 0, self.vendor, self.device)


@dataclass
class HyperTransportMsi(Capability):
    identity = 0x08

    def body(self) -> bytes:
        return struct.pack("<H", 0xA803)


@dataclass
class VendorSpecific(Capability):
    identity = 0x09
    data: bytes = b"\x14\x00\x01\x10\x00\x00"

    def body(self) -> bytes:
        return bytes([len(self.data) + 3]) + self.data


@dataclass
class Express(Capability):
    """PCI Express capability, version 2 (section 7.5.3)."""

    identity = 0x10
    port_type: PortType = "endpoint"
    # Device
    max_payload: int = 256
    payload: int = 256
    read_request: int = 512
    extended_tag: bool = True
    l1_latency_code: int = 7
    l0s_latency_code: int = 7
    function_level_reset: bool = False
    reporting: int = 0xF
    """DevCtl bits 3:0: correctable, non-fatal, fatal, unsupported request."""
    relaxed_ordering: bool = True
    no_snoop: bool = True
    device_status: int = 0
    # Link
    max_speed_gts: float = 16.0
    max_width: int = 16
    speed_gts: float = 16.0
    width: int = 16
    port_number: int = 0
    aspm_support: int = 2
    """0 none, 1 L0s, 2 L1, 3 both."""
    aspm: int = 0
    l1_exit_code: int = 6
    l0s_exit_code: int = 7
    clock_pm: bool = False
    surprise_down: bool = False
    common_clock: bool = True
    link_disable: bool = False
    hardware_autonomous_width_disable: bool = False
    bandwidth_interrupts: bool = False
    """LnkCtl bits 10 and 11, set by the kernel's bwctrl service (>= 6.13) and by its predecessor for notification."""
    data_link_active: bool | None = None
    """LnkSta bit 13. None: as the hardware reports it, set on a downstream-facing port with a trained link."""
    bandwidth_status: int = 0
    """LnkSta bits 15:14: link bandwidth management (1), autonomous bandwidth (2)."""
    training: bool = False
    # Slot
    slot: int | None = None
    """Physical slot number; None where no slot is implemented."""
    slot_power_watts: float = 75.0
    hot_plug: bool = True
    surprise: bool = False
    presence: bool = False
    slot_power_controller: bool = False
    slot_power_off: bool = False
    # Root
    crs_visible: bool = True
    system_errors: int = 0
    """RootCtl bits 2:0: system error on correctable, non-fatal, fatal; firmware sets them where it owns AER."""
    # Device 2
    completion_ranges: int = 0xF
    completion_timeout: int = 6
    ari_forwarding: bool = False
    ari_enabled: bool = False
    atomic_route: bool = False
    atomic_32: bool = False
    atomic_64: bool = False
    atomic_128: bool = False
    atomic_request: bool = False
    atomic_egress_block: bool = False
    ltr: bool = False
    ltr_enabled: bool = False
    ten_bit_completer: bool = False
    ten_bit_requester: bool = False
    ten_bit_enabled: bool = False
    # Link 2
    target_speed_gts: float | None = None
    """Target Link Speed; None: the maximum."""
    speed_disable: bool = False
    """LnkCtl2 bit 5, hardware autonomous speed disable."""
    retimer_detect: bool = True
    equalisation: int = 0xF
    """LnkSta2 bits 4:1: complete, phase 1, 2, 3 at 8 GT/s."""
    equalisation_request: bool = False
    retimers: int = 0

    @property
    def downstream_facing(self) -> bool:
        return self.port_type in ("root", "downstream")

    @property
    def has_link(self) -> bool:
        return self.port_type != "rciep"

    def body(self) -> bytes:
        flags = 2 | PORT_TYPES[self.port_type] << 4 | _bits((8, self.slot is not None))
        endpoint = self.port_type in ("endpoint", "legacy", "rciep")
        payload_code = self.max_payload.bit_length() - 8
        device_cap = payload_code | _bits(
            (5, self.extended_tag), (15, True), (28, endpoint and self.function_level_reset)
        )
        if endpoint:
            device_cap |= self.l0s_latency_code << 6 | self.l1_latency_code << 9
        if self.port_type in ("upstream", "endpoint", "legacy"):
            device_cap |= 75 << 18  # captured slot power limit, 75 W
        device_control = (
            self.reporting
            | (self.payload.bit_length() - 8) << 5
            | (self.read_request.bit_length() - 8) << 12
            | _bits((4, self.relaxed_ordering), (8, self.extended_tag), (11, self.no_snoop))
        )
        out = struct.pack("<HIHH", flags, device_cap, device_control, self.device_status)
        out += self._link() + self._slot() + self._root() + self._second()
        return out

    def _link(self) -> bytes:
        if not self.has_link:
            return bytes(8)
        cap = (
            SPEED_CODES[self.max_speed_gts]
            | self.max_width << 4
            | self.aspm_support << 10
            | self.l0s_exit_code << 12
            | self.l1_exit_code << 15
            | self.port_number << 24
            | _bits(
                (18, self.clock_pm),
                (19, self.surprise_down),
                (20, self.downstream_facing),
                (21, self.downstream_facing),
                (22, True),
            )
        )
        control = self.aspm | _bits(
            (4, self.link_disable),
            (6, self.common_clock),
            (8, self.clock_pm),
            (9, self.hardware_autonomous_width_disable),
            (10, self.bandwidth_interrupts),
            (11, self.bandwidth_interrupts),
        )
        active = self.data_link_active
        if active is None:
            active = self.downstream_facing and self.width > 0
        status = (
            SPEED_CODES.get(self.speed_gts, 0)
            | self.width << 4
            | self.bandwidth_status << 14
            | _bits((11, self.training), (12, True), (13, active))
        )
        return struct.pack("<IHH", cap, control, status)

    def _slot(self) -> bytes:
        if self.slot is None:
            return bytes(8)
        tenths = round(self.slot_power_watts * 10)
        value, scale = (tenths // 10, 0) if tenths % 10 == 0 else (tenths, 1)
        cap = value << 7 | scale << 15 | self.slot << 19 | _bits(
            (1, self.slot_power_controller), (5, self.surprise), (6, self.hot_plug))
        control = _bits((3, self.hot_plug), (5, self.hot_plug), (10, self.slot_power_off), (12, self.hot_plug))
        return struct.pack("<IHH", cap, control, _bits((6, self.presence)))

    def _root(self) -> bytes:
        if self.port_type != "root":
            return bytes(8)
        return struct.pack(
            "<HHI", self.system_errors | _bits((3, True), (4, self.crs_visible)), int(self.crs_visible), 0
        )

    def _second(self) -> bytes:
        cap = (
            self.completion_ranges
            | _bits(
                (4, True),
                (5, self.ari_forwarding),
                (6, self.atomic_route),
                (7, self.atomic_32),
                (8, self.atomic_64),
                (9, self.atomic_128),
                (11, self.ltr),
                (16, self.ten_bit_completer),
                (17, self.ten_bit_requester),
                (20, True),
                (21, True),
            )
            | 1 << 22
        )
        control = self.completion_timeout | _bits(
            (5, self.ari_enabled),
            (6, self.atomic_request),
            (7, self.atomic_egress_block),
            (10, self.ltr_enabled),
            (12, self.ten_bit_enabled),
        )
        if not self.has_link:
            return struct.pack("<IHHIHHIHH", cap, control, 0, 0, 0, 0, 0, 0, 0)
        link_cap = speed_vector(self.max_speed_gts) | _bits(
            (23, self.retimer_detect and self.max_speed_gts >= 16),
            (24, self.retimer_detect and self.max_speed_gts >= 16),
        )
        target = self.max_speed_gts if self.target_speed_gts is None else self.target_speed_gts
        link_control = SPEED_CODES[target] | _bits((5, self.speed_disable))
        equalised = self.width > 0 and self.max_speed_gts >= 8
        link_status = (
            1
            | (self.equalisation << 1 if equalised else 0)
            | _bits((5, self.equalisation_request), (6, self.retimers >= 1), (7, self.retimers >= 2))
        )
        return struct.pack("<IHHIHHIHH", cap, control, 0, link_cap, link_control, link_status, 0, 0, 0)


def write_capabilities(space: bytearray, capabilities: list[Capability]) -> None:
    """Writes both lists into `space`, each in the order given; overlapping capabilities are an error of the builder."""
    taken: set[int] = set()

    def claim(capability: Capability, size: int) -> None:
        cells = set(range(capability.offset, capability.offset + size))
        if cells & taken:
            raise ValueError(f"{type(capability).__name__} at {capability.offset:#x} overlaps another capability")
        taken.update(cells)

    plain = [one for one in capabilities if not one.extended]
    space[0x34] = plain[0].offset if plain else 0
    for one, following in zip(plain, [*plain[1:], None], strict=False):
        data = one.body()
        claim(one, len(data) + 2)
        space[one.offset : one.offset + 2] = bytes([one.identity, following.offset if following else 0])
        space[one.offset + 2 : one.offset + 2 + len(data)] = data
    extended = [one for one in capabilities if one.extended]
    if extended and extended[0].offset != 0x100:
        raise ValueError("the first extended capability must be at 0x100")
    for one, following in zip(extended, [*extended[1:], None], strict=False):
        data = one.body()
        claim(one, len(data) + 4)
        head = one.identity | one.version << 16 | (following.offset if following else 0) << 20
        space[one.offset : one.offset + 4] = struct.pack("<I", head)
        space[one.offset + 4 : one.offset + 4 + len(data)] = data
