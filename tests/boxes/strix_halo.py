"""strix-halo: a Framework Desktop with Ryzen AI Max+ 395, 128 GB, set up as its users recommend.

Facts: product and board strings, MemTotal of 125.08 GiB and the devices from an inxi listing of such a box; ids of root
complex, IOMMU and GPP bridge from pci.ids; kernel 6.18.9, linux-firmware 20260110 and memory parameters from the README
of kyuz0/amd-strix-halo-toolboxes.
The GPU's address c3:00.0 is Framework's; root ports 00:02.5 and 00:03.1 carry its NVMe sockets.
"""

from __future__ import annotations

from tests.boxes import parts
from tests.boxes.hardware import AmdGpu, Cpu, Dimm, Dmi, Drive, Kernel, Module, Port, RootBus
from tests.boxes.machine import Machine
from tests.boxes.parts import AMD, ATI, STRIX_HALO
from tests.boxes.pci_build import KIB, MIB, Bar, Function
from tests.boxes.pci_config import Express, Msi, MsiX, PowerManagement, VendorSpecific
from tests.boxes.pci_extended import (
    Aer,
    LatencyTolerance,
    RebarEntry,
    ResizableBar,
    SecondaryExpress,
    SerialNumber,
    VendorExtended,
)

PAGES_LIMIT = 32505856
GTT_MIB = 126976
CARVE_OUT_MIB = 512


def integrated_gpu() -> list[Function]:
    gpu = Function(
        "Radeon 8060S",
        ATI,
        0x1586,
        0x038000,
        revision=0xD1,
        subsystem=(0xF111, 0x000A),
        driver="amdgpu",
        rom_size=0,
        reset_method="",
    )
    gpu.bars = [
        Bar(0, CARVE_OUT_MIB * MIB, "mem64pref"),
        Bar(2, 2 * MIB, "mem64pref"),
        Bar(4, 256, "io"),
        Bar(5, MIB, "mem32"),
    ]
    gpu.capabilities = [
        VendorSpecific(0x48, data=b"\x08\x00\x00\x00\x00"),
        PowerManagement(0x50),
        Express(
            0x64,
            "legacy",
            max_payload=256,
            max_speed_gts=16.0,
            max_width=16,
            aspm_support=3,
            ltr=True,
            atomic_32=True,
            atomic_64=True,
            completion_timeout=0,
        ),
        Msi(0xA0, enabled=False),
        MsiX(0xC0, vectors=4, bar=5, table=0x42000, pending=0x43000),
        VendorExtended(0x100),
        ResizableBar(0x200, entries=[RebarEntry(0, (256, 512), CARVE_OUT_MIB)]),
        SecondaryExpress(0x270),
    ]
    sound = parts.on_chip(
        "Radeon audio", 0x1640, 0x040300, 0, 1, "snd_hda_intel", [Bar(0, 16 * KIB, "mem32")], vendor=ATI
    )
    return [gpu, sound, parts.on_chip("PSP", 0x17E0, 0x108000, 0, 2), parts.usb_controller(0x1587, 0, 4)]


def small_card(
    name: str, vendor: int, device: int, class_code: int, driver: str, serial: int, speed_gts: float
) -> Function:
    """A network controller with one lane."""
    card = Function(
        name,
        vendor,
        device,
        class_code,
        subsystem=(0xF111, device),
        driver=driver,
        bars=[Bar(2, 64 * KIB, "mem64"), Bar(4, 16 * KIB, "mem64")],
    )
    card.capabilities = [
        PowerManagement(0x40),
        Msi(0x50, enabled=False),
        Express(
            0x70,
            "endpoint",
            max_payload=256,
            payload=128,
            max_speed_gts=speed_gts,
            max_width=1,
            width=1,
            speed_gts=speed_gts,
            aspm_support=3,
            completion_timeout=0,
        ),
        MsiX(0xB0, vectors=32, bar=4, table=0, pending=0x800),
        Aer(0x100),
        SerialNumber(0x160, serial=serial),
        LatencyTolerance(0x170),
    ]
    return card


