"""Holds a card's power down while something is measured, and puts its limit back however that ends.

    with capped(limiter, folder, part=0.6) as cap: ...

A link that is damaged only at full power suffers from its supply, not from its wires. What the limit was is on the
disk before it is set; what no program can hold (SIGKILL) is put back by `restore_power` at the next start. After a
restart of the machine the limit is the driver's own, and the file is only removed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from boxcheck.host.common import one_line
from boxcheck.host.left_changed import is_over, name_of, parse_name
from boxcheck.host.marks import Mark, mark, unmark
from boxcheck.host.on_disk import sync_folder, write_kept
from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.held_signals import Signals
from boxcheck.riser.links.journal import boot_id
from boxcheck.riser.links.ports import Refused
from boxcheck.riser.measuring.power_limits import SAME_WATTS, Limiter

LARGEST_BYTES = 4096
TRIES = 3


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What lies on the disk while a limit is lowered."""

    bdf: Bdf
    vendor: str
    watts: float


class Cap(msgspec.Struct, kw_only=True):
    """A limit that is lowered."""

    bdf: Bdf
    watts: float
    """As the driver took it."""
    held: bool | None = None
    """Whether it was still in force at the end; None before that, and where it was not read."""
    says: str = ""
    """How it was put back."""
    restored: bool | None = None
    stopping: Callable[[], bool] = lambda: False
    """Somebody asked the program to stop. Signals wait while the limit is lowered, so what runs meanwhile asks this."""


@contextmanager
def capped(
    limiter: Limiter, folder: str, *, vendor: str, part: float = 0.6, boot: str | None = None,
    say: Callable[[str], None] = lambda says: None,
) -> Iterator[Cap]:
    """The card at this part of its usual limit, not below the least that it takes. Refused where the limit cannot be
    read, kept on the disk or set: then nothing was changed. What became of it is in the Cap after the end. Ctrl-C and
    its like are noted, told by `Cap.stopping`, and delivered once the limit is back, however often they come."""
    limits = limiter.read()
    if isinstance(limits, Unread):
        raise Refused("unsupported", f"the power of {limiter.bdf} was not limited: {limits.why}")
    usual = limits.default_watts or limits.watts
    wanted = max(usual * part, limits.least_watts or 0.0)
    if wanted >= limits.watts - SAME_WATTS:
        raise Refused("unsupported", f"the power of {limiter.bdf} cannot be limited further: it is at "
                      f"{limits.watts:.0f} W, and {wanted:.0f} W was to be set")
    say(f"the power of {limiter.bdf} is limited to {wanted:.0f} W, from {limits.watts:.0f} W, and set back afterwards")
    signals = Signals()
    signals.hold()
    path = ""
    cap = Cap(bdf=limiter.bdf, watts=wanted, stopping=lambda: signals.stopping)
    try:
        path = _write(folder, Kept(bdf=limiter.bdf, vendor=vendor, watts=limits.watts),
                      boot_id() if boot is None else boot)
        limiter.set(wanted)
        now = limiter.read()
        if isinstance(now, Unread) or abs(now.watts - wanted) > SAME_WATTS:
            told = now.why if isinstance(now, Unread) else f"it is {now.watts:.0f} W"
            raise Refused("error", f"the power limit of {limiter.bdf} did not become {wanted:.0f} W: {told}")
        cap.watts = now.watts
        yield cap
    finally:
        try:
            if path:
                end = limiter.read()
                cap.held = None if isinstance(end, Unread) else abs(end.watts - cap.watts) <= SAME_WATTS
                cap.restored, cap.says = _put_back(limiter, limits.watts)
                if cap.restored:
                    _remove(path)
                else:
                    say(cap.says)
        finally:
            signals.release()


def _put_back(limiter: Limiter, watts: float) -> tuple[bool, str]:
    """Whether the limit is as it was, and in words."""
    why = ""
    for _ in range(TRIES):
        try:
            limiter.set(watts)
        except Refused as error:
            why = error.says
        now = limiter.read()
        if isinstance(now, Unread):
            why = why or now.why
        elif abs(now.watts - watts) <= SAME_WATTS:
            return True, f"the power limit of {limiter.bdf} is {now.watts:.0f} W again"
        else:
            why = why or f"it is {now.watts:.0f} W"
    return False, (f"the power limit of {limiter.bdf} could not be put back to {watts:.0f} W ({why}): "
                   "a restart of the machine does")


def restore_power(
    folder: str, limiter_of: Callable[[Bdf, str], Limiter | Unread], *, boot: str | None = None
) -> tuple[str, ...]:
    """Puts back the limits that an earlier start left lowered, a sentence each; one where nobody can tell whether there
    are any."""
    boot = boot_id() if boot is None else boot
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return ()
    except OSError as error:
        words = os.strerror(error.errno or errno.EIO).lower()
        return (f"whether the power of a card is still limited is not known: {one_line(folder)}: {words}",)
    told: list[str] = []
    for name in names:
        parsed = parse_name("power", name)
        if parsed is None:
            continue
        path = os.path.join(folder, name)
        if is_over(parsed[1], boot):
            _remove(path)
            told.append(f"the power of {parsed[0]} was limited before the machine was restarted: it is the driver's "
                        "now")
            continue
        kept = _read(path)
        if kept is None or kept.bdf != parsed[0]:
            told.append(f"the power of {parsed[0]} may still be limited: {one_line(path)} cannot be read; a restart of "
                        "the machine sets it back")
            continue
        limiter = limiter_of(kept.bdf, kept.vendor)
        if isinstance(limiter, Unread):
            told.append(f"the power of {kept.bdf} may still be limited: {limiter.why}")
            continue
        now = limiter.read()
        if not isinstance(now, Unread) and now.most_watts is not None and kept.watts > now.most_watts + SAME_WATTS:
            told.append(f"the power of {kept.bdf} may still be limited: {one_line(path)} holds {kept.watts:.0f} W, "
                        "which the card does not take")
            continue
        restored, says = _put_back(limiter, kept.watts)
        if restored:
            _remove(path)
        told.append(says)
    return tuple(told)


def _write(folder: str, kept: Kept, boot: str) -> str:
    """Its path, once it and its name are on the disk."""
    path = os.path.join(folder, name_of("power", kept.bdf, boot))
    if os.path.lexists(path):
        raise Refused("busy", f"nothing was changed: the power limit of {kept.bdf} was lowered by an earlier run that "
                      f"did not put it back ({one_line(path)})", "the next boxcheck riser does that at its start")
    name = os.path.basename(path)
    try:
        mark(name, Mark(what=f"it was {kept.watts:.0f} W", folder=os.path.abspath(folder)))
        write_kept(path, msgspec.json.encode(kept) + b"\n")
    except OSError as error:
        unmark(name)
        words = os.strerror(error.errno or errno.EIO).lower()
        raise Refused("error", f"nothing was changed: the power limit of {kept.bdf} cannot be kept in "
                      f"{one_line(folder)} first ({words})", "make room there, or set XDG_STATE_HOME") from None
    return path


def _read(path: str) -> Kept | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = os.read(file, LARGEST_BYTES)
        finally:
            os.close(file)
        kept = msgspec.json.decode(data, type=Kept)
        return kept if kept.watts > 0 else None
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
        sync_folder(os.path.dirname(path))
    unmark(os.path.basename(path))
