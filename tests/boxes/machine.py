"""A machine put together from parts, and rendered as the files that Linux shows of it.

A `Machine` is hardware and configuration: mutations change it, `tree()` renders it. What no register or setting
produces (a hand-edited file) can be changed after rendering through `edits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.boxes.pci_build import GIB, Function, has_message_interrupts, number_buses, place
from tests.boxes.pci_config import Aer, Express
from tests.boxes.tree import Login, Tree

IommuMode = Literal["off", "identity", "DMA-FQ", "DMA"]
AerOwner = Literal["os", "firmware", "nobody"]


@dataclass
class Cpu:
    model_name: str
    vendor: str = "AuthenticAMD"
    family: int = 23
    model: int = 49
    stepping: int = 0
    cores: int = 32
    """Per socket."""
    threads_per_core: int = 2
    sockets: int = 1
    base_mhz: int = 2400
    max_mhz: int = 3300
    scaling_driver: str = "acpi-cpufreq"
    governor: str = "performance"
    socket_name: str = "CPU1"
    flags: str = ("fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ht "
                  "syscall nx mmxext pdpe1gb rdtscp lm constant_tsc rep_good nopl nonstop_tsc aperfmperf pni pclmulqdq "
                  "ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes xsave avx f16c rdrand lahf_lm svm avx2 bmi1 bmi2 sha_ni")

    @property
    def threads(self) -> int:
        return self.cores * self.sockets * self.threads_per_core


@dataclass
class Dimm:
    """One memory slot. `size_mib` 0: empty."""

    locator: str
    bank: str = ""
    size_mib: int = 16 * 1024
    rated_mts: int = 3200
    configured_mts: int = 3200
    kind: str = "DDR4"
    form_factor: str = "DIMM"
    registered: bool = True
    ecc: bool = True
    ranks: int = 1
    manufacturer: str = "Samsung"
    part_number: str = "M393A2K40DB3-CWE"
    serial: str = ""
    channel: int = 0
    """Memory controller channel, as EDAC numbers it."""
    corrected_errors: int = 0
    uncorrected_errors: int = 0


@dataclass
class Dmi:
    board_vendor: str = "ASRockRack"
    board_name: str = ""
    board_version: str = ""
    board_serial: str = "BX0000000001"
    sys_vendor: str = "To Be Filled By O.E.M."
    product_name: str = "To Be Filled By O.E.M."
    product_serial: str = "BX-SYS-0001"
    product_uuid: str = "5f1d2c3b-0000-4000-8000-000000000001"
    product_family: str = "To Be Filled By O.E.M."
    product_sku: str = "To Be Filled By O.E.M."
    bios_vendor: str = "American Megatrends Inc."
    bios_version: str = "P3.80"
    bios_date: str = "08/28/2023"
    bios_release: str = "5.22"
    chassis_type: int = 3
    chassis_vendor: str = "To Be Filled By O.E.M."
    ec_firmware: str = ""


@dataclass
class Slot:
    """A slot as SMBIOS type 9 describes it."""

    name: str
    number: int
    root_port: Function | None = None
    width: int = 16
    generation: int = 4
    in_use: bool = True


@dataclass
class PowerSupply:
    name: str
    watts: int
    model: str = ""
    present: bool = True
    ok: bool = True


@dataclass
class Kernel:
    release: str
    build: str = "#26~24.04.1-Ubuntu SMP PREEMPT_DYNAMIC Thu Apr 17 19:20:47 UTC 2"
    compiler: str = ("buildd@lcy02-amd64-030) (x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0, GNU ld "
                     "(GNU Binutils for Ubuntu) 2.42")
    parameters: list[str] = field(default_factory=lambda: ["ro"])
    root: str = "UUID=0b1e2c3d-0000-4000-8000-00000000b007"
    taint: int = 0
    lockdown: str = "[none] integrity confidentiality"
    newest_installed: str | None = None
    """A newer kernel package than the running one, None when there is none."""
    config: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> tuple[int, int]:
        major, minor = self.release.split("-")[0].split(".")[:2]
        return int(major), int(minor)

    @property
    def cmdline(self) -> str:
        return " ".join([f"BOOT_IMAGE=/boot/vmlinuz-{self.release}", f"root={self.root}", *self.parameters])

    @property
    def has_bwctrl(self) -> bool:
        """The PCIe bandwidth controller service, Linux 6.13."""
        return self.version >= (6, 13)


@dataclass
class Module:
    name: str
    version: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    taint: str = ""
    size: int = 98304
    used_by: tuple[str, ...] = ()


@dataclass
class NodeFile:
    """A device node."""

    path: str
    mode: int = 0o660
    group: str = "root"
    kind: Literal["char", "block"] = "char"
    open_error: str | None = None
    """Error name of an open that fails for a reason other than permissions."""


@dataclass
class AmdGpu:
    """An AMD GPU as amdgpu and KFD show it."""

    function: Function
    gfx_target: int = 110000
    vram_mib: int = 24 * 1024 - 16
    visible_mib: int | None = None
    """None: what BAR 0 covers."""
    gtt_mib: int = 64 * 1024
    vbios: str = "113-D7020100-102"
    unique_id: int = 0x1A2B3C4D5E6F0001
    compute_units: int = 96
    shader_engines: int = 6
    memory_width: int = 384
    memory_mhz: int = 1249
    core_mhz: int = 2526
    cap_watts: int = 327
    default_cap_watts: int = 327
    max_cap_watts: int = 376
    idle_watts: float = 21.0
    edge_celsius: float = 36.0
    junction_celsius: float = 41.0
    memory_celsius: float = 46.0
    fan_rpm: int | None = 0
    replay_count: int = 0
    no_atomics: bool = False
    no_peer: bool = False
    apu: bool = False
    initialised: bool = True
    """False: amdgpu gave up on it; no DRM device, no KFD node."""
    kfd_memory_bytes: int | None = None
    vram_vendor: str = "hynix"


@dataclass
class NvidiaGpu:
    """An NVIDIA GPU as the driver's /proc files show it."""

    function: Function
    model: str = "NVIDIA GeForce RTX 4090"
    uuid: str = "GPU-00000000-0000-4000-8000-000000000001"
    vbios: str = "95.02.3c.40.b1"
    serial: str = "0"
    memory_mib: int = 24564
    cap_watts: int = 450
    default_cap_watts: int = 450
    max_cap_watts: int = 600
    core_celsius: int = 34
    fan_percent: int = 0
    idle_watts: float = 19.0
    fallen: bool = False


