"""The table of telemetry: RFC 4180, units in its head, nothing that was not read as a number, no formula."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from boxcheck.report.csv import cell, head, line, run_csv, told
from boxcheck.store.reader import RunReader
from boxcheck.telemetry.readings import GpuReading, LinkReading
from tests.report.stored import EVERY, stored


def rows_of(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(run_csv(stored(name))), newline=""), strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_every_run_gives_a_table_of_one_width_with_line_ends_as_the_rfc_has_them(name: str) -> None:
    text = "".join(run_csv(stored(name)))
    assert text.endswith("\r\n")
    table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len({len(row) for row in table}) == 1
    assert len(set(table[0])) == len(table[0])


def test_each_reading_of_a_gpu_is_a_row_with_its_numbers() -> None:
    rows = [row for row in rows_of("finished") if row["kind"] == "gpu"]
    with RunReader(stored("finished")) as reader:
        readings = [one for one in reader.readings() if isinstance(one, GpuReading)]
    assert len(rows) == len(readings) > 500
    assert [float(row["power_watts"]) for row in rows] == [one.power_watts for one in readings]
    assert [row["device"] for row in rows] == [one.bdf for one in readings]
    assert {row["slot"] for row in rows} == {f"PCIE{number}" for number in range(1, 8)}
    assert int(rows[0]["pcie.width [lanes]"]) == 16


def test_times_are_iso_and_seconds_of_the_run_and_go_up() -> None:
    rows = [row for row in rows_of("finished") if row["kind"] != "link"]
    stamps = [datetime.fromisoformat(row["time_utc"]) for row in rows]
    seconds = [float(row["run_seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert [(one - stamps[0]).total_seconds() for one in stamps] == pytest.approx(
        [one - seconds[0] for one in seconds], abs=0.002)


def test_links_are_told_when_they_change_and_at_the_end() -> None:
    rows = [row for row in rows_of("failing") if row["kind"] == "link" and row["device"] == "0000:40:01.1"]
    with RunReader(stored("failing")) as reader:
        readings = [one for one in reader.readings() if isinstance(one, LinkReading) and one.bdf == "0000:40:01.1"]
    assert 2 < len(rows) < len(readings)
    assert {row["width [lanes]"] for row in rows} == {"16", "8"}
    counted = [int(row["correctable/BadTLP [count]"]) for row in rows]
    assert counted == sorted(counted)
    assert counted[-1] == max(
        one.count for reading in readings for one in reading.correctable or () if one.name == "BadTLP")  # type: ignore[union-attr, operator]


def test_what_was_not_read_is_empty_and_says_why() -> None:
    silent = [row for row in rows_of("lost") if row["kind"] == "gpu" and row["why"]]
    assert silent
    for row in silent:
        assert row["power_watts"] == ""
        assert row["why"] == "lost; NVML: the GPU is lost"
    gone = next(row for row in rows_of("lost") if row["kind"] == "link" and row["why"])
    assert gone["width [lanes]"] == ""
    assert "width: its registers read all ones" in gone["why"]


def test_a_text_never_begins_a_formula() -> None:
    for begin in ("=", "+", "-", "@", "\t", "\r", "\n", "  =", "＝"):
        shown = next(csv.reader(io.StringIO(line([f"{begin}cmd|' /C calc'!A0"]), newline="")))[0]
        assert shown.startswith("'")
    assert cell(-5) == "-5"
    assert cell(-0.5) == "-0.5"
    assert cell('a "b", c') == '"a ""b"", c"'
    assert cell(float("nan")) == ""


def test_heads_carry_units() -> None:
    assert head("power_watts") == "power_watts"
    assert head("pcie.width") == "pcie.width [lanes]"
    assert head("correctable/BadTLP") == "correctable/BadTLP [count]"
    assert told('{"type":"unread","why":"permission denied","kind":"permission"}') == ("", "permission denied")


def test_names_that_want_to_be_something_else_stay_names() -> None:
    text = "".join(run_csv(stored("hostile")))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_long_run_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """Peaks of two processes: ten minutes of eight GPUs, and forty."""
    code = (
        "import resource, sys\n"
        "from tests.bench.store_size import simulate\n"
        "from boxcheck.report.csv import run_csv\n"
        "path = sys.argv[1]\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(sum(map(len, run_csv(path))), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n")
    from tests.bench.store_size import simulate

    peaks = []
    for seconds in (150, 600):
        (folder := tmp_path / str(seconds)).mkdir()
        path = simulate(str(folder), seconds=seconds)
        done = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=True)
        size, peak = map(int, done.stdout.split())
        assert size > 1000 * seconds
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 8 << 10  # KiB; the larger table is some MB bigger
