"""Four cards behind four root ports: what user space may write to a link, what comes of it, and errors at one end of one
link that are put in while boxcheck works.

Both kernels, one boot each, in this order: the kernel is locked down at the end, and cannot be unlocked. Most of the first
half is about QEMU and the kernel, not about boxcheck: experiments on links rest on it, and a new version may change it.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable

import pytest

from tests.kernel.bench import Machine, on_every_kernel
from tests.kernel.cache import seconds
from tests.kernel.training import (
    ACTIVE,
    ASPM,
    BANDWIDTH_MANAGED,
    COMMON_CLOCK,
    DISABLE,
    EXTENDED_SYNCH,
    INTERRUPT_LINE,
    LNKCTL,
    LNKCTL2,
    LNKSTA,
    NO_SPEED_CHANGE,
    NO_WIDTH_CHANGE,
    RETRAIN,
    TARGET,
    TRAINING,
    Link,
    Trained,
    training,
)

TOPOLOGY = "four-links"
COMMAND, BARS, BRIDGE_CONTROL, BUS_RESET = 0x04, slice(0x10, 0x28), 0x3E, 1 << 6
DEVCTL = 0x08
LOCKDOWN = "/sys/kernel/security/lockdown"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "machine" in metafunc.fixturenames:
        every = on_every_kernel(TOPOLOGY)
        metafunc.parametrize("machine", every[:1] if metafunc.function in ON_THE_NEWEST else every, indirect=True,
                             scope="module")


def word(machine: Machine, name: str, offset: int) -> int:
    """A register of the PCI Express capability, as a program in the guest reads it."""
    at = machine.space(name).express
    return int(struct.unpack("<H", machine.guest.pread(machine.path(name, "config"), at + offset, 2))[0])


def write(machine: Machine, name: str, offset: int, value: int) -> str:
    """Two bytes by one pwrite of a program in the guest. Empty where all was taken."""
    at = machine.space(name).express
    return machine.guest.pwrite(machine.path(name, "config"), at + offset, struct.pack("<H", value))


def settled(machine: Machine, name: str) -> None:
    """Until the link trains no more."""
    until(lambda: not (word(machine, name, LNKCTL) & RETRAIN or word(machine, name, LNKSTA) & TRAINING), f"{name} trains for ever")


def until(holds: Callable[[], bool], else_says: str) -> None:
    end = time.monotonic() + seconds(20)
    while not holds():
        assert time.monotonic() < end, else_says


@pytest.mark.parametrize("name", ["rp0", "g0"])
def test_qemu_takes_what_is_written_to_a_link_and_changes_nothing(machine: Machine, name: str) -> None:
    """No errno, no training, no link that goes down: a program that does not read back believes that it has done it. Only
    common clock and extended synch stay, at the card."""
    before = {offset: word(machine, name, offset) for offset in (LNKCTL, LNKSTA, LNKCTL2)}
    kept = COMMON_CLOCK | EXTENDED_SYNCH if name == "g0" else 0
    for value in (RETRAIN, DISABLE, ASPM, COMMON_CLOCK, NO_WIDTH_CHANGE, 0xFFFF):
        assert write(machine, name, LNKCTL, value) == ""
        assert word(machine, name, LNKCTL) == value & kept
        assert word(machine, name, LNKSTA) == before[LNKSTA]
    assert write(machine, name, LNKCTL, before[LNKCTL]) == ""
    for value in (1, 2, 3, before[LNKCTL2] | NO_SPEED_CHANGE):
        assert write(machine, name, LNKCTL2, value) == ""
        assert word(machine, name, LNKCTL2) == before[LNKCTL2]
    assert {offset: word(machine, name, offset) for offset in before} == before


def test_no_port_is_a_cooling_device(machine: Machine) -> None:
    """Ports as cooling devices need CONFIG_PCIE_THERMAL, which Debian leaves out also in kernels that have the service
    below it, bwctrl (from 6.13 on; 7.3 was looked at)."""
    kinds = set(machine.guest.sh("cat /sys/class/thermal/cooling_device*/type").split())
    assert kinds == {"Processor"}
    assert "CONFIG_PCIE_THERMAL=y" not in (machine.guest.kernel.folder / "config").read_text()
    series = tuple(int(part) for part in machine.guest.kernel.series.split("."))
    assert ("PCIe bwctrl" in machine.guest.sh("cat /proc/interrupts")) == (series >= (6, 13))


def test_link_attributes_are_those_of_the_card_below(machine: Machine) -> None:
    """QEMU's cards support L0s alone. A port has the folder, and nothing in it."""
    for slot in range(4):
        assert machine.guest.sh(f"ls {machine.path(f'g{slot}', 'link')}").split() == ["l0s_aspm"]
        assert machine.guest.sh(f"ls {machine.path(f'rp{slot}', 'link')}").split() == []


