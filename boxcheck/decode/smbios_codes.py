"""The enumerations of SMBIOS that boxcheck reads, code -> name.

Source  DMTF DSP0134 3.7, the section is named at each table. `Unknown` (code 2 nearly everywhere) is in no table: it is
        a value that the firmware did not give, and becomes Unread. Codes that are in no table are malformed or newer.
"""

from __future__ import annotations

CHASSIS_KINDS = {  # 7.4.1
    0x01: "Other", 0x03: "Desktop", 0x04: "Low Profile Desktop", 0x05: "Pizza Box", 0x06: "Mini Tower", 0x07: "Tower",
    0x08: "Portable", 0x09: "Laptop", 0x0A: "Notebook", 0x0B: "Hand Held", 0x0C: "Docking Station", 0x0D: "All In One",
    0x0E: "Sub Notebook", 0x0F: "Space-saving", 0x10: "Lunch Box", 0x11: "Main Server Chassis",
    0x12: "Expansion Chassis", 0x13: "Sub Chassis", 0x14: "Bus Expansion Chassis", 0x15: "Peripheral Chassis",
    0x16: "RAID Chassis", 0x17: "Rack Mount Chassis", 0x18: "Sealed-case PC", 0x19: "Multi-system", 0x1A: "CompactPCI",
    0x1B: "AdvancedTCA", 0x1C: "Blade", 0x1D: "Blade Enclosing", 0x1E: "Tablet", 0x1F: "Convertible",
    0x20: "Detachable", 0x21: "IoT Gateway", 0x22: "Embedded PC", 0x23: "Mini PC", 0x24: "Stick PC",
}

BOARD_KINDS = {  # 7.3.2; here 1 is Unknown and 2 is Other
    0x02: "Other", 0x03: "Server Blade", 0x04: "Connectivity Switch", 0x05: "System Management Module",
    0x06: "Processor Module", 0x07: "I/O Module", 0x08: "Memory Module", 0x09: "Daughter Board", 0x0A: "Motherboard",
    0x0B: "Processor+Memory Module", 0x0C: "Processor+I/O Module", 0x0D: "Interconnect Board",
}

PROCESSOR_KINDS = {  # 7.5.1
    0x01: "Other", 0x03: "Central Processor", 0x04: "Math Processor", 0x05: "DSP Processor", 0x06: "Video Processor",
}

PROCESSOR_STATES = {  # 7.5, Status, bits 2:0
    1: "Enabled", 2: "Disabled By User", 3: "Disabled By BIOS", 4: "Idle", 7: "Other",
}

SLOT_KINDS = {  # 7.10.1, without the PCI Express codes below
    0x01: "Other", 0x03: "ISA", 0x04: "MCA", 0x05: "EISA", 0x06: "PCI", 0x07: "PC Card (PCMCIA)", 0x08: "VLB",
    0x09: "Proprietary", 0x0A: "Processor Card", 0x0B: "Proprietary Memory Card", 0x0C: "I/O Riser Card",
    0x0D: "NuBus", 0x0E: "PCI-66", 0x0F: "AGP", 0x10: "AGP 2x", 0x11: "AGP 4x", 0x12: "PCI-X", 0x13: "AGP 8x",
    0x14: "M.2 Socket 1-DP", 0x15: "M.2 Socket 1-SD", 0x16: "M.2 Socket 2", 0x17: "M.2 Socket 3",
    0x18: "MXM Type I", 0x19: "MXM Type II", 0x1A: "MXM Type III", 0x1B: "MXM Type III-HE", 0x1C: "MXM Type IV",
    0x1D: "MXM 3.0 Type A", 0x1E: "MXM 3.0 Type B", 0x1F: "PCI Express 2 SFF-8639 (U.2)",
    0x20: "PCI Express 3 SFF-8639 (U.2)", 0x21: "PCI Express Mini 52-pin with bottom-side keep-outs",
    0x22: "PCI Express Mini 52-pin without bottom-side keep-outs", 0x23: "PCI Express Mini 76-pin",
    0x24: "PCI Express 4 SFF-8639 (U.2)", 0x25: "PCI Express 5 SFF-8639 (U.2)",
    0x26: "OCP NIC 3.0 Small Form Factor (SFF)", 0x27: "OCP NIC 3.0 Large Form Factor (LFF)",
    0x28: "OCP NIC Prior to 3.0", 0x30: "CXL FLexbus 1.0",
    0xA0: "PC-98/C20", 0xA1: "PC-98/C24", 0xA2: "PC-98/E", 0xA3: "PC-98/Local Bus", 0xA4: "PC-98/Card",
    0xC4: "PCI Express 6+", 0xC5: "EDSFF E1", 0xC6: "EDSFF E3",
}
# First code of each generation; the next five are x1, x2, x4, x8 and x16. The first generation's names carry no number,
# and firmware uses them for later generations too (ROMED8-2T, a Gen4 board, has 0xA5 on every slot).
_PCI_EXPRESS = {0xA5: None, 0xAB: 2, 0xB1: 3, 0xB8: 4, 0xBE: 5}

