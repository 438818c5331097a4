"""The skeleton of an EPYC box: root complexes with their fixed functions, and memory by channels."""

from __future__ import annotations

from tests.boxes import parts
from tests.boxes.hardware import Cpu, Dimm, Module, RootBus
from tests.boxes.pci_build import Function

EPYC_7532 = Cpu("AMD EPYC 7532 32-Core Processor", model=49, cores=32, base_mhz=2400, max_mhz=3300)
EPYC_7662 = Cpu("AMD EPYC 7662 64-Core Processor", model=49, cores=64, base_mhz=2000, max_mhz=3300)
EPYC_7763_ES = Cpu(
    "AMD Eng Sample: 100-000000314-04_30/16_N", family=25, model=1, stepping=0, cores=64, base_mhz=1600, max_mhz=3000
)
"""The WOPR's own processor, an EPYC 7763 engineering sample of 1.6/3.0 GHz; such samples name themselves so."""
EPYC_9354 = Cpu(
    "AMD EPYC 9354 32-Core Processor", family=25, model=17, stepping=1, cores=32, base_mhz=3250, max_mhz=3800
)

MEMORY_BASES = {0x00: 0xE000_0000, 0x40: 0xD000_0000, 0x80: 0xC000_0000, 0xC0: 0xB000_0000}
PREFETCH_BASES = {0x00: 0x280_0000_0000, 0x40: 0x200_0000_0000, 0x80: 0x180_0000_0000, 0xC0: 0x100_0000_0000}
COMMON_MODULES = ("ast", "ipmi_si", "ipmi_devintf", "k10temp", "amd64_edac", "nvme", "raid0", "vfio_pci_core")


def quadrant(
    platform: parts.Platform,
    bus: int,
    ports: list[Function],
    numa_node: int = 0,
    memory_base: int | None = None,
    prefetch_base: int | None = None,
    usb: bool = False,
) -> RootBus:
    """One root complex: host bridges, IOMMU, the given root ports and the internal buses behind 07.1 and 08.1."""
    unit = parts.iommu(platform.iommu)
    functions = [parts.host_bridge(platform.root_complex), unit]
    behind = [parts.on_chip("dummy function", 0x148A, 0x130000), parts.on_chip("PTDMA", 0x1498, 0x108000, 0, 2)]
    second = [parts.on_chip("reserved SPP", 0x1485, 0x130000)]
    if usb:
        second.append(parts.usb_controller(0x148C))
    for number in (1, 2, 3, 4, 5, 7, 8):
        functions.append(parts.host_bridge(platform.dummy, number, 0, "dummy host bridge"))
        functions += sorted(
            (port for port in ports if port.device_number == number), key=lambda port: port.function_number
        )
        if number == 7:
            functions.append(parts.internal_port(platform, 7, behind))
        if number == 8:
            functions.append(parts.internal_port(platform, 8, second))
    # buses of the ports first, as the firmware numbers them; the internal ones get what is left
    top = max([port.secondary + _span(port) - 1 for port in ports if port.secondary] or [0])
    for function in functions:
        if function.bridge and not function.secondary:
            top = max(top, bus) + 1
            function.secondary = top
            top += _span(function) - 1
    if bus == 0x00:
        functions += [
            Function("SMBus", parts.AMD, 0x790B, 0x0C0500, 0x14, 0, revision=0x61, subsystem=(0x1849, 0xFFFF)),
            Function("LPC bridge", parts.AMD, 0x790E, 0x060100, 0x14, 3, revision=0x51, subsystem=(0x1849, 0xFFFF)),
        ]
        functions += [
            Function(
                "data fabric",
                parts.AMD,
                platform.fabric + one,
                0x060000,
                0x18,
                one,
                driver="k10temp" if one == 3 else None,
            )
            for one in range(8)
        ]
    return RootBus(
        bus,
        functions,
        numa_node,
        memory_base or MEMORY_BASES[bus],
        prefetch_base or PREFETCH_BASES[bus],
        0x1000 + (bus >> 5) * 0x1800,
        unit,
    )


def _span(port: Function) -> int:
    """Buses that a bridge needs below it."""
    return 1 + sum(_span(child) for child in port.children if child.bridge)


def usb_of(root: RootBus) -> Function:
    for function in root.functions:
        for child in function.children:
            if child.driver == "xhci_hcd":
                return child
    raise LookupError("this root complex has no USB controller")


def eight_dimms(
    size_mib: int, *, part: str = "M393A2K40DB3-CWE", ranks: int = 1, rated_mts: int = 3200, configured_mts: int = 3200
) -> list[Dimm]:
    """Eight sockets A1 to H1, numbered to channels as on a ROMED8-2T (rasdaemon labels/asrock)."""
    channels = {"A": 0, "B": 1, "C": 2, "D": 3, "E": 6, "F": 7, "G": 4, "H": 5}
    return [
        Dimm(
            f"DIMM_{letter}1",
            f"P0 CHANNEL {letter}",
            size_mib,
            rated_mts,
            configured_mts,
            ranks=ranks,
            part_number=part,
            serial=f"40A1B2{number:02X}",
            channel=channel,
        )
        for number, (letter, channel) in enumerate(channels.items(), 1)
    ]


def twelve_dimms(size_mib: int, socket: int = 0, sockets: int = 1) -> list[Dimm]:
    """Twelve DDR5-4800 sockets A1 to L1 of one EPYC 9004 socket."""
    prefix = "" if sockets == 1 else f"P{socket}_"
    return [
        Dimm(
            f"{prefix}DIMM_{letter}1",
            f"P{socket} CHANNEL {letter}",
            size_mib,
            4800,
            4800,
            "DDR5",
            part_number="M321R2GA3BB6-CQKET",
            serial=f"50C{socket}D4{number:02X}",
            channel=number,
        )
        for number, letter in enumerate("ABCDEFGHIJKL")
    ]


def common_modules(*more: str) -> list[Module]:
    return [Module(name) for name in (*COMMON_MODULES, *more)]
