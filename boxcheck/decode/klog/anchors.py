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
        "AER: ", "PCIe Bus Error", "error status/mask=", "callbacks suppr",
    )),
    ("hwerror", ("aer_status: ", "[Hardware Error]")),
    ("link", (
        "DPC: ", "lot(", "Link Active not", "downstream link", "PCIe bandwidth", "power state",
        "giving up",
    )),
    ("bars", (" assign", "no space", "resizing BAR", "large BAR", "can't enable device")),
    ("nvidia", (
        "NVRM: ", "SXid (", "NVSwitch ", ": probe of ", "probe with driver ", "device handle for GPU", "uvm encountered",
        "power cables connected",
    )),
    ("amdgpu", (
        " timeout", " reset", "MES", "SMU: ", "IB test", "is hung!", " test failed (-", "of IP block", "GPU init",
        ": probe of ", "probe with driver ", "page fault", "errors detected", "lost from bus", " atomic", "emperature ",
        "PSP ", "firmware load for", "VRAM",
    )),
    ("iommu", ("Event logged", "DMAR: [", "Completion-Wait")),
    ("machine", (
        "EDAC MC", "Memory failure", "emperature ", "soft lockup", "hard LOCKUP", "blocked for more", "detected stall",
        "ut of memory", "Kernel panic", "nable to handle", "kernel NULL", "kernel BUG", " [#", "NMI: ",
        "protection fault", "WARNING: ", " timeout", "controller is down", "not ready; aborting", "pci function ",
    )),
    (BOOT, (
        "_OSC", "PCI Root Bridge [", "enabled with IRQ", "unknown parameter", "ommand line", "Linux version ", "DMI: ",
        "Default domain type", "VRAM", "of GTT memory", "NVRM: ", "pci function ", "-- Boot ", "-- Reboot --",
    )),
)
"""What a line must hold to be looked at, and by whom."""
