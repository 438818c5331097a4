"""Words that every family of kernel messages shares: PCI addresses, numbers, patterns that compile when first used."""

from __future__ import annotations

import functools
import re
from typing import Any

from boxcheck.model import Bdf


class Rx:
    """A regular expression that is compiled when it is first used.

    A log of a healthy machine needs few of the patterns, and compiling all of them costs more than reading the log.
    Patterns here must be linear: no nested quantifiers, no two adjacent quantifiers over the same characters.
    """

    __slots__ = ("_compiled", "_source")

    def __init__(self, source: str) -> None:
        self._source = source
        self._compiled: re.Pattern[str] | None = None

    @property
    def pattern(self) -> re.Pattern[str]:
        """The compiled pattern."""
        compiled = self._compiled
        if compiled is None:
            compiled = self._compiled = re.compile(self._source)
        return compiled

    def search(self, text: str) -> re.Match[str] | None:
        """`re.search`."""
        return self.pattern.search(text)

    def match(self, text: str, start: int = 0) -> re.Match[str] | None:
        """`re.match`, from `start`."""
        return self.pattern.match(text, start)


BDF = r"(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]"
"""A PCI address with its function; the domain may be missing (lspci) or have 8 digits (NVIDIA)."""

_ADDRESS = Rx(r"(?:([0-9a-fA-F]{1,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.([0-7]))?$")


@functools.lru_cache(maxsize=4096)
def normal_bdf(text: str | None) -> Bdf | None:
    """Return a PCI address as the kernel writes it (`0000:41:00.0`), None when `text` is none.

    A missing domain is 0, a missing function (Xid names the board) is 0, digits are lower case.
    """
    found = _ADDRESS.match(text) if text else None
    if found is None:
        return None
    domain, bus, device, function = found.groups()
    number = int(domain, 16) if domain else 0
    if int(device, 16) > 0x1F:
        return None
    return Bdf(f"{number:04x}:{bus.lower()}:{device.lower()}.{function or '0'}")


def packed_bdf(packed: int, domain: str = "0000") -> Bdf:
    """Return the address of a 16-bit requester id: bus in bits 15:8, device in 7:3, function in 2:0."""
    return Bdf(f"{domain}:{packed >> 8 & 0xFF:02x}:{packed >> 3 & 0x1F:02x}.{packed & 7}")


def forget_oldest(table: dict[Any, Any], limit: int) -> None:
    """Make room for one more entry in a table of at most `limit`: a hostile log names any number of devices."""
    while len(table) >= limit:
        del table[next(iter(table))]


_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size_text(size_bytes: int) -> str:
    """Return a size for a person, in the largest binary unit that fits: `16 GiB`, `256 MiB`."""
    for unit, name in _UNITS:
        if size_bytes >= unit:
            whole = size_bytes / unit
            return f"{whole:.0f} {name}" if whole == int(whole) else f"{whole:.1f} {name}"
    return f"{size_bytes} bytes"
