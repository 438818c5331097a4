"""Errors of use: a bad option, an unknown name. Exit code 2."""

from __future__ import annotations

from collections.abc import Iterable


class UsageError(Exception):
    """One clear sentence, and in `help` what to do."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean pcie.link-width?`, or nothing when no name is near."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else ""
