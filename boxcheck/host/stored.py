"""JSON of a capture, decoded as hostile input: one wrong field costs that field, and nothing is built before it is
asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from boxcheck.host import Stat, StatKind
from boxcheck.host.common import clean
from boxcheck.model import Unread, UnreadKind

T = TypeVar("T")
Fields = Mapping[str, msgspec.Raw]

ID_LIMIT = 1 << 32
WORDS_LIMIT = 300


def decode(data: bytes | msgspec.Raw, kind: type[T]) -> T | None:
    """The value, None when it is not JSON of that type."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def fields(data: bytes | msgspec.Raw) -> Fields | None:
    """The fields of a JSON object, undecoded."""
    return decode(data, dict[str, msgspec.Raw])


def field(entry: Fields, name: str, kind: type[T]) -> T | None:
    """A field, None when it is missing or of another type."""
    raw = entry.get(name)
    return None if raw is None else decode(raw, kind)


def number(entry: Fields, name: str) -> int | None:
    """A user or group id, a mode or the like: an integer of 32 bits."""
    value = field(entry, name, int)
    return value if value is not None and 0 <= value < ID_LIMIT else None


def words(entry: Fields, name: str, otherwise: str = "", limit: int = WORDS_LIMIT) -> str:
    """A text for people, cleaned and cut."""
    value = field(entry, name, str)
    return otherwise if value is None else clean(value)[:limit]


_UNREAD_KINDS: Mapping[str, UnreadKind] = {
    kind: kind for kind in (
        "absent", "permission", "not-captured", "error", "timeout", "malformed", "unsupported", "one-reading",
        "crashed",
    )
}
_STAT_KINDS: Mapping[str, StatKind] = {
    kind: kind for kind in ("file", "dir", "link", "char", "block", "fifo", "socket")
}


def unread_as(why: str, kind: str) -> Unread:
    """An Unread from a capture's words; an unknown kind is an error."""
    return Unread(clean(why).replace("\n", " ")[:WORDS_LIMIT], _UNREAD_KINDS.get(kind, "error"))


def unread_of(entry: Fields) -> Unread:
    """`{"kind": ..., "why": ...}`, either of which may be missing or wrong."""
    return unread_as(words(entry, "why", "not read"), words(entry, "kind"))


def stat_of(entry: Fields) -> Stat:
    """An entry of stat.json. `mode` is a number or octal text (`"660"`), as a shell writes it."""
    mode = number(entry, "mode")
    if mode is None:
        digits = words(entry, "mode", limit=8)
        mode = int(digits, 8) if digits and not digits.strip("01234567") else None
    return Stat(_STAT_KINDS.get(words(entry, "type"), "file"), mode, number(entry, "uid"), number(entry, "gid"))


def plain(value: Any) -> Any:
    """A JSON value with its texts cleaned, since libraries repeat what a device's memory says."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key) if isinstance(key, str) else key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def answered(value: Any) -> Any:
    """A library's live answer as a capture would give it back: lists for tuples, text for keys."""
    return value if isinstance(value, Unread) else plain(msgspec.json.decode(msgspec.json.encode(value)))
