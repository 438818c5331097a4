"""Matrix products on every core: right ones pass, and each fault is found with the core that it is on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcheck.engine.messages import Run
from boxcheck.engine.supervise import Crew, list_devices
from boxcheck.gpu import GpuError
from boxcheck.model import Outcome
from boxcheck.registry import STRESSES
from boxcheck.stress import Trouble, host_team
from boxcheck.stress.host_cpu_products import BITS, Products, integers
from tests.stress.host_doubles import failure, only, outcomes, run

CORES = sorted(os.sched_getaffinity(0))
LAST = CORES[-1]
"""Faults are put on the last core; siblings of it are none on the machines that run this test with two threads a core."""
RIGHT = ("cpu.wrong-elements", "cpu.damaged-inputs", "cpu.core-lost")


@pytest.mark.parametrize("element", ["fp64", "fp32"])
def test_a_thousand_products_are_right_and_nothing_is_found(element: Any) -> None:
    product = Products(element, 64, 3)
    for number in range(1000):
        product.multiply(number)
        assert len(product.verify(number)) == 0
    assert product.damaged_inputs("here") == (0, [])


@pytest.mark.parametrize("element", ["fp64", "fp32"])
def test_products_are_those_of_integers_without_bounds(element: Any) -> None:
    product = Products(element, 16, 5)
    inputs = [integers(element, which, np.arange(16), 16, 5).astype(object) for which in range(3)]
    for number in range(2):
        product.multiply(number)
        assert (product.c.astype(object) == inputs[0] @ inputs[1 + number].T).all()
        assert (product.expected(number, 7) == product.c[7].view(product.kind.bits)).all()


def test_exact_data_stays_exact_at_full_size() -> None:
    side, most = full_side(), 1 << (BITS["fp64"] - 1)
    assert most * most * side < 2**53
    a, b = (integers("fp32", which, np.arange(64), side, 1) for which in (0, 1))
    assert max(abs(a).max(), abs(b).max()) == 255
    partial = np.abs(np.cumsum(a[:, None, :] * b[None, :, :], axis=2)).max()
    assert partial < 2**24 / 4  # in this order; the limit is 24 deviations away in any
    assert 2**24 / (np.sqrt(side) * (511**2 - 1) / 12) > 8


def full_side() -> int:
    from boxcheck.stress.host_cpu import FULL_SIDE

    return FULL_SIDE


@pytest.mark.parametrize("element", ["fp64", "fp32"])
def test_every_bit_of_a_result_counts(element: Any) -> None:
    product = Products(element, 32, 9)
    for number in range(2):
        product.multiply(number)
        assert len(product.verify(number)) == 0
    bits = product.c.view(product.kind.bits)
    width = 8 * bits.itemsize
    for bit in range(width):
        product.multiply(0)
        row, column = bit % 32, (7 * bit) % 32
        bits[row, column] ^= product.kind.bits(1 << bit)
        rows = product.verify(0)
        assert rows.tolist() == [row]
        count, (word,) = product.locate(0, rows, "core 3")
        assert (count, word.kind, word.flipped) == (1, "one bit", 1 << bit)
        assert word.where == f"core 3, row {row}, column {column}"


@pytest.mark.parametrize("damage", [np.nan, np.inf, 0.5, -3.0])
def test_the_first_product_is_proven_by_integers(damage: float) -> None:
    product = Products("fp64", 32, 9)
    product.multiply(0)
    product.c[4, 5] = damage
    assert product.verify(0).tolist() == [4]
    product.multiply(0)
    assert product.verify(0).tolist() == []


def test_every_element_of_the_inputs_is_compared() -> None:
    product = Products("fp32", 32, 9)
    product.b[1].view(np.uint32)[3, 4] ^= np.uint32(1)
    count, (word,) = product.damaged_inputs("core 0")
    assert (count, word.where) == (1, "core 0, input B of the other product, element 100")
    assert product.damaged_inputs("core 0")[0] == 0  # it was made anew


# The whole module.


def test_a_sound_processor_passes_and_every_core_worked() -> None:
    results = run("cpu", seconds=0.8)
    for check in RIGHT:
        assert outcomes(check, results) == {Outcome.PASS}, check
    exact = [one for one in results.samples if one.what.endswith(".exact")]
    assert len({one.notes["core"] for one in exact}) == len(exact_cores())
    assert all(one.checked and not one.wrong for one in results.samples)
    assert {one.what for one in results.samples} == {
        "cpu.cores", *(f"cpu.{element}.{end}" for element in ("fp64", "fp32") for end in ("exact", "inputs", "together"))}
    assert sum(int(one.notes["products"]) for one in exact) > 2 * len(exact_cores())


def exact_cores() -> tuple[Any, ...]:
    from boxcheck.host.live import LiveHost
    from boxcheck.stress.host_cores import cores

    return cores(LiveHost(), CORES)


def last_core() -> str:
    return f"core {exact_cores()[-1].cpu}"


@pytest.mark.parametrize("fault", ["flip-output", "stale"])
def test_a_wrong_product_is_found_with_its_core(fault: str) -> None:
    finding = failure("cpu.wrong-elements", run("cpu", fault=fault, after=3, seconds=0.2, elements="fp32"))
    assert str(finding.subject) == last_core()
    assert f"{last_core()}, row " in finding.notes[0]
    assert ("one bit" in finding.notes[0]) == (fault == "flip-output")
    assert ("the result of the time before" in finding.notes[0]) == (fault == "stale")


def test_a_damaged_input_is_told_from_wrong_arithmetic() -> None:
    results = run("cpu", fault="flip-input", after=1, seconds=0.2, elements="fp64")
    assert str(failure("cpu.damaged-inputs", results).subject) == last_core()
    assert "input A, element " in failure("cpu.damaged-inputs", results).notes[0]


def test_a_core_that_becomes_slow_is_found() -> None:
    results = run("cpu", seconds=2.0, fault="slow", elements="fp64")
    assert str(failure("cpu.rate-drop", results).subject) == last_core()
    assert outcomes("cpu.rate-drop", run("cpu", seconds=0.5, elements="fp64")) == {Outcome.PASS}


def test_a_core_that_hangs_is_found_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_team, "HUNG_SECONDS", 1.0)
    results = run("cpu", fault="hang", seconds=0.3, elements="fp64")
    finding = failure("cpu.core-lost", results)
    assert str(finding.subject) == last_core()
    assert "no sign of life for 1 s" in finding.says
    if len(exact_cores()) > 1:
        assert outcomes("cpu.wrong-elements", results) == {Outcome.PASS}


@pytest.mark.parametrize(("number", "outcome"), [(signal.SIGSEGV, Outcome.FAIL), (signal.SIGKILL, Outcome.UNKNOWN)])
def test_a_core_whose_process_is_killed_is_named(number: int, outcome: Outcome) -> None:
    killed: list[int] = []

    def kill(text: str, done: float) -> None:
        if not killed and done > 0.2:
            killed.extend(children()[-1:])
            os.kill(killed[0], number)

    results = run("cpu", seconds=0.5, elements="fp64", beat=kill)
    if len(exact_cores()) == 1 and number == signal.SIGSEGV:
        pytest.skip("with one core all of them crashed")
    assert outcomes("cpu.core-lost", results) == {outcome}


def children() -> list[int]:
    """Processes that this one started and that still run a module of the host, in order."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status = (path / "stat").read_text().rpartition(")")[2].split()
            if int(status[1]) == os.getpid() and b"host_child" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return sorted(found)


