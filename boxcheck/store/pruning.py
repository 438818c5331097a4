"""Removes old runs. Never one that is being written; what would be removed can be asked first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from boxcheck.store.errors import StoreError
from boxcheck.store.listing import RunEntry, age_days, beside
from boxcheck.store.lock import RunLock
from boxcheck.store.schema import SUFFIX


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    removed: tuple[RunEntry, ...]
    refused: tuple[tuple[RunEntry, str], ...] = ()
    """Those that could not be removed, and why."""

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.removed)


def old_runs(
    entries: Sequence[RunEntry], *, keep: int | None = None, older_than_days: float | None = None, now: float,
) -> tuple[RunEntry, ...]:
    """Which runs may go: all but the newest `keep`, or those older than so many days; with both, what both let go.
    Running ones never go, and do not count as kept; nor do those that could not be read, which may be no runs at all,
    or be worth a salvage. Without either nothing goes."""
    if keep is None and older_than_days is None:
        return ()
    known = [one for one in entries if one.state != "running" and one.trouble is None]
    over = sorted(known, key=lambda one: -one.started)
    return tuple(
        one for place, one in enumerate(over)
        if (keep is None or place >= keep) and (older_than_days is None or age_days(one, now) > older_than_days))


def spare_last(
    entries: Sequence[RunEntry], old: Sequence[RunEntry]
) -> tuple[tuple[RunEntry, ...], tuple[RunEntry, ...]]:
    """Those of `old` that may go, and those that stay: the newest finished run of each kind on each box, which later
    runs are compared with."""
    newest: dict[tuple[str, str], RunEntry] = {}
    for one in entries:
        known = newest.get((one.kind, one.box))
        if one.state == "finished" and one.trouble is None and (known is None or known.started < one.started):
            newest[one.kind, one.box] = one
    stay = {one.path for one in newest.values()}
    return tuple(one for one in old if one.path not in stay), tuple(one for one in old if one.path in stay)


def remove_runs(entries: Sequence[RunEntry], *, dry_run: bool = False) -> Pruned:
    """Removes these runs with the files beside them. One that somebody has begun to write since is left alone."""
    removed: list[RunEntry] = []
    refused: list[tuple[RunEntry, str]] = []
    for entry in entries:
        if entry.state == "running":
            refused.append((entry, "it is being written"))
            continue
        try:
            if not dry_run:
                _remove(entry.path)
        except StoreError as error:
            refused.append((entry, str(error)))
        except OSError as error:
            refused.append((entry, os.strerror(error.errno or 0).lower()))
        else:
            removed.append(entry)
    return Pruned(removed=tuple(removed), refused=tuple(refused))


def _remove(path: str) -> None:
    if not path.endswith(SUFFIX):
        os.unlink(path)
        return
    lock = RunLock(path)
    try:
        # The store last: a log that is left alone would be taken for that of a later store of the same name.
        for place in reversed(beside(path)):
            with suppress(FileNotFoundError):
                os.unlink(place)
    finally:
        lock.release()
