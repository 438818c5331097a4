"""`boxcheck riser` on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from boxcheck.cli_options import Ascii, Backend, Color, Colour, JsonOut, ProfileOption, Quiet, Sysroot, named, number


def _slots(incomplete: str) -> list[str]:
    from boxcheck.commands.complete import slot_names

    return slot_names(incomplete)


def riser(
    slot: Annotated[str | None, typer.Argument(
        metavar="[SLOT|BDF]", help="The slot as the board prints it, or the address of its card or port.",
        callback=named, autocompletion=_slots)] = None,
    resume: Annotated[bool, typer.Option(
        "--resume", help="Go on after a power cycle: with the newest experiment, or the one named.")] = False,
    every: Annotated[bool, typer.Option(
        "--all", help="Measure every link and rank them, the worst first; by lane margins too with --allow-writes.",
    )] = False,
    listing: Annotated[bool, typer.Option("--list", help="List the experiments.")] = False,
    close: Annotated[bool, typer.Option("--close", help="End an experiment without a verdict.")] = False,
    restore: Annotated[bool, typer.Option(
        "--restore", help="Put back what an experiment that was cut off left changed.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Measure once more, though nothing was moved.")] = False,
    risers: Annotated[list[str] | None, typer.Option(
        "--riser", metavar="SLOT=LABEL", help="Which riser is where, `none` where there is none (repeatable).")] = None,
    supplies: Annotated[list[str] | None, typer.Option(
        "--supply", metavar="SLOT=NAME", help="Which supply feeds which card (repeatable).")] = None,
    spares: Annotated[list[str] | None, typer.Option(
        "--spare", metavar="LABEL", help="A riser that lies ready and is believed good (repeatable).")] = None,
    cannot: Annotated[list[str] | None, typer.Option(
        "--cannot", metavar="WORD", help="A kind of step, a slot or a part that cannot be moved (repeatable).")] = None,
    seconds: Annotated[float, typer.Option(
        "--seconds", metavar="S", min=1.0, max=86400.0, callback=number, help="Of traffic for each look.")] = 60.0,
    writes: Annotated[bool, typer.Option(
        "--allow-writes", help="Retrain, change speed and ASPM, margin lanes; all is put back. Needs root.")] = False,
    retrainings: Annotated[int, typer.Option(
        "--retrain", metavar="N", min=1, max=10000, help="With --allow-writes: how often the link is retrained.",
        )] = 100,
    no_margining: Annotated[bool, typer.Option("--no-margining", help="Leave lane margining out.")] = False,
    full_margining: Annotated[bool, typer.Option(
        "--full-margining", help="With --allow-writes: every step of every lane; minutes become an hour.")] = False,
    soak: Annotated[bool, typer.Option(
        "--soak", help="Heat the card for up to ten minutes, and measure hot against cold.")] = False,
    force: Annotated[bool, typer.Option(
        "--force", help="With --allow-writes: also a link that disks, network or console hang on.")] = False,
    backend: Backend = None,
    option: Annotated[list[str] | None, typer.Option(
        "--option", metavar="KEY=VALUE", help="An option of the traffic (repeatable): size=test.")] = None,
    profile: ProfileOption = None,
    sysroot: Sysroot = None,
    json: JsonOut = None,
    html: Annotated[str | None, typer.Option(
        "--html", metavar="FILE|-", help="Write the experiment, or the ranking of --all, as one HTML page.",
        callback=named)] = None,
    pdf: Annotated[str | None, typer.Option(
        "--pdf", metavar="FILE|-", help="Write the same as a PDF.", callback=named)] = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Quiet = False,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, show_default=False, help="More.")] = 0,
) -> None:
    """Find which of slot, riser, card, contact, supply or setting damages a link, with numbers.

    Moves verified data over the link and its siblings, counts errors at both ends by direction, tries what can be tried
    without hands, and says which part to move next; after each power cycle --resume goes on. Without --allow-writes
    nothing on the machine is changed.

    Exit codes: 0 no part at fault, 1 a part is at fault, 2 usage, 3 not told apart, 5 a link could not be put back, 75
    power off, do the step, then --resume. Of --all: 0 no link fails, though one may have thrown errors (marginal), 1 a
    link fails, is down, or has lost lanes or speed, 3 not all was looked at, 5 as above.
    """
    from boxcheck.commands.riser import Options
    from boxcheck.commands.riser import riser as body

    named_one = slot if resume or close else None
    is_id = named_one is not None and (named_one.startswith("r-") or "/" in named_one)
    code = body(Options(
        slot=None if is_id else slot, resume=(named_one if is_id else "") if resume or (close and is_id) else None,
        every=every, listing=listing, close=close, restore=restore, again=again, risers=tuple(risers or ()),
        supplies=tuple(supplies or ()), spares=tuple(spares or ()), cannot=tuple(cannot or ()), seconds=seconds,
        writes=writes, retrainings=retrainings, margining=not no_margining, full_margining=full_margining, soak=soak,
        force=force, backend=backend, option=tuple(option or ()), profile=profile, sysroot=sysroot, json=json,
        html=html, pdf=pdf,
        ascii=ascii, color=color.value, quiet=quiet, verbose=verbose))
    if code:
        raise typer.Exit(code)
