"""The parts that the boxes are built of, as PCI functions with the capabilities, offsets and BARs that such parts show.

Ids: pci.ids and amdgpu.ids. Capability layout of AMD root ports and of NVIDIA cards: public `lspci -vvv` listings of a
ROMED8-2T board; RDNA's on-card switch (1002:1478 upstream, 1002:1479 downstream): public listings of Navi cards.
Serial numbers are invented.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.boxes.pci_build import KIB, MIB, Bar, Function
from tests.boxes.pci_config import Express, HyperTransportMsi, Msi, MsiX, PowerManagement, SubsystemIds, VendorSpecific
from tests.boxes.pci_extended import (
    Acs,
    Aer,
    DataLinkFeature,
    DesignatedVendor,
    Dpc,
    L1Substates,
    LaneMargining,
    LatencyTolerance,
    Physical16,
    Physical32,
    SecondaryExpress,
    SerialNumber,
    VendorExtended,
    VirtualChannel,
)

AMD, ATI, NVIDIA, INTEL, BROADCOM, SAMSUNG, WD, ASPEED = 0x1022, 0x1002, 0x10DE, 0x8086, 0x14E4, 0x144D, 0x15B7, 0x1A03
SERVICE_PME, SERVICE_AER, SERVICE_HOTPLUG, SERVICE_DPC, SERVICE_BANDWIDTH = 0x001, 0x002, 0x004, 0x008, 0x010


@dataclass(frozen=True)
class Platform:
    """A processor's PCI ids, as far as they differ."""

    name: str
    root_complex: int
    iommu: int
    dummy: int
    root_port: int
    internal_port: int
    fabric: int
    """First of the eight data fabric functions at 00:18."""
    max_speed_gts: float
    bridge_ids: int
    vendor: int = 0x1022


ROME = Platform("EPYC 7002", 0x1480, 0x1481, 0x1482, 0x1483, 0x1484, 0x1490, 16.0, 0x1453)
MILAN = Platform("EPYC 7003", 0x1480, 0x1481, 0x1482, 0x1483, 0x1484, 0x1650, 16.0, 0x1453)
GENOA = Platform("EPYC 9004", 0x14A4, 0x149E, 0x149F, 0x14AB, 0x14A7, 0x14AD, 32.0, 0x1453)
STRIX_HALO = Platform("Strix Halo", 0x1507, 0x1508, 0x1509, 0x150B, 0x150C, 0x12F8, 16.0, 0x1453)
ALDER_LAKE = Platform("Alder Lake", 0x4621, 0, 0, 0x464D, 0, 0, 16.0, 0x7270, 0x8086)


def host_bridge(device: int, number: int = 0, function: int = 0, name: str = "root complex") -> Function:
    return Function(name, AMD, device, 0x060000, number, function, subsystem=(AMD, device))


def iommu(device: int) -> Function:
    return Function("IOMMU", AMD, device, 0x080600, 0, 2, subsystem=(AMD, device))


