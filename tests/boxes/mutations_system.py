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
    mutation,
)

# Kernel


@mutation("kernel-too-old", DEV, RED, area="Linux 5.15 does not know Navi 31")
def kernel_too_old(machine: Machine) -> None:
    machine.kernel.release = "5.15.0-91-generic"
    machine.kernel.build = "#101-Ubuntu SMP Tue Nov 14 13:30:08 UTC 2023"
    machine.amdgpu_version = None
    machine.dkms = {}
    without_driver(machine)


def without_driver(machine: Machine) -> None:
    """amdgpu is not loaded."""
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


@mutation("nomodeset-no-driver", STRIX, *RADEON, area="nomodeset is on the command line and keeps amdgpu from loading")
def nomodeset_no_driver(machine: Machine) -> None:
    nomodeset(machine)
    without_driver(machine)
    machine.boot_lines.setdefault("early", []).append(
        "Booted with the nomodeset parameter. Only the system framebuffer will be available")


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
    "dimm-slow", RED, RED2, GREEN, DEV, WOPR, area="one DIMM is rated for 2666 and pulls all down to it", slot="DIMM_E1"
)
def dimm_slow(machine: Machine) -> None:
    machine.memory[4].rated_mts, machine.memory[4].part_number = 2666, "M393A2K40CB2-CTD"
    for dimm in machine.memory:
        dimm.configured_mts = 2666


@mutation("memory-underclocked", RED, RED2, GREEN, DEV, area="memory rated for 3200 runs at 2666")
def memory_underclocked(machine: Machine) -> None:
    for dimm in machine.memory:
        dimm.configured_mts = 2666


@mutation("memory-2666", WOPR, area="none: 2666 is what the WOPR's 170 GB/s come from", healthy=True)
def memory_2666(machine: Machine) -> None:
    memory_underclocked(machine)


@mutation("ecc-off", *EPYC, area="ECC is off")
def ecc_off(machine: Machine) -> None:
    machine.ecc, machine.edac = "None", False


@mutation("edac-mode-none", *EPYC, area="EDAC says of every rank that nothing corrects it")
def edac_mode_none(machine: Machine) -> None:
    machine.edac_mode = "None"


@mutation("edac-ue-unplaced", *EPYC, area="uncorrectable memory errors that are in no total and name no module")
def edac_ue_unplaced(machine: Machine) -> None:
    machine.unplaced_uncorrected = 5


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


@mutation("fan-at-zero", *EPYC, area="a case fan stands still, and its BMC calls that ok")
def fan_at_zero(machine: Machine) -> None:
    machine.fan_rpm[2], machine.fan_status = 0, "ok"


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
