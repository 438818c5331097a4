"""Readers of tools' output, and the words by which each is found.

A reader is a module with three functions:

    begins(line)            the variant (`lspci -vvv`) when this line begins an output of its tool, else None
    belongs(variant, line)  whether a later line is still part of it; blank lines are never asked
    read(section)           the Evidence; never raises on any content

and, for tools that print JSON or XML, `read_json(value) -> Evidence | None` for a whole file.

Lines come clean (no control characters, no quote marks), tabs kept. A reader is imported when one of its words was
found, so the words should be rare in a kernel log; they only say that a line may begin an output.
"""

from __future__ import annotations

from typing import NamedTuple


class Tool(NamedTuple):
    """Where a reader is, and what finds it."""

    module: str
    """Below `boxcheck.triage.tools`."""
    anchors: tuple[str, ...]
    """One of these is on every line that begins an output."""


TOOLS: tuple[Tool, ...] = (
)
"""The order decides between readers that claim the same line."""

JSON_READERS: tuple[str, ...] = ()
"""Modules with a `read_json`."""
