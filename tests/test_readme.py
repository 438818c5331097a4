"""The README shows real output. Its links and commands: tests/test_docs.py.

`python -m tests.test_readme` writes the demo's account into the README anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DEMO = ("demo", "doctor", "wopr")
START = "(`boxcheck demo doctor wopr`):\n\n```\n"


def shown() -> str:
    """What the command of the README prints, 100 columns wide, without what differs by installation and run."""
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck", *DEMO], capture_output=True, text=True, timeout=120, check=True, cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"})
    text = re.sub(r"\S+/boxcheck/data/demo/", "CAPTURES/", done.stdout)
    text = re.sub(r"\S+ -m boxcheck|\S*/boxcheck(?= )", "boxcheck", text)
    return re.sub(r" +(\d+ checks) in [\d.]+ s", r"   \1", text)


def fence() -> str:
    text = README.read_text()
    return text.split(START, 1)[1].split("```", 1)[0]


def test_the_readme_shows_what_boxcheck_says() -> None:
    assert fence() == shown()


def main() -> None:
    head, tail = README.read_text().split(START, 1)
    README.write_text(head + START + shown() + "```" + tail.split("```", 1)[1])


if __name__ == "__main__":
    main()