SLOT_GENERATIONS = {0x1F: 2, 0x20: 3, 0x24: 4, 0x25: 5}
SLOT_TYPE_LANES: dict[int, int] = {}
for _first, _generation in _PCI_EXPRESS.items():
    for _step, _lanes in enumerate((0, 1, 2, 4, 8, 16)):
        _name = "PCI Express" if _generation is None else f"PCI Express {_generation}"
        SLOT_KINDS[_first + _step] = f"{_name} x{_lanes}" if _lanes else _name
        if _lanes:
            SLOT_TYPE_LANES[_first + _step] = _lanes
        if _generation is not None:
            SLOT_GENERATIONS[_first + _step] = _generation

SLOT_LANES = {0x08: 1, 0x09: 2, 0x0A: 4, 0x0B: 8, 0x0C: 12, 0x0D: 16, 0x0E: 32}  # 7.10.2
SLOT_PARALLEL_WIDTHS = frozenset((0x03, 0x04, 0x05, 0x06, 0x07))  # 8 to 128 bits: buses that have no lanes

SLOT_USES = {1: "Other", 3: "Available", 4: "In Use", 5: "Unavailable"}  # 7.10.3

SLOT_LENGTHS = {  # 7.10.4
    1: "Other", 3: "Short", 4: "Long", 5: '2.5" drive form factor', 6: '3.5" drive form factor',
}

SLOT_CHARACTERISTICS = (  # 7.10.6 from bit 1, then 7.10.7 from bit 8
    (1, "5.0 V is provided"), (2, "3.3 V is provided"), (3, "Opening is shared"), (4, "PC Card-16 is supported"),
    (5, "Cardbus is supported"), (6, "Zoom Video is supported"), (7, "Modem ring resume is supported"),
    (8, "PME signal is supported"), (9, "Hot-plug devices are supported"), (10, "SMBus signal is supported"),
    (11, "PCIe slot bifurcation is supported"), (12, "Async/surprise removal is supported"),
    (13, "Flexbus slot, CXL 1.0 capable"), (14, "Flexbus slot, CXL 2.0 capable"),
    (15, "Flexbus slot, CXL 3.0 capable"),
)
SLOT_HOT_PLUG_BIT = 9

ARRAY_LOCATIONS = {  # 7.17.1
    0x01: "Other", 0x03: "System Board Or Motherboard", 0x04: "ISA Add-on Card", 0x05: "EISA Add-on Card",
    0x06: "PCI Add-on Card", 0x07: "MCA Add-on Card", 0x08: "PCMCIA Add-on Card", 0x09: "Proprietary Add-on Card",
    0x0A: "NuBus", 0xA0: "PC-98/C20 Add-on Card", 0xA1: "PC-98/C24 Add-on Card", 0xA2: "PC-98/E Add-on Card",
    0xA3: "PC-98/Local Bus Add-on Card", 0xA4: "CXL Add-on Card",
}

