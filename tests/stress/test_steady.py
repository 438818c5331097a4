"""Long runs: throttling in seconds, heat that goes on rising, rates that go on falling; and what does not tell."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from boxcheck.model import Bdf, Unread
from boxcheck.profile import load_profile
from boxcheck.registry import CHECKS, discover, run_check
from boxcheck.stress import StressResults
from boxcheck.stress.course import Readings
from boxcheck.stress.steady_checks import kept_after
from boxcheck.stress.watched import Tally, Watching
from boxcheck.telemetry.readings import GpuReading, Named
from boxcheck.telemetry.throttle import NVML
from tests.stress.every_check import climbing, device, results, sample, warm_rate, watched

discover()
BDF = Bdf("0000:01:00.0")
BRAKE = NVML[7]


def reading(seconds: float, celsius: Any = 70.0, watts: Any = 440.0, *reasons: Any) -> GpuReading:
    temperatures = celsius if isinstance(celsius, Unread) else (Named("core", celsius),)
    return GpuReading(
        bdf=BDF, monotonic_seconds=seconds, power_watts=watts, temperatures_celsius=temperatures, throttle=reasons)


def course(readings: list[GpuReading]) -> Any:
    taken = Readings()
    for one in readings:
        taken.add(one)
    return taken.result()


def found(check: str, made: Any, box: str = "wopr-7x4090") -> list[tuple[str, str]]:
    facts = [made[kind] for kind in CHECKS[check].reads]
    return [(one.outcome.value, one.says) for one in run_check(CHECKS[check], facts, load_profile(box))]


def test_a_reason_is_told_in_seconds_and_a_gap_counts_for_two_at_most() -> None:
    every = [reading(float(at), 70.0, 440.0, *([BRAKE] if 10 <= at < 22 else [])) for at in range(60)]
    assert course(every).throttle_seconds == {"power brake": 12.0}
    assert course([reading(0.0, 70.0, 440.0, BRAKE), reading(100.0)]).throttle_seconds == {"power brake": 2.0}
    assert course([reading(0.0, 70.0, 440.0, BRAKE)]).throttle_seconds == {"power brake": 1.0}


def test_readings_may_come_in_any_order() -> None:
    every = [reading(at / 2, 60.0 + at / 40, 400.0, *([BRAKE] if at % 3 == 0 else [])) for at in range(400)]
    shuffled = random.Random(1).sample(every, len(every))
    assert course(every) == course(shuffled)


def test_a_climb_is_that_of_the_last_third() -> None:
    """70 degrees for ten minutes, then three degrees a minute for five."""
    one = course([reading(float(at), 70.0 + max(0, at - 600) * 0.05) for at in range(901)])
    assert one.climb is not None
    assert one.climb.celsius_per_minute == pytest.approx(3.0, abs=0.01)
    assert (one.climb.sensor, one.climb.seconds, one.climb.celsius) == ("core", 300.0, 85.0)
    assert one.climb.watts == (440.0, 440.0)


def test_a_card_that_comes_to_rest_is_no_false_alarm() -> None:
    """As computed for a slow air cooler: 45 degrees with 200 s, read in whole degrees."""
    import math

    heat = [reading(float(at), float(round(30 + 45 * (1 - math.exp(-at / 200))))) for at in range(901)]
    tally = Tally([device(0)])
    tally.add(heat)
    made = {**results("matmul", gpus=1), Watching: tally.result()}
    ((outcome, says),) = found("stress.still-heating", made)
    assert outcome == "pass", says


def test_what_was_not_read_gives_no_climb_and_is_unknown() -> None:
    unread = Unread("NVML: no permission", "permission")
    assert course([reading(float(at), unread) for at in range(900)]).climb is None
    few = course([reading(float(at) * 60, 70.0) for at in range(20)])
    assert few.climb is None
    gone = course([reading(float(at), 70.0, unread) for at in range(900)]).climb
    assert gone is not None
    assert gone.watts is None
    assert {one for one, _ in found("stress.still-heating", watched(seconds=900.0))} == {"unknown"}
    early = climbing(0.1)
    early = {**early, Watching: msgspec.structs.replace(early[Watching], seconds=3600.0)}
    assert {one for one, _ in found("stress.still-heating", early)} == {"unknown"}, "read for half of the time"


def test_a_rise_that_power_explains_is_none_of_the_cooling() -> None:
    assert {one for one, _ in found("stress.still-heating", climbing(5.0, (440.0, 463.0)))} == {"skip"}
    assert {one for one, _ in found("stress.still-heating", climbing(5.0, (440.0, 461.0)))} == {"marginal"}
    assert {one for one, _ in found("stress.still-heating", climbing(5.0, None))} == {"unknown"}


def test_a_short_run_is_not_judged_for_either() -> None:
    assert {one for one, _ in found("stress.still-heating", climbing(5.0, seconds=899.0))} == {"skip"}
    short = results("matmul", [sample("matmul.bf16.power", value=100.0 - at, unit="TFLOPS") for at in range(90)])
    assert {one for one, _ in found("stress.kept-rate", short)} == {"skip"}


def test_few_pieces_of_a_long_run_tell_nothing() -> None:
    made = results("matmul", [sample("matmul.bf16.power", value=100.0, unit="TFLOPS", seconds=300.0)] * 4, gpus=1)
    made = {**made, Watching: msgspec.structs.replace(made[Watching], seconds=1200.0)}
    assert found("stress.kept-rate", made)[0][0] == "unknown"
    made = {**warm_rate(50.0), StressResults: results("matmul", gpus=1)[StressResults]}
    assert found("stress.kept-rate", made)[0][0] == "unknown"


def test_what_is_lost_while_it_warms_up_is_no_decay() -> None:
    samples = [sample("matmul.bf16.power", value=100.0 if at < 60 else 90.0, unit="TFLOPS", seconds=10.0)
               for at in range(180)]
    assert kept_after(samples, 600 / 1800) == pytest.approx(100.0)


def test_kinds_are_compared_with_themselves() -> None:
    samples = [sample("copy.a" if at % 2 else "copy.b", value=(10.0 if at % 2 else 1000.0) * (0.9 if at > 150 else 1.0),
                      unit="GB/s", seconds=10.0) for at in range(180)]
    assert kept_after(samples, 1 / 3) == pytest.approx(90.0, abs=0.1)


def test_throttling_is_told_with_its_seconds() -> None:
    tally = Tally([device(0)])
    tally.add([reading(float(at), 70.0, 440.0, *([BRAKE] if at < 7 else [])) for at in range(60)])
    ((outcome, says),) = found("stress.throttled", {**results("matmul", gpus=1), Watching: tally.result()})
    assert (outcome, says) == ("fail", "held down by power brake in 7 of 60 readings, for 7 s")


def test_a_profile_without_these_limits_judges_nothing() -> None:
    assert {one for one, _ in found("stress.still-heating", climbing(5.0), "generic")} == {"skip"}
    assert {one for one, _ in found("stress.kept-rate", warm_rate(50.0), "generic")} == {"skip"}
