"""Network cards and their ports.

Reads   /sys/class/net/*/{device,address,operstate,speed}, the PCI inventory                  (any user)
Absent  an interface where no driver is bound to the card: then only the PCI function is there.
By hand ls -l /sys/class/net; ethtool eth0; lspci -d ::0200

`speed` answers with an error (EINVAL) while the link is down; that is no missing reading.
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import Host
from boxcheck.model import Bdf, Unread
from boxcheck.probes.attributes import integer, words
from boxcheck.probes.pci import PciInventory, parse_bdf
from boxcheck.registry import probe

NET = "/sys/class/net"
NETWORK_CLASSES = frozenset({0x0200, 0x0207, 0x0280})
"""Ethernet, InfiniBand, other network controllers (Wi-Fi)."""
ETHERNET_CLASS = 0x0200


class NetPort(msgspec.Struct, frozen=True, kw_only=True):
    """An interface that belongs to a PCI function."""

    name: str
    bdf: Bdf
    driver: str | None
    state: str | None | Unread
    """operstate: `up`, `down`, `dormant`, `unknown` ..."""
    speed_mbps: int | None
    """None while the link is down."""
    mac: str | None | Unread


class Controller(msgspec.Struct, frozen=True):
    """A network function on the PCI bus, with or without a driver. Virtual functions are left out."""

    bdf: Bdf
    pci_id: str
    class_code: int
    driver: str | None | Unread


class Network(msgspec.Struct, frozen=True):
    controllers: tuple[Controller, ...]
    ports: tuple[NetPort, ...] | Unread
    unreadable: Unread | None = None
    """Set when the PCI bus, or a function on it, could not be read; then a card may be missing in `controllers`."""


def _ports(host: Host, pci: PciInventory) -> tuple[NetPort, ...] | Unread:
    names = host.entries(NET)
    if isinstance(names, Unread):
        return names
    ports = []
    for name in names:
        device = host.target(f"{NET}/{name}/device")
        # virtio and some others put a device of their own between the PCI function and the interface.
        parts = reversed(device.split("/")) if isinstance(device, str) else ()
        bdf = next((found for part in parts if (found := parse_bdf(part)) is not None), None)
        if bdf is None:
            continue
        function = pci.functions.get(bdf)
        speed = integer(host, f"{NET}/{name}/speed")
        ports.append(NetPort(
            name=clean_text(name, 32), bdf=bdf,
            driver=function.driver if function and isinstance(function.driver, str) else None,
            state=words(host, f"{NET}/{name}/operstate"),
            speed_mbps=speed if isinstance(speed, int) and speed > 0 else None,
            mac=words(host, f"{NET}/{name}/address"),
        ))
    return tuple(ports)


@probe("network", Network, reads=[PciInventory])
def network(host: Host, pci: PciInventory) -> Network:
    controllers = tuple(
        Controller(function.bdf, function.pci_id, function.class_code, function.driver)
        for function in pci.functions.values()
        if function.class_code >> 8 in NETWORK_CLASSES and not function.virtual_function
    )
    return Network(controllers, _ports(host, pci), pci.incomplete)
