"""What a GPU without driver is told: one problem where all are without one, and the command that hands a card over."""

from __future__ import annotations

from typing import Any

import msgspec

from boxcheck.model import Finding
from tests.checks.cards import gpus, nvidia
from tests.checks.judging import judge
from tests.checks.test_amdgpu import amdgpu
from tests.checks.test_kernel import NVIDIA_PART, box, settings
from tests.checks.test_nvidia import UNLOADED, driver


def binding(drivers: tuple[str | None, ...], of: Any) -> list[Finding]:
    cards = gpus(*(msgspec.structs.replace(nvidia(at), driver=name) for at, name in enumerate(drivers)))
    profile = box(part=NVIDIA_PART)
    found = judge("driver.binding", cards, settings(), amdgpu(loaded=False), of, profile=profile)
    return [finding for finding in found if finding.outcome.value == "fail"]


def test_a_module_that_is_not_loaded_is_one_problem() -> None:
    found = binding((None, None), UNLOADED)
    assert {(one.cause, one.title) for one in found} == {
        ("driver:nvidia", "NVIDIA's kernel module is not loaded")}
    assert {one.help for one in found} == {
        ("sudo modprobe nvidia, then read what it says: sudo dmesg | tail -30",)}


def test_a_loaded_module_without_any_card_is_one_problem_with_a_loop_that_binds() -> None:
    found = binding((None, None), driver())
    assert {(one.cause, one.title) for one in found} == {
        ("driver:nvidia", "none of the 2 NVIDIA GPUs has a driver")}
    (step,) = found[0].help
    assert step.startswith("for gpu in 0000:03:00.0 0000:23:00.0; do echo $gpu | sudo tee ")
    assert "modprobe" not in step


def test_one_card_without_driver_is_bound_by_its_address() -> None:
    (one,) = binding(("nvidia", None), driver())
    assert one.cause == "driver-binding:0000:23:00.0"
    assert one.help[0].startswith("echo 0000:23:00.0 | sudo tee /sys/bus/pci/drivers/nvidia/bind")


def test_a_card_that_was_handed_out_is_taken_back_first() -> None:
    (one,) = binding(("nvidia", "vfio-pci"), driver())
    steps = one.help[0].split("; ")
    assert steps[0] == "echo 0000:23:00.0 | sudo tee /sys/bus/pci/drivers/vfio-pci/unbind"
    assert steps[-1] == "echo 0000:23:00.0 | sudo tee /sys/bus/pci/drivers/nvidia/bind"
    assert not any("sudo modprobe" in step for step in one.help)
