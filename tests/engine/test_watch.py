"""What the instruments show is summed up and judged, and stops a run before harm."""

from __future__ import annotations

import time
from typing import Any

import pytest

from boxcheck.engine import watch
from boxcheck.gpu import GpuError, GpuInfo
from boxcheck.model import Bdf, Limit, Outcome, Unread
from boxcheck.profile import Profile
from boxcheck.stress import StressResults, Trouble, watched
from boxcheck.telemetry.readings import Count, GpuReading, GpuSilent, LinkReading, Named
from boxcheck.telemetry.throttle import NVML

GPU, PORT = Bdf("0000:41:00.0"), Bdf("0000:40:01.1")
INFO = GpuInfo(
    backend="cuda", index=0, name="RTX 4090", arch="sm_89", bdf=GPU, memory_bytes=1, free_bytes=1, compute_units=1,
    unified=False, is_gpu=True, driver="test")
NONE = Profile(name="none", revision=1, title="no limits")
BOUND = Limit("thermal.gpu_celsius", "le", must=95.0, unit="°C", source="test")
WANT = Profile(name="hot", revision=1, title="limits", limits={BOUND.name: BOUND})


def _results(**changes: Any) -> StressResults:
    fields: dict[str, Any] = {
        "module": "matmul", "gpus": (INFO,), "samples": (), "troubles": (), "ended": ("cuda:0",), **changes}
    return StressResults(**fields)


def _reading(seconds: float, **changes: Any) -> GpuReading:
    return GpuReading(bdf=GPU, monotonic_seconds=seconds, **changes)


def _link(seconds: float, correctable: dict[str, int], fatal: dict[str, int] | None = None) -> LinkReading:
    return LinkReading(
        bdf=PORT, monotonic_seconds=seconds, speed_gts=16.0, width=16,
        correctable=tuple(Count(name, number) for name, number in correctable.items()), nonfatal=(),
        fatal=tuple(Count(name, number) for name, number in (fatal or {}).items()))


def _watching(*readings: Any) -> watched.Watching:
    tally = watched.Tally([INFO])
    for one in readings:
        tally.add([one])
    return tally.result()


def _outcomes(check: Any, watching: watched.Watching, want: Profile = NONE, **changes: Any) -> list[Outcome]:
    return [finding.outcome for finding in check(_results(**changes), watching, want)]


@pytest.mark.parametrize(("celsius", "outcome"), [(95.0, Outcome.PASS), (95.5, Outcome.FAIL)])
def test_the_hottest_reading_is_judged(celsius: float, outcome: Outcome) -> None:
    watching = _watching(*(
        _reading(at, temperatures_celsius=(Named("core", value),)) for at, value in enumerate((60.0, celsius, 70.0))))
    assert watching.hottest_celsius == {"cuda:0": {"core": celsius}}
    assert _outcomes(watched.temperature, watching, WANT) == [outcome]


def test_a_temperature_that_nobody_read_is_unknown() -> None:
    blind = _reading(1, temperatures_celsius=(Named("core", Unread("no", "error")),))
    assert _outcomes(watched.temperature, _watching(blind), WANT) == [Outcome.UNKNOWN]
    silent = GpuSilent(bdf=GPU, monotonic_seconds=1, state="unread", why=Unread("NVML is not there", "absent"))
    (finding,) = watched.temperature(_results(), _watching(silent), WANT)
    assert finding.outcome is Outcome.UNKNOWN
    assert "NVML is not there" in finding.says


@pytest.mark.parametrize(("bit", "outcome"), [
    (0, Outcome.PASS), (1, Outcome.PASS), (2, Outcome.PASS), (3, Outcome.FAIL), (4, Outcome.PASS),
    (5, Outcome.MARGINAL), (6, Outcome.FAIL), (7, Outcome.FAIL), (8, Outcome.PASS)])
def test_what_cuts_the_clock_is_told_from_what_only_limits_it(bit: int, outcome: Outcome) -> None:
    watching = _watching(_reading(1, throttle=()), _reading(2, throttle=(NVML[bit],)))
    assert _outcomes(watched.throttled, watching) == [outcome]


def test_throttling_that_nobody_read_is_unknown() -> None:
    assert _outcomes(watched.throttled, _watching()) == [Outcome.UNKNOWN]


@pytest.mark.parametrize(("correctable", "fatal", "outcome"), [
    ({"BadTLP": 7}, {}, Outcome.PASS), ({"BadTLP": 8}, {}, Outcome.MARGINAL), ({"Rollover": 1}, {}, Outcome.FAIL),
    ({"NonFatalErr": 5}, {}, Outcome.PASS), ({}, {"DLP": 1}, Outcome.FAIL), ({"TOTAL_ERR_COR": 9}, {}, Outcome.PASS)])
def test_errors_of_a_link_are_those_that_came_during_the_run(
    correctable: dict[str, int], fatal: dict[str, int], outcome: Outcome
) -> None:
    start = {"BadTLP": 7, "Rollover": 0, "NonFatalErr": 0, "TOTAL_ERR_COR": 7}
    watching = _watching(_link(1, start, {"DLP": 0}), _link(2, {**start, **correctable}, {"DLP": 0, **fatal}))
    assert _outcomes(watched.link_errors, watching) == [outcome]


def test_counters_that_were_read_once_are_unknown() -> None:
    assert _outcomes(watched.link_errors, _watching(_link(1, {"BadTLP": 0}))) == [Outcome.UNKNOWN]


@pytest.mark.parametrize(("name", "celsius", "stops"), [
    ("core", 100.0, False), ("core", 100.5, True), ("edge", 101.0, True), ("junction", 110.0, False),
    ("junction", 111.0, True), ("mem", 111.0, True), ("soc", 140.0, False)])
def test_a_run_is_stopped_above_the_limits_and_not_below(name: str, celsius: float, stops: bool) -> None:
    readings = (_reading(1, temperatures_celsius=(Named(name, celsius),)),)
    if not stops:
        watch.refuse_harm(readings)
        return
    with pytest.raises(GpuError) as refused:
        watch.refuse_harm(readings)
    assert refused.value.kind == "too-hot"


def test_a_run_that_was_stopped_for_safety_fails_and_says_so() -> None:
    trouble = Trouble(gpus=("cuda:0",), module="matmul", kind="too-hot", says="core at 101 °C", help="look at fans")
    (finding,) = watched.temperature(_results(troubles=(trouble,)), _watching(), NONE)
    assert finding.outcome is Outcome.FAIL
    assert (finding.cause or "").startswith("safety-stop:")


def test_a_gpu_that_is_gone_ends_the_run_as_lost() -> None:
    silent = GpuSilent(bdf=GPU, monotonic_seconds=1, state="lost", why=Unread("all ones", "error"))
    with pytest.raises(GpuError) as refused:
        watch.refuse_harm((silent,))
    assert refused.value.kind == "lost"


def test_instruments_are_read_once_a_second_and_cost_little() -> None:
    looking = watch.Watch([])
    first, again = looking.look(), looking.look()
    assert first is not None
    assert again is None
    began = time.perf_counter()
    looking._next = 0.0
    assert looking.look() is not None
    assert time.perf_counter() - began < 0.5
    looking.close()


def test_the_fault_hot_is_seen_by_what_stops_a_run() -> None:
    looking = watch.Watch([INFO], hot=True)
    readings = looking.look()
    looking.close()
    assert readings is not None
    with pytest.raises(GpuError, match="120"):
        watch.refuse_harm(readings)
