"""Asks for the fields of an identity on a terminal, by a person or a barcode scanner.

A scanner is a keyboard: fast keys, then Enter as CR, LF or both. The terminal makes each a line feed (ICRNL,
termios(3)), so that CR and LF end a second, empty line: what comes within a moment of a line and is empty belongs to
its end.
"""

from __future__ import annotations

import os
import select
import termios
from collections.abc import Callable
from typing import TextIO

MOMENT_SECONDS = 0.06
"""A scanner sends a key every few milliseconds; nobody presses Enter again so fast."""
LINE_LIMIT_BYTES = 4096
"""The longest line that a terminal gives (N_TTY, drivers/tty/n_tty.c)."""


class Left(Exception):
    """Whoever was asked has left: the end of the input, or q."""


class Prompts:
    """One terminal: what is asked goes to `out`."""

    def __init__(self, file: int, out: TextIO) -> None:
        self._file, self._out = file, out
        self._ahead: list[bytes] = []

    def ask(self, prompt: str, default: str, why_not: Callable[[str], str]) -> str:
        """The answer, asked for until it is one. Nothing typed takes the default. Left where the input ends."""
        while True:
            print(f"{prompt}{f' [{default}]' if default else ''}: ", end="", file=self._out, flush=True)
            line = self._line()
            try:
                text = line.decode("utf-8").strip(" \t\r\n") or default
            except UnicodeDecodeError:
                print("  it is no UTF-8; once more", file=self._out)
                continue
            refused = why_not(text)
            if not refused:
                return text
            print(f"  {_shown(refused)}; once more", file=self._out)

    def _line(self) -> bytes:
        line = self._ahead.pop(0) if self._ahead else os.read(self._file, LINE_LIMIT_BYTES)
        if not line:
            raise Left
        while not self._ahead and select.select([self._file], [], [], MOMENT_SECONDS)[0]:
            more = os.read(self._file, LINE_LIMIT_BYTES)
            if more.strip(b"\r\n"):
                self._ahead.append(more)
            elif not more:
                break
        return line

    def start(self, says: str) -> None:
        """Waits for the one key that starts: Enter. Left for q. What was typed before it was asked does not count."""
        import tty

        before = termios.tcgetattr(self._file)
        self._ahead.clear()
        try:
            tty.setcbreak(self._file, termios.TCSAFLUSH)
            print(says, end="", file=self._out, flush=True)
            while True:
                key = os.read(self._file, 1)
                if key in (b"\r", b"\n"):
                    return
                if key in (b"", b"q", b"Q", b"\x04"):
                    raise Left
        finally:
            termios.tcsetattr(self._file, termios.TCSADRAIN, before)
            print(file=self._out)


def _shown(text: str) -> str:
    return text.encode("unicode_escape").decode() if not text.isprintable() else text
