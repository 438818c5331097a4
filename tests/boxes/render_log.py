"""The kernel log of a machine: what Linux prints while it boots, from the machine's own registers.

Wordings: drivers/acpi/pci_root.c (_OSC), drivers/pci/probe.c and setup-res.c (6.x style of BARs), pcie/aer.c, pme.c,
dpc.c, drivers/gpu/drm/amd, md, nvme, edac; the NVIDIA driver's own banner.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.boxes.machine import Machine
from tests.boxes.pci_build import MIB, Bar, Function
from tests.boxes.pci_config import Express
from tests.boxes.pci_extended import Aer
from tests.boxes.pci_place import bandwidth_line
from tests.boxes.render_gpu import working
from tests.boxes.tree import Tree

PORT_WORDS = {
    "endpoint": "PCIe Endpoint",
    "legacy": "PCIe Legacy Endpoint",
    "root": "PCIe Root Port",
    "upstream": "PCIe Switch Upstream Port",
    "downstream": "PCIe Switch Downstream Port",
    "pci-bridge": "PCIe to PCI/PCI-X bridge",
    "rciep": "PCIe Root Complex Integrated Endpoint",
}
BOOT_MICROSECONDS_A_LINE = 1873
UNKNOWN_PARAMETERS = ("splash", "nosplash", "amd_iomu", "ttm_pages_limit")
"""Words of a command line that no part of the kernel takes. GRUB's BOOT_IMAGE is always among those it reports."""


def render(machine: Machine, out: Tree) -> None:
    lines = [*_boot(machine), *machine.log_lines]
    stamped = []
    clock = 0
    boot = len(lines) - len(machine.log_lines)
    for number, line in enumerate(lines):
        if number > 2 and number < boot:
            clock += BOOT_MICROSECONDS_A_LINE + len(line) * 7
        if number == boot:
            clock = 900_000_000
        if number > boot:
            clock += 41_000_113
        stamped.append(f"[{clock // 1_000_000:5d}.{clock % 1_000_000:06d}] {line}")
    out.put("/var/log/dmesg", "\n".join(stamped))
    out.put("/var/log/dmesg.0", "\n".join((*stamped[:PREVIOUS_LINES], *PREVIOUS_END)))


PREVIOUS_LINES = 30
"""The boot before this one started with the same lines; what followed is left out."""
PREVIOUS_END = (
    "[71234.118301] systemd-shutdown[1]: Syncing filesystems and block devices.",
    "[71234.420117] reboot: Restarting system",
)


def _boot(machine: Machine) -> Iterator[str]:
    kernel, dmi = machine.kernel, machine.dmi
    yield f"Linux version {kernel.release} ({kernel.compiler}) {kernel.build}"
    yield f"Command line: {kernel.cmdline}"
    yield "KERNEL supported cpus:"
    yield "BIOS-provided physical RAM map:"
    yield "BIOS-e820: [mem 0x0000000000000000-0x000000000009ffff] usable"
    yield "SMBIOS 3.3.0 present."
    yield f"DMI: {dmi.sys_vendor} {dmi.product_name}/{dmi.board_name}, BIOS {dmi.bios_version} {dmi.bios_date}"
    yield "tsc: Fast TSC calibration using PIT"
    yield f"tsc: Detected {machine.cpu.base_mhz}.000 MHz processor"
    if machine.iommu_present:
        name = "DMAR" if machine.cpu.vendor == "GenuineIntel" else "IVRS"
        yield f"ACPI: {name} 0x00000000A5E1B000 000128 (v02 AMD    AMD IVRS 00000001 AMD  00000000)"
    yield f"Kernel command line: {kernel.cmdline}"
    unknown = [word for word in kernel.parameters if word.split("=")[0] in UNKNOWN_PARAMETERS]
    image = f"BOOT_IMAGE=/boot/vmlinuz-{kernel.release}"
    yield f'Unknown kernel command line parameters "{" ".join([image, *unknown])}", will be passed to user space.'
    yield from machine.boot_lines.get("early", ())
    total, free = machine.mem_total_kib, machine.mem_total_kib * 99 // 100
    installed = max(machine.installed_mib * 1024, total)
    yield (
        f"Memory: {free}K/{installed}K available (20480K kernel code, 4387K rwdata, 14076K rodata, 4948K init, "
        f"4712K bss, {installed - total}K reserved, 0K cma-reserved)"
    )
    yield (
        f"smpboot: CPU0: {machine.cpu.model_name} (family: {machine.cpu.family:#x}, model: {machine.cpu.model:#x}, "
        f"stepping: {machine.cpu.stepping:#x})"
    )
    nodes = len(machine.numa_nodes())
    yield f"smp: Brought up {nodes} node{'s' if nodes > 1 else ''}, {machine.cpu.threads} CPUs"
    for root in machine.buses:
        last = min(0xFF, max([root.bus, *(one.subordinate for one in root.functions)]))
        yield f"ACPI: PCI Root Bridge [PC{root.bus >> 4:02X}] (domain 0000 [bus {root.bus:02x}-{last:02x}])"
        yield from _osc(machine)
    for function in machine.functions():
        yield from _enumerated(function)
        yield from machine.boot_lines.get(function.bdf, ())
    yield from _iommu(machine)
    for function in machine.functions():
        yield from _port(machine, function)
    yield from _drivers(machine)


