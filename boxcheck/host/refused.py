"""A write to the machine that was not made, and why: what the live machine and simulated ones raise alike."""

from __future__ import annotations

from typing import Literal

Size = Literal[1, 2, 4]
"""Bytes of one access to config space."""

RefusedKind = Literal[
    "permission",  # not root
    "lockdown",  # kernel lockdown (Secure Boot) forbids writes to config space even to root
    "gone",  # the function does not answer, or left
    "busy",  # the kernel says no for now (EAGAIN, EBUSY)
    "unsupported",  # no such register or attribute here
    "error",
]


class Refused(Exception):
    """A write that was not made, in a sentence: `says`, and what to do: `help`."""

    def __init__(self, kind: RefusedKind, says: str, help: str = "") -> None:
        super().__init__(says)
        self.kind, self.says, self.help = kind, says, help
