"""nomodeset in a kernel log: the cause where amdgpu is missing, and no fault where nobody needs a driver that it stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.triage.account import triage
from tests.boxes import build
from tests.triage.test_rules import STRIX, lines
from tests.triage.texts import BUSES, rules, told

BOOTED = "Booted with the nomodeset parameter. Only the system framebuffer will be available"
WORD = lines("Kernel command line: BOOT_IMAGE=/vmlinuz ro nomodeset", BOOTED, at=0.01)
HEAD = "[    0.000000] Linux version 6.14.0-27-generic (buildd@lcy02) #27-Ubuntu SMP PREEMPT_DYNAMIC\n"
LSPCI = """\
c6:00.0 Display controller [0380]: Advanced Micro Devices, Inc. [AMD/ATI] Strix Halo [1002:1586] (rev c1)
{}\tKernel modules: amdgpu
c6:00.1 Audio device [0403]: Advanced Micro Devices, Inc. [AMD/ATI] Rembrandt Audio Controller [1002:1640]
\tKernel driver in use: snd_hda_intel
"""


def pci(where: str, ids: str, kind: str = "0x030000") -> str:
    return lines(f"pci 0000:{where}: [{ids}] type 00 class {kind} PCIe Legacy Endpoint", at=0.9)


@pytest.mark.parametrize(("text", "severity"), [
    (STRIX + WORD, "fail"), (STRIX + lines(BOOTED), "fail"),
    (HEAD + WORD, "warn"),
    (HEAD + pci("41:00.0", "1002:744c") + WORD, "fail"),
    (BUSES + pci("43:00.0", "1002:744c") + WORD, "fail"),
    # The processor's own graphics beside NVIDIA's cards, which run with the word.
    (BUSES + pci("c6:00.0", "1002:1586") + WORD, "warn"), (BUSES + WORD, "info"),
    # A server's console, and a driver that runs in spite of the word.
    (HEAD + pci("01:00.0", "1a03:2000") + WORD, "info"), (HEAD + pci("01:00.0", "1002:515e") + WORD, "info"),
    (STRIX + WORD + lines("amdgpu 0000:c6:00.0: amdgpu: VRAM: 512M 0x0000008000000000 - 0x000000801FFFFFFF (512M used)"),
     "info"),
    # The machine was booted again, without it.
    (STRIX + WORD + STRIX, "info"),
])
def test_the_cards_decide_how_grave_the_word_is(text: str, severity: str, tmp_path: Path) -> None:
    found = told(tmp_path, text)
    assert [one.event.severity for one in found.events if one.kind == "nomodeset"] == [severity]
    assert rules(found) == (["nomodeset"] if severity in ("fail", "warn") else [])


def test_a_missing_driver_is_the_same_problem(tmp_path: Path) -> None:
    found = told(tmp_path, STRIX + WORD, LSPCI.format(""), "Unable to open /dev/kfd read-write: No such file or directory\n")
    problem, = found.problems
    assert (problem.rule, problem.sure, problem.where) == ("nomodeset", "certain", "c6:00.0")
    assert not any("says why" in step for step in problem.help)


def test_what_doctor_finds_in_a_capture_is_the_same_problem(tmp_path: Path) -> None:
    build("strix-halo+nomodeset-no-driver").write_dir(tmp_path / "box")
    problem, = triage([str(tmp_path / "box")]).faults
    assert (problem.rule, problem.sure) == ("nomodeset", "certain")


def test_a_driver_that_runs_is_not_held_back(tmp_path: Path) -> None:
    found = told(tmp_path, STRIX + WORD, LSPCI.format("\tKernel driver in use: amdgpu\n"))
    assert found.problems == ()


def test_nvidias_missing_driver_is_another_problem(tmp_path: Path) -> None:
    text = ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
            "NVIDIA driver is installed and running.\n")
    assert sorted(rules(told(tmp_path, STRIX + WORD, text))) == ["alone", "nomodeset"]
