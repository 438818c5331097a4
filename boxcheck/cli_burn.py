"""`boxcheck burn`, `watch` and `attach` on the command line."""

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
    OnError,
    OnlyGpus,
    ProfileOption,
    Quiet,
    Strict,
    Verbose,
    named,
    number,
    phases,
    run_names,
)


def burn(
    run: Annotated[str | None, typer.Argument(
        metavar="[RUN]", help="With --resume: the run, as `runs` lists it; the newest that did not end by default.",
        callback=named, autocompletion=run_names)] = None,
    profile: ProfileOption = None,
    force_profile: Annotated[bool, typer.Option(
        "--force-profile", help="Burn in by --profile although this is another box.")] = False,
    level: Annotated[int | None, typer.Option(
        "--level", metavar="N", min=1, max=4, help="How long: 1 about 2 min, 2 15 min, 3 an hour, 4 eight hours.",
        show_default="1")] = None,
    lasting: Annotated[str | None, typer.Option(
        "--for", metavar="TIME", help="How long instead: 90s, 15m, 1h30m, 2d.", callback=named)] = None,
    until_ber: Annotated[str | None, typer.Option(
        "--until-ber", metavar="X", help="Go on with copies until every link is shown to be below this bit error rate.",
        callback=named)] = None,
    plan: Annotated[str | None, typer.Option(
        "--plan", metavar="FILE", help="Steps of your own, in TOML.", callback=named)] = None,
    only: Annotated[list[str] | None, typer.Option(
        "--only", metavar="PHASE", help="Only these phases (repeatable): matmul, vram ... Ends in PARTIAL.",
        autocompletion=phases)] = None,
    gpu: OnlyGpus = None,
    backend: Backend = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", min=0, max=2**31, help="Of the data.")] = None,
    inject: Inject = None,
    on_error: Annotated[OnError | None, typer.Option(
        "--on-error", help="What a failure does to the rest of the run: continue unless it is said.")] = None,
    dry_run: DryRun = False,
    detach: Annotated[bool, typer.Option("--detach", help="Start it and return; `attach` follows it.")] = False,
    resume: Annotated[bool, typer.Option(
        "--resume", help="Go on with a run that was cut off or stopped.")] = False,
    without_missing: Annotated[bool, typer.Option(
        "--without-missing", help="With --resume: go on without GPUs that are gone.")] = False,
    systemd_unit: Annotated[bool, typer.Option(
        "--systemd-unit", help="Print a unit that goes on with a run after a restart.")] = False,
    no_tui: NoTui = False,
    json: JsonOut = None,
    jsonl: JsonLines = None,
    ocptv: OcptvLines = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    strict: Strict = False,
) -> None:
    """Burn the box in: doctor, load on all GPUs and the host by a plan, doctor again; all of it kept as it happens.

    The run is a process of its own and goes on without its terminal. Exit codes: 0 all right, 1 something is wrong,
    2 usage, 3 not everything was run, 4 boxcheck broke, 5 a GPU is lost or too hot.
    """
    from boxcheck.commands.burn import Options
    from boxcheck.commands.burn import burn as body
    from boxcheck.commands.resume import print_unit

    if systemd_unit:
        raise typer.Exit(print_unit())
    raise typer.Exit(body(Options(
        run=run, resume=resume, without_missing=without_missing,
        profile=profile, force_profile=force_profile, level=level, lasting=lasting, plan=plan, only=tuple(only or ()),
        gpus=tuple(gpu or ()),
        until_ber=until_ber,
        backend=backend, seed=seed, inject=inject, on_error=on_error and on_error.value, dry_run=dry_run, detach=detach,
        json=json, jsonl=jsonl, ocptv=ocptv, strict=strict, ascii=ascii, color=color.value, quiet=quiet,
        verbose=verbose, no_tui=no_tui)))


def watch(
    command: Annotated[list[str] | None, typer.Argument(
        metavar="[-- COMMAND ARG...]", help="Started in this terminal, as without boxcheck.")] = None,
    pid: Annotated[int | None, typer.Option(
        "--pid", metavar="PID", help="Watch while this process lives instead.")] = None,
    lasting: Annotated[str | None, typer.Option(
        "--for", metavar="TIME", help="How long, without command and --pid: 90s, 1h. Else until Ctrl-C.",
        callback=named)] = None,
    profile: ProfileOption = None,
    force_profile: Annotated[bool, typer.Option(
        "--force-profile", help="Judge by --profile although this is another box.")] = False,
    no_tui: NoTui = False,
    json: JsonOut = None,
    jsonl: JsonLines = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    strict: Strict = False,
) -> None:
    """Watch links, heat, power, the kernel's log and the devices while your own work runs; put no load on anything.

    Exit code: the command's own where that is not 0, else 0 all right, 1 something is wrong, 3 not everything could be
    looked at, 4 boxcheck broke, 5 a GPU is lost; 2 usage, before anything is started.
    """
    from boxcheck.commands.watch import Options
    from boxcheck.commands.watch import watch as body

    raise typer.Exit(body(Options(
        command=tuple(command or ()), pid=pid, lasting=lasting, profile=profile, force_profile=force_profile, json=json,
        jsonl=jsonl, strict=strict, ascii=ascii, color=color.value, quiet=quiet, verbose=verbose, no_tui=no_tui)))


def attach(
    run: Annotated[str | None, typer.Argument(
        metavar="[RUN]", help="As `runs` lists it; the one that is going on by default.", callback=named,
        autocompletion=run_names)] = None,
    replay: Annotated[bool, typer.Option(
        "--replay", help="Play a run that is over again, on the whole screen.")] = False,
    speed: Annotated[float, typer.Option(
        "--speed", metavar="N", min=0.25, max=3600.0, callback=number,
        help="With --replay: so many times as fast.")] = 60.0,
    no_tui: NoTui = False,
    json: JsonOut = None,
    jsonl: JsonLines = None,
    ocptv: OcptvLines = None,
    ascii: Ascii = False,
    color: Colour = Color.auto,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Follow a run to its end and print its account.

    On the whole screen: q leaves and the run goes on, s ends it, ? names all keys. By lines (--no-tui, or without a
    terminal): Ctrl-C asks the run to end; a second leaves it to itself.
    """
    from boxcheck.commands.burn import Options
    from boxcheck.commands.burn import attach as body

    raise typer.Exit(body(run, Options(
        json=json, jsonl=jsonl, ocptv=ocptv, ascii=ascii, color=color.value, quiet=quiet, strict=strict,
        no_tui=no_tui),
        replay=speed if replay else None))
