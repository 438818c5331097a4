"""Which card a device is: kept with the run, and known to redaction."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from boxcheck.engine.identities import identified, with_cards
from boxcheck.engine.inspect import Facts, read_facts
from boxcheck.engine.stress import judge_results
from boxcheck.gpu import GpuInfo
from boxcheck.host.capture import CaptureHost
from boxcheck.model import Outcome, Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.nvml import Nvml
from boxcheck.profile import load_profile
from boxcheck.registry import discover_stress
from boxcheck.store.creating import create_run
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.tally import Tally
from tests.boxes import build
from tests.store.machine import Machine


@pytest.fixture(scope="module", params=["wopr-7x4090", "tinybox-red"])
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, tuple[GpuInfo, ...]]:
    path = tmp_path_factory.mktemp("boxes") / "box.tar.gz"
    build(request.param).write_tar(str(path))
    facts = read_facts(CaptureHost(str(path)))
    gpus = facts.of(Gpus)
    assert not isinstance(gpus, Unread)
    first = Machine(1).gpus[0]
    return facts, tuple(
        msgspec.structs.replace(first, index=at, bdf=gpu.bdf) for at, gpu in enumerate(gpus.gpus) if not gpu.integrated)


def test_each_card_gets_the_number_that_was_read_at_its_address(box: tuple[Facts, tuple[GpuInfo, ...]]) -> None:
    facts, gpus = box
    found = identified(gpus, facts)
    nvml, amdgpu = facts.of(Nvml), facts.of(Amdgpu)
    told = {}
    if not isinstance(nvml, Unread) and not isinstance(nvml.gpus, Unread):
        told |= {one.bdf: one.uuid for one in nvml.gpus}
    if not isinstance(amdgpu, Unread):
        told |= {one.bdf: f"GPU-{one.unique_id}" for one in amdgpu.cards.values()}
    assert [one.uuid for one in found] == [told[one.bdf] for one in found]
    assert len({one.uuid for one in found}) == len(found) > 1


def test_what_the_runtime_told_stays(box: tuple[Facts, tuple[GpuInfo, ...]]) -> None:
    facts, gpus = box
    mine = msgspec.structs.replace(gpus[0], uuid="MIG-1234", serial="77")
    assert identified([mine], facts) == (mine,)


@pytest.mark.parametrize("value", ["", "N/A", "[N/A]", "0", "0000000000000000", "unknown", None])
def test_what_stands_for_no_number_is_none(value: str | None) -> None:
    from boxcheck.probes.nvml import NvmlGpu

    info, facts = Machine(1).gpus[0], Facts()
    facts.put(Nvml, Nvml(gpus=(NvmlGpu(index=0, bdf=info.bdf, serial=value, uuid="GPU-1"),)))
    assert identified([info], facts)[0].serial is None
    facts.put(Nvml, Nvml(gpus=(NvmlGpu(index=0, bdf=info.bdf, serial="1323521000123", uuid="GPU-1"),)))
    assert identified([info], facts)[0].serial == "1323521000123"


def test_without_readings_nothing_is_made_up() -> None:
    gpus = Machine(2).gpus
    assert identified(gpus, Facts()) == gpus


def test_they_are_in_the_store_under_names_that_redaction_knows(tmp_path: Path) -> None:
    from boxcheck.redact.json import _SECRET_KEY

    info = msgspec.structs.replace(Machine(1).gpus[0], serial="1323521000123", uuid="GPU-4d1b8a9d-0000")
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="0"))
    store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul"))
    store.begin_phase(1, PhaseStart(gpus=(info,)))
    store.close()
    with RunReader(store.path) as reader:
        start = reader.phases()[0].start
    assert start is not None
    assert (start.gpus[0].serial, start.gpus[0].uuid) == (info.serial, info.uuid)
    kept = msgspec.to_builtins(start.gpus[0])
    assert [name for name, value in kept.items() if value in (info.serial, info.uuid)] == ["uuid", "serial"]
    assert all(_SECRET_KEY.search(name) for name in ("uuid", "serial"))


def test_a_card_whose_id_its_worker_could_not_read_is_known_by_its_address(box: tuple[Facts, tuple[GpuInfo, ...]]) -> None:
    facts, gpus = box
    known = facts.of(Gpus)
    assert not isinstance(known, Unread)
    nameless = [msgspec.structs.replace(one, pci_id=None, pci_revision=None) for one in gpus]
    assert [(one.pci_id, one.pci_revision) for one in with_cards(nameless, facts)] == [
        (one.pci_id, one.revision) for one in known.gpus if not one.integrated]
    mine = msgspec.structs.replace(gpus[0], pci_id="10de:1eb8", pci_revision=None)
    assert with_cards([mine], facts) == (mine,)
    assert with_cards(nameless, Facts()) == tuple(nameless)


def test_a_rate_that_the_card_cannot_reach_is_no_pass_also_where_its_worker_could_not_read_the_id(
    box: tuple[Facts, tuple[GpuInfo, ...]]
) -> None:
    discover_stress()
    facts, gpus = box
    card = msgspec.structs.replace(gpus[0], pci_id=None, pci_revision=None, is_gpu=True)
    made = StressResults(module="matmul", gpus=(card,), ended=(card.key,), slots={}, troubles=(), full_size=True, samples=tuple(Sample(
        what="matmul.bf16.power", gpu=card.key, seconds=1.0, value=900.0, unit="TFLOPS", checked=8, of="digests",
        wrong=0, notes={"kernel": "mma", "shape": "8192x8192x8192", "engine": "own"}) for _ in range(20)))
    found, crashes = judge_results(made, Tally((card,)).result(), facts, load_profile("generic"))
    assert not crashes
    (rate,) = [one for one in found if one.check == "matmul.rate"]
    assert rate.outcome is Outcome.UNKNOWN
    assert "900 TFLOPS are more than any" in rate.says
