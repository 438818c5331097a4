"""PCI functions: their configuration space, and the sysfs files that Linux derives from it.

Sources: PCI Express Base Specification 5.0 chapter 7; Linux drivers/pci/pci-sysfs.c, probe.c, pcie/aer.c, pcie/portdrv.c
for the names, formats and presence of the attributes. A function's registers are the only state: the link files, the
resource lines and the bytes of `config` are all rendered from them, as the kernel does it.
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
    MsiX,
    SubsystemIds,
    write_capabilities,
)
from tests.boxes.pci_extended import Aer, ResizableBar
from tests.boxes.tree import Tree

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
        return f"0000:{self.bus:02x}:{self.device_number:02x}.{self.function_number}"

    @property
    def known(self) -> bool:
        """Whether the kernel has enumerated it: visible, and all bridges above it."""
        return self.visible and (self.parent is None or self.parent.known)

    @property
    def path(self) -> str:
        """Its directory in sysfs."""
        if self.parent is None:
            return f"/sys/devices/pci0000:{self.root_bus:02x}/{self.bdf}"
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
        """Sets what the link below this port runs at, at both ends; also at boot and under load unless told otherwise."""
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

    # sysfs

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

    def render(self, tree: Tree, root: bool) -> None:
        """Writes everything that the PCI core shows of this function."""
        here = self.path
        link = tree.link

        def put(name: str, value: str | int | bytes) -> None:
            tree.put(f"{here}/{name}", value)

        config = self.config()
        put("config", config if root else config[:64])
        put("vendor", f"0x{self.vendor:04x}")
        put("device", f"0x{self.device:04x}")
        put("class", f"0x{self.class_code:06x}")
        put("revision", f"0x{self.revision:02x}")
        subsystem = self.shown_subsystem()
        put("subsystem_vendor", f"0x{subsystem[0]:04x}")
        put("subsystem_device", f"0x{subsystem[1]:04x}")
        put("modalias", self.modalias)
        put("resource", "\n".join(self.resource_lines()))
        put("irq", self.message_interrupts[0] if self.message_interrupts else self.irq)
        put("enable", self.enabled)
        put("power_state", self.power_state)
        put("power/control", self.power_control)
        put("power/runtime_status", "suspended" if self.power_state.startswith("D3") else "active")
        put("power/runtime_enabled", "forbidden" if self.power_control == "on" else "enabled")
        put("numa_node", self.numa_node)
        put("local_cpulist", self.cpulist)
        put("driver_override", "(null)")
        put("ari_enabled", 0)
        put("d3cold_allowed", 1)
        put("broken_parity_status", 0)
        put("msi_bus", 1)
        put("dma_mask_bits", 47 if self.vendor == 0x10DE else 64 if self.driver else 32)
        put("consistent_dma_mask_bits", 47 if self.vendor == 0x10DE else 64 if self.driver else 32)
        if not self.bridge or self.get(Express):
            put("reset_method", self.reset_method)
        self._render_express(put)
        if self.get(Aer):
            self._render_aer(put)
        for number in self.message_interrupts:
            put(f"msi_irqs/{number}", "msix" if self.get(MsiX) else "msi")
        rebar = self.get(ResizableBar)
        if rebar:
            for entry in rebar.entries:
                bits = sum(1 << (size.bit_length() - 1) for size in entry.sizes_mib)
                put(f"resource{entry.bar}_resize", f"{bits:016x}")
        if self.bridge:
            put("secondary_bus_number", self.secondary)
            put("subordinate_bus_number", self.subordinate)
        uevent = [
            f"PCI_CLASS={self.class_code:X}",
            f"PCI_ID={self.vendor:04X}:{self.device:04X}",
            f"PCI_SUBSYS_ID={subsystem[0]:04X}:{subsystem[1]:04X}",
            f"PCI_SLOT_NAME={self.bdf}",
            f"MODALIAS={self.modalias}",
        ]
        if self.driver:
            uevent.insert(0, f"DRIVER={self.driver}")
            link(f"{here}/driver", f"/sys/bus/pci/drivers/{self.driver}")
            link(f"/sys/bus/pci/drivers/{self.driver}/{self.bdf}", here)
        put("uevent", "\n".join(uevent))
        link(f"{here}/subsystem", "/sys/bus/pci")
        link(f"/sys/bus/pci/devices/{self.bdf}", here)
        for number, driver in self.services:
            name = f"{self.bdf}:pcie{number:03x}"
            tree.put(f"{here}/{name}/uevent", f"DRIVER={driver}")
            link(f"{here}/{name}/driver", f"/sys/bus/pci_express/drivers/{driver}")
            link(f"{here}/{name}/subsystem", "/sys/bus/pci_express")
            link(f"/sys/bus/pci_express/devices/{name}", f"{here}/{name}")
            link(f"/sys/bus/pci_express/drivers/{driver}/{name}", f"{here}/{name}")
        if self.iommu_group is not None:
            link(f"{here}/iommu_group", f"/sys/kernel/iommu_groups/{self.iommu_group}")
            link(f"/sys/kernel/iommu_groups/{self.iommu_group}/devices/{self.bdf}", here)
        for name, data in self.files.items():
            tree[f"{here}/{name}"] = data

    def _render_express(self, put: Put) -> None:
        express = self.get(Express)
        if express is None:
            return
        if not express.has_link:
            speed, width, top_speed, top_width = "Unknown", 0, "Unknown", 0
        elif self.lost:
            # reads of a lost device return all ones: speed code 0xf, width 63, as seen on a kernel with a vanished device
            speed, width, top_speed, top_width = "Unknown", 63, "Unknown", 63
        else:
            speed, width = speed_text(express.speed_gts), express.width
            top_speed, top_width = speed_text(express.max_speed_gts), express.max_width
        put("current_link_speed", speed)
        put("current_link_width", width)
        put("max_link_speed", top_speed)
        put("max_link_width", top_width)
        if express.has_link and not express.downstream_facing and express.aspm_support:
            for name, bit in (("l0s_aspm", 1), ("l1_aspm", 2)):
                if express.aspm_support & bit:
                    put(f"link/{name}", int(bool(express.aspm & bit)))
            if express.clock_pm:
                put("link/clkpm", 1)

    def _render_aer(self, put: Put) -> None:
        errors = self.errors
        put("aer_dev_correctable", counter_text(CORRECTABLE, errors.correctable, "TOTAL_ERR_COR", ()))
        put("aer_dev_nonfatal", counter_text(UNCORRECTABLE, errors.nonfatal, "TOTAL_ERR_NONFATAL", ("Undefined",)))
        put("aer_dev_fatal", counter_text(UNCORRECTABLE, errors.fatal, "TOTAL_ERR_FATAL", ("Undefined",)))
        if self.need(Aer).root:
            put("aer_rootport_total_err_cor", errors.root_correctable)
            put("aer_rootport_total_err_nonfatal", errors.root_nonfatal)
            put("aer_rootport_total_err_fatal", errors.root_fatal)


class Put:
    """Type of the writer handed to the render helpers."""

    def __call__(self, name: str, value: str | int | bytes) -> None: ...


def counter_text(names: dict[str, int], counts: dict[str, int], total: str, first: tuple[str, ...]) -> str:
    """One line per named bit and the total, as aer.c prints them since Linux 5.x."""
    rows = [f"{name} {counts.get(name, 0)}" for name in (*first, *names)]
    return "\n".join([*rows, f"{total} {sum(counts.values())}"])
