"""What the folder of runs tells of this box: what goes on, the last verdict on it, and what went wrong since. Runs of
other boxes lie there too where the folder is shared or was copied; a verdict on another box is none on this one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from boxcheck.engine.box import same_box
from boxcheck.store.errors import StoreError
from boxcheck.store.listing import LARGEST_RECORD_BYTES, RunEntry, list_runs
from boxcheck.store.reader import RunReader
from boxcheck.store.schema import SUFFIX
from boxcheck.tui.look import in_words

IsHere: TypeAlias = Callable[[str], "bool | None"]
"""Whether the run or record of a path was made on this box; None where nobody knows."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    running: RunEntry | None = None
    last: RunEntry | None = None
    """The newest with a verdict that is not known to be of another box."""
    is_here: bool | None = None
    """Whether `last` is of this box; None where nobody knows."""
    crashed: tuple[RunEntry, ...] = ()
    """Newer ones that have no verdict: cut off, most often. The newest first."""
    unread: tuple[RunEntry, ...] = ()
    """Newer ones that cannot be read: whose they are is not known either."""
    others: tuple[RunEntry, ...] = ()
    """Newer ones of other boxes."""
    runs: int = 0
    why: str = ""


def known_of(folder: str, is_here: IsHere | None = None) -> Known:
    """In a thread: it reads records until it finds one with a verdict on this box."""
    is_here = is_here or made_here
    try:
        entries = list_runs(folder)
    except Exception as error:  # noqa: BLE001  said: a thread that dies would read for ever
        return Known(why=in_words(error))
    running = next((one for one in entries if one.state == "running"), None)
    crashed, unread, others = list[RunEntry](), list[RunEntry](), list[RunEntry]()
    for one in entries:
        if one.trouble is not None:
            unread.append(one)
        elif one.state != "running":
            here = is_here(one.path)
            if here is False:
                others.append(one)
            elif one.outcome is None:
                crashed.append(one)
            else:
                last, known = one, here
                break
    else:
        last, known = None, None
    return Known(
        running=running, last=last, is_here=known, crashed=tuple(crashed), unread=tuple(unread), others=tuple(others),
        runs=len(entries))


class _Record(msgspec.Struct):
    box: str = ""


def made_here(path: str) -> bool | None:
    """By the installation that a store names, else by what names the box in it."""
    from boxcheck.engine.resume import is_this_machine  # in a thread, as it reads long

    try:
        if path.endswith(SUFFIX):
            with RunReader(path) as reader:
                found, info = is_this_machine(reader), reader.run().info
            return found if found is not None else is_named_here(info.box or info.host)
        with open(path, "rb") as stream:
            return is_named_here(msgspec.json.decode(stream.read(LARGEST_RECORD_BYTES), type=_Record).box)
    except (StoreError, OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def is_named_here(box: str) -> bool | None:
    """`W1234 (wopr)` or `wopr`, as records have it, beside this machine's own name."""
    host = os.uname().nodename
    return None if not box or not host else same_box(box, host) is True
