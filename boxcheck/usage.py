"""Errors of use: a bad option, an unknown name. Exit code 2."""

from __future__ import annotations

from collections.abc import Iterable


class UsageError(Exception):
    """One clear sentence, and in `help` what to do."""

    code = 2
    """Exit code."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


class NothingThereError(UsageError):
    """What was asked for can be done, and this machine has nothing to do it with: no other command line is the cure."""

    code = 3


def closest(word: str, known: Iterable[str]) -> str:
    """The known name that was probably meant: one that is near, or the only one that begins so; empty for none."""
    from difflib import get_close_matches

    names = list(known)
    found = get_close_matches(word[:80], names, n=1, cutoff=0.6)
    begun = [name for name in names if len(word) > 1 and name.lower().startswith(word.lower())]
    return found[0] if found else begun[0] if len(begun) == 1 else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean pcie.link-width?`, or nothing when no name is near."""
    found = closest(word, known)
    return f"did you mean {found}?" if found else ""
