"""The runs of a directory: stores, and the records that doctor leaves there as JSON. Reads only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from boxcheck.host.common import one_line
from boxcheck.store.errors import StoreError
from boxcheck.store.lock import is_held
from boxcheck.store.opening import BESIDE
from boxcheck.store.reader import RunReader
from boxcheck.store.regular import open_regular
from boxcheck.store.rows import RunState
from boxcheck.store.schema import SUFFIX
from boxcheck.store.texts import plain_line

RECORD_SUFFIX = ".json"
LARGEST_RECORD_BYTES = 64 << 20
DAY_SECONDS = 86400.0


class RunEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `boxcheck runs`."""

    id: str
    started: float
    """Seconds since the epoch; the file's own time where the run does not tell."""
    finished: float | None = None
    state: RunState
    phase: str | None = None
    """What is being run, or was when the run was cut off."""
    outcome: str | None = None
    profile: str | None = None
    path: str
    kind: str = ""
    box: str = ""
    """What names the box: its serial number, else its host name."""
    bytes: int = 0
    """Of the store and what is beside it."""
    trouble: str | None = None
    """Why nothing more is known: damaged, of a later version."""
    help: str = ""


class _Name(msgspec.Struct):
    name: str


class _Outcome(msgspec.Struct):
    outcome: str


class _Record(msgspec.Struct):
    """The part of boxcheck.run/1 that a list shows."""

    schema: str
    started: datetime
    finished: datetime | None
    verdict: _Outcome
    profile: _Name | None = None
    stage: str = ""


def list_runs(folder: str) -> tuple[RunEntry, ...]:
    """All runs of a directory, the newest first; none where there is no such directory. StoreError where it cannot be
    read. A file that cannot be read is in the list, and says why."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StoreError("forbidden", f"{one_line(folder)}: {os.strerror(error.errno or 0).lower()}") from None
    makers: tuple[tuple[str, Callable[[str], RunEntry | None]], ...] = (
        (SUFFIX, entry_of_store), (RECORD_SUFFIX, entry_of_record))
    found = [
        entry for name in names for suffix, make in makers
        if name.endswith(suffix) and (entry := make(os.path.join(folder, name))) is not None]
    return tuple(sorted(found, key=lambda one: (-one.started, one.id)))


def entry_of_store(path: str) -> RunEntry | None:
    """A store as one line; None where it has gone."""
    id, size = os.path.basename(path).removesuffix(SUFFIX), _size(path)
    changed = _changed(path)
    if changed is None:
        return None
    held = is_held(path)
    try:
        with RunReader(path) as run:
            whole = run.run()
            phases = run.phases()
    except StoreError as error:
        return RunEntry(
            id=id, started=changed, state="running" if held else "crashed", path=path, bytes=size, trouble=str(error),
            help=error.help)
    current = next((one for one in reversed(phases) if one.state in ("about", "running", "cut")), None)
    return RunEntry(
        id=id, started=whole.started or changed, finished=whole.end.at.wall if whole.end else None, state=whole.state,
        phase=current.plan.name if current else None, outcome=whole.end.outcome if whole.end else None,
        profile=whole.info.profile.name if whole.info.profile else None, path=path, kind=whole.info.kind,
        box=whole.info.box or whole.info.host, bytes=size)


def entry_of_record(path: str) -> RunEntry | None:
    """A record of doctor as one line; None where the file is none, or has gone."""
    size, changed = _size(path), _changed(path)
    if changed is None:
        return None
    id = os.path.basename(path).removesuffix(RECORD_SUFFIX)
    kind = id.rpartition("-")[2] if "-" in id else ""
    try:
        with open_regular(path) as stream:
            record = msgspec.json.decode(stream.read(LARGEST_RECORD_BYTES), type=_Record)
    except (FileNotFoundError, msgspec.ValidationError):  # JSON, but of something else
        return None
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        says = (error.strerror or "").lower() if isinstance(error, OSError) else f"no record of a run ({error})"
        return RunEntry(id=id, started=changed, state="crashed", path=path, kind=kind, bytes=size,
                        trouble=f"{one_line(path)}: {says}")
    if not record.schema.startswith("boxcheck.run/"):
        return None
    return RunEntry(
        id=id, started=record.started.timestamp(), finished=record.finished.timestamp() if record.finished else None,
        state="finished", outcome=plain_line(record.verdict.outcome),
        profile=plain_line(record.profile.name) if record.profile else None,
        path=path, kind=kind, bytes=size)


def beside(path: str) -> tuple[str, ...]:
    """The files that belong to a run, its own first."""
    return (path, *(f"{path}{end}" for end in BESIDE)) if path.endswith(SUFFIX) else (path,)


def _size(path: str) -> int:
    size = 0
    for place in beside(path):
        with suppress(OSError):
            size += os.stat(place).st_size
    return size


def _changed(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def select_runs(
    entries: Iterable[RunEntry], *, states: Sequence[RunState] = (), profile: str | None = None,
    kind: str | None = None, box: str | None = None, newer_than_days: float | None = None,
    older_than_days: float | None = None, now: float,
) -> tuple[RunEntry, ...]:
    """Those of all the states, the profile, the kind, the box and the age that are asked for."""
    return tuple(
        one for one in entries
        if (not states or one.state in states) and profile in (None, one.profile) and kind in (None, one.kind)
        and box in (None, one.box)
        and (newer_than_days is None or age_days(one, now) <= newer_than_days)
        and (older_than_days is None or age_days(one, now) > older_than_days))


def age_days(entry: RunEntry, now: float) -> float:
    """Since it ended, or began where it has no end. Below zero where a clock was wrong."""
    return (now - (entry.finished or entry.started)) / DAY_SECONDS


def entry_object(entry: RunEntry) -> dict[str, Any]:
    """As `boxcheck runs --json` has it."""
    return {
        "id": entry.id, "started": _iso(entry.started), "finished": _iso(entry.finished), "state": entry.state,
        "phase": entry.phase, "outcome": entry.outcome, "profile": entry.profile, "path": entry.path,
        "kind": entry.kind, "box": entry.box, "bytes": entry.bytes, "trouble": entry.trouble,
    }


def _iso(seconds: float | None) -> str | None:
    """UTC. A wrong clock may be anywhere: what no calendar has is None."""
    with suppress(ValueError, OverflowError, OSError):
        if seconds is not None:
            return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return None


def find_run(entries: Iterable[RunEntry], word: str) -> RunEntry:
    """The run that a word names: its id, the beginning of one alone, its path, or `last`. Records of doctor go after
    runs: whoever looked at the box since still means the run. LookupError with the word where it names none, or
    several."""
    every = list(entries)
    runs = [one for one in every if not one.path.endswith(RECORD_SUFFIX)]
    if word == "last" and every:
        return (runs or every)[0]
    for match in (
        [one for one in every if word in (one.id, one.path)],
        [one for one in runs if one.id.startswith(word)] if word else [],
        [one for one in every if one.id.startswith(word)] if word else [],
    ):
        if len(match) == 1:
            return match[0]
    raise LookupError(word)
