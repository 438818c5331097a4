"""`boxcheck certify` on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from boxcheck.cli_options import (
    Ascii,
    Backend,
    Color,
    Colour,
    DryRun,
    Inject,
    JsonLines,
    JsonOut,
    NoTui,
    OcptvLines,
    ProfileOption,
    Strict,
    Verbose,
    named,
)


def certify(
    box: Annotated[str | None, typer.Argument(
        metavar="[SERIAL]", help="With --resume: the box; the newest attempt that was cut off by default.",
        callback=named)] = None,
    profile: ProfileOption = None,
    force_profile: Annotated[bool, typer.Option(
        "--force-profile", help="Certify by --profile although this is another box.")] = False,
    serial: Annotated[str | None, typer.Option(
        "--serial", metavar="N", help="Of the box; without it that of its board, as root reads it.",
        callback=named)] = None,
    work_order: Annotated[str | None, typer.Option("--work-order", metavar="TEXT", help="Or lot.")] = None,
    operator: Annotated[str | None, typer.Option(
        "--operator", metavar="NAME", help="Who tests it.", callback=named)] = None,
    station: Annotated[str | None, typer.Option("--station", metavar="NAME", help="Where it is tested.")] = None,
    riser: Annotated[list[str] | None, typer.Option(
        "--riser", metavar="SLOT=LABEL", help="Label of the riser in a slot (repeatable).")] = None,
    field: Annotated[list[str] | None, typer.Option(
        "--field", metavar="NAME=TEXT", help="A field that the station file adds (repeatable).")] = None,
    notes: Annotated[str | None, typer.Option("--notes", metavar="TEXT", help="Whatever is to be remembered.")] = None,
    identity: Annotated[str | None, typer.Option(
        "--identity", metavar="FILE", help="All of these, in TOML; options win.", callback=named)] = None,
    station_file: Annotated[str | None, typer.Option(
        "--station-file", metavar="FILE", help="Patterns and prompts of fields; without it "
        "~/.config/boxcheck/station.toml where that is.", callback=named)] = None,
    waivers: Annotated[str | None, typer.Option(
        "--waivers", metavar="FILE", help="Who answers for which failing check, why, until when.",
        callback=named)] = None,
    level: Annotated[int | None, typer.Option(
        "--level", metavar="N", min=1, max=4, help="How long: 1 about 2 min, 2 15 min, 3 an hour, 4 eight hours; "
        "without it what the profile asks for. Less than that is INCOMPLETE.", show_default=False)] = None,
    lasting: Annotated[str | None, typer.Option(
        "--for", metavar="TIME", help="How long instead: 15m, 1h30m, 2d.", callback=named)] = None,
    backend: Backend = None,
    inject: Inject = None,
    dry_run: DryRun = False,
    resume: Annotated[bool, typer.Option(
        "--resume", help="Finish an attempt that was cut off or left.")] = False,
    end: Annotated[bool, typer.Option(
        "--end", help="With --resume: do not go on with the run; report what it came to.")] = False,
    no_tui: NoTui = False,
    json: JsonOut = None,
    jsonl: JsonLines = None,
    ocptv: OcptvLines = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the disposition.")] = False,
    verbose: Verbose = 0,
    strict: Strict = False,
) -> None:
    """Certify the box: who and what, doctor, load by the profile's acceptance plan, doctor, a folder to be signed.

    On a terminal it asks for what is not told. Every attempt of a box is kept. Exit codes: 0 PASS or MARGINAL PASS, 1
    FAIL, 2 usage, 3 INCOMPLETE or ABORTED, 4 boxcheck broke, 5 stopped for safety or a GPU is lost.
    """
    from boxcheck.commands.certify import Options
    from boxcheck.commands.certify import certify as body

    raise typer.Exit(body(Options(
        box=box, profile=profile, force_profile=force_profile, serial=serial, work_order=work_order, operator=operator,
        station=station, risers=tuple(riser or ()), fields=tuple(field or ()), notes=notes, identity=identity,
        station_file=station_file, waivers=waivers, level=level, lasting=lasting, backend=backend, inject=inject,
        dry_run=dry_run, resume=resume, end=end, json=json, jsonl=jsonl, ocptv=ocptv, strict=strict, ascii=ascii,
        color=color.value, quiet=quiet, verbose=verbose, no_tui=no_tui)))
