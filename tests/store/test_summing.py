"""What is judged from columns, without what nobody judges and phase by phase, is what all of it comes to."""

from __future__ import annotations

import ast
import random
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from boxcheck.engine.inspect import Facts
from boxcheck.engine.rejudge import rejudge
from boxcheck.engine.stress import judge_results
from boxcheck.model import Bdf, Unread
from boxcheck.profile import load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.report.stress import stress_object
from boxcheck.store import results as store_results
from boxcheck.store.creating import create_run
from boxcheck.store.reader import RunReader
from boxcheck.store.results import NOT_JUDGED, results_of, watching_of
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.stress.tally import Tally
from boxcheck.telemetry.readings import Count, GpuReading, Named
from boxcheck.telemetry.throttle import Throttle
from tests.bench.store_size import simulate_plan
from tests.store.machine import HandClock, Machine

PACKAGE = Path(__file__).parents[2] / "boxcheck"
CAP, OTHER = Throttle("SwPowerCap", "power cap", "power-cap"), Throttle("Other", "power cap", "current")
HELD = ((), (CAP,), (OTHER,), (Throttle("HwSlowdown", "hardware slowdown", "hardware"), CAP))


def some_reading(some: random.Random, bdf: Bdf, now: float, counts: list[int], steady: bool) -> GpuReading:
    """Of a GPU that told what it always tells, or of one that sometimes does not."""
    def lost(value: object) -> object:
        return Unread("timeout", "timeout") if not steady and some.random() < 0.1 else value

    if some.random() < 0.2:
        counts[some.randrange(2)] = some.randrange(5)
    sensors = tuple(Named(name, lost(float(some.randrange(40, 90)))) for name in ("core", "mem"))  # type: ignore[arg-type]
    errors = tuple(Count(name, lost(one)) for name, one in zip(("corrected", "uncorrected"), counts, strict=True))  # type: ignore[arg-type]
    return GpuReading(
        bdf=bdf, monotonic_seconds=round(now + some.choice((0.0, 0.0, -0.4)), 3), power_watts=lost(some.uniform(10, 450)),  # type: ignore[arg-type]
        power_instant_watts=Unread("no such file", "absent") if steady else lost(some.uniform(10, 450)),  # type: ignore[arg-type]
        temperatures_celsius=lost(sensors),  # type: ignore[arg-type]
        throttle=lost(some.choices(HELD, (8, 4, 1, 1))[0]),  # type: ignore[arg-type]
        memory_errors=lost(errors if some.random() < 0.9 or steady else ()))  # type: ignore[arg-type]


def test_readings_summed_up_by_columns_come_to_the_same_as_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some, machine = random.Random(5), Machine(4)
    by_columns: Counter[bool] = Counter()
    whether = store_results._summed_up

    def counted(*args: object) -> bool:
        found = whether(*args)  # type: ignore[arg-type]
        by_columns[found] += 1
        return found

    monkeypatch.setattr(store_results, "_summed_up", counted)
    for _ in range(5):
        hand, tally, counts = HandClock(), Tally(machine.gpus), [[0, 0] for _ in machine.bdfs]
        store = create_run(str(tmp_path), RunInfo(kind="burn", version="0.4.0"), clock=hand.clock())
        store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul"))
        store.begin_phase(1, PhaseStart(gpus=machine.gpus))
        for second in range(1000):
            hand.pass_by(1)
            for number, bdf in enumerate(machine.bdfs):
                told = (some_reading(some, bdf, hand.monotonic, counts[number], steady=number < 3),)
                tally.add(told)
                store.watched(1, told)
            if second % 50 == 49:
                assert store.flush() is None
        store.close()
        with RunReader(store.path) as reader:
            by_column = watching_of(reader, 1)
            with monkeypatch.context() as patched:
                patched.setattr(store_results, "_summed_up", lambda *_: False)
                assert msgspec.json.encode(watching_of(reader, 1)) == msgspec.json.encode(by_column)
            live, key = tally.result(), machine.gpus[0].key
            assert by_column.courses[key] == live.courses[key]
            assert by_column.throttled[key] == live.throttled[key]
            assert by_column.memory_errors[key] == live.memory_errors[key]
            assert by_column.hottest_celsius == live.hottest_celsius
    assert by_columns[True] > 50
    assert by_columns[False] > 50


def test_nothing_that_judges_looks_at_what_is_left_out() -> None:
    files = [
        *(PACKAGE / "report").glob("*.py"), *(PACKAGE / "engine").glob("*.py"), *(PACKAGE / "stress").glob("*_checks.py"),
        *(PACKAGE / "stress").glob("*judging.py"), *(PACKAGE / "stress").glob("link_*.py"), PACKAGE / "stress" / "ceilings.py"]
    assert len(files) > 80
    looked = {
        f"{path.name}: {node.value}" for path in files for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in NOT_JUDGED}
    assert looked == set()


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ten minutes by the plan of a burn-in."""
    return simulate_plan(str(tmp_path_factory.mktemp("day")), seconds=600)


def test_findings_are_the_same_without_what_nobody_judges(day: str) -> None:
    discover()
    discover_stress()
    want, left_out = load_profile("wopr-7x4090"), 0
    with RunReader(day) as reader:
        for phase in reader.phases():
            if phase.plan.module:
                whole, judged = (
                    results_of(reader, phase.plan.number, only_judged=only) for only in (False, True))
                left_out += sum(len(NOT_JUDGED & {*one.notes}) for one in whole.samples)
                assert not any(NOT_JUDGED & {*one.notes} for one in judged.samples)
                watching = watching_of(reader, phase.plan.number)
                first, again = (judge_results(one, watching, Facts(), want) for one in (whole, judged))
                assert msgspec.json.encode(first) == msgspec.json.encode(again)
    assert left_out > 1000


def test_a_run_is_judged_phase_by_phase_and_its_account_has_rows_of_all_samples(day: str) -> None:
    spent = time.process_time()
    with RunReader(day) as reader:
        run = rejudge(reader, load_profile("generic"), False)
        samples = Counter(one.phase for one in reader.samples())
        numbers = [phase.plan.number for phase in reader.phases() if phase.plan.module]
    assert time.process_time() - spent < 20
    assert not any(results.samples for results in run.results)
    found = stress_object(run, "0.4.0")
    assert [sum(row["samples"] for row in module["rows"]) for module in found["modules"]] == [
        samples[number] for number in numbers]
    assert {module["name"] for module in found["modules"]} >= {"matmul", "copy", "p2p", "collective"}
    assert all(module["samples"] == [] for module in found["modules"])
