"""Writes the folder of an attempt from the store of its run: evidence, reports, sums, the manifest to be signed.

Everything is made in a folder of its own and gets its name when it is whole. A report that cannot be made, because an
optional library is missing or boxcheck's own fault, is left out and said; it never changes the verdict. The run's
store, the verdict and the manifest are never left out.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing

import msgspec

from boxcheck.certify.acceptance import Acceptance, AttemptFile
from boxcheck.certify.attempts import FILES
from boxcheck.certify.contents import ACCEPTANCE, RISER, VERDICT
from boxcheck.certify.manifest import write_manifest
from boxcheck.engine.around import happenings_in
from boxcheck.engine.begin import AFTER, CAPTURE
from boxcheck.engine.record import as_user
from boxcheck.golden.profile_toml import profile_toml
from boxcheck.profile import Profile
from boxcheck.report.forms import FORMS, SIGNED_FORMS, Form, form, is_made, write_form
from boxcheck.riser.notebook import Stored as StoredNotebook
from boxcheck.store.reader import RunReader
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

RUN, KERNEL_LOG, PROFILE = "run.sqlite", "kernel.log", "profile.toml"
CHUNK_BYTES = 1 << 20


def write_folder(
    place: str, path: str, told: Acceptance, want: Profile, verdict_json: str, uid: int | None = None,
    gid: int | None = None, riser: StoredNotebook | None = None,
) -> Acceptance:
    """Makes the files of an attempt in `place`/files from the store at `path`. Gives the acceptance as it was stored.

    `riser`: the notebook of a riser experiment at this box, kept as riser.json and shown in the reports. `uid`, `gid`:
    whose they become, where root makes them for somebody. UsageError where there is no room; then nothing has got its
    name, and `certify --resume` makes it again.
    """
    return _written(place, uid, gid, lambda folder: _write(folder, path, told, want, verdict_json, riser))


def write_folder_alone(place: str, told: Acceptance, uid: int | None = None, gid: int | None = None) -> Acceptance:
    """The same of an attempt whose run is gone: the acceptance and its manifest."""
    def write(folder: str) -> Acceptance:
        _put(folder, ACCEPTANCE, msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
        write_manifest(folder)
        return told

    return _written(place, uid, gid, write)


def _written(place: str, uid: int | None, gid: int | None, write: Callable[[str], Acceptance]) -> Acceptance:
    folder = fills = os.path.join(place, FILES)

    def clear() -> None:
        with as_user(uid, gid):
            shutil.rmtree(folder, ignore_errors=True)

    try:
        clear()
        if uid is None:
            os.mkdir(folder, 0o755)
            return write(folder)
        # Root writes nothing where somebody could put a link, and that user may not read root's installation: so they
        # are made in a place of root's own, and handed over.
        fills = tempfile.gettempdir()
        with tempfile.TemporaryDirectory(prefix="boxcheck-") as beside:
            made = os.path.join(beside, FILES)
            os.mkdir(made)
            told = write(made)
            fills = folder
            _hand_over(made, folder, uid, gid)
            return told
    except OSError as error:
        clear()  # it may be what filled the disk
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)  # whoever copies names what is copied, not where to
        where = plain_line(str(fills if full else error.filename or fills))
        says = f"{where}: {os.strerror(error.errno or 0).lower()}"
        raise UsageError(f"the acceptance could not be written: {says}", (
            "make room; the run is kept: boxcheck certify --resume")) from None


def _hand_over(source: str, folder: str, uid: int, gid: int | None) -> None:
    """Copies the files of a folder as that user."""
    with contextlib.ExitStack() as opened:
        streams = [(name, opened.enter_context(open(os.path.join(source, name), "rb"))) for name in os.listdir(source)]
        opened.enter_context(as_user(uid, gid))
        os.mkdir(folder, 0o755)
        for name, stream in streams:
            with open(os.path.join(folder, name), "xb") as copy:
                shutil.copyfileobj(stream, copy, CHUNK_BYTES)
                copy.flush()
                os.fsync(copy.fileno())


def _write(
    folder: str, path: str, told: Acceptance, want: Profile, verdict_json: str, riser: StoredNotebook | None,
) -> Acceptance:
    left_out: list[str] = []
    _copy_store(path, os.path.join(folder, RUN))
    with RunReader(path) as reader:
        captures = {name: reader.attachment(name) for name in (CAPTURE, AFTER)}
        _put(folder, KERNEL_LOG, "".join(f"{line}\n" for line in log_lines(reader)).encode("utf-8", "replace"))
    for name, capture in captures.items():
        if capture is None:
            left_out.append(f"{name}: the run holds none")
        else:
            _put(folder, name, capture)
    _put(folder, PROFILE, resolved_toml(want).encode("utf-8", "replace"))
    _put(folder, VERDICT, with_acceptance(verdict_json, told))
    if riser is not None:
        _put(folder, RISER, msgspec.json.format(msgspec.json.encode(riser), indent=1) + b"\n")
    told = msgspec.structs.replace(told, left_out=())
    for one in FORMS:
        if one.file and one.name not in SIGNED_FORMS:
            _make(one, folder, path, told, left_out, riser)
    told = msgspec.structs.replace(told, files=files_of(folder), left_out=tuple(left_out))
    for one in map(form, SIGNED_FORMS):  # they show the hashes of the others
        _make(one, folder, path, told, left_out, riser)
    told = msgspec.structs.replace(told, left_out=tuple(left_out))
    _put(folder, ACCEPTANCE, msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
    write_manifest(folder)
    return told


def with_acceptance(verdict_json: str, told: Acceptance) -> bytes:
    """The account of the run, and what the acceptance makes of it: by the account alone a shortened run has passed."""
    found = msgspec.json.decode(verdict_json.encode("utf-8", "replace"))
    found["acceptance"] = {
        "id": told.id, "serial": told.identity.serial, "attempt": told.attempt, "disposition": told.disposition,
        "reason": told.reason, "with_waivers": told.with_waivers, "exit_code": told.exit_code,
        "self_signed": told.self_signed}
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def _make(
    one: Form, folder: str, path: str, told: Acceptance, left_out: list[str], riser: StoredNotebook | None,
) -> None:
    """One report. What keeps it from being made is said, but for a disk that takes no more."""
    place = os.path.join(folder, one.file)
    try:
        if not is_made(one):
            left_out.append(f"{one.file}: this boxcheck makes no {one.what}")
            return
        write_form(one, place, path, None, told, None if riser is None else riser.notebook)
        os.chmod(place, 0o644)
    except UsageError as error:
        _refuse_no_room(folder)
        help = f" ({error.help})" if error.help else ""
        left_out.append(plain_line(f"{one.file}: {error}{help}")[:300])
    except ImportError as error:
        extra = " (pip install 'boxcheck[pdf]')" if one.name == "pdf" else ""
        left_out.append(plain_line(f"{one.file}: the library {error.name or error} is not installed{extra}")[:300])
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        left_out.append(plain_line(f"{one.file}: {os.strerror(error.errno or 0).lower()}"))
    except Exception as error:  # noqa: BLE001  a report that breaks must not take the verdict with it
        left_out.append(plain_line(f"{one.file}: boxcheck itself broke: {type(error).__name__}: {error}")[:300])


def _refuse_no_room(folder: str) -> None:
    """OSError where nothing can be written any more: then it is no matter of one report."""
    probe = os.path.join(folder, "room.part")
    try:
        with open(probe, "wb") as stream:
            stream.write(bytes(65536))
            stream.flush()
            os.fsync(stream.fileno())
    finally:
        if os.path.lexists(probe):
            os.unlink(probe)


def _copy_store(path: str, place: str) -> None:
    """A copy of the store as one file, also of one that was cut off and has a journal beside it."""
    if os.path.exists(f"{path}-wal") or os.path.exists(f"{path}-journal"):
        with closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)) as source, \
                closing(sqlite3.connect(place)) as copy:
            try:
                source.backup(copy)
            except sqlite3.Error as error:
                raise OSError(errno.EIO, str(error), place) from None
            copy.execute("PRAGMA journal_mode = DELETE")
    else:
        shutil.copyfile(path, place)
    os.chmod(place, 0o644)
    with open(place, "rb+") as stream:
        os.fsync(stream.fileno())


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(os.path.abspath(path))


def _put(folder: str, name: str, data: bytes) -> None:
    with open(os.path.join(folder, name), "xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(os.path.join(folder, name), 0o644)


def files_of(folder: str) -> tuple[AttemptFile, ...]:
    """Every file that is there by now, sorted by name."""
    found = []
    for name in sorted(os.listdir(folder)):
        summing, size = hashlib.sha256(), 0
        with open(os.path.join(folder, name), "rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                summing.update(chunk)
                size += len(chunk)
        found.append(AttemptFile(name=name, size_bytes=size, sha256=summing.hexdigest()))
    return tuple(found)


def log_lines(reader: RunReader) -> Iterator[str]:
    """What the kernel's log told during the run, as the store holds it: the messages that concern hardware."""
    followed = False
    for one in happenings_in(reader):
        if one.detail.source != "log":
            continue
        if one.detail.text:
            yield plain_line(one.detail.text)
        else:
            followed = True
            yield f"# {plain_line(one.says)}"
    if not followed:
        yield "# nothing tells that the kernel's log was followed"
    yield "# messages that concern hardware alone; all that was read is in the captures, before and after the load"


def resolved_toml(want: Profile) -> str:
    """The profile with all its limits resolved, each with its source: `judge --profile` takes it. Exactly what the run
    was judged by is in the run."""
    return profile_toml(want, told=(
        want.title, "limits as they were resolved when the run began", f"sha256 of what is judged: {want.sha256}"))
