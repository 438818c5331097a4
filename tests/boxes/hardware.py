"""What machines are made of besides PCI functions: processors, DIMMs, drives, GPUs as their drivers show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.boxes.pci_build import Function


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
    allowed_mhz: int | None = None
    """scaling_max_freq where somebody lowered it."""
    offline: tuple[int, ...] = ()
    """Logical processors that somebody switched off."""
    smt: str = ""
    """smt/control; empty: `on` where there are two threads a core."""
    flags: str = (
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ht "
        "syscall nx mmxext pdpe1gb rdtscp lm constant_tsc rep_good nopl nonstop_tsc aperfmperf pni pclmulqdq "
        "ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes xsave avx f16c rdrand lahf_lm svm avx2 bmi1 bmi2 sha_ni"
    )

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
    address: str | None = None
    """What the table says where it is not the card's: 0000:00:00.0 on boards that fill in nothing."""


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
    compiler: str = (
        "buildd@lcy02-amd64-030) (x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0, GNU ld "
        "(GNU Binutils for Ubuntu) 2.42"
    )
    parameters: list[str] = field(default_factory=lambda: ["ro"])
    root: str = "UUID=0b1e2c3d-0000-4000-8000-00000000b007"
    taint: int = 0
    numa_balancing: int = 0
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
    replays: int = 0
    event_reasons: int = 1
    """nvmlClocksEventReasons: 1 is GPU idle."""
    remapped_rows: int = 0
    """Rows remapped after uncorrectable errors."""
    remap_failed: bool = False


@dataclass
class NvidiaDriver:
    version: str = "570.133.20"
    open_module: bool = True
    library_version: str | None = None
    """Version of the user-space libraries; None: the module's."""
    nvml_version: str | None = None
    """Version of the driver that NVML speaks for; None: the module's."""
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
    warning_celsius: float = 81.85
    critical_celsius: float = 84.85
    """WCTEMP and CCTEMP of the drive, kelvin on the wire: 355 K and 358 K."""
    critical_warning: int = 0
    state: str = "live"
    """As the kernel has the controller: live, resetting, connecting, dead ..."""
    media_errors: int = 0
    percentage_used: int = 1
    spare_percent: int = 100
    read_only: bool = False
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
    read_only: bool = False
    """The block device refuses writes."""
    options: str = "rw,relatime,stripe=512"


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
