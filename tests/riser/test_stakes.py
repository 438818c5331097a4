"""What a box would lose with a link is found, and a link that carries nothing of it is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.engine.inspect import read_facts
from boxcheck.model import Bdf, Unread
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.storage import Storage
from boxcheck.riser.links.stakes import stakes
from tests.boxes.tree import Tree
from tests.probes.reading import host, tree

PORTS = ("0000:00:01.1", "0000:00:01.2")
CARDS = {"0000:00:01.1": "0000:01:00.0", "0000:00:01.2": "0000:02:00.0"}
GPU, NVME, NIC, USB, AUDIO = "0x030000", "0x010802", "0x020000", "0x0c0330", "0x040300"
ROUTES = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
MOUNT = "29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"


def path(port: str) -> str:
    return f"/sys/devices/pci0000:00/{port}/{CARDS[port]}"


def box(first: str, second: str) -> Tree:
    """Two root ports with a card each."""
    made = tree({"/proc/self/mountinfo": MOUNT, "/proc/net/route": ROUTES, "/proc/mdstat": "Personalities :\n"})
    for port, code in zip(PORTS, (first, second), strict=True):
        above = f"/sys/devices/pci0000:00/{port}"
        for place, kind in ((above, "0x060400"), (path(port), code)):
            for name, text in (("vendor", "0x1022"), ("device", "0x1483"), ("class", kind),
                               ("current_link_speed", "16.0 GT/s PCIe"), ("current_link_width", "16"),
                               ("max_link_speed", "16.0 GT/s PCIe"), ("max_link_width", "16")):
                made.put(f"{place}/{name}", text)
            made.link(f"/sys/bus/pci/devices/{place.rsplit('/', 1)[1]}", place)
    return made


def disk(made: Tree, port: str) -> Tree:
    block = f"{path(port)}/nvme/nvme0/nvme0n1"
    made.put(f"{block}/nvme0n1p2/partition", "2")
    made.put(f"{block}/size", "1000")
    made.link("/sys/class/block/nvme0n1", block)
    made.link("/sys/class/block/nvme0n1p2", f"{block}/nvme0n1p2")
    made.link("/sys/dev/block/259:2", f"{block}/nvme0n1p2")
    return made


def interface(made: Tree, port: str, name: str) -> Tree:
    made.put(f"{path(port)}/net/{name}/operstate", "up")
    made.link(f"/sys/class/net/{name}", f"{path(port)}/net/{name}")
    made.link(f"{path(port)}/net/{name}/device", path(port))
    return made


def route(made: Tree, *names: str) -> Tree:
    made.put("/proc/net/route", ROUTES + "".join(
        f"{name}\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" for name in names))
    return made


def asked(made: Tree, port: str, folder: Path) -> tuple[str, ...]:
    read = host(made, folder)
    facts = read_facts(read, [PciInventory, Links, Storage])
    pci, links, storage = facts.of(PciInventory), facts.of(Links), facts.of(Storage)
    assert not isinstance(pci, Unread)
    assert not isinstance(links, Unread)
    assert not isinstance(storage, Unread)
    assert set(links.links) == set(PORTS)
    return stakes(read, Bdf(port), pci, links, storage)


def test_the_disk_that_the_box_runs_from(tmp_path: Path) -> None:
    made = disk(box(NVME, GPU), PORTS[0])
    assert asked(made, PORTS[0], tmp_path) == ("the disk that / is on (nvme0n1) hangs below it",)
    assert asked(made, PORTS[1], tmp_path) == ()


def test_another_disk_is_no_stake(tmp_path: Path) -> None:
    made = disk(box(NVME, NVME), PORTS[0])
    assert asked(made, PORTS[1], tmp_path) == ()


def test_a_disk_of_several_paths_hangs_on_each_of_its_controllers(tmp_path: Path) -> None:
    made = box(NVME, GPU)
    subsystem = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    made.put(f"{subsystem}/nvme0n1/nvme0n1p2/partition", "2")
    made.link("/sys/class/block/nvme0n1", f"{subsystem}/nvme0n1")
    made.link("/sys/class/block/nvme0n1p2", f"{subsystem}/nvme0n1/nvme0n1p2")
    made.link("/sys/dev/block/259:2", f"{subsystem}/nvme0n1/nvme0n1p2")
    made.put(f"{path(PORTS[0])}/nvme/nvme0/state", "live")
    made.link(f"{subsystem}/nvme0", f"{path(PORTS[0])}/nvme/nvme0")
    assert asked(made, PORTS[0], tmp_path) == ("the disk that / is on (nvme0n1) hangs below it",)
    assert asked(made, PORTS[1], tmp_path) == ()


@pytest.mark.parametrize("code", [NVME, NIC, USB])
def test_a_root_that_is_not_known_may_be_behind_any_controller(code: str, tmp_path: Path) -> None:
    made = box(code, GPU)
    made.put("/proc/self/mountinfo", "29 1 0:30 / / rw - zfs tank/root rw\n")
    (said,) = asked(made, PORTS[0], tmp_path)
    assert said.startswith("there are controllers below it, and the disk behind / was not found (the disk behind / (")
    assert asked(made, PORTS[1], tmp_path) == (), "a GPU holds no disk"


def test_the_only_network_with_a_default_route(tmp_path: Path) -> None:
    made = route(interface(box(NIC, NIC), PORTS[0], "eth0"), "eth0")
    made = disk(made, PORTS[1])
    assert asked(made, PORTS[0], tmp_path) == ("the network that the default route goes by (eth0) hangs below it",)


def test_one_of_two_networks_with_a_default_route_is_no_stake(tmp_path: Path) -> None:
    made = interface(interface(box(NIC, NIC), PORTS[0], "eth0"), PORTS[1], "eth1")
    made.put("/proc/self/mountinfo", "29 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw\n")
    made = disk(route(made, "eth0", "eth1"), PORTS[1])
    assert asked(made, PORTS[0], tmp_path) == ()


def test_a_network_without_a_default_route_is_no_stake(tmp_path: Path) -> None:
    made = disk(route(interface(interface(box(NIC, NIC), PORTS[0], "eth0"), PORTS[1], "eth1"), "eth1"), PORTS[1])
    assert asked(made, PORTS[0], tmp_path) == ()


def test_a_bridge_over_a_bond_stands_on_its_cards(tmp_path: Path) -> None:
    made = disk(route(interface(box(NIC, GPU), PORTS[0], "eth0"), "br0"), PORTS[1])
    for name, lower in (("br0", "bond0"), ("bond0", "eth0")):
        made.put(f"/sys/devices/virtual/net/{name}/operstate", "up")
        made.link(f"/sys/class/net/{name}", f"/sys/devices/virtual/net/{name}")
        made.link(f"/sys/devices/virtual/net/{name}/lower_{lower}", f"/sys/class/net/{lower}")
    assert asked(made, PORTS[0], tmp_path) == ("the network that the default route goes by (br0) hangs below it",)


def test_the_default_route_of_ipv6_counts(tmp_path: Path) -> None:
    made = disk(interface(box(NIC, GPU), PORTS[0], "eth0"), PORTS[1])
    made.put("/proc/net/ipv6_route", f"{'0' * 32} 00 {'0' * 32} 00 {'f' * 32} 00000400 1 0 00000003 eth0\n"
                                     f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 1 0 00200200 lo\n")
    assert asked(made, PORTS[0], tmp_path) == ("the network that the default route goes by (eth0) hangs below it",)


def test_the_card_that_the_console_is_on(tmp_path: Path) -> None:
    made = box(GPU, GPU)
    made.put(f"{path(PORTS[0])}/boot_vga", "1")
    made.put(f"{path(PORTS[1])}/boot_vga", "0")
    assert asked(made, PORTS[0], tmp_path) == ("the card that the console is on (0000:01:00.0) hangs below it",)
    assert asked(made, PORTS[1], tmp_path) == ()


def test_a_sound_card_is_no_stake(tmp_path: Path) -> None:
    assert asked(box(AUDIO, GPU), PORTS[0], tmp_path) == ()
