"""Steps name boxcheck as it can be called here, like the last lines of the account; for a capture they stay general."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from boxcheck.account import Account
from boxcheck.commands.doctor import Options, examine
from boxcheck.report.command import runnable
from boxcheck.report.text import Style, account_text
from boxcheck.report.wrapping import commands
from tests.boxes import build


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Account:
    folder = tmp_path_factory.mktemp("box")
    build("wopr-7x4090+riser-x8").write_dir(folder)
    return examine(Options(sysroot=str(folder)))[0]


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """boxcheck in a folder that no PATH holds."""
    program = tmp_path / "boxcheck"
    program.write_text("")
    monkeypatch.setattr(sys, "argv", [str(program)])
    return str(program)


@pytest.mark.parametrize("columns", [60, 100])
def test_the_steps_for_this_machine_run_as_they_are_printed(faulty: Account, called: str, columns: int) -> None:
    lines = account_text(msgspec.structs.replace(faulty, live=True), Style(columns=columns)).splitlines()
    assert any(f"{called} doctor pcie aer" in line for line in lines), "whole, on one line"
    assert any(f"why    {called} explain" in line for line in lines)
    assert not [line for line in lines if " boxcheck doctor" in line]


def test_the_steps_for_a_capture_are_for_its_own_box(faulty: Account, called: str) -> None:
    text = account_text(faulty, Style())
    assert " boxcheck doctor pcie aer" in text
    assert f"{called} doctor pcie aer" not in text


@pytest.mark.parametrize(("text", "wanted"), [
    ("run: boxcheck doctor pcie aer", "run: {} doctor pcie aer"), ("sudo boxcheck capture x.tar", "sudo {} capture x.tar"),
    ("what comes with boxcheck is kept", "what comes with boxcheck is kept"),
    ("/opt/boxcheck doctor", "/opt/boxcheck doctor"),
])
def test_only_commands_are_changed(text: str, wanted: str, called: str) -> None:
    assert runnable(text) == wanted.format(called)


@pytest.mark.parametrize("command", [
    "/opt/tools/bin/boxcheck doctor pcie aer", ".venv/bin/boxcheck doctor log -v", "sudo /opt/python -m boxcheck doctor"])
def test_a_command_with_its_path_is_one(command: str) -> None:
    text = f"reseat it, then run: {command}"
    assert [text[start:end] for start, end in commands(text)] == [command]


def test_a_path_is_no_command() -> None:
    assert list(commands("see /etc/mount free of charge and /usr/bin/cat there")) == []
