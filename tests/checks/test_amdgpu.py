from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.model import Bdf, Unread
from boxcheck.probes.amdgpu import Amdgpu, AmdgpuCard, PcieLevel, Ttm
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.kfd import Kfd, KfdLink, KfdNode
from boxcheck.probes.nvidia import Nvidia
from boxcheck.probes.rocm import Rocm, RocmInstall
from boxcheck.profile import GpuPart, Profile
from tests.checks.cards import gpu, gpus, nvidia
from tests.checks.judging import GONE, judge, outcome, outcomes, want
from tests.checks.test_kernel import NVIDIA_PART, box, settings
from tests.checks.test_log import LINKS, ROOT_PORT

PART = GpuPart(key="rx7900xtx", name="RX 7900 XTX", pci_ids=("1002:744c",), arch="gfx1100", link_generation=4,
               link_width=16)
FIRST, SECOND = gpu(0, part=PART, slot_link=ROOT_PORT), gpu(1, part=PART)
BOTH = gpus(FIRST, SECOND)
NO_NVIDIA = Nvidia(False, None, None, GONE, GONE, (), False, False, False)
GIB = 1 << 30


def card(of: Any, **changes: Any) -> AmdgpuCard:
    made = AmdgpuCard(
        bdf=of.bdf, vram_bytes=24 * GIB, visible_vram_bytes=24 * GIB, gtt_bytes=64 * GIB, vbios="113-A",
        unique_id=f"{of.index + 1:016x}", serial="x", pcie_levels=(PcieLevel(2.5, 1, False), PcieLevel(16.0, 16, True)),
        replay_count=0, busy_percent=0, drm_nodes=("card0", "renderD128"))
    return msgspec.structs.replace(made, **changes)


def amdgpu(*cards: AmdgpuCard, **changes: Any) -> Amdgpu:
    made = Amdgpu(loaded=True, version=None, source_version="A", ttm=Ttm("ttm", 1, 1),
                  parameters={"cwsr_enable": "0", "ppfeaturemask": "0xffffbfff"}, cards={one.bdf: one for one in cards})
    return msgspec.structs.replace(made, **changes)


def node(of: Any, *targets: int, **changes: Any) -> KfdNode:
    index = of.index + 1
    links = (KfdLink(index, 0, 2, 1, False), *(KfdLink(index, target, 2, 1, True) for target in targets))
    made = KfdNode(index, 7, "x", 192, "gfx1100", of.bdf, 128, 24 * GIB, links)
    return msgspec.structs.replace(made, **changes)


CPU = KfdNode(0, 0, "", 0, None, None, None, 64 * GIB, ())


def kfd(*nodes: KfdNode) -> Kfd:
    return Kfd((CPU, *nodes))


PROFILE = box(part=PART)


# The driver


@pytest.mark.parametrize(("driver", "profile", "wanted"), [
    ("amdgpu", PROFILE, "pass"), (None, PROFILE, "fail"), ("vfio-pci", PROFILE, "fail"),
    ("vfio-pci", box(part=PART, goal="tinygrad"), "pass"), (None, box(part=PART, goal="vm"), "pass"),
    (None, want(), "marginal"), (GONE, PROFILE, "unknown"),
    ("vfio-pci", want(), "marginal"), ("simpledrm", want(), "fail")])
def test_binding(driver: Any, profile: Profile, wanted: str) -> None:
    one = gpus(msgspec.structs.replace(FIRST, driver=driver))
    assert outcome("driver.binding", one, settings(), amdgpu(), NO_NVIDIA, profile=profile) == wanted


def test_nouveau_is_a_fault_only_where_nvidia_is_needed() -> None:
    one = gpus(msgspec.structs.replace(nvidia(), driver="nouveau"))
    assert outcome("driver.binding", one, settings(), amdgpu(), NO_NVIDIA, profile=box(part=NVIDIA_PART)) == "fail"
    assert outcome("driver.binding", one, settings(), amdgpu(), NO_NVIDIA) == "pass"


def test_no_gpu_to_bind() -> None:
    unreadable = Gpus((), GONE)
    assert outcome("driver.binding", unreadable, settings(), amdgpu(), NO_NVIDIA, profile=PROFILE) == "unknown"
    assert outcome("driver.binding", gpus(), settings(), amdgpu(), NO_NVIDIA, profile=PROFILE) == "unknown"
    assert outcome("driver.binding", gpus(), settings(), amdgpu(), NO_NVIDIA) == "skip"


