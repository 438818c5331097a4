"""The table of rates: what is expected beside what was measured, within the width of a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Finding, Limit
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS, discover_stress, run_check
from boxcheck.report.measured import ColumnRows, measured_of
from boxcheck.report.stress_rates import Row, rows_of, table
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of
from boxcheck.stress import Sample, StressResults
from tests.bench.store_size import simulate_plan
from tests.report.stored import EVERY, stored

discover_stress()
NONE = Profile(name="none", revision=1, title="no limits")
BF16 = Limit("matmul.bf16_tflops", "ge", must=140.0, should=160.0, unit="TFLOPS", source="test")
TO_GPU = Limit("copy.host_to_device_gbs", "ge", must=24.0, unit="GB/s", source="test")
VRAM = Limit("vram.copy_gbs", "ge", must=800.0, unit="GB/s", source="test")


def _want(*limits: Limit) -> Profile:
    return msgspec.structs.replace(NONE, limits={one.name: one for one in limits})


def _gpu(index: int, **changes: Any) -> GpuInfo:
    info = GpuInfo(
        backend="cuda", index=index, name="NVIDIA GeForce RTX 4090", arch="sm_89", bdf=Bdf(f"0000:{index + 1:02x}:00.0"),
        pci_id="10de:2684", pci_revision=0xA1, memory_bytes=1 << 34, free_bytes=1 << 34, compute_units=128, unified=False,
        is_gpu=True, driver="CUDA 13.0")
    return msgspec.structs.replace(info, **changes)


def _sample(what: str, gpu: str = "cuda:0", value: float | None = None, **changes: Any) -> Sample:
    unit = "TFLOPS" if what.startswith("matmul") else "GB/s"
    return Sample(**{
        "what": what, "gpu": gpu, "seconds": 0.3, "value": value, "unit": unit if value is not None else "", "checked": 9,
        "of": "digests", "wrong": 0, "notes": {"kernel": "mma", "together": "no"}, **changes})


def _results(module: str, samples: list[Sample], count: int = 1, **changes: Any) -> StressResults:
    infos = tuple(_gpu(at) for at in range(count))
    made = StressResults(
        module=module, gpus=infos, samples=tuple(samples), troubles=(), ended=tuple(one.key for one in infos))
    return msgspec.structs.replace(made, **changes)


def _findings(results: StressResults, want: Profile, *ids: str) -> list[Finding]:
    return [one for id in ids for one in run_check(CHECKS[id], [results], want)]


def _row(rows: list[Row], what: str, gpu: str = "cuda:0") -> Row:
    (found,) = [one for one in rows if (one.what, one.gpu) == (what, gpu)]
    return found


def test_what_a_rate_should_be_stands_beside_it() -> None:
    results = _results("matmul", [
        _sample("matmul.bf16.power", value=150.0), _sample("matmul.bf16.power", value=152.0),
        _sample("matmul.bf16.power", "cuda:1", 168.0)], 2)
    rows = rows_of(results, _findings(results, _want(BF16), "matmul.rate", "matmul.rate-advised"))
    first, second = _row(rows, "bf16.power"), _row(rows, "bf16.power", "cuda:1")
    assert (first.expected, first.percent, first.from_database) == (160.0, 94.375, False)
    assert (second.expected, second.percent) == (160.0, 105.0)


def test_the_percent_is_of_the_value_that_was_judged_and_not_of_the_best() -> None:
    """Copies are judged by the middle of those that were made alone."""
    results = _results("copy", [_sample("copy.host-to-device.pinned", value=value, peer="host") for value in (20, 24, 30)])
    row = _row(rows_of(results, _findings(results, _want(TO_GPU), "copy.rate")), "host-to-device.pinned")
    assert (row.best, row.expected, row.percent) == (30, 24.0, 100.0)


def test_of_two_ways_to_copy_the_one_that_was_judged_has_the_limit() -> None:
    results = _results("vram", [_sample("vram.copy", value=850.0), _sample("vram.copy.engine", value=880.0)])
    rows = rows_of(results, _findings(results, _want(VRAM), "vram.rate"))
    assert _row(rows, "copy").expected is None
    assert (_row(rows, "copy.engine").expected, round(_row(rows, "copy.engine").percent or 0)) == (800.0, 110)


def test_without_a_limit_the_database_tells_what_others_measured_and_says_so() -> None:
    results = _results("matmul", [_sample("matmul.bf16.power", value=162.0), _sample("matmul.int8.power", value=400.0)])
    rows = rows_of(results, _findings(results, NONE, "matmul.rate"))
    assert (_row(rows, "bf16.power").expected, _row(rows, "bf16.power").percent) == (162.0, 100.0)
    assert _row(rows, "int8.power").expected is None  # nobody measured it
    told = [line for line, _ in table("matmul", rows, 120)]
    assert "162*" in told[1]
    assert told[-1] == "  * the lowest that others measured on such a card; not judged"
    for other in (_results("matmul", list(results.samples), full_size=False),
                  _results("matmul", list(results.samples), gpus=(_gpu(0, pci_id=None),)),
                  _results("matmul", list(results.samples), gpus=(_gpu(0, uuid="MIG-11"),))):
        assert _row(rows_of(other), "bf16.power").expected is None


def _seven(module: str, whats: list[str], value: float | None, **changes: Any) -> StressResults:
    return _results(module, [
        _sample(what, f"cuda:{at}", value, checked=12_345_678_901, **changes) for at in range(7) for what in whats], 7)


COPIES = [f"copy.{both}{way}.{kind}" for kind in ("pinned", "pageable") for both in ("", "both.")
          for way in ("host-to-device", "device-to-host")]


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    copied = _seven("copy", COPIES, 26.87, peer="host")
    products = _seven("matmul", [f"matmul.{name}.power" for name in ("bf16", "fp16", "e4m3")], 1234.5)
    for results, want, id in ((copied, _want(TO_GPU), "copy.rate"), (products, _want(BF16), "matmul.rate")):
        rows = rows_of(results, _findings(results, want, id))
        lines = [line for line, _ in table(results.module, rows, columns)]
        assert max(map(len, lines)) <= columns
        assert "expected" in lines[0]
        assert sum(" % " in f"{line} " for line in lines) >= 7


def test_a_narrow_table_loses_no_wrong_word_and_nothing_that_was_verified() -> None:
    results = _results("copy", [
        _sample("copy.self-test", checked=100, of="words"),
        _sample("copy.both.host-to-device.pageable", value=20.0, checked=1000, of="words", wrong=3, peer="host"),
        _sample("copy.both.host-to-device.pageable", value=20.0, checked=1000, of="words", peer="host"),
        _sample("copy.self-test", "cuda:1", checked=50, of="words", wrong=1)], 2)
    lines = list(table("copy", rows_of(results), 60))
    assert [line for line, is_wrong in lines if is_wrong] == [
        "  both.host-to-device.pageable  cuda:0    20      20  GB/s",
        "  WRONG: both.host-to-device.pageable on cuda:0: 3 of 2 000 words",
        "  WRONG: self-test on cuda:1: 1 of 50 words"]
    assert [line for line, _ in lines[-2:]] == ["  verified on cuda:0: 2 100 words", "  verified on cuda:1: 50 words"]
    wide = list(table("copy", rows_of(results), 120))
    assert [line.split()[-1] for line, _ in wide[1:]] == ["0", "3", "1"]


def same_by_columns(path: str) -> set[str]:
    """The modules of a store, after their rows by columns were held against those by samples."""
    seen = set()
    with RunReader(path) as reader:
        for phase in reader.phases():
            if not phase.plan.module or phase.about is None:
                continue
            rows = ColumnRows(phase.plan.module)
            some = results_of(reader, phase.plan.number, only_judged=True, seen=rows.see, wanted=rows.wanted)
            whole = results_of(reader, phase.plan.number, only_judged=True)
            by_columns, by_samples = rows.result(some), measured_of(whole)
            assert list(by_columns.rows.items()) == list(by_samples.rows.items())
            assert by_columns.matrices == by_samples.matrices
            assert msgspec.structs.replace(some, samples=()) == msgspec.structs.replace(whole, samples=())
            moved = [one.moved for one in whole.samples if one.moved]
            assert [one.moved for one in some.samples if one.moved] == moved, "what crossed the links is all there"
            seen |= {phase.plan.module} if whole.samples else set()
    return seen


@pytest.mark.parametrize("name", EVERY)
def test_rows_by_columns_are_those_by_samples(name: str) -> None:
    assert same_by_columns(stored(name)) or name == "nothing-yet"


def test_rows_of_every_module_are_the_same_by_columns(tmp_path: Path) -> None:
    seen = same_by_columns(simulate_plan(str(tmp_path), seconds=120))
    assert {"matmul", "vram", "copy", "p2p", "collective", "cpu", "dram"} <= seen
