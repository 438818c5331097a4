"""Mutations that show in the kernel log, of this boot or the one before."""

from __future__ import annotations

from tests.boxes.machine import Machine
from tests.boxes.mutations import (
    BOXES_ALL,
    CARDS,
    EPYC,
    LAPTOP,
    NVIDIA,
    RADEON,
    STRIX,
    gpu_of,
    mutation,
    port_of,
)
from tests.boxes.tree import Tree


def _log(
    name: str, *boxes: str, area: str, slot: str | None = None, lines: tuple[str, ...], healthy: bool = False
) -> None:
    @mutation(name, *boxes, area=area, slot=slot, healthy=healthy)
    def say(machine: Machine) -> None:
        gpus = [gpu_of(machine)] if machine.slots else machine.gpu_functions()
        words = {"bdf": gpu.bdf, "short": gpu.bdf.rsplit(".", 1)[0]} if (gpu := next(iter(gpus), None)) else {}
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
    area="none: Xid 31 is an application's page fault, not the machine's",
    slot="PCIE3",
    healthy=True,
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
    "gpu-power-cable",
    *NVIDIA,
    area="a card reported that its power cables are missing",
    slot="PCIE3",
    lines=("NVRM: GPU {bdf}: GPU does not have the necessary power cables connected.",),
)
_log(
    "soft-lockup",
    *BOXES_ALL,
    area="a CPU was stuck",
    lines=("watchdog: BUG: soft lockup - CPU#21 stuck for 26s! [kworker/21:1:512]",),
)

_log(
    "device-not-ready",
    *RADEON,
    area="a GPU did not answer when it should wake up, and came back later",
    slot="PCIE3",
    lines=("amdgpu {bdf}: not ready 65535ms after resume; giving up",),
)
_log(
    "gpu-over-temperature",
    *RADEON,
    area="a GPU passed the temperature at which it shuts down",
    slot="PCIE3",
    lines=("amdgpu {bdf}: amdgpu: ERROR: GPU over temperature range(SW CTF) detected!",),
)
_log(
    "nic-not-ready",
    *EPYC,
    area="a device that is no GPU did not wake up, and came back later",
    lines=("xhci_hcd 0000:c1:00.3: not ready 65535ms after resume; giving up",),
)
_log(
    "filesystem-damaged",
    *BOXES_ALL,
    area="the kernel found the root file system damaged and stopped writing to it",
    lines=(
        "EXT4-fs error (device sda2): ext4_lookup:1785: inode #131: comm python3: deleted inode referenced: 27",
        "EXT4-fs (sda2): Remounting filesystem read-only",
    ),
)
_log(
    "raid-disk-failure",
    *CARDS,
    area="a striped array lost a drive",
    lines=("md/raid0:md0: Disk failure on nvme1n1p1 detected, failing array.",),
)
_log(
    "nmi-unknown",
    *EPYC,
    area="an NMI that nobody could place",
    lines=("Uhhuh. NMI received for unknown reason 3d on CPU 0.", "Dazed and confused, but trying to continue"),
)
_log(
    "nvme-command-error",
    *BOXES_ALL,
    area="an NVMe drive could not read what it stores, by the words of Linux 6.2 and later",
    lines=("nvme0n1: I/O Cmd(0x2) @ LBA 409600, 8 blocks, I/O Error (sct 0x2 / sc 0x81) MORE DNR",),
)
_log(
    "nvme-timeout",
    *BOXES_ALL,
    area="an NVMe drive did not finish a request in time",
    lines=("nvme nvme0: I/O tag 448 (1c0) QID 3 timeout, aborting", "nvme nvme0: Abort status: 0x0"),
)
_log(
    "cpu-throttled",
    LAPTOP,
    area="the processor was slowed down because it was too hot",
    lines=(
        "mce: CPU3: Package temperature above threshold, cpu clock throttled (total events = 1)",
        "mce: CPU3: Package temperature/speed normal",
    ),
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
