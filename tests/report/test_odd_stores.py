"""A store or a capture from elsewhere, whose plan holds anything or whose clock was anywhere: every form is made of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boxcheck.commands.doctor import Options, examine
from boxcheck.registry import discover, discover_stress
from boxcheck.report.csv import run_csv
from boxcheck.report.html import run_html
from boxcheck.report.json import run_json
from boxcheck.report.judged_run import judge_stored
from boxcheck.report.junit_run import run_junit
from boxcheck.report.ocptv_run import run_ocptv
from boxcheck.report.openmetrics import run_openmetrics
from boxcheck.report.runs import run_lines, run_object
from boxcheck.report.stress import stress_json, stress_text
from boxcheck.report.text import Style, account_text
from boxcheck.store.reader import RunReader
from boxcheck.tui.compared import compare
from tests.boxes import build
from tests.store.small import small_run

PLANS: tuple[Any, ...] = (
    None, "x", [1], {"steps": 7}, {"steps": {"a": 1}}, {"steps": [3, {"seconds": "x"}]},
    {"steps": [{"name": [1], "seconds": []}]}, {"steps": [{"seconds": 1e308}, {"seconds": 1e308}]},
    {"left_out": 7, "not_asked": 5, "machine": 5, "job": 5, "certain": "x"}, {"left_out": {"a": ["x"]}, "not_asked": [{}]})
WALLS = (4e11, 1e12, -1e12)
"""Seconds since the epoch that no calendar has."""


def run(folder: Path, plan: Any = None, wall: float | None = None) -> str:
    store = small_run(folder, plan=plan, wall=wall).store
    store.end_phase(1)
    store.end("finished", outcome="fail")
    store.close()
    return store.path


def forms(path: str) -> Iterator[tuple[str, Callable[[], object]]]:
    def shown() -> object:
        with RunReader(path) as reader:
            return list(run_lines(reader)), run_object(reader)

    def judged() -> object:
        found = judge_stored(path, None).judged
        return stress_text(found, Style(), "0.4.0"), json.loads(stress_json(found, "0.4.0"))

    yield from (
        ("runs show", shown), ("judge", judged), ("junit", lambda: run_junit(path)),
        ("ocptv", lambda: list(run_ocptv(path))), ("openmetrics", lambda: run_openmetrics(path)),
        ("html", lambda: run_html(path)), ("csv", lambda: list(run_csv(path))), ("compare", lambda: compare(path, path)))


@pytest.fixture(autouse=True)
def checks() -> None:
    discover()
    discover_stress()


@pytest.mark.parametrize("plan", PLANS, ids=range(len(PLANS)))
def test_a_plan_that_is_none_breaks_no_form_of_a_run(tmp_path: Path, plan: Any) -> None:
    path = run(tmp_path, plan)
    for name, make in forms(path):
        assert make(), name


@pytest.mark.parametrize("wall", WALLS)
def test_a_clock_that_was_anywhere_breaks_no_form_of_a_run(tmp_path: Path, wall: float) -> None:
    path = run(tmp_path, wall=wall)
    for name, make in forms(path):
        assert make(), name
    assert "at no time" in stress_text(judge_stored(path, None).judged, Style(), "0.4.0")


@pytest.mark.parametrize("start", ["9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+12:00"])
def test_a_capture_of_no_time_is_told_by_the_clock_of_now(tmp_path: Path, start: str) -> None:
    build("laptop").write_dir(tmp_path)
    place = tmp_path / "boxcheck" / "capture.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "start": start}))
    account = examine(Options(sysroot=str(tmp_path)))[0]
    assert account_text(account, Style())
    assert json.loads(run_json(account, with_facts=False))["started"] < "9999"
