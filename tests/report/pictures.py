"""Pictures of reports for the docs: `python -m tests.report.pictures`. Needs Chromium, by `--browser` or in the PATH.

    python -m tests.report.pictures                     docs/pictures/report-*.png

All pages of all made-up acceptances, to be looked at: `python -m tests.report.examples FOLDER --pictures`.

The pages are made by the code as it is, from made-up runs (tests/report/scenes.py); nothing is drawn by hand.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from boxcheck.report.acceptance import document_of_run
from boxcheck.report.document import Block, Heading
from boxcheck.report.html import html_of
from tests.report.scenes import made

DOCS = Path(__file__).parents[2] / "docs" / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "chromium-headless-shell")
PICTURES = (
    ("report-cover", "bad-riser", "", 1180, 1010), ("report-machine", "hidden-gen3", "machine", 1180, 700),
    ("report-gpu", "bad-riser", "gpu-2", 1180, 1400))
"""Name, scene, anchor, width and height in pixels."""
PATIENCE_SECONDS = 60.0


def browser(asked: str | None) -> str:
    found = next((path for name in ((asked,) if asked else BROWSERS) if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit("no browser: name a Chromium with --browser")
    return found


def shoot(program: str, *words: str) -> None:
    """Runs it without a window. Its cache and its profile go with a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}", *words],
            check=True, timeout=PATIENCE_SECONDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def page(name: str, folder: str, anchor: str = "") -> Path:
    """The page of a scene as a file; of one section alone where its anchor is given."""
    scene = made(name, folder)
    document = document_of_run(scene.path, None, scene.acceptance, scene.notebook)
    if anchor:
        document = msgspec.structs.replace(document, blocks=section(document.blocks, anchor))
    path = Path(folder) / f"{name}.html"
    path.write_text(html_of(document))
    return path


def section(blocks: Sequence[Block], anchor: str) -> tuple[Block, ...]:
    """From a heading to the next of its level or above."""
    begin = next(at for at, one in enumerate(blocks) if isinstance(one, Heading) and one.anchor == anchor)
    level = next(one.level for one in blocks[begin:begin + 1] if isinstance(one, Heading))
    end = next((at for at, one in enumerate(blocks) if at > begin and isinstance(one, Heading) and one.level <= level),
               len(blocks))
    return tuple(blocks[begin:end])


def picture(program: str, file: Path, size: tuple[int, int], to: Path, dark: bool = False) -> None:
    scheme = ("--blink-settings=preferredColorScheme=0",) if dark else ()
    shoot(program, *scheme, f"--window-size={size[0]},{size[1]}", f"--screenshot={to}", f"file://{file}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--browser")
    asked = parser.parse_args()
    program = browser(asked.browser)
    with tempfile.TemporaryDirectory() as folder:
        for name, scene, anchor, wide, high in PICTURES:
            picture(program, page(scene, tempfile.mkdtemp(dir=folder), anchor), (wide, high), DOCS / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
