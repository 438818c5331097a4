"""What the live and the captured host share: decoding of text and of kernel error numbers."""

from __future__ import annotations

import errno
import os

from boxcheck.model import Unread, UnreadKind

_CONTROL = {code: "�" for code in (*range(0x00, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
for _kept in (0x09, 0x0A, 0x0D):
    del _CONTROL[_kept]


def to_text(data: bytes) -> str:
    """UTF-8 text with undecodable bytes and control characters replaced, so that no capture can drive a terminal."""
    text = data.decode("utf-8", errors="replace")
    if not text.isprintable():  # most sysfs values end in a line feed; translate() costs only where it is needed
        text = text.translate(_CONTROL)
    return text.strip()


_KINDS: dict[int, UnreadKind] = {
    errno.ENOENT: "absent", errno.ENOTDIR: "absent", errno.ENXIO: "absent", errno.ENODEV: "absent",
    errno.EACCES: "permission", errno.EPERM: "permission",
    errno.EOPNOTSUPP: "unsupported", errno.ENOSYS: "unsupported", errno.ENODATA: "unsupported", errno.EINVAL: "error",
    errno.ETIMEDOUT: "timeout",
}


def from_errno(number: int | None, path: str) -> Unread:
    """The Unread for a failed system call on `path`."""
    if number is None:
        return Unread(f"{path}: failed without an error number", "error")
    kind = _KINDS.get(number, "error")
    words = {
        "absent": "no such file",
        "permission": "permission denied",
    }.get(kind) if number in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM) else None
    return Unread(f"{path}: {words or os.strerror(number).lower()}", kind)


def clean_path(path: str) -> str:
    """Normalised absolute path, lexically; never above the root."""
    if "//" not in path and "/." not in path and path.startswith("/") and (len(path) == 1 or path[-1] != "/"):
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if parts:
                parts.pop()
            continue
        parts.append(part)
    return "/" + "/".join(parts)
