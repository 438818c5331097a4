"""tinybox-green-v2: four RTX 5090 on PCIe 5.0, EPYC 9004 with 32 cores, 192 GB DDR5, RAID 0 (tinygrad.org)."""

from __future__ import annotations

from tests.boxes import epyc, parts, parts_gpu
from tests.boxes.hardware import Dmi, Kernel, Port, PowerSupply, Slot
from tests.boxes.machine import Machine
from tests.boxes.tinybox_green import PARAMETERS, add_driver, gpus
from tests.boxes.tinybox_red import add_storage, board, raid_drives

BUSES = {"PCIE1": 0x01, "PCIE2": 0x46, "PCIE3": 0x81, "PCIE4": 0xC1}
ROOT_PORTS = {"PCIE1": 1, "PCIE2": 3, "PCIE3": 1, "PCIE4": 1}
DRIVER = "570.148.08"


def machine() -> Machine:
    genoa = parts.GENOA
    cards = {
        name: parts.root_port(
            genoa, ROOT_PORTS[name], 1, slot=10 + number, children=parts_gpu.rtx_5090(), secondary=bus
        )
        for number, (name, bus) in enumerate(BUSES.items(), 1)
    }
    drives = raid_drives()
    network = [
        *parts.network_card("Intel X710", parts.INTEL, 0x15FF, "i40e", 0x3CECEFFFFF000007, speed_gts=8.0, width=4)
    ]
    slow = parts.network_card("Intel I350", parts.INTEL, 0x1521, "igb", 0x3CECEFFFFF00000D, speed_gts=5.0)
    built = Machine(
        name="tinybox-green-v2",
        title="tinybox green v2, 4x RTX 5090",
        cpu=epyc.EPYC_9354,
        kernel=Kernel("6.11.0-29-generic", parameters=list(PARAMETERS), taint=0x3000),
        dmi=Dmi(
            board_name="TBX-GENOA-4",
            bios_version="10.21",
            bios_date="02/19/2025",
            product_uuid="5f1d2c3b-0000-4000-8000-0000000c4ee2",
        ),
        buses=board(genoa, cards, drives, network, second_network=slow),
        memory=epyc.twelve_dimms(16 * 1024),
        slots=[Slot(name, number, cards[name], generation=5) for number, name in enumerate(sorted(cards), 1)],
        supplies=[PowerSupply("PSU1", 1600), PowerSupply("PSU2", 1600)],
        iommu="off",
        iommu_present=False,
    )
    built.nvidia = gpus(
        cards,
        model="NVIDIA GeForce RTX 5090",
        vbios="98.02.2e.00.03",
        memory_mib=32607,
        cap_watts=575,
        default_cap_watts=575,
        max_cap_watts=600,
    )
    add_driver(built, DRIVER, "570")
    add_storage(built, drives)
    built.ports = [
        Port(network[0], "eno1", "3c:ec:ef:00:00:07", 10000),
        Port(network[1], "eno2", "3c:ec:ef:00:00:08", up=False),
        Port(slow[0], "eno3", "3c:ec:ef:00:00:0d", up=False),
        Port(slow[1], "eno4", "3c:ec:ef:00:00:0e", up=False),
    ]
    built.modules = epyc.common_modules("i40e", "snd_hda_intel")
    for port in cards.values():
        port.idle_at(2.5)
    return built