def config(machine: Machine, name: str) -> bytes:
    return machine.guest.pread(machine.path(name, "config"), 0, 64)


def test_a_bus_reset_by_hand_costs_the_card_its_settings_and_the_kernels_gives_them_back(machine: Machine) -> None:
    """Bridge Control bit 6 is writable and works: command, BARs and error reporting of the card are gone, its identity is
    not. `reset` in sysfs saves and restores them."""
    port, card = machine.path("rp3", "config"), machine.path("g3", "config")
    before, reporting = config(machine, "g3"), word(machine, "g3", DEVCTL)
    control = struct.unpack("<H", machine.guest.pread(port, BRIDGE_CONTROL, 2))[0]
    assert reporting & 0xF == 0xF, "reports all its errors"
    assert machine.guest.sh(f"cat {machine.path('g3', 'reset_method')}").split() == ["flr", "pm", "bus"]
    machine.guest.sh(f"echo bus >{machine.path('g3', 'reset_method')}; echo 1 >{machine.path('g3', 'reset')}")
    assert (config(machine, "g3"), word(machine, "g3", DEVCTL)) == (before, reporting)

    assert machine.guest.pwrite(port, BRIDGE_CONTROL, struct.pack("<H", control | BUS_RESET)) == ""
    assert struct.unpack("<H", machine.guest.pread(port, BRIDGE_CONTROL, 2))[0] == control | BUS_RESET
    assert machine.guest.pwrite(port, BRIDGE_CONTROL, struct.pack("<H", control)) == ""
    after = config(machine, "g3")
    assert after[:4] == before[:4]
    assert before[COMMAND] & 2
    assert after[COMMAND:COMMAND + 2] == b"\0\0"
    assert any(before[BARS])
    assert not any(byte & 0xF0 for byte in after[BARS])
    assert word(machine, "g3", DEVCTL) & 0xF == 0, "its errors are no longer reported: zero counted is then no pass"
    assert word(machine, "rp3", LNKSTA) & ACTIVE
    found = machine.doctor("aer")
    assert any(item.outcome == "marginal" and "does not report correctable errors" in item.says for item in found.of("aer.live"))
    assert after[INTERRUPT_LINE] == 0
    for offset, length in ((0x10, 24), (INTERRUPT_LINE, 1), (COMMAND, 2)):
        assert machine.guest.pwrite(card, offset, before[offset:offset + length]) == ""
    assert write(machine, "g3", DEVCTL, reporting) == ""
    assert (config(machine, "g3"), word(machine, "g3", DEVCTL)) == (before, reporting)


