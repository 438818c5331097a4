"""Trees of sysfs and procfs for the readers, one file at a time."""

from __future__ import annotations

from pathlib import Path

from boxcheck.model import Bdf
from tests.telemetry.tables import xtx

CORRECTABLE = "RxErr 0\nBadTLP {bad}\nBadDLLP 0\nRollover 0\nTimeout 0\nNonFatalErr 0\nCorrIntErr 0\nHeaderOF 0\n" \
    "TOTAL_ERR_COR {bad}\n"
FATES = "Undefined 0\nDLP 0\nSDES 0\nTLP 0\nFCP 0\nCmpltTO 0\nCmpltAbrt 0\nUnxCmplt 0\nRxOF 0\nMalfTLP 0\nECRC 0\n" \
    "UnsupReq 0\nACSViol 0\nUncorrIntErr 0\nBlockedTLP 0\nAtomicOpBlocked 0\nTLPBlockedErr 0\nPoisonTLPBlocked 0\n" \
    "TOTAL_ERR_FATAL 0\n"


def advisory(root: Path, bdf: Bdf, number: int, messages: int = 0, extra: int = 0) -> None:
    """Errors that a function reported as advisory, counted twice as Linux 7.3 does, some that it did not report so, and
    the messages of non-fatal errors that its root port counted."""
    port = next(part for part in home(root, bdf).parts if part.startswith("0000:"))
    put(home(root, Bdf(port)), "aer_rootport_total_err_nonfatal", messages)
    put(home(root, bdf), "aer_dev_correctable", CORRECTABLE.format(bad=0).replace(
        "NonFatalErr 0", f"NonFatalErr {number}").replace("_COR 0", f"_COR {number}"))
    put(home(root, bdf), "aer_dev_nonfatal", FATES.replace("UnsupReq 0", f"UnsupReq {number + extra}").replace(
        "TOTAL_ERR_FATAL 0", f"TOTAL_ERR_NONFATAL {number + extra}"))


def put(root: Path, path: str, content: str | bytes | int) -> Path:
    """Writes one file; text and numbers get the kernel's line end."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())
    return file


def function(root: Path, path: str, speed: str = "16.0 GT/s PCIe", width: int = 16) -> str:
    """A PCI function at a path below /sys/devices, with its link; its address is the last part."""
    here = f"sys/devices/{path}"
    bdf = path.rsplit("/", 1)[-1]
    put(root, f"{here}/current_link_speed", speed)
    put(root, f"{here}/current_link_width", width)
    put(root, f"{here}/power/runtime_status", "active")
    put(root, f"{here}/aer_dev_correctable", CORRECTABLE.format(bad=0))
    put(root, f"{here}/aer_dev_nonfatal", FATES.replace("FATAL", "NONFATAL"))
    put(root, f"{here}/aer_dev_fatal", FATES)
    link = root / "sys/bus/pci/devices" / bdf
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"../../../devices/{path}")
    return here


def amd_card(root: Path, index: int = 0, metrics: bytes | None = None) -> Bdf:
    """A card behind a root port and its own switch, with all that amdgpu shows of it."""
    bus = 0x40 + 8 * index
    port, up, down, bdf = (f"0000:{bus:02x}:01.1", f"0000:{bus + 1:02x}:00.0", f"0000:{bus + 2:02x}:00.0",
                           f"0000:{bus + 3:02x}:00.0")
    above = f"pci0000:{bus:02x}"
    for part in (port, up, down):
        above = f"{above}/{part}"
        function(root, above)
    here = function(root, f"{above}/{bdf}")
    put(root, f"{here}/gpu_metrics", xtx() if metrics is None else metrics)
    for name, value in {
        "mem_info_vram_used": 21 << 30, "mem_info_vram_total": 24 << 30, "mem_info_gtt_used": 64 << 20,
        "gpu_busy_percent": 98, "mem_busy_percent": 40, "pcie_replay_count": 3,
    }.items():
        put(root, f"{here}/{name}", value)
    hwmon = f"{here}/hwmon/hwmon{index + 2}"
    for name, content in {
        "name": "amdgpu", "temp1_label": "edge", "temp1_input": 61000, "temp2_label": "junction", "temp2_input": 80000,
        "temp3_label": "mem", "temp3_input": 72000, "freq1_label": "sclk", "freq1_input": 2_391_000_000,
        "freq2_label": "mclk", "freq2_input": 1_249_000_000, "in0_label": "vddgfx", "in0_input": 905,
        "power1_average": 326_000_000, "power1_cap": 339_000_000, "fan1_input": 1500,
    }.items():
        put(root, f"{hwmon}/{name}", content)
    return Bdf(bdf)


def home(root: Path, bdf: Bdf) -> Path:
    """The folder of a function."""
    return (root / "sys/bus/pci/devices" / bdf).resolve()


def sensors(root: Path, bdf: Bdf) -> Path:
    return next((home(root, bdf) / "hwmon").iterdir())


def processors(root: Path, cores: int = 4) -> None:
    """A processor of two threads a core, with everything that an Intel one shows."""
    put(root, "proc/stat", "cpu  1000 0 500 8000 500 0 0 0 0 0\ncpu0 1 0 1 1 1 0 0 0 0 0\nintr 12345")
    put(root, "proc/meminfo", "MemTotal:       263737512 kB\nMemFree:        1000000 kB\nMemAvailable:   250000000 kB")
    for number in range(2 * cores):
        core = number % cores
        here = f"sys/devices/system/cpu/cpu{number}"
        put(root, f"{here}/topology/thread_siblings_list", f"{core},{core + cores}")
        put(root, f"{here}/topology/physical_package_id", 0)
        put(root, f"{here}/thermal_throttle/core_throttle_count", core)
        put(root, f"{here}/thermal_throttle/package_throttle_count", 9)
        put(root, f"sys/devices/system/cpu/cpufreq/policy{number}/scaling_cur_freq", 3_000_000 + 100_000 * core)
    put(root, "sys/class/hwmon/hwmon0/name", "k10temp")
    for number, (label, value) in enumerate((("Tctl", 71250), ("Tccd1", 66000)), 1):
        put(root, f"sys/class/hwmon/hwmon0/temp{number}_label", label)
        put(root, f"sys/class/hwmon/hwmon0/temp{number}_input", value)
    package = "sys/class/powercap/intel-rapl:0"
    for zone, name in ((package, "package-0"), (f"{package}:0", "core"), (f"{package}:1", "dram")):
        put(root, f"{zone}/name", name)
        put(root, f"{zone}/energy_uj", 1_000_000)
        put(root, f"{zone}/max_energy_range_uj", 65_532_610_987)
    put(root, "sys/class/powercap/intel-rapl-mmio:0/name", "package-0")
    put(root, "sys/class/powercap/intel-rapl-mmio:0/energy_uj", 5)
