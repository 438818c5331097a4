"""Links on the way to a GPU that are no slot's, and readings of a link that settle nothing."""

from __future__ import annotations

import msgspec
import pytest

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.model import Finding, Outcome, Verdict
from boxcheck.profile import load_profile
from tests.boxes import build, machine
from tests.boxes.machine import Machine
from tests.boxes.mutations import card_of, gpu_of, port_of
from tests.boxes.mutations_links import unplug
from tests.boxes.mutations_parts import behind_switch
from tests.boxes.pci_extended import Aer
from tests.boxes.tree import Tree
from tests.boxes.verdicts import host


def verdict(box: Machine | Tree, profile: str, *checks: str) -> Verdict:
    facts, want = read_facts(host(box if isinstance(box, Tree) else box.tree())), load_profile(profile)
    name_slots(facts, want)
    return inspect_facts(facts, want, choose_checks(checks))


def judged(box: Machine | Tree, profile: str, *checks: str) -> list[Finding]:
    """What is neither a pass nor a skip."""
    found = verdict(box, profile, *checks).findings
    return [item for item in found if item.outcome not in (Outcome.PASS, Outcome.SKIP)]


def changed(tree: Tree, bdf: str, name: str, *patches: tuple[int, bytes]) -> Tree:
    """A file of a function with bytes replaced at offsets."""
    path = tree.resolve(f"/sys/bus/pci/devices/{bdf}") + f"/{name}"
    data = bytearray(tree[path])
    for offset, new in patches:
        data[offset:offset + len(new)] = new
    tree.put(path, bytes(data))
    return tree


PORT, CARD = "0000:40:01.1", "0000:41:00.0"


def express(tree: Tree, bdf: str) -> int:
    """Offset of the PCI Express capability."""
    data = tree[tree.resolve(f"/sys/bus/pci/devices/{bdf}") + "/config"]
    offset = data[0x34]
    while data[offset] != 0x10:
        offset = data[offset + 1]
    return offset


def outcomes(found: list[Finding]) -> set[tuple[str, str]]:
    return {(item.check, item.outcome.value) for item in found}


def test_a_speed_that_the_kernel_does_not_know_is_no_fault_of_the_riser() -> None:
    box = machine("wopr-7x4090")
    for end in (port_of(box), card_of(box)):
        end.load_link = 0.0, 16
    assert outcomes(judged(box, "wopr-7x4090", "pcie")) == {("pcie.link-speed", "unknown")}


def test_a_card_that_sleeps_without_power_is_not_judged() -> None:
    box = machine("wopr-7x4090")
    for end in (port_of(box), card_of(box)):
        end.load_link = None
    gpu_of(box).power_state = "D3cold"
    card_of(box).express.speed_gts, card_of(box).express.width = 0.0, 63
    port_of(box).express.speed_gts, port_of(box).express.width = 2.5, 0
    found = judged(box, "wopr-7x4090", "pcie.link-width", "pcie.link-speed")
    assert outcomes(found) == {("pcie.link-width", "unknown"), ("pcie.link-speed", "unknown")}
    assert all("D3cold" in item.says for item in found)


@pytest.mark.parametrize(("width", "outcome"), [(0, "fail"), (63, "unknown"), (3, "unknown")])
def test_a_width_that_no_link_has_is_no_dead_link(width: int, outcome: str) -> None:
    box = machine("wopr-7x4090")
    port_of(box).train(2.5, width)
    assert ("pcie.link-width", outcome) in outcomes(judged(box, "wopr-7x4090", "pcie.link-width"))


def test_without_a_profile_fewer_lanes_than_both_ends_announce_are_marginal() -> None:
    box = machine("wopr-7x4090+riser-x8")
    assert outcomes(judged(box, "wopr-7x4090", "pcie.link-width")) == {("pcie.link-width", "fail")}
    assert outcomes(judged(box, "generic", "pcie.link-width")) == {("pcie.link-width", "marginal")}


def test_without_a_profile_a_slow_link_under_load_still_fails() -> None:
    box = machine("wopr-7x4090+gen3-both-capable")
    assert outcomes(judged(box, "generic", "pcie.link-speed")) == {("pcie.link-speed", "fail")}