def _osc(machine: Machine) -> Iterator[str]:
    name = "acpi PNP0A08:00"
    yield f"{name}: _OSC: OS supports [ExtendedConfig ASPM ClockPM Segments MSI EDR HPX-Type3]"
    words = machine.kernel.parameters
    if machine.aer_owner == "firmware":
        yield f"{name}: _OSC: platform does not support [SHPCHotplug AER LTR DPC]"
        yield f"{name}: _OSC: OS now controls [PCIeHotplug PME PCIeCapability]"
    elif "pci=noaer" in words:
        yield f"{name}: _OSC: platform does not support [SHPCHotplug LTR]"
        yield f"{name}: _OSC: OS now controls [PCIeHotplug PME PCIeCapability]"
    elif "pcie_ports=compat" in words:
        yield f"{name}: _OSC: not requesting OS control; OS requires [ExtendedConfig ASPM ClockPM MSI]"
    else:
        yield f"{name}: _OSC: platform does not support [SHPCHotplug LTR]"
        yield f"{name}: _OSC: OS now controls [PCIeHotplug PME AER PCIeCapability DPC]"


def _span(start: int, size: int, width: int) -> str:
    return f"0x{start:0{width}x}-0x{start + size - 1:0{width}x}"


def _bar_text(bar: Bar) -> str:
    if bar.kind == "io":
        return f"[io  {_span(bar.address or 0, bar.size, 4)}]"
    suffix = {"mem32": "", "mem32pref": " pref", "mem64": " 64bit", "mem64pref": " 64bit pref"}[bar.kind]
    if bar.address is None or not bar.assign:
        return f"[mem size {bar.size:#010x}{suffix}]"
    return f"[mem {_span(bar.address, bar.size, 8)}{suffix}]"


def _enumerated(function: Function) -> Iterator[str]:
    express = function.get(Express)
    kind = PORT_WORDS[express.port_type] if express else "conventional PCI endpoint"
    if express is None and function.class_code >> 8 == 0x0604:
        kind = "conventional PCI bridge"
    yield (
        f"pci {function.bdf}: [{function.vendor:04x}:{function.device:04x}] type {int(function.bridge):02d} "
        f"class 0x{function.class_code:06x} {kind}"
    )
    for bar in function.bars:
        if bar.assign:
            yield f"pci {function.bdf}: BAR {bar.index} {_bar_text(bar)}"
    if function.rom_size and function.rom_address:
        yield f"pci {function.bdf}: ROM [mem {_span(function.rom_address, function.rom_size, 8)} pref]"
    if function.bridge:
        yield (
            f"pci {function.bdf}: PCI bridge to [bus {function.secondary:02x}-{function.subordinate:02x}]"
            if (function.subordinate > function.secondary)
            else f"pci {function.bdf}: PCI bridge to [bus {function.secondary:02x}]"
        )
        if function.memory_window.size:
            window = function.memory_window
            yield f"pci {function.bdf}:   bridge window [mem {_span(window.start, window.size, 8)}]"
        if function.prefetch_window.size:
            window = function.prefetch_window
            yield f"pci {function.bdf}:   bridge window [mem {_span(window.start, window.size, 8)} 64bit pref]"
    line = bandwidth_line(function)
    if line:
        yield f"pci {function.bdf}: {line}"
    for bar in function.bars:
        if not bar.assign:
            yield f"pci {function.bdf}: BAR {bar.index} {_bar_text(bar)}: can't assign; no space"
            yield f"pci {function.bdf}: BAR {bar.index} {_bar_text(bar)}: failed to assign"


