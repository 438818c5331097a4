"""A device that at some moment stops to do what it is told, or to see what it compares, passes no module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest

from boxcheck.gpu import GpuError
from boxcheck.model import Outcome
from boxcheck.profile import Profile
from boxcheck.registry import CHECKS, STRESSES, discover_stress, run_check
from boxcheck.stress import Rig, Sample
from tests.stress.stopped_doubles import Deed, GoesBlind, Stops, Through
from tests.stress.transfer_doubles import processors, results_of

discover_stress()
MODULES: dict[str, tuple[int, dict[str, str]]] = {
    "matmul": (1, {"elements": "bf16"}), "vram": (1, {"megabytes": "1", "rest": "0.01"}), "copy": (1, {}),
    "p2p": (2, {}), "collective": (2, {}), "power-pulse": (1, {"hertz": "20", "duty": "0.9"}), "wake": (1, {})}
"""By module of GPUs: how many devices, and options."""
Make = Callable[[Any, int | None], Through]
DEEDS: dict[str, frozenset[Deed]] = {
    "everything": frozenset(("launch", "copy", "write")), "launches and copies": frozenset(("launch", "copy")),
    "launches": frozenset(("launch",)), "copies": frozenset(("copy",))}
SECONDS = {"matmul": 1e-9}
"""What is not 0, which does everything once, and how often does not go by the clock: no digest is taken then."""
OF_RESULTS = ("wrong", "self-test", "repeatability", "inputs")
"""In the names of checks that say what is right; others are of rates, and of how much was tested."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxcheck.stress.matmul_power.BATCH_SECONDS", 0.01)
    monkeypatch.setattr("boxcheck.stress.wake.TEST_BYTES", 64 << 10)


def _samples(module: str, gpus: Sequence[Any]) -> tuple[list[Sample], bool]:
    """What a run of the least length gives, and whether it came to its end."""
    samples: list[Sample] = []
    options = {"size": "test", **MODULES[module][1]}
    try:
        samples.extend(STRESSES[module].function(Rig(gpus, seconds=SECONDS.get(module, 0.0), options=options)))
    except GpuError:
        return samples, False
    return samples, True


def _gpus(module: str, make: Make, first: int | None) -> list[Any]:
    """Devices, of which the first one does wrong."""
    found = processors(MODULES[module][0])
    return [make(gpu, first if gpu is found[0] else None) for gpu in found]


def _passes(module: str, gpus: Sequence[Any]) -> bool:
    samples, ended = _samples(module, gpus)
    results = results_of(module, gpus, samples)
    nothing = Profile(name="none", revision=1, title="no limits")
    right = ["stress.wrong-results", *(
        id for id, check in CHECKS.items() if check.stress == module and any(word in id for word in OF_RESULTS))]
    outcomes = {finding.outcome for id in right for finding in run_check(CHECKS[id], (results,), nothing)}
    return ended and outcomes <= {Outcome.PASS, Outcome.SKIP}


@cache
def _orders(module: str, what: str) -> int:
    """How many orders of this kind a run gives to the first device."""
    for _ in range(5):  # a pulse may be missed on a busy machine
        gpus = _gpus(module, _maker(what), None)
        if _passes(module, gpus):
            return int(gpus[0].orders)
    raise AssertionError("no sound device passes")


def _maker(what: str) -> Make:
    return GoesBlind if what == "blind" else lambda gpu, first: Stops(gpu, first, DEEDS[what])


@pytest.mark.parametrize("what", sorted(DEEDS))
@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_device_that_stops_to_work_does_not_pass(module: str, what: str) -> None:
    """From its first order on, at some moments between, and from one of the last on."""
    count = _orders(module, what)
    _none_passes(module, what, {0, 1, 3, *(count * at // 7 for at in range(1, 7)), count - 2, count - 1}, count)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_device_whose_comparisons_become_blind_does_not_pass(module: str) -> None:
    count = _orders(module, "blind")
    assert count or module == "wake"  # where the host compares
    _none_passes(module, "blind", {0, 1, *(count * at // 7 for at in range(1, 7)), count - 7}, count)


def _none_passes(module: str, what: str, moments: set[int], count: int) -> None:
    begun = 0
    for first in sorted(moments & set(range(count))):
        gpus = _gpus(module, _maker(what), first)
        passes = _passes(module, gpus)
        begun += gpus[0].begun
        assert not (passes and gpus[0].begun), (first, count)
    assert begun >= min(count, 4)
