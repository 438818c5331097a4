"""Who follows a run costs it nothing: a pipe that closes, a disk that is full, a stop at the first error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.engine.test_burn import Box
from tests.report.schemas import published, strict


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_all_that_happens_is_a_line_and_the_account_is_on_standard_error(box: Box) -> None:
    done = box.burn("--jsonl", "-", "--no-tui", "--json", str(box.folder / "out.json"))
    assert done.returncode in (0, 3), done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    schema = jsonschema.Draft202012Validator(strict(published("stream.schema.json")))
    for line in lines:
        schema.validate(line)
    assert lines[0]["type"] == "start"
    assert [line["type"] for line in lines[-2:]] == ["history", "end"]
    assert lines[-1]["state"] == "finished"
    assert {line["name"] for line in lines if line["type"] == "phase"} >= {"matmul", "vram"}
    rows = json.loads((box.folder / "out.json").read_text())["modules"][0]["rows"]
    told = [line for line in lines if line["type"] == "samples" and line["what"].startswith("matmul.")]
    assert sum(line["count"] for line in told) == sum(row["samples"] for row in rows)
    assert sum(line["checked"] for line in told) == sum(row["checked"] for row in rows)
    assert "matmul" in done.stderr
    assert "100 %  finished" in done.stderr
    assert json.loads((box.folder / "out.json").read_text())["history"]["compared"] == []
    assert lines[0]["box"] != ""
    again = box.call("attach", lines[0]["run"], "--jsonl", str(box.folder / "again.jsonl"))
    assert again.returncode == done.returncode
    later = [json.loads(line) for line in (box.folder / "again.jsonl").read_text().splitlines()]
    events = [line for line in lines if line["type"] == "event"]
    assert [line for line in later if line["type"] == "event"] == events
    assert later[-1] == lines[-1]


def test_a_pipe_that_closes_and_a_full_disk_end_no_run(box: Box) -> None:
    words = [sys.executable, "-m", "boxcheck", "burn", "--backend", "cpu", "--profile", "generic", "--plan", box.plan()]
    with subprocess.Popen(
            [*words, "--jsonl", "-"], env=box.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as following:
        assert following.stdout is not None
        assert b'"start"' in following.stdout.readline()
        following.stdout.close()
        assert following.wait(60) == 141
    box.wait("finished")
    full = box.burn("--jsonl", "/dev/full")
    assert full.returncode in (0, 3)
    assert full.stderr.count("no space left on device") == 1
    assert [run["state"] for run in box.listed()] == ["finished", "finished"]
    history = box.call("judge", "last", "--history", "--json", "-")
    assert len(json.loads(history.stdout)["history"]["compared"]) == 1


def test_a_wrong_result_stops_the_run_at_once_where_that_is_asked_for(box: Box) -> None:
    done = box.burn("--inject", "flip-output", "--on-error", "stop", minutes=5)
    assert done.returncode == 1
    assert box.listed()[0]["state"] == "stopped"
    assert "a result was wrong, and --on-error is stop" in done.stderr


@pytest.mark.parametrize(("words", "says"), [
    (["--detach", "--jsonl", "-"], "--jsonl follows a run"), (["--json", "-", "--jsonl", "-"], "both want standard output"),
    (["--jsonl", "/nonexistent/x"], "/nonexistent"), (["--on-error", "sometimes"], "sometimes")])
def test_a_mistake_is_told_before_anything_runs(box: Box, words: list[str], says: str) -> None:
    done = box.burn(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert box.listed() == []
