"""Lines that look like a fault and are none, with the reason. From ordinary boots among public captures.

Sources: drivers/acpi/acpica, drivers/i2c/busses/i2c-nvidia-gpu.c, drivers/gpu/drm/nouveau/nvkm/subdev/bus/gf100.c,
drivers/net/ethernet/mellanox/mlx5/core/events.c, drivers/iommu/amd/init.c, drivers/gpu/drm/amd/display
(generic_reg_wait), arch/x86/kernel/cpu/bugs.c, systemd's journald.
"""

from __future__ import annotations

from .family import Rule
from .words import Rx

HARMLESS = (
    Rule("i2c timeout error", "harmless", "benign", "benign",
         "the USB-C port of the card has nothing to answer it, and nothing is wrong", (),
         Rx(r"nvidia-gpu .{1,24}i2c timeout error"), label="USB-C of the card"),
    Rule("i2c_transfer failed", "harmless", "benign", "benign",
         "the USB-C port of the card has nothing to answer it, and nothing is wrong", (),
         Rx(r"ucsi_ccg .{1,16}i2c_transfer failed"), label="USB-C of the card", variant="ucsi"),
    Rule("ACPI BIOS E", "harmless", "benign", "benign",
         "the BIOS's tables hold a mistake that the kernel steps over, as on most boards", (), label="ACPI tables"),
    Rule("ACPI Error: ", "harmless", "benign", "benign",
         "the BIOS's tables hold a mistake that the kernel steps over, as on most boards", (), label="ACPI tables"),
    Rule("MMIO ", "harmless", "benign", "benign",
         "nouveau touched a register that the card does not have, as it does on many cards, and nothing is wrong", (),
         Rx(r"bus: MMIO (?:read|write) of [0-9a-f]{8} FAULT at [0-9a-f]{4,8} \[ (?:IBUS|PRIVRING) \]"),
         label="nouveau register"),
    Rule("insufficient power on the PCIe slot", "harmless", "benign", "benign",
         "the slot announces less power than the network card may draw, which NVIDIA calls benign", (),
         Rx(r"Detected insufficient power on the PCIe slot"), label="slot power of a network card"),
    Rule("Unable to read EDID", "harmless", "benign", "benign",
         "no screen answers at this output, and nothing is wrong", (), label="EDID"),
    Rule("IOMMU perf counter", "harmless", "benign", "benign",
         "the IOMMU's performance counters are not there, and nothing needs them", (),
         Rx(r"Unable to read/write to IOMMU perf counter"), label="IOMMU counters"),
    Rule("ecure display: Generic Failure", "harmless", "benign", "benign",
         "an optional part for protected video is missing, and nothing here needs it", (), label="securedisplay"),
    Rule("REG_WAIT timeout", "harmless", "benign", "benign",
         "the display part of a GPU was slow to switch off, as often when a screen is detected or goes to sleep", (),
         Rx(r"REG_WAIT timeout \d{1,9}us \* \d{1,9} tries"), label="REG_WAIT"),
    Rule("Spectre V2 : WARNING", "harmless", "benign", "benign",
         "a note about which programs may be spied on, and no fault", (), label="Spectre"),
    Rule("uncleanly shut down", "harmless", "benign", "benign",
         "the journal was not closed at the last power cut or crash, and a new file was begun", (),
         Rx(r"corrupted or uncleanly shut down, renaming"), label="journal"),
)
