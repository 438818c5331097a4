"""The README shows real output, and every command and page that the docs name exists.

`python -m tests.test_readme` writes the built box's account into the README anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from boxcheck.commands.doctor import Options, examine
from boxcheck.report.text import Style, account_text
from tests.boxes import build

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BOX = "wopr-7x4090+riser-x8"
START = "of which one lost half its lanes (`boxcheck doctor --sysroot CAPTURE`):\n\n```\n"
PAGES = sorted([README, *(ROOT / "docs").rglob("*.md")])


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_pages_name_exist(page: Path) -> None:
    from typer.main import get_command

    from boxcheck.cli import app

    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    text = page.read_text()
    if page.name == "changelog.md" or "reference/checks" in str(page):
        return
    for word in re.findall(r"`(?:sudo )?boxcheck ([a-z]+)", text):
        assert word in commands, f"{page.name} names boxcheck {word}"


def main() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        text = README.read_text()
        head, tail = text.split(START, 1)
        README.write_text(head + START + shown(Path(folder)) + "```" + tail.split("```", 1)[1])


if __name__ == "__main__":
    main()
