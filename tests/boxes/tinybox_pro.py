"""tinybox-pro: eight RTX 4090, two EPYC 9004, 384 GB, four 2000 W supplies (tinygrad.org).

The board is said to be ASRock Rack's GENOA2D24G-2L+ (unconfirmed), on which an 8x 4090 rig shows its cards at buses
01, 21, 41, 61, 81, a1, c1 and e1; those are used here. Slot names are built.
"""

from __future__ import annotations

from dataclasses import replace

from tests.boxes import epyc, parts, parts_gpu
from tests.boxes.hardware import Dmi, Drive, Kernel, Port, PowerSupply, Slot
from tests.boxes.machine import Machine
from tests.boxes.tinybox_green import add_driver, gpus

ROOTS = (0x00, 0x20, 0x40, 0x60, 0x80, 0xA0, 0xC0, 0xE0)


def machine() -> Machine:
    genoa = parts.GENOA
    cards = {
        f"PCIE{number}": parts.root_port(
            genoa, 1, 1, slot=10 + number, children=parts_gpu.rtx_4090(), secondary=bus + 1
        )
        for number, bus in enumerate(ROOTS, 1)
    }
    boot = parts.nvme_drive("Samsung 990 PRO", parts.SAMSUNG, 0xA80C, 0x0025384101C00001)
    network = parts.network_card("Intel I350", parts.INTEL, 0x1521, "igb", 0x3CECEFFFFF000009, speed_gts=5.0)
    service = [
        parts.root_port(genoa, 3, 1, 4, children=network, secondary=0x03),
        parts.root_port(genoa, 3, 2, 1, children=[parts.bmc_graphics()], speed_gts=5.0, secondary=0x04),
        parts.root_port(genoa, 3, 3, 4, slot=31, children=[boot], secondary=0x06),
    ]
    buses = [
        epyc.quadrant(
            genoa,
            bus,
            [cards[f"PCIE{number}"], *(service if bus == 0 else [])],
            numa_node=number // 5,
            memory_base=0xF000_0000 - number * 0x0800_0000,
            prefetch_base=0x400_0000_0000 - number * 0x40_0000_0000,
            usb=bus == 0x20,
        )
        for number, bus in enumerate(ROOTS, 1)
    ]
    cpu = replace(epyc.EPYC_9354, sockets=2)
    built = Machine(
        name="tinybox-pro",
        title="tinybox pro v1, 8x RTX 4090",
        cpu=cpu,
        kernel=Kernel("6.11.0-29-generic", parameters=["ro", "nosplash", "kernel.panic=2"], taint=0x3000),
        dmi=Dmi(
            board_name="GENOA2D24G-2L+",
            bios_version="10.18",
            bios_date="10/30/2024",
            product_uuid="5f1d2c3b-0000-4000-8000-00000000b160",
        ),
        buses=buses,
        memory=[*epyc.twelve_dimms(16 * 1024, 0, 2), *epyc.twelve_dimms(16 * 1024, 1, 2)],
        slots=[Slot(name, number, cards[name], generation=5) for number, name in enumerate(sorted(cards), 1)],
        supplies=[PowerSupply(f"PSU{number}", 2000) for number in range(1, 5)],
        iommu="off",
        iommu_present=False,
        root_device="nvme0n1p2",
    )
    built.nvidia = gpus(cards)
    add_driver(built, "570.133.20", "570")
    built.drives = [
        Drive(boot, "Samsung SSD 990 PRO 1TB", "S7DNNJ0W400003X", "4B2QJXD7", partitions=("nvme0n1p1", "nvme0n1p2"))
    ]
    built.ports = [
        Port(network[0], "eno1", "3c:ec:ef:00:00:09"),
        Port(network[1], "eno2", "3c:ec:ef:00:00:0a", up=False),
    ]
    built.modules = epyc.common_modules("igb", "snd_hda_intel")
    for port in cards.values():
        port.idle_at(2.5)
    return built
