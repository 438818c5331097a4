"""Seven GPUs behind root ports of three host bridges, as on WOPR: links, errors of every class, captures, triage.

One boot, in this order: what harms the machine for good (a fatal error resets the link) comes last. g0 is the control: it
stays clean until the errors back to back.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.bench import Account, Machine, account_of, on_every_kernel
from tests.kernel.vm import CHECKOUT

TOPOLOGY = "wopr"

CLASSES = (("RCVR", "RxErr"), ("BAD_TLP", "BadTLP"), ("BAD_DLLP", "BadDLLP"), ("REP_TIMER", "Timeout"),
           ("REP_ROLL", "Rollover"))
"""QEMU's name, the kernel's. The first is put on slot 1 and so on, at both ends."""
EACH = 3
MANY = 200
AREAS = ("pcie", "aer", "inventory", "iommu", "kernel", "acs")
NOT_OF_A_GUEST = {"pcie.power-state": "the kernel says `unknown` of a card that no driver has bound",
                  "inventory.gpu-claims": "no nvidia driver is there that could be asked",
                  "kernel.lockdown": "nobody has mounted securityfs"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The same on the distribution's kernel and on its newer one."""
    if "machine" in metafunc.fixturenames:
        metafunc.parametrize("machine", on_every_kernel(TOPOLOGY), indirect=True, scope="module")


def address(machine: Machine, name: str) -> str:
    return machine.bdf(name).removeprefix("0000:")


def judged_on_host(path: Path, *words: str) -> Account:
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck", "doctor", "--sysroot", str(path), "--json", "-", *words],
        cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120)
    return account_of(done.stdout, done.returncode, 0.0)


def test_a_healthy_box_passes_and_every_link_is_named(machine: Machine) -> None:
    found = machine.doctor(*AREAS)
    assert found.whole["profile"]["name"] == "wopr-7x4090"  # type: ignore[index]
    wrong = [(item.check, item.bdf, item.outcome, item.says) for item in found.findings
             if item.outcome not in ("pass", "skip") and item.check not in NOT_OF_A_GUEST]
    assert wrong == []
    assert found.problems == ()
    for slot in machine.slots:
        card = machine.bdf(slot.gpu)
        assert found.one("aer.live", card).outcome == "pass"
        assert found.one("aer.correctable", card).says.startswith("no link error counted since boot")
        assert found.one("pcie.link-width", card).says == "trained x16, x16 required"
        assert found.one("pcie.link-speed", card).says == "runs at 16.0 GT/s at rest, 16.0 required"
    assert found.one("inventory.gpu-count").says == "7 of 7 x RTX 4090"


@contextmanager
def _link(machine: Machine, slot: int, width: int = 16, speed_gts: float = 16.0) -> Iterator[None]:
    card = machine.space(f"g{slot}")
    card.link(width, speed_gts)
    try:
        yield
    finally:
        card.link(16, 16.0)


def test_lanes_and_speed_lost_while_the_box_runs(machine: Machine) -> None:
    target = machine.space("rp4")
    with _link(machine, 1, width=8), _link(machine, 2, width=1), _link(machine, 3, speed_gts=8.0), \
            _link(machine, 4, speed_gts=2.5):
        before = target.word(target.express + 0x30)
        target.set_word(target.express + 0x30, 1, 0xF)
        assert machine.text("rp1", "current_link_width") == "8", "the port follows its card"
        found = machine.doctor("pcie.link-width", "pcie.link-speed")
        target.set_word(target.express + 0x30, before)
    width = {slot: found.one("pcie.link-width", machine.bdf(f"g{slot}")) for slot in range(7)}
    assert (width[1].outcome, width[1].says) == ("fail", "trained x8, x16 required")
    assert (width[2].outcome, width[2].says) == ("fail", "trained x1, x16 required")
    assert [width[slot].outcome for slot in (0, 3, 4, 5, 6)] == ["pass"] * 5
    speed = {slot: found.one("pcie.link-speed", machine.bdf(f"g{slot}")) for slot in range(7)}
    assert speed[3].outcome == "unknown", "a low speed at rest says nothing"
    assert speed[3].says.startswith("runs at 8.0 GT/s at rest, 16.0 required")
    assert speed[4].outcome == "fail"
    assert "target is capped at 2.5 GT/s" in speed[4].says
    assert [speed[slot].outcome for slot in (0, 1, 2, 5, 6)] == ["pass"] * 5


