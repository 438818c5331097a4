"""`boxcheck compare` and `boxcheck yield` on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from boxcheck.cli_options import Color, JsonOut, named, profile_names

CsvOut = Annotated[str | None, typer.Option("--csv", metavar="FILE|-", help="Write a table as CSV.", callback=named)]
Ascii = Annotated[bool, typer.Option("--ascii", help="ASCII only.")]
ColorOption = Annotated[Color, typer.Option("--color", help="Colour.")]


def compare(
    sides: Annotated[list[str], typer.Argument(
        metavar="A B...", help="Runs as `runs` lists them, stores, folders of attempts, captures, doctor's JSON.")],
    profile: Annotated[str | None, typer.Option(
        "--profile", metavar="NAME|FILE", help="Judge captures by this one instead of the one that matches.",
        callback=named, autocompletion=profile_names)] = None,
    table: Annotated[bool, typer.Option("--table", help="Two as a table too, as three and more are.")] = False,
    fail_on_change: Annotated[bool, typer.Option(
        "--fail-on-change", help="Exit 1 where something differs or stands out, 3 where not all was read.")] = False,
    json: JsonOut = None,
    csv: CsvOut = None,
    ascii: Ascii = False,
    color: ColorOption = Color.auto,
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
