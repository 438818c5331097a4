"""A machine put together from parts, and rendered as the files that Linux shows of it.

A `Machine` is hardware and configuration: mutations change it, `tree()` renders it. What no register or setting
produces (a hand-edited file) can be changed after rendering through `edits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.boxes.hardware import (
    AmdGpu,
    Cpu,
    Dimm,
    Dmi,
    Drive,
    Kernel,
    Module,
    NodeFile,
    NvidiaDriver,
    NvidiaGpu,
    Port,
    PowerSupply,
    Raid,
    RootBus,
    Slot,
    UsbDisk,
)
from tests.boxes.pci_build import GIB, Function
from tests.boxes.pci_config import Express
from tests.boxes.pci_extended import Acs, Aer
from tests.boxes.pci_place import has_message_interrupts, number_buses, place
from tests.boxes.tree import Login, Tree

IommuMode = Literal["off", "identity", "DMA-FQ", "DMA"]
AerOwner = Literal["os", "firmware", "nobody"]


@dataclass
class Machine:
    name: str
    title: str
    cpu: Cpu
    kernel: Kernel
    dmi: Dmi
    buses: list[RootBus]
    memory: list[Dimm] = field(default_factory=list)
    memory_total_kib: int = 0
    """MemTotal; 0: the installed memory less 1.8 %, which is what EPYC boxes show."""
    ecc: str = "Multi-bit ECC"
    """SMBIOS type 16 Memory Error Correction."""
    edac: bool = True
    edac_mode: str = ""
    """dimm_edac_mode of every rank; empty: what the modules have."""
    unplaced_uncorrected: int = 0
    """ue_noinfo_count, which ue_count may lack."""
    slots: list[Slot] = field(default_factory=list)
    supplies: list[PowerSupply] = field(default_factory=list)
    iommu: IommuMode = "identity"
    iommu_present: bool = True
    """Whether firmware offers an IOMMU at all (IVRS or DMAR table)."""
    aer_owner: AerOwner = "os"
    amd: list[AmdGpu] = field(default_factory=list)
    nvidia: list[NvidiaGpu] = field(default_factory=list)
    nvidia_driver: NvidiaDriver | None = None
    nouveau: bool = False
    rocm: str | None = None
    amdgpu_version: str | None = None
    """Version of the DKMS module; None: the kernel's own."""
    amdgpu_parameters: dict[str, str] = field(default_factory=dict)
    ttm_pages_limit: int | None = None
    drives: list[Drive] = field(default_factory=list)
    raid: list[Raid] = field(default_factory=list)
    usb_disk: UsbDisk | None = None
    root_device: str = "nvme0n1p2"
    ports: list[Port] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    dkms: dict[str, str] = field(default_factory=dict)
    """Out-of-tree modules, name -> version."""
    dkms_kernels: list[str] | None = None
    """Kernels that they were built for; None: the running one."""
    os_release: tuple[str, str, str] = ("ubuntu", "24.04", "Ubuntu 24.04.2 LTS")
    udev_rules: dict[str, str] = field(default_factory=dict)
    modprobe: dict[str, str] = field(default_factory=dict)
    """Files of module options."""
    nodes: list[NodeFile] = field(default_factory=list)
    groups: dict[str, int] = field(
        default_factory=lambda: {
            "root": 0,
            "adm": 4,
            "disk": 6,
            "kmem": 15,
            "sudo": 27,
            "video": 44,
            "render": 992,
            "users": 100,
        }
    )
    user: str = "tiny"
    user_groups: list[str] = field(default_factory=lambda: ["adm", "sudo", "video", "render"])
    session_groups: list[str] | None = None
    """Groups of this login where they differ from /etc/group."""
    as_root: bool = True
    """Read with sudo: 4096 bytes of config space, SMBIOS tables, the kernel log."""
    limits: dict[str, tuple[str, str]] = field(default_factory=dict)
    shm_bytes: int = 64 * GIB
    free_fraction: float = 0.6
    environment: dict[str, str] = field(default_factory=lambda: {"LANG": "en_US.UTF-8"})
    load_readings: bool = True
    cpu_celsius: float = 38.0
    bmc: bool = True
    supplies_on_bmc: bool = True
    """Server supplies report over PMBus; ATX supplies are unknown to BMC and firmware alike."""
    fan_status: str = ""
    """What the BMC calls every fan; empty: ok, and cr for one that stands still."""
    fan_rpm: list[int] = field(default_factory=lambda: [1400, 1400, 1300, 1300])
    bmc_events: list[str] = field(default_factory=list)
    """Events of the BMC's log, `sensor | event | Asserted`."""
    clock_synchronized: bool = True
    thermal_zones: dict[str, str] = field(default_factory=dict)
    """Type of the thermal zone that a port's PCIe_Port_Link_Speed cooling device is bound to, by port address."""
    log_lines: list[str] = field(default_factory=list)
    """Lines after boot, without a time stamp."""
    boot_lines: dict[str, list[str]] = field(default_factory=dict)
    """Lines that follow the enumeration of a function, by address; `early` after the command line."""
    interrupts: dict[str, int] = field(default_factory=dict)
    """Counts of /proc/interrupts rows by port address; a link change counts on the port's row."""
    edits: list[Callable[[Tree], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cpu = replace(self.cpu)  # the boxes share processors, mutations change their own
        self.assemble()

    # Hardware

    def assemble(self) -> None:
        """Numbers buses, assigns addresses, interrupts and IOMMU groups. Again after a mutation that moves parts."""
        for root in self.buses:
            number_buses(root.bus, root.functions)
            for function in root.functions:
                self._attach(function, root)
            place(root.functions, "memory", root.memory_base)
            place(root.functions, "prefetch", root.prefetch_base)
            place(root.functions, "io", root.io_base)
        vector = 27
        groups: dict[object, int] = {}
        for function in self.functions():
            function.message_interrupts = []
            if function.driver and has_message_interrupts(function):
                count = {"nvme": 4, "ixgbe": 4, "bnxt_en": 4, "igb": 3}.get(function.driver, 1)
                function.message_interrupts = list(range(vector, vector + count))
                vector += count
            function.irq = function.message_interrupts[0] if function.message_interrupts else 0
            function.iommu_group = None
            if self.iommu != "off" and function.class_code != 0x080600:
                function.iommu_group = groups.setdefault(group_key(function), len(groups))
        self._services()

    def _attach(self, function: Function, root: RootBus) -> None:
        function.root_bus, function.numa_node = root.bus, root.numa_node
        function.cpulist = self.node_cpulist(root.numa_node)
        for child in function.children:
            self._attach(child, root)

    def _services(self) -> None:
        """Port services and what they set in the registers: AER reporting, bandwidth notification."""
        from tests.boxes.parts import SERVICE_AER, SERVICE_BANDWIDTH, SERVICE_DPC

        for function in self.functions():
            express = function.get(Express)
            if express is None or not express.downstream_facing:
                continue
            express.bandwidth_interrupts = self.kernel.has_bwctrl and express.port_type == "root"
            if express.port_type == "root":
                wanted = (SERVICE_BANDWIDTH, "pcie_bwctrl")
                if self.kernel.has_bwctrl and wanted not in function.services:
                    function.services.append(wanted)
                if self.aer_owner != "os":
                    function.services = [one for one in function.services if one[0] not in (SERVICE_AER, SERVICE_DPC)]
        if self.aer_owner == "os":
            return
        for function in self.functions():
            aer, express = function.get(Aer), function.get(Express)
            if express is not None:
                express.reporting = 0xF if self.aer_owner == "firmware" else 0x0
                if express.port_type == "root":
                    express.system_errors = 0x7 if self.aer_owner == "firmware" else 0
            if aer is not None and aer.root:
                aer.root_command = 0

    def functions(self) -> Iterator[Function]:
        """All functions that the kernel knows, in the order of their addresses."""
        for root in self.buses:
            for function in root.functions:
                if function.visible:
                    yield from function.walk()

    def at(self, bdf: str) -> Function:
        """The function at an address, written short (`41:00.0`) or long."""
        wanted = bdf if bdf.count(":") == 2 else f"0000:{bdf}"
        return next(one for one in self.functions() if one.bdf == wanted)

    def slot(self, name: str) -> Slot:
        return next(one for one in self.slots if one.name == name)

    def slot_port(self, name: str) -> Function:
        """The root port behind a slot."""
        port = self.slot(name).root_port
        if port is None:
            raise LookupError(f"slot {name} has no root port")
        return port

    def gpu_functions(self) -> list[Function]:
        functions = [*(amd.function for amd in self.amd), *(nvidia.function for nvidia in self.nvidia)]
        return [function for function in functions if function.known]

    @property
    def bmc_driver(self) -> bool:
        """Whether the BMC can be asked: it is there, and so are the modules that talk to it."""
        return self.bmc and {"ipmi_si", "ipmi_devintf"} <= {module.name for module in self.modules}

    # CPUs and NUMA

    def numa_nodes(self) -> list[int]:
        return sorted({root.numa_node for root in self.buses if root.numa_node >= 0}) or [0]

    def node_cpulist(self, node: int) -> str:
        """CPUs of a NUMA node: cores first, then their second threads, as Linux numbers EPYC."""
        if node < 0 or self.cpu.sockets == 1:
            return f"0-{self.cpu.threads - 1}"
        cores = self.cpu.cores
        spans = [(node * cores + thread * cores * self.cpu.sockets) for thread in range(self.cpu.threads_per_core)]
        return ",".join(f"{start}-{start + cores - 1}" for start in spans)

    @property
    def installed_mib(self) -> int:
        return sum(dimm.size_mib for dimm in self.memory)

    @property
    def mem_total_kib(self) -> int:
        return self.memory_total_kib or round(self.installed_mib * 1024 * 0.982 / 4) * 4

    # People

    def login(self) -> Login:
        wanted = self.session_groups if self.session_groups is not None else self.user_groups
        groups = (1000, *(self.groups[name] for name in wanted))
        if self.as_root:
            return Login("root", 0, 0, (0,), 1000)
        return Login(self.user, 1000, 1000, tuple(sorted(groups)))

    def may_open(self, node: NodeFile) -> str:
        """`ok`, or the error that the reading login gets."""
        if node.open_error:
            return node.open_error
        if self.as_root or node.mode & 0o006 == 0o006:
            return "ok"
        in_group = self.groups.get(node.group, -1) in self.login().groups
        return "ok" if in_group and node.mode & 0o060 == 0o060 else "EACCES"

    # Rendering

    def tree(self) -> Tree:
        from tests.boxes import render

        return render.tree(self)


def group_key(function: Function) -> object:
    """Functions with an equal key share an IOMMU group: those without isolation between them (ACS)."""
    if function.parent is not None:
        express = function.parent.get(Express)
        if express is not None and (express.port_type == "pci-bridge" or mixes(function.parent)):
            return group_key(function.parent)
    if mixes(function):  # ports beside each other, none of which keeps its traffic to itself
        return (function.bus, "ports without ACS")
    if function.vendor == 0x10DE or (function.parent is None and function.device_number in (0x14, 0x18)):
        return (function.bus, function.device_number)
    return (function.bus, function.device_number, function.function_number)


def mixes(port: Function) -> bool:
    """Whether a switch's downstream port may pass traffic to its neighbours past the root."""
    express = port.get(Express)
    return express is not None and express.port_type == "downstream" and port.get(Acs) is None