@dataclass
class NvidiaDriver:
    version: str = "570.133.20"
    open_module: bool = True
    library_version: str | None = None
    """Version of the user-space libraries; None: the module's."""
    peer_patched: bool = False
    persistence: bool = True
    package_version: str | None = None
    held: bool = True
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass
class Drive:
    """An NVMe drive's own answers."""

    function: Function
    model: str
    serial: str
    firmware: str = "4B2QJXD7"
    size_bytes: int = 1_000_204_886_016
    celsius: float = 37.0
    critical_warning: int = 0
    media_errors: int = 0
    percentage_used: int = 1
    spare_percent: int = 100
    unsafe_shutdowns: int = 3
    partitions: tuple[str, ...] = ()


@dataclass
class Raid:
    name: str
    level: str
    members: list[str]
    size_bytes: int
    mount: str = "/raid"
    active: bool = True
    degraded: int = 0


@dataclass
class UsbDisk:
    """The USB disk that the box boots from."""

    controller: Function
    speed_mbps: int = 5000
    model: str = "WD Black SN770 in USB enclosure"
    size_bytes: int = 1_000_204_886_016
    port: str = "2-1"


@dataclass
class Port:
    """A network interface."""

    function: Function
    name: str
    mac: str
    speed_mbps: int = 1000
    up: bool = True


@dataclass
class RootBus:
    bus: int
    functions: list[Function]
    numa_node: int = 0
    memory_base: int = 0xE000_0000
    prefetch_base: int = 0x280_0000_0000
    io_base: int = 0x1000
    iommu: Function | None = None


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
    nodes: list[NodeFile] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=lambda: {
        "root": 0, "adm": 4, "disk": 6, "kmem": 15, "sudo": 27, "video": 44, "render": 992, "users": 100})
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
    cooling_states: dict[str, int] = field(default_factory=dict)
    """cur_state of PCIe_Port_Link_Speed cooling devices, by port address."""
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
        """Numbers the buses, assigns addresses, interrupts and IOMMU groups. Again after a mutation that moves parts."""
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
        return [one.function for one in (*self.amd, *self.nvidia) if one.function.known]

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
        if express is not None and express.port_type == "pci-bridge":
            return group_key(function.parent)
    if function.vendor == 0x10DE or (function.parent is None and function.device_number in (0x14, 0x18)):
        return (function.bus, function.device_number)
    return (function.bus, function.device_number, function.function_number)
