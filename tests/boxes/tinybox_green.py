"""tinybox-green: six RTX 4090 with the P2P-patched driver, EPYC 7532, 128 GB, RAID 0, booted from USB.

Figures: tinygrad.org's page of the box; driver and packages: tinygrad/tinyos.

The buses of the cards are those of the tinybox `tiny14` in the P2P driver's README; board and slot names are built.
"""

from __future__ import annotations

from tests.boxes import epyc, parts, parts_gpu
from tests.boxes.hardware import Dmi, Kernel, NvidiaDriver, NvidiaGpu, Port, PowerSupply, Slot
from tests.boxes.machine import Machine
from tests.boxes.pci_build import Function
from tests.boxes.tinybox_red import add_storage, board, raid_drives

BUSES = {"PCIE1": 0x01, "PCIE2": 0x42, "PCIE3": 0x81, "PCIE4": 0x82, "PCIE5": 0xC1, "PCIE6": 0xC2}
ROOT_PORTS = {"PCIE1": 1, "PCIE2": 3, "PCIE3": 1, "PCIE4": 3, "PCIE5": 1, "PCIE6": 3}
DRIVER = "570.133.20"
PACKAGES = ("nvidia-kernel-source-570-open", "nvidia-driver-570-open", "libnvidia-compute-570", "cuda-toolkit-12-8")
PARAMETERS = ["ro", "console=ttyS1,115200n8", "console=tty0", "nosplash", "kernel.panic=2"]


def gpus(ports: dict[str, Function], **values: object) -> list[NvidiaGpu]:
    """One GPU a slot, in the order of their addresses."""
    out = []
    for number, name in enumerate(sorted(ports, key=lambda one: ports[one].secondary)):
        gpu = NvidiaGpu(
            ports[name].children[0],
            uuid=f"GPU-{0x71AC0000 + number:08x}-2684-4000-8000-0000000071{number:02x}",
            serial=f"1420922{number:06d}",
            core_celsius=33 + number % 3,
        )
        for key, value in values.items():
            setattr(gpu, key, value)
        out.append(gpu)
    return out


def add_driver(built: Machine, version: str, branch: str) -> None:
    """The patched open driver of tinyOS, its packages held."""
    built.nvidia_driver = NvidiaDriver(version, peer_patched=True)
    built.packages = {
        f"nvidia-kernel-source-{branch}-open": f"{version}-p2p-0ubuntu1",
        f"nvidia-driver-{branch}-open": f"{version}-0ubuntu1",
        f"libnvidia-compute-{branch}": f"{version}-0ubuntu1",
        "cuda-toolkit-12-8": "12.8.1-1",
        "linux-firmware": "20240318.git3b128b60-0ubuntu2.12",
    }
    built.held = {name for name in built.packages if name != "linux-firmware"}
    built.dkms = {"nvidia": version}


def machine() -> Machine:
    rome = parts.ROME
    cards = {
        name: parts.root_port(rome, ROOT_PORTS[name], 1, slot=10 + number, children=parts_gpu.rtx_4090(), secondary=bus)
        for number, (name, bus) in enumerate(BUSES.items(), 1)
    }
    drives = raid_drives()
    network = parts.network_card("Intel I350", parts.INTEL, 0x1521, "igb", 0x3CECEFFFFF000005, speed_gts=5.0)
    built = Machine(
        name="tinybox-green",
        title="tinybox green v1, 6x RTX 4090",
        cpu=epyc.EPYC_7532,
        kernel=Kernel("6.11.0-26-generic", parameters=list(PARAMETERS), taint=0x3000),
        dmi=Dmi(
            board_name="TBX-ROME-6",
            bios_version="P1.42",
            bios_date="11/14/2023",
            product_uuid="5f1d2c3b-0000-4000-8000-00000000c4ee",
        ),
        buses=board(rome, cards, drives, network, [(1, 0x41), (2, 0x43), (3, 0x44), (4, 0x45)]),
        memory=epyc.eight_dimms(16 * 1024),
        slots=[Slot(name, number, cards[name]) for number, name in enumerate(sorted(cards), 1)],
        supplies=[PowerSupply("PSU1", 1600), PowerSupply("PSU2", 1600)],
        iommu="off",
        iommu_present=False,
    )
    built.nvidia = gpus(cards)
    add_driver(built, DRIVER, "570")
    add_storage(built, drives)
    built.ports = [
        Port(network[0], "eno1", "3c:ec:ef:00:00:05"),
        Port(network[1], "eno2", "3c:ec:ef:00:00:06", up=False),
    ]
    built.modules = epyc.common_modules("igb", "snd_hda_intel")
    for port in cards.values():
        port.idle_at(2.5)
    return built
