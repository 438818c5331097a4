"""What to do, one step each, where several families of messages ask for the same: in the same words, so that an account
of several events has each step once."""

from __future__ import annotations

UPDATE = "update linux-firmware and the kernel together"
COLD = "power the machine off and on: a warm reboot may keep the GPU's firmware hung"
PROGRAM = "look at the program that ran"
LOAD = "if it needs load and any program does it, check power and temperature of this GPU"
GPU_OFF = "power the machine off and on, the GPU does not come back without"
CABLES = "check the card's power cables, its seat and its riser"
BEFORE = "look for a lost GPU and for PCIe errors of its port just before"
COUNTERS = "read the error counters of both ends of the link, twice, with load between (aer_dev_correctable)"
DIMM = "read the DIMM's counters (/sys/devices/system/edac/mc), then swap it with another one"
BMC = "read the BMC's event log for the same moment"
HOLDER = "unload the driver that holds it, as lspci -k and /proc/iomem name it (simpledrm, efifb, nouveau, vfio-pci)"
ABOVE_4G = "in the BIOS: enable Above 4G Decoding and Resizable BAR, and raise the MMIO High size where it has one"