def machine() -> Machine:
    chip = STRIX_HALO
    drive = parts.nvme_drive("WD_BLACK SN850X 2000GB", parts.WD, 0x5030, 0x001B448B4A00F111)
    wired = small_card("Realtek RTL8126", 0x10EC, 0x8126, 0x020000, "r8169", 0x01000000684CE000, 8.0)
    wifi = small_card("MediaTek MT7925", 0x14C3, 0x7925, 0x028000, "mt7925e", 0x0, 5.0)
    functions = [
        parts.host_bridge(chip.root_complex),
        unit := parts.iommu(chip.iommu),
        parts.host_bridge(chip.dummy, 1, 0),
        parts.host_bridge(chip.dummy, 2, 0),
        parts.root_port(chip, 2, 3, 1, children=[wired], secondary=0xC0, slot=23),
        parts.root_port(chip, 2, 4, 1, children=[wifi], secondary=0xC1),
        parts.root_port(chip, 2, 5, 4, children=[drive], secondary=0xC2, slot=25),
        parts.host_bridge(chip.dummy, 3, 0),
        parts.root_port(chip, 3, 1, 4, slot=31, secondary=0x61),
        parts.root_port(chip, 3, 2, 4, slot=32, secondary=0x62),
        parts.host_bridge(chip.dummy, 8, 0),
    ]
    internal = parts.internal_port(chip, 8, integrated_gpu())
    internal.secondary = 0xC3
    functions.append(internal)
    functions += [
        Function("SMBus", AMD, 0x790B, 0x0C0500, 0x14, 0, revision=0x71, subsystem=(0xF111, 0x000A)),
        Function("LPC bridge", AMD, 0x790E, 0x060100, 0x14, 3, revision=0x51, subsystem=(0xF111, 0x000A)),
    ]
    functions += [
        Function("data fabric", AMD, chip.fabric + one, 0x060000, 0x18, one, driver="k10temp" if one == 3 else None)
        for one in range(8)
    ]
    built = Machine(
        name="strixhalo",
        title="Strix Halo, Framework Desktop 128 GB",
        user="lhl",
        cpu=Cpu(
            "AMD RYZEN AI MAX+ 395 w/ Radeon 8060S",
            family=26,
            model=112,
            cores=16,
            base_mhz=3000,
            max_mhz=5187,
            scaling_driver="amd-pstate-epp",
            socket_name="FP11",
        ),
        kernel=Kernel(
            "6.18.9-200.fc43.x86_64",
            "#1 SMP PREEMPT_DYNAMIC Fri Feb  6 21:39:48 UTC 2026",
            compiler="(mockbuild@5c1a2e0f) (gcc (GCC) 15.2.1 20260123 (Red Hat 15.2.1-7), GNU ld version 2.45.1)",
            parameters=[
                "ro",
                "rhgb",
                "quiet",
                "amd_iommu=off",
                f"amdgpu.gttsize={GTT_MIB}",
                f"ttm.pages_limit={PAGES_LIMIT}",
            ],
        ),
        dmi=Dmi(
            board_vendor="Framework",
            board_name="FRANMFCP06",
            board_version="A6",
            sys_vendor="Framework",
            product_name="Desktop (AMD Ryzen AI Max 300 Series)",
            product_family="Laptop",
            product_sku="FRAMBL0006",
            bios_vendor="INSYDE Corp.",
            bios_version="03.04",
            bios_date="11/19/2025",
            bios_release="3.4",
            chassis_type=3,
            chassis_vendor="Framework",
            product_uuid="5f1d2c3b-0000-4000-8000-00000000f111",
        ),
        buses=[RootBus(0x00, functions, 0, 0x9000_0000, 0x90_0000_0000, 0x1000, unit)],
        memory=[
            Dimm(
                f"DIMM {number % 2}",
                f"P0 CHANNEL {'ABCDEFGH'[number]}",
                16 * 1024,
                8000,
                8000,
                "LPDDR5",
                "Row Of Chips",
                False,
                False,
                2,
                "Micron Technology",
                "MT62F4G32D8DV-023 WT",
                f"0000000{number}",
                number,
            )
            for number in range(8)
        ],
        memory_total_kib=131_155_888,
        ecc="None",
        edac=False,
        iommu="off",
        root_device="nvme0n1p3",
        bmc=False,
        os_release=("fedora", "43", "Fedora Linux 43 (Server Edition)"),
        shm_bytes=62 << 30,
        groups={"root": 0, "adm": 4, "disk": 6, "kmem": 9, "wheel": 10, "video": 39, "render": 105, "sudo": 27},
        user_groups=["wheel", "video", "render"],
    )
    built.amd = [
        AmdGpu(
            internal.children[0],
            gfx_target=110501,
            vram_mib=CARVE_OUT_MIB,
            visible_mib=CARVE_OUT_MIB,
            gtt_mib=GTT_MIB,
            vbios="113-STRXLGEN-001",
            unique_id=0,
            compute_units=40,
            shader_engines=2,
            memory_width=256,
            memory_mhz=1000,
            core_mhz=2900,
            cap_watts=120,
            default_cap_watts=120,
            max_cap_watts=120,
            idle_watts=9.0,
            edge_celsius=31.0,
            fan_rpm=None,
            apu=True,
            kfd_memory_bytes=PAGES_LIMIT * 4096,
            vram_vendor="unknown",
        )
    ]
    built.ttm_pages_limit = PAGES_LIMIT
    built.amdgpu_parameters = {"gttsize": str(GTT_MIB)}
    built.rocm = "7.2.0"
    built.packages = {"linux-firmware": "20260110-1.fc43"}
    built.udev_rules = {
        "/etc/udev/rules.d/99-amd-kfd.rules": 'SUBSYSTEM=="kfd", GROUP="render", MODE="0660"\n'
        'SUBSYSTEM=="drm", KERNEL=="renderD*", GROUP="render", '
        'MODE="0660"\n'
    }
    built.drives = [
        Drive(
            drive,
            "WD_BLACK SN850X 2000GB",
            "25010F111001",
            "620361WD",
            2_000_398_934_016,
            partitions=("nvme0n1p1", "nvme0n1p2", "nvme0n1p3"),
        )
    ]
    built.ports = [
        Port(wired, "enp192s0", "9c:bf:0d:00:00:01", 2500),
        Port(wifi, "wlp193s0", "9c:bf:0d:00:00:02", -1, False),
    ]
    built.modules = [Module(name) for name in ("k10temp", "nvme", "r8169", "mt7925e", "snd_hda_intel")]
    built.cpu_celsius = 42.0
    built.boot_lines["early"] = [
        "[drm] Configuring gttsize via module parameter is deprecated, please use ttm.pages_limit"
    ]
    built.edits.append(lambda tree: tree.put("/etc/tuned/active_profile", "accelerator-performance"))
    return built