def test_a_missing_module_is_one_cause() -> None:
    bare = gpus(*(msgspec.structs.replace(one, driver=None) for one in (FIRST, SECOND)))
    found = judge("driver.binding", bare, settings(), amdgpu(loaded=False), NO_NVIDIA, profile=PROFILE)
    assert {finding.cause for finding in found} == {"driver:amdgpu"}


@pytest.mark.parametrize(("changes", "limit", "wanted"), [
    ({}, None, "pass"), ({"loaded": False}, None, "fail"), ({"loaded": GONE}, None, "unknown"),
    ({"version": "6.10.5"}, "6.10.5", "pass"), ({"version": "6.10.4"}, "6.10.5", "fail"),
    ({"version": GONE}, "6.10.5", "unknown"), ({}, {"should": "6.10"}, "marginal"),
    ({"version": "custom"}, None, "pass"), ({"version": "custom"}, "6.10.5", "unknown")])
def test_amdgpu_loaded(changes: dict[str, Any], limit: Any, wanted: str) -> None:
    profile = box({"driver.amdgpu_version": limit} if limit else None, part=PART)
    assert outcome("driver.amdgpu-loaded", BOTH, amdgpu(**changes), settings(), profile=profile) == wanted


def test_tinygrad_wants_amdgpu_gone() -> None:
    gone = amdgpu(loaded=False)
    assert outcome("driver.amdgpu-loaded", BOTH, gone, settings(), profile=box(part=PART, goal="tinygrad")) == "pass"
    assert outcome("driver.amdgpu-loaded", gpus(), gone, settings()) == "skip"


OLD = RocmInstall("/opt/rocm-6.3.3", "6.3.3-74", True, True)
NEW = RocmInstall("/opt/rocm-7.0.0", "7.0.0-1", True, True)


@pytest.mark.parametrize(("installs", "chosen", "limit", "wanted"), [
    ((OLD,), OLD.path, "6.3.3", ["pass"]), ((OLD,), OLD.path, "6.3.4", ["fail"]),
    ((OLD, NEW), NEW.path, {"should": "7.0"}, ["pass", "marginal"]), ((), None, "6.3", ["fail"]),
    ((), None, {"should": "6.3"}, ["marginal"]), ((OLD,), OLD.path, None, ["pass"]),
    ((msgspec.structs.replace(OLD, version=None),), OLD.path, "6.3", ["unknown"])])
def test_rocm(installs: tuple[RocmInstall, ...], chosen: str | None, limit: Any, wanted: list[str]) -> None:
    profile = box({"driver.rocm_version": limit} if limit else None, part=PART)
    assert outcomes(judge("driver.rocm", Rocm(installs, chosen, None), BOTH, profile=profile)) == wanted


def test_rocm_was_not_looked_for() -> None:
    assert outcome("driver.rocm", Rocm((), None, GONE), BOTH, profile=PROFILE) == "unknown"
    one = RocmInstall("/usr/lib64", "6.3.3", True, True)
    assert outcome("driver.rocm", Rocm((one,), None, GONE), BOTH, profile=PROFILE) == "unknown"
    assert outcome("driver.rocm", Rocm((), None, None), BOTH) == "skip"


# The cards


@pytest.mark.parametrize(("vbios", "wanted"), [("113-A", ["pass"]), ("113-B", ["marginal"]), (GONE, ["unknown", "pass"])])
def test_vbios_uniform(vbios: Any, wanted: list[str]) -> None:
    three = gpus(FIRST, SECOND, third := gpu(2, part=PART))
    facts = amdgpu(card(FIRST), card(SECOND), card(third, vbios=vbios))
    assert outcomes(judge("amdgpu.vbios-uniform", three, facts, profile=PROFILE)) == wanted


def test_cards_of_two_models_have_two_vbioses() -> None:
    other = msgspec.structs.replace(SECOND, pci_id="1002:73bf", revision=0xC0)
    facts = amdgpu(card(FIRST), card(SECOND, vbios="113-B"))
    assert outcomes(judge("amdgpu.vbios-uniform", gpus(FIRST, other), facts)) == ["pass", "pass"]


@pytest.mark.parametrize(("number", "wanted"), [
    ("0000000000000002", "pass"), ("0000000000000001", "fail"), ("0", "pass")])
