"""Strix Halo's help, followed: its steps are carried out on the built machine, and the machine is judged again."""

from __future__ import annotations

import re

import pytest

from boxcheck.engine.inspect import choose_checks, inspect_facts, read_facts
from boxcheck.model import Verdict
from boxcheck.profile import load_profile
from tests.boxes import machine
from tests.boxes.machine import Machine
from tests.boxes.memory import host
from tests.boxes.mutations_strix import _limits, _set


def verdict(box: Machine) -> Verdict:
    box.assemble()
    return inspect_facts(read_facts(host(box.tree())), load_profile("strix-halo"), choose_checks([]))


@pytest.mark.parametrize("name", [
    "strix-memory-default-half", "strix-memory-gtt-mismatch", "strix-memory-all-memory", "strix-gtt-size-typo",
    "strix-carve-out-large"])
def test_a_box_on_which_the_help_was_followed_has_no_problem_left(name: str) -> None:
    box = machine(f"strix-halo+{name}")
    (problem,) = verdict(box).problems
    for step in problem.help:
        if "UMA frame buffer size" in step:
            box.memory_total_kib += (box.amd[0].vram_mib - 512) * 1024
            box.amd[0].vram_mib = box.amd[0].visible_mib = 512
        if taken := re.match(r"take (\S+) out of /etc/default/grub", step):
            box.kernel.parameters.remove(taken[1])
        if put := re.match(r"put `([^`]+)` into GRUB_CMDLINE_LINUX", step):
            for old in re.findall(r"`([^`]+)`", step.partition("in place of")[2].partition(":")[0]):
                box.kernel.parameters.remove(old)
            box.amdgpu_parameters.pop("gttsize", None)
            for word in put[1].split():
                _set(box, *word.split("="))
            _limits(box, int(put[1].partition("pages_limit=")[2].split()[0]))
    assert [problem.title for problem in verdict(box).problems] == []
