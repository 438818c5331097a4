"""The page on what root adds names every check that needs root, and no other."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

from boxcheck.registry import CHECKS, discover, discover_stress

PAGE = Path(__file__).parents[1] / "docs/how-to/run-without-root.md"


def patterns() -> list[str]:
    """Ids in the last column of the page's table."""
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\|.*\|$", line)][2:]
    return [id for row in rows for id in re.findall(r"`([a-z0-9-]+\.[a-z0-9*-]+)`", row.rsplit("|", 2)[1])]


def test_the_page_names_every_check_that_needs_root_and_no_other() -> None:
    discover()
    discover_stress()
    rooted = {id for id, check in CHECKS.items() if "root" in check.needs}
    assert len(rooted) > 30
    named = patterns()
    assert len(named) > 20
    assert {id for id in rooted if not any(fnmatchcase(id, pattern) for pattern in named)} == set()
    assert {id for id in CHECKS if any(fnmatchcase(id, pattern) for pattern in named)} <= rooted
    assert [pattern for pattern in named if not any(fnmatchcase(id, pattern) for id in CHECKS)] == []