def test_every_class_at_each_end_is_counted_and_told(machine: Machine) -> None:
    for slot, (error, _) in enumerate(CLASSES, 1):
        machine.inject_counted(f"g{slot}", error, EACH)
        machine.inject_counted(f"rp{slot}", error, EACH + slot)
    for slot, (_, name) in enumerate(CLASSES, 1):
        assert machine.settled(f"g{slot}", "correctable", EACH) == {name: EACH, "TOTAL_ERR_COR": EACH}
        assert machine.settled(f"rp{slot}", "correctable", EACH + slot) == {name: EACH + slot, "TOTAL_ERR_COR": EACH + slot}
        assert machine.root_total(f"rp{slot}", "cor") == 2 * EACH + slot
    found = machine.doctor("aer", "pcie.link-width", "pcie.link-speed")
    assert set(found.outcomes("pcie.link-width") + found.outcomes("pcie.link-speed")) == {"pass"}, "full again"
    for slot, (_, name) in enumerate(CLASSES, 1):
        said = found.one("aer.correctable", machine.bdf(f"g{slot}"))
        assert said.says.startswith(
            f"{EACH + slot} {name} at the port {address(machine, f'rp{slot}')} and {EACH} {name} at the card "
            f"{address(machine, f'g{slot}')} since boot")
        assert said.outcome == "fail" if name == "Rollover" else said.outcome in ("marginal", "fail")
        assert found.one("aer.live", machine.bdf(f"g{slot}")).outcome == "pass"
    assert found.one("aer.correctable", machine.bdf("g0")).outcome == "pass"
    assert set(found.outcomes("aer.uncorrectable")) == {"pass"}, "corrected errors are no uncorrected ones"


def test_spaced_errors_are_counted_to_the_last(machine: Machine) -> None:
    machine.inject_counted("g6", "BAD_DLLP", MANY)
    assert machine.settled("g6", "correctable", MANY) == {"BadDLLP": MANY, "TOTAL_ERR_COR": MANY}
    assert machine.root_total("rp6", "cor") == MANY


def test_a_burst_is_counted_short(machine: Machine) -> None:
    """Errors that arrive while one is handled share its message: counters are a lower bound, and doctor says them as they
    are. No more is ever counted than happened."""
    before = machine.counters("g6")
    machine.inject("g6", "BAD_TLP", MANY, spaced=0)
    # Messages of one port are handled in their order: when one more has been, so has the burst.
    machine.inject_counted("g6", "BAD_TLP", 1)
    after = machine.counters("g6")
    assert 0 < after["BadTLP"] <= MANY + 1
    assert after["BadDLLP"] == before["BadDLLP"]
    assert after["TOTAL_ERR_COR"] - before["TOTAL_ERR_COR"] <= after["BadTLP"]
    assert MANY < machine.root_total("rp6", "cor") <= 2 * MANY + 1


def test_errors_back_to_back_share_one_message(machine: Machine) -> None:
    """TOTAL is not the sum: it counts messages, and one message can stand for several errors."""
    total = machine.root_total("rp0", "cor")
    machine.guest.monitor.ask("stop")
    for error in ("BAD_DLLP", "REP_TIMER", "REP_ROLL"):
        machine.inject("g0", error, spaced=0)
    machine.guest.monitor.ask("cont")
    assert machine.settled("g0", "correctable", 3) == {"BadDLLP": 1, "Rollover": 1, "Timeout": 1, "TOTAL_ERR_COR": 1}
    assert machine.root_total("rp0", "cor") == total + 1
    found = machine.doctor("aer.correctable")
    said = found.one("aer.correctable", machine.bdf("g0"))
    assert said.says.startswith("1 BadDLLP, 1 Rollover, 1 Timeout at the card")
    assert said.outcome == "fail"
    # And what came before, as the kernel counted it.
    said = found.one("aer.correctable", machine.bdf("g6"))
    assert said.says.startswith(f"{machine.counters('g6')['BadTLP']} BadTLP, {MANY} BadDLLP at the card"), said.says
    assert said.outcome == "fail"
    assert "errors per bit" in said.says


