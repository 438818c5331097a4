"""First-pass yield: retests are no boxes, what gave no result is in no number, and nothing makes it look better."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.binomial import interval
from boxcheck.certify.acceptance import Identity
from boxcheck.certify.attempts import Asked
from boxcheck.certify.manifest import write_manifest
from boxcheck.compare.attempts import Read, read_attempts
from boxcheck.compare.yields import Window, Yield, yield_of
from boxcheck.report.text import Style
from boxcheck.report.yields import yield_csv, yield_text
from boxcheck.usage import UsageError
from tests.certify.attempt import acceptance
from tests.compare.sides import strings

START = 1_795_881_600.0
DAY = 86400.0
VERDICTS = {"PASS": "pass", "MARGINAL PASS": "marginal", "FAIL": "fail"}


def put(
    root: Path, serial: str, number: int = 1, disposition: str = "PASS", booked: str = "", *, day: float = 0.0,
    station: str = "bench 1", operator: str = "M. Keller", **fields: Any,
) -> Path:
    """The folder of an attempt, with what the yield reads of it."""
    folder = root / serial.replace("/", "-") / f"attempt-{number:02d}"
    folder.mkdir(parents=True)
    told = acceptance(**({
        "id": f"{serial} {number} {folder}", "attempt": number, "attempts": number, "disposition": disposition,
        "identity": Identity(serial=serial, serial_from="operator", station=station, operator=operator, work_order="WO-1"),
        "verdict": VERDICTS.get(disposition, "unknown"), "verdict_string": booked, "started": START + DAY * day,
        "finished": START + DAY * day + 60, "run": f"run-{serial}-{number}"} | fields))
    (folder / "acceptance.json").write_bytes(msgspec.json.encode(told))
    return folder


def counted(root: Path, by: Any = None, **window: Any) -> Yield:
    read = read_attempts([str(root)])
    return yield_of(read.attempts, Window(**window), by, "0", read.told)


def test_retests_are_attempts_of_one_box(tmp_path: Path) -> None:
    put(tmp_path, "W-1")
    put(tmp_path, "W-2", 1, "FAIL", "pcie.link-width PCIE3")
    put(tmp_path, "W-2", 2, "FAIL", "copy.rate PCIE3")
    put(tmp_path, "W-2", 3, "PASS")
    put(tmp_path, "W-3", 1, "PASS")
    put(tmp_path, "W-3", 2, "FAIL", "vram.wrong-data PCIE5")
    made = counted(tmp_path).total
    assert (made.boxes, made.attempts, made.retested) == (3, 6, 2)
    assert (made.first_pass.passed, made.first_pass.of) == (2, 3)
    assert (made.final.passed, made.final.of) == (2, 3), "the last result of a box counts, not the best"
    assert made.attempts_to_pass == (1 + 3 + 1) / 3


def test_the_bounds_are_exact_and_of_no_box_none(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path, f"W-{number}", 1, "PASS" if number else "FAIL")
    share = counted(tmp_path).total.first_pass
    low, high = interval(9, 10) or (0.0, 0.0)
    assert (share.percent, share.low_percent, share.high_percent) == (90.0, 100 * low, 100 * high)
    put(tmp_path / "other", "X", 1, "ABORTED")
    share = counted(tmp_path / "other").total.first_pass
    assert (share.of, share.percent, share.low_percent) == (0, None, None)
    assert "not known: no box has a result" in yield_text(counted(tmp_path / "other"), Style())


def test_what_gave_no_result_is_in_no_yield_and_is_said(tmp_path: Path) -> None:
    put(tmp_path, "W-1")
    put(tmp_path, "W-2", 1, "ABORTED", "stopped")
    put(tmp_path, "W-2", 2, "PASS")
    put(tmp_path, "W-3", 1, "INCOMPLETE", "not-complete")
    made = counted(tmp_path)
    assert (made.total.first_pass.passed, made.total.first_pass.of) == (1, 1)
    assert made.total.first_not_finished == {"ABORTED": 1, "INCOMPLETE": 1}
    assert (made.total.final.passed, made.total.final.of, made.total.never_finished) == (2, 2, 1)
    assert {one.check: one.boxes for one in made.incomplete} == {"stopped": 1, "not-complete": 1}
    assert "2 boxes not counted, whose first attempt gave no result: 1 ABORTED, 1 INCOMPLETE" in " ".join(
        yield_text(made, Style()).split())


def test_passes_with_waivers_are_no_passes_of_the_line(tmp_path: Path) -> None:
    put(tmp_path, "W-1")
    put(tmp_path, "W-2", with_waivers=True)
    put(tmp_path, "W-3", 1, "MARGINAL PASS")
    made = counted(tmp_path).total
    assert (made.first_pass.passed, made.first_pass.of) == (2, 3)
    assert (made.first_with_waivers, made.final_with_waivers, made.first_marginal) == (1, 1, 1)


def test_an_attempt_whose_folder_is_gone_counts_by_what_a_later_one_says(tmp_path: Path) -> None:
    """Removing the failures must not make the line look better."""
    put(tmp_path, "W-1", 3, "PASS", earlier=("1: FAIL pcie.link-width PCIE3 2026-11-28", "2: not finished 2026-11-28"))
    put(tmp_path, "W-2", 2, "PASS", earlier=("1: PASS with waivers of no date",))
    put(tmp_path, "W-3", 2, "PASS", earlier=())
    put(tmp_path, "W-4", 2, "PASS", earlier=("1: cannot be read",))
    made = counted(tmp_path)
    assert (made.total.first_pass.passed, made.total.first_pass.of) == (0, 2)
    assert (made.total.first_with_waivers, made.total.attempts) == (1, 8)
    assert made.total.first_not_finished == {"UNREAD": 2}
    assert [(one.check, one.parts) for one in made.pareto] == [("pcie.link-width", ("PCIE3 (1)",))]
    assert any(told.startswith("of 1 box the first attempt is not known") for told in made.told)


def test_what_fails_first_by_boxes_the_most_frequent_first(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path, f"A-{number}", 1, "FAIL", f"pcie.link-width PCIE{3 if number else 5}")
        put(tmp_path, f"A-{number}", 2, "FAIL", "vram.wrong-data PCIE5")
    put(tmp_path, "B", 1, "FAIL", "copy.rate PCIE1")
    put(tmp_path, "C", 1, "FAIL")
    found = [(one.check, one.boxes, round(one.percent), round(one.cumulative_percent)) for one in counted(tmp_path).pareto]
    assert found == [("pcie.link-width", 4, 67, 67), ("(no check is named)", 1, 17, 83), ("copy.rate", 1, 17, 100)]
    assert counted(tmp_path).pareto[0].parts == ("PCIE3 (3)", "PCIE5 (1)")


def test_two_stations_that_both_begin_with_one_are_ordered_by_time(tmp_path: Path) -> None:
    put(tmp_path / "one", "W-1", 1, "PASS", day=2)
    put(tmp_path / "two", "W-1", 1, "FAIL", "copy.rate PCIE1", day=1)
    made = counted(tmp_path).total
    assert (made.boxes, made.first_pass.passed, made.final.passed) == (1, 0, 1)


def test_numbers_go_before_times_where_a_clock_went_back(tmp_path: Path) -> None:
    put(tmp_path, "W-1", 1, "FAIL", "copy.rate PCIE1", day=5)
    put(tmp_path, "W-1", 2, "PASS", day=-20000)
    assert counted(tmp_path).total.first_pass.passed == 0


def test_a_window_is_by_the_first_attempt_and_a_clock_of_1970_is_in_none(tmp_path: Path) -> None:
    put(tmp_path, "W-1", 1, "FAIL", day=0)
    put(tmp_path, "W-1", 2, "PASS", day=3)
    put(tmp_path, "W-2", 1, "PASS", day=2)
    put(tmp_path, "W-3", 1, "PASS", day=-START / DAY)
    made = counted(tmp_path, since=START - 1, until=START + DAY)
    assert (made.total.boxes, made.total.first_pass.passed, made.total.final.passed) == (1, 0, 0)
    assert any("1 attempt after the end of the window" in told for told in made.told)
    assert any("1 box whose first attempt has no believable date" in told for told in made.told)
    assert counted(tmp_path, since=START + 1).total.boxes == 1, "a retest in the window does not bring its box in"
    assert counted(tmp_path).total.boxes == 3


def test_by_station_profile_and_month(tmp_path: Path) -> None:
    put(tmp_path, "W-1", station="bench 1")
    put(tmp_path, "W-2", 1, "FAIL", station="bench 2", profile="tinybox-red")
    put(tmp_path, "W-3", 2, "PASS", station="bench 2", earlier=("1: FAIL x.y PCIE1 2026-11-28",))
    made = counted(tmp_path, by="station")
    assert [(one.name, one.boxes, one.first_pass.passed) for one in made.parts] == [("bench 1", 1, 1), ("bench 2", 2, 0)]
    assert [one.name for one in counted(tmp_path, by="month").parts] == ["2026-11"]
    assert counted(tmp_path, profile="tinybox-red").total.boxes == 1
    assert counted(tmp_path, station="bench 2").total.boxes == 2
    assert counted(tmp_path, operator="nobody").total.boxes == 0


def test_a_copy_of_an_attempt_is_counted_once(tmp_path: Path) -> None:
    for place in ("a", "b"):
        put(tmp_path / place, "W-1", id="the same")
    made = counted(tmp_path)
    assert (made.total.attempts, any("is a copy of" in told for told in made.told)) == (1, True)


def test_a_number_that_another_station_gave_too_hides_no_failure(tmp_path: Path) -> None:
    """The first attempt at the second station is gone, and only its next one tells of it."""
    put(tmp_path / "one", "W-1", 1, "PASS", day=5)
    put(tmp_path / "two", "W-1", 2, "PASS", day=3, earlier=("1: FAIL vram.wrong-data PCIE6 2026-11-28",))
    made = counted(tmp_path)
    assert (made.total.attempts, made.total.first_pass.passed, made.total.first_pass.of) == (3, 0, 1)
    assert [one.check for one in made.pareto] == ["vram.wrong-data"]


@pytest.mark.parametrize(("disposition", "fields", "line", "attempts"), [
    ("FAIL", {}, "1: FAIL x.y PCIE1 2026-11-28", 2),
    ("FAIL", {}, "1: FAIL x.y PCIE1 2026-11-29", 3),
    ("PASS", {"with_waivers": True}, "1: PASS with waivers 2026-11-28", 2),
    ("PASS", {"with_waivers": True}, "1: PASS 2026-11-28", 3),
    ("PASS", {}, "1: not finished 2026-11-28", 2),  # it was finished later
    ("PASS", {}, "1: cannot be read", 2)])
def test_a_line_about_an_attempt_that_is_there_adds_none(
    tmp_path: Path, disposition: str, fields: dict[str, Any], line: str, attempts: int
) -> None:
    put(tmp_path, "W-1", 1, disposition, **fields)
    put(tmp_path, "W-1", 2, day=1, earlier=(line,))
    assert counted(tmp_path).total.attempts == attempts


def test_a_line_about_an_attempt_that_ended_later_adds_none(tmp_path: Path) -> None:
    put(tmp_path, "W-1", 2, day=1, earlier=("1: not finished 2026-11-28",))
    put(tmp_path, "W-1", 3, day=2, earlier=("1: FAIL x.y PCIE1 2026-11-28",))
    made = counted(tmp_path).total
    assert (made.attempts, made.first_pass.of, made.first_pass.passed) == (3, 1, 0)


@pytest.mark.parametrize("order", [("PASS", "FAIL"), ("FAIL", "PASS"), ("PASS", "INCOMPLETE"), ("MARGINAL PASS", "FAIL")])
def test_two_accounts_of_one_attempt_that_do_not_agree_are_no_copies(tmp_path: Path, order: tuple[str, str]) -> None:
    for place, disposition in zip("ab", order, strict=True):
        put(tmp_path / place, "W-1", 1, disposition, id="the same")
    read = read_attempts([str(tmp_path)])
    assert (read.unread, [one.result in ("FAIL", "INCOMPLETE") for one in read.attempts]) == (1, [True])
    assert all(word in read.told[0] for word in (*order, "do not agree", "/a/", "/b/"))


@pytest.mark.parametrize("change", ["account", "manifest"])
def test_an_account_that_its_manifest_contradicts_makes_no_yield_better(tmp_path: Path, change: str) -> None:
    folder = put(tmp_path, "W-1", 1, "FAIL")
    write_manifest(str(folder))
    read = read_attempts([str(tmp_path)])
    assert ([one.result for one in read.attempts], read.told, read.unread) == (["FAIL"], [], 0)
    path = folder / f"{'acceptance' if change == 'account' else change}.json"
    path.write_text(path.read_text().replace('"FAIL"', '"PASS"').replace('"fail"', '"pass"'))
    read = read_attempts([str(tmp_path)])
    if change == "account":
        assert ([one.result for one in read.attempts], read.unread) == (["FAIL"], 1)
        assert "changed after its manifest was written, which says FAIL" in read.told[0]
    else:
        assert [one.result for one in read.attempts] == ["FAIL"]
    (folder / "manifest.json").write_bytes(b"{")
    read = read_attempts([str(tmp_path)])
    assert (read.unread, "manifest.json: it is no manifest" in read.told[0]) == (1, True)


def test_what_is_left_of_an_attempt_that_became_whole_is_no_attempt(tmp_path: Path) -> None:
    put(tmp_path, "W-1", 1)
    part = tmp_path / "W-1" / "attempt-01.part"
    part.mkdir()
    (part / "asked.json").write_bytes(msgspec.json.encode(Asked(
        id="x", identity=Identity(serial="W-1", serial_from="operator"), attempt=1, began=START)))
    made = counted(tmp_path)
    assert (made.total.attempts, made.total.retested, made.total.not_finished) == (1, 0, {})
    assert "attempt-01.part" in made.told[0]


def test_an_account_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = put(tmp_path, "W-1")
    (folder / "acceptance.json").unlink()
    os.mkfifo(folder / "acceptance.json")
    read = read_attempts([str(tmp_path)])
    assert (read.unread, read.attempts) == (1, [])
    assert read.told[0].endswith("acceptance.json: is no file")


def test_an_attempt_that_has_not_ended_is_no_result(tmp_path: Path) -> None:
    part = tmp_path / "W-1" / "attempt-01.part"
    part.mkdir(parents=True)
    (part / "asked.json").write_bytes(msgspec.json.encode(Asked(
        id="x", identity=Identity(serial="W-1", serial_from="operator"), attempt=1, began=START)))
    made = counted(tmp_path).total
    assert (made.boxes, made.first_pass.of, dict(made.first_not_finished)) == (1, 0, {"OPEN": 1})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\x00" * 100, b'{"schema": "boxcheck.acceptance/9"}', b"[" * 100_000])
def test_a_damaged_attempt_is_told_and_makes_the_numbers_incomplete(tmp_path: Path, data: bytes) -> None:
    put(tmp_path, "W-1")
    (tmp_path / "W-2" / "attempt-01").mkdir(parents=True)
    (tmp_path / "W-2" / "attempt-01" / "acceptance.json").write_bytes(data)
    read = read_attempts([str(tmp_path)])
    assert (read.unread, len(read.attempts)) == (1, 1)
    assert "W-2" in read.told[0]


def test_links_are_not_followed_and_depth_has_an_end(tmp_path: Path) -> None:
    put(tmp_path / "real", "W-1")
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "loop").symlink_to(tmp_path)
    put(tmp_path / "line" / "1" / "2" / "3" / "4" / "5" / "6", "W-9")
    read: Read = read_attempts([str(tmp_path / "line")])
    assert read.attempts == []
    assert any("not looked into" in told for told in read.told)


def test_a_place_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder, and no store"):
        read_attempts([str(tmp_path / "nothing")])


def test_hostile_names_are_plain_in_every_form(tmp_path: Path) -> None:
    hostile = "\x1b[31mred\n\u202e=cmd()"
    put(tmp_path, "W-1", 1, "FAIL", f"{hostile} PCIE3", station=hostile, operator=hostile)
    put(tmp_path, "W-2", 1, "FAIL", "=HYPERLINK(1) PCIE3", station="=HYPERLINK(2)")
    made = counted(tmp_path, by="station")
    assert [text for text in strings(msgspec.to_builtins(made)) if not text.isprintable()] == []
    text = yield_text(made, Style(columns=80))
    assert max(map(len, text.splitlines())) <= 80
    assert not set("\x1b\u202e") & set(text)
    rows = list(csv.reader(io.StringIO(yield_csv(made))))
    assert [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))] == []
    assert json.loads(msgspec.json.encode(made))["total"]["boxes"] == 2
