"""TOML files that a station keeps: identities, patterns, waivers. Every mistake is a UsageError that names the file."""

from __future__ import annotations

import os
import stat
from typing import Any

from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

LIMIT_BYTES = 1 << 20
LINE_LIMIT = 2000
"""Characters; tomllib takes quadratic time over a dotted key."""


def read_table(path: str, what: str) -> dict[str, Any]:
    """The tables of a file. `what`: `identity`, `station`, `waivers`, for the message."""
    import tomllib

    name = f"{what} file {plain_line(path)}"
    try:
        # O_NONBLOCK: opening a pipe must not wait for somebody to write into it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise UsageError(f"{name}: is no file", "name a TOML file")
            data = stream.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{name}: {os.strerror(error.errno or 0).lower()}", "name a TOML file") from None
    except ValueError:
        raise UsageError(f"{what} file: a path holds a character that no path can hold", "name a TOML file") from None
    if len(data) > LIMIT_BYTES:
        raise UsageError(f"{name}: larger than {LIMIT_BYTES >> 20} MiB", "name a TOML file")
    try:
        text = data.decode("utf-8")
        if any(len(line) > LINE_LIMIT for line in text.split("\n")):
            raise UsageError(f"{name}: a line longer than {LINE_LIMIT} characters", "break it up")
        return tomllib.loads(text)
    except UnicodeDecodeError:
        raise UsageError(f"{name}: no UTF-8 text", "save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{name}: {plain_line(str(error))[:160]}", "it must be TOML") from None
