"""What root would add to a burn-in or a watch is said when it begins and when it ends, in one line each."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.engine.rights import word_after, word_before
from boxcheck.model import Outcome, Unread
from boxcheck.profile import load_profile
from boxcheck.registry import discover, discover_stress
from tests.engine.test_surroundings import Run

discover()
discover_stress()
DENIED = Unread("operation not permitted", "permission")


@pytest.mark.parametrize("profile", ["generic", "wopr-7x4090"])
def test_a_log_that_root_alone_reads_is_said_before_the_run_and_is_unknown_at_its_end(
    tmp_path: Path, profile: str
) -> None:
    want = load_profile(profile)
    says = word_before("burn", want, DENIED)
    assert "the run cannot pass" in says
    assert says.endswith("sudo boxcheck burn with the same options reads it")
    run = Run(tmp_path, unread=DENIED)
    run.look()
    (found,) = [one for one in run.findings(want) if one.check == "burn.log"]
    assert (found.outcome, found.needs_root, found.blocker) == (Outcome.UNKNOWN, True, True)
    assert word_after("burn", (found,)) == "1 check needs root: burn.log; sudo boxcheck burn with the same options"


@pytest.mark.parametrize("unread", [None, Unread("no such file", "absent")])
def test_nothing_is_said_where_root_would_add_nothing(tmp_path: Path, unread: Unread | None) -> None:
    assert word_before("watch", load_profile("generic"), unread) == ""
    run = Run(tmp_path, unread=unread)
    run.look()
    (found,) = [one for one in run.findings(load_profile("generic")) if one.check == "burn.log"]
    assert not found.needs_root
    assert word_after("watch", (found,)) == ""
