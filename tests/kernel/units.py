"""How the tests of the bench are shared among processes: by guest, the longest first."""

from __future__ import annotations

import re

FOLDER = "tests/kernel/"
LONGEST = ("test_burn.py", "test_nobody_counts.py", "test_nodes_and_script.py", "test_riser.py", "test_hotplug.py", "test_wopr.py",
           "test_four_links.py")
"""By what they took of the processor; the others follow in the order of their names."""
WITH = {f"{FOLDER}test_nodes_and_script.py": f"{FOLDER}test_nobody_counts.py"}
"""A file whose tests go on with the machine that those of another left running."""


def unit(test: str) -> str | None:
    """What one process runs as a whole, by a test's id; None of a test that is not the bench's. Tests of one file and one
    machine, since they build on each other."""
    path, _, name = test.partition("::")
    if not path.startswith(FOLDER):
        return None
    series = re.search(r"@\d+\.\d+", name)
    return f"{WITH.get(path, path)}{series[0] if series else ''}"


def order(test: str) -> tuple[int, str]:
    name = test.partition("::")[0].removeprefix(FOLDER)
    return LONGEST.index(name) if name in LONGEST else len(LONGEST), name
