"""Names that lspci prints for PCI classes, vendors and a few devices, and the numbers behind them.

`lspci` without -n or -nn prints names only. Source: pci.ids (class list of 2023.04.10), which takes the names from the
PCI Code and ID Assignment Specification. Vendor names are how a line of lspci begins after the class.
"""

from __future__ import annotations

from collections.abc import Mapping

CLASS_CODES: Mapping[str, int] = {
    "Unclassified device": 0x0000, "Non-VGA unclassified device": 0x0000, "VGA compatible unclassified device": 0x0001,
    "Image coprocessor": 0x0005,
    "Mass storage controller": 0x0180, "SCSI storage controller": 0x0100, "IDE interface": 0x0101,
    "Floppy disk controller": 0x0102, "IPI bus controller": 0x0103, "RAID bus controller": 0x0104,
    "ATA controller": 0x0105, "SATA controller": 0x0106, "Serial Attached SCSI controller": 0x0107,
    "Non-Volatile memory controller": 0x0108, "Universal Flash Storage controller": 0x0109,
    "Network controller": 0x0280, "Ethernet controller": 0x0200, "Token ring network controller": 0x0201,
    "FDDI network controller": 0x0202, "ATM network controller": 0x0203, "ISDN controller": 0x0204,
    "WorldFip controller": 0x0205, "PICMG controller": 0x0206, "Infiniband controller": 0x0207,
    "Fabric controller": 0x0208,
    "Display controller": 0x0380, "VGA compatible controller": 0x0300, "XGA compatible controller": 0x0301,
    "3D controller": 0x0302,
    "Multimedia controller": 0x0480, "Multimedia video controller": 0x0400, "Multimedia audio controller": 0x0401,
    "Computer telephony device": 0x0402, "Audio device": 0x0403,
    "Memory controller": 0x0580, "RAM memory": 0x0500, "FLASH memory": 0x0501, "CXL": 0x0502,
    "Bridge": 0x0680, "Host bridge": 0x0600, "ISA bridge": 0x0601, "EISA bridge": 0x0602, "MicroChannel bridge": 0x0603,
    "PCI bridge": 0x0604, "PCMCIA bridge": 0x0605, "NuBus bridge": 0x0606, "CardBus bridge": 0x0607,
    "RACEway bridge": 0x0608, "Semi-transparent PCI-to-PCI bridge": 0x0609, "InfiniBand to PCI host bridge": 0x060A,
    "Communication controller": 0x0780, "Serial controller": 0x0700, "Parallel controller": 0x0701,
    "Multiport serial controller": 0x0702, "Modem": 0x0703, "GPIB controller": 0x0704,
    "Smard Card controller": 0x0705,  # sic, in pci.ids
    "Generic system peripheral": 0x0880, "PIC": 0x0800, "DMA controller": 0x0801, "Timer": 0x0802, "RTC": 0x0803,
    "PCI Hot-plug controller": 0x0804, "SD Host controller": 0x0805, "IOMMU": 0x0806, "System peripheral": 0x0880,
    "Timing Card": 0x0899,
    "Input device controller": 0x0980, "Keyboard controller": 0x0900, "Digitizer Pen": 0x0901,
    "Mouse controller": 0x0902, "Scanner controller": 0x0903, "Gameport controller": 0x0904,
    "Docking station": 0x0A80, "Generic Docking Station": 0x0A00, "Docking Station": 0x0A80,
    "Processor": 0x0B80, "Power PC": 0x0B20, "MIPS": 0x0B30, "Co-processor": 0x0B40,
    "Serial bus controller": 0x0C80, "FireWire (IEEE 1394)": 0x0C00, "ACCESS Bus": 0x0C01, "SSA": 0x0C02,
    "USB controller": 0x0C03, "USB Controller": 0x0C03, "Fibre Channel": 0x0C04, "SMBus": 0x0C05,
    "InfiniBand": 0x0C06, "IPMI Interface": 0x0C07, "IPMI SMIC interface": 0x0C07, "SERCOS interface": 0x0C08,
    "CANBUS": 0x0C09,
    "Wireless controller": 0x0D80, "IRDA controller": 0x0D00, "Consumer IR controller": 0x0D01,
    "RF controller": 0x0D10, "Bluetooth": 0x0D11, "Broadband": 0x0D12, "802.1a controller": 0x0D20,
    "802.1b controller": 0x0D21,
    "Intelligent controller": 0x0E80, "I2O": 0x0E00,
    "Satellite communications controller": 0x0F80, "Satellite TV controller": 0x0F01,
    "Satellite audio communication controller": 0x0F02, "Satellite voice communication controller": 0x0F03,
    "Satellite data communication controller": 0x0F04,
    "Encryption controller": 0x1080, "Network and computing encryption device": 0x1000,
    "Entertainment encryption device": 0x1010,
    "Signal processing controller": 0x1180, "DPIO module": 0x1100, "Performance counters": 0x1101,
    "Communication synchronizer": 0x1110, "Signal processing management": 0x1120,
    "Processing accelerators": 0x1200, "SNIA Smart Data Accelerator Interface (SDXI) controller": 0x1201,
    "Non-Essential Instrumentation": 0x1300, "Coprocessor": 0x4000, "Unassigned class": 0xFF00,
}  # fmt: skip
"""Class name -> base class and sub-class. A name that only a base class has stands for its sub-class 80, "other"."""

VENDORS: tuple[tuple[str, int], ...] = (
    ("NVIDIA Corporation", 0x10DE), ("nVidia Corporation", 0x10DE),
    ("Advanced Micro Devices, Inc. [AMD/ATI]", 0x1002), ("Advanced Micro Devices [AMD/ATI]", 0x1002),
    ("Advanced Micro Devices, Inc. [AMD]", 0x1022), ("Advanced Micro Devices [AMD]", 0x1022),
    ("Intel Corporation", 0x8086), ("ASPEED Technology, Inc.", 0x1A03), ("Matrox Electronics Systems Ltd.", 0x102B),
    ("Broadcom / LSI", 0x1000), ("PLX Technology, Inc.", 0x10B5), ("ASMedia Technology Inc.", 0x1B21),
    ("Mellanox Technologies", 0x15B3), ("Samsung Electronics Co Ltd", 0x144D), ("NVIDIA ", 0x10DE),
    ("AMD/ATI ", 0x1002),
)  # fmt: skip
"""How a device's text begins -> vendor id, for names that one vendor id has. Only those that a judgement asks for, or
that are seen often. The short ones are those of people and of inxi."""

ON_CARD_NAMES: Mapping[str, int] = {
    "Navi 10 XL Upstream Port of PCI Express Switch": 0x1478,
    "Navi 10 XL Downstream Port of PCI Express Switch": 0x1479,
}
"""Ports of the switch that RDNA cards carry, device ids of vendor 1002."""


def class_of(name: str) -> int | None:
    """Base class and sub-class (16 bits) of a class name; None for a name that pci.ids does not have."""
    return CLASS_CODES.get(name)


def vendor_of(text: str) -> tuple[int, str] | None:
    """Vendor id and the rest of a device's text; None for a vendor that is not in the table."""
    for name, number in VENDORS:
        if text.startswith(name):
            return number, text[len(name):].strip()
    return None
