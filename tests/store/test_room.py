"""The room that a run's file needs is looked for before it begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boxcheck.store.errors import StoreError
from boxcheck.store.room import needed_bytes, refuse_no_room


def test_a_run_is_not_begun_without_the_room_that_its_plan_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert needed_bytes(86_400, 8) > 2 * 49_900_000
    refuse_no_room(str(tmp_path), 3600, 8)
    status = os.statvfs(tmp_path)
    monkeypatch.setattr("os.statvfs", lambda folder: os.statvfs_result((
        *status[:3], status.f_bfree, needed_bytes(86_400, 8) // status.f_frsize - 1, *status[5:10])))
    refuse_no_room(str(tmp_path), 3600, 8)
    with pytest.raises(StoreError, match="this plan needs 134 MB"):
        refuse_no_room(str(tmp_path), 86_400, 8)
    with pytest.raises(StoreError, match="may not write"):
        refuse_no_room(str(tmp_path / "nowhere"), 3600, 8)