@pytest.mark.parametrize("change", ["target", "aspm", "errors", "reporting"])
def test_the_link_of_a_switch_is_judged_as_a_slot_link_is(change: str) -> None:
    """The card in slot PCIE3 is a switch, and two GPUs hang on it."""
    box = machine("wopr-7x4090+switch-x16")
    port, card = port_of(box), card_of(box)
    assert judged(box, "wopr-7x4090", "pcie", "aer") == []
    if change == "target":
        port.express.target_speed_gts = 8.0
        expected = {("pcie.link-speed", "marginal")}
    elif change == "aspm":
        port.express.aspm = card.express.aspm = 2
        expected = {("pcie.aspm", "marginal")}
    elif change == "errors":
        port.need(Aer).correctable_mask |= 1 << 6
        expected = {("aer.live", "marginal"), ("aer.correctable", "unknown")}
    else:
        card.express.reporting = 0
        expected = {("aer.live", "marginal"), ("aer.correctable", "unknown"), ("aer.uncorrectable", "unknown")}
    found = judged(box, "wopr-7x4090", "pcie", "aer")
    assert outcomes(found) == expected
    assert {str(item.subject) for item in found} == {"PCIE3"}


@pytest.mark.parametrize(
    ("offset", "mask", "value", "check"),
    [
        (0x12, 0x03F0, 8 << 4, "pcie.link-width"),
        (0x0C, 0x000F, 3, "pcie.link-speed"),
        (0x0C, 0x03F0, 8 << 4, "pcie.link-width"),
        (0x10, 0x0010, 0x10, "pcie.link-width"),
    ],
    ids=["width", "highest-speed", "most-lanes", "disabled"],
)
def test_registers_that_contradict_sysfs_settle_nothing(offset: int, mask: int, value: int, check: str) -> None:
    tree = machine("wopr-7x4090").tree()
    at = express(tree, PORT) + offset
    word = int.from_bytes(tree[tree.resolve(f"/sys/bus/pci/devices/{PORT}") + "/config"][at:at + 2], "little")
    changed(tree, PORT, "config", (at, (word & ~mask | value).to_bytes(2, "little")))
    assert (check, "unknown") in outcomes(judged(tree, "wopr-7x4090", "pcie.link-width", "pcie.link-speed"))


def test_more_lanes_than_an_end_has_settle_nothing() -> None:
    box = machine("wopr-7x4090")
    port_of(box).train(16.0, 32)
    assert outcomes(judged(box, "wopr-7x4090", "pcie.link-width")) == {("pcie.link-width", "unknown")}


def test_the_two_ends_of_a_drives_link_must_agree() -> None:
    box = machine("tinybox-red")
    box.drives[0].function.express.width = 1
    assert outcomes(judged(box, "tinybox-red", "disk.nvme-link")) == {("disk.nvme-link", "unknown")}


@pytest.mark.parametrize(
    ("command", "driver", "state", "expected"),
    [(0x0406, "nvidia", "D0", set()), (0x0404, "nvidia", "D0", {("bar.unassigned", "fail")}),
     (0x0402, "nvidia", "D0", {("bar.unassigned", "fail")}), (0x0000, "vfio-pci", "D0", set()),
     (0x0400, "nvidia", "D3hot", set()), (0x0400, None, "D0", set())],
)
def test_a_card_that_does_not_answer_at_its_memory(
    command: int, driver: str | None, state: str, expected: set[tuple[str, str]]
) -> None:
    box = machine("wopr-7x4090")
    gpu_of(box).driver, gpu_of(box).power_state = driver, state
    tree = changed(box.tree(), CARD, "config", (4, command.to_bytes(2, "little")))
    assert outcomes(judged(tree, "wopr-7x4090", "bar.unassigned")) == expected


def test_a_bar_that_the_kernel_disabled_is_lost() -> None:
    tree = machine("wopr-7x4090").tree()
    path = tree.resolve(f"/sys/bus/pci/devices/{CARD}") + "/resource"
    lines = tree[path].decode().splitlines()
    start, end, flags = lines[1].split()
    lines[1] = f"{start} {end} 0x{int(flags, 16) | 0x10000000:016x}"
    tree.put(path, "\n".join(lines) + "\n")
    assert outcomes(judged(tree, "wopr-7x4090", "bar.unassigned")) == {("bar.unassigned", "fail")}


