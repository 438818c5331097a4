"""tinybox-red: six Radeon RX 7900 XTX, EPYC 7532, 128 GB, four NVMe drives in RAID 0, booted from USB.

Figures: tinygrad.org's page of the box; processor, packages and settings: tinygrad/tinyos.

The board's model is not published; its name, slots and bus numbers are built. The buses of the cards leave room for
their on-card switches: the GPU of the card at bus 01 is function 03:00.0.
"""

from __future__ import annotations

from tests.boxes import epyc, parts, parts_gpu
from tests.boxes.hardware import AmdGpu, Dmi, Drive, Kernel, Module, Port, PowerSupply, Raid, RootBus, Slot, UsbDisk
from tests.boxes.machine import Machine
from tests.boxes.pci_build import Function

BUSES = {"PCIE1": 0x01, "PCIE2": 0x45, "PCIE3": 0x81, "PCIE4": 0x84, "PCIE5": 0xC1, "PCIE6": 0xC4}
SLOT_NUMBERS = {"PCIE1": 11, "PCIE2": 12, "PCIE3": 13, "PCIE4": 14, "PCIE5": 15, "PCIE6": 16}
RAID_SERIALS = ("24010A800001", "24010A800002", "24010A800003", "24010A800004")
UDEV = {
    "/etc/udev/rules.d/70-amdgpu.rules": 'KERNEL=="kfd", GROUP="render", MODE="0660"\n'
    'SUBSYSTEM=="drm", KERNEL=="renderD*", GROUP="render", MODE="0660"\n'
}
KERNEL = "6.11.0-26-generic"


def board(
    platform: parts.Platform,
    cards: dict[str, Function],
    drives: list[Function],
    network: list[Function],
    drive_ports: list[tuple[int, int]] | None = None,
    second_network: list[Function] | None = None,
) -> list[RootBus]:
    """The four root complexes of a tinybox: cards at their buses, drives at 40:01.x, network and BMC at 00:03.x.

    `drive_ports` gives function number and bus of each drive's root port.
    """
    places = drive_ports or [(one + 1, 0x41 + one) for one in range(len(drives))]
    small = [
        parts.root_port(platform, 1, function, 4, slot=31 + function, children=[drive], secondary=bus)
        for (function, bus), drive in zip(places, drives, strict=True)
    ]
    service = [
        parts.root_port(platform, 3, 1, 4, children=network, secondary=0x05),
        parts.root_port(platform, 3, 2, 1, children=[parts.bmc_graphics()], speed_gts=5.0, secondary=0x06),
    ]
    if second_network:
        service.append(parts.root_port(platform, 3, 3, 4, children=second_network, secondary=0x08))
    out = []
    for bus in (0x00, 0x40, 0x80, 0xC0):
        mine = [port for port in cards.values() if port.secondary & 0xC0 == bus]
        out.append(
            epyc.quadrant(
                platform, bus, [*mine, *(service if bus == 0 else small if bus == 0x40 else [])], usb=bus == 0x40
            )
        )
    return out


def raid_drives() -> list[Function]:
    """The four 1 TB drives; make and model are not published (28.7 GB/s over four is a Gen4 x4 drive's 7.2)."""
    return [parts.nvme_drive("WD_BLACK SN850X 1000GB", parts.WD, 0x5030, 0x001B448B4A000001 + one) for one in range(4)]


def add_storage(built: Machine, drives: list[Function]) -> None:
    """RAID 0 over the four drives, and the USB disk that the box boots from."""
    built.drives = [
        Drive(drive, "WD_BLACK SN850X 1000GB", RAID_SERIALS[one], "620361WD") for one, drive in enumerate(drives)
    ]
    built.raid = [Raid("md0", "raid0", [f"nvme{one}n1" for one in range(4)], 4 * 1_000_068_612_096)]
    built.usb_disk = UsbDisk(epyc.usb_of(built.buses[1]))
    built.root_device = "sda2"


def machine() -> Machine:
    rome = parts.ROME
    numbers = {"PCIE1": 1, "PCIE2": 3, "PCIE3": 1, "PCIE4": 3, "PCIE5": 1, "PCIE6": 3}
    cards = {
        name: parts.root_port(
            rome, numbers[name], 1, slot=SLOT_NUMBERS[name], children=parts_gpu.radeon_7900_xtx(), secondary=bus
        )
        for name, bus in BUSES.items()
    }
    drives = raid_drives()
    network = parts.network_card("Intel I350", parts.INTEL, 0x1521, "igb", 0x3CECEFFFFF000001, speed_gts=5.0)
    buses = board(rome, cards, drives, network)
    built = Machine(
        name="tinybox-red",
        title="tinybox red v1, 6x Radeon RX 7900 XTX",
        cpu=epyc.EPYC_7532,
        kernel=Kernel(
            KERNEL,
            parameters=["ro", "console=ttyS1,115200n8", "console=tty0", "nosplash", "kernel.panic=2", "iommu=pt"],
            taint=0x3000,
        ),
        dmi=Dmi(
            board_name="TBX-ROME-6",
            bios_version="P1.42",
            bios_date="11/14/2023",
            product_uuid="5f1d2c3b-0000-4000-8000-0000000000ed",
        ),
        buses=buses,
        memory=epyc.eight_dimms(16 * 1024, ranks=1),
        slots=[Slot(name, number, cards[name]) for number, name in enumerate(sorted(cards), 1)],
        supplies=[PowerSupply("PSU1", 1600), PowerSupply("PSU2", 1600)],
        iommu="identity",
    )
    built.amd = [
        AmdGpu(
            cards[name].children[0].children[0].children[0],
            unique_id=0x7A11_0C0D_E000_0001 + number * 0x1_0001,
            edge_celsius=34.0 + number % 3,
            junction_celsius=39.0 + number % 3,
            memory_celsius=44.0 + 2 * (number % 3),
        )
        for number, name in enumerate(sorted(cards, key=lambda one: BUSES[one]))
    ]
    for gpu in built.amd:
        gpu.gtt_mib = built.mem_total_kib // 2048
    built.rocm = "6.3.3"
    built.amdgpu_version = "6.10.5"
    built.amdgpu_parameters = {"cwsr_enable": "0", "ppfeaturemask": "0xffffbfff"}
    built.packages = {
        "linux-firmware": "20240318.git3b128b60-0ubuntu2.12",
        "amdgpu-dkms": "1:6.10.5.60303-2109964.24.04",
        "rocm-core": "6.3.3.60303-74~24.04",
        "rocm-hip-runtime": "6.3.3.60303-74~24.04",
    }
    built.dkms = {"amdgpu": "6.10.5-2109964.24.04"}
    built.modprobe = {"/etc/modprobe.d/amdgpu.conf": "options amdgpu cwsr_enable=0 ppfeaturemask=0xffffbfff"}
    built.udev_rules = dict(UDEV)
    add_storage(built, drives)
    built.ports = [
        Port(network[0], "eno1", "3c:ec:ef:00:00:01"),
        Port(network[1], "eno2", "3c:ec:ef:00:00:02", up=False),
    ]
    built.modules = [
        *epyc.common_modules("igb", "snd_hda_intel"),
        Module("amdkcl", "6.10.5", taint="OE", used_by=("amdgpu",)),
    ]
    return built
