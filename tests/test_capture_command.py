"""`boxcheck capture`: what a person sees, and the exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from boxcheck.host.capture import CaptureHost
from boxcheck.host.evidence import script_text
from boxcheck.host.write import members_from
from boxcheck.model import Unread


def boxcheck(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boxcheck", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def test_a_capture_of_this_machine_is_doctored_like_the_machine(tmp_path: Path) -> None:
    done = boxcheck("capture", tmp_path / "box.tar.gz")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/box.tar.gz: " in done.stdout
    assert "--redact replaces them" in done.stdout
    assert "nothing is changed" in done.stderr
    host = CaptureHost(f"{tmp_path}/box.tar.gz")
    assert host.ours
    assert not host.redacted
    assert not isinstance(host.who(), Unread)
    for path in ("/proc/version", "/proc/iomem", "/proc/loadavg"):
        assert isinstance(host.text(path), str), "more than doctor reads"
    assert os.listdir(tmp_path) == ["box.tar.gz"]


def test_captures_are_packed_anew_and_redacted(tmp_path: Path) -> None:
    assert boxcheck("capture", tmp_path / "one.tar.zst").returncode == 0
    done = boxcheck("capture", tmp_path / "two", "--sysroot", tmp_path / "one.tar.zst")
    assert done.returncode == 0, done.stderr
    one, two = (CaptureHost(f"{tmp_path}/{name}") for name in ("one.tar.zst", "two"))
    assert members_from(one) == members_from(two)
    done = boxcheck("capture", tmp_path / "three.tar", "--redact", "--sysroot", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert CaptureHost(f"{tmp_path}/three.tar").redacted
    assert "hashes of this capture only" in done.stdout


def test_the_script_is_printed_as_it_is() -> None:
    done = boxcheck("capture", "--script")
    assert done.returncode == 0
    assert done.stdout == script_text()
    assert done.stdout.startswith("#!/bin/sh\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["capture"], "say where to write the capture"),
        (["capture", "{}/none/box.tar.gz"], "error: {}/none/box.tar.gz: not written: its folder is not there"),
        (["capture", "{}/box.zip"], "a capture is a directory or ends in"),
        (["capture", "{}/box.tar", "--sysroot", "{}/none"], "error: {}/none: no such file"),
        (["capture", "{}/box.tar", "--sysroot", "{}"], "holds no sys/, proc/ or boxcheck/"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = boxcheck(*(argument.replace("{}", str(tmp_path)) for argument in arguments))
    assert done.returncode == 2
    assert says.replace("{}", str(tmp_path)) in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []
