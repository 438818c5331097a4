"""JSON of tools within a text: below a prompt, between other outputs, one document after another."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

MOST_TRIES = 64
"""Places that look like a beginning and are none. A text of a log's records has many."""
MOST_TEXTS = 10_000
_BEGINS = re.compile(r"^[ \t]{0,80}([\[{])(?=[ \t\r]*$|[ \t]*[\[{\"])", re.MULTILINE)
_MARKS = re.compile(rb'"(?:gpu|gpu_data|card\d{1,3}|DCGM (?:GPU )?Diagnostic|Health Monitor Report|nvbandwidth)"')


def may_hold(block: bytes) -> bool:
    """Whether a block names what the documents of known tools hold."""
    return _MARKS.search(block) is not None


def take_out(text: bytes, take: Callable[[object, int], bool]) -> tuple[bytes, int | None]:
    """Offers each document to `take`, with the line it begins at; what it takes is blanked out, so that all else keeps
    its line. The second value is the line of a document of a known tool that has no end."""
    whole = text.decode("utf-8", "surrogateescape")
    decoder = json.JSONDecoder()
    kept: list[str] = []
    at, tries, open_at = 0, 0, None
    line, counted = 1, 0
    for found in _BEGINS.finditer(whole):
        start = found.start(1)
        if start < at:
            continue
        line, counted = line + whole.count("\n", counted, start), start
        try:
            value, end = decoder.raw_decode(whole, start)
        except (ValueError, RecursionError):
            if open_at is None and _MARKS.search(whole[start:start + 4096].encode("utf-8", "surrogateescape")):
                open_at = line
            tries += 1
            if tries >= MOST_TRIES:
                break
            continue
        if not take(value, line):
            tries += 1
            if tries >= MOST_TRIES:
                break
            continue
        kept += [whole[at:start], "\n" * whole.count("\n", start, end)]
        at, open_at = end, None
    kept.append(whole[at:])
    return "".join(kept).encode("utf-8", "surrogateescape"), open_at


def texts_in(value: object) -> bytes:
    """The strings of several lines in a document that no reader knows (`{"log": "...\\n..."}`), one below another."""
    found: list[str] = []
    waiting = [value]
    while waiting and len(found) < MOST_TEXTS:
        here = waiting.pop()
        if isinstance(here, str) and "\n" in here.strip("\n"):
            found.append(here if here.endswith("\n") else f"{here}\n")
        elif isinstance(here, dict):
            waiting += reversed(list(here.values()))
        elif isinstance(here, list):
            waiting += reversed(here)
    return "".join(found).encode("utf-8", "replace")