def test_a_port_that_is_dead_above_a_card_that_answers() -> None:
    tree = machine("wopr-7x4090").tree()
    path = tree.resolve(f"/sys/bus/pci/devices/{PORT}") + "/config"
    tree.put(path, b"\xff" * len(tree[path]))
    found = [item for item in judged(tree, "wopr-7x4090", "pcie.chain")]
    assert outcomes(found) == {("pcie.chain", "unknown")}
    assert "40:01.1" in found[0].says


def test_a_power_fault_counts_where_a_controller_could_see_it() -> None:
    for controller, expected in ((0, set()), (2, {("pcie.slot-power", "marginal")})):
        tree = machine("wopr-7x4090").tree()
        at = express(tree, PORT)
        data = tree[tree.resolve(f"/sys/bus/pci/devices/{PORT}") + "/config"]
        changed(tree, PORT, "config", (at + 0x14, bytes([data[at + 0x14] | controller])),
                (at + 0x1A, bytes([data[at + 0x1A] | 2])))
        assert outcomes(judged(tree, "wopr-7x4090", "pcie.slot-power")) == expected


def test_completion_timeouts_that_are_off_are_marginal() -> None:
    tree = machine("wopr-7x4090").tree()
    at = express(tree, CARD) + 0x28
    low = tree[tree.resolve(f"/sys/bus/pci/devices/{CARD}") + "/config"][at]
    changed(tree, CARD, "config", (at, bytes([low | 0x10])))
    assert outcomes(judged(tree, "wopr-7x4090", "aer.live")) == {("aer.live", "marginal")}


@pytest.mark.parametrize(("count", "outcome"), [(1, "marginal"), (1_000_000, "unknown"), (1_000_000_000, "fail")])
def test_errors_over_an_unread_time(count: int, outcome: str) -> None:
    box = machine("wopr-7x4090")
    port_of(box).count({"BadTLP": count})
    tree = box.tree()
    tree.remove("/proc/uptime")
    assert outcomes(judged(tree, "wopr-7x4090", "aer.correctable")) == {("aer.correctable", outcome)}


def test_retraining_is_a_note_beside_errors_and_no_finding_by_itself() -> None:
    box = machine("wopr-7x4090")
    port_of(box).express.bandwidth_status = 1
    assert judged(box, "wopr-7x4090", "pcie", "aer") == []
    port_of(box).count({"BadTLP": 4})
    assert any("LBMS" in note for item in judged(box, "wopr-7x4090", "aer.correctable") for note in item.notes)


def slowed(many: int) -> Machine:
    box = machine("wopr-7x4090")
    ports = [slot.root_port for slot in box.slots if slot.root_port is not None and slot.root_port.live_children()]
    for port in [port for port in ports if port.children[0].vendor == 0x10DE][:many]:
        port.train(8.0, 16)
    return box


def test_links_that_are_slow_alike_are_one_problem() -> None:
    found = verdict(slowed(7), "wopr-7x4090", "pcie.link-speed").problems
    assert [problem.title for problem in found] == ["7 links alike: runs at 8.0 GT/s under load, 16.0 required"]
    assert "BIOS" in found[0].help[0]
    assert len(verdict(slowed(2), "wopr-7x4090", "pcie.link-speed").problems) == 2


def test_cards_whose_links_are_down_are_the_ones_that_are_missing() -> None:
    box = machine("wopr-7x4090")
    for slot in ("PCIE3", "PCIE4"):
        unplug(box.slot_port(slot)).express.presence = True
    found = verdict(box, "wopr-7x4090").problems
    assert [problem.id.split(":")[0] for problem in found] == ["link-down", "link-down"]


@pytest.mark.parametrize(("mutation", "says"), [
    ("link-disabled", "a card is present, and its port's link is switched off (LnkCtl: Link Disable)"),
    ("slot-power-off", "a card is present, and its slot's power is switched off (SltCtl: Power Controller Control)")])
def test_a_card_below_a_port_that_is_switched_off_is_called_so(mutation: str, says: str) -> None:
    """Where the profile misses it, it fails; where it misses none, nothing is wrong, and it is no card whose link is up."""
    box = build(f"wopr-7x4090+{mutation}")
    found = verdict(box, "wopr-7x4090", "pcie.link-down", "inventory.gpu-count")
    (down,) = [one for one in found.findings if one.check == "pcie.link-down" and one.subject.slot == "PCIE3"]
    assert (down.outcome, down.says) == (Outcome.FAIL, says)
    assert [problem.id for problem in found.problems] == [f"link-down:{PORT}"]
    found = verdict(box, "generic", "pcie.link-down")
    (down,) = [one for one in found.findings if one.subject.slot == "PCIE3"]
    assert (down.outcome, down.says) == (Outcome.SKIP, f"{says}; the profile misses no card there")
    assert [one.says[0] for one in found.findings if one.outcome is Outcome.PASS] == ["7"]


