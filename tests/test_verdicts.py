"""What boxcheck says of every built box, line by line, and that every check can fail.

The golden table is tests/boxes/verdicts.json; `python -m tests.boxes.verdicts` writes it anew.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from boxcheck.registry import CHECKS, discover
from tests.boxes import names
from tests.boxes.verdicts import PAGE, TABLE, fires, page, row, strange

GOLDEN: dict[str, dict[str, Any]] = json.loads(TABLE.read_text())
discover()


@pytest.mark.parametrize("name", names())
def test_a_built_box_is_judged_as_it_was_agreed(name: str) -> None:
    assert row(name) == GOLDEN[name]


@pytest.mark.parametrize("name", [name for name in names() if "+" not in name])
def test_a_healthy_box_has_no_problem(name: str) -> None:
    entry = GOLDEN[name]
    assert entry["problems"] == []
    assert not [label for label in entry["loose"] if not label.startswith("unknown")]
    # A link at rest settles nothing; a box without a GPU that its profile is for was not judged.
    if name not in ("wopr-7x4090-one-reading", "laptop"):
        assert entry["outcome"] == "pass"


@pytest.mark.parametrize("name", names())
def test_a_fault_is_one_problem_and_a_healthy_change_none(name: str) -> None:
    assert list(strange(name, GOLDEN[name])) == []


def test_every_check_fires_on_a_capture() -> None:
    """Fires: fails or is marginal. A check that only ever passes or does not know is a defect. Those of stress modules
    judge no capture: tests/stress/test_every_check.py."""
    fired = fires()
    silent = sorted(
        id for id, check in CHECKS.items()
        if check.stress is None and not {"fail", "marginal"} & fired.get(id, {}).keys())
    assert silent == sorted(ELSEWHERE), "add a mutation to tests/boxes on which the check fires"


ELSEWHERE: dict[str, str] = {}
"""Checks that no built box trips, and the test that shows them failing."""


def test_the_page_of_captures_is_fresh() -> None:
    assert PAGE.read_text() == page()
