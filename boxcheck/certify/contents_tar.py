"""The files of an attempt in a tar of its folder, packed or not; hashed as they pass, nothing is unpacked to disk."""

from __future__ import annotations

import os
import stat

from boxcheck.certify.contents import FILES_LIMIT, MANIFEST, Contents, ContentsError, enter, good_name
from boxcheck.host.inflate import InflateError, Plain, inflate
from boxcheck.host.tar import DIRECTORY, HARD, LINK, REGULAR, Member, members
from boxcheck.store.texts import plain_line

UNPACKED_LIMIT_BYTES = 64 << 30
"""Most that is decompressed: a day of eight GPUs has 100 MB."""


def contents_of_tar(path: str) -> Contents:
    """Every file of the folder that a tar holds. ContentsError where it is no tar, is cut off, or holds several
    folders with a manifest."""
    made = Contents(where=path)
    top = _top(path)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as raw:
            if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
                raise ContentsError(f"{plain_line(path)}: neither a file nor a folder")
            source = inflate(raw, UNPACKED_LIMIT_BYTES)
            seen: set[str] = set()
            for member in members(source, alone=True):
                _enter_member(made, member, source, top, seen)
    except OSError as error:
        raise ContentsError(f"{plain_line(path)}: {os.strerror(error.errno or 0).lower()}") from None
    except InflateError as error:
        raise ContentsError(_words(path, error)) from None
    return made


def _words(path: str, error: InflateError) -> str:
    return f"{plain_line(path)}: {plain_line(str(error)).replace('; the capture is truncated', ', it is cut off')}"


def _name(member: Member) -> str:
    """Without the `./` that `tar -C folder .` writes before each."""
    name = member.name.decode("utf-8", "surrogateescape")
    while name.startswith("./"):
        name = name[2:].lstrip("/") if name[2:3] == "/" else name[2:]
    return name


def _top(path: str) -> str:
    """Folder within the tar, with its `/`; empty where the files lie at its top."""
    found: list[str] = []
    number = 0
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as raw:
            if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
                raise ContentsError(f"{plain_line(path)}: neither a file nor a folder")
            for member in members(inflate(raw, UNPACKED_LIMIT_BYTES), alone=True):
                number += 1
                if number > FILES_LIMIT:
                    raise ContentsError(f"{plain_line(path)}: holds more than {FILES_LIMIT} files")
                name = _name(member)
                if name == MANIFEST or name.endswith(f"/{MANIFEST}"):
                    found.append(name.removesuffix(MANIFEST))
    except OSError as error:
        raise ContentsError(f"{plain_line(path)}: {os.strerror(error.errno or 0).lower()}") from None
    except InflateError as error:
        raise ContentsError(_words(path, error)) from None
    folders = sorted(set(found), key=lambda one: (one.count("/"), one))
    if not folders:
        raise ContentsError(f"{plain_line(path)}: holds no {MANIFEST}")
    if len(folders) > 1:
        raise ContentsError(f"{plain_line(path)}: holds {len(folders)} attempts; unpack it and name one of them")
    return folders[0]


def _enter_member(made: Contents, member: Member, source: Plain, top: str, seen: set[str]) -> None:
    name = _name(member)
    if member.type == DIRECTORY:
        return
    if not name.startswith(top):
        made.trouble(name, "name", "lies outside of the attempt's folder")
        return
    name = name[len(top):]
    if not good_name(name):
        made.trouble(name, "name", "is no name that a file of an attempt may have")
    elif name in seen:
        made.trouble(name, "twice", "is there twice")
    elif member.type in (LINK, HARD):
        made.trouble(name, "link", "is a link, not a file")
    elif member.type not in REGULAR:
        made.trouble(name, "device", "is no plain file")
    else:
        enter(made, name, member.size, source.read, None)
    seen.add(name)
