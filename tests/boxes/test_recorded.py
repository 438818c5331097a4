"""Captures that a real kernel made (`python -m tests.kernel record`), judged as they were when they were recorded.

Whoever changes a wording runs `python -m tests.kernel record --again` and reads the diff of index.json line by line.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kernel.record import INDEX, KEPT, SCENARIOS, findings

HELD = json.loads(INDEX.read_text())


def test_every_scenario_is_kept_of_two_kernels() -> None:
    by_topology = {(entry["scenario"], entry["kernel"].split(".")[1]) for entry in HELD.values()}
    assert len(by_topology) == 2 * len(SCENARIOS)
    assert sorted(path.name for path in KEPT.glob("*.tar.gz")) == sorted(HELD)


@pytest.mark.parametrize("name", sorted(HELD))
def test_a_recorded_capture_is_judged_as_it_was(name: str) -> None:
    assert findings(Path(KEPT / name)) == HELD[name]["findings"]


FAULTS = {"wopr": (), "translating": (), "errors": ("aer.correctable", "aer.uncorrectable"),
          "on-card-switch": ("aer.correctable", "pcie.link-width"), "lost": ("inventory.gpu-lost",), "noaer": ("aer.live",)}


@pytest.mark.parametrize("name", sorted(HELD))
def test_the_fault_that_was_put_in_is_told_and_no_other_link_fails(name: str) -> None:
    told = {row[0] for row in HELD[name]["findings"] if row[2] in ("fail", "marginal")}
    wanted = FAULTS[name.rsplit("-", 1)[0]]
    assert set(wanted) <= told
    if not wanted:
        assert {check for check in told if check.startswith(("aer.", "pcie."))} == set()
