"""The commands of docs/how-to/verify-a-report.md run as they are printed, for the maker and for the buyer."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.certify.attempt import attempt

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "verify-a-report.md"
COMMANDS = re.findall(r"^    (\S.*)$", PAGE.read_text(), re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")


def command(begins: str) -> str:
    found, = [one for one in COMMANDS if one.startswith(begins)]
    return found


class Shell:
    """A user with a home of their own, and `boxcheck` in their path."""

    def __init__(self, top: Path) -> None:
        self.top = top
        (top / "bin").mkdir()
        (top / "bin" / "boxcheck").write_text(f'#!/bin/sh\nexec {sys.executable} -m boxcheck "$@"\n')
        (top / "bin" / "boxcheck").chmod(0o755)
        self.environment = {
            "HOME": str(top), "PATH": f"{top / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2]),
            "LC_ALL": "C.UTF-8"}

    def run(self, words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", words], cwd=folder or self.top, env=self.environment, capture_output=True, text=True, timeout=60)

    def typed(self, words: str, *answers: str) -> tuple[int, str]:
        """At a terminal: an answer for each prompt."""
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(self.top)
            os.execvpe("bash", ["bash", "-c", words], self.environment)
        said, left, until = "", list(answers), time.monotonic() + 60
        while time.monotonic() < until:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    said += os.read(terminal, 4096).decode("utf-8", "replace")
                except OSError:
                    break
                # A prompt ends its line. What is typed before the next one is thrown away by ssh-keygen.
                if left and said.rstrip(" ").endswith(":"):
                    os.write(terminal, f"{left.pop(0)}\n".encode())
                    said += "\n"
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The maker has made a key with a passphrase, allowed it, and signed; all at a terminal."""
    shell = Shell(tmp_path_factory.mktemp("home"))
    code, said = shell.typed(command("boxcheck keys new"), "correct horse", "correct horse")
    assert code == 0, said
    done = shell.run(command("boxcheck keys allow"))
    assert done.returncode == 0, done.stderr
    (shell.top / ".config" / "boxcheck" / "allowed_signers").write_text(done.stdout)
    attempt(shell.top / "attempt-01")
    code, said = shell.typed(command("boxcheck report sign attempt-01 --key"), "wrong horse")
    assert code != 0, said
    code, said = shell.typed(command("boxcheck report sign attempt-01 --key"), "correct horse")
    assert code == 0, said
    return shell


def test_the_buyer_verifies_with_boxcheck(shell: Shell) -> None:
    done = shell.run(command("boxcheck report verify"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VERIFIED\n  PASS of box W-0007: signed by quality@maker.example")
    fingerprint, = re.findall("SHA256:[^ ]{43}", shell.run(command("cut -d")).stdout)
    assert fingerprint in done.stdout
    assert f"{fingerprint}  ed25519  may sign as quality@maker.example" in shell.run("boxcheck keys").stdout


def test_the_buyer_verifies_without_boxcheck(shell: Shell) -> None:
    folder = shell.top / "attempt-01"
    done = shell.run(command("ssh-keygen -Y verify"), folder)
    assert done.returncode == 0
    assert done.stdout.startswith('Good "boxcheck-acceptance@v1" signature for quality@maker.example')
    done = shell.run(command("grep -o "), folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK\n") == 9
    assert shell.run(command("find . "), folder).stdout == ""
    assert '"disposition":"PASS"' in shell.run(command("grep -oE "), folder).stdout


def test_without_boxcheck_changes_are_seen_too(shell: Shell, tmp_path: Path) -> None:
    folder = shutil.copytree(shell.top / "attempt-01", tmp_path / "copy")
    (folder / "evidence" / "more").write_text("x")
    (folder / "kernel.log").write_text("x")
    assert shell.run(command("find . "), folder).stdout == "evidence/more\n"
    (folder / "kernel.log\n..report.html").write_text("x")  # its second line, cut, is a name that the manifest has
    assert "kernel.log?..report.html" in shell.run(command("find . "), folder).stdout
    done = shell.run(command("grep -o "), folder)
    assert done.returncode != 0
    assert "kernel.log: FAILED" in done.stdout
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes().replace(b"W-0007", b"W-0008"))
    assert shell.run(command("ssh-keygen -Y verify"), folder).returncode != 0


def test_every_other_command_of_the_page_is_one(shell: Shell) -> None:
    """`--agent` without an agent: the command is taken, and says what it lacks."""
    done = shell.run(command("boxcheck report sign attempt-01 --agent"))
    assert (done.returncode, "signed already" in done.stderr) == (2, True)
    assert len(COMMANDS) == 11
