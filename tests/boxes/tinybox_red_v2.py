"""tinybox-red-v2: four Radeon RX 9070 XT on PCIe 4.0, EPYC Rome, 128 GB, one 2 TB drive, one 1600 W supply.

The cards can do 32 GT/s and the processor 16, so 16 is what a healthy slot runs at. Board, slots and buses are built.
"""

from __future__ import annotations

from tests.boxes import epyc, parts, parts_gpu
from tests.boxes.hardware import AmdGpu, Dmi, Drive, Kernel, Module, Port, PowerSupply, Slot
from tests.boxes.machine import Machine
from tests.boxes.tinybox_red import UDEV, board

BUSES = {"PCIE1": 0x01, "PCIE2": 0x45, "PCIE3": 0x81, "PCIE4": 0xC1}
ROOT_PORTS = {"PCIE1": 1, "PCIE2": 3, "PCIE3": 1, "PCIE4": 1}


def machine() -> Machine:
    rome = parts.ROME
    cards = {
        name: parts.root_port(
            rome, ROOT_PORTS[name], 1, slot=10 + number, children=parts_gpu.radeon_9070_xt(), secondary=bus
        )
        for number, (name, bus) in enumerate(BUSES.items(), 1)
    }
    boot = parts.nvme_drive("Samsung 990 PRO", parts.SAMSUNG, 0xA80C, 0x0025384101B00001)
    network = parts.network_card("Intel I350", parts.INTEL, 0x1521, "igb", 0x3CECEFFFFF000003, speed_gts=5.0)
    built = Machine(
        name="tinybox-red-v2",
        title="tinybox red v2, 4x Radeon RX 9070 XT",
        cpu=epyc.EPYC_7532,
        kernel=Kernel(
            "6.14.0-33-generic",
            "#33~24.04.1-Ubuntu SMP PREEMPT_DYNAMIC Fri Sep 19 17:02:30 UTC 2",
            parameters=["ro", "console=ttyS1,115200n8", "console=tty0", "nosplash", "kernel.panic=2", "iommu=pt"],
            taint=0x3000,
        ),
        dmi=Dmi(
            board_name="TBX-ROME-4",
            bios_version="P1.50",
            bios_date="07/02/2025",
            product_uuid="5f1d2c3b-0000-4000-8000-0000000002ed",
        ),
        buses=board(rome, cards, [boot], network),
        memory=epyc.eight_dimms(16 * 1024),
        slots=[Slot(name, number, cards[name]) for number, name in enumerate(sorted(cards), 1)],
        supplies=[PowerSupply("PSU1", 1600)],
        iommu="identity",
        root_device="nvme0n1p2",
    )
    built.amd = [
        AmdGpu(
            cards[name].children[0].children[0].children[0],
            gfx_target=120001,
            vram_mib=16304,
            vbios="113-APM7489-001",
            unique_id=0x5C03_77B1_0000_0001 + number * 0x1_0003,
            compute_units=64,
            shader_engines=4,
            memory_width=256,
            memory_mhz=1258,
            core_mhz=2970,
            cap_watts=304,
            default_cap_watts=304,
            max_cap_watts=334,
            idle_watts=17.0,
            edge_celsius=33.0 + number,
            junction_celsius=36.0 + number,
            memory_celsius=48.0 + number,
        )
        for number, name in enumerate(sorted(cards, key=lambda one: BUSES[one]))
    ]
    for gpu in built.amd:
        gpu.gtt_mib = built.mem_total_kib // 2048
    built.rocm, built.amdgpu_version = "6.4.3", "6.12.12"
    built.amdgpu_parameters = {"cwsr_enable": "0", "ppfeaturemask": "0xffffbfff"}
    built.dkms = {"amdgpu": "6.12.12-2202139.24.04"}
    built.packages = {
        "amdgpu-dkms": "1:6.12.12.60403-2202139.24.04",
        "rocm-core": "6.4.3.60403-128~24.04",
        "rocm-hip-runtime": "6.4.3.60403-128~24.04",
        "linux-firmware": "20240318.git3b128b60-0ubuntu2.17",
    }
    built.modprobe = {"/etc/modprobe.d/amdgpu.conf": "options amdgpu cwsr_enable=0 ppfeaturemask=0xffffbfff"}
    built.udev_rules = dict(UDEV)
    built.drives = [
        Drive(
            boot,
            "Samsung SSD 990 PRO 2TB",
            "S7DNNJ0W400002X",
            "4B2QJXD7",
            2_000_398_934_016,
            partitions=("nvme0n1p1", "nvme0n1p2"),
        )
    ]
    built.ports = [
        Port(network[0], "eno1", "3c:ec:ef:00:00:03"),
        Port(network[1], "eno2", "3c:ec:ef:00:00:04", up=False),
    ]
    built.modules = [
        *epyc.common_modules("igb", "snd_hda_intel"),
        Module("amdkcl", "6.12.12", taint="OE", used_by=("amdgpu",)),
    ]
    return built
