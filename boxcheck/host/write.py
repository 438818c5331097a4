"""Writes a capture: a directory, or a tar (plain, gzip, zstd). Format: docs/reference/captures.md.

The same content gives the same bytes. What is being written has another name until it is whole, and only its owner may
read it: a capture holds serial numbers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

import msgspec

from boxcheck import __version__
from boxcheck.host import LOG_LIMIT_BYTES
from boxcheck.host.common import errno_name, from_errno_name, one_line
from boxcheck.host.owner import as_caller, invoker
from boxcheck.host.stored import field, fields
from boxcheck.host.tables import SCHEMA
from boxcheck.model import Unread

if TYPE_CHECKING:
    from boxcheck.host.capture import CaptureHost
    from boxcheck.host.record import Recording

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_OLDEST_SECONDS = 946_684_800  # 2000-01-01
_OTHER_SUFFIXES = (".zip", ".7z", ".gz", ".zst", ".xz", ".bz2", ".rar", ".json")


class WriteError(Exception):
    """The capture could not be written; the message says where and why."""


class Members(msgspec.Struct):
    """A capture as files and links, by absolute path on the machine; `boxcheck/` is a directory at the root."""

    files: dict[str, bytes] = {}
    links: dict[str, str] = {}

    def size_bytes(self) -> int:
        return sum(len(data) for data in self.files.values())


def _utc(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1) + b"\n"


def _lines(values: Iterator[Mapping[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(value) + b"\n" for value in values)


def _reason(why: Unread) -> dict[str, str]:
    return {"kind": why.kind, "why": why.why}


def members_of(recording: Recording) -> Members:
    """A recording in the layout of a capture."""
    files = dict(recording.files)
    inside = {
        "capture.json": _json(_meta(recording)),
        "stat.json": _json({path: _stat_entry(recording, path) for path in sorted(recording.stats)}),
        "unread.jsonl": _lines({"path": path, **_reason(why)} for path, why in sorted(recording.unread.items())),
        "list.jsonl": _lines({"path": path, "names": names} for path, names in sorted(recording.listings.items())),
    }
    for number, (argv, output) in enumerate(sorted(recording.programs.items())):
        inside[f"run/{number:04d}.json"] = _json(
            {"argv": argv, "unread": _reason(output)} if isinstance(output, Unread) else
            {"argv": argv, "exit": output.exit, "stdout": output.stdout, "stderr": output.stderr,
             "ms": output.milliseconds}
        )
    for number, ((library, request), value) in enumerate(sorted(recording.answers.items())):
        answer = {"unread": _reason(value)} if isinstance(value, Unread) else {"value": value}
        inside[f"lib/{number:04d}.json"] = _json({"library": library, "request": request, **answer})
    index: list[dict[str, Any]] = []
    for number, later in enumerate(recording.again):
        inside[f"again/{number:04d}{later.path}"] = later.data
        index.append({
            "sequence": number, "path": later.path, "phase": later.phase,
            "monotonic": later.monotonic_seconds, "wall": later.wall_seconds,
        })
    if index:
        inside["again/index.jsonl"] = _lines(iter(index))
    files.update({f"/boxcheck/{name}": data for name, data in inside.items()})
    return Members(files, dict(recording.links))


def _meta(recording: Recording) -> dict[str, Any]:
    who = recording.who
    return {
        "schema": SCHEMA, "kind": "recorded", "tool": {"name": "boxcheck", "version": __version__},
        "start": _utc(recording.started_seconds), "end": _utc(recording.finished_seconds or recording.started_seconds),
        "user": None if who is None else {
            "name": who.name, "uid": who.uid, "gid": who.gid, "groups": who.groups, "invoked_by": who.invoked_by},
        "redacted": False, "env": recording.environment,
    }


def _stat_entry(recording: Recording, path: str) -> dict[str, Any]:
    stat = recording.stats[path]
    entry: dict[str, Any] = {"type": stat.kind, "uid": stat.uid, "gid": stat.gid}
    if stat.mode is not None:
        entry["mode"] = f"{stat.mode:04o}"
    if path in recording.opened:
        entry["open"] = recording.opened[path]
    return entry


def members_from(host: CaptureHost) -> Members:
    """All that a capture holds, to be packed anew. What is unsafe or too large in it stays behind and is named in
    unread.jsonl, so that nothing becomes absent on the way."""
    found = Members({}, {})
    lost: dict[str, Unread] = {}
    pending = [""]
    while pending:
        directory = pending.pop()
        for name, kind in sorted((host.tree.listing(directory) or {}).items()):
            path = f"{directory}/{name}"
            if kind == "dir":
                pending.append(path)
            elif kind == "link":
                target = host.tree.link(path)
                if target.isprintable() and target:
                    found.links[path] = target
                else:
                    lost[path] = Unread("an unprintable symbolic link", "malformed")
            elif kind == "file":
                data = host.tree.read(path, LOG_LIMIT_BYTES)
                if isinstance(data, bytes):
                    found.files[path] = data
                else:
                    lost[path] = data
            else:
                lost[path] = Unread("not a regular file in the capture", "malformed")
    lost.update({path: Unread("ignored when the capture was packed anew", "malformed") for path in host.tree.lost})
    if lost and host.ours:
        more = _lines({"path": path, **_reason(why)} for path, why in sorted(lost.items()))
        found.files["/boxcheck/unread.jsonl"] = found.files.get("/boxcheck/unread.jsonl", b"") + more
    return found


def write_capture(members: Members, out: str) -> int:
    """Writes a capture to `out`: a tar where the name ends like one, else a new directory. Gives its size in bytes.

    Raises WriteError; nothing is left behind then, and an older capture of that name is untouched.
    """
    try:
        if out.endswith(TAR_SUFFIXES):
            return _write_file(out, lambda stream: _pack(members, out, stream))
        if out.endswith(_OTHER_SUFFIXES):
            raise WriteError(f"{one_line(out)}: a capture is a directory or ends in {', '.join(TAR_SUFFIXES)}")
        return as_caller(lambda: _write_directory(members, out))
    except OSError as error:
        words, _ = from_errno_name(errno_name(error.errno))
        if error.errno == errno.ENOSPC:
            words += f" (the capture needs up to {members.size_bytes() // 1_000_000 + 1} MB)"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            words = "its folder is not there"
        raise WriteError(f"{one_line(out)}: not written: {words}") from None


def _entries(members: Members) -> Iterator[tuple[str, bytes | str]]:
    """Relative path and content (bytes) or target (text), capture.json first, then in order of path."""
    everything: dict[str, bytes | str] = {**members.links, **members.files}
    first = "/boxcheck/capture.json"
    files = sorted(path for path in everything if path != first)
    for path in ([first] if first in everything else []) + files:
        if not _below_a_file(path, everything):
            yield path[1:], everything[path]


def _below_a_file(path: str, everything: Mapping[str, object]) -> bool:
    """Whether something above the path was a file or a link, as when a device came back as another meanwhile."""
    above = path.rpartition("/")[0]
    while above:
        if above in everything:
            return True
        above = above.rpartition("/")[0]
    return False


def _write_file(out: str, fill: Callable[[IO[bytes]], None]) -> int:
    # Mode 0600.
    descriptor, temporary = as_caller(lambda: tempfile.mkstemp(prefix=".boxcheck-", dir=os.path.dirname(out) or "."))
    try:
        with open(descriptor, "wb") as stream:
            fill(stream)
            stream.flush()
            os.fsync(descriptor)
            size = stream.tell()
            owner = invoker()
            if owner is not None:
                with contextlib.suppress(OSError):  # a file system without owners
                    os.fchown(descriptor, *owner)
        as_caller(lambda: os.rename(temporary, out))
    except BaseException:
        with contextlib.suppress(OSError):
            as_caller(lambda: os.unlink(temporary))
        raise
    return size


def _pack(members: Members, out: str, stream: IO[bytes]) -> None:
    if out.endswith((".gz", ".tgz")):
        import gzip

        with gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed:
            _tar(members, packed)
    elif out.endswith(".zst"):
        import zstandard

        with zstandard.ZstdCompressor(level=9).stream_writer(stream, closefd=False) as packed:
            _tar(members, packed)
    else:
        _tar(members, stream)


def _tar(members: Members, stream: Any) -> None:
    import io
    import tarfile

    when = _started(members)
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in _entries(members):
            entry = tarfile.TarInfo(name)
            entry.mtime = when
            if isinstance(content, str):
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, content, 0o777
                archive.addfile(entry)
            else:
                entry.size, entry.mode = len(content), 0o600
                archive.addfile(entry, io.BytesIO(content))


def _started(members: Members) -> int:
    """When the machine was read, for the dates of the files: tools that unpack a tar complain about 1970."""
    from datetime import datetime

    meta = fields(members.files.get("/boxcheck/capture.json", b"")) or {}
    try:
        return max(_OLDEST_SECONDS, int(datetime.fromisoformat(field(meta, "start", str) or "").timestamp()))
    except (ValueError, OverflowError):
        return _OLDEST_SECONDS


def _write_directory(members: Members, out: str) -> int:
    if os.path.lexists(out) and (os.path.islink(out) or not os.path.isdir(out) or os.listdir(out)):
        raise WriteError(f"{one_line(out)}: exists and is no empty directory")
    parent = os.path.dirname(out.rstrip("/")) or "."
    temporary = tempfile.mkdtemp(prefix=".boxcheck-", dir=parent)  # mode 0700
    owner = invoker()
    try:
        made = {""}
        for name, content in _entries(members):
            _make_parents(temporary, name.rpartition("/")[0], made)
            here = f"{temporary}/{name}"
            if isinstance(content, str):
                os.symlink(content, here)
            else:
                with open(os.open(here, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                    file.write(content)
        if owner is not None:
            _hand_over(temporary, owner)
        os.rename(temporary, out.rstrip("/"))
    except BaseException:
        import shutil

        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return members.size_bytes()


def _make_parents(root: str, directory: str, made: set[str]) -> None:
    if directory not in made:
        _make_parents(root, directory.rpartition("/")[0], made)
        os.mkdir(f"{root}/{directory}", 0o700)
        made.add(directory)


def _hand_over(root: str, owner: tuple[int, int]) -> None:
    """Gives a directory of root's away, itself last: until then its new owner cannot put anything in the place of what
    is in it."""
    with contextlib.suppress(OSError):  # a file system without owners
        for _, folders, files, directory in os.fwalk(root, topdown=False):
            for name in (*folders, *files):
                os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
        os.chown(root, *owner, follow_symlinks=False)
