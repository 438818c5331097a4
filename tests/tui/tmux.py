"""A program in a terminal of tmux, driven by keys: what a person sees, as text. A server of its own, which ends with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

TMUX = shutil.which("tmux")
KEYS = {
    "up": "Up", "down": "Down", "left": "Left", "right": "Right", "enter": "Enter", "escape": "Escape", "space": "Space",
    "ctrl+p": "C-p", "ctrl+c": "C-c", "backspace": "BSpace"}
"""By what the page calls them; all others are characters."""
WAIT_SECONDS = 15.0


class Wrong(Exception):
    """The screen is not what it should be."""


class Terminal:
    """One pane. The program's exit code stands in its last line when it is over: `exit code 3`."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], size: tuple[int, int], *, term: str = "xterm-256color"
    ) -> None:
        assert TMUX is not None
        self._socket = f"boxcheck-{os.getpid()}-{time.monotonic_ns()}"
        self.size, self.pressed = size, 0
        line = " ".join(map(_quoted, ("env", "-i", *(f"{name}={value}" for name, value in {
            **environment, "TERM": term}.items()), *words)))
        self._call(
            "-f", "/dev/null", "new-session", "-d", "-s", "it", "-x", str(size[0]), "-y", str(size[1]),
            f"{line}; echo exit code $?; exec cat")
        self._call("set-option", "-t", "it", "status", "off")
        self.resize(*size)

    def _call(self, *words: str) -> str:
        done = subprocess.run(
            [str(TMUX), "-L", self._socket, *words], capture_output=True, text=True, timeout=20.0, check=False)
        if done.returncode:
            raise Wrong(f"tmux {words[0]}: {done.stderr.strip()}")
        return done.stdout

    def press(self, *keys: str) -> None:
        for key in keys:
            self._call("send-keys", "-t", "it", *((KEYS[key],) if key in KEYS else ("-l", key)))
            self.pressed += 1

    def resize(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._call("resize-window", "-t", "it", "-x", str(width), "-y", str(height))

    def lines(self) -> list[str]:
        return self._call("capture-pane", "-p", "-t", "it").split("\n")[:-1]

    def text(self) -> str:
        return "\n".join(self.lines())

    def coloured(self) -> str:
        """With the escapes that colour it."""
        return self._call("capture-pane", "-e", "-p", "-t", "it")

    def until(self, holds: Callable[[str], bool], what: str, seconds: float = WAIT_SECONDS) -> str:
        """Its text once that holds; Wrong where it does not come to it."""
        end = time.monotonic() + seconds
        while True:
            text = self.text()
            if "Traceback" in text:
                raise Wrong(f"a traceback, and not {what}:\n{text}")
            if holds(text):
                return text
            if time.monotonic() > end:
                raise Wrong(f"{what} did not come within {seconds:.0f} s:\n{text}")
            time.sleep(0.05)

    def wait_for(self, *words: str, seconds: float = WAIT_SECONDS) -> str:
        return self.until(lambda text: all(word in text for word in words), " and ".join(words), seconds)

    def wait_gone(self, *words: str, seconds: float = WAIT_SECONDS) -> str:
        return self.until(
            lambda text: not any(word in text for word in words), f"the end of {', '.join(words)}", seconds)

    def hang_up(self) -> None:
        """Closes the terminal, as a lost connection does."""
        self._call("kill-server")

    def end(self) -> None:
        subprocess.run(
            [str(TMUX), "-L", self._socket, "kill-server"], capture_output=True, timeout=20.0, check=False)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


BORDERS = {"│": "│", "|": "|", "╭": "╮", "╰": "╯"}


def misaligned(lines: Sequence[str], width: int) -> list[str]:
    """What is not as wide as the screen, or does not stand under its title; each in words."""
    found = []
    for line in lines:
        if len(line) > width:
            found.append(f"longer than {width} columns: {line}")
        ends = BORDERS.get(line[:1])
        if ends is not None and not (len(line) == width and line.endswith((ends, "+"))):
            found.append(f"its frame is open: {line}")
    title = next((place for place, line in enumerate(lines) if " slot " in line and line.rstrip(" │|").endswith("state")), None)
    if title is not None:
        column = lines[title].rstrip(" │|").rindex("state")
        for line in lines[title + 1:]:
            if line[:1] not in BORDERS or line[:1] in "╰":
                break
            if line[column - 1:column] != " " or line[column:column + 1] in ("", " "):
                found.append(f"its state does not stand under `state`: {line}")
    return found


def not_ascii(text: str) -> str:
    return "".join(sorted({one for one in text if ord(one) > 126}))
