"""Pages of docs/reference that come from the command line and from what it reads of the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from boxcheck.cli_examples import EXAMPLES
from boxcheck.commands.glossary import TERMS

PACKAGE = Path(__file__).parents[1] / "boxcheck"

VARIABLES = {
    "Where things lie": {
        "XDG_STATE_HOME": "Runs, records of doctor, notebooks of risers and acceptances lie in `boxcheck/` below it; "
                          "without it in `~/.local/state/boxcheck`.",
        "XDG_CONFIG_HOME": "Keys, allowed signers and the station file lie in `boxcheck/` below it; without it in "
                           "`~/.config/boxcheck`.",
        "XDG_CACHE_HOME": "Compiled kernels lie in `boxcheck/kernels` below it, those of PoCL in `pocl`; without it in "
                          "`~/.cache`.",
        "BOXCHECK_CACHE_DIR": "Compiled kernels lie in `kernels` below it instead.",
        "POCL_CACHE_DIR": "PoCL's own cache. Root takes it only where nobody else may write there.",
        "HOME": "For the folders above, and given to the programs that are run.",
        "TMPDIR": "For what is unpacked while a report is made (read by Python's `tempfile`).",
    },
    "How it looks": {
        "COLUMNS": "Width of accounts that go to no terminal; 100 without it.",
        "NO_COLOR": "No colour, whatever it is set to ([no-color.org](https://no-color.org)).",
        "FORCE_COLOR": "Colour also where the output is no terminal.",
        "TERM": "`dumb` and `vt100` get ASCII; `dumb` gets neither colour, whole screen nor pager.",
        "COLORFGBG": "Its last number tells the whole screen whether the ground is light or dark.",
        "LC_ALL": "With `LC_CTYPE` and `LANG`: whether the whole screen shows more than ASCII. Accounts follow the "
                  "encoding that Python writes, which is UTF-8 in the `C` and `POSIX` locales, too; `--ascii` is for "
                  "both. Nothing is translated, and numbers and times are written alike in every locale.",
        "LC_CTYPE": "See `LC_ALL`.",
        "LANG": "See `LC_ALL`.",
        "PAGER": "Shows texts that are longer than the terminal; `less` without it, `cat` for none. Not for root.",
        "LESS": "Options of `less`; `FRX` without it.",
        "PAPERSIZE": "`letter` makes PDFs for that paper; A4 without it.",
    },
    "GPUs and libraries": {
        "CUDA_VISIBLE_DEVICES": "Which GPUs CUDA shows; what is hidden is told, and never counts as tested.",
        "HIP_VISIBLE_DEVICES": "The same for HIP, as `ROCR_VISIBLE_DEVICES` and `GPU_DEVICE_ORDINAL`.",
        "CUDA_DEVICE_ORDER": "Set to `PCI_BUS_ID` where it is not set, so that numbers are those of nvidia-smi.",
        "CUDA_HOME": "Where cuBLAS is looked for, as `CUDA_PATH`, then `/usr/local/cuda`.",
        "CUDA_PATH": "See `CUDA_HOME`.",
        "ROCM_PATH": "Where rocBLAS is looked for, as `ROCM_HOME`, then `/opt/rocm`.",
        "ROCM_HOME": "See `ROCM_PATH`.",
        "ROCBLAS_TENSILE_LIBPATH": "Kernels of rocBLAS, where they are not beside it.",
        "NCCL_DEBUG": "What NCCL and RCCL tell; `WARN` where it is not set. Other variables that would change what is "
                      "measured are taken away in the process that measures.",
        "PYOPENCL_NO_CACHE": "Set by boxcheck: kernels are cached by boxcheck alone, which checks who may write there.",
    },
    "Root and keys": {
        "SUDO_UID": "Set by sudo: records belong to the user who called it.",
        "SUDO_GID": "See `SUDO_UID`.",
        "SSH_AUTH_SOCK": "The agent that signs with `boxcheck report sign --agent`.",
        "PYTHONDONTWRITEBYTECODE": "Set by boxcheck under sudo: no files of root's in a user's installation.",
    },
    "For tests and reports of bugs": {
        "BOXCHECK_TRACEBACK": "Any value: where boxcheck itself broke.",
        "BOXCHECK_CPU_DEVICES": "With `--backend cpu`: how many devices the processor is shown as, 1 to 16.",
        "BOXCHECK_LOCK": "Another name for the lock that allows one load at a time on a box.",
        "BOXCHECK_MARKS": "Another folder than `/run/boxcheck`, where root marks what is changed.",
    },
}
"""Every variable that boxcheck reads or sets by itself. `undescribed` finds those of the code that are not here."""

UNSEEN = {"BOXCHECK_LOCK", "BOXCHECK_MARKS", "HIP_VISIBLE_DEVICES", "LC_ALL", "LC_CTYPE", "LANG", "TMPDIR", "LESS"}
"""Described, and read under a name that is not written where it is read, or by Python."""
INNER = {"_BOXCHECK_COMPLETE", "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"}
"""Set by the shell's script for TAB, and for a library within the process."""


