"""The docs: links and their anchors lead somewhere, commands are taken by the command line, output is what the code makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.command_lines import USAGE_ERROR, of_boxcheck, parsed
from tests.docs_shown import DOCS, ROOT, made, shown_blocks

PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PLACES = {"N": "1", "S": "1", "X": "1e-12", "KEY=VALUE": "size=test", "STATE": "crashed", "PID": "1"}
"""What stands for a number or a word in the docs, and one that is."""


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without what is shown as it is typed or printed."""
    text = FENCE.sub("", page.read_text())
    return re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.MULTILINE)


@cache
def anchors(page: Path) -> frozenset[str]:
    """As GitHub makes them: lower case, no punctuation, a hyphen for a blank, a number behind one that was there."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", FENCE.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        word = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        number = sum(1 for one in found if re.sub(r"-\d+$", "", one) == word or one == word)
        found.append(f"{word}-{number}" if number else word)
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", re.sub(r"`[^`\n]*`", "", prose(page))):
        if target.startswith(("http://", "https://")):
            continue
        place = (page.parent / target) if target else page
        assert place.exists(), f"{target}: no such file"
        if anchor and place.suffix == ".md":
            assert anchor in anchors(place), f"{target}#{anchor}: no such heading"


def test_anchors_are_those_of_the_forge() -> None:
    """Of headings whose anchors are known from GitHub."""
    assert "when-a-run-is-a-verdict-on-the-box" in anchors(DOCS / "how-to" / "burn-in.md")
    assert "pcielink-width" in anchors(DOCS / "reference" / "checks" / "pcie.md")


def typed(page: Path) -> Iterator[str]:
    """Lines that a page gives to be typed: indented ones, those of console and sh blocks, and code among prose."""
    text = page.read_text()
    for kind, block in FENCE.findall(text):
        if kind in ("console", "sh", "bash"):
            yield from (line.removeprefix("$ ") for line in block.splitlines()
                        if kind != "console" or line.startswith("$ "))
    rest = FENCE.sub("", text)
    for line in rest.splitlines():
        if line.startswith("    ") and re.match(r"(?:\$ )?(?:sudo )?(?:[\w./~-]*/)?boxcheck [a-z]", line.strip()):
            yield re.split(r" {3,}", line.strip().removeprefix("$ "))[0]  # behind it stands what it is for
        elif not line.startswith("    "):
            yield from (code for code in re.findall(r"`([^`\n]+)`", line)
                        if re.match(r"(?:sudo )?(?:[\w./~-]*/)?boxcheck [a-z]", code))


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "changelog.md"], ids=named)
def test_commands_are_taken(page: Path) -> None:
    """What a command line of the docs says is one: its words, options and their values."""
    for line in typed(page):
        try:
            calls = list(of_boxcheck(line.replace("...", "").replace("[", "").replace("]", "")))
        except ValueError:  # a quotation mark that is not closed: an excerpt
            calls = []
        for words in calls:
            try:
                parsed([PLACES.get(word, word) for word in words])
            except USAGE_ERROR as error:
                if "Missing" in type(error).__name__:
                    continue  # named, not spelt out: `boxcheck explain`
                pytest.fail(f"{line}: {getattr(error, 'message', error)}")


def test_there_are_commands_to_look_at() -> None:
    assert sum(1 for page in PAGES for line in typed(page) for _ in of_boxcheck(line)) > 150


@pytest.mark.parametrize(("page", "block"), [*shown_blocks()], ids=lambda one: named(one) if isinstance(one, Path) else one["what"])
def test_output_is_what_the_code_makes(page: Path, block: re.Match[str]) -> None:
    assert block["text"] == made(block["what"]), "python -m tests.docs_shown writes it anew"


def test_every_mark_has_its_block() -> None:
    marks = sum(page.read_text().count("\n<!-- shown: ") for page in PAGES)
    assert marks == len([*shown_blocks()]) >= 20


def test_every_page_is_reached_from_the_front_page() -> None:
    seen: set[Path] = set()
    left = [DOCS / "index.md"]
    while left:
        page = left.pop()
        if page in seen or page.suffix != ".md" or not page.is_relative_to(DOCS):
            continue
        seen.add(page)
        left += [(page.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s:]+)", page.read_text())
                 if (page.parent / target).is_file()]
    assert {named(page) for page in PAGES if page.is_relative_to(DOCS)} - {named(page) for page in seen} == set()
