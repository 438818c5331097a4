"""The order of slots and other names, whatever a board's table has for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.checks.wording import natural
from boxcheck.commands.riser import Options, riser
from boxcheck.report.acceptance_requirements import places_words
from tests.boxes import machine


def test_numbers_in_names_are_numbers() -> None:
    assert sorted(["PCIE10", "PCIE2", "3", "PCIE2 b"], key=natural) == ["3", "PCIE2", "PCIE2 b", "PCIE10"]


@pytest.mark.parametrize("odd", ["PCIE²", "PCIE" + "1" * 5000, "²", "٣", "", "1" * 19])
def test_no_name_is_without_a_place(odd: str) -> None:
    assert sorted([odd, "PCIE3", odd], key=natural).count(odd) == 2
    assert "PCIE3" in places_words([odd, "PCIE3"])


def test_places_that_follow_each_other_are_a_row() -> None:
    assert places_words(["PCIE2", "PCIE1", "PCIE3", "cpu"]) == "PCIE1 to PCIE3, cpu"
    assert places_words(["PCIE1", "SLOT2", "PCIE9", "9"]) == "9, PCIE1, PCIE9, SLOT2"


def test_a_board_may_name_its_slots_as_it_likes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = machine("wopr-7x4090")
    for slot in box.slots:
        object.__setattr__(slot, "name", f"{slot.name}²")
    box.tree().write_dir(tmp_path)
    assert riser(Options(every=True, sysroot=str(tmp_path))) == 3
    assert "PCIE3" in capsys.readouterr().out
