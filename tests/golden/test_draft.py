"""`boxcheck profile draft --from-run`: what it writes loads, passes the runs it came from, and fails a notch below."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from boxcheck.commands.golden import Drafting, draft_from_runs
from boxcheck.engine.rejudge import rejudge
from boxcheck.golden.draft import golden_profile, golden_toml, one_profile, short_runs, with_doubts
from boxcheck.golden.good import NotGood, golden
from boxcheck.golden.limits import LeftOut, limits_of, pattern_of
from boxcheck.golden.measure import limits_measured, measurement_of
from boxcheck.golden.profile_toml import one_list_each, profile_toml
from boxcheck.model import Limit, Outcome
from boxcheck.profile import Profile, load_profile, shipped_profiles
from boxcheck.profile_resolve import digest
from boxcheck.profile_resolve import judged as judged_bytes
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.usage import UsageError
from tests.golden.runs import stored
from tests.golden.terminal import boxcheck
from tests.report.stored import stored as of_report

Capture = pytest.CaptureFixture[str]


def drafted(path: Path, capsys: Capture, *names: str) -> tuple[Profile, str, str]:
    """The profile, its text, and what was said beside."""
    assert draft_from_runs(Drafting(runs=tuple(map(stored, names)))) == 0
    told = capsys.readouterr()
    path.write_text(told.out)
    return load_profile(str(path)), told.out, told.err


def judged(name: str, want: Profile) -> Outcome:
    with RunReader(stored(name)) as reader:
        return rejudge(reader, want, True).verdict.outcome


def with_limit(want: Profile, limit: Limit) -> Profile:
    return msgspec.structs.replace(want, limits={**want.limits, limit.name: limit})


def test_a_draft_of_one_run_loads_and_its_run_passes(tmp_path: Path, capsys: Capture) -> None:
    want, text, told = drafted(tmp_path / "golden.toml", capsys, "one")
    own = golden(stored("one"))[1]
    assert want.name == "wopr-7x4090-golden"
    assert judged("one", want) is Outcome.PASS
    rates = {name for name in want.limits if "measured, not agreed" in want.limits[name].source}
    assert rates == {f"matmul.{element}_tflops" for element in ("bf16", "fp16", "tf32", "fp32", "int8", "e4m3")}
    for name in rates:
        assert "2026-11-21T132004Z-burn (2026-11-21)" in want.limits[name].source
        assert "7 devices in 1 box, 1 run" in want.limits[name].source
        key = name.split(".")[1]
        assert re.search(rf"^{key} = (?:[\d.]+|\{{ must = [\d.]+, should = [\d.]+ \}})  # measured, not agreed: ", text, re.MULTILINE)
    for field in ("goal", "gpus", "inspect", "stress", "faults", "advisory", "slots", "match", "recommend", "burn", "notes"):
        assert getattr(want, field) == getattr(own, field), field
    assert {name: limit for name, limit in want.limits.items() if name not in rates} == {
        name: limit for name, limit in own.limits.items() if name not in rates}
    assert "One box cannot show how boxes differ" in text
    assert "one box cannot show how boxes differ" in told
    assert "#   vram.copy_gbs: nothing of the run measures it (that of wopr-7x4090 stays)" in text


def test_a_run_by_a_notch_below_a_drafted_limit_fails(tmp_path: Path, capsys: Capture) -> None:
    want, _, _ = drafted(tmp_path / "golden.toml", capsys, "one")
    with RunReader(stored("one")) as reader:
        measured = measurement_of(reader, want).measured["matmul.bf16_tflops"]
    worst = min(one.value for one in measured.values)
    bound = want.limits["matmul.bf16_tflops"]
    assert bound.must < worst
    at = msgspec.structs.replace(bound, must=worst * 0.9999)
    above = msgspec.structs.replace(bound, must=worst * 1.0001)
    assert (judged("one", with_limit(want, at)), judged("one", with_limit(want, above))) == (Outcome.PASS, Outcome.FAIL)


def test_a_box_with_a_slow_card_fails_by_the_draft_and_not_by_the_profile_before(tmp_path: Path, capsys: Capture) -> None:
    want, _, _ = drafted(tmp_path / "golden.toml", capsys, "one", "two", "three")
    assert judged("slow", load_profile("wopr-7x4090")) is Outcome.MARGINAL
    assert judged("slow", want) is Outcome.FAIL


def test_three_boxes_give_the_spread_between_them_and_all_pass(tmp_path: Path, capsys: Capture) -> None:
    want, text, told = drafted(tmp_path / "golden.toml", capsys, "three", "one", "two")
    assert all(judged(name, want) is Outcome.PASS for name in ("one", "two", "three"))
    assert "3 boxes with 7 x RTX 4090 (24 GiB)" in text
    assert "21 devices in 3 boxes, 3 runs" in want.limits["matmul.bf16_tflops"].source
    assert "different drivers: CUDA 13.0, driver 580.65; CUDA 13.0, driver 590.10" in told
    assert "one box cannot" not in told


def test_copies_and_pairs_are_drafted_where_they_were_judged(tmp_path: Path, capsys: Capture) -> None:
    want, _, _ = drafted(tmp_path / "golden.toml", capsys, "whole")
    for name in ("copy.host_to_device_gbs", "copy.device_to_host_gbs", "p2p.one_way_gbs", "p2p.both_ways_gbs"):
        assert "7 devices in 1 box" in want.limits[name].source
    assert judged("whole", want) is Outcome.PASS


def test_a_rate_that_was_not_taken_alone_gives_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """copy.rate never fails such a rate, so that a limit from it would be one that nothing is held against."""
    monkeypatch.setattr("boxcheck.stress.copy_checks.alone", lambda results, samples: [])
    with RunReader(stored("whole")) as reader:
        found = measurement_of(reader, load_profile("wopr-7x4090"))
    assert "not measured alone" in found.missing["copy.host_to_device_gbs"]
    assert "copy.host_to_device_gbs" not in found.measured


@pytest.mark.parametrize(("name", "says"), [
    ("failed", "failed: 2 required checks failed"), ("marginal", "is marginal"), ("throttled", "is marginal"),
    ("injected", "flip-output was put in on purpose"), ("stopped", "is stopped"), ("crashed", "is crashed")])
def test_a_run_that_is_no_pattern_is_refused(name: str, says: str) -> None:
    with pytest.raises(NotGood, match=says) as refused:
        golden(stored(name))
    assert refused.value.help


def test_a_marginal_run_is_taken_when_it_is_said_and_one_that_was_held_down_is_not() -> None:
    found, _ = golden(stored("marginal"), accept_marginal=True)
    assert found.measured
    with pytest.raises(NotGood, match=r"clocks were held down: PCIE4: .* of matmul"):
        golden(stored("throttled"), accept_marginal=True)


def test_a_run_with_another_profile_or_other_cards_is_not_mixed_in() -> None:
    own, other = load_profile("wopr-7x4090"), load_profile("tinybox-green")
    with pytest.raises(NotGood, match="different profiles"):
        one_profile([own, other])
    changed = with_limit(own, Limit("disk.nvme_count", "ge", must=2, source="x"))
    changed = msgspec.structs.replace(changed, judged=judged_bytes(changed))
    assert one_profile([changed, own])[1] == (
        "the runs passed different states of wopr-7x4090: that of the last run, r1, is taken",)
    with pytest.raises(NotGood, match="RTX 5090"):
        pattern_of([golden(stored("one"))[0], golden(stored("other-cards"))[0]])


def test_a_run_of_small_sizes_gives_no_limit() -> None:
    with RunReader(stored("one")) as reader:
        whole = measurement_of(reader, load_profile("wopr-7x4090"))
    bare = msgspec.structs.replace(
        whole, measured={}, missing=dict.fromkeys(limits_measured(), "a processor's rate is not judged"))
    made, left_out = limits_of(pattern_of([bare]))
    assert not made
    assert {one.limit for one in left_out} == {*limits_measured()}


def test_a_profile_of_a_store_from_elsewhere_writes_no_lines_of_its_own() -> None:
    found, want = golden(stored("one"))
    pattern = pattern_of([found])
    made, left_out = limits_of(pattern)
    assert golden_toml(want, pattern, made, left_out)
    for hostile in (
            msgspec.structs.replace(want, match={"board = ['x']\n[gpus]\ncount": 1}),
            msgspec.structs.replace(want, title="\x1b[31m\n[link]\nwidth = 1", limits={
                **want.limits, "link.width\n[aer]\nber": Limit("link.width", "ge", must=1, source="x")}),
            msgspec.structs.replace(want, inspect=("no.such-check",))):
        with pytest.raises(NotGood, match="cannot be written as a file") as refused:
            golden_toml(hostile, pattern, made, left_out)
        assert str(refused.value).isprintable()


def test_what_is_no_run_is_one_clear_error(tmp_path: Path) -> None:
    nothing = tmp_path / "torn.sqlite"
    nothing.write_bytes(b"SQLite format 3\0" + bytes(4000))
    with pytest.raises(StoreError):
        golden(str(nothing))
    with pytest.raises(UsageError, match="no run is called"):
        draft_from_runs(Drafting(runs=("no-such-run-at-all",)))


@pytest.mark.parametrize("words", [
    ["--share", "x.json"], ["--accept-marginal"], ["--from-run", "x", "--sysroot", "y"], ["--from-run", "x", "--key", "k"],
    ["--from-run", ""], ["--from-run", "x", "--share", "-"], ["--from-run", "x", "--share", "f", "--self-signed"]])
def test_options_that_do_not_go_together_are_usage_errors(words: list[str]) -> None:
    done = boxcheck("profile", "draft", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_shipped_profile_comes_back_from_its_toml(name: str, tmp_path: Path) -> None:
    want = load_profile(name)
    path = tmp_path / "again.toml"
    path.write_text(profile_toml(want, told=["a\nb"], comments=dict.fromkeys(want.limits, "c\nname = 'x'")))
    again = load_profile(str(path))
    assert digest(again) == digest(one_list_each(want)), "judged alike: what is advisory too never decides"
    for field in ("title", "notes", "match", "recommend", "burn", "slots", "gpus", "limits"):
        assert getattr(again, field) == getattr(want, field), field


def test_a_processors_rate_gives_no_limit() -> None:
    with RunReader(of_report("no-gpu")) as reader:
        found = measurement_of(reader, load_profile("generic"))
    assert not found.cards
    assert not {name for name in found.measured if name.startswith(("matmul", "copy", "p2p", "vram"))}
    assert {*found.measured} | {*found.missing} == {*limits_measured()}


def test_a_draft_keeps_what_is_marginal_and_says_where_it_is_looser(tmp_path: Path, capsys: Capture) -> None:
    """A run that was marginal by the profile stays marginal by the draft that was made of it."""
    assert draft_from_runs(Drafting(runs=(stored("marginal"),), accept_marginal=True)) == 0
    told = capsys.readouterr()
    (tmp_path / "golden.toml").write_text(told.out)
    want, own = load_profile(str(tmp_path / "golden.toml")), golden(stored("one"))[1]
    name = "matmul.bf16_tflops"
    assert want.limits[name].should == own.limits[name].should is not None
    assert judged("marginal", want) is Outcome.MARGINAL
    measured = golden(stored("marginal"), accept_marginal=True)[0]
    drafted, _ = limits_of(pattern_of([measured]))
    stricter = with_limit(own, Limit(name, "ge", must=159.0, should=160.0, unit="TFLOPS", source="x"))
    said = {one.limit: one.doubts for one in with_doubts(stricter, drafted)}
    assert any(doubt.startswith("looser than wopr-7x4090 has it: must 159 TFLOPS, now ") for doubt in said[name])
    assert not any("looser than wopr" in doubt for doubt in said["matmul.fp16_tflops"])
    below = with_limit(own, Limit(name, "ge", must=1.0, should=2.0, unit="TFLOPS", source="x"))
    assert golden_profile(below, pattern_of([measured]), drafted).limits[name].should is None, "the draft is stricter"


def test_a_looser_limit_is_said_at_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    own = golden(stored("one"))[1]
    strict = with_limit(own, Limit("matmul.bf16_tflops", "ge", must=160.0, unit="TFLOPS", source="x"))
    monkeypatch.setattr("boxcheck.commands.golden.one_profile", lambda profiles: (strict, ()))
    assert draft_from_runs(Drafting(runs=(stored("one"),))) == 0
    told = capsys.readouterr()
    assert "matmul.bf16_tflops: looser than wopr-7x4090 has it: must 160 TFLOPS" in told.err
    assert "looser than wopr-7x4090" in told.out


def test_one_set_of_gpus_is_no_two_boxes(tmp_path: Path) -> None:
    one = golden(stored("one"))[0]
    renamed = msgspec.structs.replace(one, run="again", started=one.started + 86400, box="W-0099")
    with pytest.raises(NotGood, match="7 GPUs in common"):
        pattern_of([one, renamed])
    two = golden(stored("two"))[0]
    moved = msgspec.structs.replace(two, devices=(*two.devices[:-1], one.devices[-1]))
    with pytest.raises(NotGood, match="1 GPU in common"):
        pattern_of([one, moved])
    assert len(pattern_of([one, two]).boxes) == 2
    bare = [msgspec.structs.replace(each, devices=tuple(
        msgspec.structs.replace(info, uuid="GPU-0") for info in each.devices)) for each in (one, two)]
    assert len(pattern_of(bare).boxes) == 2, "a number that all of them have tells none apart"


def test_a_short_run_is_said_to_be_short(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = golden(stored("one"))[1]
    longer = msgspec.structs.replace(own, burn=msgspec.structs.replace(own.burn, acceptance_seconds=14400.0))
    monkeypatch.setattr("boxcheck.commands.golden.one_profile", lambda profiles: (longer, ()))
    _, text, told = drafted(tmp_path / "golden.toml", capsys, "one")
    says = "run 2026-11-21T132004Z-burn was planned for 28 s, an acceptance by wopr-7x4090 takes 4 h"
    assert says in told
    assert f"# {says}" in text
    found = golden(stored("one"))[0]
    assert short_runs(own, pattern_of([found]), 3600.0) == (), "a whole plan of its profile"
    assert short_runs(longer, pattern_of([msgspec.structs.replace(found, planned_seconds=14400.0)]), 3600.0) == ()
    unsaid = msgspec.structs.replace(own, burn=msgspec.structs.replace(own.burn, acceptance_seconds=None))
    assert "takes 1 h" in short_runs(unsaid, pattern_of([found]), 3600.0)[0]


@pytest.mark.parametrize(("measured", "says", "help"), [
    ("useless", "matmul.bf16_tflops: 1 TFLOPS would be far, and 1 more", "burn in more boxes"),
    ("tried", "matmul.bf16_tflops: a processor", "full sizes"), ("none", "nothing of what they did", "by all of the plan")])
def test_why_nothing_is_drafted(monkeypatch: pytest.MonkeyPatch, measured: str, says: str, help: str) -> None:
    one = limits_of(pattern_of([golden(stored("one"))[0]]))[0][0]
    found = [LeftOut(limit="cpu.fp64_gflops", why="run R: nothing of the run measures it")]
    if measured != "none":
        found.append(LeftOut(limit="matmul.bf16_tflops", why="a processor's rate is not judged"))
    if measured == "useless":
        found[-1] = LeftOut(limit="matmul.bf16_tflops", why="1 TFLOPS would be far", measured=one)
        found.append(LeftOut(limit="matmul.fp16_tflops", why="as far", measured=one))
    monkeypatch.setattr("boxcheck.commands.golden.limits_of", lambda pattern: ((), tuple(found)))
    with pytest.raises(UsageError, match=says) as refused:
        draft_from_runs(Drafting(runs=(stored("one"),)))
    assert help in refused.value.help
