"""Steps name boxcheck as it can be called here, like the last lines of the account; for a capture they stay general."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from boxcheck.account import Account
from boxcheck.commands.doctor import Options, examine
from boxcheck.report.command import COMMANDS, runnable, under_sudo
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


def test_every_command_is_made_runnable() -> None:
    from boxcheck.cli import _name_of, app

    names = {_name_of(info) for info in app.registered_commands} | {str(info.name) for info in app.registered_groups}
    assert set(COMMANDS) == names


@pytest.mark.parametrize("text", ["boxcheck watch --pid 1", "a, boxcheck certify --resume; sudo boxcheck watch -- x", "sudo boxcheckers"])
def test_what_needs_root_is_found_by_sudo(called: str, text: str) -> None:
    assert under_sudo(text) == text.replace("sudo boxcheck ", f"sudo {called} ")


def test_a_printed_sudo_command_runs_where_sudo_looks(tmp_path: Path) -> None:
    """sudo's PATH (sudoers(5), secure_path) and nothing of the user's environment; sudo itself is left out of the line."""
    import os
    import shlex
    import subprocess

    program = Path(sys.executable).parent / "boxcheck"
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "COLUMNS": "200", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    asked = "import os; os.geteuid = lambda: 1000; import sys; from boxcheck.report.command import command_line; print(command_line('checks', root=True))"
    for called, words in ((str(program), ["-c", f"import sys; sys.argv = [{str(program)!r}]; {asked}"]),
                          ("-m", ["-c", f"import boxcheck.__main__ as m, sys; sys.argv = [m.__file__]; {asked}"])):
        line = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
        first, *rest = shlex.split(line)
        assert first == "sudo", called
        done = subprocess.run(
            rest, cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}, capture_output=True, text=True, timeout=60,
            check=False)
        assert done.returncode == 0, done.stderr
        assert "pcie.link-width" in done.stdout


def test_an_error_names_what_sudo_finds(called: str, capsys: pytest.CaptureFixture[str]) -> None:
    from boxcheck.cli_errors import say

    say("reading /dev/nvme0n1 needs root", "sudo boxcheck stress run nvme, or boxcheck doctor")
    assert capsys.readouterr().err.endswith(f"help: sudo {called} stress run nvme, or boxcheck doctor\n")
