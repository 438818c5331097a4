"""Steps of help that several checks give in the same words, so that a problem with many findings says each once.

Every command here runs as it is printed: `sudo` where root is needed, a name in capitals where only the owner knows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

GRUB_FILE = "GRUB_CMDLINE_LINUX in /etc/default/grub"
GRUB_WRITE = "sudo update-grub (Fedora: sudo grub2-mkconfig -o /boot/grub2/grub.cfg)"
GRUB_RUN = f"{GRUB_WRITE}, then reboot"
"""Makes an edit of /etc/default/grub count. update-grub is Debian's and Ubuntu's; grub2-mkconfig Fedora's."""
INITRAMFS = "sudo update-initramfs -u (Fedora: sudo dracut -f), then reboot"
"""Makes an edit in /etc/modprobe.d, or a new firmware file, count for modules that load before the disks are there."""
READ_THE_LOG = "read what happened before it: boxcheck doctor log -v"
WHY_NO_DRIVER = "boxcheck doctor driver kernel  says why it has none (PARTIAL, nothing failed, once it has one)"
AMDGPU_LOG = "sudo dmesg | grep -E 'kfd|amdgpu' | tail -40  says why"
REVIVE = ("power off (a restart does not bring it back), check every power lead of the card, reseat card and riser at "
          "both ends, power on")
"""For a card that no longer answers."""

RESEATS = "power off, reseat the card and both ends of "
"""How the step about a bad contact begins, whoever gives it."""
RESEAT_LINK = f"{RESEATS}its riser, power on"
"""That step where neither riser nor slot is known by name."""
COPY_SHOWS = "boxcheck stress run copy  shows whether that cured it"
AER_NAMES = "boxcheck doctor aer  names slot and part (ends in PARTIAL)"

BIOS_ROOM = ("BIOS setup: Above 4G Decoding on, Resizable BAR (Smart Access Memory) on, CSM off, MMIO high size to the "
             "largest value where there is one")
STILL_SMALL = """still small: update the card's VBIOS; sudo dmesg | grep "can't assign"  shows where room is missing"""
REALLOC = f"still so: add pci=realloc to {GRUB_FILE}, {GRUB_RUN}"
P2P_KERNEL = ("use a kernel with CONFIG_HSA_AMD_P2P and CONFIG_PCI_P2PDMA (Ubuntu's and Fedora's have them), or AMD's "
              "DKMS driver")

FANS = "look for a fan that stands still, dust and blocked air"
LOAD_OFF = "take the load off"
COOL_DRIVE = "give the drive air or a heat sink"
COPY_AND_REPLACE = "copy what is on it, then replace it"

SUPPLY = "check the mains leads and circuit breakers of the supplies, then swap the one that is named"
SAME_MODULE = "replace the module in {label} with the part number and speed of the others"
LANE_SHARING = "not cured: look in the board's manual for a slot or jumper that shares the drive's lanes"

NO_CONTACT = "a dirty contact (the lanes were never offered)"
NO_SIGNAL = "a poor signal (the speed was never offered)"
NO_FALL = "a riser that fell back by itself (the port was told not to go faster)"
SET_LOW = frozenset({NO_CONTACT, NO_SIGNAL, NO_FALL})
"""Excluded of a link that has fewer lanes or less speed by how it is built or set, and not by what it carries."""

COSTS = (
    (r"\b(?:replace|swap|another slot)\b", 5), (r"\b(?:power off|reseat|power cables|power the (?:machine|box))\b", 4),
    (r"\bBIOS\b", 3), (r"\breboot\b", 2),
)
"""Words of a step and what it costs to do: parts, hands in the machine, the BIOS, a reboot; all else is typing."""


def cost(steps: Sequence[str]) -> int:
    """What the first of some steps costs; none costs nothing."""
    return next((cost for words, cost in COSTS if steps and re.search(words, steps[0])), 1 if steps else 0)
