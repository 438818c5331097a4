"""A link by its name, and its two ends: the same from the inventory and from the machine's registers."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.engine.inspect import Facts, read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.model import Bdf, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciInventory
from boxcheck.riser.links.link_pair import find_link, identity_of, pci_pair, read_config, read_end
from boxcheck.riser.links.ports import LinkPair
from boxcheck.usage import UsageError
from tests.boxes import build
from tests.riser.held_link import linked, pair_of
from tests.riser.simulated.link import SimulatedLink
from tests.riser.simulated.machine import Machine

RECORDED = sorted((Path(__file__).parents[1] / "boxes" / "recorded").glob("*.tar.gz"))
BUILT = ("wopr-7x4090", "tinybox-red", "tinybox-green-v2", "tinybox-pro", "geohot-amd-dev", "laptop", "strix-halo")


def host_of(name: str, folder: Path) -> CaptureHost:
    """From one file: a box as a directory is thousands of them."""
    return CaptureHost(name if name.endswith(".tar.gz") else str(build(name).write_tar(folder / f"{name}.tar")))


@pytest.fixture(scope="module")
def wopr(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return read_facts(host_of("wopr-7x4090", tmp_path_factory.mktemp("wopr")), [PciInventory, Links, Gpus])


def read(facts: Facts) -> tuple[PciInventory, Links]:
    pci, links = facts.of(PciInventory), facts.of(Links)
    assert not isinstance(pci, Unread)
    assert not isinstance(links, Unread)
    return pci, links


@pytest.mark.parametrize("name", [*BUILT, *map(str, RECORDED)], ids=lambda name: Path(name).name)
def test_both_ways_of_reading_find_the_same_ends(name: str, tmp_path: Path) -> None:
    host = host_of(name, tmp_path)
    pci, links = read(read_facts(host, [PciInventory, Links]))
    machine = Machine()
    for function in pci.functions.values():
        data = host.read(f"{function.path}/config", 8192)
        if not isinstance(data, Unread):
            machine.add(function.bdf)[0:len(data)] = data
    compared = 0
    for link in links.links.values():
        pair = pci_pair(link, pci)
        if isinstance(pair, Unread):
            continue
        for end in (pair.port, pair.card):
            if end is not None:
                found = read_end(machine, end.bdf)
                assert not isinstance(found, Unread)
                assert found[0] == end
                assert found[1] == identity_of(end.bdf, pci.functions[end.bdf].config)
                compared += 1
    assert compared >= 2


def test_a_slot_is_found_by_its_name_a_card_and_a_port_by_their_addresses(wopr: Facts) -> None:
    pci, links = read(wopr)
    slots = sorted({str(link.slot) for link in links.links.values() if link.slot and not link.on_card})
    assert slots
    for slot in slots:
        link = find_link(slot, links)
        assert find_link(f" {slot.lower()} ", links) == link
        assert find_link(f"slot {slot}", links) == link
        assert find_link(link.id, links) == link
        assert find_link(link.id.removeprefix("0000:"), links) == link
    gpus = wopr.of(Gpus)
    assert not isinstance(gpus, Unread)
    for gpu in gpus.gpus:
        pair = pci_pair(find_link(gpu.bdf, links), pci)
        assert isinstance(pair, LinkPair)
        assert pair.card is not None
        assert pair.card.bdf == gpu.bdf
        assert pair.common_gts == (2.5, 5.0, 8.0, 16.0)
        assert pair.lanes == 16


def test_the_link_of_a_card_with_a_switch_of_its_own_is_the_one_above_the_switch(tmp_path: Path) -> None:
    facts = read_facts(host_of("tinybox-red", tmp_path), [PciInventory, Links, Gpus])
    pci, links = read(facts)
    gpus = facts.of(Gpus)
    assert not isinstance(gpus, Unread)
    assert len(gpus.gpus) == 6
    for gpu in gpus.gpus:
        pair = pci_pair(find_link(gpu.bdf, links), pci)
        assert isinstance(pair, LinkPair)
        assert pair.card is not None
        assert pci.functions[pair.card.bdf].pci_id == "1002:1478"
        assert not pair.on_card
        assert pair.card.bdf != gpu.bdf


@pytest.mark.parametrize(("name", "says"), [
    ("PCIE99", r"no slot is called 'PCIE99'; there are .*PCIE3"), ("", "no slot is called ''"),
    ("0000:99:00.0", "there is no device 0000:99:00.0"), ("\x1b[2J", r"no slot is called '\?\[2J'"),
    ("../../etc", "no slot is called"), ("x" * 5000, "no slot is called")])
def test_a_wrong_slot_is_told_with_those_that_there_are(name: str, says: str, wopr: Facts) -> None:
    _, links = read(wopr)
    with pytest.raises(UsageError, match=says) as raised:
        find_link(name, links)
    assert len(str(raised.value)) < 600


def test_a_device_of_the_processor_hangs_on_no_link(wopr: Facts) -> None:
    pci, links = read(wopr)
    inside = next(bdf for bdf, above in links.above.items() if not above)
    assert pci.functions[inside]
    with pytest.raises(UsageError, match="hangs on no link"):
        find_link(inside, links)


def test_a_user_without_root_gets_no_pair(tmp_path: Path) -> None:
    tree = build("wopr-7x4090")
    for path in [path for path in tree if path.endswith("/config")]:
        data = tree[path]
        assert isinstance(data, bytes)
        tree[path] = data[:64]
    pci, links = read(read_facts(CaptureHost(str(tree.write_tar(tmp_path / "box.tar"))), [PciInventory, Links]))
    pair = pci_pair(next(link for link in links.links.values() if link.upstream), pci)
    assert isinstance(pair, Unread)
    assert pair.kind == "permission"


def test_a_card_that_is_gone_is_no_end() -> None:
    machine, link, pair = linked()
    assert pair.card is not None
    machine.gone.add(link.card_bdf)
    assert isinstance(read_end(machine, link.card_bdf), Unread)
    assert isinstance(read_end(machine, Bdf("0000:99:00.0")), Unread)
    assert isinstance(identity_of(link.card_bdf, read_config(machine, link.card_bdf)), Unread)


@pytest.mark.parametrize("to", [0x100, 0x104, 0x148, 0xFFC])
def test_a_list_that_loops_or_ends_nowhere_is_read_to_its_end(to: int) -> None:
    machine, link, _ = linked()
    link.card.put(link.card.at["l1ss"], 0x1E | 1 << 16 | to << 20, 4)
    read_end(machine, link.card_bdf)
    assert len([entry for entry in machine.log if entry[1] == "read"]) < 200


def test_only_headers_of_extended_capabilities_are_read() -> None:
    """Reading registers that nobody needs is not always harmless (lspci(8), -xxxx)."""
    machine, link, _ = linked(port_code=5, card_code=5)
    machine.log.clear()
    read_end(machine, link.card_bdf)
    places = {entry[3] for entry in machine.log if entry[3] >= 0x100}
    at = link.card.at
    assert places == {*at.values(), at["serial"] + 4, at["serial"] + 8}


@pytest.mark.parametrize(("port", "card", "common"), [
    (5, 4, (2.5, 5.0, 8.0, 16.0)), (3, 5, (2.5, 5.0, 8.0)), (1, 1, (2.5,))])
def test_common_speeds_are_those_of_both_ends(port: int, card: int, common: tuple[float, ...]) -> None:
    machine = Machine()
    pair = pair_of(SimulatedLink(machine, port_code=port, card_code=card, card_lanes=8))
    assert pair.common_gts == common
    assert pair.lanes == 8
