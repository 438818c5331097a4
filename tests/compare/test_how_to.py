"""docs/how-to/compare-boxes.md shows what its commands print."""

from __future__ import annotations

from tests.compare.how_to import BLOCK, PAGE, made


def test_every_output_of_the_page_is_real() -> None:
    text = PAGE.read_text()
    assert len(BLOCK.findall(text)) >= 4
    assert made(text) == text, "python -m tests.compare.how_to --write"