def _iommu(machine: Machine) -> Iterator[str]:
    if machine.iommu == "off":
        if machine.iommu_present and "amd_iommu=off" in machine.kernel.parameters:
            yield "AMD-Vi: AMD IOMMU disabled on kernel command-line"
        return
    mode = {"identity": "Passthrough", "DMA": "Translated", "DMA-FQ": "Translated"}[machine.iommu]
    how = "via kernel command line" if "iommu=pt" in machine.kernel.parameters else ""
    yield f"iommu: Default domain type: {mode}{f' (set {how})' if how else ''}"
    if machine.iommu == "DMA-FQ":
        yield "iommu: DMA domain TLB invalidation policy: lazy mode"
    for function in machine.functions():
        if function.iommu_group is not None:
            yield f"pci {function.bdf}: Adding to iommu group {function.iommu_group}"
    for number, root in enumerate(one for one in machine.buses if one.iommu is not None):
        assert root.iommu is not None
        yield f"pci {root.iommu.bdf}: AMD-Vi: Found IOMMU cap 0x40"
        yield f"perf/amd_iommu: Detected AMD IOMMU #{number} (2 banks, 4 counters/bank)."
    if any(root.iommu is not None for root in machine.buses):
        yield "AMD-Vi: Interrupt remapping enabled"


def _port(machine: Machine, function: Function) -> Iterator[str]:
    names = [driver for _, driver in function.services]
    if not names or not function.message_interrupts:
        return
    vector = function.message_interrupts[0]
    yield f"pcieport {function.bdf}: PME: Signaling with IRQ {vector}"
    if "aer" in names:
        yield f"pcieport {function.bdf}: AER: enabled with IRQ {vector}"
    if "dpc" in names:
        yield f"pcieport {function.bdf}: DPC: enabled with IRQ {vector}"
        yield (
            f"pcieport {function.bdf}: DPC: error containment capabilities: Int Msg #0, RPExt+ PoisonedTLP+ SwTrigger+ "
            "RP PIO Log 6, DL_ActiveErr+"
        )


def _drivers(machine: Machine) -> Iterator[str]:
    for number, drive in enumerate(machine.drives):
        if drive.function.known:
            yield f"nvme nvme{number}: pci function {drive.function.bdf}"
            yield f"nvme nvme{number}: {min(64, machine.cpu.threads)}/0/0 default/read/poll queues"
    for array in machine.raid:
        if array.active:
            yield (
                f"md/raid0:{array.name}: md_size is {array.size_bytes // 512} sectors."
                if array.level == "raid0"
                else (
                    f"md/{array.level}:{array.name}: active with {len(array.members)} out of "
                    f"{len(array.members) + array.degraded} devices"
                )
            )
        yield f"EXT4-fs ({machine.root_device}): mounted filesystem with ordered data mode. Quota mode: none."
    if machine.edac:
        yield "EDAC MC: Ver: 3.0.0"
        name = {25: "F19h", 23: "F17h_M30h"}.get(machine.cpu.family, "F1Ah")
        for socket in range(machine.cpu.sockets):
            where = f"DEV 0000:00:{0x18 + socket:02x}.3 (INTERRUPT)"
            yield f"EDAC MC{socket}: Giving out device to module amd64_edac controller {name}: {where}"
        yield "EDAC amd64: Node 0: DRAM ECC enabled."
    elif any(dimm.ecc and dimm.registered for dimm in machine.memory):
        yield "EDAC amd64: Node 0: DRAM ECC disabled."
    yield from _amdgpu(machine)
    yield from _nvidia(machine)


