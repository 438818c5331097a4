"""Cards that go and come: fallen off the bus, pulled, taken out in order, put in, and one that is seated with its link down."""

from __future__ import annotations

import json
import time

from tests.kernel.bench import LINK_CHANGED, PRESENCE_CHANGED, SLTSTA, Machine
from tests.kernel.test_wopr import judged_on_host

TOPOLOGY = "hotplug"
"""Slots 0 to 3 and 4 hold cards; 4 cannot be taken out while running; 5 and 6 are empty."""


def exists(machine: Machine, bdf: str) -> str:
    return f"[ -e /sys/bus/pci/devices/{bdf} ]"


def test_empty_slots_are_no_fault_and_a_card_whose_link_is_down_is(machine: Machine) -> None:
    found = machine.doctor("pcie.link-down", "inventory")
    assert [(item.outcome, item.says) for item in found.of("pcie.link-down")] == [
        ("pass", "5 slots with a card whose link is up")]
    card, port = machine.bdf("g4"), machine.bdf("rp4")
    machine.space("rp4")
    machine.guest.sh(f"echo 1 >/sys/bus/pci/devices/{card}/remove")
    machine.all_ones("g4")
    machine.link_down("rp4", present=True)
    machine.guest.sh("echo 1 >/sys/bus/pci/rescan")
    assert not machine.wait(exists(machine, card), 1)
    found = machine.doctor("pcie.link-down", "inventory", "--profile", "wopr-7x4090")
    down = {item.bdf: (item.outcome, item.says) for item in found.of("pcie.link-down")}
    assert down == {port: ("fail", "a card is present, its link is down"), None: ("pass", "4 slots with a card whose link is up")}
    assert found.one("inventory.gpu-lost", machine.bdf("g0")).outcome == "pass"
    assert found.one("inventory.gpu-count").says == "4 x RTX 4090 answer, profile names 7: 3 missing"


def test_a_card_that_is_gone_between_two_readings(machine: Machine) -> None:
    """All ones: the kernel still lists the card with the identity that it had, and its link reads as x63."""
    card = machine.bdf("g0")
    before = machine.all_ones("g0")
    assert machine.text("g0", "current_link_width") == "63"
    assert machine.text("g0", "vendor") == "0x10de"
    found = machine.doctor("pcie", "aer", "inventory")
    assert found.exit == 5
    assert found.verdict["device_lost"] is True
    assert found.one("inventory.gpu-lost", card).outcome == "fail"
    passed = {item.check for item in found.findings if item.bdf == card and item.outcome == "pass"}
    assert passed & {"pcie.link-width", "pcie.link-speed", "aer.live", "aer.correctable", "aer.uncorrectable"} == set()
    machine.answers_again("g0", before)


def test_a_card_that_goes_while_doctor_reads(machine: Machine) -> None:
    """At any moment of the reading: doctor ends, breaks nothing, and never says that all is well of a card of which a part
    was read as all ones."""
    card = machine.bdf("g0")
    for delay in (0.3, 0.8, 1.3):
        machine.guest.send(400, boxcheck=["doctor", "--no-wake", "--json", "-", "pcie", "aer", "inventory"], user=None, env={})
        time.sleep(delay)
        before = machine.all_ones("g0")
        done = machine.guest.receive()
        machine.answers_again("g0", before)
        assert done.exit in (0, 1, 3, 5), done.err[-2000:]
        told = json.loads(done.out)
        assert told["crashes"] == []
        mine = {item["check"]: item["outcome"] for item in told["findings"] if item["subject"].get("bdf") == card}
        width = next(item for item in told["findings"]
                     if item["check"] == "pcie.link-width" and item["subject"].get("bdf") == card)
        assert "x63" not in width["says"] or width["outcome"] == "unknown", width
        if mine["inventory.gpu-lost"] == "fail":
            assert done.exit == 5
        else:
            assert mine["inventory.gpu-lost"] in ("pass", "unknown")


def test_a_card_that_is_pulled(machine: Machine) -> None:
    card, port = machine.bdf("g1"), machine.bdf("rp1")
    machine.all_ones("g1")
    machine.link_down("rp1", present=False)
    assert machine.wait(f"! {exists(machine, card)}")
    status = machine.space("rp1")
    assert not status.word(status.express + SLTSTA) & (PRESENCE_CHANGED | LINK_CHANGED), "the kernel is done with it"
    found = machine.doctor("pcie", "inventory", "log", "--profile", "wopr-7x4090")
    assert found.one("inventory.gpu-count").outcome == "fail"
    assert [item.outcome for item in found.of("pcie.link-down") if item.bdf == port] == []
    assert any(item.bdf == port and "the link of a slot went down" in item.says for item in found.of("log.pcie-fatal"))


def test_a_card_that_is_pulled_while_a_capture_is_taken(machine: Machine) -> None:
    card = machine.bdf("g2")
    machine.space("rp2")
    machine.guest.send(400, boxcheck=["capture", "/out/pulled.tar.gz"], user=None, env={})
    time.sleep(0.8)
    machine.all_ones("g2")
    machine.link_down("rp2", present=False)
    done = machine.guest.receive()
    assert done.exit == 0, done.err
    assert machine.wait(f"! {exists(machine, card)}")
    found = judged_on_host(machine.guest.folder / "out/pulled.tar.gz", "pcie", "aer", "inventory")
    assert found.whole["crashes"] == []
    assert not any("x63" in item.says and item.outcome == "pass" for item in found.findings)


def test_a_card_that_is_taken_out_in_order(machine: Machine) -> None:
    """The attention button: the kernel waits five seconds, and removes the card without any error."""
    card = machine.bdf("g3")
    machine.guest.monitor.ask("device_del", id="g3")
    assert machine.wait(f"! {exists(machine, card)}", 20)
    after = machine.doctor("log.pcie-fatal", "pcie.link-down", "inventory")
    assert [item.says for item in after.of("inventory.gpu-lost") if item.bdf == card] == []
    told = {item.bdf for item in after.of("log.pcie-fatal") if item.outcome not in ("pass", "skip")}
    assert told == {machine.bdf("rp1"), machine.bdf("rp2")}, "those that were pulled"


def test_a_card_that_is_put_in(machine: Machine) -> None:
    machine.hot_add(machine.slots[5])
    assert machine.wait(f"ls /sys/bus/pci/devices/{machine.bdf('rp5')}/ | grep -q ':00.0$'")
    machine.find_addresses()
    card = machine.bdf("g5")
    assert machine.wait(f"[ -e /sys/bus/pci/devices/{card}/aer_dev_correctable ]")
    machine.inject("g5", "BAD_DLLP")
    assert machine.settled("g5", "correctable", 1) == {"BadDLLP": 1, "TOTAL_ERR_COR": 1}
    found = machine.doctor("pcie", "aer", "inventory")
    assert found.one("pcie.link-width", card).says == "trained x16, x16 required"
    assert found.one("aer.live", card).outcome == "pass"
    assert found.one("aer.correctable", card).says.startswith("1 BadDLLP at the card")
