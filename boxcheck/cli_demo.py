"""`boxcheck demo` on the command line."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from boxcheck.cli_options import ANY_COMMAND, Ascii, Color, Colour, JsonOut, Quiet, Verbose, named, number

demo_app = typer.Typer(
    invoke_without_command=True, rich_markup_mode=None, subcommand_metavar=ANY_COMMAND,
    short_help="Show all of it on machines that were built.",
    help="Show doctor, full screen, report, triage and riser on machines that were built for it: no hardware is "
    "needed, nothing of this machine is read, and nothing is written but the files that you name.\n\n"
    "Without a word: list the demos. A demo exits with 0 however bad its box is.")


def _boxes(incomplete: str) -> list[str]:
    from boxcheck.commands.demo_files import BOXES

    return [one.name for one in BOXES if one.name.startswith(incomplete)]


@demo_app.callback()
def demo(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        from boxcheck.commands.demo import overview

        _leave(overview())


@demo_app.command("doctor", short_help="Doctor's account of a built box: wopr, tinybox-red, strix-halo.")
def doctor(
    box: Annotated[str, typer.Argument(metavar="[BOX]", help="wopr, tinybox-red or strix-halo.", callback=named,
                                       autocompletion=_boxes)] = "wopr",
    json: JsonOut = None, ascii: Ascii = False, color: Colour = Color.auto, quiet: Quiet = False, verbose: Verbose = 0,
) -> None:
    """Show doctor's account of a box that was built with a fault. Exits with 0."""
    from boxcheck.commands.demo import Options
    from boxcheck.commands.demo import doctor as body

    _leave(body(box, Options(json=json, ascii=ascii, color=color.value, quiet=quiet, verbose=verbose)))


@demo_app.command("tui", short_help="A burn-in with a bad riser, played again on the whole screen.")
def tui(
    speed: Annotated[float, typer.Option(
        "--speed", metavar="N", min=0.25, max=3600.0, callback=number, help="So many times as fast.")] = 10.0,
    ascii: Ascii = False, color: Colour = Color.auto,
) -> None:
    """Play a stored burn-in again on the whole screen. q leaves, ? names all keys. Exits with 0."""
    from boxcheck.commands.demo import Options
    from boxcheck.commands.demo import tui as body

    _leave(body(speed, Options(ascii=ascii, color=color.value)))


@demo_app.command("report", short_help="The report of that burn-in, as text, page or PDF.")
def report(
    html: Annotated[str | None, typer.Option("--html", metavar="FILE|-", help="Write one HTML page.",
                                             callback=named)] = None,
    pdf: Annotated[str | None, typer.Option("--pdf", metavar="FILE|-", help="Write a PDF.", callback=named)] = None,
    json: JsonOut = None, ascii: Ascii = False, color: Colour = Color.auto, quiet: Quiet = False, verbose: Verbose = 0,
) -> None:
    """Report a stored burn-in of a box with a bad riser. Exits with 0."""
    from boxcheck.commands.demo import Options
    from boxcheck.commands.demo import report as body

    _leave(body(Options(html=html, pdf=pdf, json=json, ascii=ascii, color=color.value, quiet=quiet, verbose=verbose)))


@demo_app.command("triage", short_help="What a kernel log means in which a GPU fell off the bus.")
def triage(
    json: JsonOut = None, ascii: Ascii = False, color: Colour = Color.auto, quiet: Quiet = False, verbose: Verbose = 0,
) -> None:
    """Say what a kernel log means in which a GPU fell off the bus. Exits with 0."""
    from boxcheck.commands.demo import Options
    from boxcheck.commands.demo import triage as body

    _leave(body(Options(json=json, ascii=ascii, color=color.value, quiet=quiet, verbose=verbose)))


@demo_app.command("riser", short_help="Find a bad riser, over two boots of a simulated box.")
def riser(
    json: JsonOut = None, ascii: Ascii = False, color: Colour = Color.auto, quiet: Quiet = False, verbose: Verbose = 0,
) -> None:
    """Show how the part that damages a link is found: what is told in each boot, and which part is moved between them.

    The box is simulated; what was counted is weighed anew. JSON is that of the last boot. Exits with 0.
    """
    from boxcheck.commands.demo import Options
    from boxcheck.commands.demo import riser as body

    _leave(body(Options(json=json, ascii=ascii, color=color.value, quiet=quiet, verbose=verbose)))


def _leave(code: int) -> NoReturn:
    raise typer.Exit(code)
