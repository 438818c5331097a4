"""Readers of tools' output, and the words by which each is found.

A reader is a module with three functions:

    begins(line)            the variant (`lspci -vvv`) when this line begins an output of its tool, else None
    belongs(variant, line)  whether a later line is still part of it; blank lines are never asked
    read(section)           the Evidence; never raises on any content

and, for tools that print JSON or XML, `read_json(value) -> Evidence | None` for a whole file.

Lines come clean (no control characters, no quote marks), tabs kept. A reader is imported when one of its words was
found, so the words should be rare in a kernel log; they only say that a line may begin an output.
"""

from __future__ import annotations

from typing import NamedTuple


class Tool(NamedTuple):
    """Where a reader is, and what finds it."""

    module: str
    """Below `boxcheck.triage.tools`."""
    anchors: tuple[str, ...]
    """One of these is on every line that begins an output."""


TOOLS: tuple[Tool, ...] = (
    Tool("dmidecode", ("# dmidecode ", "Getting SMBIOS data", ", DMI type ", "/sys/firmware/dmi/tables/",
                       "/dev/mem: Permission denied", "Memory Device", "System Slot Information",
                       "Base Board Information", "Physical Memory Array", "BIOS Information", "System Information",
                       "Processor Information")),
    Tool("device_query", ("deviceQuery Starting", "CUDA Device Query (", "cudaGetDeviceCount returned")),
    Tool("nvidia_smi", ("NVSMI LOG", "NVIDIA-SMI", "Failed to initialize NVML", "device handle for",
                        "No devices were found", "No devices found.", "infoROM is corrupted", "(UUID: GPU-",
                        "nvidia_smi_log", "GPU 0000", "GPU Link Info", "PCIe Generation", "Link Width",
                        "Replays Since Reset", "Replay Number Rollovers", "Product Name ", "pci.bus_id",
                        "pcie.link", "memory.total", ".0 Off |", ".0  On |", "utilization.gpu",
                        "temperature.gpu", "power.draw", "gpu_bus_id", "gpu_uuid")),
    Tool("dcgm", ("Successfully ran diagnostic", "| Diagnostic", "Deployment ", "Integration ", "-  Hardware",
                  "- Hardware", "-  Stress", "- Stress", "-  Metadata", "- Metadata", "| Pass", "| Fail", "| Skip",
                  "| Warn", "Health Monitor Report", "ealth monitor systems", "| Overall Health", " GPUs found",
                  " GPU found", "| GPU ID", "Error: Unable to", "Error: unable to", "Error: Diagnostic",
                  "Error: Health watches", "Error: Unsupported")),
    Tool("rocminfo", ("ROCk module", "HSA System Attributes", "/dev/kfd read-write", "hsa api call failure",
                      "Agent ")),
    Tool("rocm_smi", ("ROCm System Management Interface", "between two GPUs", "Concise Info", "GPU[",
                      "Driver not initialized (amdgpu")),
    Tool("amd_smi", ("GPU: ", "ACCESS TABLE:", "WEIGHT TABLE:", "HOPS TABLE:", "LINK TYPE TABLE:", "AMD-SMI ",
                     "Unable to get devices, driver", "Unable to detect any GPU devices")),
    Tool("nvidia_topo", ("GPU0",)),
    Tool("nvbandwidth", ("nvbandwidth Version", "Running host_", "Running device_", "Running all_", "Running one_",
                         "Waiving ", "SUM ", "memcpy CE", "memcpy SM", "memcpy local", "memory latency SM",
                         "Device 0: ")),
    Tool("p2p_test", ("[P2P (Peer-to-Peer)", "P2P Connectivity Matrix", "P2P=Enabled", "P2P=Disabled", "pciBusID: ",
                      "Access Peer Device=")),
    Tool("p2p_test_samples", ("simpleP2P] - Starting", "support of peer to peer", "Peer access from ",
                              "MemcpyPeer / ", "Verification error @", "[CUDA Bandwidth Test]", "bandwidthTest-")),
    Tool("gpu_burn", ("proc'd:", "Burning for ", "Using compare file", "Run length not specified",
                      "Initialized device ", "GPUs:", "init a GPU test", "Failure during compute")),
    Tool("gpu_burn_memtest", ("memtest_vulkan", "Error found. Mode ", "5-minute test", ": Bus=0x", "cuda memtest",
                              "errors found in block")),
    Tool("p2p_test_superbench", ("_by_dma", "_by_sm", "STREAM Benchmark", "STREAM_", "GB/s PEAK")),
    Tool("rvs", ("[RESULT]", "RVS-", "(RVS) Summary")),
    Tool("nccl", ("# nThread", "# Using devices", "-tests version", "# Collective test", " Pid ",
                  "Out of bounds values")),
    Tool("pcilmr", (" -> ", "for margining:", "Lane Margining at the Receiver cap", "Margining statuses:", "Rx(",
                    "Lane,EW Min,", "Lane,Lane Status,")),
    Tool("rocm_bandwidth", ("BandwidthTest Version", "Inter-Device ", "directional copy ", "Data Path Validation")),
    Tool("lspci", ("controller: ", "controller [0", "controller [1", "Controller: ", "Controller [0", "bridge: ",
                   "bridge [06", "Bridge: ", "Bridge [06", "udio device: ", "udio device [0", "ystem peripheral",
                   "rocessing accelerators", "on-Essential Instr", "Performance counters: ", "Performance counters [",
                   "SMBus: ", "SMBus [", "IOMMU: ", "IOMMU [08", "RAM memory: ", "RAM memory [", "IDE interface",
                   "Co-processor", "FireWire (IEEE", "Fibre Channel: ", "Fibre Channel [", "InfiniBand: ",
                   "InfiniBand [", "encryption device", "PIC: ", "PIC [08", "nclassified device", "Unassigned class",
                   " 0600: ", " 0604: ", " 0300: ", " 0302: ", " 0380: ", " 1200: ", " 0108: ", " 0200: ", " 0403: ",
                   " 0c03: ", " 0880: ", " 0106: ", " Class 0", " Class [0", '.0 "', '.1 "', "Slot:", "]-",
                   "pcilib: ", "lspci: ", "LnkSta:", "LnkCap:", "LnkCap2:", "LnkCtl2:", "LnkSta2:", "DevCap:",
                   "DevCap2:", "DevCtl:", "DevCtl2:", "SltSta:", "UESta:", "CESta:", "CEMsk:", "ACSCtl:", "DpcSta:",
                   "LaneErrStat:", "Capabilities: ", "Memory at ", "I/O ports at ", "Kernel driver in use: ",
                   ": current size:", "AtomicOpsC")),
)
"""The order decides between readers that claim the same line."""

JSON_READERS: tuple[str, ...] = ("amd_smi", "rocm_smi", "nvbandwidth", "dcgm")
"""Modules with a `read_json`."""
