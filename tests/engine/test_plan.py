"""Plans: what is promised is what the steps add up to, and what cannot be done is named."""

from __future__ import annotations

import pytest

from boxcheck.checks.wording import duration as words
from boxcheck.engine.plan import LEVEL_SECONDS, SHARES, duration, plan_for, plan_from
from boxcheck.usage import UsageError

KNOWN = ("matmul", "vram", "copy", "p2p", "collective", "power-pulse", "cpu", "dram", "nvme")


@pytest.mark.parametrize("level", LEVEL_SECONDS)
@pytest.mark.parametrize("gpus", [1, 2, 7])
def test_a_level_lasts_as_long_as_promised(level: int, gpus: int) -> None:
    plan = plan_for(LEVEL_SECONDS[level], f"level {level}", gpus=gpus, peers=gpus, known=KNOWN)
    assert plan.seconds == pytest.approx(LEVEL_SECONDS[level], rel=0.1)
    assert plan.steps[0].name == "doctor before"
    assert plan.steps[-1].name == "doctor after"
    names = [step.name for step in plan.steps]
    assert ("p2p" in names) == (gpus > 1)
    assert set(plan.left_out) == (set() if gpus > 1 else {"p2p", "collective"})


def test_the_shares_are_the_whole() -> None:
    assert sum(SHARES.values()) == pytest.approx(1.0)


def test_only_some_phases_get_all_of_the_time() -> None:
    plan = plan_for(600, "for 10 min", gpus=2, peers=2, known=KNOWN, only=["vram", "copy"])
    assert [step.name for step in plan.steps] == ["doctor before", "vram", "copy", "doctor after"]
    assert plan.seconds == pytest.approx(600)


def test_everything_at_once_takes_the_host_modules_that_there_are() -> None:
    plan = plan_for(600, "x", gpus=1, peers=1, known=("matmul", "cpu"), only=["everything"])
    assert plan.steps[1].modules == ("matmul", "cpu")


@pytest.mark.parametrize("only", [["p2p"], ["cool-down"]])
def test_a_plan_that_loads_nothing_is_refused(only: list[str]) -> None:
    with pytest.raises(UsageError, match="nothing is left to run"):
        plan_for(600, "x", gpus=1, peers=1, known=KNOWN, only=only)


def test_an_unknown_phase_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as refused:
        plan_for(600, "x", gpus=1, peers=1, known=KNOWN, only=["vrom"])
    assert "vram" in refused.value.help


@pytest.mark.parametrize(("text", "seconds"), [
    ("90", 90), ("90s", 90), ("15m", 900), ("15 min", 900), ("1h30m", 5400), ("2d", 172800), ("0.5h", 1800)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "1x", "-5m", "1h-", "5", "99d", "h", "1e9", "٣m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        duration(text)


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0 s"), (45, "45 s"), (120, "2 min"), (135, "2 min 15 s"), (5400, "1 h 30 min"), (172800, "2 d")])
def test_durations_in_words(seconds: float, text: str) -> None:
    assert words(seconds) == text


def test_a_plan_file() -> None:
    plan = plan_from(
        'name = "night"\n[[step]]\nmodule = "doctor"\nminutes = 0.2\n[[step]]\nmodule = "matmul"\nminutes = 30\n'
        'options = { elements = "bf16" }\n[[step]]\nmodule = "everything"\nminutes = 60\n', "night.toml", KNOWN)
    assert [(step.name, step.kind, step.seconds) for step in plan.steps] == [
        ("doctor before", "doctor", 12.0), ("matmul", "stress", 1800.0), ("everything", "together", 3600.0)]
    assert plan.steps[1].options == {"elements": "bf16"}


@pytest.mark.parametrize(("text", "says"), [
    ("name = 3", "name"), ('name = "x"', "step"), ('name = "x"\nstep = []', "puts load on nothing"),
    ('name = "x"\n[[step]]\nmodule = "matmul"\nminutes = -1', "lasts -1 minutes"),
    ('name = "x"\n[[step]]\nmodule = "matmull"\nminutes = 1', "no module is called 'matmull'"),
    ('name = "x"\n[[step]]\nmodule = "matmul"\nminutes = 1\nfoo = 2', "foo"),
    ('name = "x"\n[[step]]\nmodule = "matmul"\nminutes = 1\noptions = { elemnts = "bf16" }', "no option 'elemnts'"),
    ("[[", "plan p.toml")])
def test_a_broken_plan_file_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        plan_from(text, "p.toml", KNOWN)
    assert says in str(refused.value)
