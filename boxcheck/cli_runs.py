"""`boxcheck runs` and `boxcheck judge` on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from boxcheck.cli_options import (
    ANY_COMMAND,
    Ascii,
    Color,
    Colour,
    JsonOut,
    ProfileOption,
    Quiet,
    Strict,
    Verbose,
    named,
    profile_names,
    run_names,
    states,
)
from boxcheck.usage import UsageError

runs_app = typer.Typer(
    invoke_without_command=True, rich_markup_mode=None, subcommand_metavar=ANY_COMMAND,
    help="List runs: what was run, when, how it ended.")


@runs_app.callback()
def runs(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(
        "--state", metavar="STATE", help="Only these: running, finished, stopped, crashed.", callback=named,
        autocompletion=states)] = None,
    box: Annotated[str | None, typer.Option(
        "--box", metavar="NAME", help="Only those of this box: serial number or host name.", callback=named)] = None,
    profile: Annotated[str | None, typer.Option(
        "--profile", metavar="NAME", help="Only those judged by this profile.", callback=named,
        autocompletion=profile_names)] = None,
    since: Annotated[str | None, typer.Option(
        "--since", metavar="TIME", help="Only newer ones: 90d, 12h, 2026-11-28 (UTC).", callback=named)] = None,
    json: JsonOut = None,
) -> None:
    """List the runs of this user on this machine, the newest first; show one, remove old ones, save damaged ones."""
    from boxcheck.commands.runs import Choice
    from boxcheck.commands.runs import runs as body

    asked = Choice(state=state, box=box, profile=profile, since=since)
    if context.invoked_subcommand is None:
        raise typer.Exit(body(json, asked))
    if json is not None or asked != Choice():
        raise UsageError(
            f"options of {context.invoked_subcommand} come after that word",
            f"boxcheck runs {context.invoked_subcommand} --help lists them")


@runs_app.command("show", short_help="Show a run: phases, sessions, events.")
def runs_show(
    run: Annotated[str, typer.Argument(
        metavar="RUN", help="As `runs` lists it, or a path.", callback=named, autocompletion=run_names)],
    json: JsonOut = None,
    verbose: Annotated[int, typer.Option(
        "-v", "--verbose", count=True, show_default=False, help="Show every event.")] = 0,
) -> None:
    """Show one run: its plan, phases with their outcome and times, sessions, what happened."""
    from boxcheck.commands.runs import show

    raise typer.Exit(show(run, json, verbose))


@runs_app.command("prune", short_help="Remove old runs.")
def runs_prune(
    keep: Annotated[int | None, typer.Option("--keep", metavar="N", min=0, help="All but the newest N.")] = None,
    older_than: Annotated[str | None, typer.Option(
        "--older-than", metavar="TIME", help="Those that ended so long ago: 12h, 90d, 8w.", callback=named)] = None,
    state: Annotated[str | None, typer.Option(
        "--state", metavar="STATE", help="Only these: finished, stopped, crashed.", callback=named)] = None,
    last_too: Annotated[bool, typer.Option(
        "--last-too", help="Also the last finished run of a box, which later ones are compared with.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing at a terminal.")] = False,
) -> None:
    """Remove old runs: with several options, what all of them let go.

    A run that goes on is never removed, nor that of an attempt which certify has not finished, nor what cannot be read.
    Exit code 3 where one could not be removed.
    """
    from boxcheck.commands.runs import Pruning, prune

    raise typer.Exit(prune(Pruning(
        keep=keep, older_than=older_than, state=state, last_too=last_too, dry_run=dry_run, yes=yes)))


@runs_app.command("salvage", short_help="Save what can be read of a damaged run.")
def runs_salvage(
    run: Annotated[str, typer.Argument(
        metavar="FILE", help="A store, or a run as `runs` lists it.", callback=named, autocompletion=run_names)],
    out: Annotated[str | None, typer.Option(
        "-o", "--out", metavar="FILE", help="The new store; without it: beside the damaged.", callback=named)] = None,
) -> None:
    """Save what can be read of a damaged store into a new one, and say what could not be. The damaged one stays.

    Exit codes: 0 all was saved, 3 not all, 2 nothing.
    """
    from boxcheck.commands.runs import salvage

    raise typer.Exit(salvage(run, out))


def judge(
    run: Annotated[str, typer.Argument(
        metavar="RUN", help="As `runs` lists it, or a path.", callback=named, autocompletion=run_names)],
    profile: ProfileOption = None,
    json: JsonOut = None,
    history: Annotated[bool, typer.Option(
        "--history", help="Compare it anew with the earlier runs of its box that are there now.")] = False,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    strict: Strict = False,
) -> None:
    """Judge a stored run from its store alone: nothing is measured again.

    How it was beside earlier runs of the box is shown as it was kept; with --history it is compared anew.
    """
    from boxcheck.commands.burn import Options
    from boxcheck.commands.runs import judge_run

    raise typer.Exit(judge_run(run, profile, Options(
        json=json, ascii=ascii, color=color.value, quiet=quiet, strict=strict, verbose=verbose), history))
