"""A serial number in other letters is the same box: its failures stay in sight."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.attempts import Asked, reserve, safe_name
from boxcheck.certify.known_boxes import other_boxes, refuse_other_case
from boxcheck.usage import UsageError


def begun(root: Path, serial: str, **machine: str) -> None:
    reserve(os.path.join(root, safe_name(serial)), Asked(
        id="x", identity=Identity(serial=serial, serial_from="operator"), attempt=0, began=1.8e9, machine=machine))


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


def test_a_box_whose_attempts_were_moved_elsewhere_is_still_that_box(tmp_path: Path) -> None:
    (tmp_path / "W-2").mkdir()
    (tmp_path / "W-2" / "attempts.txt").write_text("1: FAIL 2026-11-28\n")
    with pytest.raises(UsageError, match="small and capital letters alone"):
        refuse_other_case(str(tmp_path), "w-2")
    refuse_other_case(str(tmp_path), "W-2")


IMAGE = {"machine-id": "of the image"}


@pytest.mark.parametrize(("serial", "here", "says"), [
    ("W-3", {"boot": "1"}, "this machine was tested as box W-2 (its kernel has been running since the test), attempt 1: not"),
    ("W-3", {"boot": "2", "board-serial": "b"}, "this machine was tested as box W-2 (its board serial is that of the box"),
    ("W-2", {"boot": "2", "board-serial": "c"}, "attempt 1 of box W-2 was made on another machine (its board serial is"),
    ("W-2", {"boot": "2", "board-serial": "b"}, ""), ("W-3", {"boot": "2", "board-serial": "c"}, ""),
    ("W-3", {"boot": "2"}, ""), ("W-2", {"boot": "2"}, ""),
])
def test_a_serial_number_that_the_machine_speaks_against_is_doubted(
    tmp_path: Path, serial: str, here: dict[str, str], says: str,
) -> None:
    begun(tmp_path, "W-1", **IMAGE)
    begun(tmp_path, "W-2", **IMAGE, boot="1", **{"board-serial": "b"})
    found = other_boxes(str(tmp_path), serial, {**IMAGE, **here})
    assert [one.startswith(says) for one in found] == ([True] if says else [])
