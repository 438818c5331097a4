"""wopr-7x4090: seven RTX 4090 on an ASRock Rack ROMED8-2T, as its builder describes it (mov-axbx.com/wopr).

Which root port serves which slot is not published, so the map below is built. The cards idle at 2.5 GT/s and were read
again under load.
"""

from __future__ import annotations

from tests.boxes import epyc, parts, parts_gpu
from tests.boxes.hardware import Dmi, Drive, Kernel, NvidiaGpu, Port, Slot
from tests.boxes.machine import Machine
from tests.boxes.pci_build import Function
from tests.boxes.tinybox_green import add_driver

DRIVER = "570.148.08"
SLOT_NUMBERS = {"PCIE1": 21, "PCIE2": 20, "PCIE3": 19, "PCIE4": 18, "PCIE5": 17, "PCIE6": 16, "PCIE7": 15}


def machine() -> Machine:
    milan = parts.MILAN

    def slot_port(name: str, number: int, secondary: int) -> Function:
        return parts.root_port(
            milan, number, 1, slot=SLOT_NUMBERS[name], children=parts_gpu.rtx_4090(), secondary=secondary
        )

    ports = {
        "PCIE1": slot_port("PCIE1", 1, 0xC1),
        "PCIE2": slot_port("PCIE2", 1, 0x81),
        "PCIE3": slot_port("PCIE3", 1, 0x41),
        "PCIE4": slot_port("PCIE4", 3, 0x42),
        "PCIE5": slot_port("PCIE5", 1, 0x01),
        "PCIE6": slot_port("PCIE6", 3, 0x02),
        "PCIE7": slot_port("PCIE7", 3, 0xC2),
    }
    boot = parts.nvme_drive("Samsung 990 PRO", parts.SAMSUNG, 0xA80C, 0x0025384101A00001)
    network = parts.network_card("Intel X550-AT2", parts.INTEL, 0x1563, "ixgbe", 0x0000C9FFFF000001)
    ports_80 = [
        ports["PCIE2"],
        parts.root_port(milan, 3, 1, 4, slot=14, children=[boot], secondary=0x82),
        parts.root_port(milan, 3, 2, 4, children=network, secondary=0x83),
        parts.root_port(milan, 3, 3, 1, children=[parts.bmc_graphics()], speed_gts=5.0, secondary=0x84),
    ]
    buses = [
        epyc.quadrant(milan, 0x00, [ports["PCIE5"], ports["PCIE6"]], usb=True),
        epyc.quadrant(milan, 0x40, [ports["PCIE3"], ports["PCIE4"]]),
        epyc.quadrant(milan, 0x80, ports_80),
        epyc.quadrant(milan, 0xC0, [ports["PCIE1"], ports["PCIE7"]]),
    ]
    built = Machine(
        name="wopr",
        title="WOPR, 7x RTX 4090 on ROMED8-2T",
        user="wopr",
        cpu=epyc.EPYC_7763_ES,
        kernel=Kernel(
            "6.14.0-36-generic",
            "#36~24.04.1-Ubuntu SMP PREEMPT_DYNAMIC Wed Oct 15 15:45:17 UTC 2",
            parameters=["ro", "quiet", "iommu=pt"],
            taint=0x1000 | 0x2000,
        ),
        dmi=Dmi(board_name="ROMED8-2T", bios_version="P3.80", product_uuid="5f1d2c3b-0000-4000-8000-00000000090a"),
        buses=buses,
        memory=epyc.eight_dimms(64 * 1024, part="M393A8G40AB2-CWE", ranks=2),
        slots=[Slot(name, number, ports[name]) for number, name in enumerate(sorted(ports))],
        supplies=[],
        iommu="identity",
        root_device="nvme0n1p2",
        bmc=True,
    )
    built.nvidia = [
        NvidiaGpu(
            ports[name].children[0],
            uuid=f"GPU-4090{number:04d}-4417-4000-8000-00000000{4410 + number}",
            serial=f"13246230{4410 + number}",
            core_celsius=33 + number % 3,
        )
        for number, name in sorted((ports[name].secondary, name) for name in ports)
    ]
    add_driver(built, DRIVER, "570")
    built.drives = [
        Drive(
            boot,
            "Samsung SSD 990 PRO 2TB",
            "S7DNNJ0W400001X",
            "4B2QJXD7",
            2_000_398_934_016,
            partitions=("nvme0n1p1", "nvme0n1p2"),
        )
    ]
    built.ports = [
        Port(network[0], "eno1np0", "d0:50:99:00:00:01", 10000),
        Port(network[1], "eno2np1", "d0:50:99:00:00:02", -1, False),
    ]
    built.modules = epyc.common_modules("ixgbe", "snd_hda_intel")
    for name in ports:
        ports[name].idle_at(2.5)
    built.interrupts = {ports[name].bdf: 6 for name in ports}
    return built


def machine_one_reading() -> Machine:
    """The same box, idle at 2.5 GT/s, with no reading under load."""
    built = machine()
    built.load_readings = False
    return built
