"""Limits from measurements: none that its own runs fail, none looser than useful unsaid, and only of one kind of box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from boxcheck.golden.good import NotGood
from boxcheck.golden.limits import Drafted, LeftOut, Pattern, in_words, limits_of, pattern_of
from boxcheck.golden.measure import DeviceValue, Kind, Measured, Measurement, limits_measured
from boxcheck.golden.tolerance import k_factor
from boxcheck.model import Limit, Outcome
from boxcheck.registry import LIMITS, outcome_of

BF16, LATENCY = "matmul.bf16_tflops", "nvme.random_p99_us"
CARD = Kind("RTX 4090", "10de:2684", 0xA1, 24)


def measured(values: Sequence[float], name: str = BF16, over_time: float | None = 0.002) -> Measured:
    return Measured(
        limit=name, checks=("matmul.rate",), over_time=over_time, samples=4 * len(values), by=("kernel mma-bf16",), values=tuple(
            DeviceValue(device=f"GPU-{at}", place=f"PCIE{at + 1}", value=value) for at, value in enumerate(values)))


def run(number: int, values: Sequence[float], name: str = BF16, over_time: float | None = 0.002, **changes: Any) -> Measurement:
    found = Measurement(
        run=f"R{number}", path="", started=1e9 + 86400 * number, box=f"W{number}", version="1.0", cards=(CARD,) * 7, devices=(),
        drivers=("driver 580",), phases=(("matmul", 60.0, {}),), planned_seconds=60.0, measured={name: measured(values, name, over_time)},
        missing={other: "not run" for other in limits_measured() if other != name}, injected=None, held=(), held_unread=(),
        hottest_celsius={}, most_watts=None)
    return msgspec.structs.replace(found, **changes)


def one(*runs: Measurement, name: str = BF16) -> Drafted:
    drafted, _ = limits_of(pattern_of(runs))
    (found,) = (each for each in drafted if each.limit == name)
    return found


def left_out(*runs: Measurement, name: str = BF16) -> LeftOut:
    _, without = limits_of(pattern_of(runs))
    (found,) = (each for each in without if each.limit == name)
    return found


SEVEN = (165.0, 164.0, 166.0, 163.5, 165.5, 164.5, 165.2)


def test_one_box_gets_the_normal_tolerance_limit_over_its_devices_and_over_time() -> None:
    found = one(run(0, SEVEN, over_time=0.004))
    logs = [math.log(value) for value in SEVEN]
    mean = sum(logs) / 7
    spread = math.sqrt(sum((log - mean) ** 2 for log in logs) / 6)
    exact = math.exp(mean - k_factor(7) * math.hypot(spread, 0.004))
    assert found.bound == pytest.approx(exact, rel=1e-3)
    assert found.bound <= exact, "rounded to the side on which more passes"
    assert "one box cannot show how boxes differ" in found.doubts
    assert (found.devices, found.boxes, found.runs, found.samples) == (7, 1, 1, 28)


def test_spread_over_time_makes_the_limit_looser() -> None:
    assert one(run(0, SEVEN, over_time=0.02)).bound < one(run(0, SEVEN, over_time=0.002)).bound


def test_several_boxes_get_the_spread_between_them() -> None:
    boxes = [run(at, [value * (1 + 0.01 * (at % 3 - 1)) for value in SEVEN]) for at in range(5)]
    found = one(*boxes)
    assert found.boxes == 5
    assert found.between_percent == pytest.approx(0.84, abs=0.05)
    assert "Krishnamoorthy" in found.rule
    assert not any("one box" in doubt for doubt in found.doubts)
    assert found.bound < one(boxes[0]).bound, "boxes differ by more than the devices of one"


def test_runs_of_one_box_count_once_with_the_worst_of_each_device() -> None:
    slower = [value * (0.99 if at == 2 else 1.01) for at, value in enumerate(SEVEN)]
    found = one(run(0, SEVEN), run(1, slower, box="W0"))
    assert (found.boxes, found.runs, found.devices) == (1, 2, 7)
    assert found.best == pytest.approx(165.5), "each device with its worst"
    assert found.worst == pytest.approx(163.5)


def test_nothing_says_whether_two_runs_are_of_one_box() -> None:
    pattern = pattern_of([run(0, SEVEN, box=""), run(1, SEVEN, box="")])
    assert len(pattern.boxes) == 1
    assert any("taken for one" in line for line in pattern.told)


def test_one_device_gets_what_others_published_and_it_is_said() -> None:
    found = one(run(0, [100.0], over_time=0.0))
    assert found.bound == pytest.approx(92.0, rel=1e-3)
    assert "SuperBench" in found.rule
    assert found.spread_percent is None


def test_devices_that_agree_get_half_a_percent() -> None:
    found = one(run(0, [100.0] * 7, over_time=0.0))
    assert found.bound == pytest.approx(99.5, abs=0.02)


def test_a_latency_is_limited_from_above() -> None:
    found = one(run(0, [100.0, 101.0, 99.0, 100.5], LATENCY), name=LATENCY)
    assert found.bound > found.worst == pytest.approx(101.0)
    assert outcome_of(101.0, Limit(LATENCY, "le", must=found.bound)) is Outcome.PASS


def test_an_outlier_is_named_and_still_passes() -> None:
    values = [165.0 + 0.01 * at for at in range(30)] + [150.0]
    found = one(run(0, values, cards=(CARD,) * 31))
    assert found.bound <= 150.0 * 0.996
    assert any("look at it first" in doubt for doubt in found.doubts)


def test_a_limit_looser_than_useful_says_so() -> None:
    found = one(run(0, [165.0, 160.0, 170.0, 155.0]))
    assert found.margin_percent > 15
    assert any("looser than useful" in doubt for doubt in found.doubts)


def test_a_useless_limit_is_left_out_with_its_number() -> None:
    found = left_out(*(run(at, [value * (1 + 0.03 * at) for value in SEVEN]) for at in range(2)))
    assert "half a link" in found.why
    assert found.measured is not None
    assert found.measured.margin_percent > 40


def test_what_one_run_did_not_measure_is_left_out() -> None:
    lacking = run(1, SEVEN, measured={}, missing=dict.fromkeys(limits_measured(), "matmul: not judged: no peer access"))
    assert left_out(run(0, SEVEN), lacking).why == "run R1: matmul: not judged: no peer access"


def test_no_limit_fails_what_it_was_made_of() -> None:
    """Boxes of any size and spread, skewed and not."""
    random = Random(5)
    for _ in range(60):
        boxes, devices, sigma = random.choice((1, 1, 2, 3, 6)), random.randrange(1, 9), random.choice((0.0, 0.002, 0.02))
        runs = [run(at, [max(1.0, 160 * math.exp(random.gauss(0, sigma) - random.expovariate(80))) for _ in range(devices)])
                for at in range(boxes)]
        for name in (BF16,):
            drafted, without = limits_of(pattern_of(runs))
            (found,) = [one for one in drafted if one.limit == name] or [
                one.measured for one in without if one.limit == name and one.measured]
            limit = Limit(name, "ge", must=found.bound)
            for each in runs:
                for value in each.measured[name].values:
                    assert outcome_of(value.value, limit) is Outcome.PASS
            assert outcome_of(found.bound * 0.9999, limit) is Outcome.FAIL, "a notch below"


@pytest.mark.parametrize(("other", "says"), [
    ({"cards": (Kind("RTX 3090", "10de:2204", 0xA1, 24),) * 7}, "RTX 3090"), ({"cards": (CARD,) * 6}, "6 x RTX 4090")])
def test_boxes_of_other_kinds_are_not_mixed(other: dict[str, Any], says: str) -> None:
    with pytest.raises(NotGood, match=says):
        pattern_of([run(0, SEVEN), run(1, SEVEN, **other)])


def test_a_run_named_twice_is_refused() -> None:
    with pytest.raises(NotGood, match="named twice"):
        pattern_of([run(0, SEVEN), run(0, SEVEN)])


def test_different_drivers_and_unread_clocks_are_told() -> None:
    pattern: Pattern = pattern_of([run(0, SEVEN), run(1, SEVEN, drivers=("driver 590",), held_unread=("PCIE3",))])
    assert any("different drivers" in line for line in pattern.told)
    assert any("PCIE3" in line for line in pattern.told)


def test_the_source_of_a_limit_says_all_of_it() -> None:
    said = in_words(one(*(run(at, [value * (1 + 0.002 * at) for value in SEVEN]) for at in range(3))))
    for part in ("mean 16", "worst 163.5", "21 devices in 3 boxes, 3 runs", "84 samples", "99 % of all such devices", "over time"):
        assert part in said, said


def test_every_rate_that_a_run_can_measure_is_asked_for() -> None:
    assert {"matmul.bf16_tflops", "vram.copy_gbs", "copy.host_to_device_gbs", "p2p.one_way_gbs", "nvme.random_p99_us",
            "dram.triad_gbs", "cpu.fp64_gflops", "collective.all_reduce_busbw_gbs", "net.gbs"} <= {*limits_measured()}
    assert all(LIMITS[name].low is not None and LIMITS[name].high is not None for name in limits_measured())
