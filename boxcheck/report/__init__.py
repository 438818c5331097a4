"""Every report renders one `Account` and decides nothing."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Protocol

from boxcheck.account import Account

if TYPE_CHECKING:
    from boxcheck.commands.doctor import Options
    from boxcheck.report.text import Style


class Shown(Protocol):
    """The options of a command that say how its account looks."""

    @property
    def color(self) -> str: ...
    @property
    def ascii(self) -> bool: ...
    @property
    def verbose(self) -> int: ...
    @property
    def quiet(self) -> bool: ...


def columns_of(stream: object) -> int:
    """How wide text for a stream is: as its terminal or COLUMNS says, 100 where neither does, 120 at most."""
    terminal = bool(getattr(stream, "isatty", lambda: False)())
    told = terminal or os.environ.get("COLUMNS")
    return min(shutil.get_terminal_size((100, 24)).columns if told else 100, 120)


def style_for(options: Shown, stream: object = None) -> Style:
    """Width, colour and character set for a stream, from its terminal, the environment and the options."""
    from boxcheck.report.text import Style

    out = sys.stdout if stream is None else stream
    terminal = bool(getattr(out, "isatty", lambda: False)())
    if options.color == "always":
        color = True
    elif options.color == "never" or os.environ.get("NO_COLOR"):
        color = False
    else:
        color = bool(os.environ.get("FORCE_COLOR")) or (terminal and os.environ.get("TERM") != "dumb")
    encoding = (getattr(out, "encoding", None) or "ascii").lower().replace("-", "")
    ascii = options.ascii or not encoding.startswith("utf") or os.environ.get("TERM") in ("dumb", "vt100")
    return Style(columns=columns_of(out), color=color, ascii=ascii, verbose=options.verbose, quiet=options.quiet)


def write_reports(account: Account, options: Options) -> None:
    """Writes every report that was asked for. With `-`, standard output holds that one alone; the account goes to
    standard error."""
    from boxcheck.report.output import write_output

    if options.json:
        from boxcheck.report.json import run_json

        write_output(options.json, run_json(account, with_facts=options.verbose > 0))
    if options.jsonl:
        from boxcheck.report.json import run_lines

        write_output(options.jsonl, "\n".join(run_lines(account)))
    if options.junit:
        from boxcheck.report.junit import junit_xml

        write_output(options.junit, junit_xml(account))
    if options.ocptv:
        from boxcheck.report.ocptv import ocptv_lines

        write_output(options.ocptv, "\n".join(ocptv_lines(account)))
    if options.openmetrics:
        from boxcheck.report.openmetrics import account_openmetrics

        write_output(options.openmetrics, account_openmetrics(account))
    taken = "-" in (options.json, options.jsonl, options.junit, options.ocptv, options.openmetrics)
    stream = sys.stderr if taken else sys.stdout
    if taken and not stream.isatty() and not options.verbose:
        return  # data was asked for and nobody watches
    from boxcheck.report.text import account_text, plain

    stream.write(plain(account, options.quiet) if options.plain else account_text(account, style_for(options, stream)))
    stream.flush()
    for crash in account.crashes:
        sys.stderr.write(f"boxcheck itself broke in {crash.where}; --json holds the traceback; please report it\n")
