"""Notebooks on disk: one JSON file an experiment, written anew as a whole at every entry, so that a power cut leaves
the one before or the new one.

A box is powered off between steps; what was asked of the operator is written before it is printed.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from boxcheck.engine.box import same_box
from boxcheck.host.on_disk import sync_folder
from boxcheck.host.owner import give_to_owner
from boxcheck.riser.evidence import Notebook
from boxcheck.usage import UsageError

SCHEMA = "boxcheck.notebook/1"
LATEST = 253_402_300_799.0
"""The year 9999: what a date can hold."""
LIMIT_BYTES = 16 << 20
LISTED = "boxcheck riser --list names them"
NAME = re.compile(r"r-\d{8}-\d{1,4}")


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A notebook as it lies on disk."""

    schema: str = SCHEMA
    box: str = ""
    version: str = ""
    closed: str = ""
    """How it ended, in words; empty while it goes on."""
    notebook: Notebook


def new_id(folder: str, now: float) -> str:
    """`r-20261121-1`: the first that is free."""
    day = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d")
    number = 1
    while os.path.exists(os.path.join(folder, f"r-{day}-{number}.json")):
        number += 1
    return f"r-{day}-{number}"


def save(folder: str, stored: Stored) -> str:
    """Writes it and gives its path. UsageError where that cannot be."""
    path = os.path.join(folder, f"{stored.notebook.id}.json")
    part = f"{path}.part"
    text = msgspec.json.format(msgspec.json.encode(stored), indent=1)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)  # of a start that was cut off, or a link, which root must not follow
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as stream:
            stream.write(text)
            stream.flush()
            give_to_owner(folder, stream.fileno())
            os.fsync(stream.fileno())
        os.replace(part, path)
        sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise UsageError(
            f"{path}: {os.strerror(error.errno or 0).lower()}: the notebook was not written; the entry before stands",
            "make room there, or set XDG_STATE_HOME to a directory that can be written") from None
    return path


def load(path: str) -> Stored:
    """UsageError for a file that is none."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {os.strerror(error.errno or 0).lower()}", LISTED) from None
    if len(data) > LIMIT_BYTES:
        raise UsageError(f"{path}: too large for a notebook", LISTED)
    try:
        found = msgspec.json.decode(data, type=Stored)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: no notebook: {error}", LISTED) from None
    book = found.notebook
    if not NAME.fullmatch(book.id) or not _is_sound(found):
        raise UsageError(f"{path}: a notebook that was damaged", LISTED)
    if found.schema != SCHEMA:
        raise UsageError(f"{path}: of another version of boxcheck ({found.schema[:40]!r})", "use that version")
    return found


def _is_sound(stored: Stored) -> bool:
    """Whether its numbers are such as boxcheck writes: a damaged file must not break what works on it."""
    book = stored.notebook
    if not book.boots or not 0 <= book.started < LATEST:
        return False
    looks = [look for boot in book.boots for look in boot.looks]
    numbers = [value for look in looks for value in (look.width, look.full_width) if value is not None]
    speeds = [value for look in looks for value in (look.speed_gts, look.full_speed_gts, look.conditions.speed_gts)
              if value is not None]
    ways = [way for look in looks for way in look.ways]
    counts = [count for way in ways for count in (*way.received.values(), *way.unanswered.values())]
    counts += [count for look in looks for count in (
        look.replays or 0, look.dropped, look.wrong_words, *look.uncorrectable.values())]
    counts += [count for look in looks if (of := look.retrains) is not None for count in (
        of.tried, of.full, of.narrow, of.slow, of.down, of.incomplete_equalisation)]
    lanes = [lane for way in ways for lane in way.lanes]
    lanes += [margin.lane for look in looks for margin in look.margins]
    bits = [value for way in ways for value in (way.bits, way.most_bits, way.seconds) if value is not None]
    return (
        all(0 <= number <= 64 for number in numbers) and all(0 < speed <= 256 for speed in speeds)
        and all(0 <= count < 2**63 for count in counts) and all(0 <= lane < 32 for lane in lanes)
        and all(0 <= value < 1e30 for value in bits)
        and all(0 <= boot.started < LATEST for boot in book.boots))


def find(folder: str, name: str) -> Stored:
    """By its id, or a path."""
    if "/" in name or name.endswith(".json"):
        return load(name)
    if not NAME.fullmatch(name):
        raise UsageError(f"no experiment is called {name!r}", LISTED)
    found = load(os.path.join(folder, f"{name}.json"))
    if found.notebook.id != name:
        raise UsageError(f"{name}: the file holds another experiment, {found.notebook.id}", LISTED)
    return found


def every(folder: str) -> Iterator[Stored]:
    """All that can be read, the newest first."""
    for one in entries(folder):
        if isinstance(one, Stored):
            yield one


def entries(folder: str) -> Iterator[Stored | UsageError]:
    """All of them, the newest first; in place of one that cannot be read, why."""
    names = [name for name in os.listdir(folder) if name.endswith(".json") and NAME.fullmatch(name[:-5])]
    for name in sorted(names, key=_age, reverse=True):
        try:
            yield load(os.path.join(folder, name))
        except UsageError as error:
            yield error


def _age(name: str) -> tuple[str, int]:
    day, number = name[2:-5].split("-")
    return day, int(number)


RECENT_SECONDS = 14 * 86400.0
"""An experiment that ended so long before an acceptance is about the box as it is accepted; one before it may be about
parts that left."""


def recent(folder: str, box: str, now: float) -> Stored | None:
    """What a report of this box at that time shows: the newest experiment that goes on, else the newest that ended
    lately. Of notebooks that cannot be read, and of those of which it is not known whose they are, none."""
    mine = [one for one in every(folder) if same_box(one.box, box)]
    ended = [one for one in mine if one.closed and 0 <= now - one.notebook.boots[-1].started <= RECENT_SECONDS]
    return next((one for one in mine if not one.closed), ended[0] if ended else None)


def open_one(folder: str, box: str, slot: str | None = None) -> Stored | None:
    """The newest of this box that goes on, of this slot where one is named. UsageError where a newer one cannot be
    read: it may be the one that is meant."""
    for one in entries(folder):
        if isinstance(one, UsageError):
            raise UsageError(f"{one}, and it is newer than the others", "move it away, or name one: --list")
        if not one.closed and same_box(one.box, box) is not False and (slot is None or one.notebook.slot == slot):
            return one
    return None