def test_a_slot_that_is_switched_off_is_missed_only_while_cards_are() -> None:
    facts = read_facts(host(build("wopr-7x4090+link-disabled")))
    seven = load_profile("wopr-7x4090")
    for count, outcome in ((7, Outcome.FAIL), (6, Outcome.SKIP)):
        want = msgspec.structs.replace(seven, gpus=msgspec.structs.replace(seven.gpus, count=count))
        name_slots(facts, want)
        found = inspect_facts(facts, want, choose_checks(["pcie.link-down"])).findings
        assert [one.outcome for one in found if one.subject.slot == "PCIE3"] == [outcome]


@pytest.mark.parametrize("fault", ["power", "listed"])
def test_a_slot_that_lost_its_power_or_its_card_is_not_switched_off(fault: str) -> None:
    """The kernel switches off the power of a slot in which it saw a fault."""
    box = machine("wopr-7x4090")
    port = port_of(box)
    if fault == "power":
        unplug(port)
        port.express.slot_power_controller = port.express.slot_power_off = port.express.presence = True
    else:
        port.express.link_disable, port.express.width = True, 0
    tree = box.tree()
    if fault == "power":
        changed(tree, PORT, "config", (express(tree, PORT) + 0x1A, b"\x42"))
    (down,) = judged(tree, "generic", "pcie.link-down")
    assert (down.outcome, down.says) == (Outcome.FAIL, "a card is present, its link is down")
    assert down.notes == (
        ("the slot has seen a fault of its power", "its slot's power is switched off (SltCtl: Power Controller Control)")
        if fault == "power" else ("its port's link is switched off (LnkCtl: Link Disable)",))


def test_payload_sizes_that_no_port_has_are_not_the_same_size() -> None:
    box = machine("wopr-7x4090")
    tree = box.tree()
    for end in (PORT, CARD):
        changed(tree, end, "config", (express(tree, end) + 8, b"\xff\xff"))
    (finding,) = judged(tree, "wopr-7x4090", "pcie.payload")
    assert (finding.outcome.value, finding.subject.slot) == ("unknown", "PCIE3")


def test_memory_without_an_address_lies_in_no_window() -> None:
    tree = machine("wopr-7x4090").tree()
    path = tree.resolve(f"/sys/bus/pci/devices/{CARD}") + "/resource"
    tree.put(path, b"0x0000000000000000 0x0000000000000000 0x0000000000000000\n" * 13)
    (finding,) = judged(tree, "wopr-7x4090", "bar.bridge-window")
    assert (finding.outcome.value, finding.subject.slot) == ("unknown", "PCIE3")


@pytest.mark.parametrize("name", ["max_link_speed", "current_link_width"])
def test_an_uplink_whose_width_or_speed_nobody_knows_passes_nothing_on(name: str) -> None:
    box = machine("wopr-7x4090")
    behind_switch(box, 16)
    box.assemble()
    tree = box.tree()
    assert outcomes(judged(tree, "wopr-7x4090", "pcie.chain")) == set()
    path = tree.resolve(f"/sys/bus/pci/devices/{box.slot_port('PCIE3').bdf}")
    tree.put(f"{path}/{name}", "Unknown\n" if name == "max_link_speed" else "0\n")
    tree.put(f"{path}/config", bytes(tree[f"{path}/config"])[:64])  # as without root
    assert outcomes(judged(tree, "wopr-7x4090", "pcie.chain")) == {("pcie.chain", "unknown")}


def test_a_link_that_changes_often_stands_out_only_beside_others() -> None:
    tree = machine("wopr-7x4090").tree()
    for count, outcome in ((5120, Outcome.SKIP), (99, Outcome.PASS)):
        tree.put("/proc/interrupts", f"           CPU0\n 30: {count} IR-PCI-MSIX-{PORT} 0-edge PCIe PME, PCIe bwctrl\n")
        (found,) = verdict(tree, "wopr-7x4090", "pcie.link-flap").findings
        assert found.outcome is outcome