def test_unique_id(number: str, wanted: str) -> None:
    facts = amdgpu(card(FIRST), card(SECOND, unique_id=number))
    assert outcome("amdgpu.unique-id", BOTH, facts, profile=PROFILE) == wanted


def test_ids_that_were_not_read() -> None:
    facts = amdgpu(card(FIRST, unique_id=GONE), card(SECOND, unique_id=GONE))
    assert outcomes(judge("amdgpu.unique-id", BOTH, facts, profile=PROFILE)) == ["unknown", "unknown"]


@pytest.mark.parametrize(("parameters", "wanted"), [
    ({"cwsr_enable": "0", "ppfeaturemask": "0xffffbfff"}, ["pass", "pass"]),
    ({"cwsr_enable": "1", "ppfeaturemask": "4294950911"}, ["marginal", "pass"]),
    ({"cwsr_enable": "0", "ppfeaturemask": "0xfff7bfff"}, ["pass", "marginal"]),
    ({"cwsr_enable": "x", "ppfeaturemask": GONE}, ["unknown", "unknown"]), (GONE, ["unknown", "unknown"])])
def test_parameters(parameters: Any, wanted: list[str]) -> None:
    limits = {"amdgpu.cwsr_enable": {"should": 0}, "amdgpu.ppfeaturemask": {"should": 0xFFFFBFFF}}
    facts = amdgpu(parameters=parameters)
    assert outcomes(judge("amdgpu.parameters", BOTH, facts, profile=box(limits, part=PART))) == wanted
    assert outcome("amdgpu.parameters", BOTH, facts, profile=PROFILE) == "skip"


@pytest.mark.parametrize(("count", "wanted"), [
    (0, "pass"), (1, "marginal"), (GONE, "unknown"), (Unread("no counter", "absent"), "skip")])
def test_replay(count: Any, wanted: str) -> None:
    facts = amdgpu(card(FIRST, replay_count=count))
    (finding,) = judge("amdgpu.replay", gpus(FIRST), facts, LINKS, profile=PROFILE)
    assert finding.outcome.value == wanted
    assert finding.cause in (None, f"link:{ROOT_PORT}")


@pytest.mark.parametrize(("levels", "wanted"), [
    ((PcieLevel(2.5, 1, True), PcieLevel(16.0, 16, False)), "pass"), ((PcieLevel(8.0, 16, True),), "marginal"),
    ((PcieLevel(16.0, 8, True),), "marginal"), (GONE, "unknown"), (Unread("none", "absent"), "skip")])
def test_pp_dpm(levels: Any, wanted: str) -> None:
    facts = amdgpu(card(FIRST, pcie_levels=levels))
    assert outcome("amdgpu.pp-dpm", gpus(FIRST), facts, LINKS, profile=PROFILE) == wanted


def test_a_card_that_can_do_less_than_its_slot() -> None:
    older = msgspec.structs.replace(FIRST, part=msgspec.structs.replace(PART, link_generation=3))
    facts = amdgpu(card(FIRST, pcie_levels=(PcieLevel(8.0, 16, True),)))
    assert outcome("amdgpu.pp-dpm", gpus(older), facts, LINKS, profile=PROFILE) == "pass"


@pytest.mark.parametrize("check", ["amdgpu.vbios-uniform", "amdgpu.unique-id", "amdgpu.replay", "amdgpu.pp-dpm"])
def test_without_a_driver_nothing_is_known(check: str) -> None:
    bare = gpus(msgspec.structs.replace(FIRST, driver=None))
    facts = (bare, amdgpu(card(FIRST)), *((LINKS,) if check in ("amdgpu.replay", "amdgpu.pp-dpm") else ()))
    assert outcome(check, *facts, profile=PROFILE) == "unknown"
    assert outcome(check, *facts, profile=box(part=PART, goal="vm")) == "skip"


# KFD


@pytest.mark.parametrize(("nodes", "wanted"), [
    ((node(FIRST), node(SECOND)), ["pass", "pass"]), ((node(FIRST),), ["pass", "fail"]),
    ((node(FIRST), node(SECOND, gfx_target="gfx1101")), ["pass", "fail"]),
    ((node(FIRST), node(SECOND, gfx_target=None)), ["pass", "pass"])])
