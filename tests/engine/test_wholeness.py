"""What was not run, or is gone from the store, never passes; what was found before a run was cut off stays found."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.commands.burn import Options
from boxcheck.commands.runs import report
from boxcheck.engine import boundaries as engine_boundaries
from boxcheck.engine.job import Job
from boxcheck.engine.kept_profile import PROFILE, keep_profile, profile_of
from boxcheck.engine.link_course import LinkCourse
from boxcheck.engine.plan import LEVEL_SECONDS, SHARES, Plan, Step, plan_for
from boxcheck.engine.rejudge import rejudge
from boxcheck.engine.resume import stored_plan
from boxcheck.engine.stored_verdict import with_stored
from boxcheck.engine.survival import RESUMED
from boxcheck.engine.told_troubles import Telling, keep_crashes
from boxcheck.engine.watch_judging import BEFORE as BEFORE_LOAD
from boxcheck.engine.wholeness import lacks_of, undone
from boxcheck.judge import exit_code, judge
from boxcheck.model import BOX, Bdf, Crash, Finding, Outcome, Verdict
from boxcheck.profile import GpuPart, GpusWanted, Profile, load_profile, shipped_profiles
from boxcheck.profile_resolve import digest
from boxcheck.registry import discover, discover_stress
from boxcheck.store.creating import create_run, reopen_run
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from boxcheck.store.rows import PhasePlan, PhaseStart, ProfileName, RunInfo
from boxcheck.store.salvage import salvage_run
from boxcheck.store.writer import RunWriter
from boxcheck.stress import Sample, StressResults, Trouble
from boxcheck.telemetry.boundary import Snapshot
from boxcheck.telemetry.readings import Count, LinkReading
from boxcheck.usage import UsageError
from tests.boxes import build
from tests.stress.test_link_rates import gpus_of, machine

discover()
discover_stress()
GENERIC = load_profile("generic")
BOX_NAME = "wopr-7x4090"
GPU = gpus_of(BOX_NAME)[0]
PORT = Bdf("0000:00:01.1")
WAYS = (f"host>{GPU.key}", f"{GPU.key}>host")
COPY = Step(name="copy", kind="stress", modules=("copy",), seconds=60)
BEFORE = Step(name="doctor before", kind="doctor", seconds=8)
AFTER = Step(name="doctor after", kind="doctor", seconds=8)
COOL = Step(name="cool-down", kind="cool-down", seconds=8)
FOUND = Finding(check="pcie.link-width", outcome=Outcome.PASS, subject=BOX, says="all are as wide as they can be",
                blocker=True)
BROKEN = msgspec.structs.replace(FOUND, outcome=Outcome.FAIL, says="x8 where x16 is due")


@cache
def capture() -> bytes:
    """What was read of the box before the load."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "capture.tar.gz"
        build(BOX_NAME).write_tar(str(path))
        return path.read_bytes()


