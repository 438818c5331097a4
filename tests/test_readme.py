"""The README shows real output. Its links and commands: tests/test_docs.py.

`python -m tests.test_readme` writes the built box's account into the README anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from boxcheck.commands.doctor import Options, examine
from boxcheck.report.text import Style, account_text
from tests.boxes import build

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BOX = "wopr-7x4090+riser-x8"
START = "of which one lost half its lanes (`boxcheck doctor --sysroot CAPTURE`):\n\n```\n"


def shown(folder: Path) -> str:
    """The account of the box, with what differs from run to run taken out."""
    path = build(BOX).write_tar(folder / "box.tar.gz")
    text = account_text(examine(Options(sysroot=str(path)))[0], Style(columns=100))
    text = text.replace(str(path), "CAPTURE")
    return re.sub(r" +(\d+ checks) in [\d.]+ s", r"   \1", text)


def fence() -> str:
    text = README.read_text()
    return text.split(START, 1)[1].split("```", 1)[0]


def test_the_readme_shows_what_boxcheck_says(tmp_path: Path) -> None:
    assert fence() == shown(tmp_path)


def main() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        text = README.read_text()
        head, tail = text.split(START, 1)
        README.write_text(head + START + shown(Path(folder)) + "```" + tail.split("```", 1)[1])


if __name__ == "__main__":
    main()