def test_uncorrected_errors(machine: Machine) -> None:
    """A non-fatal error is counted where it happened; a fatal one of a card at its root port only, because the kernel does
    not ask a card whose link may be dead; a surprise down at the port itself."""
    machine.inject("g1", "COMP_TIME")
    machine.inject("g2", "POISON_TLP 0 1 2 3")
    assert machine.settled("g1", "nonfatal", 1) == {"CmpltTO": 1, "TOTAL_ERR_NONFATAL": 1}
    assert machine.settled("g2", "nonfatal", 1) == {"TLP": 1, "TOTAL_ERR_NONFATAL": 1}
    machine.inject("g3", "MALF_TLP")
    assert machine.wait(f"grep -q '^[1-9]' {machine.path('rp3', 'aer_rootport_total_err_fatal')}")
    assert machine.counters("g3", "fatal") == {}
    machine.inject("rp4", "SDN")
    assert machine.settled("rp4", "fatal", 1) == {"SDES": 1, "TOTAL_ERR_FATAL": 1}
    assert machine.wait("[ $(dmesg | grep -c 'device recovery failed') = 4 ]")
    found = machine.doctor("aer", "log")
    said = {slot: found.one("aer.uncorrectable", machine.bdf(f"g{slot}")) for slot in range(7)}
    assert [said[slot].outcome for slot in range(7)] == ["pass", "fail", "fail", "fail", "fail", "pass", "pass"]
    assert "1 CmpltTO (nonfatal) at" in said[1].says
    assert "1 TLP (nonfatal) at" in said[2].says
    assert f"1 fatal error at root port {address(machine, 'rp3')} that no device below it shows" in said[3].says
    assert f"1 SDES (fatal) at {address(machine, 'rp4')}" in said[4].says
    # The kernel reset both links, found no driver that could recover the card, and left the card's error reporting off.
    silent = found.of("aer.live")
    assert any(item.outcome == "marginal" and "2 GPU links are not counted: the card does not report correctable errors"
               in item.says for item in silent), silent
    for name in ("g1", "rp1"):
        assert any(f"at {address(machine, name)}: corrected PCIe error (RxErr)" in item.says
                   for item in found.of("log.aer-correctable", machine.bdf("g1")))
    fatal = {item.bdf for item in found.of("log.pcie-fatal") if item.outcome == "fail"}
    assert {machine.bdf("g3"), machine.bdf("g4")} <= fatal


def test_triage_reads_the_same_errors_from_the_log(machine: Machine) -> None:
    machine.guest.sh("dmesg >/tmp/dmesg.txt")
    done = machine.guest.boxcheck("triage", "/tmp/dmesg.txt", "--json", "-")
    assert done.exit == 1, done.err
    told = json.loads(done.out)
    assert told["machine"]["kernel"] == machine.kernel
    events = {(event["kind"], event["bdf"], tuple(event["labels"])): event["count"] for event in told["events"]}
    for slot, (_, name) in enumerate(CLASSES, 1):
        assert events["aer-correctable", machine.bdf(f"g{slot}"), (name,)] == EACH
        assert events["aer-correctable", machine.bdf(f"rp{slot}"), (name,)] == EACH + slot
    assert events["aer-correctable", machine.bdf("g6"), ("BadDLLP",)] == MANY
    assert events["aer-correctable", machine.bdf("g6"), ("BadTLP",)] == machine.counters("g6")["BadTLP"]
    assert events["aer-correctable", machine.bdf("g0"), ("BadDLLP", "Rollover", "Timeout")] == 1
    assert events["aer-nonfatal", machine.bdf("g1"), ("CmpltTO",)] == 1
    assert events["aer-nonfatal", machine.bdf("g2"), ("TLP",)] == 1
    assert events["aer-fatal", machine.bdf("g3"), ("Inaccessible",)] == 1
    assert events["aer-fatal", machine.bdf("rp4"), ("SDES",)] == 1
    links = {problem["id"]: problem["rule"] for problem in told["problems"]}
    assert links[f"link:{machine.bdf('rp6')}"] == "damaged-link"
    assert {links[f"link:{machine.bdf(port)}"] for port in ("rp3", "rp4")} == {"link-dropped"}


# What differs because time went on between two readings.
MOVING = re.compile(r"( in | for )?\d+ (s|min|m|h)( \d+ (s|min|m))?( ago)?\b|\d\.\de-\d+|\d+(\.\d+)? (GiB|MiB)|\d+ of \d+ MHz|\d+ MHz|\d+ to \d+ of")


def told(found: Account) -> dict[tuple[str, str], str]:
    return {(item.check, json.dumps(item.raw["subject"])): f"{item.outcome} {MOVING.sub('#', item.says)}"
            for item in found.findings}


def test_a_capture_is_judged_the_same_on_the_host(machine: Machine) -> None:
    path = machine.capture("wopr.tar.gz")
    there, here = told(machine.doctor()), told(judged_on_host(path))
    assert there.keys() == here.keys()
    assert {key: (there[key], here[key]) for key in there if there[key] != here[key]} == {}
