"""Which functions may leave a sound machine: somebody unplugs a dock, or takes a virtual function away.

Reads   /sys/bus/pci/devices/<bdf>/{physfn,removable,class,driver}, the first 256 bytes of config of the ports above it
        (slot capabilities, PCI Express Base Specification 7.5.3.9; beyond 64 bytes: root), once, before anything left.
        `removable` is Linux 5.14 and later, and says of what hangs at a Thunderbolt or USB4 port that it is.
By hand cat /sys/bus/pci/devices/0000:41:00.0/removable; sudo lspci -vv -s 40:01.1 | grep SltCap

A port that sleeps is not asked, since that would wake it. A drive in a bay that can be changed under way is part of the
box all the same: that it leaves is told as a warning, like a drive that is screwed in.
"""

from __future__ import annotations

import os

from boxcheck.decode.pci_config import ConfigSpace, decode_config
from boxcheck.decode.pci_express import PciExpress
from boxcheck.model import Bdf, Unread
from boxcheck.telemetry.files import SysFile, names_in, text_of
from boxcheck.telemetry.links import DEVICES

USB4_CLASS = 0x0C0340
"""Serial bus, USB, USB4 host interface (PCI Code and ID Assignment Specification)."""
DRIVES = frozenset((0x0106, 0x0108))
"""SATA and NVMe controllers."""
CONFIG_BYTES = 256
"""PCI's own: it holds the capability with the slot."""


class Removable:
    """Asks each port once."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._ports: dict[Bdf, bool] = {}

    def why(self, bdf: Bdf, above: tuple[Bdf, ...], code: int) -> str:
        """Why it may leave, as words behind its name; empty where it belongs to the machine. `above`: the ports over
        it; `code`: its class, 24 bits."""
        base = f"{DEVICES}/{bdf}"
        if not isinstance(names_in(self._root, f"{base}/physfn"), Unread):
            return "a virtual function"
        if text_of(self._root, f"{base}/removable") == "removable" or code == USB4_CLASS or (
                _driver(self._root, base) == "thunderbolt"):
            return "at Thunderbolt or USB4"
        if code >> 8 not in DRIVES and any(self._hot_plug(port) for port in above):
            return "at a port for hot plug"
        return ""

    def _hot_plug(self, port: Bdf) -> bool:
        if port not in self._ports:
            self._ports[port] = _says_hot_plug(self._root, port)
        return self._ports[port]


def _says_hot_plug(root: str, port: Bdf) -> bool:
    status = SysFile(root, f"{DEVICES}/{port}/power/runtime_status")
    asleep = status.asleep()
    status.close()
    if asleep:
        return False
    file = SysFile(root, f"{DEVICES}/{port}/config", CONFIG_BYTES)
    data = file.read()
    file.close()
    return not isinstance(data, Unread) and can_hot_plug(decode_config(data))


def can_hot_plug(config: ConfigSpace | Unread) -> bool:
    """Whether a port says that its slot is for hot plug; not where that could not be read."""
    express = None if isinstance(config, Unread) else config.express
    return isinstance(express, PciExpress) and express.slot_cap is not None and express.slot_cap.hot_plug


def _driver(root: str, base: str) -> str:
    try:
        return os.path.basename(os.readlink(f"{root}{base}/driver"))
    except OSError:
        return ""
