"""Output in the docs that the code makes: `python -m tests.docs_shown` writes it anew.

A comment before a fenced block says what it shows:

    <!-- shown: BOX -->           the problems that doctor finds in a built box (tests/boxes); `BOX by PROFILE` chooses
                                  the profile, `, problems alone` leaves out what was not read
    <!-- shown: $ COMMAND -->     what the command prints; `| head N` and `| from WORDS to WORDS` cut it
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SHOWN = re.compile(r"<!-- shown: (?P<what>[^\n]+?) -->\n```[a-z]*\n(?P<text>.*?)```", re.DOTALL)
VERDICT = re.compile(r"(?:PASS|FAIL|UNKNOWN|MARGINAL|PARTIAL)\b")


def shown_blocks() -> Iterator[tuple[Path, re.Match[str]]]:
    for page in sorted([ROOT / "README.md", *DOCS.rglob("*.md")]):
        for found in SHOWN.finditer(page.read_text()):
            yield page, found


def made(what: str) -> str:
    """The text of a block, ended by a new line."""
    return of_command(what[2:]) if what.startswith("$ ") else of_box(what)


@cache
def of_box(what: str) -> str:
    from boxcheck.commands.doctor import Options, examine
    from boxcheck.report.text import Style, account_text
    from tests.boxes import build

    asked, _, alone = what.partition(", ")
    assert alone in ("", "problems alone"), alone
    name, _, profile = asked.partition(" by ")
    stop = re.compile(r"unknown\[") if alone else VERDICT
    with tempfile.TemporaryDirectory() as folder:
        path = build(name).write_tar(Path(folder) / "box.tar.gz")
        lines = account_text(examine(Options(sysroot=str(path), profile=profile or None))[0], Style(columns=100)).splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith("problem 1 of"))
    end = next(at for at, line in enumerate(lines) if at > begin and stop.match(line))
    return "\n".join(lines[begin:end]).rstrip() + "\n"


@cache
def of_command(line: str) -> str:
    command, _, cut = line.partition(" | ")
    words = command.split()
    assert words[0] == "boxcheck"
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "boxcheck", *words[1:]], capture_output=True, text=True, timeout=120, cwd=home, env={
                "PATH": os.environ["PATH"], "HOME": home, "COLUMNS": "100", "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8",
                "PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
        text = done.stdout.replace(f"{sys.executable} -m boxcheck", "boxcheck").replace(home, "~")
    text = re.sub(r" +(\d+ checks) in [\d.]+ s", r"   \1", text)
    lines = text.splitlines()
    if head := re.fullmatch(r"head (\d+)", cut):
        lines = lines[:int(head[1])]
    elif span := re.fullmatch(r"from (.+) to (.+)", cut):
        begin = next(at for at, one in enumerate(lines) if one.startswith(span[1]))
        end = next(at for at, one in enumerate(lines) if at > begin and one.startswith(span[2]))
        lines = lines[begin:end]
    else:
        assert not cut, cut
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    for page in {page for page, _ in shown_blocks()}:
        text = page.read_text()
        page.write_text(SHOWN.sub(_anew, text))


def _anew(found: re.Match[str]) -> str:
    begin, end = (at - found.start() for at in found.span("text"))
    return found[0][:begin] + made(found["what"]) + found[0][end:]


if __name__ == "__main__":
    main()