def test_no_process_stays_behind() -> None:
    assert children() == []
    began = time.monotonic()
    results = run("cpu", seconds=60, stopping=lambda: time.monotonic() - began > 0.6)
    assert time.monotonic() - began < 8
    assert children() == []
    assert results.samples


def test_a_processor_that_may_not_be_pinned_is_a_clear_sentence() -> None:
    from boxcheck.stress.host_child import pin

    with pytest.raises(GpuError, match="may not be pinned to processor 60000"):
        pin(60000)


@pytest.mark.parametrize(("option", "word", "says"), [
    ("elements", "fp7", "there is no element 'fp7' here"), ("threads", "two", "threads=two is neither")])
def test_impossible_options_are_refused_in_words(option: str, word: str, says: str) -> None:
    with pytest.raises(GpuError, match=says):
        run("cpu", **{option: word})


def test_it_runs_in_a_worker_which_takes_its_processes_with_it() -> None:
    cpus = list_devices("cpu")
    assert not isinstance(cpus, Trouble)
    with Crew([[cpus[0]]]) as crew:
        (worker,) = crew.open_workers()
        (part,) = crew.run(Run(module="cpu", seconds=0.3, seed=1, options={"size": "test", "elements": "fp64"}))
        pid = worker.pid
    assert part.trouble is None
    assert any(one.what == "cpu.fp64.together" and one.checked for one in part.samples)
    listed = subprocess.run(["ps", "-o", "pid=", "-g", str(pid)], capture_output=True, text=True, check=False)
    assert listed.stdout.split() in ([], [str(pid)])


def test_the_module_names_its_faults() -> None:
    assert STRESSES["cpu"].faults == ("flip-output", "flip-input", "stale", "hang", "slow")
    assert only("cpu.rate", run("cpu", seconds=0.1, elements="fp32")).outcome is Outcome.SKIP