ARRAY_USES = {  # 7.17.2
    0x01: "Other", 0x03: "System Memory", 0x04: "Video Memory", 0x05: "Flash Memory", 0x06: "Non-volatile RAM",
    0x07: "Cache Memory",
}
SYSTEM_MEMORY = ARRAY_USES[0x03]

ERROR_CORRECTIONS = {  # 7.17.3
    0x01: "Other", 0x03: "None", 0x04: "Parity", 0x05: "Single-bit ECC", 0x06: "Multi-bit ECC", 0x07: "CRC",
}
ECC = frozenset((ERROR_CORRECTIONS[0x05], ERROR_CORRECTIONS[0x06]))

MEMORY_FORM_FACTORS = {  # 7.18.1
    0x01: "Other", 0x03: "SIMM", 0x04: "SIP", 0x05: "Chip", 0x06: "DIP", 0x07: "ZIP", 0x08: "Proprietary Card",
    0x09: "DIMM", 0x0A: "TSOP", 0x0B: "Row Of Chips", 0x0C: "RIMM", 0x0D: "SODIMM", 0x0E: "SRIMM", 0x0F: "FB-DIMM",
    0x10: "Die", 0x11: "CAMM",
}

MEMORY_KINDS = {  # 7.18.2
    0x01: "Other", 0x03: "DRAM", 0x04: "EDRAM", 0x05: "VRAM", 0x06: "SRAM", 0x07: "RAM", 0x08: "ROM", 0x09: "Flash",
    0x0A: "EEPROM", 0x0B: "FEPROM", 0x0C: "EPROM", 0x0D: "CDRAM", 0x0E: "3DRAM", 0x0F: "SDRAM", 0x10: "SGRAM",
    0x11: "RDRAM", 0x12: "DDR", 0x13: "DDR2", 0x14: "DDR2 FB-DIMM", 0x18: "DDR3", 0x19: "FBD2", 0x1A: "DDR4",
    0x1B: "LPDDR", 0x1C: "LPDDR2", 0x1D: "LPDDR3", 0x1E: "LPDDR4", 0x1F: "Logical non-volatile device", 0x20: "HBM",
    0x21: "HBM2", 0x22: "DDR5", 0x23: "LPDDR5", 0x24: "HBM3",
}

MEMORY_DETAILS = (  # 7.18.3; bit 0 is reserved, bit 2 says Unknown
    (1, "Other"), (3, "Fast-paged"), (4, "Static Column"), (5, "Pseudo-static"), (6, "RAMBus"), (7, "Synchronous"),
    (8, "CMOS"), (9, "EDO"), (10, "Window DRAM"), (11, "Cache DRAM"), (12, "Non-Volatile"),
    (13, "Registered (Buffered)"), (14, "Unbuffered (Unregistered)"), (15, "LRDIMM"),
)

IPMI_INTERFACES = {1: "KCS", 2: "SMIC", 3: "BT", 4: "SSIF"}  # 7.39.1; 0 is Unknown

SUPPLY_STATES = {1: "Other", 3: "OK", 4: "Non-critical", 5: "Critical"}  # 7.40.1, bits 9:7

SUPPLY_KINDS = {  # 7.40.1, bits 13:10
    1: "Other", 3: "Linear", 4: "Switching", 5: "Battery", 6: "UPS", 7: "Converter", 8: "Regulator",
}

SUPPLY_INPUT_SWITCHING = {1: "Other", 3: "Manual", 4: "Auto-switch", 5: "Wide Range", 6: "N/A"}  # 7.40.1, bits 6:3

ONBOARD_KINDS = {  # 7.42.2
    0x01: "Other", 0x03: "Video", 0x04: "SCSI Controller", 0x05: "Ethernet", 0x06: "Token Ring", 0x07: "Sound",
    0x08: "PATA Controller", 0x09: "SATA Controller", 0x0A: "SAS Controller", 0x0B: "Wireless LAN", 0x0C: "Bluetooth",
    0x0D: "WWAN", 0x0E: "eMMC", 0x0F: "NVMe Controller", 0x10: "UFS Controller",
}
