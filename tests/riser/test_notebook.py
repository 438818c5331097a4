"""Notebooks on disk: written as a whole, read with doubt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.riser.evidence import Boot, Notebook, Place
from boxcheck.riser.notebook import Stored, every, find, load, new_id, open_one, recent, save
from boxcheck.usage import UsageError

NOON = 1_795_000_000.0


def stored(folder: Path, slot: str = "PCIE3", closed: str = "") -> Stored:
    one = Stored(box="W-0007", version="1", closed=closed, notebook=Notebook(
        id=new_id(str(folder), NOON), slot=slot, started=NOON, boots=(Boot(
            id="b1", started=NOON, places=(Place(slot=slot, riser="R3", card="GPU-1"),)),)))
    save(str(folder), one)
    return one


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    one = stored(tmp_path)
    assert find(str(tmp_path), one.notebook.id) == one
    assert os.stat(tmp_path / f"{one.notebook.id}.json").st_mode & 0o777 == 0o600


def test_the_newest_open_one_of_a_slot_goes_on(tmp_path: Path) -> None:
    first, second, third = stored(tmp_path), stored(tmp_path, "PCIE5"), stored(tmp_path, closed="riser R3 found")
    assert [one.notebook.id for one in every(str(tmp_path))] == [
        one.notebook.id for one in (third, second, first)]
    assert open_one(str(tmp_path), "W-0007") == second
    assert open_one(str(tmp_path), "W-0007", "PCIE3") == first
    assert open_one(str(tmp_path), "W-0007", "PCIE7") is None


def test_a_report_shows_what_goes_on_else_what_ended_lately_at_this_box(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert recent(folder, "W-0007", NOON) is None
    ended = stored(tmp_path, closed="riser R3 is at fault")
    assert recent(folder, "W-0007", NOON + 86400) == ended
    assert recent(folder, "W-0007", NOON + 60 * 86400) is None
    assert recent(folder, "W-0008", NOON + 86400) is None
    assert recent(folder, "", NOON + 86400) is None
    going_on = stored(tmp_path, "PCIE5")
    stored(tmp_path, "PCIE6", closed="no part is at fault")
    (tmp_path / "r-20991231-1.json").write_text("{")
    assert recent(folder, "W-0007", NOON + 86400) == going_on


def test_a_full_disk_keeps_the_entry_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = stored(tmp_path)

    def full(file: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="no space left on device"):
        save(str(tmp_path), msgspec.structs.replace(one, closed="done"))
    assert find(str(tmp_path), one.notebook.id) == one
    assert [name for name in os.listdir(tmp_path) if name.endswith(".part")] == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "boxcheck.notebook/1"}', "\xff\xfe", '{"schema": 7}',
                                  "[" * 100_000])
def test_a_file_that_is_no_notebook_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r-20261121-1.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError):
        load(str(path))
    assert list(every(str(tmp_path))) == []


def test_names_that_are_none_lead_to_no_file(tmp_path: Path) -> None:
    for name in ("", "..", "r-1", "r-20261121-1 "):
        with pytest.raises(UsageError, match="no experiment is called"):
            find(str(tmp_path), name)


def test_a_newer_one_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    stored(tmp_path)
    (tmp_path / "r-20990101-1.json").write_text("{")
    with pytest.raises(UsageError, match="it is newer than the others"):
        open_one(str(tmp_path), "W-0007")


def test_an_experiment_of_another_box_is_passed_over(tmp_path: Path) -> None:
    one = stored(tmp_path)
    assert open_one(str(tmp_path), "W-0008") is None
    assert open_one(str(tmp_path), "W-0007") == one


@pytest.mark.parametrize(("change", "to"), [
    ('"id": "r-', '"id": "../r-'), ('"started": 1795000000.0', '"started": 1e300'), ('"boots": [', '"boots": [], "spares": [')])
def test_values_that_boxcheck_never_writes_are_refused(tmp_path: Path, change: str, to: str) -> None:
    path = tmp_path / f"{stored(tmp_path).notebook.id}.json"
    text = path.read_text()
    assert change in text
    path.write_text(text.replace(change, to, 1))
    with pytest.raises(UsageError):
        load(str(path))


@pytest.mark.parametrize("change", [
    {"replays": -1}, {"dropped": -5}, {"wrong_words": -3}, {"uncorrectable": {"fatal DLP": -4}},
    {"uncorrectable": {"fatal DLP": 10**30}}, {"retrains": {"tried": -3, "full": 5}},
    {"margins": [{"receiver": "A", "lane": -1}]}, {"margins": [{"receiver": "A", "lane": 32}]},
    {"ways": [{"toward": "card", "lanes": [-5]}]}, {"ways": [{"toward": "card", "lanes": [99]}]}])
def test_counts_and_lanes_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / f"{stored(tmp_path).notebook.id}.json"
    whole = msgspec.json.decode(path.read_bytes())
    good = {"replays": 0, "dropped": 1, "retrains": {"tried": 3, "full": 3}, "margins": [{"receiver": "A", "lane": 31}]}
    for more, refused in ((good, False), (change, True)):
        whole["notebook"]["boots"][0]["looks"] = [{"slot": "PCIE3", **more}]
        path.write_bytes(msgspec.json.encode(whole))
        if refused:
            with pytest.raises(UsageError, match="a notebook that was damaged"):
                load(str(path))
        else:
            load(str(path))
