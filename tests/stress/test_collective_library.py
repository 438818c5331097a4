"""NCCL beside boxcheck's ring: verified as the ring is, told apart from it, left out where it cannot be used."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.gpu import GpuError
from boxcheck.model import Finding, Outcome
from boxcheck.stress import Rig, Sample, StressResults, Trouble, collective_library, collective_train
from boxcheck.stress.collective import LIBRARY, NAMES, bus_factor, collective
from boxcheck.stress.collective_ring import Ring
from boxcheck.stress.faults import FaultyGpu
from tests.gpu.mock_blas.build import Mock, has_compiler
from tests.gpu.nccl_doubles import devices, only, paper
from tests.stress.transfer_doubles import collect, doubles, judge, outcomes, processors, results_of, run

pytestmark = pytest.mark.skipif(not has_compiler(), reason="no gcc to build a library of paper with")
ENGINE = "nccl 2.32.3"


def no_products(rig: Rig) -> Generator[Sample, None, list[Any]]:
    yield from ()
    return []


@pytest.fixture
def nccl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mock:
    monkeypatch.setattr(collective_train, "prepare", no_products)
    return paper(monkeypatch, tmp_path)


def theirs(results: StressResults, name: str = "") -> list[Sample]:
    return [one for one in results.samples if one.what.startswith(f"{LIBRARY}.{name}")]


def one(id: str, results: StressResults) -> Finding:
    (finding,) = judge(id, results)
    return finding


def full(results: StressResults) -> StressResults:
    return msgspec.structs.replace(results, full_size=True)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_library_does_what_the_ring_does_and_every_word_is_compared(nccl: Mock, count: int) -> None:
    gpus = devices(count)
    results = run("collective", gpus, seconds=0.0)
    granules = Ring(Rig(gpus, seconds=0, options={"size": "test"})).granules // count * count
    for name in NAMES:
        mine = theirs(results, name)
        assert [sample.gpu for sample in mine] == [gpu.info.key for gpu in gpus]
        assert {sample.notes["engine"] for sample in mine} == {ENGINE}
        words = 4 * granules // (count if name == "reduce-scatter" else 1)
        # The first round connects the ranks, and is compared and not timed.
        assert {(sample.checked, sample.wrong, sample.notes["rounds"]) for sample in mine} == {(2 * words, 0, 2)}
        assert mine[0].value == pytest.approx(bus_factor(name, count) * 16 * granules / mine[0].seconds / 1e9)
    assert {(sample.notes["library"], sample.notes["library_state"]) for sample in results.named("collective.all-reduce")} == {
        (ENGINE, "found")}
    finding = one("collective.library", results)
    assert finding.outcome is Outcome.PASS
    assert finding.says.startswith(f"{ENGINE}: ")
    assert outcomes("collective.wrong-words", results) == {Outcome.UNKNOWN}  # there is no training here
    assert (nccl.count("misuses"), nccl.count("ranks")) == (0, 0)


def test_both_engines_stand_side_by_side(nccl: Mock) -> None:
    finding = one("collective.library-slow", full(run("collective", devices(2), seconds=0.0)))
    assert len(finding.notes) == 3
    assert all(ENGINE in note and "by the own ring" in note for note in finding.notes)


# Wrong.


def test_a_wrong_sum_of_the_library_is_its_own_finding_and_no_other(nccl: Mock) -> None:
    nccl.script(wrong=1)
    results = run("collective", devices(3), seconds=0.0)
    finding = one("collective.library", results)
    assert finding.outcome is Outcome.FAIL
    assert finding.says.startswith(
        f"the results of {ENGINE} are wrong: 3 words in all-reduce, all-gather, reduce-scatter, in the same way when "
        "repeated; the own ring is right (")
    assert (finding.cause, len(finding.notes)) == (f"library:{ENGINE}", 3)
    assert finding.not_
    assert "byte 0x14 of " in finding.notes[0]
    assert {sample.gpu for sample in theirs(results) if sample.wrong} == {"cuda:2"}
    assert Outcome.FAIL not in outcomes("collective.wrong-words", results)
    assert outcomes("stress.wrong-results", results) == {Outcome.PASS}


def test_a_wrong_result_that_does_not_come_again_is_not_laid_to_the_library_alone(nccl: Mock) -> None:
    nccl.script(once=1)
    results = run("collective", devices(2), seconds=0.0)
    finding = one("collective.library", results)
    assert finding.outcome is Outcome.FAIL
    assert "1 word in all-reduce, not in the same way when repeated; the own ring is right" in finding.says
    assert not finding.not_
    assert "p2p" in finding.help[0]
    (wrong,) = [sample for sample in theirs(results) if sample.wrong]
    assert wrong.notes["verdict"] == "wrong once"
    assert Outcome.FAIL in outcomes("stress.wrong-results", results)  # a GPU or a link may have done it


def test_a_result_that_is_not_written_is_seen(nccl: Mock) -> None:
    nccl.script(drop=1)
    results = run("collective", devices(2), seconds=0.0)
    assert one("collective.library", results).outcome is Outcome.FAIL
    assert {word.kind for sample in theirs(results) for word in sample.words} == {"not written"}


def test_where_the_ring_is_wrong_too_that_is_said(nccl: Mock) -> None:
    nccl.script(wrong=1)
    results = run("collective", devices(2), seconds=0.0)
    ring = next(one for one in results.samples if one.what == "collective.all-reduce")
    results = msgspec.structs.replace(results, samples=(*results.samples, msgspec.structs.replace(ring, wrong=1)))
    finding = one("collective.library", results)
    assert finding.outcome is Outcome.FAIL
    assert finding.says.endswith("the own ring gives wrong results as well")
    assert not finding.not_


# Hanging, refusing, absent.


def test_a_library_that_hangs_is_ended_named_and_used_no_more(nccl: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collective_library, "HANG_SECONDS", 0.2)
    nccl.script(hang=2)  # in the all-gather: the all-reduce was compared twice
    results = run("collective", devices(2), seconds=0.0)
    finding = one("collective.library", results)
    assert finding.outcome is Outcome.FAIL
    assert finding.says.startswith(f"{ENGINE}: all-gather did not end within 0.2 s and was aborted; the own ring is right")
    assert (finding.cause, finding.title) == (f"library:{ENGINE}", f"{ENGINE} hangs")
    assert [(sample.what, sample.checked) for sample in theirs(results)][-1] == (f"{LIBRARY}.all-gather", 0)
    assert not theirs(results, "reduce-scatter")
    assert (nccl.count("aborted"), nccl.count("ranks"), nccl.count("misuses")) == (2, 0, 0)


@pytest.mark.parametrize("status", [1, 3, 5, 77])
def test_a_library_that_refuses_is_left_out(nccl: Mock, status: int) -> None:
    nccl.script(status=status)
    results = run("collective", devices(2), seconds=0.0)
    finding = one("collective.library", results)
    assert finding.outcome is Outcome.UNKNOWN
    assert f"status {status}" in finding.says
    assert len(theirs(results)) == 1
    assert len(results.named("collective.reduce-scatter")) == 2


def test_a_library_that_does_not_start_is_unknown_in_its_own_words(nccl: Mock) -> None:
    nccl.script(create=1)
    finding = one("collective.library", run("collective", devices(2), seconds=0.0))
    assert finding.outcome is Outcome.UNKNOWN
    assert finding.says.endswith("(ncclCommInitAll: status 1: Cuda failure 'mock')")


def test_a_box_without_the_library_is_none_the_worse(nccl: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "/nowhere/libnccl.so.2")
    results = full(run("collective", devices(2), seconds=0.0))
    finding = one("collective.library", results)
    assert finding.outcome is Outcome.SKIP
    assert finding.says.startswith("NCCL was not found")
    assert outcomes("collective.library-slow", results) == {Outcome.SKIP}
    with pytest.raises(GpuError, match="engine=library: NCCL was not found"):
        run("collective", devices(2), engine="library")
    with pytest.raises(GpuError, match="engine=both is neither own nor library"):
        run("collective", devices(2), engine="both")


def test_processors_have_no_library_and_nothing_is_asked_of_it() -> None:
    results = run("collective", processors(2), seconds=0.0)
    assert one("collective.library", results).outcome is Outcome.SKIP
    assert theirs(results) == []


@pytest.mark.parametrize("fault", [False, True])
def test_a_library_that_was_not_asked_for_is_not_looked_for(
        nccl: Mock, monkeypatch: pytest.MonkeyPatch, fault: bool) -> None:
    monkeypatch.setattr(collective_library, "open_collectives", lambda *given: pytest.fail("it was looked for"))
    gpus: Any = devices(2)
    if fault:  # it is put into copies, which the library does not make
        gpus = [FaultyGpu(gpu, "flip-payload" if gpu is gpus[0] else None) for gpu in gpus]
    results = run("collective", gpus, seconds=0.0, **({} if fault else {"engine": "own"}))
    finding = one("collective.library", results)
    assert (finding.outcome, finding.says) == (Outcome.SKIP, "no library was looked for")
    if fault:
        with pytest.raises(GpuError, match="engine=library: it works with no injected fault"):
            run("collective", gpus, engine="library")


def test_without_memory_for_its_vectors_it_is_left_out(nccl: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = devices(2)
    taken = Ring(Rig(gpus, seconds=0, options={"size": "test"}))
    vector = taken.granules // 2 * 2 * 16
    whole = gpus[1].allocate
    monkeypatch.setattr(gpus[1], "allocate", lambda size: refuse() if size == vector else whole(size))

    def refuse() -> Any:
        raise GpuError("out-of-memory", "allocating 0.25 GiB: no memory")

    results = run("collective", gpus, seconds=0.0)
    finding = one("collective.library", results)
    assert finding.outcome is Outcome.UNKNOWN
    assert f"no memory is left for the vectors of {ENGINE}" in finding.says
    assert nccl.count("ranks") == 0


def test_a_gpu_that_is_lost_while_the_library_works_says_so_and_keeps_what_was_measured(
        nccl: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = devices(2)

    def lost(*given: Any) -> None:
        gpus[0].calls.fails = GpuError("lost", "the GPU has fallen off the bus")  # type: ignore[attr-defined]

    monkeypatch.setattr("boxcheck.gpu.vendor_nccl.Nccl.all_gather", lost)
    samples: list[Sample] = []
    with pytest.raises(GpuError, match=rf"off the bus, while {ENGINE} worked") as caught:
        collect(collective(Rig(gpus, seconds=0.0, options={"size": "test"})), samples)
    assert (caught.value.kind, caught.value.help) == ("lost", "--option engine=own leaves the library out")
    assert {sample.what for sample in samples if sample.peer is None} == {
        "collective.self-test", *(f"collective.{name}" for name in NAMES), f"{LIBRARY}.all-reduce"}


def test_the_supervisor_hears_when_the_library_works(nccl: Mock) -> None:
    heard: list[str] = []
    rig = Rig(
        devices(2), seconds=0.0, options={"size": "test"}, beat=lambda text, done: heard.append(text),
        working=lambda name: heard.append(f"<{name}>"))
    list(collective(rig))
    assert heard == [
        "<the vendor's library>", f"<{ENGINE}>", "<None>", *NAMES,
        *(word for name in NAMES for word in (f"<{ENGINE}>", name, "<None>")), f"<{ENGINE}>", "<None>"]


def test_a_hang_that_took_the_worker_along_is_told_of_the_library() -> None:
    """The supervisor's words (boxcheck.engine.supervise)."""
    trouble = Trouble(
        gpus=("cpu:0", "cpu:1"), module="collective", kind="hang",
        says=f"no sign of life for 45 s while a library of the vendor worked; it was at: {ENGINE}: begins to work")
    results = msgspec.structs.replace(results_of("collective", doubles(2), ()), troubles=(trouble,), ended=())
    finding = one("collective.library", results)
    assert finding.outcome is Outcome.UNKNOWN
    assert f"it was at: {ENGINE}" in finding.says
    assert outcomes("stress.completed", results) == {Outcome.FAIL}


