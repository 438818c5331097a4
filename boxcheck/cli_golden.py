"""`boxcheck profile draft` and `boxcheck profile beside` on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from boxcheck.cli_options import Ascii, Color, Colour, JsonOut, Sysroot, named, run_names
from boxcheck.usage import UsageError


def draft(
    sysroot: Sysroot = None,
    from_run: Annotated[list[str] | None, typer.Option(
        "--from-run", metavar="RUN", help="Take the rates of this good run: as `runs` lists it, or a path "
        "(repeatable).", autocompletion=run_names)] = None,
    accept_marginal: Annotated[bool, typer.Option(
        "--accept-marginal", help="Take a run that is marginal, too.")] = False,
    share: Annotated[str | None, typer.Option(
        "--share", metavar="FILE", help="Also write what the runs measured, for others: no serials, no names. It is "
        "shown first.", callback=named)] = None,
    key: Annotated[str | None, typer.Option(
        "--key", metavar="FILE", help="Sign that file with this key; with --agent a public one or its fingerprint.",
        callback=named)] = None,
    agent: Annotated[bool, typer.Option("--agent", help="Sign with a key of the ssh-agent (SSH_AUTH_SOCK).")] = False,
    self_signed: Annotated[bool, typer.Option(
        "--self-signed", help="Sign on the box that was measured; the file says so.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing at a terminal.")] = False,
) -> None:
    """Write a profile from this machine, or from good runs: every limit marked as measured and not agreed.

    From runs: rates get limits by which 99 % of such devices pass, with 95 % confidence; all else is what the runs'
    own profile says. A run that failed, was cut off, was held down or had a fault put in is refused.
    """
    if not from_run:
        for name, given in (
                ("--share", share), ("--accept-marginal", accept_marginal), ("--key", key), ("--agent", agent),
                ("--self-signed", self_signed), ("--yes", yes)):
            if given:
                raise UsageError(f"{name} goes with --from-run", "boxcheck profile draft --from-run RUN")
        from boxcheck.commands.profile import profile_draft

        raise typer.Exit(profile_draft(sysroot))
    if sysroot is not None:
        raise UsageError("--sysroot reads a capture, and --from-run stores", "name one of them")
    if share is None and (key is not None or agent or self_signed):
        raise UsageError("--key, --agent and --self-signed sign the file of --share", "add --share FILE")
    if self_signed and key is None and not agent:
        raise UsageError("--self-signed goes with --key or --agent", "add one of them")
    if share == "-" or "" in from_run:
        raise UsageError("--share takes a file, since the profile is on standard output" if share == "-" else
                         "--from-run is empty", "name a file")
    from boxcheck.commands.golden import Drafting, draft_from_runs
    from boxcheck.golden.signing import Signing

    raise typer.Exit(draft_from_runs(Drafting(
        runs=tuple(from_run), accept_marginal=accept_marginal, share=share, yes=yes,
        signing=Signing(key=key, agent=agent, self_signed=self_signed))))


def beside(
    run: Annotated[str, typer.Argument(
        metavar="RUN", help="As `runs` lists it, or a path.", callback=named, autocompletion=run_names)],
    reference: Annotated[str, typer.Argument(
        metavar="FILE", help="A reference measurement, as `profile draft --share` writes it.", callback=named)],
    allowed: Annotated[str | None, typer.Option(
        "--allowed-signers", metavar="FILE", help="Refuse it unless somebody of this list signed it.",
        callback=named)] = None,
    json: JsonOut = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the last line.")] = False,
    strict: Annotated[bool, typer.Option(
        "--strict", help="Exit code 1 where something is outside, 3 where something was not "
        "read.")] = False,
) -> None:
    """Lay a run beside a reference measurement: what this box did, what good ones did, and where it is outside.

    Exit codes: 0 laid beside, whatever it shows, 2 one of the two cannot be used, 3 nothing was comparable.
    """
    from boxcheck.commands.golden import Laying
    from boxcheck.commands.golden import beside as body

    raise typer.Exit(body(run, reference, allowed, Laying(
        json=json, ascii=ascii, color=color.value, quiet=quiet, strict=strict)))
