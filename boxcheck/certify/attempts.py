"""The attempts of a box: one folder each, numbered, never overwritten.

    <state>/boxcheck/certify/<serial>/attempt-01/         whole: what certify left
                                      attempt-02.part/    not finished: asked.json, and what was made so far
                                      attempts.txt        a line of each that came to its end

An attempt has its number from the moment it begins. One that was cut off keeps it, and `certify --resume` finishes it.
Whoever makes it holds its lock (attempt.lock in it), since two that made one would take each other's files away. The
lines stay where a folder is moved to a station: its number does not come again, and what failed stays in sight.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

import msgspec

from boxcheck.certify.acceptance import Acceptance, Identity, Waiver, attempt_name
from boxcheck.certify.contents import ACCEPTANCE, KEPT_LIMIT_BYTES
from boxcheck.certify.find_run import find_run
from boxcheck.certify.manifest import ManifestError, parse_acceptance
from boxcheck.host.on_disk import sync_folder
from boxcheck.store.errors import StoreError
from boxcheck.store.lock import RunLock
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

ASKED = "asked.json"
LINES = "attempts.txt"
LINES_LIMIT_BYTES = 1 << 20
FILES = "files"
PART = ".part"
LOCKED = "attempt"
"""What is locked in the folder of an attempt."""
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FOLDER = re.compile(r"attempt-([0-9]{2,6})(\.part)?")
_LINE = re.compile(r"([0-9]{1,6}): ")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt was asked to do: all that `--resume` needs."""

    schema: str = "boxcheck.asked/1"
    id: str
    identity: Identity
    attempt: int
    run: str = ""
    """Path of the store; empty until the run has begun."""
    run_mark: str = ""
    """What tells that run from others (run_gone.py)."""
    profile: str = ""
    profile_revision: int = 0
    profile_sha256: str = ""
    began: float
    machine: Mapping[str, str] = {}
    """Marks of the machine that it began on."""
    planned: str = ""
    """`level 3, 1 h`."""
    shortened: str = ""
    waivers: tuple[Waiver, ...] = ()
    strict: bool = False
    without: tuple[str, ...] = ()
    """What the load was not put on, or by: `the load was put on cpu devices`."""

    @property
    def name(self) -> str:
        return attempt_name(self.attempt, self.identity.serial)


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that is there."""

    number: int
    folder: str
    state: Literal["whole", "open", "damaged", "gone"]
    says: str
    """`1: FAIL 2026-11-28`."""
    before: tuple[str, ...] = ()
    """What it says of those before it."""
    serial: str = ""
    """Of the box, as it was told; empty where that cannot be read."""
    machine: Mapping[str, str] = {}
    """Marks of the machine."""


def safe_name(serial: str) -> str:
    """A serial number as the name of a folder. Of one that has other characters than letters, digits, - and _ a hash
    follows, so that no two become one."""
    if _SAFE.fullmatch(serial):
        return serial
    kept = "".join(one if one.isascii() and one.isalnum() else "-" for one in serial).strip("-")[:40] or "box"
    return f"{kept}.{hashlib.sha256(serial.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def attempts_of(folder: str) -> list[Earlier]:
    """The attempts of a box's folder, the oldest first, those too that were moved elsewhere; none where there is no
    folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = {
        number: Earlier(number=number, folder=os.path.join(folder, f"attempt-{number:02d}"), state="gone", says=line)
        for number, line in _by_number(_kept_lines(folder)).items()}
    there: set[int] = set()
    for name in sorted(names):  # attempt-01 before attempt-01.part
        match = _FOLDER.fullmatch(name)
        if match and (number := int(match[1])) not in there:
            if match[2] and number in found:
                continue  # it ended, and the power went before this was taken away
            place = os.path.join(folder, name)
            one = _open(number, place) if match[2] else _whole(number, place)
            if one.state == "damaged" and number in found:
                one = msgspec.structs.replace(one, says=found[number].says)
            found[number] = one
            there.add(number)
    return [found[number] for number in sorted(found)]


def _kept_lines(folder: str) -> list[str]:
    with suppress(OSError), open(os.path.join(folder, LINES), "rb") as stream:
        return stream.read(LINES_LIMIT_BYTES).decode("utf-8", "replace").splitlines()
    return []


def _by_number(lines: Iterable[str]) -> dict[int, str]:
    """Of several with one number the first."""
    found: dict[int, str] = {}
    for line in lines:
        if match := _LINE.match(line):
            found.setdefault(int(match[1]), plain_line(line)[:200])
    return found


def _whole(number: int, folder: str) -> Earlier:
    try:
        with open(os.path.join(folder, ACCEPTANCE), "rb") as stream:
            told = parse_acceptance(stream.read(KEPT_LIMIT_BYTES))
    except (OSError, ManifestError):
        return Earlier(number=number, folder=folder, state="damaged", says=f"{number}: cannot be read")
    line = line_of(msgspec.structs.replace(told, attempt=number))
    if told.attempt != number or safe_name(told.identity.serial) != os.path.basename(os.path.dirname(folder)):
        line = f"{line[:120]}, by its folder attempt {told.attempt} of box {plain_line(told.identity.serial)[:60]}"
    return Earlier(number=number, folder=folder, state="whole", says=line, before=told.earlier,
                   serial=told.identity.serial, machine=told.machine)


def line_of(told: Acceptance) -> str:
    """An attempt in a line of a later one: `1: FAIL pcie.link-width PCIE3 2026-11-28`."""
    waived = " with waivers" if told.with_waivers else ""
    what = f" {told.verdict_string}" if told.verdict_string else ""
    return plain_line(f"{told.attempt}: {told.disposition}{waived}{what} {_day(told.started)}")[:200]


