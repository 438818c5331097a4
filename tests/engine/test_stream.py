"""`--jsonl`: every line by the published schema, each thing once, at whatever time it is followed; and what a pipe that
closes or a disk that is full costs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from boxcheck.engine.history import History
from boxcheck.engine.stream import MINUTE_SECONDS, Stream
from boxcheck.model import BOX, Outcome, Problem, Verdict
from boxcheck.registry import failed, passed
from boxcheck.report.history import history_object
from boxcheck.report.lines import Lines
from boxcheck.store.creating import create_run
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import PhasePlan, PhaseStart, ProfileName, RunInfo
from boxcheck.store.writer import RunWriter
from boxcheck.stress import StressResults
from boxcheck.usage import UsageError
from tests.report.schemas import published, strict
from tests.store.machine import HandClock, Machine

SCHEMA = jsonschema.Draft202012Validator(strict(published("stream.schema.json")))
FAILED = msgspec.structs.replace(failed(BOX, "it burns"), check="x.y", problem=0)
VERDICT = Verdict(
    outcome=Outcome.FAIL, reason="1 required check failed", counts=dict.fromkeys(map(str, Outcome), 0),
    findings=(FAILED,), problems=(Problem(id="p", title="it burns", where="box", outcome=Outcome.FAIL, findings=(0,)),))


class Made:
    """A run that is written while it is followed."""

    def __init__(self, folder: Path) -> None:
        self.hand, self.machine = HandClock(), Machine(2)
        self.store: RunWriter = create_run(str(folder), RunInfo(
            kind="burn", version="1", box="wopr", profile=ProfileName("generic", 1, "00"),
            plan={"name": "level 1", "profile_why": "chosen", "steps": [{"name": "matmul", "seconds": 60.0}],
                  "left_out": {"p2p": "it needs two GPUs of one runtime"}}), clock=self.hand.clock(), least_free_bytes=0)
        self.seen = 0

    def begin(self, number: int = 1) -> None:
        self.store.plan_phase(PhasePlan(number=number, name="matmul", module="matmul", devices=("cuda:0", "cuda:1")))
        self.store.about(number, "matmul")
        self.store.begin_phase(number, PhaseStart(gpus=self.machine.gpus))

    def work(self, seconds: int, number: int = 1) -> None:
        for _ in range(seconds):
            self.hand.pass_by(1)
            for gpu in range(2):
                self.store.watched(number, self.machine.told_by(gpu, self.hand.monotonic))
                self.store.sample(number, self.machine.sample(gpu), worker=gpu)
        self.store.flush()

    def end(self, number: int = 1) -> None:
        self.store.findings(number, [msgspec.structs.replace(passed(BOX, "all right"), check="a.b")])
        self.store.end_phase(number, StressResults(
            module="matmul", gpus=self.machine.gpus, samples=(), troubles=(), ended=()), outcome="pass")

    def look(self, stream: Stream, **changes: Any) -> list[dict[str, Any]]:
        with RunReader(self.store.path) as reader:
            news = tuple(reader.events(after=self.seen))
            self.seen = max((event.number for event in news), default=self.seen)
            return read(stream.look(reader, reader.run(), reader.phases(), news))


def read(lines: list[str]) -> list[dict[str, Any]]:
    found = []
    for one in lines:
        assert "\n" not in one
        value = msgspec.json.decode(one)
        SCHEMA.validate(value)
        found.append(value)
    return found


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def types(lines: list[dict[str, Any]]) -> list[str]:
    return [one["type"] for one in lines]


def test_a_run_is_told_as_it_happens_and_each_thing_once(made: Made) -> None:
    stream = Stream()
    assert types(made.look(stream)) == ["start"]
    made.begin()
    (began,) = made.look(stream)
    assert (began["type"], began["state"], began["name"]) == ("phase", "running", "matmul")
    made.store.event("wrong-result", "3 wrong", severity="fail", subject="cuda:0", phase=1, data={"n": 3})
    (event,) = made.look(stream)
    assert (event["kind"], event["severity"], event["data"]) == ("wrong-result", "fail", {"n": 3})
    assert made.look(stream) == []
    made.work(5)
    made.end()
    over = made.look(stream)
    assert types(over) == ["samples", "samples", "phase", "finding"]
    assert over[-2]["outcome"] == "pass"
    assert made.look(stream) == []


def test_every_sample_is_in_one_summary_whatever_is_folded_meanwhile(made: Made) -> None:
    """Blocks of a minute are made while it is followed; some looks come late."""
    stream = Stream()
    made.begin()
    counted: dict[str, int] = {}
    for seconds in (3, 70, 1, 130, 20, 64):
        made.work(seconds)
        stream._next = 0.0
        if seconds >= MINUTE_SECONDS:  # as if so much time had passed for who follows
            stream._samples_of = {number: (last, float("-inf")) for number, (last, _) in stream._samples_of.items()}
        for one in made.look(stream):
            if one["type"] == "samples":
                counted[one["gpu"]] = counted.get(one["gpu"], 0) + one["count"]
                assert one["least"] <= one["median"] <= one["most"]
    made.end()
    for one in made.look(stream):
        if one["type"] == "samples":
            counted[one["gpu"]] = counted.get(one["gpu"], 0) + one["count"]
    assert counted == {"cuda:0": 288, "cuda:1": 288}


def test_who_comes_late_gets_all_of_it(made: Made) -> None:
    made.begin()
    made.work(90)
    made.store.event("hot", "it is warm", severity="warn")
    made.end()
    made.begin(2)
    made.work(5, 2)
    lines = made.look(Stream())
    assert types(lines)[0] == "start"
    assert [one["state"] for one in lines if one["type"] == "phase"] == ["ended", "running"]
    assert [one["count"] for one in lines if one["type"] == "samples"] == [90, 90, 5, 5]
    assert sum(one["type"] == "finding" for one in lines) == 1
    times = [one["at"] for one in lines if "at" in one and one["at"] is not None]
    assert times == sorted(times)


def test_two_phases_side_by_side_lose_nothing_to_each_other(made: Made) -> None:
    stream = Stream()
    made.begin(1)
    made.begin(2)
    counted: dict[int, int] = {}
    for _ in range(4):
        made.work(2, 2)
        made.work(2, 1)
        stream._next = 0.0
        for one in made.look(stream):
            if one["type"] == "samples":
                counted[one["phase"]] = counted.get(one["phase"], 0) + one["count"]
    assert counted == {1: 16, 2: 16}


def test_the_last_lines_are_the_comparison_the_problems_and_the_verdict(made: Made) -> None:
    stream = Stream()
    made.look(stream)
    made.store.end("finished", VERDICT)
    history = history_object(History(run="a", box="wopr", compared=(), findings=(FAILED,)))
    with RunReader(made.store.path) as reader:
        lines = read(stream.end(reader.run(), VERDICT, history))
    assert types(lines) == ["history", "problem", "end"]
    assert lines[1]["findings"] == [{"check": "x.y", "subject": "box", "says": "it burns"}]
    assert lines[2]["state"] == "finished"
    assert lines[2]["verdict"]["outcome"] == "fail"


def test_a_run_that_went_down_has_an_end_that_says_so(made: Made) -> None:
    made.begin()
    made.work(3)
    made.store.close()
    lines = made.look(stream := Stream())
    assert [one["state"] for one in lines if one["type"] == "phase"] == ["cut"]
    with RunReader(made.store.path) as reader:
        (end,) = read(stream.end(reader.run(), msgspec.structs.replace(VERDICT, problems=())))
    assert (end["state"], end["finished"]) == ("crashed", None)


# Where lines go


def test_lines_are_in_the_file_as_they_come(tmp_path: Path) -> None:
    place = tmp_path / "out.jsonl"
    with Lines(str(place)) as lines:
        lines.write(["a", "b"])
        assert place.read_text() == "a\nb\n"
        lines.write([])
        lines.write(["c"])
    assert place.read_text() == "a\nb\nc\n"


def test_a_full_disk_is_one_error_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines("/dev/full") as lines:
        assert lines.wanted
        lines.write(["a"])
        lines.write(["b"])
        assert not lines.wanted
    told = capsys.readouterr()
    assert told.err.count("error: /dev/full: no space left on device") == 1
    assert "the run goes on" in told.err
    assert told.out == ""


def test_a_pipe_whose_reader_has_gone_ends_who_follows(tmp_path: Path) -> None:
    place = tmp_path / "pipe"
    os.mkfifo(place)
    reader = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    lines = Lines(str(place))
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        lines.write(["a"])
    lines._close()


@pytest.mark.parametrize("place", ["/nonexistent/out.jsonl", "/"])
def test_a_file_that_cannot_be_made_is_said_before_anything_runs(place: str) -> None:
    with pytest.raises(UsageError, match=place):
        Lines(place)


def test_without_a_place_nothing_is_written() -> None:
    with Lines(None) as lines:
        assert not lines.wanted
        lines.write(["a"])
