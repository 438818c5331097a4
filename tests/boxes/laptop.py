"""laptop: an ordinary machine without a discrete GPU, as somebody who just cloned the repository has it. Made up.

Intel, integrated graphics, no ECC, IOMMU translating, powersave governor: nothing of it is wrong on a laptop.
"""

from __future__ import annotations

from tests.boxes import parts
from tests.boxes.hardware import Cpu, Dimm, Dmi, Drive, Kernel, Module, Port, RootBus
from tests.boxes.machine import Machine
from tests.boxes.parts import ALDER_LAKE, INTEL
from tests.boxes.pci_build import KIB, MIB, Bar, Function
from tests.boxes.pci_config import Express, Msi, PowerManagement, VendorSpecific


def chip(
    name: str,
    device: int,
    class_code: int,
    number: int,
    function: int = 0,
    driver: str | None = None,
    bars: list[Bar] | None = None,
    revision: int = 1,
) -> Function:
    """A function of the processor or chipset on bus 0: conventional PCI."""
    made = Function(
        name, INTEL, device, class_code, number, function, revision, (0x17AA, 0x22E7), bars or [], driver=driver
    )
    made.capabilities = [PowerManagement(0xD0), Msi(0xAC, enabled=driver is not None)]
    return made


def machine() -> Machine:
    graphics = Function(
        "Iris Xe Graphics",
        INTEL,
        0x46A6,
        0x030000,
        2,
        0,
        0x0C,
        (0x17AA, 0x22E7),
        driver="i915",
        bars=[Bar(0, 16 * MIB, "mem64"), Bar(2, 256 * MIB, "mem64pref"), Bar(4, 64, "io")],
    )
    graphics.capabilities = [
        VendorSpecific(0x40, data=b"\x0c\x01\x01\x00\x00"),
        Express(0x70, "rciep", max_payload=128, payload=128),
        Msi(0xAC),
        PowerManagement(0xD0),
    ]
    drive = parts.nvme_drive("Samsung PM9A1", parts.SAMSUNG, 0xA80A, 0x0025384C21A00001)
    port = parts.root_port(ALDER_LAKE, 6, 0, 4, slot=5, children=[drive], secondary=0x04)
    port.services = [one for one in port.services if one[1] in ("pcie_pme", "aer", "dpc")]
    wifi = chip("Wi-Fi 6E", 0x51F0, 0x028000, 0x14, 3, "iwlwifi", [Bar(0, 16 * KIB, "mem64")])
    functions = [
        Function("host bridge", INTEL, ALDER_LAKE.root_complex, 0x060000, subsystem=(0x17AA, 0x22E7)),
        graphics,
        port,
        chip("USB controller", 0x51ED, 0x0C0330, 0x14, 0, "xhci_hcd", [Bar(0, 64 * KIB, "mem64")]),
        wifi,
        chip("audio", 0x51C8, 0x040100, 0x1F, 3, "snd_hda_intel", [Bar(0, 16 * KIB, "mem64"), Bar(4, MIB, "mem64")]),
        chip("eSPI", 0x5182, 0x060100, 0x1F, 0),
        chip("SMBus", 0x51A3, 0x0C0500, 0x1F, 4, "i801_smbus", [Bar(4, 32, "io")]),
    ]
    functions.sort(key=lambda one: (one.device_number, one.function_number))
    built = Machine(
        name="laptop",
        title="an ordinary laptop",
        user="ada",
        cpu=Cpu(
            "12th Gen Intel(R) Core(TM) i7-1260P",
            vendor="GenuineIntel",
            family=6,
            model=154,
            stepping=3,
            cores=12,
            threads_per_core=1,
            base_mhz=2100,
            max_mhz=4700,
            scaling_driver="intel_pstate",
            governor="powersave",
            socket_name="U3E1",
        ),
        kernel=Kernel(
            "6.8.0-79-generic",
            "#79-Ubuntu SMP PREEMPT_DYNAMIC Tue Aug 12 14:42:46 UTC 2025",
            parameters=["ro", "quiet", "splash"],
            lockdown="none [integrity] confidentiality",
        ),
        dmi=Dmi(
            board_vendor="LENOVO",
            board_name="21CBCTO1WW",
            sys_vendor="LENOVO",
            product_name="21CBCTO1WW",
            product_family="ThinkPad X1 Carbon Gen 10",
            product_sku="LENOVO_MT_21CB",
            bios_vendor="LENOVO",
            bios_version="N3AET82W (1.47 )",
            bios_date="06/11/2025",
            bios_release="1.47",
            chassis_type=10,
            chassis_vendor="LENOVO",
            product_uuid="5f1d2c3b-0000-4000-8000-0000000ada00",
        ),
        buses=[RootBus(0x00, functions, 0, 0x6000_0000, 0x60_0000_0000, 0x3000)],
        memory=[
            Dimm(
                f"Controller{one // 4}-Channel{'ABCD'[one % 4]}-DIMM0",
                f"BANK {one}",
                4096,
                5200,
                5200,
                "LPDDR5",
                "Row Of Chips",
                False,
                False,
                1,
                "Samsung",
                "K3LKCKC0BM-MGCP",
                "00000000",
                one,
            )
            for one in range(8)
        ],
        memory_total_kib=32_527_040,
        ecc="None",
        edac=False,
        iommu="DMA-FQ",
        root_device="nvme0n1p2",
        bmc=False,
        shm_bytes=16 << 30,
        load_readings=False,
        user_groups=["adm", "sudo"],
    )
    built.limits = {"Max locked memory": ("4165500928", "4165500928"), "Max open files": ("1024", "1048576")}
    built.drives = [
        Drive(drive, "SAMSUNG MZVL21T0HCLR-00BL7", "S64NNX0T100001", "CL1QGXA7", partitions=("nvme0n1p1", "nvme0n1p2"))
    ]
    built.ports = [Port(wifi, "wlp0s20f3", "a0:29:42:00:00:01", -1)]
    built.modules = [Module(name) for name in ("i915", "iwlwifi", "nvme", "snd_hda_intel", "coretemp")]
    return built
