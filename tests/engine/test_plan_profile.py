"""A profile may change the plan of a burn-in, and is refused on another box; a run keeps to its promised time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.engine.inspect import Facts
from boxcheck.engine.plan import (
    LEVEL_SECONDS,
    SHARES,
    SHORTEST_SECONDS,
    WARM_UP,
    Pace,
    Plan,
    Step,
    is_rate,
    plan_for,
    plan_from,
)
from boxcheck.engine.plan_profile import refuse_options, refuse_other_box
from boxcheck.engine.stress import judge_results
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Unread
from boxcheck.profile import PHASES, BurnWanted, Profile, ProfileError, check_profile, load_profile
from boxcheck.profile_detect import BoxSigns, SeenGpu, against
from boxcheck.registry import CHECKS, STRESSES, discover, discover_stress
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.watched import Tally
from boxcheck.usage import UsageError

discover()
discover_stress()
KNOWN = tuple(STRESSES)
PLAIN = Profile(name="own", revision=1, title="x")
HEAD = 'name = "own"\nrevision = 1\ntitle = "x"\n'


USUAL = BurnWanted()


def planned(burn: BurnWanted = USUAL, seconds: float = 3600.0, **words: Any) -> Plan:
    return plan_for(seconds, "x", gpus=2, peers=2, known=KNOWN, want=msgspec.structs.replace(PLAIN, burn=burn), **words)


def step(plan: Plan, name: str) -> Step:
    return next(one for one in plan.steps if one.name == name)


def test_the_phases_that_a_profile_may_name_are_those_that_there_are() -> None:
    assert tuple(SHARES) == PHASES


def test_a_box_is_warmed_before_its_rates_are_judged() -> None:
    for level, seconds in LEVEL_SECONDS.items():
        plan = planned(seconds=seconds)
        names = [one.name for one in plan.steps]
        assert names.index(WARM_UP) == 1, level
        warm = step(plan, WARM_UP)
        assert (warm.modules, warm.options["phase"]) == (("matmul",), "power")
        assert SHORTEST_SECONDS <= warm.seconds <= 180
        assert plan.seconds == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize(("seconds", "rest"), [(900.0, None), (3600.0, "60"), (28800.0, "300")])
def test_memory_rests_longer_in_long_runs(seconds: float, rest: str | None) -> None:
    assert step(planned(seconds=seconds), "vram").options.get("rest") == rest


def test_shares_of_a_profile_are_kept_and_the_others_share_the_rest() -> None:
    usual, own = planned(), planned(BurnWanted(shares={"vram": 0.5}))
    assert step(own, "vram").seconds == pytest.approx(0.5 * (3600 - 16), rel=0.01)
    assert own.seconds == pytest.approx(usual.seconds, rel=0.02)
    assert step(own, "copy").seconds / step(own, "p2p").seconds == pytest.approx(
        step(usual, "copy").seconds / step(usual, "p2p").seconds)
    assert (usual.by_profile, own.by_profile) == ("", "own")


def test_phases_that_a_profile_leaves_out_are_named_with_its_reason() -> None:
    plan = planned(BurnWanted(left_out={"power-pulse": "its breaker trips"}))
    assert plan.left_out == {"power-pulse": "as profile own has it: its breaker trips"}
    assert plan.seconds == pytest.approx(3600, rel=0.02)


def test_options_of_a_profile_reach_the_steps_and_win_over_the_usual_ones() -> None:
    plan = planned(BurnWanted(options={"vram": {"rest": "120"}, "everything": {"elements": "fp16"}}))
    assert step(plan, "vram").options["rest"] == "120"
    assert step(plan, "everything").options == {"phase": "power", "elements": "fp16"}


BURN = """
[burn]
shares = { vram = 0.4 }
left_out = { power-pulse = "the breaker of this room trips" }
[burn.options]
vram = { rest = 120 }
"""


def test_the_table_of_a_profile_is_read(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(HEAD + BURN)
    burn = load_profile(str(file)).burn
    assert burn == BurnWanted(
        shares={"vram": 0.4}, left_out={"power-pulse": "the breaker of this room trips"}, options={"vram": {"rest": "120"}})


@pytest.mark.parametrize(("text", "says"), [
    ("burn = 3", "burn is 3, expected a table"), ("[burn]\nshare = {}", "share is not known in [burn]"),
    ("[burn]\nshares = { vrom = 0.4 }", "no phase is called vrom"), ("[burn]\nshares = 1", "burn.shares is 1"),
    ("[burn]\nshares = { vram = 0 }", "expected a part of the time"),
    ("[burn]\nshares = { vram = nan }", "expected a part of the time"),
    ("[burn]\nshares = { vram = true }", "expected a part of the time"),
    ("[burn]\nshares = { vram = 0.7, matmul = 0.6 }", "more than all of the time"),
    ('[burn]\nleft_out = { vram = "" }', "gives no reason"), ("[burn]\nleft_out = { vram = true }", "gives no reason"),
    ('[burn]\nshares = { vram = 0.2 }\nleft_out = { vram = "x" }', "left out and has a share"),
    ("[burn]\nleft_out = {" + ", ".join(f'{phase} = "x"' for phase in PHASES) + "}", "every phase is left out"),
    ("[burn.options]\nvram = 3", "burn.options.vram is 3"), ("[burn.options]\nvram = { rest = [] }", "expected text")])
def test_mistakes_of_the_table_are_named_with_their_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(HEAD + text + "\n")
    (mistake, *_) = check_profile(str(file))
    assert says in mistake.says
    assert mistake.line > 3
    with pytest.raises(ProfileError):
        load_profile(str(file))


@pytest.mark.parametrize(("options", "says"), [
    ({"vram": {"rast": "3"}}, "no option 'rast'"), ({"matmul": {"phase": "both"}}, "phase=both")])
def test_options_that_a_phase_does_not_take_are_refused(options: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        refuse_options(msgspec.structs.replace(PLAIN, burn=BurnWanted(options=options)))
    refuse_options(msgspec.structs.replace(PLAIN, burn=BurnWanted(options={"everything": {"percent": "20"}})))


# The box.

WOPR = BoxSigns(board="ROMED8-2T/BCM", cpu="AMD EPYC 7662 64-Core Processor", sockets=1, gpus=tuple(
    SeenGpu("10de:2684", "rtx4090") for _ in range(7)))


@pytest.mark.parametrize(("profile", "seen", "words"), [
    ("generic", WOPR, []), ("generic", BoxSigns(gpus=Unread("no", "error")), []), ("wopr-7x4090", WOPR, []),
    ("wopr-7x4090", msgspec.structs.replace(WOPR, gpus=WOPR.gpus[:2]), []),  # type: ignore[index]  # a fault, not another box
    ("wopr-7x4090", msgspec.structs.replace(WOPR, board=None), []),
    ("wopr-7x4090", msgspec.structs.replace(WOPR, board=Unread("needs root", "permission")), []),
    ("wopr-7x4090", msgspec.structs.replace(WOPR, board="X570"), ["board name is X570, not ROMED8-2T"]),
    ("wopr-7x4090", msgspec.structs.replace(WOPR, gpus=()), ["no RTX 4090 is in it, and no other GPU"]),
    ("tinybox-red", WOPR, ["no RX 7900 XTX is in it, but 7 x 10de:2684"])])
def test_only_what_was_read_and_is_another_speaks_against_a_profile(
    profile: str, seen: BoxSigns, words: list[str]
) -> None:
    found = against(seen, load_profile(profile))
    assert len(found) >= len(words)
    assert bool(found) == bool(words)
    for word in words:
        assert any(word in one for one in found), found


def test_a_profile_of_another_box_is_refused_with_what_differs() -> None:
    from boxcheck.probes.gpus import Gpus

    facts = Facts()
    facts.put(Gpus, Gpus(gpus=()))
    with pytest.raises(UsageError) as refused:
        refuse_other_box(load_profile("tinybox-green"), facts)
    assert "no RTX 4090 is in it" in str(refused.value)
    assert "--force-profile" in refused.value.help
    refuse_other_box(load_profile("generic"), facts)


# Time.


def test_what_a_step_takes_too_long_is_taken_from_those_that_follow() -> None:
    plan = planned(seconds=900.0)
    pace, now = Pace(plan, plan.steps, 0.0), 0.0
    for at in range(len(plan.steps)):
        one = pace.of(at, now)
        now += (0.2 if one.kind == "doctor" else one.seconds) + (3.0 if one.kind in ("stress", "together") else 0.0)
    assert now == pytest.approx(900, rel=0.03)


def test_a_step_is_made_neither_nothing_nor_endless() -> None:
    plan = planned(seconds=900.0)
    late, early = Pace(plan, plan.steps, 0.0).of(2, 5000.0), Pace(plan, plan.steps, 5000.0).of(2, 0.0)
    assert late.seconds == pytest.approx(plan.steps[2].seconds / 2)
    assert early.seconds == pytest.approx(plan.steps[2].seconds * 1.5)
    assert Pace(plan, plan.steps, 0.0).of(0, 5000.0) is plan.steps[0]


def test_a_plan_of_the_owner_is_kept_to_the_minute() -> None:
    plan = plan_from('name = "x"\n[[step]]\nmodule = "warm-up"\nminutes = 1\n[[step]]\nmodule = "vram"\nminutes = 2\n',
                     "x", KNOWN)
    assert Pace(plan, plan.steps, 0.0).of(1, 500.0).seconds == 120


# Warm-up.


def test_what_is_right_is_judged_while_a_box_warms_up_and_what_is_fast_is_not() -> None:
    names = {id for id, check in CHECKS.items() if check.stress in ("matmul", "*") and is_rate(id)}
    assert {"matmul.rate", "matmul.rate-drop", "matmul.spread"} <= names
    assert not names & {"matmul.wrong-elements", "matmul.self-test", "stress.safety", "stress.completed", "stress.size",
                        "stress.wrong-results", "stress.temperature", "stress.throttled", "matmul.repeatability"}
    info = GpuInfo(
        backend="cuda", index=0, name="RTX 4090", arch="sm_89", bdf=Bdf("0000:41:00.0"), memory_bytes=1, free_bytes=1,
        compute_units=1, unified=False, is_gpu=True, driver="test")
    slow = Sample(what="matmul.fp16.power", gpu="cuda:0", seconds=1.0, value=1.0, unit="TFLOPS", checked=9, wrong=1)
    results = StressResults(module="matmul", gpus=(info,), samples=(slow,) * 8, troubles=(), ended=("cuda:0",))
    want = load_profile("wopr-7x4090")
    for warm in (False, True):
        found, crashes = judge_results(
            msgspec.structs.replace(results, warm_up=warm), Tally([info]).result(), Facts(), want)
        ids = {one.check for one in found}
        assert ("matmul.rate" in ids) is not warm
        assert {"stress.wrong-results", "stress.completed", "matmul.wrong-elements"} <= ids
        assert not crashes
