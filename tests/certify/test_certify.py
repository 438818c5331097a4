"""Acceptances of this machine's processor, as an operator makes them: every disposition, retests, power cuts, a terminal."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.certify.acceptance import Acceptance
from boxcheck.certify.manifest import parse_manifest
from boxcheck.commands.certify import Options, certify
from boxcheck.store.reader import RunReader
from tests.report.ocp import broken_rules, content, read
from tests.report.outside import ocp_validator

PROFILE = """
name = "quick"
revision = 2
title = "a bench without GPUs"
[gpus]
count = 0
[require]
inspect = ["inventory.gpu-lost"]
stress = [
  "burn.survived", "gpu.in-runtime", "stress.completed", "stress.injected", "stress.wrong-results",
  "matmul.wrong-elements", "matmul.self-test"]
[burn]
acceptance = "{acceptance}"
[burn.left_out]
{left_out}
[[slot]]
label = "PCIE3"
riser = "R3"
"""
LEFT_OUT = "".join(f'{phase} = "this is a quick one"\n' for phase in (
    "warm-up", "vram", "copy", "p2p", "collective", "everything", "power-pulse", "cool-down"))


class Bench:
    """A machine of its own, as far as runs go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certified = folder / "state" / "boxcheck" / "certify"
        self.environment = {
            **os.environ, "XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config"),
            "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "80", "BOXCHECK_LOCK": f"certify-{os.getpid()}-{folder.name}"}
        self.profile()

    def profile(self, acceptance: str = "10s") -> str:
        path = self.folder / f"quick-{acceptance}.toml"
        path.write_text(PROFILE.format(acceptance=acceptance, left_out=LEFT_OUT))
        return str(path)

    def words(self, *words: str, acceptance: str = "10s") -> list[str]:
        return [sys.executable, "-m", "boxcheck", "certify", "--profile", self.profile(acceptance), "--backend", "cpu",
                *words]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "boxcheck", *words], env=self.environment, capture_output=True, text=True,
            timeout=120, check=False, stdin=subprocess.DEVNULL)

    def certify(self, *words: str, acceptance: str = "10s") -> subprocess.CompletedProcess[str]:
        return self.call(*self.words(*words, acceptance=acceptance)[3:])

    def start(self, *words: str, acceptance: str = "10s") -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.words(*words, acceptance=acceptance), env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def asked(self, serial: str) -> dict[str, Any]:
        """What an attempt that goes on was asked, when its run has begun to load."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for path in (self.certified / serial).glob("*.part/asked.json"):
                with suppress(OSError, ValueError):
                    found: dict[str, Any] = json.loads(path.read_text())
                    if found["run"]:
                        with RunReader(found["run"]) as reader:
                            if any(phase.plan.name == "matmul" for phase in reader.phases()):
                                return found
            time.sleep(0.2)
        raise AssertionError("no attempt began its load")

    def told(self, serial: str, attempt: int) -> Acceptance:
        path = self.certified / serial / f"attempt-{attempt:02d}"
        return msgspec.json.decode((path / "acceptance.json").read_bytes(), type=Acceptance)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def started(capture: Path) -> str:
    """When a capture was begun."""
    with tarfile.open(capture) as opened:
        told = opened.extractfile("boxcheck/capture.json")
        assert told is not None
        return str(json.load(told)["start"])


HOSTILE = ("<script>alert(1)</script>", "=cmd|' /C calc'!A0", "../../etc/x")


def test_a_box_passes_and_its_folder_is_whole(bench: Bench) -> None:
    script, formula, path = HOSTILE
    done = bench.certify("--serial", path, "--operator", script, "--work-order", formula, "--json", "-", "--ascii")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["disposition"] == "PASS"
    assert told["identity"]["risers"] == {"PCIE3": "R3"}
    folder = Path(told["folder"])
    assert folder.parent.parent == bench.certified
    assert folder.parent.name.startswith("etc-x.")
    names = {entry.name for entry in folder.iterdir()}
    assert {"acceptance.json", "run.sqlite", "capture.tar.gz", "capture-after.tar.gz", "kernel.log", "profile.toml",
            "verdict.json", "manifest.json", "SHA256SUMS"} <= names
    verdict = json.loads((folder / "verdict.json").read_text())
    assert (verdict["verdict"]["outcome"], verdict["acceptance"]["disposition"]) == ("pass", "PASS")
    assert verdict["acceptance"]["self_signed"] is False
    first, last = (started(folder / name) for name in ("capture.tar.gz", "capture-after.tar.gz"))
    assert first < last, "the machine was read again when the load was over"
    assert not list(folder.parent.glob("*.part"))
    said = {line.partition(":")[0] for line in told["left_out"]}
    wanted = {"telemetry.csv", "report.html", "report.pdf", "junit.xml", "run.ocptv.jsonl"}
    assert wanted - names == said & wanted, "what was not made is said"
    subprocess.run(["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"], cwd=folder, check=True)
    manifest = parse_manifest((folder / "manifest.json").read_bytes())
    assert (manifest.serial, manifest.disposition) == (path, "PASS")
    if (folder / "report.html").exists():
        assert "<script" not in (folder / "report.html").read_text().lower()
    schema = json.loads((Path(__file__).parents[2] / "docs/reference/acceptance.schema.json").read_text())
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(told, schema)
    assert done.stderr.isascii()
    assert max(len(line) for line in done.stderr.splitlines() if "/" not in line) <= 80


def test_what_fails_stays_in_sight_when_the_box_is_tested_again(bench: Bench) -> None:
    first = bench.certify("--serial", "W-1", "--operator", "A", "--inject", "flip-output", "-q")
    assert first.returncode == 1, first.stderr
    assert first.stdout.count("\nFAIL   ") == 1
    shortened = bench.certify("--serial", "W-1", "--operator", "A", "--for", "10s", acceptance="1h")
    assert shortened.returncode == 3
    assert "shortened: 10 s instead of 1 h" in " ".join(shortened.stdout.split())
    one, two = bench.told("W-1", 1), bench.told("W-1", 2)
    assert (one.disposition, one.exit_code) == ("FAIL", 1)
    assert one.verdict_string.startswith("matmul.wrong-elements ")
    assert (two.disposition, two.attempt, two.attempts, two.verdict) == ("INCOMPLETE", 2, 2, "pass")
    assert two.earlier[0].startswith("1: FAIL matmul.wrong-elements ")
    assert "1: FAIL matmul.wrong-elements" in " ".join(shortened.stdout.split())


def test_a_run_that_is_stopped_is_aborted_and_two_at_once_are_refused(bench: Bench) -> None:
    going = bench.start("--serial", "W-2", "--operator", "A", acceptance="600s")
    bench.asked("W-2")
    second = bench.certify("--serial", "W-2", "--operator", "B")
    assert second.returncode == 2
    assert "a run is going on" in second.stderr
    elsewhere = subprocess.run(
        bench.words("--serial", "W-9", "--operator", "B"), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, env={**bench.environment, "XDG_STATE_HOME": str(bench.folder / "other")}, check=False)
    assert elsewhere.returncode == 2
    assert "another boxcheck puts load on this box" in elsewhere.stderr
    assert not list((bench.folder / "other" / "boxcheck" / "certify").iterdir()), "no number was taken"
    going.send_signal(signal.SIGINT)
    assert going.wait(60) == 3
    told = bench.told("W-2", 1)
    assert (told.disposition, told.reason) == ("ABORTED", "stopped by the operator")
    assert sorted(one.name for one in (bench.certified / "W-2").iterdir()) == ["attempt-01", "attempts.txt"]


def test_a_power_cut_costs_the_attempt_nothing_but_time(bench: Bench) -> None:
    going = bench.start("--serial", "W-3", "--operator", "A", acceptance="20s")
    asked = bench.asked("W-3")
    with RunReader(asked["run"]) as reader:
        engine = reader.run().sessions[-1].pid
    os.kill(engine, signal.SIGKILL)
    os.kill(going.pid, signal.SIGKILL)
    going.wait(10)
    again = bench.call("certify", "--resume", "W-3")
    assert again.returncode == 0, again.stderr
    told = bench.told("W-3", 1)
    assert told.id == asked["id"]
    # That its engine was killed is seen: no clean pass.
    assert (told.disposition, told.verdict_string) == ("MARGINAL PASS", "burn.survived box")
    assert bench.call("certify", "--resume").returncode == 2


def test_an_attempt_outlives_its_terminal(bench: Bench) -> None:
    going = bench.start("--serial", "W-4", "--operator", "A")
    asked = bench.asked("W-4")
    os.kill(going.pid, signal.SIGKILL)
    going.wait(10)
    done = bench.call("certify", "--resume", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == asked["id"]


@pytest.mark.parametrize("words", [("--serial", "W-5", "--operator", "A"), ()])
def test_a_box_without_anything_to_put_load_on_is_incomplete_and_leaves_no_attempt(
    bench: Bench, words: tuple[str, ...],
) -> None:
    bench.environment["BOXCHECK_CPU_DEVICES"] = "none"
    done = bench.certify(*words)
    assert done.returncode == 3
    assert "so nothing was run" in done.stderr
    assert "missing" not in done.stderr, "who the box is would not help it"
    assert not bench.certified.exists()


def test_nobody_is_asked_who_a_box_is_that_has_nothing_to_put_load_on(bench: Bench) -> None:
    bench.environment["BOXCHECK_CPU_DEVICES"] = "none"
    pid, terminal = pty.fork()
    if pid == 0:
        words = bench.words("--no-tui")
        os.execvpe(words[0], words, {**bench.environment, "TERM": "dumb"})
    seen = bytearray()
    with suppress(OSError):
        while select.select([terminal], [], [], 60)[0] and (some := os.read(terminal, 4096)):
            seen += some
            if b"serial" in seen:
                break
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert b"serial" not in seen
    assert b"so nothing was run" in seen
    assert os.waitstatus_to_exitcode(status) == 3


def test_a_folder_without_its_pdf_is_told_before_the_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "fpdf" else find(name, *more))
    said = "the folder will hold no report.pdf: a PDF needs fpdf2, which is not installed ("
    for quiet in (False, True):
        certify(Options(profile="generic", backend="cpu", dry_run=True, quiet=quiet))
        told = capsys.readouterr().err
        assert (said in told) is (" install 'boxcheck[pdf]')" in told) is not quiet


def test_an_attempt_whose_run_died_can_be_ended(bench: Bench) -> None:
    going = bench.start("--serial", "W-6", "--operator", "A", acceptance="600s")
    asked = bench.asked("W-6")
    with RunReader(asked["run"]) as reader:
        engine = reader.run().sessions[-1].pid
    os.kill(engine, signal.SIGKILL)
    assert going.wait(60) == 3
    assert [one.name for one in (bench.certified / "W-6").iterdir()] == ["attempt-01.part"]
    ended = bench.call("certify", "--resume", "--end")
    assert ended.returncode == 3
    assert bench.told("W-6", 1).disposition == "INCOMPLETE"
    store = bench.certified / "W-6" / "attempt-01" / "run.sqlite"
    before = store.read_bytes()
    assert bench.call("judge", str(store)).returncode == 3
    assert store.read_bytes() == before, "judging a copy that is to be signed writes nothing into it"


def test_what_is_missing_is_named_at_once_where_nobody_can_be_asked(bench: Bench) -> None:
    done = bench.certify()
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert "serial is missing; operator is missing" in done.stderr
    unknown = bench.call("certify", "--serial", "W-5", "--operator", "A", "--backend", "cpu")
    assert unknown.returncode == 2
    assert not bench.certified.exists() or not list(bench.certified.iterdir())


def test_a_scanner_fills_the_fields_and_one_key_starts(bench: Bench) -> None:
    station = bench.folder / "station.toml"
    station.write_text('[fields.serial]\npattern = "W-[0-9]{4}"\nprompt = "scan the box"\n[fields.work_order]\nask = false\n'
                       '[fields.station]\nask = false\n[fields.notes]\nask = false\n')
    pid, terminal = pty.fork()
    if pid == 0:
        words = bench.words("--station-file", str(station), "--no-tui")
        os.execvpe(words[0], words, {**bench.environment, "TERM": "dumb"})
    seen = bytearray()

    def expect(text: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text.encode() not in seen:
            assert time.monotonic() < deadline, seen.decode("utf-8", "replace")
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    seen.extend(os.read(terminal, 4096))
                except OSError:
                    break
        assert text.encode() in seen, seen.decode("utf-8", "replace")
        del seen[:seen.index(text.encode()) + len(text)]

    expect("scan the box")
    os.write(terminal, b"X-1\r\n")
    expect("must match W-[0-9]{4}; once more")
    os.write(terminal, b"W-0\x1d007\r")
    expect("holds a control character (U+001D)")
    os.write(terminal, b"W-0007\r\n")
    expect("operator: ")
    os.write(terminal, b"A. Smith\r")
    expect("enter starts")
    assert not list(bench.certified.glob("*")), "nothing begins before the key"
    os.write(terminal, b"\r")
    expect("PASS   every required check passed", 90)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    told = bench.told("W-0007", 1)
    assert (told.identity.operator, told.identity.work_order) == ("A. Smith", "")


def test_ocps_lines_of_an_acceptance_come_live_and_never_say_more_than_its_disposition(bench: Bench) -> None:
    place = bench.folder / "live.ocptv.jsonl"
    passed = bench.certify("--serial", "W-8", "--operator", "A", "--ocptv", str(place), "-q")
    assert passed.returncode == 0, passed.stderr
    live = read(place.read_text())
    assert broken_rules(live) == []
    rendered = read((bench.certified / "W-8" / "attempt-01" / "run.ocptv.jsonl").read_text())
    assert content(live) == content(rendered)
    told = live[1]["testRunArtifact"]["testRunStart"]["parameters"]["acceptance"]
    assert (told["serial"], told["operator"], told["attempt"]) == ("W-8", "A", 1)
    assert live[-1]["testRunArtifact"]["testRunEnd"] == {"status": "COMPLETE", "result": "PASS"}
    steps = [one["timestamp"] for one in live]
    assert len(set(steps)) > 3, "each line has the time of what it tells"

    short = bench.certify("--serial", "W-8", "--operator", "A", "--for", "10s", "--ocptv", "-", acceptance="1h")
    assert short.returncode == 3
    lines = read(short.stdout)
    assert broken_rules(lines) == [], "standard output holds the lines alone"
    assert lines[-1]["testRunArtifact"]["testRunEnd"] == {"status": "ERROR", "result": "NOT_APPLICABLE"}
    assert "disposition: INCOMPLETE: " in lines[-3]["testRunArtifact"]["log"]["message"]
    assert lines[-2]["testRunArtifact"]["log"]["message"].startswith("every required check passed")
    both = bench.certify("--serial", "W-8", "--operator", "A", "--ocptv", "-", "--json", "-")
    assert both.returncode == 2
    assert "--json and --ocptv both want standard output" in both.stderr
    validator = ocp_validator()  # skips where the schema cannot be had: last
    for one in (*live, *lines):
        validator.validate(one)
