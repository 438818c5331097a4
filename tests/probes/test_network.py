from __future__ import annotations

from pathlib import Path

from boxcheck.probes.network import Network
from tests.probes.reading import fact, kind_of, live, tree

CARD = "/sys/devices/pci0000:00/0000:00:01.1/0000:01:00.0"


def test_ports_and_controllers(tmp_path: Path) -> None:
    made = tree({
        f"{CARD}/vendor": "0x8086", f"{CARD}/device": "0x1563", f"{CARD}/class": "0x020000",
        f"{CARD}/net/eno1/address": "d0:50:99:00:00:01", f"{CARD}/net/eno1/operstate": "up",
        f"{CARD}/net/eno1/speed": "10000", "/sys/devices/virtual/net/lo/operstate": "unknown"})
    made.link("/sys/bus/pci/devices/0000:01:00.0", CARD)
    made.link(f"{CARD}/driver", "/sys/bus/pci/drivers/ixgbe")
    made.link("/sys/class/net/eno1", f"{CARD}/net/eno1")
    made.link(f"{CARD}/net/eno1/device", CARD)
    made.link("/sys/class/net/lo", "/sys/devices/virtual/net/lo")
    network = fact(Network, made, tmp_path)
    assert [(one.bdf, one.pci_id, one.driver) for one in network.controllers] == [
        ("0000:01:00.0", "8086:1563", "ixgbe")]
    assert isinstance(network.ports, tuple)
    assert [(port.name, port.driver, port.state, port.speed_mbps) for port in network.ports] == [
        ("eno1", "ixgbe", "up", 10000)]


def test_nothing_captured_is_nothing_read(tmp_path: Path) -> None:
    network = fact(Network, tree(whole=False), tmp_path)
    assert kind_of(network.unreadable) == kind_of(network.ports) == "not-captured"


def test_this_machine() -> None:
    assert isinstance(live(Network).controllers, tuple)
