"""The command line. Declares commands and options; bodies live in `boxcheck.commands` and are imported when run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer.models import CommandInfo

from boxcheck import cli_burn, cli_certify, cli_compare, cli_demo, cli_golden, cli_report, cli_riser, cli_runs
from boxcheck.cli_errors import say, unexpected
from boxcheck.cli_examples import add_examples, epilog
from boxcheck.cli_options import (
    Ascii,
    Backend,
    Color,
    Colour,
    ForProfile,
    Goal,
    Inject,
    JsonOut,
    OnlyGpus,
    ProfileOption,
    Quiet,
    Strict,
    Sysroot,
    Verbose,
    check_ids,
    event_kinds,
    named,
    number,
    profile_names,
    whole_ids,
)
from boxcheck.usage import UsageError


def _new_app() -> typer.Typer:
    return typer.Typer(
        name="boxcheck", no_args_is_help=True, add_completion=True, rich_markup_mode=None,
        pretty_exceptions_enable=False, help="Bring up, validate and certify computers with many GPUs.",
        epilog=epilog(""), context_settings={"help_option_names": ["-h", "--help"]},
    )


app = _new_app()
profile_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What a box must be: show, check, detect, draft.")
app.add_typer(profile_app, name="profile")
stress_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Put load on GPUs and verify every result.")
app.add_typer(stress_app, name="stress")
app.add_typer(cli_runs.runs_app, name="runs")


def _version(asked: bool) -> None:
    if asked:
        from boxcheck.version import version_line

        typer.echo(version_line())
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[bool, typer.Option(
        "--version", callback=_version, is_eager=True, help="Print the version and its commit.")] = False,
) -> None:
    """Bring up, validate and certify computers with many GPUs."""


@app.command(short_help="Judge this machine or a capture: what is wrong, what to do.")
def doctor(
    checks: Annotated[list[str] | None, typer.Argument(
        metavar="[CHECK]...", help="Only these: an id, an area (pcie), a row (storage) or a glob ('aer.*').",
        autocompletion=check_ids)] = None,
    profile: ProfileOption = None,
    sysroot: Sysroot = None,
    goal: Annotated[Goal | None, typer.Option("--goal", help="Judge IOMMU and ACS for this use.")] = None,
    no_wake: Annotated[bool, typer.Option(
        "--no-wake", help="Do not put load on the GPUs to see their real link speed.")] = False,
    without: Annotated[list[str] | None, typer.Option(
        "--except", metavar="CHECK", help="Leave these out (repeatable).", autocompletion=check_ids)] = None,
    json: JsonOut = None,
    jsonl: Annotated[str | None, typer.Option(
        "--jsonl", metavar="FILE|-", help="Write one JSON object a line.", callback=named)] = None,
    junit: Annotated[str | None, typer.Option(
        "--junit", metavar="FILE|-", help="Write JUnit XML.", callback=named)] = None,
    ocptv: Annotated[str | None, typer.Option(
        "--ocptv", metavar="FILE|-", help="Write OCP Test & Validation JSONL.", callback=named)] = None,
    openmetrics: Annotated[str | None, typer.Option(
        "--openmetrics", metavar="FILE|-", help="Write metrics for Prometheus.", callback=named)] = None,
    no_record: Annotated[bool, typer.Option(
        "--no-record", help="Keep no account of it; for what runs every few minutes.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="One finding a line, stable order.")] = False,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Quiet = False,
    verbose: Annotated[int, typer.Option(
        "-v", "--verbose", count=True, show_default=False, help="Show passes too; twice: every reading.")] = 0,
    strict: Strict = False,
) -> None:
    """Read this machine (or a capture), judge it against a profile, say what is wrong and what to do.

    Never writes to the machine. Exit codes: 0 passed, 1 failed, 2 usage, 3 not everything could be read, 4 boxcheck
    broke, 5 a GPU is lost.
    """
    from boxcheck.commands.doctor import Options
    from boxcheck.commands.doctor import doctor as body

    _leave(body(Options(
        checks=tuple(checks or ()), without=tuple(without or ()), profile=profile, sysroot=sysroot,
        goal=goal.value if goal else None, wake=not no_wake, json=json, jsonl=jsonl, junit=junit, ocptv=ocptv,
        openmetrics=openmetrics, plain=plain, ascii=ascii, color=color.value, quiet=quiet, verbose=verbose,
        strict=strict, save=not no_record,
    )))


@app.command()
def facts(
    sysroot: Sysroot = None,
    json: JsonOut = None,
) -> None:
    """Print the decoded facts, without judgement."""
    from boxcheck.commands.doctor import facts as body

    _leave(body(sysroot, json))


@app.command()
def capture(
    out: Annotated[str | None, typer.Argument(
        metavar="OUT", help="File (.tar, .tar.gz, .tar.zst) or directory to write.")] = None,
    redact: Annotated[bool, typer.Option(
        "--redact", help="Replace serials, UUIDs, addresses and names by hashes.")] = False,
    sysroot: Sysroot = None,
    script: Annotated[bool, typer.Option(
        "--script", help="Print the shell script that captures without Python.")] = False,
) -> None:
    """Record all that doctor reads, to be judged anywhere else."""
    from boxcheck.commands.capture import capture as body
    from boxcheck.commands.capture import print_script

    if script:
        _leave(print_script())
    if not out:
        raise UsageError("say where to write the capture", "boxcheck capture OUT.tar.gz")
    _leave(body(out, redact, sysroot))


@app.command(short_help="Say what pasted logs and tool outputs mean, what to do.")
def triage(
    files: Annotated[list[str] | None, typer.Argument(
        metavar="FILE|-...", help="Saved or pasted text, packed or not, a folder of it, or a capture; - reads standard "
        "input.")] = None,
    since: Annotated[str | None, typer.Option(
        "--since", metavar="TIME", help="Leave out what was last seen before: seconds since boot (90, 2h) or a wall "
        "time ('2026-09-19 16:18').")] = None,
    only: Annotated[list[str] | None, typer.Option(
        "--only", metavar="KIND", help="Only events of this kind: xid, aer, 'link-*' (repeatable).",
        autocompletion=event_kinds)] = None,
    json: JsonOut = None,
    plain: Annotated[bool, typer.Option("--plain", help="One event a line, stable order.")] = False,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the last lines.")] = False,
    verbose: Annotated[int, typer.Option(
        "-v", "--verbose", count=True, show_default=False, help="Show harmless events too.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="An event to watch fails.")] = False,
) -> None:
    """Say what happened, to which part, why and what to do next, from logs and outputs of any machine.

    Reads kernel logs in any envelope, lspci, nvidia-smi, rocm-smi, amd-smi, rocminfo, dmidecode, bandwidth and burn-in
    tools, and captures, mixed as they come. Exit codes: 0 nothing that fails, 1 a failing event, 2 usage, 3 nothing
    recognised.
    """
    from boxcheck.commands.triage import Options
    from boxcheck.commands.triage import triage as body

    _leave(body(Options(
        files=tuple(files or ()), since=since, only=tuple(only or ()), json=json, plain=plain, ascii=ascii,
        color=color.value, quiet=quiet, verbose=verbose, strict=strict,
    )))


@app.command()
def checks(
    json: JsonOut = None,
    profile: ForProfile = None,
) -> None:
    """List every check: id, what it needs, what is true when it fires."""
    from boxcheck.commands.catalogue import list_checks

    _leave(list_checks(json, profile))


@app.command(short_help="Say what a check reads, why it matters, what to do.")
def explain(
    id: Annotated[list[str] | None, typer.Argument(
        metavar="[ID]", autocompletion=whole_ids,
        help="A check's id, as in brackets in the account; an area, an event, a term. Without it: a list.")] = None,
    profile: ForProfile = None,
) -> None:
    """Say what a check reads, what is true when it fires, why it matters and what to do."""
    from boxcheck.commands.catalogue import explain as body

    _leave(body(id or (), profile))


@profile_app.command("list")
def profile_list(json: JsonOut = None) -> None:
    """List the profiles that come with boxcheck."""
    from boxcheck.commands.profile import profile_list as body

    _leave(body(json))


@profile_app.command("show", short_help="Show a profile: limits, sources, blockers, settings.")
def profile_show(
    name: Annotated[str, typer.Argument(
        metavar="NAME|FILE", help="As `profile list` names them.", autocompletion=profile_names)],
    json: JsonOut = None,
) -> None:
    """Show a profile: limits with their sources, blockers, what its owner should set."""
    from boxcheck.commands.profile import profile_show as body

    _leave(body(name, json))


@profile_app.command("check")
def profile_check(
    file: Annotated[str | None, typer.Argument(
        metavar="[FILE]", help="Without it: all profiles of boxcheck.", callback=named)] = None,
) -> None:
    """Check a profile file: every mistake with its line."""
    from boxcheck.commands.profile import profile_check as body

    _leave(body(file))


@profile_app.command("detect")
def profile_detect(sysroot: Sysroot = None, json: JsonOut = None) -> None:
    """Say which profile this machine matches, and why."""
    from boxcheck.commands.profile import profile_detect as body

    _leave(body(sysroot, json))


profile_app.command("draft", short_help="Write a profile from this machine, or from good runs.")(cli_golden.draft)
profile_app.command("beside", short_help="Lay a run beside a reference measurement.")(cli_golden.beside)


def _stress_names(incomplete: str) -> list[str]:
    from boxcheck.commands.complete import stress_names

    return stress_names(incomplete)


@stress_app.command("list")
def stress_list(json: JsonOut = None) -> None:
    """List the modules, and the matrix kernels with their proof."""
    from boxcheck.commands.stress import list_stress

    _leave(list_stress(json))


@stress_app.command("run", short_help="Run stress modules on the GPUs, verified.")
def stress_run(
    modules: Annotated[list[str] | None, typer.Argument(
        metavar="NAME...", help="As `stress list` names them, or all.", autocompletion=_stress_names)] = None,
    gpu: OnlyGpus = None,
    backend: Backend = None,
    seconds: Annotated[float, typer.Option(
        "--seconds", metavar="S", min=0.1, max=86400, callback=number, help="How long each module runs.")] = 10.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, max=2**31, help="Of the data.")] = 1,
    inject: Inject = None,
    option: Annotated[list[str] | None, typer.Option(
        "--option", metavar="KEY=VALUE", help="An option of the module (repeatable): elements=bf16.")] = None,
    profile: ProfileOption = None,
    json: JsonOut = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    strict: Strict = False,
) -> None:
    """Run stress modules on the GPUs. Every result is verified; a rate without a verified payload is not shown.

    Exit codes: 0 all right, 1 something is wrong, 2 usage, 3 not everything was run, 4 boxcheck broke, 5 a GPU is lost
    or too hot.
    """
    from boxcheck.commands.stress import Options, run

    _leave(run(Options(
        modules=tuple(modules or ()), gpus=tuple(gpu or ()), backend=backend, seconds=seconds, seed=seed, inject=inject,
        options=tuple(option or ()), profile=profile, json=json, strict=strict, ascii=ascii, color=color.value,
        quiet=quiet, verbose=verbose)))


def app_for(words: Sequence[str]) -> typer.Typer:
    """The app with no other command than the one that the first word names; all of it where that names none.

    typer takes apart the signatures of all commands it has, which takes longer than parsing the profile.
    """
    called = words[0] if words else ""
    narrow = _new_app()
    narrow.callback()(common)
    narrow.registered_commands = [info for info in app.registered_commands if _name_of(info) == called]
    narrow.registered_groups = [info for info in app.registered_groups if info.name == called]
    return narrow if narrow.registered_commands or narrow.registered_groups else app


def _name_of(info: CommandInfo) -> str:
    return info.name or (info.callback.__name__.replace("_", "-") if info.callback else "")


app.command("burn", short_help="Burn the box in: doctor, load, doctor; survives the terminal.")(cli_burn.burn)
app.command("watch", short_help="Watch the box while your own work runs.", context_settings={
    "allow_interspersed_args": False})(cli_burn.watch)
app.command("attach", short_help="Follow a run to its end.")(cli_burn.attach)
app.command("judge", short_help="Judge a stored run, by its own profile or another.")(cli_runs.judge)
app.command("riser", short_help="Find the part that damages a link: slot, riser or card.")(cli_riser.riser)
app.command("certify", short_help="Certify the box: a report that a buyer can verify.")(cli_certify.certify)
app.command("compare", short_help="Compare runs, boxes or captures; what differs first.")(cli_compare.compare)
app.command("yield", short_help="First-pass yield of a line, and what fails first.")(cli_compare.yields)
app.add_typer(cli_report.report_app, name="report")
app.add_typer(cli_report.keys_app, name="keys")
app.add_typer(cli_demo.demo_app, name="demo")
add_examples(app)


def _leave(code: int) -> NoReturn:
    raise typer.Exit(code)


def run() -> None:
    """Runs the app. Every expected failure ends as one clear error and the right exit code."""
    from boxcheck.host.tree import CaptureError

    code = 0
    if len(sys.argv) == 3 and sys.argv[1] in ("--show-completion", "--install-completion"):
        os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"  # typer's way to take the shell that is named
        if sys.argv[1] == "--install-completion" and sys.argv[2] in ("bash", "zsh", "fish"):
            return _install_completion(sys.argv[2])
    try:
        words = sys.argv[1:] or _chosen()
        code = app_for(words)(words, standalone_mode=False) or 0
    except (CaptureError, UsageError) as error:
        say(str(error), getattr(error, "help", ""))
        code = error.code if isinstance(error, UsageError) else 2
    except typer.Exit as leave:
        code = leave.exit_code
    except typer.Abort:  # typer's word for it
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        code = _left_alone()
    except SystemExit as leave:  # typer makes a reader that went away exit code 1, by which a box would have failed
        if not isinstance(leave.__context__, BrokenPipeError):
            raise
        code = _left_alone()
    except Exception as error:  # noqa: BLE001  the last line of defence
        code = unexpected(error)
    sys.exit(code)


def _install_completion(shell: str) -> None:
    """As typer does it, which calls a shell that was named `Shells.bash`."""
    from typer._completion_shared import install

    _, path = install(shell, prog_name="boxcheck")
    typer.echo(f"{shell} completion installed in {path}\nit begins with the next shell")


def _left_alone() -> int:
    """The reader went away (`| head`). Python would complain once more while flushing at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _chosen() -> Sequence[str]:
    """What `boxcheck` alone does: on a terminal what is chosen there, else help."""
    from boxcheck.commands.tui import at_terminal, choose

    if not at_terminal():
        return ()
    words = choose(any(_name_of(info) == "riser" for info in app.registered_commands) or any(
        info.name == "riser" for info in app.registered_groups))
    if words is None:
        raise typer.Exit
    return words
