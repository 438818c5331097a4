"""A rate that was kept: enough is a pass, too little is a finding, and more than there can be is unknown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.model import Limit, Outcome
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.kept import judge_kept, percent, small_sizes
from tests.stress.transfer_doubles import doubles, judge, processors, results_of

LIMIT = Limit("test.drop", "ge", must=50.0, should=85.0, unit="%", source="test")


@pytest.mark.parametrize(("kept", "gpu", "processor"), [
    (49.9, Outcome.FAIL, Outcome.FAIL), (50.0, Outcome.MARGINAL, Outcome.MARGINAL), (85.0, Outcome.PASS, Outcome.PASS),
    (200.0, Outcome.PASS, Outcome.PASS), (200.1, Outcome.UNKNOWN, Outcome.PASS), (1000.1, Outcome.UNKNOWN, Outcome.UNKNOWN),
    (float("nan"), Outcome.UNKNOWN, Outcome.UNKNOWN), (float("inf"), Outcome.UNKNOWN, Outcome.UNKNOWN)])
def test_what_no_device_keeps_is_unknown(kept: float, gpu: Outcome, processor: Outcome) -> None:
    for device, outcome in ((doubles(1)[0], gpu), (processors(1)[0], processor)):
        finding = judge_kept(results_of("copy", [device], []), device.info, kept, LIMIT, "says", ())
        assert finding.outcome is outcome, device.info.name


def test_a_rate_of_nothing_at_the_start_divides_by_nothing() -> None:
    assert percent([3.0, 1.0, 2.0], [1.0]) == 200.0
    assert percent([1.0], [0.0]) > 1e9


def _falling(what: str, unit: str, values: list[float], **notes: Any) -> StressResults:
    (gpu,) = doubles(1)
    samples = [
        Sample(what=what, gpu=gpu.info.key, peer="host", seconds=1.0, value=value, unit=unit, checked=1, wrong=0, notes=notes)
        for value in values]
    return msgspec.structs.replace(results_of(what.split(".")[0], [gpu], samples), full_size=True)


@pytest.mark.parametrize(("id", "what", "unit", "notes"), [
    ("matmul.rate-drop", "matmul.bf16.power", "TFLOPS", {"shape": "8192x8192x8192"}),
    ("vram.rate-drop", "vram.inversion", "GB/s", {"accounting": "read+write"}),
    ("copy.rate-drop", "copy.host-to-device.pinned", "GB/s", {"bytes": 1 << 28, "together": "no"})])
def test_every_module_calls_a_rate_that_explodes_unknown(id: str, what: str, unit: str, notes: dict[str, Any]) -> None:
    for last, outcome in ((110.0, Outcome.PASS), (40.0, Outcome.FAIL), (7e6, Outcome.UNKNOWN)):
        (finding,) = judge(id, _falling(what, unit, [100.0] * 12 + [last] * 8, **notes))
        assert finding.outcome is outcome, last


def test_a_series_that_explodes_is_not_hidden_by_one_that_does_not() -> None:
    sound = _falling("matmul.bf16.power", "TFLOPS", [100.0] * 20, shape="a")
    wild = _falling("matmul.bf16.power", "TFLOPS", [100.0] * 12 + [7e6] * 8, shape="b")
    both = msgspec.structs.replace(sound, samples=(*sound.samples, *wild.samples))
    (finding,) = judge("matmul.rate-drop", both)
    assert finding.outcome is Outcome.UNKNOWN


def test_on_small_sizes_a_drop_is_not_judged_unless_a_fault_was_put_in() -> None:
    """A busy machine takes a processor away for a while, which is nobody's fault."""
    results = StressResults(module="matmul", gpus=(), samples=(), troubles=(), ended=(), full_size=False)
    small = small_sizes(results)
    assert small is not None
    assert small.outcome is Outcome.SKIP
    assert small_sizes(msgspec.structs.replace(results, injected="slow")) is None
    assert small_sizes(msgspec.structs.replace(results, full_size=True)) is None
    for check in ("matmul", "vram", "copy", "p2p", "collective"):
        assert judge(f"{check}.rate-drop", msgspec.structs.replace(results, module=check)) == [
            msgspec.structs.replace(small, check=f"{check}.rate-drop")]
