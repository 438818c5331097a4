"""IOMMU faults: a device's DMA that was refused.

    nvidia 0000:07:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003 address=0x80000040 flags=0x0020]
    AMD-Vi: Event logged [IO_PAGE_FAULT device=07:00.0 domain=0x0007 address=0xffffc02000 flags=0x0000]
    DMAR: [DMA Write NO_PASID] Request device [0000:73:00.1] fault addr 0x0 [fault reason 0x05] PTE Write access ...
    DMAR:[DMA Read] Request device [02:00.0] fault addr fd800000                            until 4.0 or so
    arm-smmu-v3 arm-smmu-v3.1.auto: event: F_TRANSLATION client: 0000:41:00.0 sid: 0x4100 ssid: 0x0 iova: ...
    arm-smmu-v3 arm-smmu-v3.1.auto: event 0x10 received:                                     until 6.13 or so

A device that does not answer the IOMMU (IOTLB_INV_TIMEOUT, Invalidation Time-out) hangs or is gone; no mode of the
IOMMU cures that. On a machine whose GPUs copy to each other, the IOMMU translating instead of passing through is the
usual reason for the others.
Sources: drivers/iommu/amd/iommu.c (iommu_print_event), drivers/iommu/intel/dmar.c (dmar_fault_do_one,
qi_check_fault), drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c (arm_smmu_dump_event), drivers/iommu/arm/arm-smmu/
arm-smmu.c (arm_smmu_print_context_fault_info).
"""

from __future__ import annotations

from .envelope import Line
from .family import Rule, apply
from .ledger import Ledger
from .steps import BEFORE, CABLES
from .words import BDF, Rx

_MODE = (
    "boot with iommu=pt; for peer copies between GPUs without a supporting driver, with the IOMMU off",
    "if the mode is right already, update the device's driver",
)
_AMD_DEVICE = rf"(?:device=(?:0x)?(?P<bdf>{BDF}))?"

_SILENT = (BEFORE, CABLES)

_RULES = (
    Rule("IOTLB_INV_TIMEOUT", "iommu-fault", "fail", "signal",
         "the device did not answer the IOMMU in time: it hangs or is off the bus", _SILENT,
         Rx(rf"(?P<label>IOTLB_INV_TIMEOUT) {_AMD_DEVICE}")),
    Rule("Invalidation Time-out", "iommu-fault", "fail", "signal",
         "a device did not answer the IOMMU in time: it hangs or is off the bus", _SILENT, label="ITE"),
    Rule("IO_PAGE_FAULT", "iommu-fault", "fail", "config", "the IOMMU refused a memory access of the device", _MODE,
         Rx(rf"(?P<label>IO_PAGE_FAULT) {_AMD_DEVICE}")),
    Rule("INVALID_DEVICE_REQUEST", "iommu-fault", "fail", "config",
         "the device asked the IOMMU for what it may not", _MODE,
         Rx(rf"(?P<label>INVALID_DEVICE_REQUEST) {_AMD_DEVICE}")),
    Rule("Event logged [", "iommu-fault", "fail", "config", "the IOMMU logged {label}", _MODE,
         Rx(rf"Event logged \[(?P<label>[A-Z_]{{4,40}}) {_AMD_DEVICE}")),
    Rule("Completion-Wait loop timed out", "iommu-fault", "fail", "firmware",
         "the IOMMU did not finish a command in time",
         ("update the BIOS; boot with iommu=pt",), label="Completion-Wait"),
    Rule(" event", "iommu-fault", "fail", "config", "the IOMMU refused a memory access of the device", _MODE,
         Rx(rf"arm-smmu-v3\S{{0,40}}: event: (?P<label>[FC]_[A-Z_]{{2,40}}) client: (?P<bdf>{BDF})?")),
    Rule(": event 0x", "iommu-fault", "fail", "config", "the IOMMU refused a memory access (event {label})", _MODE,
         Rx(r"arm-smmu-v3\S{0,40}: event (?P<label>0x[0-9a-f]{1,2}) received")),
    Rule("nhandled context fault", "iommu-fault", "fail", "config", "the IOMMU refused a memory access", _MODE,
         Rx(r"arm-smmu\b.{0,60}[Uu]nhandled context fault"), label="context fault"),
    Rule("DMAR:", "iommu-fault", "fail", "config", "the IOMMU refused a memory access of the device", _MODE,
         Rx(r"DMAR: ?\[(?P<label>DMA Read|DMA Write|INTR-REMAP)[\w ]{0,24}\] Request device \["
            rf"(?:0x)?(?P<bdf>{BDF})?")),
)


class Iommu:
    """Reads IOMMU messages."""

    def read(self, line: Line, out: Ledger) -> int:
        """Take in one line."""
        apply(_RULES, line, out)
        return 0

    def finish(self, out: Ledger) -> None:
        """Nothing is kept open."""
