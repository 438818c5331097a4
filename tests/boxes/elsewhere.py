"""Machines that no profile is about and that people have all the same: a laptop with a GPU in a Thunderbolt case, a host
whose GPU and network card show virtual functions, Linux on Windows, an ARM server. Made up; small changes of built boxes.

Sources: `lspci -vv` listings of JHL7440 (Titan Ridge) cases; Documentation/PCI/pci-iov-howto.rst; WSL2's kernel (no PCI
config space of the host, /dev/dxg); Documentation/arch/arm64, arch/arm64/kernel/cpuinfo.c.
"""

from __future__ import annotations

import json
from dataclasses import replace

from tests.boxes import laptop, machine, parts, parts_gpu
from tests.boxes.hardware import NvidiaDriver, NvidiaGpu
from tests.boxes.machine import Machine
from tests.boxes.parts import ALDER_LAKE, INTEL
from tests.boxes.parts_switch import pex88048
from tests.boxes.pci_build import Function
from tests.boxes.pci_config import Express, MsiX
from tests.boxes.tree import Symlink, Tree

TITAN_RIDGE = 0x15EF
TUNNEL = (2.5, 4)
"""What both ends of a Thunderbolt tunnel tell of their link, however fast it is: no lanes are behind it."""


def thunderbolt_machine() -> Machine:
    """A ThinkPad with an RTX 4090 in a case at its Thunderbolt port: four lanes of PCIe 3.0 to the card."""
    built = laptop.machine()
    card = parts_gpu.rtx_4090()
    case = pex88048([card])
    below = case.children[0]
    for port in (case, below):
        port.vendor, port.device, port.name = INTEL, TITAN_RIDGE, "JHL7440 Thunderbolt 3 Bridge"
        port.express.max_speed_gts, port.express.speed_gts = 2.5, 2.5
        port.express.max_width = port.express.width = 4
    below.express.max_speed_gts = 8.0
    below.train(8.0, 4)
    port = parts.root_port(ALDER_LAKE, 7, 0, 4, slot=9, children=[case], speed_gts=2.5, secondary=0x20)
    port.train(*TUNNEL)
    port.express.surprise = True
    built.buses[0].functions.append(port)
    built.buses[0].functions.sort(key=lambda one: (one.device_number, one.function_number))
    built.assemble()
    built.nvidia = [NvidiaGpu(card[0])]
    built.nvidia_driver = NvidiaDriver("570.148.08")
    return built


def thunderbolt() -> Tree:
    built = thunderbolt_machine()
    tree = built.tree()
    for function in built.functions():
        if any(one.device == TITAN_RIDGE for one in above(function)):
            tree.put(f"{function.path}/removable", "removable")
    return tree


def above(function: Function) -> list[Function]:
    return [] if function.parent is None else [function.parent, *above(function.parent)]


def virtual_functions(driver: str | None = "vfio-pci") -> Tree:
    """The WOPR, whose card in PCIE3 shows four virtual functions: no ids, no link and no BARs of their own in their
    registers (SR-IOV, section 9.3.4 and 9.3.5 of the PCI Express Base Specification)."""
    built = machine("wopr-7x4090")
    port = built.slot_port("PCIE3")
    card = port.children[0]
    made = [virtual_function(card, number, driver) for number in range(4, 8)]
    port.children += made
    built.assemble()
    tree = built.tree()
    for number, one in enumerate(made):
        config = bytearray(one.config())
        config[0:4] = b"\xff" * 4
        for at in (0x0C, 0x12, 0x2C, 0x30):  # LnkCap, LnkSta, LnkCap2, LnkCtl2
            config[0x78 + at:0x78 + at + 4] = bytes(4)
        tree.put(f"{one.path}/config", bytes(config))
        for name, value in (("speed", "Unknown"), ("width", 0)):
            tree.put(f"{one.path}/current_link_{name}", value)
            tree.put(f"{one.path}/max_link_{name}", value)
        tree.link(f"{one.path}/physfn", card.path)
        tree.link(f"{card.path}/virtfn{number}", one.path)
    tree.put(f"{card.path}/sriov_numvfs", 4)
    return tree


def virtual_function(card: Function, number: int, driver: str | None) -> Function:
    made = Function(
        f"{card.name} virtual function", card.vendor, card.device, 0x030200, 0, number, card.revision, card.subsystem,
        driver=driver)
    made.capabilities = [Express(0x78, "endpoint"), MsiX(0xC8, vectors=3)]
    return made


