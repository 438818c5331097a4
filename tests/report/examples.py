"""Acceptances to look at, each as the folder that `certify` leaves: `python -m tests.report.examples FOLDER`; minutes.

    python -m tests.report.examples FOLDER                      of made-up runs (tests/report/scenes.py)
    python -m tests.report.examples FOLDER --here               and two of this machine: its processor, its OpenCL devices
    python -m tests.report.examples FOLDER --only crashed       of one
    python -m tests.report.examples FOLDER --pictures           and each page as PNG: screen, narrow, dark, printed, PDF

docs/samples holds the reports of `--only strix` and `--only bad-riser`, to be copied there when reports have changed.

Runs are made up, or real with `--here`; all that comes after is certify's own: what is judged, the disposition, the files,
the manifest. Pictures need Chromium, and pdftoppm (poppler).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import msgspec

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.attempts import FILES, Asked
from boxcheck.certify.folder import write_folder
from boxcheck.certify.run import accept
from boxcheck.checks.wording import duration
from boxcheck.store.reader import RunReader
from tests.report.pictures import browser, picture, shoot
from tests.report.scenes import SCENES, made

HERE = Path(__file__).parent / "this_machine.toml"
BACKENDS = ("cpu", "opencl")
PATIENCE_SECONDS = 1800.0
SIZES = {"screen": (1280, False), "narrow": (400, False), "dark": (1280, True)}
TALL = 16000
"""Pixels of a picture of a page: Chromium draws no more than 16384."""
DOTS = 60
"""Of a printed page, an inch."""


def example(name: str, to: Path) -> Path:
    """The folder of a made-up run's acceptance."""
    with tempfile.TemporaryDirectory() as beside:
        scene = made(name, beside)
        with RunReader(scene.path) as reader:
            run = reader.run()
        asked_seconds = sum(step["seconds"] for step in run.info.plan["steps"])
        own = scene.acceptance
        asked = Asked(
            id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"boxcheck:{name}")), run=scene.path, began=run.started,
            identity=own.identity if own else Identity(serial=run.info.box, serial_from="operator", operator="M. Keller"),
            attempt=own.attempt if own else 1, planned=f"{duration(asked_seconds)} (profile {run.info.profile.name})",
            waivers=own.waivers if own else ())
        made_of = accept(asked, own.earlier if own else (), now=run.started + 3600.0, clock_trusted=True, machine={})
        # Its profile is the shipped one, but for a load as short as a made-up run.
        told = msgspec.structs.replace(made_of.told, profile_note="")
        place = Path(beside) / "attempt"
        place.mkdir()
        write_folder(str(place), scene.path, told, made_of.want, made_of.verdict_json)
        return Path(shutil.move(place / FILES, to / name))


def of_this_machine(backend: str, to: Path) -> Path:
    """The folder of an acceptance that is run here and now, by a profile of its own."""
    with tempfile.TemporaryDirectory() as state:
        words = ("certify", "--profile", str(HERE), "--backend", backend, "--serial", "BENCH-1", "--operator", "bench",
                 "--no-tui", "--quiet", "--json", "-")
        done = subprocess.run(
            [sys.executable, "-m", "boxcheck", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            timeout=PATIENCE_SECONDS, check=False, env={**os.environ, "XDG_STATE_HOME": state})
        if not done.stdout:
            raise SystemExit(f"certify --backend {backend} ended with exit code {done.returncode}")
        return Path(shutil.move(json.loads(done.stdout)["folder"], to / f"here-{backend}"))


def take_pictures(folder: Path, program: str) -> None:
    page = folder / "report.html"
    for name, (wide, dark) in SIZES.items():
        picture(program, page, (wide, TALL), folder / f"{name}.png", dark)
    shoot(program, "--no-pdf-header-footer", f"--print-to-pdf={folder / 'printed.pdf'}", f"file://{page}")
    for name in ("printed", "report"):
        if (folder / f"{name}.pdf").exists():
            subprocess.run(["pdftoppm", "-r", str(DOTS), "-png", folder / f"{name}.pdf", folder / f"{name}-page"],
                           check=True, timeout=PATIENCE_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--only", choices=(*SCENES, "here"))
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--browser")
    asked = parser.parse_args()
    to = Path(asked.folder).resolve()
    to.mkdir(parents=True, exist_ok=True)
    if any(to.iterdir()):
        raise SystemExit(f"{to} is not empty: name another folder")
    folders = [example(name, to) for name in SCENES if asked.only in (None, name)]
    folders += [of_this_machine(backend, to) for backend in BACKENDS] if asked.here or asked.only == "here" else []
    for folder in folders:
        told = msgspec.json.decode((folder / "acceptance.json").read_bytes())
        print(f"{told['disposition']:<14} {folder}  {told['reason']}")
        if asked.pictures:
            take_pictures(folder, browser(asked.browser))
    return 0


if __name__ == "__main__":
    sys.exit(main())
