"""Every command that doctor and stress runs print runs as it is printed: boxcheck's own parse, and what needs root says
sudo."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

from boxcheck.registry import CHECKS, STRESSES, discover, discover_stress
from boxcheck.report.command import own_pip
from boxcheck.report.wrapping import commands
from tests.boxes import BOXES, MUTATIONS
from tests.boxes.verdicts import judge_box
from tests.command_lines import USAGE_ERROR, parsed, simple
from tests.stress.every_check import NOTCHES, findings

NEED_ROOT = (
    r"mdadm\b", r"dmidecode\b", r"dmesg\b", r"update-grub\b", r"grub2-mkconfig\b", r"update-initramfs\b", r"dracut\b",
    r"modprobe \w", r"usermod\b", r"groupadd\b", r"systemctl (?:enable|start|restart)\b", r"nvme smart-log\b",
    r"ipmitool\b", r"smartctl\b", r"apt(?:-get)? (?:install|remove|update)\b", r"apt-mark hold\b", r"dnf (?:install|upgrade)\b",
    r"sysctl \w+\.\w+=", r"cpupower frequency-set\b", r"setpci -", r"nvidia-modprobe\b", r"udevadm (?:control|trigger)\b",
    r"mount [-/]", r"tuned-adm profile\b", r"timedatectl set-ntp\b", r"update-alternatives --config\b", r"tee /(?:sys|etc)/",
    r"tee -a /etc/", r"nvidia-smi -(?:pm|pl|r|i \S+ -pl)\b", r"dkms (?:install|autoinstall|build)\b", r"lspci -vv", r"reboot$",
    r"sed -i", r"mokutil --import",
)
"""Beginnings of commands that fail, or show half, for an ordinary user."""
BOXES_EACH = [*BOXES, *(f"{mutation.bases[0]}+{name}" for name, mutation in MUTATIONS.items())]


@cache
def printed() -> tuple[str, ...]:
    """All texts with commands in them: help and notes of every built box and of made-up stress runs, and what the
    catalogue says of each check."""
    discover()
    discover_stress()
    texts = {line for check in CHECKS.values() for line in check.text.splitlines()}
    for name in BOXES_EACH:
        for finding in judge_box(name)[0].findings:
            texts.update((*finding.help, *finding.notes))
    for notch in NOTCHES:
        for value, _ in notch.sides:
            for finding in findings(notch, value):
                texts.update((*finding.help, *finding.notes))
    return tuple(sorted(texts))


def found() -> Iterator[tuple[str, str]]:
    """Text and command."""
    for text in printed():
        for start, end in commands(text):
            yield text, text[start:end]


def test_what_needs_root_says_sudo() -> None:
    wrong = {f"{' '.join(words)}   in   {text}" for text, command in found() for words in simple(command)
             if any(re.match(pattern, " ".join(words)) for pattern in NEED_ROOT)}
    assert wrong == set()


def test_every_command_of_boxcheck_is_one() -> None:
    seen = set()
    for text, command in found():
        for words in simple(command):
            if "boxcheck" in words:
                seen.add(" ".join(words))
                try:
                    parsed(words[words.index("boxcheck") + 1:])
                except USAGE_ERROR as error:
                    pytest.fail(f"{' '.join(words)}: {error}, in: {text}")
    assert {"boxcheck doctor pcie aer", "boxcheck doctor log -v", "boxcheck profile draft"} <= seen


def test_every_stress_module_that_is_named_is_one() -> None:
    named = {
        (word, text) for text, command in found() for words in simple(command)
        if (at := words.index("run") + 1 if words[:3] == ["boxcheck", "stress", "run"] else 0)
        for word in takewhile(lambda word: not word.startswith("-"), words[at:])}
    assert {"matmul", "vram"} <= {word for word, _ in named}
    assert [(word, text) for word, text in named if word not in {*STRESSES, "NAME"}] == []


@pytest.mark.parametrize("words", [["slots", "PCIE3"], ["doctor", "--fast"], ["profile", "edit"]])
def test_what_is_no_command_is_refused(words: list[str]) -> None:
    with pytest.raises(USAGE_ERROR):
        parsed(words)


def test_subsets_say_what_to_expect() -> None:
    """Part of the checks is no verdict: exit code 3, and PARTIAL where all of it passed."""
    steps = [text for text, command in found() if re.match(r"boxcheck doctor (?!log -v)\w", command) and "sudo clears" not in text]
    assert steps
    for step in steps:
        assert "PARTIAL" in step, step


def test_a_shell_takes_every_command() -> None:
    """`sh -n` reads and does not run. `<port>` and the like stand for what only the reader knows."""
    lines = sorted({re.sub(r"<[a-z]+>", "X", command).replace("{", "").replace("}", "") for _, command in found()})
    assert len(lines) > 100
    wrong = [line for line in lines if subprocess.run(["sh", "-n", "-c", line], capture_output=True).returncode]
    assert wrong == []


def test_pip_is_that_of_the_environment_that_boxcheck_runs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("mine", "system"):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "bin" / "pip").write_text("#!/bin/sh\n")
        (tmp_path / folder / "bin" / "pip").chmod(0o755)
    mine = tmp_path / "mine" / "bin"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "mine"))
    monkeypatch.setenv("PATH", str(tmp_path / "system" / "bin"))
    said = "a driver; pip install 'boxcheck[opencl]' brings PoCL"
    assert own_pip(said) == f"a driver; {mine}/pip install 'boxcheck[opencl]' brings PoCL"
    assert own_pip(own_pip(said)) == own_pip(said)
    monkeypatch.setenv("PATH", str(mine))
    assert own_pip(said) == said, "the shell finds it"
    monkeypatch.setenv("PATH", str(tmp_path / "system" / "bin"))
    (mine / "pip").unlink()
    assert own_pip(said) == said, "there is none of its own"
