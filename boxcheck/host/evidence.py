"""What a capture holds beyond doctor's own readings: the list of `boxcheck-capture.sh`, which is the one list.

So both ways to capture hold the same evidence, and a later boxcheck that reads more finds it in older captures.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import msgspec

from boxcheck.host import Host
from boxcheck.model import Unread

SCRIPT = "boxcheck-capture.sh"
PROGRAM_TIMEOUT_SECONDS = 10.0
BMC_NODES = ("/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0")


class Row(msgspec.Struct, frozen=True):
    """Names to look for in the directories that a glob names. A name may begin with a mark: `?` only whether it is
    there, `>` only where the link leads; `.` stands for the listing of the directory."""

    directory: str
    names: tuple[str, ...]


class Program(msgspec.Struct, frozen=True):
    when: str
    """`any`, `root`, or `bmc`: root on a machine with a BMC."""
    argv: tuple[str, ...]


@cache
def script_text() -> str:
    """The script that captures where boxcheck is not installed."""
    return (files("boxcheck") / "data" / SCRIPT).read_text(encoding="utf-8")


def _section(name: str) -> list[str]:
    """The lines of a variable in the script: between `name='` and the next quote."""
    begin = script_text().index(f"\n{name}='\n") + len(name) + 4
    return [line for line in script_text()[begin:].split("'", 1)[0].splitlines() if line.strip()]


@cache
def rows() -> tuple[Row, ...]:
    """The paths that the script looks for."""
    return tuple(Row(words[0], tuple(words[1:])) for words in map(str.split, _section("paths")))


@cache
def programs() -> tuple[Program, ...]:
    """The programs that the script runs; `~` in it stands for a blank within an argument."""
    return tuple(
        Program(words[0], tuple(word.replace("~", " ") for word in words[1:]))
        for words in map(str.split, _section("programs"))
    )


def variables() -> tuple[str, ...]:
    """The environment variables that the script records."""
    return tuple(" ".join(_section("variables")).split())


def covers() -> tuple[str, ...]:
    """Everything that the script looks for, as globs: what its captures may call absent."""
    return tuple(glob_of(row, name) for row in rows() for name in row.names)


def glob_of(row: Row, name: str) -> str:
    """The paths that one name of a row stands for."""
    glob = row.directory if name == "." else f"{row.directory.rstrip('/')}/{name.lstrip('?>')}"
    return f"{glob[:-1]}?*" if glob.endswith("/*") else glob  # a bare * at the end would cover all that lies below, too


def _has_glob(text: str) -> bool:
    return "*" in text or "?" in text or "[" in text


def _matching(host: Host, directory: str, glob: str) -> Iterator[str]:
    """Names in a directory, as a shell expands a glob."""
    if not _has_glob(glob):
        yield glob
        return
    from fnmatch import fnmatchcase

    names = host.entries(directory or "/")
    for name in () if isinstance(names, Unread) else names:
        if fnmatchcase(name, glob) and name.startswith(".") == glob.startswith("."):
            yield name


def _expanded(host: Host, glob: str) -> Iterator[str]:
    """Directories that a glob names; "" for the root."""
    found = [""]
    for part in glob.split("/")[1:]:
        if part:
            found = [f"{directory}/{name}" for directory in found for name in _matching(host, directory, part)]
    yield from found


def collect(host: Host) -> None:
    """Reads everything on the list, so that it is in the recording."""
    for row in rows():
        for directory in _expanded(host, row.directory):
            for name in row.names:
                if name == ".":
                    host.entries(directory)
                    continue
                mark, glob = (name[0], name[1:]) if name[0] in "?>" else ("", name)
                for found in _matching(host, directory, glob):
                    _ask(host, f"{directory}/{found}", mark)
    who = host.who()
    root = not isinstance(who, Unread) and who.root
    bmc = root and any(host.exists(node) is True for node in BMC_NODES)
    for program in programs():
        if program.when == "any" or (root if program.when == "root" else bmc):
            for argv in _nodes(host, program.argv):
                host.run(argv, PROGRAM_TIMEOUT_SECONDS)


def _ask(host: Host, path: str, mark: str) -> None:
    if mark == "?":
        host.exists(path)
    elif mark == ">":
        host.target(path)
    else:
        data = host.read(path)
        if isinstance(data, Unread) and path.startswith("/dev/") and data.kind != "absent":
            host.opens(path)


def _nodes(host: Host, argv: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The arguments with a glob over device nodes replaced by each node in turn."""
    for number, word in enumerate(argv):
        if word.startswith("/dev/") and _has_glob(word):
            directory, _, glob = word.rpartition("/")
            for name in _matching(host, directory, glob):
                yield (*argv[:number], f"{directory}/{name}", *argv[number + 1:])
            return
    yield argv
