"""Mutations of processors, drives, coolers, the BMC and of what slots and switches make of a box."""

from __future__ import annotations

import struct

from tests.boxes.hardware import Cpu
from tests.boxes.machine import Machine
from tests.boxes.mutations import (
    CARDS,
    DEV,
    EPYC,
    GREEN,
    PRO,
    RADEON,
    RED,
    RED2,
    STRIX,
    WOPR,
    card_of,
    gpu_of,
    mutation,
    port_of,
)
from tests.boxes.parts_switch import pex88048
from tests.boxes.pci_build import Function
from tests.boxes.pci_extended import Acs
from tests.boxes.tree import Tree

# Processors


@mutation("half-bandwidth-cpu", WOPR, area="the processor is an EPYC 7282: half the memory bandwidth of its siblings")
def half_bandwidth(machine: Machine) -> None:
    machine.cpu = Cpu("AMD EPYC 7282 16-Core Processor", cores=16, base_mhz=2800, max_mhz=3200)


@mutation("other-cpu", RED, RED2, GREEN, DEV, area="the processor is an EPYC 7742, with more cores than the box's own")
def other_cpu(machine: Machine) -> None:
    machine.cpu = Cpu("AMD EPYC 7742 64-Core Processor", cores=64, base_mhz=2250, max_mhz=3400)


@mutation("cpu-held-down", *EPYC, area="the processor may run at 400 MHz, under the governor performance")
def cpu_held_down(machine: Machine) -> None:
    machine.cpu.allowed_mhz = 400


@mutation("cpu-without-boost", *EPYC, area="none: somebody allows the processor its base clock only", healthy=True)
def cpu_without_boost(machine: Machine) -> None:
    machine.cpu.allowed_mhz = machine.cpu.base_mhz


@mutation("cpus-offline", *EPYC, area="four logical processors are switched off")
def cpus_offline(machine: Machine) -> None:
    last = machine.cpu.threads
    machine.cpu.offline = tuple(range(last - 4, last))


@mutation("smt-off", *EPYC, area="none: SMT is off, one thread of each core is left", healthy=True)
def smt_off(machine: Machine) -> None:
    machine.cpu.offline = tuple(range(machine.cpu.cores * machine.cpu.sockets, machine.cpu.threads))
    machine.cpu.smt = "off"


@mutation("numa-balancing", PRO, area="the kernel moves pages between the two sockets' memory on its own")
def numa_balancing(machine: Machine) -> None:
    machine.kernel.numa_balancing = 1