def windows_subsystem() -> Tree:
    """Linux in WSL2 on a PC with an NVIDIA GPU: a Hyper-V guest whose PCI buses hold Microsoft's render device (the way
    to /dev/dxg) and virtio; no SMBIOS, no ACPI tables, no hwmon, no module directory, no driver of the GPU."""
    built = laptop.machine()
    built.kernel.release = "5.15.167.4-microsoft-standard-WSL2"
    built.kernel.parameters = ["initrd=\\initrd.img", "WSL_ROOT_INIT=1", "panic=-1", "nr_cpus=12", "console=hvc0"]
    tree = built.tree()
    release = built.kernel.release
    for gone in [path for path in tree if path.startswith((
            "/sys/bus/pci", "/sys/devices/pci", "/sys/class/", "/sys/firmware/", "/sys/kernel/iommu_groups/", "/dev/dri",
            "/sys/devices/virtual/dmi", "/sys/devices/virtual/thermal", "/proc/driver", "/proc/acpi",
            "/boot/", f"/usr/lib/modules/{release}"))]:
        del tree[gone]
    here = "/sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/5aa2a1f3/pci29da:00/29da:00:00.0"
    config = bytearray(64)
    config[0:4], config[0x0A:0x0C] = b"\x14\x14\x8e\x00", b"\x02\x03"
    for name, value in (("vendor", "0x1414"), ("device", "0x008e"), ("class", "0x030200"), ("revision", "0x00"),
                        ("subsystem_vendor", "0x0000"), ("subsystem_device", "0x0000"), ("irq", 0), ("enable", 1),
                        ("numa_node", -1), ("resource", "\n".join(["0x0000000000000000 " * 2 + "0x0000000000000000"] * 13)),
                        ("uevent", "DRIVER=dxgkrnl\nPCI_CLASS=30200\nPCI_ID=1414:008E"), ("config", bytes(config))):
        tree.put(f"{here}/{name}", value)
    tree.link(f"{here}/driver", "/sys/bus/pci/drivers/dxgkrnl")
    tree.link("/sys/bus/pci/devices/29da:00:00.0", here)
    tree.put("/dev/dxg", b"")
    tree.put("/usr/lib/wsl/lib/libcuda.so.1", b"\x7fELF")
    return tree


def arm_server(smbios: bool = True) -> Tree:
    """Seven RTX 4090 in a server of ARM's Neoverse: SMMUs, an ITS, paths and driver of aarch64, processors without a model
    name, cores and sockets that /proc/cpuinfo does not tell, memory errors by the firmware. `smbios`: some boards have
    none, and a device tree."""
    built = machine("wopr-7x4090")
    built.modules = [one for one in built.modules if one.name not in ("amd64_edac", "k10temp")]
    built.kernel.parameters = ["ro", "iommu.passthrough=1", "console=tty0", "console=ttyAMA0,115200n8", "earlycon=pl011,0x100002600000"]
    tree = Tree(login=built.login())
    for path, node in (old := built.tree()).nodes.items():
        name = renamed(path)
        tree.nodes[name] = Symlink(renamed(node.target)) if isinstance(node, Symlink) else (
            node if name.endswith("/config") and "/pci" in name else renamed(node.decode("latin-1")).encode("latin-1"))
    tree.stats, tree.programs, tree.answers = (
        json.loads(renamed(json.dumps(one))) for one in (old.stats, old.programs, old.answers))
    tree.readings = [replace(one, path=renamed(one.path)) for one in old.readings]
    tree.directories, tree.environment = {renamed(path) for path in old.directories}, old.environment
    tree.put("/proc/cpuinfo", "\n".join(
        f"processor\t: {number}\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n"
        for number in range(built.cpu.threads)))
    for path in [path for path in tree if path.startswith(("/sys/devices/system/machinecheck", "/sys/devices/system/cpu/microcode"))]:
        del tree[path]
    if not smbios:
        for path in [path for path in tree if "/dmi" in path]:
            del tree[path]
    return tree


def renamed(text: str) -> str:
    for old, new in (("x86_64", "aarch64"), ("x86-64", "aarch64"), ("ivhd", "smmu3.0x00002b40000"), ("AMD-Vi", "arm-smmu-v3"),
                     ("amd64_edac", "ghes_edac"),
                     *((f"{zeros}0:{bus}:", f"{zeros}d:{bus}:") for bus in ("40", "41", "42") for zeros in ("000", "0000000")),
                     ("pci0000:40", "pci000d:40")):
        text = text.replace(old, new)
    return text
