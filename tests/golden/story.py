"""The output in docs/how-to/golden-box.md, made by the commands that stand there.

    python -m tests.golden.story             prints the blocks
    python -m tests.golden.story --write     writes them into the page
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.golden.runs import stored

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "golden-box.md"
BLOCK = re.compile(r"(<!-- golden: (\w+) -->\n```\n)(.*?)(```)", re.DOTALL)
RUNS = ("one", "two", "three", "slow")
GOOD = " ".join(f"--from-run 2026-11-{day}" for day in (21, 22, 23))
COMMANDS = {
    "draft": f"boxcheck profile draft {GOOD} --share rates.json --yes > golden.toml",
    "limits": "grep -A 7 '^.matmul' golden.toml | cut -c -95",
    "judged": "boxcheck judge 2026-11-24 --profile golden.toml | tail -4",
    "beside": "boxcheck profile beside 2026-11-24 rates.json"}
CUT = {"draft": re.compile(r"^(.*?will hold this[^\n]*\n).*?^(\}\n)", re.DOTALL | re.MULTILINE)}
"""Of a block: what is shown as `...`."""


def home(folder: Path) -> dict[str, str]:
    """A user with the runs of four boxes, and `boxcheck` in their path."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "boxcheck"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m boxcheck "$@"\n')
    program.chmod(0o755)
    runs = folder / ".local" / "state" / "boxcheck" / "runs"
    runs.mkdir(parents=True)
    for name in RUNS:
        shutil.copy(stored(name), runs)
    return {"HOME": str(folder), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "COLUMNS": "100",
            "PYTHONPATH": str(PAGE.parents[2])}


def run(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=600, check=False)


def blocks(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Each block as it must stand there: the command, and what it says."""
    made = {}
    for name, command in COMMANDS.items():
        said = run(command, folder, environment).stdout
        if name in CUT:
            said = CUT[name].sub(r"\1{ ... }\n", said)
        # The day on which it is made is today.
        said = re.sub(r"made \d{4}-\d{2}-\d{2}", "made 2026-11-28", said)
        made[name] = f"$ {command}\n{said}"
    return made


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        made = blocks(Path(folder), home(Path(folder)))
    if "--write" in sys.argv[1:]:
        page = PAGE.read_text()
        PAGE.write_text(BLOCK.sub(lambda found: f"{found[1]}{made[found[2]]}{found[4]}", page))
    else:
        for name, text in made.items():
            print(f"{name}\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
