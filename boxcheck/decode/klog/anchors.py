"""Which words a line of a kernel log must hold to be looked at, and by which family.

Every word is searched for in every log, so as few and as rare words as possible: a word that ordinary lines hold costs
a look at each of them. A family of messages is a module with one class (`family.Family`), imported when its first word
is found.
"""

from __future__ import annotations

# family -> (module, class)
FAMILIES = {
    "aer": ("aer", "Aer"),
    "hwerror": ("hwerror", "HardwareErrors"),
    "link": ("link", "Links"),
    "bars": ("bars", "Bars"),
    "nvidia": ("nvidia", "Nvidia"),
    "amdgpu": ("amdgpu", "Amdgpu"),
    "iommu": ("iommu", "Iommu"),
    "machine": ("machine", "Machine"),
}
BOOT = "boot"
"""Boot facts and boot borders, read by the parser itself."""

ANCHORS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("aer", (
        "AER: ", "PCIe Bus Error", "CXL Bus Error", "error status/mask=", "callbacks suppr",
    )),
    ("hwerror", ("aer_status: ", "cor_status: ", "[Hardware Error]")),
    ("link", (
        "containment event", "RP PIO log", "error containment", "lot(", "Link Active not", "downstream link",
        "PCIe bandwidth", "power state", "giving up", "PCIe link lost", "Power fault", "No bus number",
        "hotplug command", "DPC: unmasked", "DPC: ERR_", "DPC: RP PIO error", "unknown header type",
        "OS doesn't have ASPM", "disabling ASPM on", "_OSC failed (", "VPD access failed",
    )),
    ("bars", (
        " assign", "no space", "resizing BAR", "resize BAR", "large BAR", "can't enable device", "can't reserve [",
        "error updating (", "Some PCI device resources",
    )),
    ("nvidia", (
        "VRM: ", "SXid (", "NVSwitch ", ": probe of ", "probe with driver ", "device handle for GPU",
        "GPU_IS_LOST", "uvm encountered", "for GPU progress", "power cables connected", "invalid context, skip",
    )),
    ("amdgpu", (
        " timeout", " reset", "MES", "SMU: ", "IB test", "is hung!", " test failed (", "of IP block", "GPU init",
        ": probe of ", "probe with driver ", "page fault", "errors detected", "lost from bus", " atomic", "emperature ",
        "PSP ", "psp gfx", "firmware load for", "VRAM", "ib ring test", "VM fault (", "send message", "SMU may be",
        "SMU metrics", "NOT added due", "supported in kfd", "shutdown due to GPU", "securedisplay TA",
        "ATHUB_INTERRUPT", "RAS poison", "Poison is", "RAS records:", "PCI error: det", "Recovery Failed",
        "module parameter is dep", "but TTM size", "fallback timer", "verdrive is", "device wedged", "cp might be in",
        "ailed to evict", "preemption time out", "preemption failed", "quiesce KFD", "all gangs", "all queues failed",
    )),
    ("iommu", (
        "Event logged", "DMAR: [", "DMAR:[", "Completion-Wait", "Invalidation Time-out", ": event 0x", " event: F_",
        " event: C_", "nhandled context fault",
    )),
    ("machine", (
        "EDAC MC", "Memory failure", "emperature ", "soft lockup", "hard LOCKUP", "detected stall",
        "ut of memory", "Kernel panic", "nable to handle", "kernel NULL", "kernel BUG", " [#", "NMI: ",
        "protection fault", "WARNING: ", " timeout", "controller is down", "ot ready; aborting", "pci function ",
        "after probe fail", "after reset fail", "expedited stall", "workqueue lockup", "for more than",
        "ower limit noti", "HARDWARE PROTECTION", "Trigger a crash", "taints kernel", "ainting kernel", " Tainted: ",
        "i2c timeout error", "ucsi_ccg", "ACPI BIOS E", "ACPI Error: ", "flip_done timed", "nobody cared (",
        "GPU HANG: ", "error, dev nvme", "error, dev sd", ": exception Emask 0x", "hardware memory error",
        "MCE broadcast", "host controller not resp",
        "health compromised", "ndervoltage detected", "SCHED_ERROR", "bus: MMIO ", ": version magic '",
        ": Unknown symbol", "insufficient power", "to read EDID", "IOMMU perf counter", "Generic Failure",
        "V2 : WARNING", "uncleanly shut down", "NMI received for", "hardware memory corr", "blocks, I/O Error (",
        "EXT4-fs error", "filesystem read-only", "data corruption detect", "orruption of in-memory", ": corrupt leaf",
        "orrupt node", "forced readonly", "Disk failure on", "Aborting journal on", "while flushing file data",
        "csum failed r", " IO failure", "bdev /dev/", "etadata I/O ", "og I/O ", "on-disk metadata (",
        "device removal (", "uncorrectable I/O", "has declared device",
    )),
    (BOOT, (
        "_OSC", "PCI Root Bridge [", "enabled with IRQ", "nknown parameter", "nvalid for parameter", "Unknown option",
        "Unknown boot option", "ommand line", "ooted with ", "Linux version ", "DMI: ",
        "Default domain type", "VRAM", "of GTT memory", "NVRM: loading ", "GPU at PCI:", "Static bar1 mapped",
        "pci function ", "-- Boot ", "-- Reboot --",
    )),
)
"""What a line must hold to be looked at, and by whom."""
