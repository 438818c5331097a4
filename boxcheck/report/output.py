"""Where reports go: standard output for `-`, else a file, written whole or not at all."""

from __future__ import annotations

import os
import sys


def write_output(place: str, data: str) -> None:
    """Writes `data` to a file or, for `-`, to standard output. OSError when the file cannot be written."""
    if place == "-":
        sys.stdout.write(data if data.endswith("\n") else data + "\n")
        sys.stdout.flush()
        return
    if not os.path.isdir(os.path.dirname(os.path.abspath(place))):
        raise FileNotFoundError(2, "no such directory", os.path.dirname(os.path.abspath(place)))
    if os.path.exists(place) and not os.path.isfile(place):  # /dev/stderr, a named pipe
        with open(place, "w", encoding="utf-8") as stream:
            stream.write(data)
        return
    beside = f"{place}.{os.getpid()}.part"
    try:
        with open(beside, "w", encoding="utf-8") as stream:
            stream.write(data if data.endswith("\n") else data + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, place)
    except OSError as error:
        if os.path.exists(beside):
            os.unlink(beside)
        error.filename = place
        raise
