"""`boxcheck triage`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from boxcheck.judge import ExitCode
from boxcheck.usage import UsageError, nearest


class Options(msgspec.Struct, frozen=True, kw_only=True):
    files: tuple[str, ...] = ()
    since: str | None = None
    only: tuple[str, ...] = ()
    json: str | None = None
    plain: bool = False
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0
    strict: bool = False


def triage(options: Options) -> int:
    """Reads the evidence and writes the account. Exit code 0: nothing that fails, 1: a failing event, 3: nothing
    recognised."""
    from boxcheck.triage.account import Triage
    from boxcheck.triage.account import triage as read
    from boxcheck.triage.input import STANDARD_INPUT, gather
    from boxcheck.triage.times import parse_since

    places = gather(options.files or _standard_input())
    if places.count(STANDARD_INPUT) and sys.stdin.isatty():
        print("paste the text, then press Ctrl-D", file=sys.stderr)
    since = None
    if options.since is not None:
        since = parse_since(options.since)
        if since is None:
            raise UsageError(f"--since {options.since!r} is no time",
                             "seconds since boot (90, 2h) or a wall time ('2026-09-19 16:18:02', 'Sep 19 16:18:02')")
    found: Triage = read(places, since=since, only=_patterns(options.only))
    _write(found, options)
    if not found.recognised:
        return ExitCode.INCOMPLETE
    return ExitCode.FAILED if found.failed or (options.strict and found.warned) else ExitCode.PASSED


def _standard_input() -> tuple[str, ...]:
    if sys.stdin.isatty():
        raise UsageError("nothing to read", "boxcheck triage dmesg.txt lspci.txt, or: sudo dmesg | boxcheck triage -")
    return ("-",)


def _patterns(only: Sequence[str]) -> tuple[str, ...]:
    """Kinds as given: several in one word may be parted by commas; `aer` means `aer*`."""
    words = [word.strip() for text in only for word in text.split(",")]
    patterns = tuple(word if set(word) & set("*?[") else f"{word}*" for word in words if word)
    for word, pattern in zip((word for word in words if word), patterns, strict=True):
        if not _names_a_kind(pattern):
            # A slip of the pen would leave everything out, and look like a log without a fault.
            from boxcheck.triage.kinds import ALL_KINDS

            raise UsageError(f"no kind of event is called {word!r}", nearest(word, ALL_KINDS) or (
                "docs/reference/events.md lists them; 'aer' means all that begin with it"))
    return patterns


def _names_a_kind(pattern: str) -> bool:
    from fnmatch import fnmatchcase

    from boxcheck.triage.kinds import ALL_KINDS

    if any(fnmatchcase(kind, pattern) for kind in ALL_KINDS):
        return True
    from boxcheck.registry import CHECKS, discover

    discover()  # a capture's events are named after doctor's checks
    return any(fnmatchcase(id.replace(".", "-"), pattern) for id in CHECKS)


def _write(found: object, options: Options) -> None:
    from boxcheck.report import style_for
    from boxcheck.report.output import write_output
    from boxcheck.report.triage import plain, triage_text
    from boxcheck.report.triage_json import triage_json
    from boxcheck.triage.account import Triage

    assert isinstance(found, Triage)
    if options.json is not None:
        write_output(options.json, triage_json(found))
    stream = sys.stderr if options.json == "-" else sys.stdout
    if options.json == "-" and not stream.isatty() and not options.verbose:
        return
    stream.write(plain(found) if options.plain else triage_text(found, style_for(options, stream)))
    stream.flush()
