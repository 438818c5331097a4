"""What the instruments show is summed up and judged, and stops a run before harm."""

from __future__ import annotations

import time
from typing import Any

import pytest

from boxcheck.engine import watch
from boxcheck.engine.safety import Guard, Limits
from boxcheck.gpu import GpuError, GpuInfo
from boxcheck.model import Bdf, Limit, Outcome, Unread
from boxcheck.probes.links import Links
from boxcheck.profile import Profile
from boxcheck.stress import StressResults, Trouble, watched, watched_links, watched_memory
from boxcheck.stress.link_routes import LinkMap
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


def _link_errors(results: StressResults, watching: watched.Watching, want: Profile) -> Any:
    """The check where all that was read is known to count errors."""
    return watched_links.judge_errors(results, watching, LinkMap(hops={}, ways={}, ends=dict.fromkeys(watching.links)))


def _link_speed(results: StressResults, watching: watched.Watching, want: Profile) -> Any:
    """The check where nothing is known of the links but what was read."""
    return watched_links.link_speed(results, watching, Links({}, {}, None), want)


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
    assert _outcomes(_link_errors, watching) == [outcome]


def test_counters_that_were_read_once_are_unknown() -> None:
    assert _outcomes(_link_errors, _watching(_link(1, {"BadTLP": 0}))) == [Outcome.UNKNOWN]


def test_a_run_that_was_stopped_for_safety_fails_and_says_so() -> None:
    trouble = Trouble(gpus=("cuda:0",), module="matmul", kind="too-hot", says="core at 101 °C", help="look at fans")
    (finding,) = watched.temperature(_results(troubles=(trouble,)), _watching(), NONE)
    assert finding.outcome is Outcome.FAIL
    assert (finding.cause or "").startswith("safety-stop:")


@pytest.mark.parametrize("state", ["lost", "reset-required"])
def test_a_gpu_that_is_gone_or_given_up_ends_the_run_as_lost(state: Any) -> None:
    silent = GpuSilent(bdf=GPU, monotonic_seconds=1, state=state, why=Unread("all ones", "error"))
    with pytest.raises(GpuError) as refused:
        watch.refuse_lost((silent,))
    assert refused.value.kind == "lost"


@pytest.mark.parametrize("state", ["asleep", "unread"])
def test_a_gpu_that_only_tells_nothing_goes_on(state: Any) -> None:
    watch.refuse_lost((GpuSilent(bdf=GPU, monotonic_seconds=1, state=state, why=Unread("no", "error")),))


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
    stop = Guard(Limits()).see("a worker", readings)
    assert stop is not None
    assert (stop.subject, stop.value) == (GPU, 120.0)


def test_the_last_look_does_not_wait_until_it_is_time() -> None:
    looking = watch.Watch([])
    assert looking.look() is not None
    assert looking.look() is None
    assert looking.look(at_once=True) is not None
    looking.close()


def _silent(seconds: float) -> GpuSilent:
    return GpuSilent(bdf=GPU, monotonic_seconds=seconds, state="unread", why=Unread("NVML: timeout", "timeout"))


def _well(seconds: float) -> GpuReading:
    return _reading(seconds, temperatures_celsius=(Named("core", 60.0),), throttle=())


@pytest.mark.parametrize(("silent", "outcome"), [
    (range(3, 7), Outcome.PASS), (range(3, 9), Outcome.UNKNOWN), (range(55, 60), Outcome.PASS),
    (range(54, 60), Outcome.UNKNOWN), (range(20), Outcome.PASS)])
def test_a_gpu_that_fell_silent_is_unknown_with_how_long(silent: range, outcome: Outcome) -> None:
    """A short silence hides no heat; one before the first reading is a start."""
    watching = _watching(*(_silent(at) if at in silent else _well(at) for at in range(60)))
    assert _outcomes(watched.throttled, watching) == [outcome]
    (finding,) = watched.temperature(_results(), watching, WANT)
    assert finding.outcome is outcome
    assert ("told nothing for" in finding.says and "NVML: timeout" in finding.says) is (outcome is Outcome.UNKNOWN)


def test_a_sensor_that_tells_no_more_is_as_silent_as_a_gpu() -> None:
    blind = {"temperatures_celsius": (Named("core", Unread("no", "error")), Named("mem", 80.0)),
             "throttle": Unread("no", "error")}
    watching = _watching(_well(0), *(_reading(at, **blind) for at in range(1, 600)))
    assert _outcomes(watched.temperature, watching, WANT) == [Outcome.UNKNOWN]
    assert _outcomes(watched.throttled, watching) == [Outcome.UNKNOWN]


def test_heat_that_was_read_is_not_hidden_by_a_silence_that_follows() -> None:
    hot = _reading(0, temperatures_celsius=(Named("core", 99.0),))
    assert _outcomes(watched.temperature, _watching(hot, *map(_silent, range(1, 60))), WANT) == [Outcome.FAIL]


def test_counters_that_begin_anew_are_counted_from_zero_and_say_at_least() -> None:
    watching = _watching(*(_link(at, {"BadTLP": count}) for at, count in enumerate((500, 503, 0, 40, 80))))
    (finding,) = _link_errors(_results(), watching, NONE)
    assert finding.outcome is Outcome.MARGINAL
    assert "at least BadTLP 83 " in finding.says


def test_counters_that_began_anew_and_grew_nowhere_are_no_zero() -> None:
    assert _outcomes(
        _link_errors, _watching(_link(1, {"BadTLP": 7}), _link(2, {"BadTLP": 0}))) == [Outcome.UNKNOWN]


