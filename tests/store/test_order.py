"""What is judged from a store is what was judged while it ran: the same samples in the same order, the same findings."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from boxcheck.engine.inspect import Facts
from boxcheck.engine.messages import Beat, Watched
from boxcheck.engine.modules import Wanted, run_together
from boxcheck.engine.stress import judge_results
from boxcheck.engine.supervise import list_devices
from boxcheck.gpu import GpuInfo
from boxcheck.profile import load_profile
from boxcheck.registry import STRESSES, Stress, discover, discover_stress
from boxcheck.store.creating import create_run
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of, watching_of
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.stress import Sample, StressResults, Trouble
from boxcheck.stress.watched import Watching

ENVIRONMENT = {**os.environ, "BOXCHECK_CPU_DEVICES": "3", "OPENBLAS_NUM_THREADS": "1"}
GENERIC = "generic"


def ran(folder: Path, *names: str, seconds: float) -> tuple[list[tuple[StressResults, Watching]], str]:
    """Results of modules on three devices as the engine has them, and the store that was written meanwhile."""
    discover_stress()
    gpus = list_devices("cpu", environment=ENVIRONMENT)
    assert not isinstance(gpus, Trouble)
    assert len(gpus) == 3
    modules = [STRESSES[name] for name in names]
    numbers = {name: number for number, name in enumerate(names, 1)}
    store = create_run(str(folder), RunInfo(kind="burn", version="0.4.0"), least_free_bytes=0)
    for name, number in numbers.items():
        store.plan_phase(PhasePlan(number=number, name=name, module=name))
        store.begin_phase(number, PhaseStart(gpus=gpus, full_size=False))

    def seen(module: Stress, worker: int, of: tuple[GpuInfo, ...], what: Beat | Sample | Watched) -> None:
        if isinstance(what, Watched):
            store.watched(numbers[module.name], what.readings)
        elif isinstance(what, Sample):
            store.sample(numbers[module.name], what, worker=worker)

    options = {"megabytes": "1"} if names == ("copy",) else {"elements": "bf16"}
    wanted = Wanted(modules=names, seconds=seconds, backend="cpu", options=options, environment=ENVIRONMENT)
    live = run_together(modules, gpus, {}, wanted, seen=seen)
    for name, (results, _) in zip(names, live, strict=True):
        store.end_phase(numbers[name], results)
    assert store.end("finished") is None
    return live, store.path


@pytest.mark.parametrize("names", [("copy",), ("matmul", "power-pulse")], ids=["each alone first", "two at once"])
def test_a_store_judges_as_the_run_did_with_samples_in_their_order(tmp_path: Path, names: tuple[str, ...]) -> None:
    live, path = ran(tmp_path, *names, seconds=1.5)
    discover()
    want = load_profile(GENERIC)
    with RunReader(path) as run:
        for number, (results, watching) in enumerate(live, 1):
            stored = results_of(run, number)
            assert [(one.what, one.gpu) for one in stored.samples] == [(one.what, one.gpu) for one in results.samples]
            assert stored == results
            again, _ = judge_results(stored, watching_of(run, number), Facts(), want)
            first, _ = judge_results(results, watching, Facts(), want)
            assert msgspec.json.encode(again) == msgspec.json.encode(first)
            assert first
    if names == ("copy",):
        together = Counter(one.notes.get("together") for one in live[0][0].samples if "together" in one.notes)
        assert min(together["yes"], together["no"]) >= 3, "both rounds gave samples"
