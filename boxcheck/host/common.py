"""What the live and the captured host share, so that both give the same answer in the same words: decoding of text and
of kernel error numbers, and the walk along symbolic links."""

from __future__ import annotations

import errno
from collections.abc import Callable

from boxcheck.model import Unread, UnreadKind

PATH_LIMIT = 4096
"""PATH_MAX of Linux."""

LINK_LIMIT = 40
"""The kernel's MAXSYMLINKS (include/linux/namei.h)."""

DEPTH_LIMIT = 128
"""Components of a path and links on the way, together. The deepest sysfs path in the captures at hand has 17."""

# What both hosts say, without the path; `unread()` puts the path before it.
ABSENT = Unread("no such file", "absent")
NOT_CAPTURED = Unread("not in the capture", "not-captured")
NOWHERE = Unread("its symbolic links lead nowhere", "error")
NO_PATH = Unread("not a path", "malformed")
NOT_REGULAR = Unread("not a regular file", "error")
IS_DIRECTORY = Unread("is a directory", "error")
NO_DIRECTORY = Unread("not a directory", "error")
NO_LINK = Unread("not a symbolic link", "absent")
BOOTS = {0: "kernel log of this boot", -1: "kernel log of the previous boot"}

_CONTROL = {
    code: "�"
    for code in (
        *range(0x00, 0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A),
        0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xD800, 0xE000),
    )
}
"""C0, C1, marks that turn the direction of writing, separators that a terminal may take for a line end, surrogates."""
for _kept in (0x09, 0x0A):
    del _CONTROL[_kept]


def clean(text: str) -> str:
    """Text with control characters replaced and line ends made `\\n`, so that no capture can drive a terminal."""
    if not text.isprintable():  # most sysfs values need nothing; translate() costs only where it is needed
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        text = text.translate(_CONTROL)
    return text


def to_text(data: bytes) -> str:
    """UTF-8 text, cleaned, with undecodable bytes replaced and surrounding white space removed.

    GNU tar of a live /sys fills a file that is shorter than its size said (a page) with NULs, which are no words of the
    kernel's. A file of nothing else is damaged, and not empty.
    """
    text = (data.rstrip(b"\0") or data).decode("utf-8", errors="replace")
    return clean(text.strip()).strip()


def one_line(text: str, limit: int = 160) -> str:
    """Hostile text for an error message: printable, short, one line."""
    return "".join(character if character.isprintable() else "?" for character in text[:limit])


def unread(path: str, words: str, kind: UnreadKind) -> Unread:
    """Every Unread about a path reads `path: words`, with the path as it was asked for."""
    return Unread(f"{path if path.isprintable() else one_line(path)}: {words}", kind)


def not_a_path(path: str) -> bool:
    """Whether a path, perhaps built from what a machine said, is none that a kernel could have."""
    return not path.isprintable() or not path.startswith("/") or len(path) >= PATH_LIMIT


_KINDS: dict[str, UnreadKind] = {
    "ENOENT": "absent", "ENOTDIR": "absent", "ENXIO": "absent", "ENODEV": "absent",
    "EACCES": "permission", "EPERM": "permission",
    "EOPNOTSUPP": "unsupported", "ENOTSUP": "unsupported", "ENOSYS": "unsupported", "ENODATA": "unsupported",
    "ETIMEDOUT": "timeout",
}

_WORDS = {
    "ENOENT": "no such file", "ENOTDIR": "no such file", "EACCES": "permission denied",
    "EPERM": "operation not permitted", "ENODEV": "no such device", "ENXIO": "no such device or address",
    "EBUSY": "device or resource busy", "EINVAL": "invalid argument", "ENOMEM": "cannot allocate memory",
    "EIO": "input/output error", "ETIMEDOUT": "no answer in time", "EAGAIN": "would block", "ENODATA": "no data",
    "EOPNOTSUPP": "operation not supported", "ENOTSUP": "operation not supported", "ENOSYS": "function not implemented",
    "EROFS": "read-only file system", "EISDIR": "is a directory", "ENAMETOOLONG": "file name too long",
    "ELOOP": "its symbolic links lead nowhere", "EMFILE": "too many open files", "ENFILE": "too many open files",
    "EFAULT": "bad address", "EREMOTEIO": "remote input/output error", "EPIPE": "broken pipe",
    "ESTALE": "stale file handle",
    "ENOSPC": "no space left on device", "ESHUTDOWN": "device shut down", "ETXTBSY": "text file busy",
}
"""Not strerror(): its words differ between C libraries, and a capture must read the same everywhere."""


def errno_name(number: int | None) -> str:
    """`EACCES` for 13; `EIO` for None and for a number that Linux does not have."""
    return errno.errorcode.get(number or 0, "EIO")


def from_errno_name(name: str) -> tuple[str, UnreadKind]:
    """Words and kind for the name of a kernel error (`EACCES`); an unknown name is its own words."""
    return _WORDS.get(name, one_line(name, 80)), _KINDS.get(name, "error")


def from_errno(number: int | None, path: str) -> Unread:
    """The Unread for a failed system call on `path`."""
    return unread(path, *from_errno_name(errno_name(number)))


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


class Resolver:
    """Follows symbolic links as the kernel does, and never above the root of the machine that is read.

    Real paths of directories are remembered, since thousands of files are read from a few hundred of them. The root is
    `""` here, so that a child is always `directory + "/" + name`.
    """

    def __init__(self, readlink: Callable[[str], str | None]) -> None:
        """`readlink` gives the target of the link at a real path, None for anything else."""
        self._readlink = readlink
        self._directories: dict[str, str | None] = {"": ""}
        self._depth = 0

    def directory(self, path: str) -> str | None:
        """Real path of a directory; None where its links lead nowhere."""
        try:
            return self._directories[path]
        except KeyError:
            if self._depth > DEPTH_LIMIT:
                return None
        self._directories[path] = None  # while it is being found: what needs itself goes in a circle
        self._depth += 1
        real = self._directories[path] = self.end(self.place(path))
        self._depth -= 1
        return real

    def place(self, path: str) -> str | None:
        """Real path of what stands at `path`, with the last component not followed."""
        head, _, name = path.rpartition("/")
        directory = self.directory(head)
        if directory is None or name in ("", "."):
            return directory
        return directory.rpartition("/")[0] if name == ".." else f"{directory}/{name}"

    def resolve(self, path: str) -> str | None:
        """Real path with every link followed. None where links go in a circle or hold what is no path."""
        return self.end(self.place(path))

    def end(self, here: str | None) -> str | None:
        """Where the chain of links that begins at a real path ends; the path itself when it is no link."""
        for _ in range(LINK_LIMIT):
            target = self._readlink(here) if here else None
            if here is None or target is None:
                return here
            here = self._join(here, target)
        return None

    def _join(self, link: str, target: str) -> str | None:
        base = "" if target.startswith("/") else link.rpartition("/")[0]
        while target.startswith("../"):  # sysfs links begin so; `base` is real, so its parent is too
            base, target = base.rpartition("/")[0], target[3:]
        joined = f"{base}/{target}"
        return None if not_a_path(joined) else self.place(joined)