def test_kfd_nodes(nodes: tuple[KfdNode, ...], wanted: list[str]) -> None:
    assert outcomes(judge("kfd.nodes", BOTH, kfd(*nodes), amdgpu(), profile=PROFILE)) == wanted


def test_kfd_is_missing_or_was_not_read() -> None:
    assert outcome("kfd.nodes", BOTH, Kfd(Unread("none", "absent")), amdgpu(), profile=PROFILE) == "fail"
    assert outcome("kfd.nodes", BOTH, Kfd(GONE), amdgpu(), profile=PROFILE) == "unknown"
    hidden = msgspec.structs.replace(node(SECOND), simd_count=None, bdf=None, unread=GONE)
    assert outcomes(judge("kfd.nodes", BOTH, kfd(node(FIRST), hidden), amdgpu(), profile=PROFILE)) == ["pass", "unknown"]
    assert outcome("kfd.nodes", BOTH, Kfd(GONE), amdgpu(), profile=box(part=PART, goal="tinygrad")) == "skip"


def atomics(flags: int) -> KfdNode:
    return node(FIRST, links=(KfdLink(1, 0, 2, flags, False),))


@pytest.mark.parametrize(("one", "wanted"), [
    (atomics(1), "pass"), (atomics(1 | 1 << 2), "fail"), (atomics(1 | 1 << 3), "fail"), (atomics(1 | 1 << 4), "pass"),
    (node(FIRST, links=()), "unknown"), (node(FIRST, links=GONE), "unknown")])
def test_atomics(one: KfdNode, wanted: str) -> None:
    assert outcome("atomics.kfd", gpus(FIRST), kfd(one), profile=PROFILE) == wanted


def test_atomics_of_a_gpu_without_node() -> None:
    assert outcome("atomics.kfd", gpus(FIRST), kfd(), profile=PROFILE) == "unknown"
    assert outcome("atomics.kfd", gpus(FIRST), Kfd(GONE), profile=PROFILE) == "unknown"


def closed(of: Any, target: int) -> KfdNode:
    return node(of, links=(KfdLink(of.index + 1, 0, 2, 1, False), KfdLink(of.index + 1, target, 2, 1 | 1 << 4, False)))


@pytest.mark.parametrize(("first", "second", "wanted"), [
    (node(FIRST, 2), node(SECOND, 1), ["pass", "pass"]), (node(FIRST, 2), node(SECOND), ["pass", "fail"]),
    (closed(FIRST, 2), closed(SECOND, 1), ["fail", "fail"]), (node(FIRST, links=GONE), node(SECOND, 1), ["unknown", "pass"])])
def test_p2p(first: KfdNode, second: KfdNode, wanted: list[str]) -> None:
    assert outcomes(judge("kfd.p2p", BOTH, kfd(first, second), amdgpu(), profile=PROFILE)) == wanted


def test_p2p_that_a_small_bar_closes() -> None:
    small = amdgpu(card(FIRST, visible_vram_bytes=256 << 20), card(SECOND))
    found = judge("kfd.p2p", BOTH, kfd(node(FIRST), node(SECOND)), small, profile=PROFILE)
    assert {finding.cause for finding in found} == {f"bar:{FIRST.bdf}"}
    both = amdgpu(card(FIRST, visible_vram_bytes=256 << 20), card(SECOND, visible_vram_bytes=256 << 20))
    found = judge("kfd.p2p", BOTH, kfd(node(FIRST), node(SECOND)), both, profile=PROFILE)
    assert {finding.cause for finding in found} == {"bar-small:"}


def test_p2p_needs_a_pair() -> None:
    assert outcome("kfd.p2p", gpus(FIRST), kfd(node(FIRST)), amdgpu(), profile=PROFILE) == "unknown"  # one of two is gone
    assert outcome("kfd.p2p", gpus(FIRST), kfd(node(FIRST)), amdgpu(), profile=box(part=PART, count=1)) == "skip"
    assert outcome("kfd.p2p", BOTH, kfd(), amdgpu(), profile=box(part=PART, goal="any")) == "skip"


def test_a_gpu_behind_the_wrong_address_has_no_node() -> None:
    elsewhere = node(FIRST, bdf=Bdf("0000:99:00.0"))
    assert outcome("kfd.nodes", gpus(FIRST), kfd(elsewhere), amdgpu(), profile=PROFILE) == "fail"
