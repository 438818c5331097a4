"""`boxcheck profile draft --from-run`: what it writes loads, passes the runs it came from, and fails a notch below."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from boxcheck.commands.golden import Drafting, draft_from_runs
from boxcheck.engine.rejudge import rejudge
from boxcheck.golden.draft import golden_toml, one_profile
from boxcheck.golden.good import NotGood, golden
from boxcheck.golden.limits import limits_of, pattern_of
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
        assert re.search(rf"^{key} = [\d.]+  # measured, not agreed: ", text, re.MULTILINE)
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
    with pytest.raises(NotGood, match="RTX 3090"):
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