@pytest.mark.parametrize(("error", "name", "count"), [("BAD_TLP", "BadTLP", 60), ("BAD_DLLP", "BadDLLP", 40), ("REP_TIMER", "Timeout", 50)])
def test_errors_at_each_end_of_one_link_are_counted_to_the_last(machine: Machine, error: str, name: str, count: int) -> None:
    """As fast as the kernel takes them: the next comes when the status registers are clear again."""
    was = {end: machine.counters(end) for end in ("g1", "rp1")}
    total = machine.root_total("rp1", "cor")
    machine.inject_counted("g1", error, count)
    machine.inject_counted("rp1", error, count + 7)
    for end, more in (("g1", count), ("rp1", count + 7)):
        now = machine.counters(end)
        assert now[name] - was[end].get(name, 0) == more
        assert now["TOTAL_ERR_COR"] - was[end].get("TOTAL_ERR_COR", 0) == more
    assert machine.root_total("rp1", "cor") - total == 2 * count + 7
    assert {end: machine.counters(end) for end in ("g0", "rp0", "g2", "rp2", "g3", "rp3")} == {
        end: {} for end in ("g0", "rp0", "g2", "rp2", "g3", "rp3")}


def test_a_watch_under_errors_names_link_class_and_direction_and_counts_each(machine: Machine) -> None:
    """12 packets that arrived damaged at port 2 (made on the way up), 7 that card 0 sent without an answer (on the way up
    or down): told of these ends of these links, and of no other."""
    for name in ("g0", "rp2"):
        machine.space(name)

    def act() -> None:
        machine.inject_counted("rp2", "BAD_TLP", 12)
        machine.inject_counted("g0", "REP_TIMER", 7)

    done = machine.watch_under(["--no-tui", "--json", "/out/watch.json"], act, [
        f"port {machine.bdf('rp2')}: its link counted", f"GPU {machine.bdf('g0')}: its link counted"])
    told = json.loads((machine.guest.folder / "out/watch.json").read_text())
    failed = [item for item in told["run"]["findings"] if item["outcome"] == "fail"]
    assert done.exit == (1 if failed else 3), done.err[-2000:]
    # Twelve within 27 s after the boot are more than 1e-12 of all bits that a link of x16 at 16 GT/s carries: a fault on
    # any box. A guest whose host does other work was up for longer by then.
    assert [(item["check"], "BadTLP" in item["says"]) for item in failed] in ([], [("watch.changed", True)])
    errors = {item["subject"]["bdf"]: item for item in told["run"]["findings"] if item["check"] == "stress.link-errors"}
    assert errors.keys() == {machine.bdf(f"{end}{slot}") for end in ("g", "rp") for slot in range(4)}
    wrong = {bdf: item for bdf, item in errors.items() if item["outcome"] != "pass"}
    assert wrong.keys() == {machine.bdf("rp2"), machine.bdf("g0")}
    for end, words, count in (("rp2", "counted BadTLP 12 in", 12), ("g0", "counted Timeout 7 in", 7)):
        assert wrong[machine.bdf(end)]["says"].startswith(words)
        assert wrong[machine.bdf(end)]["measured"]["value"] == count
    logged = {item["says"] for item in told["run"]["findings"] if item["check"] == "burn.log" and item["outcome"] == "marginal"}
    assert len(logged) == 2
    assert any("BadTLP" in says and "seen by the receiver, 12 x" in says for says in logged)
    assert any("Timeout" in says and "seen by the transmitter, 7 x" in says for says in logged)
    found = machine.doctor("aer")
    assert found.one("aer.correctable", machine.bdf("g2")).says.startswith(
        f"12 BadTLP at the port {machine.bdf('rp2').removeprefix('0000:')} since boot")
    assert found.one("aer.correctable", machine.bdf("g0")).says.startswith(
        f"7 Timeout at the card {machine.bdf('g0').removeprefix('0000:')} since boot")


