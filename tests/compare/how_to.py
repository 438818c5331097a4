"""The outputs in docs/how-to/compare-boxes.md are what its commands print, in a folder with made-up captures and
attempts. `python -m tests.compare.how_to --write` writes them anew."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.boxes import build
from tests.compare.test_yield import put

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "compare-boxes.md"
BLOCK = re.compile(r"```\n\$ (?P<command>[^\n]*)\n(?P<said>.*?)```", re.DOTALL)
CAPTURES = {
    "before": "wopr-7x4090+riser-x8", "after": "wopr-7x4090", "user": "wopr-7x4090+not-root",
    "box-1": "wopr-7x4090", "box-2": "wopr-7x4090+persistence-off", "box-3": "wopr-7x4090+dimm-missing",
    "box-4": "wopr-7x4090+nvidia-vbios-mixed"}


def prepare(folder: Path) -> None:
    """What the commands of the page are about."""
    for name, box in CAPTURES.items():
        build(box).write_tar(folder / f"{name}.tar.gz")
    line = folder / "line"
    for number in range(1, 25):
        serial, bench = f"W-{number:04d}", f"bench {1 + number % 2}"
        if number in (4, 9, 15):
            put(line, serial, 1, "FAIL", "pcie.link-width PCIE3", station=bench)
            put(line, serial, 2, "PASS", station=bench, day=1)
        elif number == 11:
            put(line, serial, 1, "FAIL", "vram.wrong-data PCIE6", station=bench)
        elif number == 18:
            put(line, serial, 1, "ABORTED", "stopped", station=bench)
            put(line, serial, 2, "PASS", station=bench)
        else:
            put(line, serial, 1, "PASS", station=bench, with_waivers=number == 20)


def run(command: str, folder: Path) -> str:
    (folder / "bin").mkdir(exist_ok=True)
    program = folder / "bin" / "boxcheck"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m boxcheck "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=120, env={
            "HOME": str(folder), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
            "LC_ALL": "C.UTF-8", "COLUMNS": "100"})
    assert not done.stderr, done.stderr
    return done.stdout


def made(text: str) -> str:
    """The page with what its commands print now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        return BLOCK.sub(lambda block: f"```\n$ {block['command']}\n{run(block['command'], folder)}```", text)


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(made(PAGE.read_text()))
