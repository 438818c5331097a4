"""What a box would lose with a link: the disk it runs from, the network it is reached by, the screen it is seen on.

Reads   the facts `storage` and `network`, the real paths of disks and interfaces, /proc/net/{route,ipv6_route},
        `boot_vga` of display functions                                                            (any user)
By hand lspci -tv; findmnt /; ip route; cat /sys/bus/pci/devices/*/boot_vga

A link that is retrained comes back within milliseconds; one that does not takes all that hangs below it along.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from boxcheck.host import Host
from boxcheck.host.common import one_line
from boxcheck.model import Bdf, Unread
from boxcheck.probes.links import Links
from boxcheck.probes.network import NET
from boxcheck.probes.pci import PciInventory, parse_bdf
from boxcheck.probes.storage import BLOCK, Storage

STORAGE_CLASS, NETWORK_CLASS, DISPLAY_CLASS, USB_CLASS = 0x01, 0x02, 0x03, 0x0C03
DEPTH_LIMIT = 8
"""Interfaces may be stacked (bridge on bond on VLAN); no sane stack is deeper."""
_RTF_UP = 0x1


def stakes(host: Host, port: Bdf, pci: PciInventory, links: Links, storage: Storage) -> tuple[str, ...]:
    """What would go with the link below a port, one clause each; empty: nothing that the box cannot do without."""
    below = {bdf for bdf, above in links.above.items() if port in above}
    return tuple([*_disks(host, below, pci, storage), *_network(host, below, pci), *_console(host, below, pci)])


def _classes(below: set[Bdf], pci: PciInventory) -> set[int]:
    codes = {pci.functions[bdf].class_code for bdf in below}
    return {code >> 16 for code in codes} | {code >> 8 for code in codes}


def _disks(host: Host, below: set[Bdf], pci: PciInventory, storage: Storage) -> Iterator[str]:
    holders = {STORAGE_CLASS, NETWORK_CLASS, USB_CLASS} & _classes(below, pci)
    if not holders:
        return  # whatever holds the root file system, it is not here
    if isinstance(storage.root, Unread):
        yield f"there are controllers below it, and the disk behind / was not found ({storage.root.why})"
        return
    for disk in storage.root:
        functions = _functions_of_disk(host, disk.name)
        if isinstance(functions, Unread):
            yield f"there are controllers below it, and where {disk.name} hangs was not read ({functions.why})"
        elif functions & below:
            yield f"the disk that / is on ({disk.name}) hangs below it"


def _functions_of_disk(host: Host, name: str) -> set[Bdf] | Unread:
    """The PCI functions on the way to a disk; empty for one that is on no PCI device."""
    path = host.target(f"{BLOCK}/{name}")
    if isinstance(path, Unread):
        return path
    found = _on_path(path)
    subsystem = re.match(r"(/sys/devices/virtual/nvme-subsystem/[^/]+)/", path)
    if subsystem is None:
        return found
    # With native multipath the disk is nobody's; its subsystem has a link to each controller.
    names = host.entries(subsystem[1])
    if isinstance(names, Unread):
        return names
    for controller in names:
        if re.fullmatch(r"nvme\d{1,4}", controller):
            target = host.target(f"{subsystem[1]}/{controller}")
            if isinstance(target, Unread):
                return target
            found |= _on_path(target)
    return found or Unread(f"{subsystem[1]} names no controller", "malformed")


def _on_path(path: str) -> set[Bdf]:
    return {bdf for part in path.split("/") if (bdf := parse_bdf(part)) is not None}


def _network(host: Host, below: set[Bdf], pci: PciInventory) -> Iterator[str]:
    if NETWORK_CLASS not in _classes(below, pci) and USB_CLASS not in _classes(below, pci):
        return
    names = _default_interfaces(host)
    if isinstance(names, Unread):
        yield f"there is a network card below it, and the default route was not read ({names.why})"
        return
    kept: list[str] = []
    lost: list[str] = []
    for name in names:
        functions = _functions_of_interface(host, name)
        (lost if functions and all(function & below for function in functions) else kept).append(name)
    if lost and not kept:
        yield f"the network that the default route goes by ({', '.join(lost)}) hangs below it"


def _default_interfaces(host: Host) -> tuple[str, ...] | Unread:
    """Names of the interfaces that a default route goes by (proc_net(5): IPv4 and IPv6)."""
    old, new = host.text("/proc/net/route"), host.text("/proc/net/ipv6_route")
    if isinstance(old, Unread) and isinstance(new, Unread):
        return old
    found: list[str] = []
    for line in "" if isinstance(old, Unread) else old.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 8 and fields[1] == fields[7] == "00000000" and _hex(fields[3]) & _RTF_UP:
            found.append(fields[0])
    for line in "" if isinstance(new, Unread) else new.splitlines():
        fields = line.split()
        if len(fields) >= 10 and fields[0] == "0" * 32 and fields[1] == "00" and fields[9] != "lo":
            found.append(fields[9])
    return tuple(dict.fromkeys(one_line(name, 32) for name in found if "/" not in name))


def _hex(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _functions_of_interface(host: Host, name: str, depth: int = 0) -> list[set[Bdf]]:
    """The PCI functions on the way to each piece of hardware that an interface stands on; empty for one that stands on
    none that is known."""
    device = host.target(f"{NET}/{name}/device")
    if isinstance(device, str):
        found = _on_path(device)
        return [found] if found else []
    names = host.entries(f"{NET}/{name}")
    lower = [] if isinstance(names, Unread) or depth > DEPTH_LIMIT else [
        entry.removeprefix("lower_") for entry in names if entry.startswith("lower_")]
    return [functions for part in lower for functions in _functions_of_interface(host, part, depth + 1)]


def _console(host: Host, below: set[Bdf], pci: PciInventory) -> Iterator[str]:
    for bdf in sorted(below):
        function = pci.functions[bdf]
        if function.class_code >> 16 == DISPLAY_CLASS and host.text(f"{function.path}/boot_vga") == "1":
            yield f"the card that the console is on ({bdf}) hangs below it"
