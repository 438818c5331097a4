"""PCI functions and their configuration space.

Sources: PCI Express Base Specification 5.0, chapter 7; PCI-to-PCI Bridge Architecture Specification 1.2. A function's
registers are its only state: the bytes of `config` here and the files of pci_sysfs.py are all rendered from them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from tests.boxes.pci_config import (
    CORRECTABLE,
    SPEED_CODES,
    UNCORRECTABLE,
    Capability,
    Express,
    SubsystemIds,
    write_capabilities,
)
from tests.boxes.pci_extended import Aer

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BarKind = Literal["mem32", "mem32pref", "mem64", "mem64pref", "io"]
BAR_FLAGS = {"mem32": 0x40200, "mem32pref": 0x42208, "mem64": 0x140204, "mem64pref": 0x14220C, "io": 0x40101}
"""IORESOURCE_* flags as the kernel prints them in `resource` (ioport.h: IO, MEM, PREFETCH, MEM_64, SIZEALIGN)."""
BAR_LOW_BITS = {"mem32": 0x0, "mem32pref": 0x8, "mem64": 0x4, "mem64pref": 0xC, "io": 0x1}
ROM_FLAGS = 0x46200
UNSET_FLAG = 0x2000_0000
C = TypeVar("C", bound=Capability)


def speed_text(speed_gts: float) -> str:
    """As pci_speed_string() prints it."""
    return f"{speed_gts:.1f} GT/s PCIe" if speed_gts in SPEED_CODES else "Unknown"


@dataclass
class Bar:
    index: int
    size: int
    kind: BarKind = "mem32"
    address: int | None = None
    """None: not assigned."""
    assign: bool = True

    @property
    def prefetchable(self) -> bool:
        return self.kind == "mem64pref"


@dataclass
class Window:
    """A bridge window; closed when `size` is 0."""

    start: int = 0
    size: int = 0

    @property
    def end(self) -> int:
        return self.start + self.size - 1


@dataclass
class ErrorCounters:
    """What the kernel counted for one function since boot, by the names of sysfs."""

    correctable: dict[str, int] = field(default_factory=dict)
    nonfatal: dict[str, int] = field(default_factory=dict)
    fatal: dict[str, int] = field(default_factory=dict)
    root_correctable: int = 0
    root_nonfatal: int = 0
    root_fatal: int = 0

    def totals(self) -> tuple[int, int, int]:
        return sum(self.correctable.values()), sum(self.nonfatal.values()), sum(self.fatal.values())


@dataclass(eq=False)
class Function:
    """One PCI function. Bridges hold their children; `bus` is the bus it sits on."""

    name: str
    """What the part is, for people who read a failing test."""
    vendor: int
    device: int
    class_code: int
    device_number: int = 0
    function_number: int = 0
    revision: int = 0
    subsystem: tuple[int, int] | None = None
    bars: list[Bar] = field(default_factory=list)
    rom_size: int = 0
    capabilities: list[Capability] = field(default_factory=list)
    driver: str | None = None
    children: list[Function] = field(default_factory=list)
    bridge: bool = False
    # Filled while a machine is put together
    domain: int = 0
    bus: int = 0
    secondary: int = 0
    subordinate: int = 0
    parent: Function | None = None
    root_bus: int = 0
    numa_node: int = 0
    cpulist: str = "0"
    iommu_group: int | None = None
    io_window: Window = field(default_factory=Window)
    memory_window: Window = field(default_factory=Window)
    prefetch_window: Window = field(default_factory=Window)
    irq: int = 0
    message_interrupts: list[int] = field(default_factory=list)
    services: list[tuple[int, str]] = field(default_factory=list)
    """Port services as (id in the device name, driver)."""
    # State
    lost: bool = False
    """Reads all ones: fallen off the bus. The ids that the kernel cached at boot stay."""
    errors: ErrorCounters = field(default_factory=ErrorCounters)
    boot_link: tuple[float, int] | None = None
    """Speed and width when the kernel enumerated the card, where it differs from now."""
    load_link: tuple[float, int] | None = None
    """Speed and width in the reading under load."""
    load_errors: dict[str, int] = field(default_factory=dict)
    """Correctable errors that came on top while the GPUs copied."""
    power_state: str = "D0"
    power_control: str = "on"
    reset_method: str = "bus"
    enabled: int = 1
    visible: bool = True
    """False: the card did not train or is not there; the kernel knows nothing of it."""
    files: dict[str, bytes] = field(default_factory=dict)
    """What its driver adds, by path relative to the function's directory."""

    @property
    def bdf(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.device_number:02x}.{self.function_number}"

    @property
    def known(self) -> bool:
        """Whether the kernel has enumerated it: visible, and all bridges above it."""
        return self.visible and (self.parent is None or self.parent.known)

    @property
    def path(self) -> str:
        """Its directory in sysfs."""
        if self.parent is None:
            return f"/sys/devices/pci{self.domain:04x}:{self.root_bus:02x}/{self.bdf}"
        return f"{self.parent.path}/{self.bdf}"

    @property
    def requester_id(self) -> int:
        return self.bus << 8 | self.device_number << 3 | self.function_number

    def get(self, kind: type[C]) -> C | None:
        return next((one for one in self.capabilities if isinstance(one, kind)), None)

    def need(self, kind: type[C]) -> C:
        found = self.get(kind)
        if found is None:
            raise LookupError(f"{self.name} {self.bdf} has no {kind.__name__}")
        return found

    @property
    def express(self) -> Express:
        return self.need(Express)

    def drop(self, kind: type[Capability]) -> None:
        self.capabilities = [one for one in self.capabilities if not isinstance(one, kind)]

    def bar(self, index: int) -> Bar:
        return next(one for one in self.bars if one.index == index)

    def walk(self) -> Iterator[Function]:
        """Itself and all visible functions below it, in the order in which the kernel enumerates them."""
        yield self
        for child in self.children:
            if child.visible:
                yield from child.walk()

    def live_children(self) -> list[Function]:
        return [child for child in self.children if child.visible]

    # Links

    def upstream_side(self) -> Function:
        """The function at the far end of the link of this downstream-facing port."""
        return self.children[0]

    def train(self, speed_gts: float, width: int, boot: bool = True, load: bool = True) -> None:
        """Sets what the link below this port runs at, at both ends, by default at boot and under load as well."""
        ends = [self, *self.children]
        for end in ends:
            end.express.speed_gts, end.express.width = speed_gts, width
            if boot:
                end.boot_link = None
            if load:
                end.load_link = None

    def idle_at(self, speed_gts: float) -> None:
        """The link saves power now: slow while idle, what it ran at before at boot and under load."""
        for end in [self, *self.children]:
            before = (end.express.speed_gts, end.express.width)
            end.boot_link, end.load_link = before, before
            end.express.speed_gts = speed_gts

    def count(
        self,
        correctable: dict[str, int] | None = None,
        nonfatal: dict[str, int] | None = None,
        fatal: dict[str, int] | None = None,
        status_stays: bool = False,
    ) -> None:
        """Errors that this function reported and the kernel counted, here and at the root port."""
        for kind, more in (("correctable", correctable), ("nonfatal", nonfatal), ("fatal", fatal)):
            counters: dict[str, int] = getattr(self.errors, kind)
            for label, number in (more or {}).items():
                counters[label] = counters.get(label, 0) + number
        totals = [sum((one or {}).values()) for one in (correctable, nonfatal, fatal)]
        root = self.root_port().errors
        root.root_correctable += totals[0]
        root.root_nonfatal += totals[1]
        root.root_fatal += totals[2]
        if status_stays:
            self.latch(correctable, nonfatal, fatal)

    def latch(
        self,
        correctable: dict[str, int] | None = None,
        nonfatal: dict[str, int] | None = None,
        fatal: dict[str, int] | None = None,
    ) -> None:
        """Sets the AER status bits, which stay set where nobody clears them."""
        aer = self.need(Aer)
        for label in correctable or {}:
            aer.correctable_status |= 1 << CORRECTABLE[label]
        for label in (*(nonfatal or {}), *(fatal or {})):
            aer.uncorrectable_status |= 1 << UNCORRECTABLE[label]
        self.express.device_status |= (1 if correctable else 0) | (2 if nonfatal else 0) | (4 if fatal else 0)

    def root_port(self) -> Function:
        here = self
        while here.parent is not None:
            here = here.parent
        return here

    # Configuration space

    def config(self, link: tuple[float, int] | None = None) -> bytes:
        """4096 bytes for PCI Express, 256 for conventional PCI; `link` overrides the current speed and width."""
        express = self.get(Express)
        conventional = express is None and self.class_code >> 16 != 0x06 and not self.bridge
        size = 256 if conventional else 4096
        if self.lost:
            return b"\xff" * size
        space = bytearray(size)
        command = 0x0404 if self.bridge or self.driver else 0x0000
        command |= 0x2 if any(bar.kind != "io" for bar in self.bars) or self.memory_window.size else 0
        command |= 0x1 if any(bar.kind == "io" for bar in self.bars) or self.io_window.size else 0
        if self.message_interrupts:
            command |= 0x400
        struct.pack_into(
            "<HHHHI",
            space,
            0,
            self.vendor,
            self.device,
            command,
            0x10 if self.capabilities else 0,
            self.revision | self.class_code << 8,
        )
        several = self.function_number == 0 and self._multifunction()
        space[0x0C] = 0x10
        space[0x0E] = (1 if self.bridge else 0) | (0x80 if several or self.function_number else 0)
        self._write_bars(space)
        if self.bridge:
            self._write_bridge(space)
        elif self.subsystem:
            struct.pack_into("<HH", space, 0x2C, *self.subsystem)
        space[0x3C] = 0xFF if not self.irq else min(self.irq, 0xFE)
        space[0x3D] = 1 if self.irq else 0
        keep = None
        if link and express:
            keep = express.speed_gts, express.width
            express.speed_gts, express.width = link
        write_capabilities(space, self.capabilities)
        if keep and express:
            express.speed_gts, express.width = keep
        return bytes(space)

    siblings: list[Function] = field(default_factory=list)

    def _multifunction(self) -> bool:
        return any(one is not self and one.device_number == self.device_number for one in self.siblings)

    def _write_bars(self, space: bytearray) -> None:
        for bar in self.bars:
            address = (bar.address or 0) if bar.assign else 0
            offset = 0x10 + 4 * bar.index
            struct.pack_into("<I", space, offset, address & 0xFFFFFFFF | BAR_LOW_BITS[bar.kind])
            if bar.kind.startswith("mem64"):
                struct.pack_into("<I", space, offset + 4, address >> 32)

    def _write_bridge(self, space: bytearray) -> None:
        space[0x18:0x1B] = bytes([self.bus, self.secondary, self.subordinate])
        io, memory, prefetch = self.io_window, self.memory_window, self.prefetch_window
        if io.size:
            space[0x1C], space[0x1D] = (io.start >> 8 & 0xF0) | 1, (io.end >> 8 & 0xF0) | 1
            struct.pack_into("<HH", space, 0x30, io.start >> 16, io.end >> 16)
        else:
            space[0x1C], space[0x1D] = 0xF1, 0x01
        if memory.size:
            struct.pack_into("<HH", space, 0x20, memory.start >> 16 & 0xFFF0, memory.end >> 16 & 0xFFF0)
        else:
            struct.pack_into("<HH", space, 0x20, 0xFFF0, 0x0000)
        if prefetch.size:
            struct.pack_into(
                "<HHII",
                space,
                0x24,
                prefetch.start >> 16 & 0xFFF0 | 1,
                prefetch.end >> 16 & 0xFFF0 | 1,
                prefetch.start >> 32,
                prefetch.end >> 32,
            )
        else:
            struct.pack_into("<HHII", space, 0x24, 0xFFF1, 0x0001, 0, 0)
        struct.pack_into("<H", space, 0x3E, 0x0012)  # SERR forwarding, VGA 16 bit decode

    # What sysfs derives from it

    def resource_lines(self) -> list[str]:
        """The `resource` file: 13 lines, 17 for a bridge with a bus below (pci_dev_resource_show)."""
        rows: list[tuple[int, int, int]] = [(0, 0, 0)] * (17 if self.bridge else 13)
        for bar in self.bars:
            if bar.assign and bar.address is not None:
                rows[bar.index] = bar.address, bar.address + bar.size - 1, BAR_FLAGS[bar.kind]
        if self.rom_size and self.rom_address:
            rows[6] = self.rom_address, self.rom_address + self.rom_size - 1, ROM_FLAGS
        if self.bridge:
            for number, window, flags in (
                (13, self.io_window, 0x101),
                (14, self.memory_window, 0x200),
                (15, self.prefetch_window, 0x102201),
            ):
                if window.size:
                    rows[number] = window.start, window.end, flags
        return [f"0x{start:016x} 0x{end:016x} 0x{flags:016x}" for start, end, flags in rows]

    rom_address: int = 0

    @property
    def modalias(self) -> str:
        sub = self.subsystem or (0, 0)
        return (
            f"pci:v{self.vendor:08X}d{self.device:08X}sv{sub[0]:08X}sd{sub[1]:08X}"
            f"bc{self.class_code >> 16:02X}sc{self.class_code >> 8 & 0xFF:02X}i{self.class_code & 0xFF:02X}"
        )

    def shown_subsystem(self) -> tuple[int, int]:
        ssid = self.get(SubsystemIds)
        if self.bridge:
            return (ssid.vendor, ssid.device) if ssid else (0, 0)
        return self.subsystem or (0, 0)