def _open(number: int, folder: str) -> Earlier:
    asked = read_asked(folder)
    if asked is None:
        return Earlier(number=number, folder=folder, state="open", says=f"{number}: not finished")
    return Earlier(number=number, folder=folder, state="open", says=f"{number}: not finished {_day(asked.began)}",
                   serial=asked.identity.serial, machine=asked.machine)


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return "of no date"


def earlier_lines(attempts: list[Earlier], below: int) -> tuple[str, ...]:
    """A line for each attempt before one, also for those whose folder is gone and that a later one still names."""
    said = _by_number(line for one in attempts for line in one.before)
    said |= {one.number: one.says for one in attempts if one.state in ("whole", "open") or one.number not in said}
    return tuple(said[number] for number in sorted(said) if number < below)


def reserve(folder: str, asked: Asked) -> tuple[str, Asked]:
    """Begins an attempt: its folder, and what was asked with its number. OSError where none can be made."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for _ in range(100):
        there = attempts_of(folder)
        number = max((one.number for one in there), default=0) + 1
        place = os.path.join(folder, f"attempt-{number:02d}{PART}")
        with suppress(FileExistsError):  # somebody else has just taken the number
            os.mkdir(place, 0o700)
            asked = msgspec.structs.replace(asked, attempt=number)
            try:
                write_asked(place, asked)
                for holds in (folder, os.path.dirname(folder)):  # a number that the power took with it would come again
                    sync_folder(holds)
            except BaseException:
                forget(place)
                raise
            return place, asked
    raise UsageError(f"no number for an attempt could be had in {plain_line(folder)}", "try once more")


class AttemptHeldError(UsageError):
    """Another process makes this attempt."""


def hold(place: str) -> RunLock:
    """Keeps other processes from making this attempt, until it is released. AttemptHeldError where one makes it,
    StoreError where it cannot be locked."""
    try:
        return RunLock(os.path.join(place, LOCKED))
    except StoreError as error:
        box = os.path.basename(os.path.dirname(place))
        attempt = f"{box}, {os.path.basename(place).removesuffix(PART)}"
        if error.kind == "busy":
            raise AttemptHeldError(
                f"another boxcheck is at work on {attempt}", "it makes the report; wait until it is done") from None
        if not os.path.isdir(place):
            raise AttemptHeldError(f"another boxcheck has just ended {attempt}", "nothing is left to finish") from None
        raise


def write_asked(place: str, asked: Asked) -> None:
    """Written whole, so that a power cut leaves the one before or this."""
    _write(place, ASKED, msgspec.json.format(msgspec.json.encode(asked), indent=1))


def _write(folder: str, name: str, data: bytes) -> None:
    beside = os.path.join(folder, f"{name}.new")
    with open(beside, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, os.path.join(folder, name))
    sync_folder(folder)


def read_asked(place: str) -> Asked | None:
    """None where it cannot be read."""
    try:
        with open(os.path.join(place, ASKED), "rb") as stream:
            return msgspec.json.decode(stream.read(KEPT_LIMIT_BYTES), type=Asked)
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def asked_at(place: str) -> Asked | None:
    """The same, with its run also where that had just begun, and it was not kept any more which one it is."""
    asked = read_asked(place)
    if asked is None or asked.run:
        return asked
    state = os.path.dirname(os.path.dirname(os.path.dirname(place)))
    return msgspec.structs.replace(asked, run=find_run(asked.name, asked.began, os.path.join(state, "runs")))


def forget(place: str) -> None:
    """Takes back an attempt whose run never began; no other."""
    with suppress(OSError):
        shutil.rmtree(place)
    with suppress(OSError):
        os.rmdir(os.path.dirname(place))  # of a box that has no other attempt


def finish(place: str) -> str:
    """Makes an attempt whole: its files get their name at once. Gives the folder."""
    folder = place.removesuffix(PART)
    if os.path.lexists(folder):
        raise UsageError(f"{plain_line(folder)} is there already", "nothing of it was changed")
    sync_folder(os.path.join(place, FILES))
    os.rename(os.path.join(place, FILES), folder)
    box = os.path.dirname(folder)
    sync_folder(box)
    with suppress(OSError):  # the next one to finish writes them all
        ended = [one for one in attempts_of(box) if one.state != "open"]
        _write(box, LINES, "".join(f"{line}\n" for line in earlier_lines(ended, 1 << 30)).encode("utf-8", "replace"))
    shutil.rmtree(place, ignore_errors=True)
    return folder


def open_attempts(root: str, *, every: bool = False) -> list[tuple[str, Asked]]:
    """Attempts of all boxes that are not finished and whose run has begun, the newest first; `every`: those too whose
    run has not. UsageError where the folder of boxes cannot be listed."""
    found: list[tuple[str, Asked]] = []
    try:
        boxes = os.listdir(root)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{plain_line(root)}: {os.strerror(error.errno or 0).lower()}",
                         "attempts are kept there; it must be a folder that you can read") from None
    for box in boxes:
        with suppress(OSError):  # of a box whose folder cannot be listed; the others' are found all the same
            for one in attempts_of(os.path.join(root, box)):
                asked = asked_at(one.folder) if one.state == "open" else None
                if asked is not None and (asked.run or every):
                    found.append((one.folder, asked))
    return sorted(found, key=lambda one: one[1].began, reverse=True)
