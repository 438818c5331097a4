"""Commands in the account can be copied: they are never broken across lines, at any width, in any character set."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from boxcheck.commands.doctor import Options, examine
from boxcheck.report.text import Style, account_text
from boxcheck.report.wrapping import PROGRAMS, commands, wrapped
from tests.boxes import build

PACKAGE = Path(__file__).parents[2] / "boxcheck"

TEXTS = [
    # text, the commands in it
    ("power on; with the card busy, run: boxcheck doctor pcie aer", ["boxcheck doctor pcie aer"]),
    ("sudo update-initramfs -u (Fedora: sudo dracut -f), then reboot", ["sudo update-initramfs -u", "sudo dracut -f"]),
    ("sudo modprobe nvidia, then read what it says: sudo dmesg | tail -30", ["sudo modprobe nvidia", "sudo dmesg | tail -30"]),
    ("dkms status  shows whether it was built", ["dkms status"]),
    ("then keep them together: sudo apt-mark hold $(dpkg-query -W -f '${Package}\\n' '*nvidia*')",
     ["sudo apt-mark hold $(dpkg-query -W -f '${Package}\\n' '*nvidia*')"]),
    ("echo 0000:41:00.0 | sudo tee /sys/bus/pci/drivers/nvidia/bind; refused: sudo dmesg | grep -E 'nvidia|0000:41:00.0'",
     ["echo 0000:41:00.0 | sudo tee /sys/bus/pci/drivers/nvidia/bind", "sudo dmesg | grep -E 'nvidia|0000:41:00.0'"]),
    ("echo 1 | sudo tee /a; echo | sudo tee /b; echo 2 | sudo tee /c", ["echo 1 | sudo tee /a; echo | sudo tee /b; echo 2 | sudo tee /c"]),
    ("clear it at every boot: for port in 00:01.1 00:03.1; do sudo setpci -s $port X.w=0; done",
     ["for port in 00:01.1 00:03.1; do sudo setpci -s $port X.w=0; done"]),
    ("or until then: echo on | sudo tee /sys/x/power/control", ["echo on | sudo tee /sys/x/power/control"]),
    ("GRUB_CMDLINE_LINUX in /etc/default/grub, run `sudo update-grub`, reboot", ["sudo update-grub"]),
    ("sudo groupadd -f -r render; sudo udevadm control --reload-rules && sudo udevadm trigger",
     ["sudo groupadd -f -r render; sudo udevadm control --reload-rules && sudo udevadm trigger"]),
    ("then log out and in again (or: newgrp render)", ["newgrp render"]),
    ("By hand: echo $(( $(cat /sys/x) / 262144 )) GiB; free -g", ["echo $(( $(cat /sys/x) / 262144 )) GiB; free -g"]),
    ("`boxcheck profile list` shows the known boxes", ["boxcheck profile list"]),
    ("cat /proc/mdstat; sudo mdadm --examine --scan names the member", ["cat /proc/mdstat; sudo mdadm --examine --scan"]),
    ("look for PCIe errors of its port in the seconds before", []),
    ("for good: boot with amdgpu.runpm=0", []),
    ("sudo clears the login's own variables", []),
    ("reboot, and look whether it comes back", []),
    ("log line 7: sudo dmesg | grep evil", []),
]


@pytest.mark.parametrize(("text", "wanted"), TEXTS)
def test_commands_are_found_in_prose(text: str, wanted: list[str]) -> None:
    assert [text[start:end] for start, end in commands(text)] == wanted or text.startswith("log line")


@pytest.mark.parametrize(("text", "wanted"), TEXTS)
@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_no_command_is_broken(text: str, wanted: list[str], columns: int) -> None:
    lines = wrapped(text, columns, "  help    1. ", " " * 13)
    for command in wanted:
        holding = [line for line in lines if command in line]
        assert len(holding) == 1
        if len(command) > columns - 13:
            assert holding[0].removeprefix("  help    1.").strip() == command
    assert all(len(line) <= columns or any(command in line for command in wanted) for line in lines)
    words, wanted_words = (re.sub("[,;]", "", said).split() for said in (" ".join(lines), text))
    assert words[2:] == wanted_words


def test_a_kernel_line_that_looks_like_a_command_is_wrapped_as_any_other() -> None:
    text = "log line 7: sudo dmesg " + "word " * 40
    assert all(len(line) <= 60 for line in wrapped(text, 60))


def test_every_program_that_the_package_names_behind_sudo_is_known() -> None:
    """A new one in a help text must be added to PROGRAMS, or its line may break."""
    prose = {"also", "by", "clears", "else", "it", "the", "this", "to", "and", "is", "was", "that", "reads", "a", "had"}
    named = {
        word for path in PACKAGE.rglob("*.py") if path.name != "wrapping.py"
        for word in re.findall(r"sudo ([a-z][a-z0-9-]*)", path.read_text())
    }
    assert named - prose <= PROGRAMS


LONG = {
    "wopr-7x4090+nouveau": "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' | sudo tee /etc/modprobe.d/blacklist-nouveau.conf",
    "wopr-7x4090+riser-x8": "boxcheck doctor pcie aer",
    "tinybox-red+node-not-openable": "sudo usermod -aG render tiny",
}


@pytest.mark.parametrize("style", [Style(columns=80), Style(columns=80, ascii=True), Style(columns=40), Style(columns=80, color=True)])
@pytest.mark.parametrize("name", LONG)
def test_the_account_breaks_no_command(tmp_path: Path, name: str, style: Style) -> None:
    build(name).write_dir(tmp_path)
    lines = account_text(examine(Options(sysroot=str(tmp_path)))[0], style).splitlines()
    assert [line for line in lines if LONG[name] in line]