def _amdgpu(machine: Machine) -> Iterator[str]:
    if not any(gpu.function.driver == "amdgpu" for gpu in machine.amd):
        return
    yield "[drm] amdgpu kernel modesetting enabled."
    if machine.amdgpu_version:
        yield f"[drm] amdgpu version: {machine.amdgpu_version}"
    for number, gpu in enumerate(working(machine)):
        function = gpu.function
        name = f"amdgpu {function.bdf}: amdgpu"
        yield (
            f"[drm] initializing kernel modesetting (IP DISCOVERY 0x1002:0x{function.device:04X} "
            f"0x{function.shown_subsystem()[0]:04X}:0x{function.shown_subsystem()[1]:04X} 0x{function.revision:02X})."
        )
        yield f"{name}: Fetched VBIOS from VFCT"
        yield f"amdgpu: ATOM BIOS: {gpu.vbios}"
        if gpu.no_atomics:
            yield f"{name}: PCIE atomic ops is not supported"
        last = 0x8000000000 + gpu.vram_mib * MIB - 1
        yield f"{name}: VRAM: {gpu.vram_mib}M 0x0000008000000000 - 0x{last:016X} ({gpu.vram_mib}M used)"
        yield f"[drm] Detected VRAM RAM={gpu.vram_mib}M, BAR={function.bar(0).size // MIB}M"
        yield f"[drm] amdgpu: {gpu.vram_mib}M of VRAM memory ready"
        yield f"[drm] amdgpu: {gpu.gtt_mib}M of GTT memory ready."
        if gpu.no_atomics and not gpu.apu:
            yield f"kfd kfd: amdgpu: skipped device 1002:{function.device:04x}, PCI rejects atomics 555<0"
        else:
            yield f"kfd kfd: amdgpu: added device 1002:{function.device:04x}"
        yield f"{name}: SE {gpu.shader_engines}, SH per SE 2, CU per SH 8, active_cu_number {gpu.compute_units}"
        yield f"[drm] Initialized amdgpu 3.61.0 for {function.bdf} on minor {number + 1}"
    for gpu in machine.amd:
        if gpu.function.known and not gpu.initialised:
            name = f"amdgpu {gpu.function.bdf}: amdgpu"
            yield "[drm:psp_v13_0_ring_create [amdgpu]] *ERROR* PSP create ring failed!"
            yield f"{name}: PSP firmware loading failed"
            yield "[drm:amdgpu_device_fw_loading [amdgpu]] *ERROR* hw_init of IP block <psp> failed -22"
            yield f"{name}: amdgpu_device_ip_init failed"
            yield f"{name}: Fatal error during GPU init"
            yield f"amdgpu {gpu.function.bdf}: probe with driver amdgpu failed with error -22"


def _nvidia(machine: Machine) -> Iterator[str]:
    driver = machine.nvidia_driver
    if machine.nouveau:
        for gpu in machine.nvidia:
            yield f"nouveau {gpu.function.bdf}: NVIDIA AD102 (192000a1)"
            yield f"nouveau {gpu.function.bdf}: fb: 24564 MiB of unknown memory type"
        return
    if driver is None or not any(gpu.function.driver == "nvidia" for gpu in machine.nvidia):
        return
    yield "nvidia: loading out-of-tree module taints kernel."
    yield "nvidia-nvlink: Nvlink Core is being initialized, major device number 234"
    kind = "NVIDIA UNIX Open Kernel Module for x86_64" if driver.open_module else "NVIDIA UNIX x86_64 Kernel Module"
    yield f"NVRM: loading {kind}  {driver.version}  Release Build  (dvs-builder@U22-I3-AE18-09-6)"
    if driver.peer_patched:
        for number, gpu in enumerate(machine.nvidia):
            if gpu.function.known:
                yield (
                    f"NVRM: GPU{number} kbusEnableStaticBar1Mapping_GH100: Static bar1 mapped offset 0x0 "
                    f"size 0x{gpu.memory_mib << 20:x}"
                )
    for number, gpu in enumerate(machine.nvidia):
        if gpu.function.known:
            yield f"[drm] [nvidia-drm] [GPU ID 0x{gpu.function.bus << 8:08x}] Loading driver"
            yield f"[drm] Initialized nvidia-drm 0.0.0 for {gpu.function.bdf} on minor {number + 1}"
    if driver.library_version and driver.library_version != driver.version:
        yield f"NVRM: API mismatch: the client has the version {driver.library_version}, but"
        yield f"NVRM: this kernel module has the version {driver.version}.  Please"
        yield "NVRM: make sure that this kernel module and all NVIDIA driver"
        yield "NVRM: components have the same version."


def aer_lines(port: Function, label: str, bit: int, status: str = "Correctable") -> list[str]:
    """The lines of one correctable error as Linux 6.9 and later print them."""
    aer = port.need(Aer)
    layer = {
        0: "Physical Layer",
        12: "Data Link Layer",
        8: "Data Link Layer",
        6: "Data Link Layer",
        7: "Data Link Layer",
    }.get(bit, "Transaction Layer")
    agent = "Transmitter ID" if bit in (8, 12) else "Receiver ID"
    owner = port.driver or "pci"
    root = port.root_port()
    return [
        f"pcieport {root.bdf}: AER: {status} error message received from {port.bdf}",
        f"{owner} {port.bdf}: PCIe Bus Error: severity={status}, type={layer}, ({agent})",
        f"{owner} {port.bdf}:   device [{port.vendor:04x}:{port.device:04x}] error "
        f"status/mask={1 << bit:08x}/{aer.correctable_mask:08x}",
        f"{owner} {port.bdf}:    [{bit:2d}] {label:<22s}",
    ]
