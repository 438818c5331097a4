"""A run as OCP Test & Validation JSONL: what OCP's schema and its rules of a whole run say; live and afterwards alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from boxcheck.certify.acceptance import Waiver
from boxcheck.commands.burn import Options
from boxcheck.commands.follow import lines_for
from boxcheck.commands.telling import Telling
from boxcheck.report.judged_run import judge_stored
from boxcheck.report.lines import Lines
from boxcheck.report.ocptv_run import WAIVED, OcptvStream, run_ocptv
from boxcheck.report.ocptv_series import every_seconds
from boxcheck.store.reader import RunReader
from boxcheck.telemetry.readings import GpuReading, Named
from boxcheck.usage import UsageError
from tests.certify.attempt import acceptance
from tests.report.ocp import broken_rules, content, read
from tests.report.outside import ocp_validator
from tests.report.stored import EVERY, stored
from tests.tui import runs
from tests.tui.box import Burning


@cache
def rendered(name: str) -> list[dict[str, Any]]:
    return read(run_ocptv(stored(name)))


def of(artifacts: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one["testStepArtifact"][kind] for one in artifacts if kind in one.get("testStepArtifact", {})]


def messages(artifacts: list[dict[str, Any]]) -> list[str]:
    """Of the run's own logs."""
    return [log["message"] for one in artifacts if (log := one.get("testRunArtifact", {}).get("log"))]


