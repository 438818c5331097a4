"""Trees of any size, written straight to a directory, for measuring how time and memory grow with the machine.

    python -m tests.boxes.generated 10000 OUT          # a directory; OUT.tar makes a tar

Half of the functions are root ports, half endpoints of four lanes, with 4096 bytes of configuration space each and the
sysfs attributes that a link, its error counters and its slot have. A bus holds up to 32 x 8 root ports; more functions
take more PCI domains.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.boxes import parts, pci_sysfs
from tests.boxes.pci_build import Function
from tests.boxes.pci_place import number_buses, place
from tests.boxes.tree import Node, Symlink, Tree

PORTS_PER_DOMAIN = 200
"""Root ports of one domain, each with a bus of its own below it, of 255."""


def _domain(count: int) -> list[Function]:
    """Up to PORTS_PER_DOMAIN root ports with an NVMe drive each, on the root bus of one domain."""
    functions = []
    for number in range(count):
        drive = parts.nvme_drive("generated drive", parts.SAMSUNG, 0xA80A, 0x0025384100000000 + number)
        functions.append(parts.root_port(parts.MILAN, number // 8 + 1, number % 8, 4, children=[drive]))
    return functions


def pairs(functions: int) -> Iterator[tuple[int, Function]]:
    """Domain number and root port (with its endpoint) of a machine with that many functions."""
    left = (functions + 1) // 2
    domain = 0
    while left > 0:
        ports = _domain(min(left, PORTS_PER_DOMAIN))
        number_buses(0, ports)
        place(ports, "memory", 0x8000_0000)
        place(ports, "prefetch", 0x100_0000_0000)
        for port in ports:
            yield domain, port
        left -= len(ports)
        domain += 1


KEPT = frozenset(
    [
        *("config", "vendor", "device", "class", "revision", "subsystem_vendor", "subsystem_device", "resource"),
        *("numa_node", "power_state", "control", "driver"),
        *("current_link_speed", "current_link_width", "max_link_speed", "max_link_width"),
        *("aer_dev_correctable", "aer_dev_nonfatal", "aer_dev_fatal"),
        *(f"aer_rootport_total_err_{kind}" for kind in ("cor", "nonfatal", "fatal")),
    ]
)
"""Attributes written; the rest would only cost time."""


def trees(functions: int) -> Iterator[Tree]:
    """The capture in parts: what is no PCI function, then each root port with its endpoint."""
    base = Tree(environment={"LANG": "C.UTF-8"})
    base.put("/proc/version", "Linux version 6.14.0-36-generic (generated) #1 SMP")
    base.put("/proc/sys/kernel/osrelease", "6.14.0-36-generic")
    base.put("/proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz ro")
    base.directory("/sys/bus/pci/devices")
    base.directory("/sys/bus/pci_express/drivers/aer")
    yield base
    for domain, port in pairs(functions):
        part = Tree()
        for function in port.walk():
            function.domain, function.numa_node, function.cpulist = domain, 0, "0-127"
            pci_sysfs.render(function, part, True)
        part.nodes = {
            path: node for path, node in part.nodes.items()
            if path.startswith("/sys/bus/pci") or path.rsplit("/", 1)[1] in KEPT
        }  # fmt: skip
        yield part


def big_tree(functions: int, out: str | Path) -> Path:
    """Writes a capture with that many PCI functions (an even number) part by part: a directory, or a tar where the name
    ends in `.tar`. Memory stays small whatever the number."""
    path = Path(out)
    if path.suffix == ".tar":
        with tarfile.open(path, "w") as archive:
            for part in trees(functions):
                for name, node in part.members() if part.environment else _bare(part):
                    _add(archive, name, node)
        return path
    for part in trees(functions):
        if part.environment:
            part.write_dir(path)
        else:
            _write(part, path)
    return path


def _bare(part: Tree) -> Iterator[tuple[str, Node]]:
    for path, node in part.nodes.items():
        yield path[1:], node


def _add(archive: tarfile.TarFile, name: str, node: Node | None) -> None:
    entry = tarfile.TarInfo(name)
    if node is None:
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    elif isinstance(node, Symlink):
        entry.type, entry.linkname = tarfile.SYMTYPE, node.target
        archive.addfile(entry)
    else:
        entry.size = len(node)
        archive.addfile(entry, io.BytesIO(node))


def _write(part: Tree, root: Path) -> None:
    made: set[str] = set()
    for path, node in part.nodes.items():
        here = f"{root}{path}"
        folder = os.path.dirname(here)
        if folder not in made:
            os.makedirs(folder, exist_ok=True)
            made.add(folder)
        if isinstance(node, Symlink):
            os.symlink(node.target, here)
        else:
            with open(here, "wb") as file:
                file.write(node)


if __name__ == "__main__":
    big_tree(int(sys.argv[1]), sys.argv[2])
