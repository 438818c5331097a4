"""`boxcheck report` and `boxcheck keys` on the command line."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

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
    run_names,
)
from boxcheck.usage import UsageError

RENDER = "render"


class RunFirst(TyperGroup):
    """`report RUN ...` is `report render RUN ...`; the other words are subcommands."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [RENDER, *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["RUN [OPTIONS] | COMMAND [ARGS]..."]

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Behind `report ` a run and the options of `render`, too."""
        render = self.commands[RENDER]
        own = render.shell_complete(ctx, incomplete) if incomplete.startswith("-") else \
            render.params[0].shell_complete(ctx, incomplete)
        return [*{one.value: one for one in (*own, *super().shell_complete(ctx, incomplete))}.values()]


report_app = typer.Typer(
    cls=RunFirst, no_args_is_help=True, rich_markup_mode=None,
    short_help="Reports of a run; sign and verify an acceptance.",
    help="Reports of a stored run in every form; sign and verify those of an acceptance.\n\n"
    "boxcheck report RUN --html F makes them; boxcheck report render --help lists the forms.")
keys_app = typer.Typer(
    invoke_without_command=True, rich_markup_mode=None, subcommand_metavar=ANY_COMMAND,
    help="Keys that sign acceptances: list them, make one.")


def _out(option: str, what: str) -> object:
    return typer.Option(option, metavar="FILE|-", help=f"Write {what}.", callback=named)


@report_app.command(RENDER, short_help="Reports of a run: the same as `report RUN`.")
def render(
    run: Annotated[str, typer.Argument(
        metavar="RUN", help="As `runs` lists it, a path, or the folder of an attempt.", callback=named,
        autocompletion=run_names)],
    html: Annotated[str | None, _out("--html", "one HTML page")] = None,
    pdf: Annotated[str | None, _out("--pdf", "a PDF")] = None,
    json: JsonOut = None,
    junit: Annotated[str | None, _out("--junit", "JUnit XML")] = None,
    ocptv: Annotated[str | None, _out("--ocptv", "OCP Test & Validation JSONL")] = None,
    csv: Annotated[str | None, _out("--csv", "the telemetry as CSV")] = None,
    openmetrics: Annotated[str | None, _out("--openmetrics", "OpenMetrics for Prometheus")] = None,
    riser: Annotated[str | None, typer.Option(
        "--riser", metavar="ID|FILE", help="With a riser experiment at that box, as `riser --list` names it.",
        callback=named)] = None,
    profile: ProfileOption = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    strict: Strict = False,
) -> None:
    """Make reports of a stored run, from its store alone; without options its account in text.

    Exit codes: 0 the reports were written, whatever they say, 2 they were not; of the account in text or JSON that of
    the verdict: 0 passed, 1 failed, 3 not everything was run, 5 a GPU was lost.
    """
    from boxcheck.commands.report import Outputs
    from boxcheck.commands.report import report as body

    _leave(body(run, profile, Outputs(
        html=html, pdf=pdf, json=json, junit=junit, ocptv=ocptv, csv=csv, openmetrics=openmetrics, ascii=ascii,
        color=color.value, quiet=quiet, verbose=verbose, strict=strict), riser))


@report_app.command("sign", short_help="Sign the folder of an attempt.")
def sign(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="That certify wrote.", callback=named)],
    key: Annotated[str | None, typer.Option(
        "--key", metavar="FILE", help="The private key; with --agent a public one or its fingerprint.",
        callback=named)] = None,
    agent: Annotated[bool, typer.Option("--agent", help="Sign with a key of the ssh-agent (SSH_AUTH_SOCK).")] = False,
    self_signed: Annotated[bool, typer.Option(
        "--self-signed", help="Sign on the box under test; report and verify will say so.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Replace a signature that is there.")] = False,
    json: JsonOut = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only whether it was signed.")] = False,
) -> None:
    """Sign manifest.json of an attempt with an Ed25519 key, as `ssh-keygen -Y sign` does.

    At the station with --key, or on the box through a forwarded ssh-agent with --agent. A folder in which something was
    changed is not signed. Exit codes: 0 signed, 2 nothing was signed.
    """
    from boxcheck.certify.sign import Signing
    from boxcheck.commands.report_verify import Options
    from boxcheck.commands.report_verify import sign as body

    _leave(body(folder, Signing(key=key, agent=agent, self_signed=self_signed, again=again), Options(
        json=json, ascii=ascii, color=color.value, quiet=quiet)))


@report_app.command("verify", short_help="Verify a signed report: who signed, what was changed.")
def verify(
    path: Annotated[str, typer.Argument(
        metavar="F", help="The folder of an attempt, a report or manifest.json in it, or a tar of it.",
        callback=named)],
    allowed: Annotated[str | None, typer.Option(
        "--allowed-signers", metavar="FILE", help="Whose keys count (ssh-keygen(1), ALLOWED SIGNERS); without it "
        "~/.config/boxcheck/allowed_signers.", callback=named)] = None,
    signer: Annotated[str | None, typer.Option(
        "--signer", metavar="NAME", help="Only this signer will do.", callback=named)] = None,
    at: Annotated[str | None, typer.Option(
        "--at", metavar="TIME", help="Whether the key was allowed then, instead of now: 2026-11-28.",
        callback=named)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A self-signed report is refused.")] = False,
    json: JsonOut = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Quiet = False,
    verbose: Annotated[int, typer.Option(
        "-v", "--verbose", count=True, show_default=False, help="Say what it proves also where it is refused.")] = 0,
) -> None:
    """Verify a report: every file, the signature, and whose key it is. Says what was signed and what was changed.

    Exit codes: 0 signed by somebody of the list and nothing changed, whether the box passed or failed; 1 refused; 2
    nothing there to verify; 3 not all could be told: no signature, no list of allowed signers, a file not read.
    """
    from boxcheck.commands.report_verify import Options
    from boxcheck.commands.report_verify import verify as body

    _leave(body(path, allowed=allowed, signer=signer, at=at, strict=strict, options=Options(
        json=json, ascii=ascii, color=color.value, quiet=quiet, verbose=verbose)))


@keys_app.callback()
def keys(
    context: typer.Context,
    folder: Annotated[str | None, typer.Option(
        "--folder", metavar="DIR", help="Keys of this folder instead of ~/.config/boxcheck/keys.",
        callback=named)] = None,
    json: JsonOut = None,
) -> None:
    """List keys that can sign acceptances: of the folder and of the ssh-agent, with fingerprints."""
    from boxcheck.commands.keys import list_all

    if context.invoked_subcommand is None:
        _leave(list_all(json, folder))
    if json is not None or folder is not None:
        raise UsageError(
            f"options of {context.invoked_subcommand} come after that word",
            f"boxcheck keys {context.invoked_subcommand} --help lists them")


@keys_app.command("new", short_help="Make a key, on the station.")
def keys_new(
    name: Annotated[str | None, typer.Argument(
        metavar="[NAME|PATH]", help="Of its file; without it: acceptance.", callback=named)] = None,
    comment: Annotated[str | None, typer.Option(
        "--comment", metavar="TEXT", help="Stands behind the public key.")] = None,
    no_passphrase: Annotated[bool, typer.Option(
        "--no-passphrase", help="For stations that sign unattended: whoever reads the file can sign.")] = False,
) -> None:
    """Make an Ed25519 key for signing, with a passphrase that is asked for. On the station, not on a box under test."""
    from boxcheck.commands.keys import new

    _leave(new(name, comment=comment, no_passphrase=no_passphrase))


@keys_app.command("allow", short_help="Write the line of a list of allowed signers.")
def keys_allow(
    key: Annotated[str, typer.Argument(
        metavar="KEY", help="A public key's file, or a fingerprint of the ssh-agent's.", callback=named)],
    principal: Annotated[str, typer.Argument(
        metavar="NAME", help="Whose it is: quality@maker.example.", callback=named)],
    after: Annotated[str | None, typer.Option(
        "--valid-after", metavar="TIME", help="YYYYMMDD[HHMM[SS]], with Z for UTC.", callback=named)] = None,
    before: Annotated[str | None, typer.Option(
        "--valid-before", metavar="TIME", help="The same; after it the key counts no more.", callback=named)] = None,
    add: Annotated[bool, typer.Option(
        "--add", help="Add it to ~/.config/boxcheck/allowed_signers instead of printing it.")] = False,
    file: Annotated[str | None, typer.Option(
        "--file", metavar="FILE", help="With --add: to this list.", callback=named)] = None,
) -> None:
    """Print the line that allows a key to sign acceptances, for the list of those who verify."""
    from boxcheck.commands.keys import allow

    _leave(allow(key, principal, after=after, before=before, add=add, file=file))


def _leave(code: int) -> NoReturn:
    raise typer.Exit(code)