def test_what_was_stopped_before_the_librarys_turn_is_unknown(nccl: Mock) -> None:
    asked = iter(range(1000))  # before each of the ring's collectives, then before each of the library's
    results = run("collective", devices(2), seconds=0.0, stopping=lambda: next(asked) > 2)
    finding = one("collective.library", results)
    assert finding.outcome is Outcome.UNKNOWN
    assert finding.says == f"not compared by {ENGINE}: all-reduce, all-gather, reduce-scatter"


# Slow.


def rates(own: float, library: float, **changes: Any) -> StressResults:
    base = {"gpu": "cpu:0", "seconds": 1.0, "unit": "GB/s", "checked": 9, "wrong": 0, "notes": {"engine": ENGINE}}
    return results_of("collective", doubles(2), [
        Sample(what=what, value=value, **{**base, **changes})
        for name in NAMES for what, value in ((f"collective.{name}", own), (f"{LIBRARY}.{name}", library))])


def test_just_a_tenth_is_not_below_a_tenth() -> None:
    for value, expected in ((2.0, Outcome.PASS), (1.99, Outcome.MARGINAL), (40.0, Outcome.PASS)):
        finding = one("collective.library-slow", rates(20.0, value))
        assert finding.outcome is expected
        assert bool(finding.help) is (expected is Outcome.MARGINAL)
    slow = one("collective.library-slow", rates(20.0, 1.0))
    assert slow.says == f"all-gather: bus bandwidth 1 GB/s by {ENGINE}, 20 by the own ring"
    assert (slow.cause, slow.title) == (f"library:{ENGINE}", f"{ENGINE} is slow over these GPUs")


def test_a_rate_of_wrong_results_or_of_test_sizes_is_not_judged() -> None:
    assert outcomes("collective.library-slow", rates(20.0, 1.0, wrong=1)) == {Outcome.SKIP}
    small = msgspec.structs.replace(rates(20.0, 1.0), full_size=False)
    assert outcomes("collective.library-slow", small) == {Outcome.SKIP}


def test_a_slow_library_is_found_by_running_it(nccl: Mock) -> None:
    nccl.script(sleep_us=200_000)
    finding = one("collective.library-slow", full(run("collective", devices(2), seconds=0.0)))
    assert finding.outcome is Outcome.MARGINAL


def test_a_slow_library_is_no_slower_ring(nccl: Mock) -> None:
    results = rates(20.0, 1.0)
    dropping = [
        msgspec.structs.replace(sample, value=100.0 / (at + 1)) for at in range(16) for sample in results.samples
        if sample.what.startswith(LIBRARY)]
    assert outcomes("collective.rate-drop", msgspec.structs.replace(results, samples=tuple(dropping))) == {Outcome.UNKNOWN}
