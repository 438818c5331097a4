"""A terminal that shows ASCII alone: nothing breaks, accounts are ASCII, data stays UTF-8. And times are UTC everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

C_LOCALE = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run(home: Path, *words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "boxcheck", *words], capture_output=True, timeout=120, stdin=subprocess.DEVNULL,
        env={**os.environ, **C_LOCALE, "XDG_STATE_HOME": str(home), **more})


@pytest.mark.parametrize(("words", "code"), [
    (("demo", "doctor", "wopr", "-vv"), 0), (("demo", "report", "-v"), 0), (("demo", "triage", "-v"), 0),
    (("demo", "riser"), 0), (("profile", "show", "strix-halo"), 0), (("explain", "pcie.link-width"), 0), (("checks",), 0),
    (("stress", "list"), 0), (("runs",), 0), (("burn", "--backend", "cpu", "--dry-run"), 0),
    (("explain", "nö"), 2), (("dóctor",), 2), (("doctor", "--pröfile"), 2), (("judge", "lästig"), 2),
    (("doctor", "--sysroot", "böx.tar"), 2),
], ids=lambda one: " ".join(one) if isinstance(one, tuple) else str(one))
def test_accounts_and_errors_are_ascii(words: tuple[str, ...], code: int, tmp_path: Path) -> None:
    done = run(tmp_path, *words)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert said.isascii()
    assert b"broke" not in done.stderr
    assert said.strip()


def test_what_it_cannot_show_is_what_comes_nearest(tmp_path: Path) -> None:
    text = run(tmp_path, "demo", "doctor", "wopr").stdout.decode("ascii")
    assert re.search(r"CPU up to \d+ C - ", text)  # of `38 °C · `


def test_data_is_utf_8_all_the_same(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "report", "--json", "-")
    assert done.returncode == 0
    assert "°" in done.stdout.decode("utf-8")
    assert json.loads(done.stdout)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns"])
def test_times_are_utc_wherever_one_sits(zone: str, tmp_path: Path) -> None:
    """As the capture of the demo has it: taken at 14:00 UTC, and told as that."""
    done = run(tmp_path, "demo", "doctor", "wopr", TZ=zone)
    assert "14:00:00Z" in done.stdout.decode("ascii")
