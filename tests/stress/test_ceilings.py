"""What no GPU can do is never a pass, and what a GPU was seen to do is never called impossible."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest

from boxcheck.gpu import GpuInfo
from boxcheck.gpu.pci_id import identified
from boxcheck.model import Bdf, Finding, Limit, Outcome
from boxcheck.profile import Profile, load_gpus
from boxcheck.registry import CHECKS, discover_stress, run_check
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.ceilings import FABRICS, link_gbs, peak_tflops
from boxcheck.stress.matmul_rate_checks import ELEMENTS
from tests.stress.host_doubles import machine

discover_stress()
RATE = Limit("matmul.bf16_tflops", "ge", must=140.0, unit="TFLOPS", source="test")
SPREAD = Limit("matmul.spread_percent", "le", must=15.0, unit="%", source="test")
WANT = Profile(name="test", revision=1, title="test", limits={one.name: one for one in (RATE, SPREAD)})
ADVISED = Profile(name="test", revision=1, title="test", limits={
    RATE.name: msgspec.structs.replace(RATE, must=None, should=140.0)})


def _card(index: int = 0, pci_id: str | None = "10de:2684", revision: int | None = 0xA1, **changes: Any) -> GpuInfo:
    info = GpuInfo(
        backend="cuda", index=index, name="RTX 4090", arch="sm_89", bdf=Bdf(f"0000:{index + 1:02x}:00.0"), pci_id=pci_id,
        pci_revision=revision, memory_bytes=1 << 34, free_bytes=1 << 34, compute_units=128, unified=False, is_gpu=True,
        driver="CUDA 13.0")
    return msgspec.structs.replace(info, **changes)


def _results(module: str, samples: list[Sample], *infos: GpuInfo) -> StressResults:
    return StressResults(
        module=module, gpus=infos, samples=tuple(samples), troubles=(), ended=tuple(info.key for info in infos))


def _judged(id: str, results: StressResults, want: Profile = WANT) -> list[Finding]:
    return list(run_check(CHECKS[id], [results], want))


def _products(*values: float, what: str = "matmul.bf16.power", wrong: int = 0, **notes: str | float) -> list[Sample]:
    return [Sample(
        what=what, gpu="cuda:0", seconds=0.3, value=value, unit="TFLOPS", checked=9, of="digests", wrong=wrong,
        notes={"kernel": "mma-bf16", "shape": "8192x8192x8192", "digest": "aa", "products": 9, **notes})
        for value in values]


def test_nothing_that_was_ever_measured_is_called_impossible() -> None:
    seen = 0
    for part in load_gpus().values():
        info = _card(pci_id=part.pci_ids[0], revision=next(iter(part.revisions), None), arch=part.arch)
        for element, (_, most) in part.measured_tflops.items():
            bound = peak_tflops(info, element)
            if bound is not None:
                assert most <= bound[1] / 1.25, (part.key, element)  # the margin is not used up
                seen += 1
    assert seen > 40


def test_every_card_of_a_box_that_is_sold_has_a_bound_for_each_type() -> None:
    for key in ("rtx4090", "rtx5090", "rx7900xtx", "h100-sxm5", "h200-sxm", "rtx-pro-6000-workstation", "mi300x"):
        part = load_gpus()[key]
        info = _card(pci_id=part.pci_ids[0], revision=next(iter(part.revisions), None))
        for element in ELEMENTS:
            assert peak_tflops(info, element) is not None, (key, element)


def test_a_rate_beyond_the_peak_is_never_a_pass() -> None:
    """165.2 TFLOPS of an RTX 4090 at its boost clock, and half as much again."""
    for value, outcome in ((247.7, Outcome.PASS), (247.9, Outcome.UNKNOWN)):
        results = _results("matmul", _products(value, value, value), _card())
        for id, want in (("matmul.rate", WANT), ("matmul.rate-advised", ADVISED), ("matmul.repeatability", WANT)):
            (finding,) = _judged(id, results, want)
            assert (finding.outcome, "more than any RTX 4090" in finding.says) == (outcome, outcome is Outcome.UNKNOWN)
            assert finding.cause is None  # no fault of the GPU
        (finding,) = _judged("matmul.rate-advised", results)  # the profile demands it: here it is only told
        assert finding.outcome is (Outcome.SKIP if outcome is Outcome.PASS else Outcome.UNKNOWN)


def test_one_reading_of_a_clock_does_not_decide() -> None:
    assert [one.outcome for one in _judged("matmul.rate", _results("matmul", _products(150, 151, 400), _card()))] == [
        Outcome.PASS]


def test_a_gpu_with_an_impossible_rate_is_not_compared_with_the_others() -> None:
    infos = (_card(0), _card(1))
    own = _products(900.0)
    other = [msgspec.structs.replace(one, gpu="cuda:1") for one in _products(150.0)]
    found = _judged("matmul.spread", _results("matmul", own + other, *infos))
    assert [one.outcome for one in found] == [Outcome.UNKNOWN, Outcome.SKIP]


def test_a_wrong_product_stays_a_failure_whatever_its_rate() -> None:
    results = _results("matmul", _products(900.0, wrong=1), _card())
    assert [one.outcome for one in _judged("matmul.repeatability", results)] == [Outcome.FAIL]


@pytest.mark.parametrize("changes", [
    {"pci_id": None}, {"pci_id": "10de:ffff"}, {"pci_id": "1002:744c", "pci_revision": 0x01}, {"is_gpu": False}])
def test_of_a_card_that_is_not_known_nothing_is_said(changes: dict[str, Any]) -> None:
    info = msgspec.structs.replace(_card(), **changes)
    results = _results("matmul", _products(900.0), info)
    assert [one.outcome for one in _judged("matmul.repeatability", results)] == [Outcome.PASS]


def test_a_library_may_make_fp32_products_on_matrix_units() -> None:
    fast = _products(230.0, what="matmul.fp32.power", engine="cublas 13.1.0")
    assert [one.outcome for one in _judged("matmul.repeatability", _results("matmul", fast, _card()))] == [Outcome.PASS]
    own = _products(230.0, what="matmul.fp32.power", engine="own")
    assert [one.outcome for one in _judged("matmul.repeatability", _results("matmul", own, _card()))] == [
        Outcome.UNKNOWN]


def test_pulses_faster_than_the_gpu_are_never_a_pass() -> None:
    for value, outcome in ((247.7, Outcome.PASS), (247.9, Outcome.UNKNOWN)):
        results = _results("power-pulse", _products(value, what="power-pulse.bf16"), _card())
        assert [one.outcome for one in _judged("power-pulse.repeatability", results)] == [outcome]


# Links.


def _copies(gbs: float, what: str = "one-way.engine-write", count: int = 2, **changes: Any) -> StressResults:
    infos = tuple(_card(at, **changes) for at in range(count))
    samples = [Sample(
        what="p2p.access", gpu=one.key, peer=other.key, seconds=0, checked=0, wrong=0, notes={"access": "yes"})
        for one, other in permutations(infos, 2)]
    samples += [Sample(
        what=f"p2p.{what}", gpu=one.key, peer=other.key, seconds=1, value=gbs if {one.index, other.index} == {0, 1} else 20.0,
        unit="GB/s", checked=9, wrong=0) for one, other in permutations(infos, 2)]
    return _results("p2p", samples, *infos)


def _between(results: StressResults) -> tuple[bool, int]:
    """Whether any rate passes, and how often one is called impossible."""
    limits = [Limit(name, "ge", must=1.0, unit="GB/s", source="test") for name in ("p2p.one_way_gbs", "p2p.both_ways_gbs")]
    want = Profile(name="test", revision=1, title="test", limits={one.name: one for one in limits})
    found = _judged("p2p.rate", results, want)
    impossible = [one for one in found if "more than any link" in one.says]
    assert all(one.outcome is Outcome.UNKNOWN and one.cause is None for one in impossible)
    return any(one.outcome is Outcome.PASS for one in found), len(impossible)


@pytest.mark.parametrize(("most", "changes"), [
    (32.0, {}),  # PCIe 4.0 x16 of an RTX 4090
    (128.0, {"pci_id": None}),  # the fastest slot
    (64.0, {"pci_id": "10de:2b85", "arch": "sm_120"}),
    (450.0, {"pci_id": "10de:2330", "arch": "sm_90"}),
    (300.0, {"pci_id": "10de:20b2", "arch": "sm_80"}),
    (56.25, {"pci_id": "10de:2204", "arch": "sm_86"}),
    (448.0, {"pci_id": "1002:74a1", "pci_revision": 0, "arch": "gfx942", "backend": "hip"}),
])
def test_copies_faster_than_the_links_between_two_gpus_are_never_a_pass(most: float, changes: dict[str, Any]) -> None:
    assert _between(_copies(most, **changes)) == (True, 0)
    assert _between(_copies(most + 0.1, **changes)) == (False, 2)
    assert _between(_copies(most, "both-ways.engine-write", **changes)) == (True, 0)
    assert _between(_copies(most + 0.1, "both-ways.engine-write", **changes)) == (False, 1)


def test_an_impossible_pair_is_named_and_not_compared_with_the_others() -> None:
    found = _judged("p2p.slow-pair", _copies(500.0, count=4))
    assert [one.outcome for one in found] == [Outcome.UNKNOWN] * 2
    assert {str(one.subject) for one in found} == {"cuda:0 > cuda:1", "cuda:1 > cuda:0"}
    assert [one.outcome for one in _judged("p2p.slow-pair", _copies(20.0, count=4))] == [Outcome.PASS]


def test_where_the_links_are_not_known_nothing_is_said() -> None:
    one, other = _card(0, arch="sm_200"), _card(1)
    assert link_gbs(one, other) is None
    assert link_gbs(_card(0), _card(1, bdf=_card(0).bdf)) is None  # two parts of one GPU
    assert link_gbs(_card(0), _card(1, unified=True)) is None
    assert link_gbs(_card(0), _card(1)) == 32.0
    assert all(gbs >= 0 for gbs in FABRICS.values())


# Which card it is.


def test_the_bus_tells_which_card_a_device_is() -> None:
    where = "/sys/bus/pci/devices/0000:01:00.0"
    plain = _card(pci_id=None, revision=None)
    full = machine({f"{where}/vendor": "0x10de", f"{where}/device": "0x2684", f"{where}/revision": "0xa1"})
    assert identified(plain, full) == _card()
    old = machine({f"{where}/vendor": "0x10de", f"{where}/device": "0x2684"})
    assert identified(plain, old) == _card(revision=None)
    for lost in (machine({f"{where}/vendor": "0x10de"}), machine({f"{where}/vendor": "nonsense", f"{where}/device": "?"})):
        assert identified(plain, lost) == plain
    nowhere = msgspec.structs.replace(plain, bdf=None)
    assert identified(nowhere, full) == nowhere
