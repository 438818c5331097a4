"""A stress run as a whole: which devices, what decides, what was left out."""

from __future__ import annotations

from typing import Any

import pytest

from boxcheck.engine import stress
from boxcheck.engine.inspect import Facts
from boxcheck.engine.modules import Wanted
from boxcheck.engine.stress import decides, find_devices, pick, run_stress
from boxcheck.gpu import GpuInfo
from boxcheck.model import BOX, Bdf, Finding, Outcome
from boxcheck.probes.gpus import Gpus
from boxcheck.profile import Profile
from boxcheck.registry import discover, discover_stress
from boxcheck.stress import Trouble
from boxcheck.stress.runtime import RuntimeGpus

discover()
discover_stress()
WANT = Profile(name="test", revision=1, title="test", stress=("stress.temperature", "matmul.*"), advisory=("copy.asymmetry",))


def _info(index: int, **changes: Any) -> GpuInfo:
    fields: dict[str, Any] = {
        "backend": "cuda", "index": index, "name": "RTX 4090", "arch": "sm_89", "bdf": Bdf(f"0000:{index + 1:02x}:00.0"),
        "memory_bytes": 1, "free_bytes": 1, "compute_units": 1, "unified": False, "is_gpu": True, "driver": "test", **changes}
    return GpuInfo(**fields)


@pytest.mark.parametrize(("id", "outcome", "counts"), [
    ("matmul.wrong-elements", Outcome.UNKNOWN, True), ("matmul.rate", Outcome.SKIP, False),
    ("vram.wrong-words", Outcome.UNKNOWN, True),  # not in the profile, but its module was asked for
    ("stress.temperature", Outcome.UNKNOWN, True), ("stress.throttled", Outcome.UNKNOWN, False),
    ("stress.throttled", Outcome.FAIL, True), ("stress.completed", Outcome.UNKNOWN, True),
    ("stress.injected", Outcome.UNKNOWN, True), ("copy.asymmetry", Outcome.MARGINAL, False),
    ("gpu.in-runtime", Outcome.UNKNOWN, True), ("stress.size", Outcome.UNKNOWN, True)])
def test_what_decides(id: str, outcome: Outcome, counts: bool) -> None:
    assert decides(Finding(check=id, subject=BOX, outcome=outcome, says="x"), WANT) is counts


@pytest.mark.parametrize(("id", "cause"), [
    ("stress.injected", None), ("stress.completed", None), ("stress.wrong-results", None),
    ("stress.temperature", "safety-stop:0000:41:00.0"), ("stress.temperature", "gpu-lost:0000:41:00.0")])
def test_no_profile_makes_what_every_run_must_show_advisory(id: str, cause: str | None) -> None:
    want = Profile(name="lax", revision=1, title="test", advisory=("stress.*", "gpu.*"))
    assert decides(Finding(check=id, subject=BOX, outcome=Outcome.FAIL, says="x", cause=cause), want)


def test_a_number_is_the_place_in_the_list_and_not_the_slot() -> None:
    infos = (_info(0), _info(1), _info(2))
    slots = {"cuda:0": "1", "cuda:1": "2", "cuda:2": "7"}
    assert [info.key for info in pick(infos, ["1"], slots)] == ["cuda:1"]
    assert [info.key for info in pick(infos, ["7"], slots)] == ["cuda:2"]


def test_a_gpu_that_two_runtimes_show_is_driven_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {
        "cuda": (_info(0),), "hip": Trouble(gpus=(), module="", kind="no-driver", says="no ROCm"),
        "opencl": (_info(0, backend="opencl"), _info(1, backend="opencl"), _info(2, backend="opencl", is_gpu=False))}
    monkeypatch.setattr(stress, "list_backends", lambda names, **more: {name: shown[name] for name in names})
    found = find_devices(None)
    assert [info.key for info in found.gpus] == ["cuda:0", "opencl:1"]
    assert found.troubles["hip"].says == "no ROCm"
    assert found.asked == ("cuda", "hip", "opencl")
    assert [info.key for info in find_devices("opencl").gpus] == ["opencl:0", "opencl:1", "opencl:2"]


@pytest.mark.parametrize("word", ["1", "cuda:1", "0000:02:00.0", "02:00.0", "PCIE2"])
def test_a_device_is_named_in_many_ways(word: str) -> None:
    infos = (_info(0), _info(1))
    assert [info.key for info in pick(infos, [word], {"cuda:1": "PCIE2"})] == ["cuda:1"]


def test_a_word_that_names_no_device_is_refused() -> None:
    with pytest.raises(LookupError, match="7"):
        pick((_info(0),), ["7"], {})


def test_an_empty_word_names_no_device_and_not_those_without_an_address() -> None:
    with pytest.raises(LookupError):
        pick((_info(0, bdf=None), _info(1, bdf=None)), [""], {})


def _facts() -> Facts:
    facts = Facts()
    facts.put(Gpus, Gpus(()))
    return facts


def test_a_module_that_cannot_run_here_makes_the_run_incomplete() -> None:
    runtime = find_devices("cpu")
    run = run_stress(Wanted(modules=("p2p",), seconds=0.2, backend="cpu"), runtime, _facts(), WANT)
    assert run.verdict.outcome is Outcome.UNKNOWN
    assert any("needs 2 GPUs" in one.says for one in run.verdict.findings)


def test_a_module_keeps_the_options_that_it_has_for_who_judges() -> None:
    wanted = Wanted(modules=("wake", "copy"), seconds=0.2, backend="cpu", options={"megabytes": "1", "size": "test"})
    run = run_stress(wanted, find_devices("cpu"), _facts(), WANT)
    assert [dict(results.options) for results in run.results] == [{"size": "test"}, {"megabytes": "1", "size": "test"}]
    assert (run.asked_seconds, run.options) == (0.2, {"megabytes": "1", "size": "test"})


def test_modules_after_a_stop_are_not_run_and_the_run_is_incomplete() -> None:
    asked: list[int] = []

    def stopping() -> bool:
        asked.append(1)
        return len(asked) > 1  # the first module is begun

    runtime = find_devices("cpu")
    run = run_stress(
        Wanted(modules=("matmul", "vram"), seconds=5, backend="cpu"), runtime, _facts(), WANT, stopping=stopping)
    assert [results.module for results in run.results] == ["matmul"]
    assert run.verdict.outcome is Outcome.UNKNOWN
    assert run.verdict.not_run == 1


def test_a_gpu_on_the_bus_that_no_runtime_shows_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile
    from pathlib import Path

    from boxcheck.engine.inspect import read_facts
    from boxcheck.host.capture import CaptureHost
    from tests.boxes import build

    with tempfile.TemporaryDirectory() as folder:
        facts = read_facts(CaptureHost(str(build("wopr-7x4090").write_tar(Path(folder) / "box.tar.gz"))))
    gpus = facts.of(Gpus)
    assert isinstance(gpus, Gpus)
    seen = tuple(_info(number, bdf=gpu.bdf) for number, gpu in enumerate(gpus.gpus[:-1]))
    runtime = RuntimeGpus(seen, {}, ("cuda", "hip", "opencl"))
    monkeypatch.setattr(stress, "run_module", lambda module, *rest, **more: pytest.fail("nothing is to be run"))
    run = run_stress(Wanted(modules=(), seconds=1), runtime, facts, WANT)
    outcomes = {str(one.subject): one.outcome for one in run.verdict.findings if one.check == "gpu.in-runtime"}
    assert list(outcomes.values()).count(Outcome.PASS) == 6
    assert list(outcomes.values()).count(Outcome.FAIL) == 1
    assert run.verdict.outcome is Outcome.FAIL