def test_a_reading_that_overtook_another_is_no_reset() -> None:
    watching = _watching(*(_link(at, {"BadTLP": count}) for at, count in ((1, 7), (2.0, 9), (2.004, 8), (3, 9))))
    assert watching.link_errors == {PORT: {"BadTLP": 2}}
    assert watching.reset_links == ()


def test_each_gpu_whose_link_was_not_read_is_unknown() -> None:
    other = GpuInfo(**{**{name: getattr(INFO, name) for name in INFO.__struct_fields__},
                       "index": 1, "bdf": Bdf("0000:42:00.0")})
    tally = watched.Tally([INFO, other])
    for at in range(3):
        tally.add([GpuReading(bdf=GPU, monotonic_seconds=at), LinkReading(
            bdf=GPU, monotonic_seconds=at, speed_gts=16.0, width=16, correctable=(Count("BadTLP", 0),), nonfatal=(),
            fatal=())])
    for check in (_link_errors, _link_speed):
        found = {str(one.subject): one.outcome for one in check(_results(gpus=(INFO, other)), tally.result(), NONE)}
        assert found == {"RTX 4090 (cuda:1)": Outcome.UNKNOWN, f"GPU {GPU}": Outcome.PASS}


def _trained(*links: tuple[float, int]) -> watched.Watching:
    """A reading a second."""
    return _watching(*(LinkReading(
        bdf=PORT, monotonic_seconds=at, speed_gts=speed, width=width, correctable=(), nonfatal=(), fatal=())
        for at, (speed, width) in enumerate(links)))


FAST, REST, NARROW = (16.0, 16), (2.5, 16), (16.0, 8)


@pytest.mark.parametrize(("links", "module", "outcome"), [
    ([FAST] * 9, "copy", Outcome.PASS),
    ([REST, *[FAST] * 9, REST], "copy", Outcome.PASS),  # at rest before and after
    ([*[FAST] * 6, *[NARROW] * 4], "copy", Outcome.FAIL),
    ([*[FAST] * 6, *[NARROW] * 4], "matmul", Outcome.FAIL),
    ([*[FAST] * 6, NARROW], "matmul", Outcome.MARGINAL),
    ([*[FAST] * 6, NARROW, *[FAST] * 3], "matmul", Outcome.MARGINAL),
    ([*[FAST] * 6, *[REST] * 5], "copy", Outcome.FAIL),
    ([FAST, REST] * 9, "copy", Outcome.PASS),  # between two pieces of work
    ([*[FAST] * 3, *[REST] * 5, *[FAST] * 3], "copy", Outcome.MARGINAL),
    ([*[FAST] * 3, *[REST] * 5, *[FAST] * 3], "matmul", Outcome.PASS),
    ([*[FAST] * 30, *[REST] * 5], "matmul", Outcome.PASS),
    ([*[FAST] * 6, *[REST] * 6], "matmul", Outcome.MARGINAL)])
def test_lanes_and_speed_that_were_lost_under_load_are_told_from_rest(
    links: list[tuple[float, int]], module: str, outcome: Outcome
) -> None:
    assert _outcomes(_link_speed, _trained(*links), module=module) == [outcome]


def test_amd_cards_that_copy_little_are_not_judged_by_speed() -> None:
    radeon = GpuInfo(**{**{name: getattr(INFO, name) for name in INFO.__struct_fields__},
                        "backend": "hip", "arch": "gfx1100"})
    found = _outcomes(_link_speed, _trained(*[FAST] * 6, *[REST] * 9), gpus=(radeon,))
    assert found == [Outcome.PASS]


def test_a_link_that_was_read_once_is_unknown() -> None:
    assert _outcomes(_link_speed, _trained(FAST)) == [Outcome.UNKNOWN]
    assert _outcomes(_link_speed, _watching()) == [Outcome.UNKNOWN]


@pytest.mark.parametrize(("counts", "outcome"), [
    ([{"corrected": 4, "uncorrected": 1}] * 3, Outcome.PASS),
    ([{"corrected": 4, "uncorrected": 1}, {"corrected": 5, "uncorrected": 1}], Outcome.MARGINAL),
    ([{"corrected": 4, "uncorrected": 1}, {"corrected": 4, "uncorrected": 2}], Outcome.FAIL),
    ([{"remap failed": 0}, {"remap failed": 1}], Outcome.FAIL),
    ([{"uncorrected": 7}, {"uncorrected": 0}], Outcome.UNKNOWN),
    ([{"uncorrected": 0}], Outcome.UNKNOWN),
    ([{"corrected": 0, "uncorrected": Unread("no", "error")}] * 3, Outcome.UNKNOWN),
    ([{}] * 3, Outcome.SKIP), ([], Outcome.UNKNOWN)])
def test_errors_of_memory_are_those_that_came_during_the_run(
    counts: list[dict[str, Any]], outcome: Outcome
) -> None:
    watching = _watching(*(_reading(at, memory_errors=tuple(Count(name, number) for name, number in one.items()))
                           for at, one in enumerate(counts)))
    assert _outcomes(watched_memory.memory_errors, watching) == [outcome]


def test_counters_of_memory_errors_that_nobody_could_read_are_unknown() -> None:
    denied = [_reading(at, memory_errors=Unread("permission denied", "permission")) for at in range(3)]
    assert _outcomes(watched_memory.memory_errors, _watching(*denied)) == [Outcome.UNKNOWN]
    gone = [_reading(0, memory_errors=(Count("uncorrected", 0),)), _reading(1, memory_errors=(Count("uncorrected", 0),))]
    assert _outcomes(watched_memory.memory_errors, _watching(*gone, *map(_silent, range(2, 60)))) == [Outcome.UNKNOWN]
