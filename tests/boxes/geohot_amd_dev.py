"""geohot-amd-dev: two Radeon RX 7900 XTX on a ROMED8-2T/BCM with EPYC 7662 and 8x 8 GB, six planned.

Healthy means that both cards train, which on the builder's stream one of them did not. Five of the seven slots are
empty. The map of slots to root ports is built, as on the WOPR.
"""

from __future__ import annotations

from tests.boxes import epyc, parts, parts_gpu
from tests.boxes.hardware import AmdGpu, Dmi, Drive, Kernel, Port, Slot
from tests.boxes.machine import Machine
from tests.boxes.pci_build import Function
from tests.boxes.tinybox_red import UDEV

PLACES = {
    "PCIE1": (1, 0xC1),
    "PCIE2": (1, 0x81),
    "PCIE3": (1, 0x41),
    "PCIE4": (3, 0x45),
    "PCIE5": (1, 0x01),
    "PCIE6": (3, 0x05),
    "PCIE7": (3, 0xC2),
}
SLOT_NUMBERS = {"PCIE1": 21, "PCIE2": 20, "PCIE3": 19, "PCIE4": 18, "PCIE5": 17, "PCIE6": 16, "PCIE7": 15}
POPULATED = ("PCIE3", "PCIE5")


def machine() -> Machine:
    rome = parts.ROME

    def slot_port(name: str) -> Function:
        number, bus = PLACES[name]
        card = parts_gpu.radeon_7900_xtx() if name in POPULATED else []
        return parts.root_port(rome, number, 1, slot=SLOT_NUMBERS[name], children=card, secondary=bus)

    ports = {name: slot_port(name) for name in PLACES}
    drive = parts.nvme_drive("Samsung 990 PRO", parts.SAMSUNG, 0xA80C, 0x0025384101D00001)
    network = parts.network_card("Broadcom BCM57416", parts.BROADCOM, 0x16D8, "bnxt_en", 0xD05099FFFE000001, width=8)
    service = [
        parts.root_port(rome, 3, 1, 4, slot=14, children=[drive], secondary=0x82),
        parts.root_port(rome, 3, 2, 8, children=network, secondary=0x83),
        parts.root_port(rome, 3, 3, 1, children=[parts.bmc_graphics()], speed_gts=5.0, secondary=0x84),
    ]
    buses = [
        epyc.quadrant(rome, 0x00, [ports["PCIE5"], ports["PCIE6"]], usb=True),
        epyc.quadrant(rome, 0x40, [ports["PCIE3"], ports["PCIE4"]]),
        epyc.quadrant(rome, 0x80, [ports["PCIE2"], *service]),
        epyc.quadrant(rome, 0xC0, [ports["PCIE1"], ports["PCIE7"]]),
    ]
    built = Machine(
        name="amd-dev",
        title="2x Radeon RX 7900 XTX on ROMED8-2T/BCM",
        user="geohot",
        cpu=epyc.EPYC_7662,
        kernel=Kernel(
            "6.8.0-60-generic",
            "#63~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC Tue Apr 22 19:00:15 UTC 2",
            compiler="(buildd@lcy02-amd64-025) (x86_64-linux-gnu-gcc-12 (Ubuntu 12.3.0-1ubuntu1~22.04) 12.3.0, GNU ld "
            "(GNU Binutils for Ubuntu) 2.38)",
            parameters=["ro", "iommu=pt"],
        ),
        dmi=Dmi(
            board_name="ROMED8-2T/BCM",
            bios_version="P3.50",
            bios_date="07/19/2022",
            product_uuid="5f1d2c3b-0000-4000-8000-000000009e00",
        ),
        buses=buses,
        memory=epyc.eight_dimms(8 * 1024, part="M393A1K43DB2-CWE", ranks=1),
        slots=[Slot(name, number, ports[name]) for number, name in enumerate(sorted(ports))],
        supplies=[],
        iommu="identity",
        root_device="nvme0n1p2",
        os_release=("ubuntu", "22.04", "Ubuntu 22.04.5 LTS"),
        shm_bytes=32 << 30,
    )
    built.amd = [
        AmdGpu(ports[name].children[0].children[0].children[0], unique_id=0x9E07_0A3D_0000_0001 + number * 0x2_0001)
        for number, name in enumerate(sorted(POPULATED, key=lambda one: PLACES[one][1]))
    ]
    for gpu in built.amd:
        gpu.gtt_mib = built.mem_total_kib // 2048
    built.rocm = "6.3.3"
    built.packages = {
        "rocm-core": "6.3.3.60303-74~22.04",
        "rocm-hip-runtime": "6.3.3.60303-74~22.04",
        "linux-firmware": "20220329.git681281e4-0ubuntu3.36",
        "linux-generic-hwe-22.04": "6.8.0.60.63~22.04.1",
    }
    built.udev_rules = dict(UDEV)
    built.drives = [
        Drive(
            drive,
            "Samsung SSD 990 PRO 2TB",
            "S7DNNJ0W400004X",
            "4B2QJXD7",
            2_000_398_934_016,
            partitions=("nvme0n1p1", "nvme0n1p2"),
        )
    ]
    built.ports = [
        Port(network[0], "eno1np0", "d0:50:99:00:00:11", 10000),
        Port(network[1], "eno2np1", "d0:50:99:00:00:12", 10000, False),
    ]
    built.modules = epyc.common_modules("bnxt_en", "snd_hda_intel")
    return built
