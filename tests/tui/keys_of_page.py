"""The keys that docs/how-to/watch-a-run.md promises."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "watch-a-run.md"
WORDS = ("up", "down", "left", "right", "enter", "space", "escape")


def promised() -> set[tuple[str, str]]:
    """`(where, key)` of its table."""
    found: set[tuple[str, str]] = set()
    where, table = "", PAGE.read_text(encoding="utf-8").partition("\n## Keys\n")[2].partition("\n## ")[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 3 or cells[1] == "key" or set(cells[1]) == {"-"}:
            continue
        where = cells[0] or where
        keys = re.findall(r"`([^`]+)`", cells[1])
        keys += [word for word in re.findall(r"\w+", re.sub(r"`[^`]+`", "", cells[1])) if word in WORDS]
        found |= {(where, key) for key in keys}
    return found