def read_in_code() -> set[str]:
    """Names of environment variables that are written where the package reads or sets one."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name: ast.expr | None = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                name = node.args[0] if _is_environment(node.func.value) or node.func.attr == "getenv" else None
            elif isinstance(node, ast.Subscript) and _is_environment(node.value):
                name = node.slice
            elif isinstance(node, ast.Compare) and _is_environment(node.comparators[0]):
                name = node.left
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.add(name.value)
    return found


def _is_environment(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def undescribed() -> tuple[set[str], set[str]]:
    """Variables that the code reads and the page does not tell of; those of the page that the code does not read."""
    described = {name for section in VARIABLES.values() for name in section}
    code = read_in_code() - INNER
    return code - described, described - code - UNSEEN


def environment_page() -> str:
    from boxcheck.host import ENVIRONMENT

    missing, gone = undescribed()
    assert not missing, f"docs/cli_pages.py does not describe {', '.join(sorted(missing))}"
    assert not gone, f"docs/cli_pages.py describes {', '.join(sorted(gone))}, which nothing reads"
    lines = ["# Environment variables\n\n", (
        "Nothing has to be set. Options of the command line go before all of them. `sudo` clears most; "
        "`sudo --preserve-env=NAME` keeps one.\n")]
    for section, variables in VARIABLES.items():
        lines.append(f"\n## {section}\n\n| variable | what it does |\n|---|---|\n")
        lines += (f"| `{name}` | {text} |\n" for name, text in variables.items())
    recorded = ", ".join(f"`{name}`" for name in ENVIRONMENT)
    lines.append(
        "\n## What a capture records\n\nThe values of these and no others, since they change what GPUs do; "
        f"`env.override` judges some of them: {recorded}.\n")
    return "".join(lines)


def glossary_page() -> str:
    lines = [
        "# Glossary\n\nThe words as boxcheck uses them. `boxcheck explain TERM` prints the same text; sources are in "
        "brackets.\n"]
    lines += (f"\n## {term}\n\n{text}\n" for term, text in sorted(TERMS.items(), key=lambda one: one[0].casefold()))
    return "".join(lines)


def command_page() -> str:
    """Every command with its arguments, options and examples."""
    from typer.main import get_command

    from boxcheck.cli import app

    root = get_command(app)
    lines = ["# Commands\n\n", (
        "What `boxcheck COMMAND --help` says, on one page. Exit codes of all commands: [exit codes](exit-codes.md); "
        "variables:\n[environment](environment.md). `boxcheck --version` tells the version and the commit; "
        "`boxcheck --install-completion` lets TAB\ncomplete commands, options, checks, profiles, slots and runs.\n")]
    lines += _examples("")
    for name, command in _every(root, ""):
        lines += _command(name, command)
    return "".join(lines)


def _every(group: Any, begun: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        whole = f"{begun} {name}".strip()
        yield whole, command
        if hasattr(command, "commands"):
            yield from _every(command, whole)


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"\n## boxcheck {name}\n"
    for paragraph in filter(str.strip, (command.help or "").split("\n\n")):
        yield f"\n{_cell(' '.join(paragraph.split()), table=False)}\n"
    if hasattr(command, "commands"):
        yield "\nCommands: " + ", ".join(
            f"[`{one}`](#boxcheck-{name.replace(' ', '-')}-{one})" for one in command.commands) + ".\n"
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    for head, params in (("argument", arguments), ("option", options)):
        if params:
            yield f"\n| {head} | what it does |\n|---|---|\n"
            yield from (f"| {_spelling(one)} | {_cell(one.help or '')} |\n" for one in params)
    yield from _examples(name)


def _spelling(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{_cell(param.metavar or param.name.upper())}`"
    word = "" if param.is_flag or param.count else param.metavar or (
        "\\|".join(param.type.choices) if hasattr(param.type, "choices") else "N")
    return ", ".join(f"`{name}`" for name in param.opts) + (f" `{_cell(word)}`" if word else "")


def _examples(name: str) -> Iterator[str]:
    examples = EXAMPLES.get(name, ())
    if examples:
        width = max(len(line) for line, _ in examples)
        yield "\n```sh\n"
        yield from (f"{line:<{width}}  # {purpose}\n" if purpose else f"{line}\n" for line, purpose in examples)
        yield "```\n"


def _cell(text: str, *, table: bool = True) -> str:
    """Text that is no Markdown by accident."""
    return (text.replace("|", "\\|") if table and "\\|" not in text else text).replace("<", "&lt;").replace("*", "\\*")