def root_port(
    platform: Platform,
    number: int,
    function: int,
    width: int = 16,
    *,
    slot: int | None = None,
    children: list[Function] | None = None,
    speed_gts: float | None = None,
    secondary: int = 0,
) -> Function:
    """A root port with what hangs below it. An empty slot's link is down and its presence bit clear."""
    below = children or []
    top = speed_gts or platform.max_speed_gts
    express = Express(
        0x58,
        "root",
        max_payload=512,
        payload=256,
        max_speed_gts=top,
        max_width=width,
        slot=slot,
        aspm_support=2,
        ari_forwarding=True,
        ari_enabled=bool(below),
        atomic_route=True,
        atomic_32=True,
        atomic_64=True,
        presence=bool(below),
        reporting=0xF,
        ten_bit_completer=platform.max_speed_gts >= 32,
    )
    port = Function(
        f"{platform.name} root port",
        platform.vendor,
        platform.root_port,
        0x060400,
        number,
        function,
        bridge=True,
        children=below,
        driver="pcieport",
        secondary=secondary,
    )
    port.capabilities = [
        PowerManagement(0x50),
        express,
        Msi(0xA0),
        SubsystemIds(0xC0, platform.vendor, platform.bridge_ids),
        HyperTransportMsi(0xC8),
        VendorExtended(0x100),
        Aer(0x150, root=True, correctable_mask=0, uncorrectable_mask=0x4000),
        SecondaryExpress(0x270, lanes=width),
        Acs(0x2A0, control=0x01),
        L1Substates(0x370),
        Dpc(0x380),
        DataLinkFeature(0x400),
        Physical16(0x410, lanes=width),
        LaneMargining(0x450, lanes=width),
    ]
    if top >= 32:
        port.capabilities.append(Physical32(0x4C0, lanes=width))
        port.capabilities.append(DesignatedVendor(0x500))
    else:
        port.capabilities.append(DesignatedVendor(0x4C0))
    if top < 16:
        for kind in (Physical16, LaneMargining):
            port.drop(kind)
    port.services = [(SERVICE_PME, "pcie_pme"), (SERVICE_AER, "aer")]
    if slot is not None:
        port.services += [(SERVICE_DPC, "dpc")]
    if below:
        far = below[0].express
        if far.has_link:
            port.train(min(top, far.max_speed_gts), min(width, far.max_width))
    else:
        express.speed_gts, express.width, express.equalisation = 2.5, 0, 0
        port.need(Physical16).status = 0
    return port


def internal_port(platform: Platform, number: int, children: list[Function]) -> Function:
    port = Function(
        f"{platform.name} internal port",
        AMD,
        platform.internal_port,
        0x060400,
        number,
        1,
        bridge=True,
        children=children,
        driver="pcieport",
    )
    port.capabilities = [
        PowerManagement(0x50),
        Express(
            0x58,
            "root",
            max_payload=512,
            max_speed_gts=16.0,
            max_width=16,
            slot=None,
            atomic_route=True,
            atomic_32=True,
            atomic_64=True,
        ),
        Msi(0xA0),
        SubsystemIds(0xC0, device=platform.internal_port),
        VendorExtended(0x100),
        Aer(0x150, root=True, correctable_mask=0, uncorrectable_mask=0x4000),
        SecondaryExpress(0x270),
        Acs(0x2A0),
    ]
    port.services = [(SERVICE_PME, "pcie_pme"), (SERVICE_AER, "aer")]
    return port


def on_chip(
    name: str,
    device: int,
    class_code: int,
    number: int = 0,
    function: int = 0,
    driver: str | None = None,
    bars: list[Bar] | None = None,
    vendor: int = AMD,
    link: bool = True,
    revision: int = 0,
) -> Function:
    """A function inside the processor, behind an internal port."""
    made = Function(
        name,
        vendor,
        device,
        class_code,
        number,
        function,
        revision=revision,
        subsystem=(vendor, device),
        bars=bars or [],
        driver=driver,
    )
    made.capabilities = [
        VendorSpecific(0x48, data=b"\x08\x00\x00\x00\x00"),
        PowerManagement(0x50),
        Express(0x64, "endpoint" if link else "rciep", max_payload=256, max_speed_gts=16.0, max_width=16),
        MsiX(0xC0, vectors=2) if driver else Msi(0xA0, enabled=False),
        VendorExtended(0x100),
        SecondaryExpress(0x270),
    ]
    if not link:
        made.drop(SecondaryExpress)
    return made


def usb_controller(device: int, number: int = 0, function: int = 3, vendor: int = AMD) -> Function:
    return on_chip("USB 3 controller", device, 0x0C0330, number, function, "xhci_hcd", [Bar(0, MIB, "mem64")], vendor)


