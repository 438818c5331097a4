"""The bytes of a profile file: hostile until shown to be plain, finite UTF-8 text that is TOML."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

from boxcheck.profile import Mistake, ProfileError

SIZE_LIMIT_BYTES = 1 << 20
LINE_LIMIT = 2000
"""Characters. tomllib takes quadratic time over a dotted key, so that one absurd line could hang the program."""

_PLACE = re.compile(r"at line (\d+), column \d+")
_HEAD = re.compile(r"\[?([A-Za-z0-9_.-]+)\]")
_INDENTED = re.compile(r"\n[ \t]+\[")


def read_text(path: Path, file: str) -> str:
    """The text of a profile. Raises ProfileError for what is no plain, readable, reasonable UTF-8 file."""
    def refuse(says: str, help: str = "", line: int = 1) -> ProfileError:
        mistake = Mistake(file, line, says, help)
        return ProfileError(str(mistake), help, (mistake,))

    try:
        # O_NONBLOCK: opening a pipe must not wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise refuse("is not a regular file", "name a TOML file")
            data = opened.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        says = (error.strerror or type(error).__name__).lower()
        raise ProfileError(f"profile {file} cannot be read: {says}", "boxcheck profile list names the shipped profiles"
                           ) from None
    except ValueError:
        raise ProfileError("a profile path holds a character that no path can hold", "name a TOML file") from None
    if len(data) > SIZE_LIMIT_BYTES:
        raise refuse(f"larger than {SIZE_LIMIT_BYTES >> 10} KiB, which no profile is")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse("not UTF-8 text", "save the file as UTF-8", line) from None
    long = next((number for number, row in enumerate(text.split("\n"), 1) if len(row) > LINE_LIMIT), None)
    if long is not None:
        raise refuse(f"a line longer than {LINE_LIMIT} characters", "break it up", long)
    return text


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ProfileError with the line of a syntax error."""
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        says, line = "nested too deeply", 1
    except ValueError as error:
        # TOMLDecodeError is a ValueError; so is what int() raises over a number of 5000 digits.
        says = str(error)
        place = _PLACE.search(says)
        line = int(place[1]) if place else text.rstrip("\n").count("\n") + 1
        says = f"not valid TOML: {says.split(' (at ')[0]}"
    says = show_text(says)
    mistake = Mistake(file, line, says, "see https://toml.io for the syntax")
    raise ProfileError(str(mistake), mistake.help, (mistake,))


def tables_of(text: str) -> dict[str, str] | None:
    """The text of each table `[name]`, with its head, and under "" what stands before the first of them; arrays of
    tables are left out. None where only a parser can tell tables apart: strings of several lines, heads that are
    quoted, indented or there twice.

    In what remains, a line that begins with a bracket is a head, or a list in a list. Cut there, that list has no end,
    which a parser refuses.
    """
    if '"""' in text or "'''" in text or _INDENTED.search(text):
        return None
    first, *pieces = f"\n{text}".split("\n[")
    found = {"": first}
    for piece in pieces:
        head = _HEAD.match(piece)
        if head is None or head[1] in found:
            return None
        if not piece.startswith("["):
            found[head[1]] = f"[{piece}\n"
    return found


def show_text(text: str) -> str:
    """A message that may quote hostile text: one line, printable, of sane length."""
    return "".join(character if character.isprintable() else "?" for character in text)[:200]
