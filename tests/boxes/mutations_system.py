"""Mutations of drivers, kernel, memory, storage, power and settings."""

from __future__ import annotations

from tests.boxes.hardware import Cpu
from tests.boxes.machine import Machine
from tests.boxes.mutations import (
    BOXES_ALL,
    CARDS,
    DEV,
    EPYC,
    GREEN,
    NVIDIA,
    RADEON,
    RED,
    RED2,
    STRIX,
    WOPR,
    gpu_of,
    mutation,
    port_of,
)
from tests.boxes.tree import Tree

# Kernel


@mutation("kernel-too-old", DEV, RED, area="Linux 5.15 does not know Navi 31")
def kernel_too_old(machine: Machine) -> None:
    machine.kernel.release = "5.15.0-91-generic"
    machine.kernel.build = "#101-Ubuntu SMP Tue Nov 14 13:30:08 UTC 2023"
    machine.amdgpu_version = None
    machine.dkms = {}
    for gpu in machine.amd:
        gpu.function.driver, gpu.initialised = None, False
    machine.boot_lines["no-amdgpu"] = []


@mutation("unknown-parameter", *BOXES_ALL, area="the command line holds a misspelt parameter (amd_iomu)")
def unknown_parameter(machine: Machine) -> None:
    machine.kernel.parameters.append("amd_iomu=pt")


@mutation("taint-machine-check", *BOXES_ALL, area="the kernel is tainted by a machine check")
def taint_mce(machine: Machine) -> None:
    machine.kernel.taint |= 1 << 4


@mutation("taint-warning", *BOXES_ALL, area="the kernel printed a warning (taint W)")
def taint_warning(machine: Machine) -> None:
    machine.kernel.taint |= 1 << 9
    machine.log_lines.append("WARNING: CPU: 3 PID: 812 at kernel/workqueue.c:2312 __queue_work+0x21/0x50")


@mutation("reboot-pending", *EPYC, area="a newer kernel is installed than the one that runs")
def reboot_pending(machine: Machine) -> None:
    release = machine.kernel.release.split("-")
    machine.kernel.newest_installed = "-".join([release[0], str(int(release[1]) + 2), *release[2:]])


@mutation("dkms-missing", WOPR, RED, GREEN, area="the out-of-tree module was not built for the running kernel")
def dkms_missing(machine: Machine) -> None:
    machine.dkms_kernels = ["6.8.0-60-generic"]


@mutation("lockdown", *BOXES_ALL, area="the kernel is locked down")
def lockdown(machine: Machine) -> None:
    machine.kernel.lockdown = "none [integrity] confidentiality"


@mutation("governor-powersave", *BOXES_ALL, area="the CPU governor is powersave")
def governor(machine: Machine) -> None:
    machine.cpu.governor = "powersave"


@mutation("nomodeset", *RADEON, STRIX, area="nomodeset is on the command line")
def nomodeset(machine: Machine) -> None:
    machine.kernel.parameters.append("nomodeset")


# Limits and environment


@mutation("memlock-small", *BOXES_ALL, area="locked memory is limited to 8 MiB")
def memlock(machine: Machine) -> None:
    machine.limits["Max locked memory"] = ("8388608", "8388608")


@mutation("nofile-small", *BOXES_ALL, area="open files are limited to 1024")
def nofile(machine: Machine) -> None:
    machine.limits["Max open files"] = ("1024", "1048576")


@mutation("shm-small", *BOXES_ALL, area="/dev/shm has 64 MiB")
def shm(machine: Machine) -> None:
    machine.shm_bytes = 64 << 20


@mutation("hsa-override", *RADEON, STRIX, area="HSA_OVERRIDE_GFX_VERSION is set")
def hsa_override(machine: Machine) -> None:
    machine.environment["HSA_OVERRIDE_GFX_VERSION"] = "10.3.0"


@mutation("visible-devices", *CARDS, area="an environment variable hides GPUs")
def visible_devices(machine: Machine) -> None:
    machine.environment["CUDA_VISIBLE_DEVICES" if machine.nvidia else "HIP_VISIBLE_DEVICES"] = "0,1"


@mutation("nccl-p2p-disabled", *NVIDIA, area="NCCL_P2P_DISABLE is set")
def nccl(machine: Machine) -> None:
    machine.environment["NCCL_P2P_DISABLE"] = "1"


# CPU and memory


@mutation("wrong-cpu", *EPYC, area="the processor is an 8-core EPYC 7262")
def wrong_cpu(machine: Machine) -> None:
    machine.cpu = Cpu(
        "AMD EPYC 7262 8-Core Processor", cores=8, base_mhz=3200, max_mhz=3400, sockets=machine.cpu.sockets
    )


@mutation("dimm-missing", *EPYC, area="one DIMM is missing: seven of eight channels", slot="DIMM_C1")
def dimm_missing(machine: Machine) -> None:
    machine.memory[2].size_mib = 0


