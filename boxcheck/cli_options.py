"""Options that several commands share: their types, their help, how they are completed and what they refuse."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Goal(StrEnum):
    any = "any"
    rocm = "rocm"
    cuda_p2p = "cuda-p2p"
    tinygrad = "tinygrad"
    vm = "vm"


class OnError(StrEnum):
    stop = "stop"
    go_on = "continue"


class Color(StrEnum):
    auto = "auto"
    always = "always"
    never = "never"


def named(value: str | None) -> str | None:
    """An empty word is a mistake, most often of a script whose variable was not set; it is not as good as none."""
    if value == "":
        raise typer.BadParameter("is empty")
    return value


def number(value: float) -> float:
    """`nan` is neither below a least value nor above a greatest one."""
    if value != value:
        raise typer.BadParameter("nan is no number")
    return value


def check_ids(incomplete: str) -> list[str]:
    from boxcheck.commands.complete import check_ids

    return check_ids(incomplete)


def whole_ids(incomplete: str) -> list[str]:
    from boxcheck.commands.complete import whole_ids

    return whole_ids(incomplete)


def profile_names(incomplete: str) -> list[str]:
    from boxcheck.commands.complete import profile_names

    return profile_names(incomplete)


def run_names(incomplete: str) -> list[str]:
    from boxcheck.commands.complete import run_names

    return run_names(incomplete)


def event_kinds(incomplete: str) -> list[str]:
    from boxcheck.commands.complete import event_kinds

    return event_kinds(incomplete)


def phases(incomplete: str) -> list[str]:
    from boxcheck.commands.complete import phases

    return phases(incomplete)


def faults(incomplete: str) -> list[str]:
    from boxcheck.commands.complete import faults

    return faults(incomplete)


def backends(incomplete: str) -> list[str]:
    return [name for name in ("cuda", "hip", "opencl", "cpu") if name.startswith(incomplete)]


def states(incomplete: str) -> list[str]:
    return [name for name in ("running", "finished", "stopped", "crashed") if name.startswith(incomplete)]


ANY_COMMAND = "[COMMAND [ARGS]...]"
"""In the usage of a group that does something without a command too."""

Sysroot = Annotated[str | None, typer.Option(
    "--sysroot", metavar="DIR|TAR", help="Read this capture instead of this machine.", callback=named)]
ProfileOption = Annotated[str | None, typer.Option(
    "--profile", metavar="NAME|FILE", help="Judge against this profile instead of the one that matches.",
    callback=named, autocompletion=profile_names)]
ForProfile = Annotated[str | None, typer.Option(
    "--profile", metavar="NAME|FILE", help="Say too what this profile makes of it.",
    callback=named, autocompletion=profile_names)]
JsonLines = Annotated[str | None, typer.Option(
    "--jsonl", metavar="FILE|-", help="Write what happens, as it happens: one JSON object a line.", callback=named)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")]
OcptvLines = Annotated[str | None, typer.Option(
    "--ocptv", metavar="FILE|-", help="Write what happens as OCP Test & Validation JSONL, as it happens.",
    callback=named)]
NoTui = Annotated[bool, typer.Option(
    "--no-tui", help="Follow it by lines instead of on the whole screen.")]
JsonOut = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write JSON.", callback=named)]
Inject = Annotated[str | None, typer.Option(
    "--inject", metavar="FAULT", help="Put in a fault, to see that it is found. Never a pass.",
    callback=named, autocompletion=faults)]
Backend = Annotated[str | None, typer.Option(
    "--backend", metavar="NAME", help="cuda, hip, opencl or cpu. Without it: every GPU by its vendor's runtime.",
    callback=named, autocompletion=backends)]
OnlyGpus = Annotated[list[str] | None, typer.Option(
    "--gpu", metavar="N", help="Only this GPU: number, cuda:0, PCI address or slot (repeatable).")]
Ascii = Annotated[bool, typer.Option("--ascii", help="ASCII only.")]
Colour = Annotated[Color, typer.Option("--color", help="Colour.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only the verdict.")]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Show passes too.")]
Strict = Annotated[bool, typer.Option("--strict", help="A marginal result fails.")]
