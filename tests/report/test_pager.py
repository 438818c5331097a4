"""Long texts go through a pager on a terminal, and never else."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys

import pytest

from boxcheck.report import pager

LONG = "".join(f"line {number}\n" for number in range(50))


class Screen(io.StringIO):
    """What is written past the pager, of a stream that says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user with a terminal of 24 lines."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name, value in {"LINES": "24", "COLUMNS": "80", "TERM": "xterm", "PAGER": "sed s/^/paged:/"}.items():
        monkeypatch.setenv(name, value)


def shown(text: str, capfd: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What was written as it is, and what the pager wrote."""
    screen, before = Screen(), sys.stdout
    sys.stdout = screen  # here, and not in a fixture: pytest sets it between that and the test
    try:
        pager.page(text)
    finally:
        sys.stdout = before
    return screen.getvalue(), capfd.readouterr().out


def test_a_long_text_is_paged(capfd: pytest.CaptureFixture[str]) -> None:
    assert shown(LONG, capfd) == ("", LONG.replace("line", "paged:line"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("name", "value"), [
    ("LINES", "60"), ("TERM", "dumb"), ("PAGER", "no-such-program"), ("PAGER", "less '")])
def test_where_it_fits_or_nobody_can_page_it_is_written(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str,
) -> None:
    monkeypatch.setenv(name, value)
    assert shown(LONG, capfd) == (LONG, "")


def test_root_gets_none(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert shown(LONG, capfd) == (LONG, "")


def test_a_pager_that_is_left_early_is_no_error(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PAGER", "true")
    assert shown(LONG * 20_000, capfd) == ("", "")  # more than a pipe holds


def test_a_pipe_is_never_paged() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck", "explain", "pcie.link-width"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PAGER": "sed s/^/paged:/", "TERM": "xterm", "LINES": "2"})
    assert done.stdout.startswith("pcie.link-width\n")
