"""What a terminal can show, by what it says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from boxcheck.commands.tui import _given

SCRIPT = """
from boxcheck.commands.tui import START, _look
print(_look(START).ascii)
"""


@pytest.mark.parametrize(("locale", "ascii"), [
    ({"LANG": "C"}, True), ({}, True), ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False), ({"LANG": "C.UTF-8"}, False),
    ({"LANG": "C.UTF-8", "LC_ALL": "POSIX"}, True), ({"LANG": "C.UTF-8", "TERM": "vt100"}, True),
    ({"LANG": "C.UTF-8", "TERM": "linux"}, True)])
def test_ascii_is_by_the_locale_that_was_given_and_not_by_what_python_makes_of_it(
    locale: dict[str, str], ascii: bool
) -> None:
    """In the C locale Python sets LC_CTYPE to one of UTF-8, for itself and all that it starts."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", **locale},
        capture_output=True, text=True, timeout=30.0, check=True)
    assert done.stdout.strip() == str(ascii)


def test_an_environment_is_read_as_it_was_given(tmp_path: Path) -> None:
    place = tmp_path / "environ"
    place.write_bytes(b"LANG=C\0X=a=b\0\xff=\xff\0\0")
    assert _given(str(place)) == {"LANG": "C", "X": "a=b", "\ufffd": "\ufffd"}
    assert _given(str(tmp_path / "none")) is os.environ