@mutation(
    "dimm-slow", WOPR, RED, RED2, GREEN, DEV, area="one DIMM is rated for 2666 and pulls all down to it", slot="DIMM_E1"
)
def dimm_slow(machine: Machine) -> None:
    machine.memory[4].rated_mts, machine.memory[4].part_number = 2666, "M393A2K40CB2-CTD"
    for dimm in machine.memory:
        dimm.configured_mts = 2666


@mutation("memory-underclocked", WOPR, RED, GREEN, DEV, area="memory rated for 3200 runs at 2666")
def memory_underclocked(machine: Machine) -> None:
    for dimm in machine.memory:
        dimm.configured_mts = 2666


@mutation("ecc-off", *EPYC, area="ECC is off")
def ecc_off(machine: Machine) -> None:
    machine.ecc, machine.edac = "None", False


@mutation("edac-ce", *EPYC, area="corrected memory errors", slot="DIMM_D1")
def edac_ce(machine: Machine) -> None:
    machine.memory[3].corrected_errors = 57
    machine.log_lines += [
        "mce: [Hardware Error]: Machine check events logged",
        "[Hardware Error]: Corrected error, no action required.",
        "[Hardware Error]: CPU:0 (19:1:0) MC17_STATUS[Over|CE|MiscV|AddrV|-|-|SyndV|CECC|-|-|-]: 0xdc2040000000011b",
        "EDAC MC0: 1 CE on mc#0csrow#0channel#3 (csrow:0 channel:3 page:0x8a1f2c offset:0x640 grain:64 syndrome:0x40)",
    ]


@mutation("edac-ue", *EPYC, area="an uncorrectable memory error", slot="DIMM_D1")
def edac_ue(machine: Machine) -> None:
    machine.memory[3].uncorrected_errors = 1
    machine.log_lines += [
        "[Hardware Error]: Deferred error, no action required.",
        "EDAC MC0: 1 UE on mc#0csrow#0channel#3 (csrow:0 channel:3 page:0x8a1f2c offset:0x640 grain:64)",
    ]


# Storage, network, power


@mutation("nvme-missing", RED, GREEN, area="one NVMe drive of the array is missing")
def nvme_missing(machine: Machine) -> None:
    drive = machine.drives[2].function
    drive.visible = False
    assert drive.parent is not None
    drive.parent.express.width, drive.parent.express.speed_gts, drive.parent.express.presence = 0, 2.5, False
    machine.raid[0].active = False
    machine.raid[0].members = ["nvme0n1", "nvme1n1", "nvme3n1"]


@mutation("raid-inactive", RED, GREEN, area="the RAID array is not assembled")
def raid_inactive(machine: Machine) -> None:
    machine.raid[0].active = False


@mutation("raid-degraded", RED, GREEN, area="a RAID array lost a member")
def raid_degraded(machine: Machine) -> None:
    array = machine.raid[0]
    array.level, array.members, array.degraded = "raid10", array.members[:3], 1


@mutation("nvme-critical-warning", WOPR, RED, GREEN, DEV, STRIX, area="an NVMe drive reports a critical warning")
def nvme_warning(machine: Machine) -> None:
    drive = machine.drives[0]
    drive.critical_warning, drive.media_errors, drive.percentage_used, drive.spare_percent = 0x04, 12, 103, 4


@mutation("boot-usb-480", RED, GREEN, area="the boot disk runs at 480 Mbit/s")
def boot_usb(machine: Machine) -> None:
    assert machine.usb_disk is not None
    machine.usb_disk.speed_mbps = 480


@mutation("disk-full", *BOXES_ALL, area="the root file system is nearly full")
def disk_full(machine: Machine) -> None:
    machine.free_fraction = 0.02


@mutation("nic-missing", WOPR, RED, GREEN, DEV, area="the network controller is missing")
def nic_missing(machine: Machine) -> None:
    for port in machine.ports:
        port.function.visible = False
        assert port.function.parent is not None
        port.function.parent.express.width = 0
        port.function.parent.express.presence = False


@mutation("psu-dead", RED, GREEN, area="a power supply has lost its input")
def psu_dead(machine: Machine) -> None:
    machine.supplies[1].ok = False
    machine.bmc_events.append("Power Supply #0xc2 | Power Supply AC lost | Asserted")


@mutation("psu-absent", RED, GREEN, area="one of two power supplies is not there")
def psu_absent(machine: Machine) -> None:
    machine.supplies[1].present = machine.supplies[1].ok = False


@mutation("fan-dead", *EPYC, area="a case fan stands still")
def fan_dead(machine: Machine) -> None:
    machine.fan_rpm[2] = 0


@mutation("sel-critical", *EPYC, area="the BMC logged an uncorrectable memory error")
def sel_critical(machine: Machine) -> None:
    machine.bmc_events.append("Memory #0x53 | Uncorrectable ECC | Asserted")


@mutation("clock-unsynchronised", *BOXES_ALL, area="the clock follows no time server")
def clock(machine: Machine) -> None:
    machine.clock_synchronized = False


@mutation("cpu-hot", *BOXES_ALL, area="the processor is hot")
def cpu_hot(machine: Machine) -> None:
    machine.cpu_celsius = 96.5


# Log


def _log(name: str, *boxes: str, area: str, slot: str | None = None, lines: tuple[str, ...]) -> None:
    @mutation(name, *boxes, area=area, slot=slot)
    def say(machine: Machine) -> None:
        gpu = gpu_of(machine) if machine.slots else machine.gpu_functions()[0]
        words = {"bdf": gpu.bdf, "short": gpu.bdf.rsplit(".", 1)[0]}
        machine.log_lines += [line.format(**words) for line in lines]


_log(
    "xid-48",
    *NVIDIA,
    area="Xid 48: double-bit memory error",
    slot="PCIE3",
    lines=(
        "NVRM: Xid (PCI:{short}): 48, pid='<unknown>', name=<unknown>, An uncorrectable double bit error (DBE) has "
        "been detected on GPU in the framebuffer at partition 6, subpartition 0.",
    ),
)
_log(
    "xid-31-application",
    *NVIDIA,
    area="Xid 31: an application's page fault, not the machine's",
    slot="PCIE3",
    lines=(
        "NVRM: Xid (PCI:{short}): 31, pid=20110, name=python3, Ch 00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS "
        "GPCCLIENT_T1_0 faulted @ 0x7f1b_20000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
    ),
)
_log(
    "amdgpu-reset",
    *RADEON,
    STRIX,
    area="amdgpu reset a GPU",
    slot="PCIE3",
    lines=(
        "amdgpu {bdf}: amdgpu: ring gfx_0.0.0 timeout, signaled seq=18821, emitted seq=18823",
        "amdgpu {bdf}: amdgpu: GPU reset begin!",
        "amdgpu {bdf}: amdgpu: MODE1 reset",
        "amdgpu {bdf}: amdgpu: GPU reset(1) succeeded!",
    ),
)
_log(
    "iommu-fault",
    *CARDS,
    area="the IOMMU refused a GPU's access",
    slot="PCIE3",
    lines=("nvidia {bdf}: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003 address=0x80000040 flags=0x0020]",),
)
_log(
    "mce-in-log",
    *EPYC,
    area="a machine check in the kernel log",
    lines=(
        "mce: [Hardware Error]: CPU 12: Machine Check: 0 Bank 5: bea0000000000108",
        "mce: [Hardware Error]: TSC 0 ADDR 1ffffc0d3f4a6 MISC d012000100000000 SYND 4d000000 IPID 500b000000000",
        "mce: [Hardware Error]: PROCESSOR 2:830f10 TIME 1788270000 SOCKET 0 APIC 18 microcode 830107c",
    ),
)
_log(
    "ghes-pcie",
    *EPYC,
    area="firmware reported a PCIe error",
    slot="PCIE3",
    lines=(
        "{{1}}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 512",
        "{{1}}[Hardware Error]: event severity: corrected",
        "{{1}}[Hardware Error]:  Error 0, type: corrected",
        "{{1}}[Hardware Error]:   section_type: PCIe error",
        "{{1}}[Hardware Error]:   port_type: 0, PCIe end point",
        "{{1}}[Hardware Error]:   device_id: {bdf}",
        "{{1}}[Hardware Error]:   aer_cor_status: 0x00000040, aer_cor_mask: 0x00000000",
    ),
)
_log(
    "soft-lockup",
    *BOXES_ALL,
    area="a CPU was stuck",
    lines=("watchdog: BUG: soft lockup - CPU#21 stuck for 26s! [kworker/21:1:512]",),
)


@mutation(
    "previous-boot-crash",
    *EPYC,
    area="the previous boot ended without a clean shutdown, after a fatal PCIe error",
    slot="PCIE3",
)
def previous_crash(machine: Machine) -> None:
    port = port_of(machine)

    def crash(tree: Tree) -> None:
        lines = tree.text("/var/log/dmesg.0").splitlines()[:2]
        lines += [
            f"[80123.118301] pcieport {port.bdf}: AER: Uncorrectable (Fatal) error message received from {port.bdf}",
            f"[80123.118310] pcieport {port.bdf}: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction "
            "Layer, (Receiver ID)",
            f"[80123.118312] pcieport {port.bdf}:   device [{port.vendor:04x}:{port.device:04x}] error "
            "status/mask=00000020/00000000",
            f"[80123.118314] pcieport {port.bdf}:    [ 5] SDES                   (First)",
        ]
        tree.put("/var/log/dmesg.0", "\n".join(lines))

    machine.edits.append(crash)


@mutation("pstore-record", *BOXES_ALL, area="the last crash left a record in pstore")
def pstore(machine: Machine) -> None:
    machine.edits.append(
        lambda tree: tree.put(
            "/sys/fs/pstore/dmesg-efi_pstore-178827000001001",
            "Panic#1 Part1\n<0>[80124.2] Kernel panic - not syncing: Fatal hardware error!",
        )
    )
