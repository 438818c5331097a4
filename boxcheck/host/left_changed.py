"""What an experiment of boxcheck on this machine has changed and not put back, as the files that it left say.

    <state>/boxcheck/links/<port>.<boot id>.link.json      settings of a link (boxcheck.riser.links.journal)
    <state>/boxcheck/riser/<card>.<boot id>.power.json     a card's power limit (boxcheck.riser.measuring.power_cap)
    /run/boxcheck/                                         marks of both, of any user's state (boxcheck.host.marks)

Read here for doctor and burn-in, which must not take a link that boxcheck itself set to Gen1 for the link as it is.
What another boot left is no change: registers and limits are fresh after a restart. They are not where one kernel
started the next by itself (kexec): that resets nothing.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Literal

import msgspec

from boxcheck.host.common import one_line
from boxcheck.host.locked import is_box_held, is_held
from boxcheck.host.marks import marks
from boxcheck.model import Bdf

Changed = Literal["link", "power"]
SUFFIXES: dict[Changed, str] = {"link": ".link.json", "power": ".power.json"}
FOLDERS: dict[Changed, str] = {"link": "links", "power": "riser"}
LOCK = "links"
"""In the folder of links: held by whoever works on one now."""
UNKNOWN_BOOT = "unknown"
BOOTLOADER = "/proc/sys/kernel/bootloader_type"
KEXEC = 0xD
"""In its upper four bits (Linux Documentation/arch/x86/boot.rst, type_of_loader)."""
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
    """Somebody works on links or loads the box now, so it may be meant."""


class _Told(msgspec.Struct):
    """What is read of either file."""

    what: str = ""


def name_of(kind: Changed, bdf: Bdf, boot: str) -> str:
    """Name of the file that keeps what was changed; `parse_name` takes it apart."""
    return f"{bdf}.{boot or UNKNOWN_BOOT}{SUFFIXES[kind]}"


def parse_name(kind: Changed, name: str) -> tuple[Bdf, str] | None:
    """Function and boot id of a file of that kind; None for another file."""
    parts = _NAME[kind].fullmatch(name)
    return None if parts is None else (Bdf(parts[1]), parts[2])


def is_over(kept: str, boot: str) -> bool:
    """Whether what was changed in one boot is so no longer in this one. `boot`: empty where it is not known."""
    return bool(boot) and kept not in (boot, UNKNOWN_BOOT) and not _by_kexec()


def _by_kexec() -> bool:
    """Told on x86 alone."""
    try:
        with open(BOOTLOADER, encoding="ascii") as stream:
            return int(stream.read(16)) >> 4 == KEXEC
    except (OSError, ValueError):
        return False


def left_changed(state: str, boot: str) -> tuple[LeftChanged, ...]:
    """All that waits below a state directory, and all that is marked for the whole machine. `boot`: this boot's id;
    empty: files of any boot count. OSError where a folder is there and cannot be listed."""
    found: dict[tuple[Changed, Bdf], LeftChanged] = {}
    working = is_box_held()
    for kind, sub in FOLDERS.items():
        folder = os.path.join(state, "boxcheck", sub)
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            names = []
        for name in names:
            parsed = parse_name(kind, name)
            if parsed is not None and not is_over(parsed[1], boot):
                found[kind, parsed[0]] = LeftChanged(
                    kind=kind, bdf=parsed[0], what=_what(os.path.join(folder, name)),
                    at_work=working or (kind == "link" and is_held(os.path.join(folder, LOCK))))
        for name, mark in marks().items():
            parsed = parse_name(kind, name)
            if parsed is not None and not is_over(parsed[1], boot):
                found.setdefault((kind, parsed[0]), LeftChanged(
                    kind=kind, bdf=parsed[0], what=one_line(mark.what)[:80], at_work=working))
    return tuple(found.values())


def folders_of(kind: Changed, own: str) -> tuple[str, ...]:
    """Where what was changed is written down: in one's own folder, and in those that marks name. OSError as above."""
    named = [mark.folder for name, mark in marks().items() if parse_name(kind, name) is not None and mark.folder]
    return tuple(dict.fromkeys((own, *named)))


def _what(path: str) -> str:
    """Nothing where it cannot be told: that something waits is what counts."""
    with suppress(OSError, ValueError, RecursionError, msgspec.MsgspecError):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            told = msgspec.json.decode(os.read(file, _LARGEST_BYTES), type=_Told)
        finally:
            os.close(file)
        return one_line(told.what)[:80]
    return ""