class Run:
    """A made-up burn-in of copies on one GPU, that passes."""

    def __init__(self, folder: Path, steps: Sequence[Step] = (COPY, AFTER), **job: Any) -> None:
        plan = Plan(name="p", steps=tuple(steps), not_asked=job.pop("not_asked", ()))
        self.job = Job(plan=plan, folder=str(folder), profile=job.pop("profile", "generic"), **job)
        self.store = create_run(str(folder), RunInfo(
            kind="burn", version="1", boot="b", plan=stored_plan(self.job),
            profile=ProfileName("generic", GENERIC.revision, GENERIC.sha256)))
        self.path, self.number = self.store.path, 0
        self.store.attach(BEFORE_LOAD, capture(), "application/gzip")
        for source in ("log", "devices"):
            for state in ("began", "ended"):
                self.store.event("followed", "followed", data={"source": source, "state": state})

    def again(self) -> None:
        """The engine was killed, and the run is gone on with."""
        self.store.close()
        self.store = reopen_run(self.path, version="1", boot="b")
        self.store.event(RESUMED, "gone on with", severity="warn", data={"missing": []})

    def begin(self, name: str, module: str = "", step: int = 0) -> int:
        self.number += 1
        self.store.plan_phase(PhasePlan(number=self.number, name=name, module=module, planned_seconds=60.0))
        self.store.about(self.number, name)
        self.store.begin_phase(self.number, PhaseStart(gpus=(GPU,) if module else (), step=step))
        return self.number

    def copies(self, *, ends: bool = True, bad: int = 0, during: Callable[[RunWriter, int], object] | None = None) -> int:
        number = self.begin("copy", "copy")
        for at in range(5):
            self.store.watched(number, [LinkReading(
                bdf=bdf, monotonic_seconds=1000.0 + at, speed_gts=16.0, width=16, nonfatal=(), fatal=(),
                correctable=(Count("BadTLP", bad * at // 4 if bdf == PORT else 0),)) for bdf in (PORT, Bdf(str(GPU.bdf)))])
        made = tuple(Sample(
            what=f"copy.{both}{way}.{memory}", gpu=GPU.key, peer="host", seconds=1.0, value=25.0, unit="GB/s", checked=1000,
            wrong=0, moved=dict.fromkeys(WAYS, 10 ** 10)) for both in ("", "both.") for way in (
                "host-to-device", "device-to-host") for memory in ("pinned", "pageable"))
        for one in made:
            self.store.sample(number, one)
        if during is not None:
            during(self.store, number)
        if ends:
            self.store.end_phase(number, StressResults(
                module="copy", gpus=(GPU,), samples=made, troubles=(), ended=(GPU.key,)), outcome="pass")
        return number

    def doctor(self, name: str = "doctor after", found: Finding = FOUND) -> None:
        number = self.begin(name)
        self.store.findings(number, [found])
        self.store.end_phase(number, outcome=found.outcome.value)

    def end(self, verdict: Verdict | None = None, *, stopped: str = "") -> str:
        self.store.flush()
        self.store.end("stopped" if stopped else "finished", verdict, outcome="pass", reason=stopped)
        return self.path


def whole(folder: Path, **job: Any) -> Run:
    run = Run(folder, **job)
    run.copies()
    run.doctor()
    return run


def judged(path: str) -> Verdict:
    with RunReader(path) as reader:
        return rejudge(reader, GENERIC, False).verdict


def code_of(path: str) -> int:
    """Of `boxcheck judge`."""
    return report(path, None, Options(quiet=True))


def test_a_whole_run_passes(tmp_path: Path) -> None:
    """Else nothing below says anything."""
    path = whole(tmp_path).end()
    assert (judged(path).outcome, judged(path).reason) == (Outcome.PASS, "every required check passed")
    assert code_of(path) == 0


# A store that is not whole


def changed(path: str, sql: str) -> str:
    with closing(sqlite3.connect(path)) as base, base:
        assert base.execute(sql).rowcount > 0
    return path


@pytest.mark.parametrize(("sql", "says"), [
    ("DELETE FROM events WHERE kind = 'device-left'", "2 events are missing"),
    ("DELETE FROM findings", "1 finding is missing"), ("DELETE FROM attachments WHERE name = 'profile.json'", "1 attachment is missing"),
    ("DELETE FROM meta WHERE key = 'box'", "1 meta is missing"),
    ("DELETE FROM marks WHERE phase = 1 AND mark = 'about'", "1 mark is missing"),
    ("DELETE FROM phases WHERE phase = 2", "1 phase is missing")])
def test_a_store_of_which_rows_are_gone_never_passes(tmp_path: Path, sql: str, says: str) -> None:
    run = whole(tmp_path)
    run.store.event("note", "nothing of weight")
    for _ in range(2):  # the last rows of their table, which leave no gap
        run.store.event("device-left", "a drive left the bus", severity="info")
    keep_profile(run.store, GENERIC)
    path = changed(run.end(), sql)
    verdict = judged(path)
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reason.startswith("the store is not whole")
    assert says in verdict.reason
    assert code_of(path) == 3


def test_what_a_salvage_could_not_save_is_no_pass(tmp_path: Path) -> None:
    run = whole(tmp_path)
    run.store.event("device-left", "left the bus", severity="fail")
    path = changed(run.end(), "UPDATE events SET says = '?' WHERE kind = 'device-left'")
    saved = str(tmp_path / "saved.sqlite")
    assert not salvage_run(path, saved).whole
    assert "1 event is missing" in judged(saved).reason
    assert code_of(saved) == 3


def test_records_of_a_phase_that_was_run_again_are_missed_as_well(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.copies(ends=False)
    run.again()
    run.copies()
    run.doctor()
    path, saved = run.end(), str(tmp_path / "saved.sqlite")
    assert "missing" not in judged(path).reason
    salvage_run(changed(path, "UPDATE blocks SET last = last + 1 WHERE phase = 1"), saved)
    verdict = judged(saved)
    assert verdict.outcome is Outcome.UNKNOWN
    assert "blocks are missing" in verdict.reason


def test_a_salvage_that_saved_all_still_passes(tmp_path: Path) -> None:
    saved = str(tmp_path / "saved.sqlite")
    assert salvage_run(whole(tmp_path).end(), saved).whole
    assert judged(saved).outcome is Outcome.PASS


def test_what_failed_fails_although_rows_are_gone(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.store.event("device-left", "left the bus", severity="fail")
    run.copies()
    run.doctor(found=BROKEN)
    verdict = judged(changed(run.end(), "DELETE FROM events WHERE kind = 'device-left'"))
    assert verdict.outcome is Outcome.FAIL
    assert "1 event is missing" in verdict.reason


# The verdict that the run ended with


def test_a_crash_of_doctors_is_in_the_store_and_decides_again(tmp_path: Path) -> None:
    run = whole(tmp_path)
    keep_crashes(run.store, 2, [Crash("probes.x", "Traceback")])
    path = run.end()
    verdict = judged(path)
    assert (verdict.outcome, verdict.crashed, int(exit_code(verdict))) == (Outcome.UNKNOWN, True, 4)
    assert code_of(path) == 4


def test_a_crash_of_the_doctor_before_is_none_of_the_verdict(tmp_path: Path) -> None:
    run = Run(tmp_path, (BEFORE, COPY, AFTER))
    run.doctor("doctor before")
    keep_crashes(run.store, 1, [Crash("probes.x", "Traceback")])
    run.copies()
    run.doctor()
    assert judged(run.end()).outcome is Outcome.PASS


def test_the_graver_of_the_stored_verdict_and_the_new_one_counts_and_both_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grave = judge([BROKEN], GENERIC, crashes=[Crash("probes.x", "Traceback")])
    path = whole(tmp_path).end(grave)
    assert judged(path).outcome is Outcome.PASS
    assert code_of(path) == 1
    told = capsys.readouterr()
    assert "when it ended it was judged fail" in told.err
    assert "judged again it is pass" in told.err
    assert "Failed: pcie.link-width." in told.out
    assert report(path, "generic", Options(quiet=True)) == 0  # by a profile that somebody named


@pytest.mark.parametrize(("stored", "again", "code"), [
    (judge([FOUND], GENERIC), judge([BROKEN], GENERIC), 1), (judge([BROKEN], GENERIC), judge([FOUND], GENERIC), 1),
    (judge([FOUND], GENERIC, crashes=[Crash("x", "y")]), judge([FOUND], GENERIC), 4),
    (judge([FOUND], GENERIC, profile_certain=False), judge([FOUND], GENERIC), 3)])
def test_neither_verdict_hides_the_other(stored: Verdict, again: Verdict, code: int) -> None:
    verdict, says = with_stored(again, stored, GENERIC)
    assert int(exit_code(verdict)) == code
    assert "when it ended it was judged" in says


def test_verdicts_that_are_alike_are_not_told_twice() -> None:
    one = judge([FOUND], GENERIC)
    assert with_stored(one, one, GENERIC) == (one, "")
    assert with_stored(one, None, GENERIC) == (one, "")


# The profile


@pytest.mark.parametrize("name", shipped_profiles())
def test_a_profile_comes_back_whole_from_a_store(tmp_path: Path, name: str) -> None:
    want = load_profile(name)
    store = create_run(str(tmp_path), RunInfo(
        kind="burn", version="1", profile=ProfileName(name, want.revision, want.sha256)))
    keep_profile(store, want)
    store.close()
    with RunReader(store.path) as reader:
        again, says = profile_of(reader)
    assert (again, says) == (want, "")
    assert digest(again) == want.sha256


def profile_file(folder: Path) -> Path:
    """One that calls itself generic, and requires more."""
    from boxcheck.profile import profiles_directory

    text = (profiles_directory() / "generic.toml").read_text()
    path = folder / "own.toml"
    path.write_text(text.replace('"kernel.taint",', '"kernel.taint", "bmc.*",'))
    return path


def test_a_run_is_judged_by_the_profile_file_that_it_was_begun_with(tmp_path: Path) -> None:
    file = profile_file(tmp_path)
    want = load_profile(str(file))
    assert want.sha256 != GENERIC.sha256
    store = create_run(str(tmp_path), RunInfo(
        kind="burn", version="1", profile=ProfileName(want.name, want.revision, want.sha256)))
    keep_profile(store, want)
    file.unlink()
    with RunReader(store.path) as reader:
        kept, says = profile_of(reader)
    assert (kept.name, kept.sha256, says) == ("generic", want.sha256, "")
    assert kept.is_blocker("bmc.fans")
    store.close()


def test_without_the_kept_profile_another_one_of_its_name_is_no_substitute_for_a_file(tmp_path: Path) -> None:
    run = whole(tmp_path, profile=str(tmp_path / "own.toml"))
    path = run.end()
    with RunReader(path) as reader, pytest.raises(UsageError, match=r"own\.toml"):
        profile_of(reader)
    profile_file(tmp_path)  # it is there, and says something else than what the run names
    with RunReader(path) as reader, pytest.raises(UsageError, match="not what it was"):
        profile_of(reader)


def test_without_the_kept_profile_a_shipped_one_that_changed_is_told(tmp_path: Path) -> None:
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="1", profile=ProfileName("generic", 1, "0" * 64)))
    with RunReader(store.path) as reader:
        assert "not what it was when the run was made" in profile_of(reader)[1]
    store.attach(PROFILE, msgspec.json.encode(GENERIC))  # one that is not the one that the run names
    store.flush()
    with RunReader(store.path) as reader, pytest.raises(UsageError, match="not the one that the run names"):
        profile_of(reader)
    store.close()
    gone = create_run(str(tmp_path), RunInfo(kind="burn", id="x", version="1", profile=ProfileName("mybox", 1, "")))
    with RunReader(gone.path) as reader, pytest.raises(UsageError, match="'mybox', which is not here"):
        profile_of(reader)
    gone.close()


# What was found in a phase that was cut off


def test_errors_of_a_link_in_a_phase_that_was_cut_off_stay(tmp_path: Path) -> None:
    for bad, cut in ((40, False), (40, True), (0, True)):
        folder = tmp_path / f"{bad}{cut}"
        folder.mkdir()
        run = Run(folder)
        run.copies(ends=not cut, bad=bad)
        if cut:
            run.again()
            run.copies()
        run.doctor()
        told = [one for one in judged(run.end()).findings
                if one.check == "stress.link-errors" and one.outcome in (Outcome.FAIL, Outcome.MARGINAL)]
        assert bool(told) is bool(bad), (bad, cut)


@pytest.mark.parametrize("bad", [0, 3])
def test_a_rate_is_not_shown_by_leaving_out_the_errors_of_a_phase_that_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    monkeypatch.setattr(engine_boundaries, "read_counters", lambda gpus: Snapshot(monotonic_seconds=0.0))
    asked = Step(name="until-ber", kind="until-ber", seconds=8.0, ber=1e-10)
    run = Run(tmp_path, (COPY, asked, AFTER))
    run.copies(ends=False, bad=bad)
    run.again()
    course = LinkCourse(run.store, (GPU,), machine(BOX_NAME), (asked,))
    course.take_over()
    number = run.copies()
    run.store.flush()
    with RunReader(run.path) as reader:
        course.add(results_of(reader, number), watching_of(reader, number))
    live = [one for one in course.judged(GENERIC, []) if one.check == "burn.until-ber"]
    run.doctor()
    found = [one for one in judged(run.end()).findings if one.check == "burn.until-ber"]
    assert [(one.outcome, one.says) for one in live] == [(one.outcome, one.says) for one in found]
    assert [one.outcome for one in found].count(Outcome.PASS) == (1 if bad else 2)
    assert any("3 BadTLP" in one.says for one in found) is bool(bad)


HUNG = Trouble(gpus=(GPU.key,), module="copy", kind="hang", says="no sign of life for 45 s")


def test_a_worker_that_hung_is_judged_although_the_engine_was_killed_before_the_steps_end(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.copies(ends=False, during=lambda store, number: Telling(store, None).trouble(number, HUNG))
    run.again()
    run.copies()
    run.doctor()
    verdict = judged(run.end())
    assert verdict.outcome is Outcome.FAIL
    assert any(one.check == "stress.completed" and "no sign of life" in one.says for one in verdict.findings)


def test_a_trouble_is_told_once_and_stops_at_once_where_that_was_asked(tmp_path: Path) -> None:
    run, stopped = Run(tmp_path), list[str]()
    telling = Telling(run.store, stopped.append)
    other = msgspec.structs.replace(HUNG, kind="unsupported")
    for _ in range(2):
        telling.trouble(1, other)
        assert not stopped
    for _ in range(2):
        telling.trouble(1, HUNG)
    assert stopped == ["a worker failed (hang), and --on-error is stop"]
    with RunReader(run.end()) as reader:
        assert [one.kind for one in reader.events(phase=1)] == ["worker-unsupported", "worker-hang"]


# A part of a run


def reason_of(run: Run, *, stopped: str = "") -> str:
    path = run.end(stopped=stopped)
    verdict = judged(path)
    assert (verdict.outcome, verdict.partial) == (Outcome.UNKNOWN, True)
    assert verdict.not_run > 0
    assert code_of(path) == 3
    return verdict.reason


def test_a_run_without_doctor_after_its_load_is_a_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path, (COPY,))
    run.copies()
    assert "doctor did not look at the box after the load" in reason_of(run)
    assert capsys.readouterr().out.startswith("PARTIAL")


@pytest.mark.parametrize("found", [FOUND, BROKEN])
def test_where_doctor_looked_before_the_load_alone_that_decides_and_does_not_suffice(
    tmp_path: Path, found: Finding
) -> None:
    run = Run(tmp_path, (BEFORE, COPY))
    run.doctor("doctor before", found)
    run.copies()
    if found is FOUND:
        assert "doctor did not look at the box after the load" in reason_of(run)
    else:
        assert judged(run.end()).outcome is Outcome.FAIL


def test_a_doctor_after_the_load_decides_although_a_cool_down_follows(tmp_path: Path) -> None:
    for found, outcome in ((FOUND, Outcome.PASS), (BROKEN, Outcome.FAIL)):
        folder = tmp_path / outcome.value
        folder.mkdir()
        run = Run(folder, (COPY, msgspec.structs.replace(AFTER, name="doctor step 2"), COOL))
        run.copies()
        run.doctor("doctor step 2", found)
        run.begin("cool-down")
        run.store.end_phase(run.number, outcome="pass")
        assert judged(run.end()).outcome is outcome


def test_devices_that_were_not_asked_for_make_it_a_part(tmp_path: Path) -> None:
    assert "cuda:1, cuda:2 got no load" in reason_of(whole(tmp_path, left_out=("cuda:1", "cuda:2")))


@pytest.mark.parametrize("alone", [True, False])
def test_a_processor_alone_passes_no_box_by_a_profile_that_does_not_say_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    """A box that lost all its GPUs looks so too; doctor does not pass it either."""
    cpu = msgspec.structs.replace(GPU, backend="cpu", name="x86_64", arch="cpu", bdf=None, is_gpu=False)
    run = Run(tmp_path)
    if not alone:
        run.begin("matmul", "matmul")
        run.store.end_phase(run.number, StressResults(
            module="matmul", gpus=(GPU,), samples=(), troubles=(), ended=(GPU.key,)), outcome="pass")
    monkeypatch.setitem(globals(), "GPU", cpu)
    run.copies()
    run.doctor()
    path = run.end()
    with RunReader(path) as reader:
        assert ("no GPU worked, the processor alone" in lacks_of(reader, load_profile("generic")).words) is alone
    if alone:
        verdict = judged(path)
        assert (verdict.outcome, verdict.partial) == (Outcome.UNKNOWN, True)
        assert "no GPU worked" in verdict.reason


@pytest.mark.parametrize(("gpus", "worked", "says"), [
    (GpusWanted(count=0), {"is_gpu": False}, ""),
    (GpusWanted(), {"is_gpu": False}, "no GPU worked, the processor alone"),
    (GpusWanted(), {"unified": True}, "no GPU but the processor's own graphics worked"),
    (GpusWanted(parts=(GpuPart(key="apu", name="apu", pci_ids=("1002:1586",)),)), {"unified": True}, ""),
    (GpusWanted(), {}, ""),
])
def test_a_box_passes_without_a_gpu_where_its_profile_says_that_it_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: GpusWanted, worked: dict[str, bool], says: str
) -> None:
    """Whatever the profile is called: one copied from generic under another name passed it."""
    monkeypatch.setitem(globals(), "GPU", msgspec.structs.replace(GPU, **worked))
    run = Run(tmp_path)
    run.copies()
    run.doctor()
    want = msgspec.structs.replace(GENERIC, name="of-our-own", gpus=gpus)
    with RunReader(run.end()) as reader:
        words = lacks_of(reader, want).words
        assert words.startswith(says) if says else not words


def test_a_profile_that_requires_nothing_passes_nothing(tmp_path: Path) -> None:
    want = Profile(name="empty", revision=1, title="says nothing")
    with RunReader(whole(tmp_path).end()) as reader:
        assert lacks_of(reader, want).words == "profile empty requires nothing"


def test_loads_that_only_left_out_make_it_a_part(tmp_path: Path) -> None:
    assert "--only left out matmul, vram" in reason_of(whole(tmp_path, not_asked=("matmul", "vram")))


def test_a_plan_says_which_loads_only_left_out() -> None:
    known = ("matmul", "vram", "copy")
    plan = plan_for(LEVEL_SECONDS[1], "x", gpus=1, peers=1, known=known, only=["vram"])
    assert plan.not_asked == ("matmul", "copy", "everything")
    assert plan_for(LEVEL_SECONDS[1], "x", gpus=1, peers=1, known=known).not_asked == ()
    assert plan_for(LEVEL_SECONDS[1], "x", gpus=1, peers=1, known=known, only=[
        "matmul", "vram", "copy", "everything"]).not_asked == ()  # a warm-up and a cool-down prove nothing
    assert plan_for(LEVEL_SECONDS[1], "x", gpus=2, peers=2, known=tuple(SHARES), only=list(SHARES)).not_asked == ()


@pytest.mark.parametrize(("stopped", "cool", "says"), [
    ("stopped by SIGTERM", False, "cool-down did not come to its end"),
    ("stopped by SIGTERM", True, "it was stopped before its end"), ("", False, "cool-down did not come to its end")])
def test_a_cool_down_that_was_stopped_is_no_pass(tmp_path: Path, stopped: str, cool: bool, says: str) -> None:
    run = Run(tmp_path, (COPY, COOL, AFTER))
    run.copies()
    run.begin("cool-down")
    if cool:
        run.store.end_phase(run.number, outcome="pass")
    run.doctor()
    assert says in reason_of(run, stopped=stopped)


# The place of a step


def test_two_warm_ups_are_told_apart_however_often_the_first_is_made_again(tmp_path: Path) -> None:
    warm = Step(name="warm-up", kind="stress", modules=("matmul",), seconds=4)
    steps = (warm, COPY, warm, AFTER)
    run = Run(tmp_path, steps)
    for _ in range(3):  # gone on with twice, each time with a warm-up
        number = run.begin("warm-up", "matmul", step=1)
        run.store.end_phase(number, StressResults(module="matmul", gpus=(), samples=(), troubles=(), ended=()))
    number = run.begin("copy", "copy", step=2)
    run.store.end_phase(number, StressResults(module="copy", gpus=(), samples=(), troubles=(), ended=()))
    with RunReader(run.end()) as reader:
        assert undone(steps, reader.phases()) == [2, 3]


# What is lacking is said whatever decides


def test_a_part_that_no_certain_profile_judges_says_what_is_lacking(tmp_path: Path) -> None:
    run = Run(tmp_path, (BEFORE, COPY, COOL, AFTER), certain=False)
    run.doctor("doctor before")
    run.copies(ends=False)
    reason = reason_of(run, stopped="stopped by SIGTERM")
    assert reason.startswith("no profile says what this machine must be; it was stopped before its end")
    assert "copy did not come to its end; cool-down, doctor after never began" in reason


def test_a_part_that_failed_says_what_is_lacking_and_has_failed(tmp_path: Path) -> None:
    run = Run(tmp_path, (COPY, AFTER, COOL))
    run.copies(bad=100)
    run.doctor("doctor after", BROKEN)
    verdict = judged(run.end(stopped="stopped by SIGTERM"))
    assert (verdict.outcome, verdict.partial) == (Outcome.FAIL, False)
    assert verdict.reason.endswith("; it was stopped before its end; cool-down never began")


def test_a_whole_run_lacks_nothing_whoever_judges_it(tmp_path: Path) -> None:
    verdict = judged(whole(tmp_path, certain=False).end())
    assert (verdict.outcome, verdict.partial, verdict.not_run) == (Outcome.UNKNOWN, False, 0)
    assert verdict.reason == "no profile says what this machine must be"
