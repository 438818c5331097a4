"""Single values of sysfs and procfs attributes, for the probes.

A missing attribute stays apart from one that holds nonsense: the first is Unread of kind `absent`, the second of kind
`malformed`.
"""

from __future__ import annotations

from boxcheck.decode.text import clean_text, meaningful
from boxcheck.host import Host
from boxcheck.model import Unread

MAX_DIGITS = 20
"""Digits of 2^64 - 1, the largest number that an attribute holds."""


def parse_integer(text: str, where: str) -> int | Unread:
    """A decimal number, `0x` for a hexadecimal one; `where` names the file in the Unread."""
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdecimal() and len(digits) <= MAX_DIGITS:
        return int(text)
    if digits.startswith("0x") and len(digits) <= 18:
        try:
            return int(text, 16)
        except ValueError:
            pass
    return Unread(f"{where}: {clean_text(text, 24)!r} is no number", "malformed")


def integer(host: Host, path: str) -> int | Unread:
    """The number in an attribute."""
    text = host.text(path)
    return text if isinstance(text, Unread) else parse_integer(text, path)


def count(host: Host, path: str) -> int | Unread:
    """The number in a counter, which no kernel lets fall below 0."""
    number = integer(host, path)
    return Unread(f"{path}: {number} is no count", "malformed") if isinstance(number, int) and number < 0 else number


def parse_uptime(text: str) -> float | Unread:
    """Seconds since boot, the first number of /proc/uptime (proc_uptime(5))."""
    try:
        seconds = float(text.split()[0])
    except (IndexError, ValueError):
        return Unread("/proc/uptime holds no number", "malformed")
    return seconds if 0 < seconds < 1e10 else Unread("/proc/uptime holds no possible time", "malformed")


def words(host: Host, path: str) -> str | None | Unread:
    """The text of an attribute, cleaned; None where it is empty or a placeholder that vendors leave in."""
    text = host.text(path)
    return text if isinstance(text, Unread) else meaningful(clean_text(text))


def either(text: str | None | Unread, instead: str | None | Unread) -> str | None | Unread:
    """`text`, or `instead` where that was not read."""
    return instead if isinstance(text, Unread) and not isinstance(instead, Unread) else text


def numbered(names: tuple[str, ...], stem: str) -> list[str]:
    """The names that are `stem` and a number, by that number: `cpu2` before `cpu10`, `cpufreq` not among them."""
    digits = [
        (int(name[len(stem):]), name) for name in names
        if name.startswith(stem) and name[len(stem):].isascii() and name[len(stem):].isdecimal() and len(name) < 40
    ]
    return [name for _, name in sorted(digits)]


def parse_cpu_list(text: str, where: str = "list of CPUs") -> tuple[int, ...] | Unread:
    """The numbers of `0-3,8`, the kernel's list format; an empty text is an empty list.

    Numbers above 65535 (8 times the largest NR_CPUS that a distribution sets) are refused.
    """
    found: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isascii() and first.isdecimal() and last.isascii() and last.isdecimal()):
            return Unread(f"{where}: {clean_text(part, 24)!r} is no number and no range", "malformed")
        if len(first) > 5 or len(last) > 5 or int(last) > 0xFFFF or int(first) > int(last):
            return Unread(f"{where}: {clean_text(part, 24)!r} is no possible range", "malformed")
        found.extend(range(int(first), int(last) + 1))
        if len(found) > 0x10000:
            return Unread(f"{where}: more than 65536 numbers", "malformed")
    return tuple(sorted(set(found)))
