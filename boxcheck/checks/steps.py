"""Steps of help that several checks give in the same words, so that a problem with many findings says each once.

Every command here runs as it is printed: `sudo` where root is needed, a name in capitals where only the owner knows it.
"""

from __future__ import annotations

GRUB_FILE = "GRUB_CMDLINE_LINUX in /etc/default/grub"
GRUB_RUN = "sudo update-grub (Fedora: sudo grub2-mkconfig -o /boot/grub2/grub.cfg), then reboot"
"""Makes an edit of /etc/default/grub count. update-grub is Debian's and Ubuntu's; grub2-mkconfig Fedora's."""
