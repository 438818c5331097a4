"""`boxcheck yield`: first-pass yield, final yield and what fails first, from the attempts that lie in folders."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence

import msgspec

from boxcheck import __version__
from boxcheck.commands.compare import Told, write
from boxcheck.commands.runs import since_days
from boxcheck.compare.yields import By, Window
from boxcheck.judge import ExitCode
from boxcheck.report.output import refuse_place
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

DAY_SECONDS = 86400.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    since: str | None = None
    until: str | None = None
    profile: str | None = None
    station: str | None = None
    operator: str | None = None
    work_order: str | None = None
    by: By | None = None
    json: str | None = None
    csv: str | None = None
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0


def yields(places: Sequence[str], options: Options) -> int:
    """0 where all was read, 3 where an attempt could not be, 2 where there is nothing to count."""
    from boxcheck.compare.attempts import read_attempts
    from boxcheck.compare.yields import yield_of
    from boxcheck.report import style_for
    from boxcheck.report.yields import yield_csv, yield_json, yield_text

    if options.json == options.csv == "-":
        raise UsageError("only one of them can go to standard output", "name a file for the other")
    for place in (options.json, options.csv):
        if place not in (None, "-"):
            refuse_place(place)
    now = time.time()
    window = Window(
        since=_moment(options.since, now), until=_moment(options.until, now, whole_day=True), profile=options.profile,
        station=options.station, operator=options.operator, work_order=options.work_order)
    if window.since is not None and window.until is not None and window.since > window.until:
        raise UsageError("the window ends before it begins", "give --since an earlier time than --until")
    folders = list(places) or [_own()]
    read = read_attempts(folders)
    if not read.attempts and not read.unread:
        raise UsageError(f"no attempt lies in {', '.join(map(plain_line, folders))}",
                         "name the folder that certify keeps its attempts in, or one with stores of burn-ins")
    found = yield_of(read.attempts, window, options.by, __version__, read.told)
    style = style_for(options, sys.stderr if "-" in (options.json, options.csv) else sys.stdout)
    write(Told(yield_json(found), yield_csv(found), yield_text(found, style)), options)
    return int(ExitCode.INCOMPLETE if read.unread else ExitCode.PASSED)


def _own() -> str:
    """Where certify keeps the attempts of this user."""
    from boxcheck.engine.record import kept_directory
    from boxcheck.host.live import LiveHost

    try:
        return kept_directory(LiveHost(), "certify")
    except OSError as error:
        says = f"{plain_line(str(error.filename))}: {os.strerror(error.errno or 0).lower()}"
        raise UsageError(says, "name the folder of the attempts") from None


def _moment(text: str | None, now: float, *, whole_day: bool = False) -> float | None:
    """Seconds since the epoch. `whole_day`: a day alone counts to its end."""
    if text is None:
        return None
    begin = round(now - since_days(text, now) * DAY_SECONDS, 3)
    return begin + DAY_SECONDS - 1 if whole_day and re.fullmatch(r"\s*\d{4}-\d{2}-\d{2}\s*", text) else begin
