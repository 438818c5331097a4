"""Version numbers of kernels, drivers, ROCm and firmware packages, compared as numbers.

`6.18.4` is later than `6.9.1`, and `6.14.0-1014-oem` is Ubuntu's kernel for new machines, into which support for newer
hardware is ported back: its number says less than its flavour.
By hand  uname -r
"""

from __future__ import annotations

import re

import msgspec

_NUMBERS = re.compile(r"(\d{1,9}(?:\.\d{1,9}){0,5})")
_RELEASE = re.compile(r"(\d{1,5})\.(\d{1,5})(?:\.(\d{1,9}))?")
_CANDIDATE = re.compile(r"[-.~]?rc(\d{1,4})\b")
_DATE = re.compile(r"(?<!\d)(20\d{6})(?!\d)")
_FLAVOUR = re.compile(r"-([a-z][a-z0-9_]*)", re.IGNORECASE)
_ENTERPRISE = re.compile(r"\.el(\d{1,2})(?:_\d+)?\b|\.amzn\d|-150\d00\.\d")
_ORDINAL = re.compile(r"\d{1,9}")

Numbers = tuple[int, ...]


def parse_numbers(text: str) -> Numbers | None:
    """The first dotted number of `text`: `570.133.20-p2p` gives (570, 133, 20). None when there is none."""
    found = _NUMBERS.search(text[:200])
    return tuple(int(part) for part in found[1].split(".")) if found else None


def at_least(numbers: Numbers, bound: Numbers) -> bool:
    """Whether `numbers` is `bound` or later; missing parts count as 0, so 6.18 is at least 6.18.0."""
    length = max(len(numbers), len(bound))
    return numbers + (0,) * (length - len(numbers)) >= bound + (0,) * (length - len(bound))


class KernelRelease(msgspec.Struct, frozen=True):
    """What `uname -r` says."""

    text: str
    numbers: Numbers
    """(6, 18, 4). A release candidate counts as the version before it: 6.18-rc3 is (6, 17, 999, 3)."""
    flavour: str
    """`oem`, `generic`, `arch1`, `amd64`, `el9`; empty for a kernel built by hand."""
    backports: bool
    """An enterprise or OEM kernel, whose drivers are newer than its number says."""


def parse_release(text: str) -> KernelRelease | None:
    """A kernel release taken apart; None when it does not begin with a number."""
    found = _RELEASE.match(text)
    if found is None:
        return None
    numbers: Numbers = (int(found[1]), int(found[2]), int(found[3] or 0))
    rest = text[found.end():][:80]
    candidate = _CANDIDATE.match(rest)
    if candidate is not None and numbers[2] == 0:
        numbers = (numbers[0], numbers[1] - 1, 999, int(candidate[1]))
    enterprise = _ENTERPRISE.search(rest)
    words = [word for word in _FLAVOUR.findall(rest) if not word.lower().startswith("rc")]
    flavour = f"el{enterprise[1]}" if enterprise and enterprise[1] else words[-1].lower() if words else ""
    return KernelRelease(text[:80], numbers, flavour, enterprise is not None or flavour == "oem")


def release_order(text: str) -> tuple[int, ...]:
    """Key that sorts kernel releases of one flavour from old to new: all their numbers, in order."""
    release = parse_release(text)
    if release is None:
        return ()
    rest = text[_RELEASE.match(text).end():]  # type: ignore[union-attr]  # parse_release matched it
    return (*release.numbers, *(int(number) for number in _ORDINAL.findall(rest)[:6]))


def snapshot_date(text: str) -> str | None:
    """The `20251125` in a firmware package's version, whatever the distribution puts around it; None without one.

    `20251125-1.fc43`, `1:20251125-1`, `20240318.git3b128b60-0ubuntu2.12`.
    """
    found = _DATE.search(text[:200])
    return found[1] if found else None


_STABLE = re.compile(r"(?:Ubuntu \S{1,60}|Debian) (\d{1,5}\.\d{1,5}(?:\.\d{1,9})?(?:[-~]rc\d{1,4})?)(?=[-+~ )]|$)")


def upstream_version(banner: str, release: str) -> str | None:
    """The stable release that a distribution's kernel is built from, as its banner says; None when it does not.

    Ubuntu and Debian name their packages x.y.0 whatever they hold: /proc/version_signature of `6.8.0-60-generic` is
    `Ubuntu 6.8.0-60.63-generic 6.8.12`, /proc/version of `6.1.0-37-amd64` holds `Debian 6.1.140-1`. The banner names
    the compiler in the same way (`gcc (Debian 12.2.0-14) 12.2.0`), so only a version of the release's series counts.
    """
    series = _RELEASE.match(release)
    if series is None:
        return None
    wanted = f"{series[1]}.{series[2]}"
    for found in _STABLE.finditer(banner[:1000]):
        if found[1] == wanted or found[1].startswith(f"{wanted}."):
            return found[1]
    return None