@mutation("one-socket", PRO, area="the second processor did not start: its slots and memory are gone with it")
def one_socket(machine: Machine) -> None:
    machine.cpu.sockets = 1
    gone = [root for root in machine.buses if root.numa_node == 1]
    machine.buses = [root for root in machine.buses if root not in gone]
    lost = {function for root in gone for function in root.functions}
    machine.nvidia = [gpu for gpu in machine.nvidia if gpu.function.root_port() not in lost]
    machine.slots = [slot for slot in machine.slots if slot.root_port not in lost]
    machine.memory = machine.memory[: len(machine.memory) // 2]


# Drives


@mutation("nvme-dead", RED, GREEN, area="the kernel gave up on an NVMe drive after it did not come out of a reset")
def nvme_dead(machine: Machine) -> None:
    machine.drives[1].state = "dead"
    machine.log_lines += [
        "nvme nvme1: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10",
        "nvme nvme1: Device not ready; aborting reset, CSTS=0x1",
        "nvme nvme1: Disabling device after reset failure: -19",
    ]


@mutation("nvme-resetting", RED, GREEN, area="an NVMe drive is being reset at the moment")
def nvme_resetting(machine: Machine) -> None:
    machine.drives[1].state = "resetting"


@mutation("nvme-firmware-mixed", RED, GREEN, area="one of four equal NVMe drives has another firmware")
def nvme_firmware(machine: Machine) -> None:
    machine.drives[2].firmware = "620311WD"


@mutation("nvme-warm", WOPR, RED, GREEN, DEV, STRIX, area="an NVMe drive is past the temperature at which it warns")
def nvme_warm(machine: Machine) -> None:
    machine.drives[0].celsius, machine.drives[0].critical_warning = 82.85, 0x02


@mutation("nvme-hot", WOPR, RED, GREEN, DEV, STRIX, area="an NVMe drive is past its critical temperature")
def nvme_hot(machine: Machine) -> None:
    machine.drives[0].celsius, machine.drives[0].critical_warning = 85.85, 0x02


@mutation("nvme-read-only", RED, GREEN, area="an NVMe drive answers and refuses writes")
def nvme_read_only(machine: Machine) -> None:
    machine.drives[1].read_only = True


@mutation("nvme-no-capacity", RED, GREEN, area="an NVMe drive answers and has no capacity")
def nvme_no_capacity(machine: Machine) -> None:
    machine.drives[1].size_bytes = 0


@mutation("nvme-no-spare", WOPR, RED, GREEN, area="an NVMe drive has used up its spare and raises no warning")
def nvme_no_spare(machine: Machine) -> None:
    machine.drives[0].spare_percent = 4


@mutation("nvme-spare-at-threshold", RED, area="none: an NVMe drive's spare is at its threshold", healthy=True)
def nvme_spare_at(machine: Machine) -> None:
    machine.drives[0].spare_percent = 10


@mutation("raid-level", RED, GREEN, area="the array is a RAID 1, a quarter of the size that it was built for")
def raid_level(machine: Machine) -> None:
    machine.raid[0].level, machine.raid[0].size_bytes = "raid1", machine.drives[0].size_bytes


@mutation("raid-small", RED, GREEN, area="the array has 1000 sectors")
def raid_small(machine: Machine) -> None:
    machine.raid[0].size_bytes = 1000 * 512


@mutation("raid-read-only", RED, GREEN, area="the array's block device refuses writes")
def raid_read_only(machine: Machine) -> None:
    machine.raid[0].read_only = True


@mutation("raid-mounted-read-only", RED, GREEN, area="the array is mounted read-only")
def raid_mounted_read_only(machine: Machine) -> None:
    machine.raid[0].options = "ro,relatime,stripe=512"


@mutation("raid-covered", RED, GREEN, area="a file system in memory is mounted over the array")
def raid_covered(machine: Machine) -> None:
    def cover(tree: Tree) -> None:
        info, mounts = "/proc/self/mountinfo", "/proc/self/mounts"
        tree.put(info, tree.text(info) + "99 24 0:77 / /raid rw,relatime shared:99 - tmpfs tmpfs rw,inode64\n")
        tree.put(mounts, tree.text(mounts) + "tmpfs /raid tmpfs rw,relatime,inode64 0 0\n")

    machine.edits.append(cover)


@mutation("root-read-only", *CARDS, STRIX, area="the root file system was remounted read-only")
def root_read_only(machine: Machine) -> None:
    def remount(tree: Tree) -> None:
        for path in ("/proc/self/mountinfo", "/proc/self/mounts"):
            lines = tree.text(path).splitlines()
            tree.put(path, "\n".join(line.replace(" rw,relatime", " ro,relatime") if " / ext4 " in f"{line} " or (
                " / / " in line) else line for line in lines))

    machine.edits.append(remount)


@mutation("mountinfo-garbage", RED, area="none: /proc/self/mountinfo is damaged, the older table is not", healthy=True)
def mountinfo_garbage(machine: Machine) -> None:
    machine.edits.append(lambda tree: tree.put("/proc/self/mountinfo", "garbage\n"))


# Coolers


@mutation("gpu-past-critical", *RADEON, area="a GPU is past its critical temperature", slot="PCIE3")
def gpu_past_critical(machine: Machine) -> None:
    gpu = gpu_of(machine)
    card = next(one for one in machine.amd if one.function is gpu)
    card.edge_celsius, card.junction_celsius, card.memory_celsius, card.fan_rpm = 88.0, 111.0, 94.0, 3300


@mutation("gpu-fan-stopped", *RADEON, area="a GPU's fan stands still although the GPU is hot", slot="PCIE3")
def gpu_fan_stopped(machine: Machine) -> None:
    gpu = gpu_of(machine)
    card = next(one for one in machine.amd if one.function is gpu)
    card.edge_celsius, card.junction_celsius, card.memory_celsius, card.fan_rpm = 79.0, 92.0, 86.0, 0


# Management controller


@mutation("bmc-driver-missing", *EPYC, area="the BMC's driver is not loaded, so nobody can ask it")
def bmc_driver(machine: Machine) -> None:
    machine.modules = [module for module in machine.modules if not module.name.startswith("ipmi_")]


@mutation("bmc-gone", *EPYC, area="the BMC is gone: from the bus and from the firmware's table")
def bmc_gone(machine: Machine) -> None:
    machine.bmc = False
    graphics = next(one for one in machine.functions() if one.driver == "ast")
    bridge = graphics.parent
    assert bridge is not None
    bridge.visible = False
    port = bridge.parent
    assert port is not None
    port.express.speed_gts, port.express.width, port.express.presence = 2.5, 0, False
    bmc_driver(machine)


# Slots, switches and windows


@mutation("slots-unnamed", RED, RED2, GREEN, area="no table says which printed slot a GPU sits in")
def slots_unnamed(machine: Machine) -> None:
    """As the firmware of a ROMED8-2T has it: slots without addresses; and a kernel that names no slot either."""
    for slot in machine.slots:
        slot.address = "0000:00:00.0"

    def strip(tree: Tree) -> None:
        tree.remove("/sys/bus/pci/slots")
        tree.directory("/sys/bus/pci/slots")

    machine.edits.append(strip)


def behind_switch(machine: Machine, uplink_width: int) -> list[Function]:
    """The cards of PCIE3 and PCIE4 move to a switch board in PCIE3. Returns its downstream ports."""
    first, second = machine.slot_port("PCIE3"), machine.slot_port("PCIE4")
    switch = pex88048([first.children, second.children])
    first.children, second.children = [switch], []
    first.train(16.0, uplink_width)
    second.train(2.5, 0)
    second.express.equalisation, second.express.presence = 0, False
    for root in machine.buses:
        if first in root.functions:  # bus numbers are given anew
            for function in (below for one in root.functions for below in one.walk()):
                function.secondary = 0
    return switch.children


@mutation("switch-x16", WOPR, area="none: two GPUs share a switch whose uplink is as wide as theirs", healthy=True)
def switch_x16(machine: Machine) -> None:
    behind_switch(machine, 16)


@mutation("switch-uplink-x8", WOPR, area="the uplink of a switch is x8, the links of the GPUs below it x16", slot="PCIE3")
def switch_uplink_x8(machine: Machine) -> None:
    behind_switch(machine, 8)


@mutation("bridge-window-short", *CARDS, area="the root port's window ends before the GPU's memory does", slot="PCIE3")
def bridge_window_short(machine: Machine) -> None:
    """What is left when something wrote to the port after the kernel had set it up: half of the window."""
    port = port_of(machine)

    def shorten(tree: Tree) -> None:
        path = f"{port.path}/config"
        node = tree[path]
        assert isinstance(node, bytes)
        end = port.prefetch_window.start + port.prefetch_window.size // 2 - 1
        tree[path] = with_prefetch_limit(node, end)
        for reading in tree.readings:
            if reading.path == path:
                reading.data = with_prefetch_limit(reading.data, end)

    machine.edits.append(shorten)


def with_prefetch_limit(config: bytes, end: int) -> bytes:
    """A bridge's configuration space with the last byte of its prefetchable window at `end` (the spec's 1 MiB grain)."""
    space = bytearray(config)
    struct.pack_into("<H", space, 0x26, end >> 16 & 0xFFF0 | 1)
    struct.pack_into("<I", space, 0x2C, end >> 32)
    return bytes(space)


# For guests


def hand_out(machine: Machine) -> None:
    machine.iommu, machine.iommu_present = "DMA-FQ", True
    machine.kernel.parameters = [one for one in machine.kernel.parameters if one not in ("iommu=pt", "amd_iommu=off")]
    for gpu in machine.gpu_functions():
        for function in gpu.siblings:
            function.driver = "vfio-pci"


@mutation("guests", WOPR, area="none: every GPU is kept for a guest, each in a group of its own", healthy=True)
def guests(machine: Machine) -> None:
    hand_out(machine)


@mutation("guests-share-group", WOPR, area="two GPUs share an IOMMU group: the switch above them has no ACS", slot="PCIE3")
def guests_share_group(machine: Machine) -> None:
    for port in behind_switch(machine, 16):
        port.drop(Acs)
    hand_out(machine)


@mutation("guests-without-iommu", WOPR, area="GPUs are kept for guests, and the IOMMU is off in the BIOS")
def guests_without_iommu(machine: Machine) -> None:
    hand_out(machine)
    machine.iommu, machine.iommu_present = "off", False
    assert card_of(machine).driver == "vfio-pci"
