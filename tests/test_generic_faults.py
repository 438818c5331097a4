"""What is a fault on any box decides by the profile that says what holds for any box."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from boxcheck.commands.doctor import Options, examine
from boxcheck.engine.inspect import Facts, choose_checks, inspect_facts, read_facts
from boxcheck.model import Outcome, Unread, Verdict
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.nvml import Nvml
from boxcheck.profile import load_profile
from boxcheck.report.text import Style, account_text
from tests.boxes import build
from tests.boxes.memory import host


def judged(box: str) -> Verdict:
    return inspect_facts(read_facts(host(build(box))), load_profile("generic"), choose_checks([]))


@pytest.mark.parametrize(("box", "check", "outcome"), [
    ("wopr-7x4090+driver-unbound", "driver.binding", Outcome.FAIL),
    ("wopr-7x4090+vfio-bound", "driver.binding", Outcome.MARGINAL),
    ("wopr-7x4090+nouveau", "driver.binding", Outcome.MARGINAL),
    ("geohot-amd-dev+kernel-too-old", "driver.binding", Outcome.MARGINAL),
    ("wopr-7x4090+timeout-rollover", "aer.correctable", Outcome.FAIL),
    ("wopr-7x4090+badtlp-card", "aer.correctable", Outcome.MARGINAL),
    ("wopr-7x4090+card-memory-short", "inventory.gpu-claims", Outcome.FAIL),
    ("tinybox-red+card-units-off", "inventory.gpu-claims", Outcome.FAIL),
    ("wopr-7x4090+bar-256mb", "bar.full-vram", Outcome.MARGINAL),
    ("wopr-7x4090+bridge-window-short", "bar.bridge-window", Outcome.FAIL),
    ("wopr-7x4090+nvidia-power-brake", "power.throttle", Outcome.FAIL),
    ("wopr-7x4090+nvml-version", "driver.nvidia-mismatch", Outcome.FAIL),
    ("wopr-7x4090+nvidia-uuid-twice", "nvidia.uuid", Outcome.FAIL),
    ("wopr-7x4090+iommu-fault", "log.iommu-fault", Outcome.FAIL),
    ("wopr-7x4090+root-read-only", "disk.read-only", Outcome.FAIL),
    ("wopr-7x4090+nvme-no-spare", "disk.nvme-health", Outcome.FAIL),
    ("tinybox-red+gpu-fan-stopped", "fan.gpu", Outcome.FAIL),
    ("tinybox-red+nomodeset", "kernel.cmdline-lint", Outcome.FAIL),
])
def test_a_fault_of_any_box_decides(box: str, check: str, outcome: Outcome) -> None:
    verdict = judged(box)
    assert verdict.outcome is outcome
    assert {one.check for one in verdict.findings if one.blocker and one.outcome is outcome} == {check}


@pytest.mark.parametrize("box", [
    "wopr-7x4090", "tinybox-red", "tinybox-pro", "wopr-7x4090+card-inline-ecc", "wopr-7x4090+bar-256mb-all",
    "wopr-7x4090+4090-idle-gen1", "wopr-7x4090+uvm-node-missing"])
def test_what_a_sound_box_may_be_passes(box: str) -> None:
    assert judged(box).outcome is Outcome.PASS


def test_one_card_on_nouveau_is_a_desktop() -> None:
    facts = read_facts(host(build("wopr-7x4090+nouveau")))
    there = facts.of(Gpus)
    assert isinstance(there, Gpus)
    facts.put(Gpus, Gpus(gpus=there.gpus[:1]))
    verdict = inspect_facts(facts, load_profile("generic"), choose_checks(["driver.binding"]))
    assert [one.outcome for one in verdict.findings] == [Outcome.PASS]


def test_a_card_for_a_guest_is_told_how_to_be_judged() -> None:
    (problem,) = judged("wopr-7x4090+vfio-bound").problems
    assert problem.help[0] == "meant for a guest: boxcheck doctor --goal vm"


def claims(facts: Facts) -> list[Outcome]:
    verdict = inspect_facts(facts, load_profile("generic"), choose_checks(["inventory.gpu-claims"]))
    assert not verdict.crashes
    return [one.outcome for one in verdict.findings]


def test_a_card_without_a_driver_is_not_compared_with_its_model() -> None:
    assert claims(read_facts(host(build("geohot-amd-dev+kernel-too-old")))) == [Outcome.UNKNOWN] * 2


def test_a_part_of_a_card_has_a_part_of_its_memory() -> None:
    """A vGPU has the PCI id of the card that it is a part of."""
    facts = read_facts(host(build("wopr-7x4090+card-memory-short")))
    nvml = facts.of(Nvml)
    assert isinstance(nvml, Nvml)
    assert not isinstance(nvml.gpus, Unread)
    facts.put(Nvml, msgspec.structs.replace(nvml, gpus=tuple(
        msgspec.structs.replace(one, name=f"{one.name}-8Q") for one in nvml.gpus)))
    assert claims(facts) == [Outcome.SKIP] * 7


@pytest.mark.parametrize("box", [
    "wopr-7x4090+uvm-node-missing", "tinybox-red+psu-dead", "tinybox-red+atomics-missing"])
def test_no_row_fails_on_a_box_that_passes(box: str, tmp_path: Path) -> None:
    path = build(box).write_tar(tmp_path / "box.tar.gz")
    found = examine(Options(sysroot=str(path), profile="generic"))[0]
    text = account_text(found, Style(columns=100))
    assert found.verdict.outcome is Outcome.PASS
    assert any(one.outcome is Outcome.FAIL for one in found.verdict.findings)
    assert "FAIL" not in text
    assert "not required failed" in text
