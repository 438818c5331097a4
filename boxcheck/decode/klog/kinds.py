"""Every kind of event that the kernel log yields: what it says, and how grave it may be. `--only KIND` takes these."""

from __future__ import annotations

from typing import NamedTuple

from .events import Severity


class Kind(NamedTuple):
    """One kind of event."""

    title: str
    severities: tuple[Severity, ...]
    """The gravest first. Which one holds is decided by the wording. Quoted within a sentence, everything is info."""


_F: tuple[Severity, ...] = ("fail",)
_W: tuple[Severity, ...] = ("warn",)
_I: tuple[Severity, ...] = ("info",)
_FW: tuple[Severity, ...] = ("fail", "warn")
_FWI: tuple[Severity, ...] = ("fail", "warn", "info")

SECTIONS: dict[str, dict[str, Kind]] = {
    "PCIe errors": {
        "aer-correctable": Kind("a PCIe error that the link repaired", _FWI),
        "aer-nonfatal": Kind("a PCIe error that was not repaired", _F),
        "aer-fatal": Kind("a PCIe error that took the link down", _F),
        "aer-recovery-failed": Kind("devices did not come back after a PCIe error", _F),
        "aer-not-owned": Kind("firmware keeps PCIe error reporting to itself", _I),
        "ghes-pcie": Kind("a PCIe error that firmware reported", _FWI),
        "dpc": Kind("a port cut its link off to contain an error", ("fail", "benign")),
    },
    "Links and devices": {
        "link-down": Kind("the link of a slot went down or did not come up", ("warn", "info")),
        "link-retrain": Kind("a link did not come up and was tried at 2.5 GT/s", _FWI),
        "bw-limited": Kind("a link narrower or slower than the device, when it was found", _I),
        "device-inaccessible": Kind("a device answers nothing when it is found or is to wake up", _F),
        "device-not-ready": Kind("a device did not answer after a reset or wake-up", _F),
        "device-lost": Kind("a driver lost its device", _FW),
        "power-state-refused": Kind("a device did not go to sleep", _I),
        "slot-power-fault": Kind("the supply of a slot cut out", _F),
        "bus-numbers": Kind("no bus number left for a bridge", _W),
    },
    "Address space": {
        "bar-assign-fail": Kind("no address space for a BAR or a bridge's window", ("fail", "warn", "info", "benign")),
        "bar-resize-fail": Kind("a BAR could not be made as large as the memory behind it", _W),
        "bar-taken": Kind("a BAR is held by another driver", _W),
        "bar-write-fail": Kind("a BAR does not keep what is written to it", _F),
        "iommu-fault": Kind("the IOMMU refused an access, or was not answered", _F),
    },
    "NVIDIA": {
        "xid": Kind("an error that the driver numbers (Xid)", _FWI),
        "sxid": Kind("an error of an NVLink switch (SXid)", _FW),
        "nvidia-init-fail": Kind("the driver could not start a GPU, or was not loaded", _FW),
        "gpu-power-cable": Kind("a card's power cables are missing", _F),
        "gsp-timeout": Kind("the GPU's system processor does not answer, told without an Xid", _F),
        "gsp-slow": Kind("the GPU's system processor was slow", _I),
        "nvidia-uvm-fatal": Kind("the driver's memory manager gave up", _F),
        "nvidia-peermem": Kind("GPU memory lent to a network card was gone too soon", _I),
        "driver-mismatch": Kind("libraries and kernel module are of two versions", _F),
    },
    "Any GPU": {
        "gpu-lost": Kind("a GPU is off the bus", _F),
        "nomodeset": Kind("the kernel was told not to start drivers of GPUs; NVIDIA's own does not care", _I),
        "gpu-hang": Kind("a GPU hung, told by another driver than amdgpu's own lines and Xids", _FW),
        "display-timeout": Kind("a display did not finish a picture", _W),
    },
    "AMD": {
        "amdgpu-ring-timeout": Kind("work on a ring hung", _FW),
        "amdgpu-ring-reset": Kind("a ring was reset alone", _W),
        "amdgpu-reset": Kind("a GPU was reset", _F),
        "amdgpu-queue-hang": Kind("a GPU did not let go of a queue", _FW),
        "amdgpu-irq-late": Kind("an interrupt of a GPU came late", _I),
        "amdgpu-ip-hung": Kind("a block of a GPU is hung", _F),
        "amdgpu-mes-fail": Kind("the scheduler firmware (MES) does not answer", _F),
        "amdgpu-smu-fail": Kind("the power firmware (SMU) does not answer", _FW),
        "amdgpu-page-fault": Kind("a program touched GPU memory that is not there", _W),
        "amdgpu-init-fail": Kind("the driver could not start a GPU, or was not loaded", _F),
        "amdgpu-resume-fail": Kind("a block of a GPU did not come back", _F),
        "ib-test-fail": Kind("a ring did not run its test commands", _F),
        "ring-test-fail": Kind("a ring did not answer its test", _F),
        "psp-fail": Kind("the security processor (PSP) failed", _F),
        "psp-command-fail": Kind("the security processor (PSP) refused a command", ("warn", "info")),
        "amdgpu-ras-ce": Kind("a GPU's memory corrected errors", _W),
        "amdgpu-ras-ue": Kind("a GPU's memory had errors that it could not correct", _F),
        "amdgpu-ras-poison": Kind("damaged data in a GPU's memory", _FW),
        "amdgpu-ras-bad-pages": Kind("a GPU has too many bad pages", _F),
        "amdgpu-pci-error": Kind("the driver was told of a PCIe error", _W),
        "atomics-unsupported": Kind("atomic operations do not reach a GPU", _FW),
        "kfd-device-fail": Kind("ROCm could not take a GPU in", _F),
        "kfd-unsupported": Kind("ROCm does not know a GPU", _I),
        "gtt-size": Kind("two settings of the GPU's share of memory disagree", _W),
        "deprecated-param": Kind("a parameter is on its way out", _I),
    },
    "Memory, processor, firmware": {
        "mce": Kind("a machine check of the processor", _FW),
        "edac-ce": Kind("a memory error that ECC corrected", _W),
        "edac-ue": Kind("a memory error that ECC could not correct", _F),
        "memory-failure": Kind("a damaged page of memory was taken out of use", _F),
        "ghes-memory": Kind("a memory error that firmware reported", _FW),
        "ghes-other": Kind("another error that firmware reported", _FW),
        "nmi": Kind("an alarm of the chipset (NMI)", _FW),
        "thermal": Kind("something became too hot", _FW),
        "undervoltage": Kind("the board's supply voltage fell too low", _W),
        "power-limit": Kind("the processor was held at its power limit", _I),
    },
    "The machine": {
        "nvme-timeout": Kind("a drive did not finish a request in time", _W),
        "disk-io-error": Kind("a drive failed a request", _FW),
        "nvme-reset": Kind("a drive stopped answering or was given up", _F),
        "filesystem-error": Kind("a file system is damaged, or the kernel stopped writing to it", _F),
        "raid-failure": Kind("a drive failed out of its array", _FW),
        "irq-unhandled": Kind("interrupts that no driver takes", _W),
        "lockup": Kind("a processor or a task was stuck", _W),
        "oops": Kind("the kernel crashed", ("fail", "info")),
        "kernel-panic": Kind("the kernel stopped", ("fail", "info")),
        "kernel-warning": Kind("the kernel met something that it did not expect", _I),
        "oom": Kind("memory ran out and a program was killed", _I),
        "firmware-load-fail": Kind("a firmware file was not found", ("warn", "info")),
        "unknown-param": Kind("a parameter that nobody knows, or a value that is not taken", ("warn", "info")),
        "taint": Kind("marks that the kernel carries; never a fault", _I),
        "harmless": Kind("looks like a fault and is none", ("benign",)),
    },
}
KINDS: dict[str, Kind] = {name: kind for section in SECTIONS.values() for name, kind in section.items()}
