"""What an experiment of boxcheck on this machine has changed and not put back, as the files that it left say.

    <state>/boxcheck/links/<port>.<boot id>.link.json      settings of a link (boxcheck.riser.links.journal)
    <state>/boxcheck/riser/<card>.<boot id>.power.json     a card's power limit (boxcheck.riser.measuring.power_cap)

Read here for doctor and burn-in, which must not take a link that boxcheck itself set to Gen1 for the link as it is.
What another boot left is no change: registers and limits are fresh after a restart.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Literal

import msgspec

from boxcheck.host.common import one_line
from boxcheck.host.locked import is_held
from boxcheck.model import Bdf

Changed = Literal["link", "power"]
SUFFIXES: dict[Changed, str] = {"link": ".link.json", "power": ".power.json"}
FOLDERS: dict[Changed, str] = {"link": "links", "power": "riser"}
LOCK = "links"
"""In the folder of links: held by whoever works on one now."""
UNKNOWN_BOOT = "unknown"
_NAME = {kind: re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\.([0-9a-zA-Z-]{1,64})" + re.escape(suffix))
         for kind, suffix in SUFFIXES.items()}
_LARGEST_BYTES = 256 << 10


class LeftChanged(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that waits to be put back."""

    kind: Changed
    bdf: Bdf
    """Port of the link, or card."""
    what: str = ""
    """The experiment, in words; empty where the file does not tell."""
    at_work: bool = False
    """Somebody works on links now, so it may be meant."""


class _Told(msgspec.Struct):
    """What is read of either file."""

    what: str = ""


def name_of(kind: Changed, bdf: Bdf, boot: str) -> str:
    return f"{bdf}.{boot or UNKNOWN_BOOT}{SUFFIXES[kind]}"


def parse_name(kind: Changed, name: str) -> tuple[Bdf, str] | None:
    """Function and boot id of a file of that kind; None for another file."""
    parts = _NAME[kind].fullmatch(name)
    return None if parts is None else (Bdf(parts[1]), parts[2])


def left_changed(state: str, boot: str) -> tuple[LeftChanged, ...]:
    """All that waits below a state directory. `boot`: this boot's id; empty: files of any boot count. OSError where a
    folder is there and cannot be listed."""
    found: list[LeftChanged] = []
    for kind, sub in FOLDERS.items():
        folder = os.path.join(state, "boxcheck", sub)
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            parsed = parse_name(kind, name)
            if parsed is None or (boot and parsed[1] not in (boot, UNKNOWN_BOOT)):
                continue
            found.append(LeftChanged(
                kind=kind, bdf=parsed[0], what=_what(os.path.join(folder, name)),
                at_work=kind == "link" and is_held(os.path.join(folder, LOCK))))
    return tuple(found)


def _what(path: str) -> str:
    """Nothing where it cannot be told: that something waits is what counts."""
    with suppress(OSError, ValueError, msgspec.MsgspecError):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            told = msgspec.json.decode(os.read(file, _LARGEST_BYTES), type=_Told)
        finally:
            os.close(file)
        return one_line(told.what)[:80]
    return ""
