"""A processor's own GPU that programs do not see: without a driver, or not on the bus."""

from __future__ import annotations

import pytest

from boxcheck.checks.strix_memory import NO_DRIVER
from boxcheck.engine.inspect import choose_checks, inspect_facts, read_facts
from boxcheck.model import Outcome, Verdict
from boxcheck.profile import load_profile
from boxcheck.profile_detect import detect
from tests.boxes import Tree, build, machine
from tests.boxes.memory import host


def judged(tree: Tree, profile: str, *patterns: str) -> Verdict:
    return inspect_facts(read_facts(host(tree)), load_profile(profile), choose_checks(patterns))


@pytest.mark.parametrize(("box", "profile"), [
    ("strix-halo", "strix-halo"), ("tinybox-red", "tinybox-red"), ("tinybox-red", "generic")])
def test_nomodeset_leads_the_one_problem(box: str, profile: str) -> None:
    (problem,) = judged(build(f"{box}+nomodeset-no-driver"), profile).problems
    assert problem.title == "nomodeset is on the kernel command line"
    assert problem.outcome is Outcome.FAIL
    assert not any("modprobe" in step for step in problem.help)
    assert "reboot" in problem.help[0]


def test_without_nomodeset_the_driver_is_to_be_loaded() -> None:
    (problem,) = judged(build("strix-halo+strix-no-driver"), "strix-halo").problems
    assert problem.title == "the amdgpu driver is not loaded"
    assert problem.help[0].startswith("sudo modprobe amdgpu")


@pytest.mark.parametrize(("words", "profile", "outcome"), [
    (["nomodeset"], "strix-halo", Outcome.FAIL),
    (["nomodeset"], "generic", Outcome.MARGINAL),  # nothing says that this box needs the processor's own GPU
    (["nomodeset", "amdgpu.modeset=1"], "strix-halo", Outcome.PASS),
])
def test_nomodeset_counts_where_the_gpu_is_not_on_the_bus(words: list[str], profile: str, outcome: Outcome) -> None:
    made = machine("strix-halo+strix-no-gpu")
    made.kernel.parameters += words
    found = judged(made.tree(), profile, "kernel.cmdline-lint").findings
    assert [one.outcome for one in found] == [outcome]


@pytest.mark.parametrize("profile", ["wopr-7x4090", "generic"])
def test_nomodeset_is_nothing_to_nvidia_cards_beside_an_amd_processor(profile: str) -> None:
    made = machine("wopr-7x4090")
    made.cpu.model_name = "AMD Ryzen 9 9950X 16-Core Processor with Radeon Graphics"
    made.kernel.parameters.append("nomodeset")
    found = judged(made.tree(), profile, "kernel.cmdline-lint").findings
    assert [one.outcome for one in found] == [Outcome.PASS]


def test_a_gpu_in_no_slot_is_not_to_be_reseated() -> None:
    (problem,) = judged(build("strix-halo+strix-no-gpu"), "strix-halo").problems
    assert problem.title == "the processor's own GPU is not on the bus"
    told = " ".join(problem.help)
    assert "BIOS setup" in told
    assert not any(word in told for word in ("reseat", "fans", "power leads", "card into"))


@pytest.mark.parametrize("check", ["strix.gpu-memory", "strix.gtt-headroom", "strix.kfd-memory", "strix.compute-units"])
def test_memory_that_no_driver_tells_of_names_the_driver(check: str) -> None:
    verdict = judged(build("strix-halo+strix-no-driver"), "strix-halo", check)
    assert [(one.outcome, one.says) for one in verdict.findings] == [(Outcome.UNKNOWN, NO_DRIVER)]


@pytest.mark.parametrize("box", ["strix-halo+strix-no-driver", "strix-halo+strix-no-gpu"])
def test_one_step_says_where_to_look_next(box: str) -> None:
    steps = [step for one in judged(build(box), "strix-halo", "strix").findings for step in one.help]
    assert len(steps) == 1
    assert steps[0].startswith("boxcheck doctor ")


@pytest.mark.parametrize(("box", "near"), [("strix-halo+strix-no-gpu", ("strix-halo",)), ("laptop", ())])
def test_a_box_without_its_gpu_is_near_its_profile(box: str, near: tuple[str, ...]) -> None:
    found = detect(read_facts(host(build(box))))
    assert (found.name, found.near) == (None, near)
    assert found.why.endswith("no GPU of a known box" + ("; near: strix-halo but for its GPU" if near else ""))
