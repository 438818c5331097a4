"""A serial number in other letters is the same box: its failures stay in sight."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.attempts import Asked, reserve, safe_name
from boxcheck.certify.known_boxes import refuse_other_case
from boxcheck.usage import UsageError


def begun(root: Path, serial: str) -> None:
    reserve(os.path.join(root, safe_name(serial)), Asked(
        id="x", identity=Identity(serial=serial, serial_from="operator"), attempt=0, began=0.0))


@pytest.mark.parametrize(("known", "typed"), [("W-2", "w-2"), ("w-2", "W-2"), ("W 2/\u00e4", "w 2/\u00c4")])
def test_letters_alone_make_no_other_box(tmp_path: Path, known: str, typed: str) -> None:
    begun(tmp_path, known)
    with pytest.raises(UsageError) as told:
        refuse_other_case(str(tmp_path), typed)
    assert "small and capital letters alone" in str(told.value)
    assert told.value.help == f"--serial {known} is that box; another needs another number"


@pytest.mark.parametrize("typed", ["W-2", "W-22", "W2", "W 2/b"])
def test_another_number_is_another_box(tmp_path: Path, typed: str) -> None:
    begun(tmp_path, "W-2")
    begun(tmp_path, "W 2/a")
    refuse_other_case(str(tmp_path), typed)


def test_the_first_box_of_all_is_one(tmp_path: Path) -> None:
    refuse_other_case(str(tmp_path / "none"), "W-2")
