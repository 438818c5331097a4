"""A card that is gone reads neither as cured nor as a box that passes."""

from __future__ import annotations

import re
import struct

import msgspec
import pytest

from boxcheck.engine.inspect import Facts, choose_checks, inspect_facts, read_facts
from boxcheck.judge import exit_code
from boxcheck.model import Outcome
from boxcheck.probes.gpus import Gpus
from boxcheck.profile import GpusWanted, load_profile
from tests.boxes import build
from tests.boxes.memory import host


def facts_of(box: str, lost: int) -> Facts:
    """Facts of a built box without the first `lost` of its GPUs."""
    facts = read_facts(host(build(box)))
    there = facts.of(Gpus)
    assert isinstance(there, Gpus)
    facts.put(Gpus, Gpus(gpus=there.gpus[lost:]))
    return facts


def test_what_help_says_cures_a_link_counts_the_cards() -> None:
    want = load_profile("wopr-7x4090")
    bad = inspect_facts(read_facts(host(build("wopr-7x4090+riser-x8"))), want, choose_checks([]))
    told = " ".join(step for problem in bad.problems for step in problem.help)
    (command,) = re.findall(r"boxcheck doctor ([a-z ]+[a-z])  \(cured when[^)]*PCIE3 is in its table\)", told)
    without = inspect_facts(facts_of("wopr-7x4090", 1), want, choose_checks(command.split()))
    assert without.outcome is Outcome.FAIL, "a card that is off the bus is no cured link"


@pytest.mark.parametrize(("lost", "outcome", "code", "reason"), [
    (0, Outcome.PASS, 0, "every required check passed"),
    (6, Outcome.PASS, 0, "every required check passed"),
    (7, Outcome.UNKNOWN, 3, "no GPU was judged: no discrete one is on the PCI bus"),
])
def test_a_box_without_any_gpu_does_not_pass_by_the_profile_for_any_box(
    lost: int, outcome: Outcome, code: int, reason: str
) -> None:
    verdict = inspect_facts(facts_of("wopr-7x4090", lost), load_profile("generic"), choose_checks([]))
    assert (verdict.outcome, int(exit_code(verdict)), verdict.reason) == (outcome, code, reason)


def test_a_box_that_has_none_by_its_profile_needs_none() -> None:
    want = msgspec.structs.replace(load_profile("generic"), gpus=GpusWanted(count=0))
    assert inspect_facts(facts_of("wopr-7x4090", 7), want, choose_checks([])).outcome is Outcome.PASS


def test_a_part_of_the_checks_tells_that_there_is_no_gpu_too() -> None:
    verdict = inspect_facts(facts_of("wopr-7x4090", 7), load_profile("generic"), choose_checks(["pcie", "disk"]))
    assert verdict.partial
    assert verdict.reason.startswith("no GPU was judged: no discrete one is on the PCI bus; what was run passed")


def test_a_part_that_is_not_about_gpus_asks_for_none() -> None:
    verdict = inspect_facts(facts_of("wopr-7x4090", 7), load_profile("generic"), choose_checks(["disk"]))
    assert verdict.partial
    assert "GPU" not in verdict.reason


def test_a_part_of_the_checks_is_partial_without_a_profile_too() -> None:
    verdict = inspect_facts(
        facts_of("wopr-7x4090", 0), load_profile("generic"), choose_checks(["pcie", "aer"]), profile_certain=False)
    assert verdict.partial
    assert int(exit_code(verdict)) == 3
    assert verdict.reason.endswith("were not run, and no profile says what this machine must be")


@pytest.mark.parametrize("device", [0x515E, 0x4752, 0x5969])
def test_the_console_of_an_older_server_is_no_gpu(device: int) -> None:
    """ATI made the graphics of server boards before ASPEED did."""
    tree = build("wopr-7x4090")
    (console,) = (path.removesuffix("/vendor") for path in tree
                  if path.endswith("/vendor") and tree[path] == b"0x1a03\n"
                  and tree[path.replace("/vendor", "/class")] == b"0x030000\n")
    tree.put(f"{console}/vendor", "0x1002\n")
    tree.put(f"{console}/device", f"0x{device:04x}\n")
    config = bytes(tree[f"{console}/config"])  # type: ignore[arg-type]
    tree.put(f"{console}/config", struct.pack("<HH", 0x1002, device) + config[4:])
    found = read_facts(host(tree)).of(Gpus)
    assert isinstance(found, Gpus)
    assert [gpu.pci_id for gpu in found.gpus] == ["10de:2684"] * 7
