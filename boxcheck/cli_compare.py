"""`boxcheck compare` and `boxcheck yield` on the command line."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from boxcheck.cli_options import Ascii, Color, Colour, JsonOut, named, profile_names, run_names

CsvOut = Annotated[str | None, typer.Option("--csv", metavar="FILE|-", help="Write a table as CSV.", callback=named)]


def compare(
    sides: Annotated[list[str], typer.Argument(
        metavar="A B...", help="Runs as `runs` lists them, stores, folders of attempts, captures, doctor's JSON.",
        autocompletion=run_names)],
    profile: Annotated[str | None, typer.Option(
        "--profile", metavar="NAME|FILE", help="Judge captures by this one instead of the one that matches.",
        callback=named, autocompletion=profile_names)] = None,
    table: Annotated[bool, typer.Option("--table", help="Two as a table too, as three and more are.")] = False,
    fail_on_change: Annotated[bool, typer.Option(
        "--fail-on-change", help="Exit 1 where something differs or stands out, 3 where not all was read.")] = False,
    json: JsonOut = None,
    csv: CsvOut = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the counts.")] = False,
    verbose: Annotated[int, typer.Option(
        "-v", "--verbose", count=True, show_default=False, help="Every difference, every table.")] = 0,
) -> None:
    """Compare two: one box before and after, or two boxes. Three or more: a table a quantity, what stands out marked.

    What is judged otherwise comes first, then what a box has, what was measured beyond its scatter, limits. What one of
    them did not read is never alike. Exit codes: 0 compared, 2 one of them cannot be read; 1 and 3 with
    --fail-on-change.
    """
    from boxcheck.commands.compare import Options
    from boxcheck.commands.compare import compare as body

    raise typer.Exit(body(sides, Options(
        profile=profile, table=table, fail_on_change=fail_on_change, json=json, csv=csv, ascii=ascii,
        color=color.value, quiet=quiet, verbose=verbose)))


class Grouping(StrEnum):
    profile = "profile"
    station = "station"
    operator = "operator"
    work_order = "work-order"
    month = "month"
    day = "day"


def yields(
    places: Annotated[list[str] | None, typer.Argument(
        metavar="[FOLDER|STORE]...", help="Folders of attempts, of any depth, and stores of burn-ins; without them "
        "what certify keeps for this user.")] = None,
    since: Annotated[str | None, typer.Option(
        "--since", metavar="TIME", help="Boxes whose first attempt began since then: 30d, 2026-11-01 or "
        "'2026-11-28 16:00' (UTC).", callback=named)] = None,
    until: Annotated[str | None, typer.Option(
        "--until", metavar="TIME", help="And until then; a day counts whole. Later attempts are left out.",
        callback=named)] = None,
    profile: Annotated[str | None, typer.Option(
        "--profile", metavar="NAME", help="Only boxes that were tested by this profile.", callback=named,
        autocompletion=profile_names)] = None,
    station: Annotated[str | None, typer.Option(
        "--station", metavar="NAME", help="Only those first tested there.", callback=named)] = None,
    operator: Annotated[str | None, typer.Option(
        "--operator", metavar="NAME", help="Only those first tested by them.", callback=named)] = None,
    work_order: Annotated[str | None, typer.Option(
        "--work-order", metavar="TEXT", help="Only those of this work order or lot.", callback=named)] = None,
    by: Annotated[Grouping | None, typer.Option("--by", help="A line for each of these too.")] = None,
    json: JsonOut = None,
    csv: CsvOut = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the numbers of the whole.")] = False,
) -> None:
    """Count how many boxes passed the first time, how many in the end, and which checks they failed first.

    A box is one serial number, its further attempts are retests. INCOMPLETE, ABORTED and passes with waivers are told
    apart. Exit codes: 0 counted, 2 nothing to count, 3 an attempt could not be read.
    """
    from boxcheck.commands.yields import Options
    from boxcheck.commands.yields import yields as body

    raise typer.Exit(body(places or (), Options(
        since=since, until=until, profile=profile, station=station, operator=operator, work_order=work_order,
        by=by.value if by is not None else None, json=json, csv=csv, ascii=ascii, color=color.value, quiet=quiet)))