def test_links_that_train_do_what_a_program_asks_of_them(machine: Machine) -> None:
    """With the registers open: target speed and retrain by pwrite, at both ends and in sysfs; a link that comes up with
    fewer lanes, one that does not come up, one that is switched off and on."""
    links = {slot: Link(machine.space(f"rp{slot}"), machine.space(f"g{slot}")) for slot in range(4)}
    links[2].outcome = lambda target: Trained(min(target, 8.0), 8 if target > 5 else 16)
    links[3].outcome = lambda target: None if target > 8 else Trained(target)
    with training({f"g{slot}": link for slot, link in links.items()}):
        for target, expected in ((1, {1: ("2.5", "16"), 2: ("2.5", "16"), 3: ("2.5", "16")}),
                                 (3, {1: ("8.0", "16"), 2: ("8.0", "8"), 3: ("8.0", "16")}),
                                 (4, {1: ("16.0", "16"), 2: ("8.0", "8"), 3: ("Unknown", "63")})):
            for slot, (speed, width) in expected.items():
                port = f"rp{slot}"
                assert write(machine, port, LNKCTL2, word(machine, port, LNKCTL2) & ~TARGET | target) == ""
                assert word(machine, port, LNKSTA) & TRAINING == 0, "a target alone does nothing"
                assert write(machine, port, LNKCTL, word(machine, port, LNKCTL) | RETRAIN) == ""
                settled(machine, port)
                status = word(machine, port, LNKSTA)
                assert bool(status & ACTIVE) == (width != "63")
                assert status & BANDWIDTH_MANAGED
                for name in ([f"g{slot}"] if width == "63" else [port, f"g{slot}"]):
                    assert machine.text(name, "current_link_speed").split()[0] == speed
                    assert machine.text(name, "current_link_width") == width
        assert write(machine, "rp2", LNKSTA, BANDWIDTH_MANAGED) == ""
        assert word(machine, "rp2", LNKSTA) & BANDWIDTH_MANAGED == 0, "cleared by writing a one"
        before = config(machine, "g1")
        assert write(machine, "rp1", LNKCTL, DISABLE) == ""
        until(lambda: not word(machine, "rp1", LNKSTA) & ACTIVE, "the link stays up")
        assert config(machine, "g1") == b"\xff" * 64
        assert write(machine, "rp1", LNKCTL, 0) == ""
        until(lambda: bool(word(machine, "rp1", LNKSTA) & ACTIVE), "the link stays down")
        assert config(machine, "g1") == before
        for slot in (2, 3):
            links[slot].outcome = lambda target: Trained(target)
            assert write(machine, f"rp{slot}", LNKCTL, RETRAIN) == ""
            settled(machine, f"rp{slot}")
    found = machine.doctor("pcie.link-width", "pcie.link-speed")
    assert {item.outcome for item in found.findings} == {"pass"}
    assert [len(links[slot].trained) for slot in range(4)] == [0, 4, 4, 4]


def test_a_locked_kernel_takes_no_write_to_a_configuration_space(machine: Machine) -> None:
    """As with Secure Boot, or `lockdown=integrity`: the file opens for writing, the write says EPERM. A bus reset by sysfs,
    power control and reading go on. Whether it is locked is told by securityfs alone, which nobody has mounted here."""
    guest = machine.guest
    assert guest.run("/bench/busybox", "cat", LOCKDOWN).exit == 1
    guest.sh(f"mount -t securityfs security /sys/kernel/security; echo integrity >{LOCKDOWN}")
    assert guest.sh(f"cat {LOCKDOWN}").split() == ["none", "[integrity]", "confidentiality"]
    for name in ("rp0", "g0"):
        assert write(machine, name, LNKCTL, 0) == "pwrite EPERM"
        assert guest.pwrite(machine.path(name, "config"), BRIDGE_CONTROL, b"\0\0") == "pwrite EPERM"
        assert len(guest.pread(machine.path(name, "config"), 0, 4096)) == 4096
    guest.sh(f"echo 1 >{machine.path('g0', 'reset')}; echo on >{machine.path('rp0', 'power/control')}")
    assert "direct PCI access is restricted; see man kernel_lockdown.7" in machine.dmesg()
    assert machine.doctor("aer").one("aer.live", machine.bdf("g0")).outcome == "pass", "reading needs no write"


ON_THE_NEWEST = (test_a_watch_under_errors_names_link_class_and_direction_and_counts_each,)
"""Tests of boxcheck rather than of the kernel, each of which takes half a minute."""