def run_end(artifacts: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = artifacts[-1]["testRunArtifact"]["testRunEnd"]
    return found


@pytest.mark.parametrize("name", EVERY)
def test_every_run_keeps_the_rules_of_a_whole_run(name: str) -> None:
    assert broken_rules(rendered(name)) == []


@pytest.mark.parametrize("name", EVERY)
def test_lines_are_what_ocps_own_schema_says(name: str) -> None:
    validator, seen = ocp_validator(), dict[tuple[str, ...], int]()
    for one in rendered(name):
        shape = tuple(map(str, (*one, *(one.get("testStepArtifact") or one.get("testRunArtifact") or ()))))
        seen[shape] = seen.get(shape, 0) + 1
        if seen[shape] <= 60:  # of a kind
            validator.validate(one)
    assert not validator.is_valid(
        {"sequenceNumber": 0, "timestamp": "2026-11-28T16:00:00Z", "testRunArtifact": {"log": {}}})


def test_the_rules_tell_what_is_broken() -> None:
    whole = rendered("failed")
    assert broken_rules(whole[:-1]) != []
    assert broken_rules(whole[:40] + whole[41:]) != []
    step = next(at for at, one in enumerate(whole) if "testStepEnd" in one.get("testStepArtifact", {}))
    without = [{**one, "sequenceNumber": at} for at, one in enumerate(whole[:step] + whole[step + 1:])]
    assert broken_rules(without) == ["something was started and not ended"]


@pytest.mark.parametrize(("name", "status", "result"), [
    ("failed", "COMPLETE", "FAIL"), ("crashed", "ERROR", "NOT_APPLICABLE"), ("stopped", "SKIP", "NOT_APPLICABLE")])
def test_the_end_says_what_came_of_it(name: str, status: str, result: str) -> None:
    assert run_end(rendered(name)) == {"status": status, "result": result}


def test_a_run_that_passed_says_so_and_only_such_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from boxcheck.model import Outcome, Verdict
    from boxcheck.report.ocptv_run import _result

    passed = Verdict(outcome=Outcome.PASS, reason="", counts={}, findings=(), problems=())
    ends = {name: _result(judge_stored(stored(name), None).run, passed) for name in ("finished", "stopped", "crashed")}
    assert ends["finished"] == {"status": "COMPLETE", "result": "PASS"}
    assert {one["result"] for name, one in ends.items() if name != "finished"} == {"NOT_APPLICABLE"}


def test_a_failure_that_somebody_answers_for_says_who_and_why_the_result_is_fail_all_the_same() -> None:
    told = acceptance(disposition="PASS", verdict="fail", with_waivers=True, waivers=(
        Waiver(check="copy.rate", where="PCIE3", who="A. Rossi", why="riser on order", until="2026-12-31", state="used"),
        Waiver(check="acs.redirect", who="B", why="not needed", until="2026-12-31", state="unused")))
    lines = read(run_ocptv(stored("failed"), acceptance=told))
    assert broken_rules(lines) == []
    assert run_end(lines) == {"status": "COMPLETE", "result": "FAIL"}
    logs, unwaived = messages(lines), messages(rendered("failed"))
    (waiver,) = [one for one in logs if one.startswith("waiver ")]
    assert all(word in waiver for word in ("copy.rate", "PCIE3", "A. Rossi", "2026-12-31", "riser on order"))
    assert WAIVED in logs
    assert WAIVED not in unwaived


@pytest.mark.parametrize("name", ["finished", "failed", "crashed", "hostile"])
def test_diagnoses_are_those_of_judge(name: str) -> None:
    verdict = judge_stored(stored(name), None).verdict
    wanted = [one for one in verdict.findings if one.outcome.value != "skip" and (
        one.blocker or one.outcome.value in ("pass", "marginal"))]
    diagnoses = of(rendered(name), "diagnosis")
    assert len(diagnoses) == len(wanted) > 0
    fails = sum(one.outcome.value == "fail" for one in wanted)
    assert [one["type"] for one in diagnoses].count("FAIL") == fails


def test_series_hold_what_was_read_and_when() -> None:
    artifacts = rendered("finished")
    start = next(one for one in of(artifacts, "measurementSeriesStart")
                 if one["name"] == "power_watts" and one["metadata"]["place"] == "PCIE5")
    assert start["unit"] == "W"
    parts = artifacts[1]["testRunArtifact"]["testRunStart"]["dutInfo"]["hardwareInfos"]
    assert next(one for one in parts if one["hardwareInfoId"] == start["hardwareInfoId"])["location"] == "PCIE5"
    told = [one for one in of(artifacts, "measurementSeriesElement")
            if one["measurementSeriesId"] == start["measurementSeriesId"]]
    with RunReader(stored("finished")) as reader:
        phase = next(one.plan.number for one in reader.phases() if one.plan.module)
        read_ = [one.power_watts for one in reader.readings(phase)
                 if isinstance(one, GpuReading) and one.bdf == start["metadata"]["device"]]
    assert [one["value"] for one in told] == read_[:len(told)]
    assert len(told) == len(read_) == 60
    most = next(one for one in of(artifacts, "measurement") if one["name"] == "power_watts at most"
                and one["metadata"]["place"] == "PCIE5")
    assert most["value"] == max(value for value in read_ if isinstance(value, float))


def test_a_long_run_takes_the_first_of_each_minute_and_the_most_of_all(tmp_path: Path) -> None:
    assert [every_seconds(planned) for planned in (60.0, 3600.0, 86400.0)] == [1.0, 10.0, 60.0]
    run = Burning(str(tmp_path), planned=(("matmul", 86400.0),), capture=False)
    peak: dict[int, float] = {}

    def each(second: int) -> None:
        run.machine.hot = {0: 20.0} if second == 70 else {}
        peak[second] = 0.0

    run.load("matmul", 130, each=each)
    run.finish()
    artifacts = read(run_ocptv(run.path))
    bdf = run.infos[0].bdf
    series = next(one["measurementSeriesId"] for one in of(artifacts, "measurementSeriesStart")
                  if one["name"] == "temperatures_celsius/core" and one["metadata"]["device"] == bdf)
    values = [one["value"] for one in of(artifacts, "measurementSeriesElement") if one["measurementSeriesId"] == series]
    with RunReader(run.path) as reader:
        read_ = [item.value for one in reader.readings() if isinstance(one, GpuReading) and one.bdf == bdf
                 for item in one.temperatures_celsius if isinstance(item, Named)]
    assert len(values) == 3
    most = max(value for value in read_ if isinstance(value, float))
    assert most not in values
    assert most in [one["value"] for one in of(artifacts, "measurement")
                    if one["name"] == "temperatures_celsius/core at most" and one["metadata"]["device"] == bdf]


def test_what_was_not_read_is_no_element_and_is_said_once() -> None:
    artifacts = rendered("lost")
    said = [one["message"] for one in of(artifacts, "log") if "tells nothing" in one["message"]]
    assert said == ["PCIE5: it tells nothing: NVML: the GPU is lost"]
    for one in of(artifacts, "measurementSeriesElement"):
        assert isinstance(one["value"], int | float)


@pytest.mark.parametrize("every", [1, 7])
def test_a_run_that_is_followed_gives_what_is_rendered_afterwards(
    tmp_path: Path, every: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looked at again and again while it is written, in the middle of phases, with faults."""
    monkeypatch.setattr("boxcheck.report.ocptv_run.READINGS_SECONDS", 0.0)
    live: list[str] = []
    stream, last = OcptvStream(), 0

    def look() -> None:
        nonlocal last
        run.store.flush()
        with RunReader(run.path) as reader:
            now, phases, news = reader.run(), reader.phases(), tuple(reader.events(after=last))
            live.extend(f"{line}\n" for line in stream.look(reader, now, phases, news))
        last = max((one.number for one in news), default=last)

    run = Burning(str(tmp_path), "wopr-7x4090+riser-x8", planned=runs.PLAN)
    port = run.machine._chains[2][0]

    def each(second: int) -> None:
        if second > 10 and second % 5 == 0:
            run.machine.errors[port] = run.machine.errors.get(port, 0) + 61
            run.event("aer-correctable", "61 bad TLPs", severity="warn", subject=port)
        if second == 20:
            run.machine.gone.add(str(run.infos[4].bdf))
        if second % every == 0:
            look()

    look()
    run.doctor("doctor before")
    run.load("matmul", 30, each=each)
    run.load("copy", 12, each=each)
    run.doctor("doctor after")
    run.finish()
    look()
    judged = judge_stored(run.path, None)
    live.extend(f"{line}\n" for line in stream.end(judged.run, judged.verdict))
    followed, afterwards = read(live), read(run_ocptv(run.path))
    assert broken_rules(followed) == []
    assert content(followed) == content(afterwards)
    assert len(of(followed, "measurementSeriesElement")) > 1000


def test_a_follower_that_is_killed_leaves_whole_lines(tmp_path: Path) -> None:
    """Written by another process as it happens; the last line at most may be cut."""
    out = tmp_path / "live.jsonl"
    code = (
        "import sys\n"
        "from boxcheck.commands.telling import Telling\n"
        "from boxcheck.engine.detach import follow\n"
        "telling = Telling(None, sys.argv[2])\n"
        "for progress in follow(sys.argv[1], 0.1, look=telling.look):\n"
        "    telling.write()\n")
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.tui.writing", str(tmp_path), "200"], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        path = writer.stdout.readline().split()[0]
        follower = subprocess.Popen([sys.executable, "-c", code, path, str(out)])
        limit = time.monotonic() + 20
        while (not out.exists() or out.read_text().count("\n") < 20) and time.monotonic() < limit:
            time.sleep(0.05)
        follower.send_signal(signal.SIGKILL)
        follower.wait(10)
    finally:
        writer.kill()
        writer.wait(10)
    lines = [line for line in out.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert len(lines) >= 20
    assert broken_rules(read(lines), whole=False) == []


def test_a_running_run_has_no_end_yet(tmp_path: Path) -> None:
    run = Burning(str(tmp_path), planned=runs.PLAN)
    run.load("matmul", 5, ends=False)
    artifacts = read(run_ocptv(run.path))
    run.close()
    assert broken_rules(artifacts, whole=False) == []
    assert "testRunEnd" not in json.dumps(artifacts)


def test_names_that_drive_a_terminal_are_inert() -> None:
    text = "".join(run_ocptv(stored("hostile")))
    assert "\\u001b" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_two_streams_to_standard_output_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--jsonl and --ocptv both want standard output"):
        lines_for(Options(jsonl="-", ocptv="-"))
    with pytest.raises(UsageError, match="--ocptv follows a run"):
        lines_for(Options(ocptv=str(tmp_path / "f"), detach=True))
    with pytest.raises(UsageError, match="no such file or directory"):
        lines_for(Options(ocptv=str(tmp_path / "no" / "f")))


def test_a_disk_that_is_full_costs_one_error_and_says_how_to_have_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this machine has no /dev/full")
    telling = Telling(None, "/dev/full")
    lines: Lines = telling._told[0][0]
    lines.write(["{}"])
    lines.write(["{}"])
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert "boxcheck report RUN --ocptv FILE writes all of it once more" in said
    assert not telling.wanted