def nvme_drive(name: str, vendor: int, device: int, serial: int, max_speed_gts: float = 16.0) -> Function:
    """An NVMe drive with four lanes."""
    drive = Function(
        name,
        vendor,
        device,
        0x010802,
        subsystem=(vendor, 0xA801 if vendor == SAMSUNG else device),
        driver="nvme",
        bars=[Bar(0, 16 * KIB, "mem64")],
        reset_method="flr bus",
    )
    drive.capabilities = [
        PowerManagement(0x40),
        Msi(0x50, enabled=False),
        Express(
            0x70,
            "endpoint",
            max_payload=256,
            payload=256,
            max_speed_gts=max_speed_gts,
            max_width=4,
            width=4,
            speed_gts=max_speed_gts,
            aspm_support=2,
            l1_exit_code=6,
            function_level_reset=True,
            ltr=True,
            completion_timeout=0,
            clock_pm=True,
        ),
        MsiX(0xB0, vectors=130),
        Aer(0x100),
        SerialNumber(0x148, serial=serial),
        SecondaryExpress(0x178, lanes=4),
        Physical16(0x198, lanes=4),
        LaneMargining(0x1BC, lanes=4),
        LatencyTolerance(0x214),
        L1Substates(0x21C, 0x1F),
        DataLinkFeature(0x3A0),
    ]
    if max_speed_gts >= 32:
        drive.capabilities.append(Physical32(0x3C0, lanes=4))
    return drive


def network_card(
    name: str,
    vendor: int,
    device: int,
    driver: str,
    serial: int,
    speed_gts: float = 8.0,
    width: int = 4,
    ports: int = 2,
) -> list[Function]:
    out = []
    for port in range(ports):
        function = Function(
            name,
            vendor,
            device,
            0x020000,
            0,
            port,
            revision=1,
            subsystem=(0x1849, device),
            driver=driver,
            bars=[Bar(0, 4 * MIB, "mem64pref"), Bar(4, 16 * KIB, "mem64pref")],
            reset_method="flr bus",
        )
        function.capabilities = [
            PowerManagement(0x40),
            Msi(0x50, enabled=False),
            MsiX(0x70, vectors=64, bar=4, table=0, pending=0x1000),
            Express(
                0xA0,
                "endpoint",
                max_payload=512,
                payload=256,
                max_speed_gts=speed_gts,
                max_width=width,
                width=width,
                speed_gts=speed_gts,
                aspm_support=2,
                function_level_reset=True,
                completion_timeout=0,
            ),
            Aer(0x100),
            SerialNumber(0x140, serial=serial),
        ]
        if speed_gts >= 8:
            function.capabilities.append(SecondaryExpress(0x1D0, lanes=width))
        out.append(function)
    return out


def bmc_graphics() -> Function:
    """ASPEED AST2500/2600: PCI bridge with the VGA function behind it."""
    vga = Function(
        "ASPEED graphics",
        ASPEED,
        0x2000,
        0x030000,
        revision=0x41,
        subsystem=(0x1849, 0x2000),
        driver="ast",
        bars=[Bar(0, 64 * MIB, "mem32"), Bar(1, 128 * KIB, "mem32"), Bar(2, 128, "io")],
    )
    vga.capabilities = [PowerManagement(0x40), Msi(0x50, enabled=False)]
    bridge = Function("ASPEED bridge", ASPEED, 0x1150, 0x060400, revision=0x04, bridge=True, children=[vga])
    bridge.capabilities = [
        PowerManagement(0x78),
        Express(
            0x80,
            "pci-bridge",
            max_payload=256,
            payload=128,
            max_speed_gts=5.0,
            max_width=1,
            width=1,
            speed_gts=5.0,
            aspm_support=3,
            completion_timeout=0,
        ),
        SubsystemIds(0xC0, 0x1849, 0x1150),
        VirtualChannel(0x100),
        Aer(0x800),
    ]

    return bridge


def sata_controller(device: int = 0x7901, function: int = 0, number: int = 0) -> Function:
    return on_chip(
        "SATA controller", device, 0x010601, number, function, "ahci", [Bar(5, 2 * KIB, "mem32")], revision=0x51
    )
