"""Attempts of boxes, from folders that certify left and from stores of burn-ins. Reads only.

What a later attempt says of earlier ones counts where their folders are gone: removing a failed attempt does not make
the yield better.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec

from boxcheck.certify.acceptance import Acceptance, Manifest
from boxcheck.certify.attempts import ASKED, PART, read_asked
from boxcheck.certify.contents import ACCEPTANCE, KEPT_LIMIT_BYTES, MANIFEST
from boxcheck.certify.folder import RUN
from boxcheck.certify.manifest import ManifestError, parse_acceptance, parse_manifest
from boxcheck.compare.yields import Attempt, Result
from boxcheck.engine.box import same_box
from boxcheck.store.errors import StoreError
from boxcheck.store.listing import entry_of_store
from boxcheck.store.reader import RunReader
from boxcheck.store.regular import open_regular
from boxcheck.store.schema import SUFFIX
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

DAY_SECONDS = 86400.0
DEPTH = 6
"""Folders within folders that are looked through: station, month, serial, attempt."""
FILES_LIMIT = 200_000
_EARLIER = re.compile(
    r"([0-9]{1,6}): (PASS|MARGINAL PASS|FAIL|INCOMPLETE|ABORTED|not finished|cannot be read)( with waivers)?(.*)")
_DAY = re.compile(r"(.*?) ?(of no date|[0-9]{4}-[0-9]{2}-[0-9]{2})")
_BOTH = re.compile(r"(.+) \([^()]+\)")
_WORDS: dict[str, Result] = {"not finished": "OPEN", "cannot be read": "UNREAD"}


class Read(msgspec.Struct, kw_only=True):
    """What was found, and what could not be read."""

    attempts: list[Attempt] = msgspec.field(default_factory=list)
    told: list[str] = msgspec.field(default_factory=list)
    unread: int = 0
    """Attempts and runs of which nothing is known."""


class Told(msgspec.Struct, frozen=True):
    """The account of an attempt, and where it lies."""

    folder: str
    acceptance: Acceptance
    data: bytes


GRAVEST: tuple[Result, ...] = ("FAIL", "UNREAD", "OPEN", "INCOMPLETE", "ABORTED", "MARGINAL PASS", "PASS")
"""Of two accounts of one attempt that do not agree the first of these counts."""


def read_attempts(places: Sequence[str]) -> Read:
    """All attempts below these folders, and of these stores. UsageError for what is not there."""
    read = Read()
    told: dict[str, Told] = {}
    stores: list[str] = []
    for place in places:
        if os.path.isdir(place):
            _walk(place, read, told, stores, 0, [0])
        elif place.endswith(SUFFIX) and os.path.isfile(place):
            stores.append(place)
        else:
            raise UsageError(f"{plain_line(place)}: no folder, and no store of a run",
                             "name the folder that certify keeps its attempts in, or stores of runs")
    for found in told.values():
        read.attempts.append(_of(found.acceptance, found.folder))
    gone = [one for found in told.values() for line in found.acceptance.earlier
            if (one := _earlier(line, found.acceptance)) is not None]
    # What ended counts before what had not ended, or could not be read, when that line was written.
    for one in sorted(gone, key=lambda one: one.result in ("OPEN", "UNREAD")):
        if not any(_may_be(one, other) for other in read.attempts):
            read.attempts.append(one)
    runs: dict[str, list[Told]] = {}
    for found in told.values():
        runs.setdefault(found.acceptance.run, []).append(found)
    counted: dict[_Which, _Counted] = {}
    for store in dict.fromkeys(map(os.path.realpath, stores)):
        _of_store(store, runs, counted, read)
    read.attempts += [one.attempt for one in counted.values()]
    return read


def _walk(
    folder: str, read: Read, told: dict[str, Told], stores: list[str], depth: int, seen: list[int]
) -> None:
    if os.path.lexists(os.path.join(folder, ACCEPTANCE)):
        _attempt(folder, read, told)
        return
    whole = os.path.join(folder.removesuffix(PART), ACCEPTANCE)
    if folder.endswith(PART) and os.path.lexists(whole):
        read.told.append(f"{plain_line(folder)}: what was left when it became whole, not counted once more")
        return
    if os.path.basename(folder).endswith(PART) and os.path.lexists(os.path.join(folder, ASKED)):
        asked = read_asked(folder)
        if asked is None:
            read.unread += 1
            read.told.append(f"{plain_line(folder)}: an attempt that has not ended and cannot be read")
        else:
            read.attempts.append(Attempt(
                serial=asked.identity.serial.strip(), number=asked.attempt, result="OPEN", started=asked.began,
                station=asked.identity.station, operator=asked.identity.operator,
                work_order=asked.identity.work_order, where=folder))
        return
    try:
        with os.scandir(folder) as entries:
            names = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        read.unread += 1
        read.told.append(f"{plain_line(folder)}: {os.strerror(error.errno or 0).lower()}")
        return
    for entry in names:
        seen[0] += 1
        if seen[0] > FILES_LIMIT:
            raise UsageError(f"there are more than {FILES_LIMIT} files in {plain_line(folder)}", "name a folder in it")
        if entry.is_dir(follow_symlinks=False):
            if depth < DEPTH:
                _walk(entry.path, read, told, stores, depth + 1, seen)
            else:
                read.told.append(f"{plain_line(entry.path)}: not looked into, it is more than {DEPTH} folders deep")
        elif entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
            stores.append(entry.path)


def _attempt(folder: str, read: Read, told: dict[str, Told]) -> None:
    path = os.path.join(folder, ACCEPTANCE)
    try:
        with open_regular(path) as stream:
            data = stream.read(KEPT_LIMIT_BYTES)
        acceptance = parse_acceptance(data)
    except OSError as error:
        read.unread += 1
        read.told.append(f"{plain_line(path)}: {(error.strerror or '').lower()}")
        return
    except ManifestError as error:
        read.unread += 1
        read.told.append(f"{plain_line(folder)}: {error}")
        return
    try:
        kept = _contradicted(folder, acceptance, data)
    except ManifestError as error:
        kept = None
        read.unread += 1
        read.told.append(f"{plain_line(os.path.join(folder, MANIFEST))}: {error}")
    if kept is not None:
        read.unread += 1
        read.told.append(
            f"{plain_line(folder)}: {ACCEPTANCE} was changed after its manifest was written, which says "
            f"{_words(kept.disposition, kept.with_waivers)}; boxcheck report verify tells more")
        acceptance = min(acceptance, msgspec.structs.replace(
            acceptance, disposition=kept.disposition, with_waivers=kept.with_waivers), key=_gravity)
    found, before = Told(folder, acceptance, data), told.get(acceptance.id)
    if before is None:
        told[acceptance.id] = found
    elif before.data == data:
        read.told.append(f"{plain_line(folder)} is a copy of {plain_line(before.folder)}: counted once")
    else:
        read.unread += 1
        told[acceptance.id] = graver = min(before, found, key=lambda one: _gravity(one.acceptance))
        read.told.append(
            f"{plain_line(before.folder)} ({_result_words(before)}) and {plain_line(folder)} ({_result_words(found)}) "
            f"are of one attempt and do not agree, one was changed: {_result_words(graver)} is counted; "
            "boxcheck report verify tells which is signed")


def _contradicted(folder: str, acceptance: Acceptance, data: bytes) -> Manifest | None:
    """The manifest beside an account, where it is one of another account; None where it agrees, or there is none.
    ManifestError for what is no manifest."""
    with suppress(OSError):
        with open_regular(os.path.join(folder, MANIFEST)) as stream:
            kept = parse_manifest(stream.read(KEPT_LIMIT_BYTES))
        hashes = [one.sha256 for one in kept.files if one.name == ACCEPTANCE]
        if kept.id != acceptance.id or hashes != [hashlib.sha256(data).hexdigest()]:
            return kept
    return None


def _result_words(found: Told) -> str:
    return _words(found.acceptance.disposition, found.acceptance.with_waivers)


def _words(disposition: str, with_waivers: bool) -> str:
    return f"{disposition}{' with waivers' if with_waivers else ''}"


def _of(told: Acceptance, folder: str) -> Attempt:
    who = told.identity
    return Attempt(
        serial=who.serial.strip(), number=told.attempt, result=told.disposition, with_waivers=told.with_waivers,
        booked=told.verdict_string, started=told.started, profile=told.profile, station=who.station,
        operator=who.operator, work_order=who.work_order, where=folder, run=told.run)


def _may_be(gone: Attempt, other: Attempt) -> bool:
    """Whether an attempt that a later one tells of is this one. Stations that do not know of each other give the same
    numbers, so the result and the day must be the same, as far as the line has them."""
    if (gone.serial, gone.number) != (other.serial, other.number):
        return False
    if gone.result == "UNREAD":
        return True
    if gone.started is not None and other.started is not None and _day_of(gone) != _day_of(other):
        return False
    return gone.result == "OPEN" or (gone.result, gone.with_waivers) == (other.result, other.with_waivers)


def _day_of(one: Attempt) -> int:
    return int((one.started or 0.0) // DAY_SECONDS)


def _gravity(one: Acceptance) -> tuple[int, bool]:
    return GRAVEST.index(one.disposition), not one.with_waivers


def _earlier(line: str, told: Acceptance) -> Attempt | None:
    """An attempt by the line that a later one has of it (boxcheck.certify.attempts.line_of)."""
    match = _EARLIER.fullmatch(plain_line(line))
    if match is None:
        return None
    number, word, waived, rest = match.groups()
    ended = _DAY.fullmatch(rest.strip())
    booked, day = ended.groups() if ended is not None else (rest.strip(), "")
    started = None
    with suppress(ValueError):
        started = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    result: Result = _WORDS.get(word) or word  # type: ignore[assignment]
    return Attempt(serial=told.identity.serial.strip(), number=int(number), result=result, booked=booked,
                   with_waivers=waived is not None, started=started, profile=told.profile)


_RESULTS: dict[str, Result] = {"pass": "PASS", "marginal": "MARGINAL PASS", "fail": "FAIL", "unknown": "INCOMPLETE"}


class _Which(NamedTuple):
    """Which run it is, whatever its file is called. Ids are times, and two boxes may begin in one second."""

    id: str
    box: str
    boot: str
    started: float


def _which(path: str) -> _Which | None:
    """None where it cannot be read."""
    with suppress(StoreError), RunReader(path) as reader:
        run = reader.run()
        return _Which(run.info.id, run.info.box or run.info.host, run.info.boot, run.started)
    return None


class _Counted(NamedTuple):
    """A run that counts as an attempt, and whether it came to its end."""

    attempt: Attempt
    finished: bool


def _attempt_with(which: _Which, path: str, of_id: Sequence[Told], read: Read) -> Told | None:
    """The attempt of which it is the run. Where the attempt's own store is not to be read, by when it began and whose
    it is, and that is told."""
    for found in of_id:
        kept = _which(os.path.join(found.folder, RUN))
        if kept == which:
            return found
        if kept is not None or which.started != found.acceptance.started:
            continue
        gone = f"{plain_line(found.folder)}, whose own store is not there or cannot be read"
        if same_box(which.box, found.acceptance.identity.serial.strip()) is False:
            read.told.append(f"{plain_line(path)}: a run of {plain_line(which.box)} that began with {gone}: counted as "
                             "another box's")
            continue
        read.told.append(f"{plain_line(path)}: taken for the run of {gone}: not counted once more")
        return found
    return None


def _of_store(path: str, known: Mapping[str, Sequence[Told]], counted: dict[_Which, _Counted], read: Read) -> None:
    """A burn-in that is no part of an acceptance, as an attempt of its box. Of two copies that do not agree a failure
    counts, else the one that came to its end, else the graver one: a run that went on, or a store that was cut."""
    entry = entry_of_store(path)
    if entry is None:
        return
    if entry.trouble is not None:
        read.unread += 1
        read.told.append(plain_line(entry.trouble))
        return
    result, finished = _result(entry.state, entry.outcome), entry.state == "finished"
    which = _which(path) or _Which(entry.id, entry.box, "", entry.started)
    part = _attempt_with(which, path, known.get(which.id, ()), read)
    if part is not None:
        if finished or result == "FAIL":
            _beside_attempt(path, entry.outcome, result, part, read)
        return
    if entry.kind not in ("burn", "certify"):
        return
    if not entry.box:
        read.told.append(f"run {plain_line(entry.id)}: nothing names its box, it is not counted")
        return
    named = _BOTH.fullmatch(entry.box)
    one = _Counted(Attempt(
        serial=(named[1] if named else entry.box).strip(), number=0, result=result, started=entry.started,
        profile=entry.profile or "", where=path, run=which.id,
        booked=_booked(path, read) if result in ("FAIL", "INCOMPLETE") else ""), finished)
    before = counted.setdefault(which, one)
    if before is one:
        return
    kept, other = sorted((before, one), key=lambda one: (
        one.attempt.result != "FAIL", not one.finished, GRAVEST.index(one.attempt.result)))
    counted[which] = kept
    a, b = (plain_line(each.attempt.where) for each in (other, kept))
    if kept.finished and not other.finished:
        read.told.append(f"{a} is an unfinished copy of {b}: counted once")
        return
    agree = "" if before.attempt.result == one.attempt.result else (
        f", and does not agree ({kept.attempt.result} is counted)")
    read.told.append(f"{a} is a copy of {b}{agree}: counted once")


def _beside_attempt(path: str, outcome: str | None, result: Result, part: Told, read: Read) -> None:
    """A copy of an attempt's run that is graver than what the attempt rests on counts: its store, or its account, is
    not that of then. What was waived, or was short, is no contradiction."""
    at = next(at for at, one in enumerate(read.attempts) if one.where == part.folder)
    own = entry_of_store(os.path.join(part.folder, RUN))
    agrees = outcome in (part.acceptance.verdict, own.outcome if own is not None else None)
    if agrees or GRAVEST.index(result) >= GRAVEST.index(read.attempts[at].result):
        return
    read.unread += 1
    read.attempts[at] = msgspec.structs.replace(
        read.attempts[at], result=result, with_waivers=False, booked=_booked(path, read))
    read.told.append(
        f"{plain_line(path)} ({result}) is a copy of the run of {plain_line(part.folder)} ({_result_words(part)}) and "
        f"does not agree, one was changed: {result} is counted; boxcheck report verify tells whether the folder is as "
        "it was signed")


def _result(state: Literal["running", "finished", "stopped", "crashed"], outcome: str | None) -> Result:
    """What failed failed, however the run ended; what did not come to its end is no pass."""
    if outcome == "fail":
        return "FAIL"
    if state == "running":
        return "OPEN"
    if state == "stopped":
        return "ABORTED"
    return "INCOMPLETE" if state == "crashed" else _RESULTS.get(outcome or "", "INCOMPLETE")


def _booked(path: str, read: Read) -> str:
    """The first required finding that failed, or was not read."""
    try:
        with RunReader(path) as reader:
            verdict = reader.verdict()
    except StoreError as error:
        read.told.append(plain_line(str(error)))
        return ""
    for outcome in ("fail", "unknown"):
        for one in verdict.findings if verdict is not None else ():
            if one.blocker and one.outcome.value == outcome:
                return f"{one.check} {one.subject}"
    return ""

