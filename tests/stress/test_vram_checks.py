"""The judgements on device memory, from samples alone: what passes, and what by a notch does not."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from boxcheck.gpu import GpuInfo
from boxcheck.model import Finding, Limit, Outcome
from boxcheck.profile import Profile
from boxcheck.stress import Sample, StressResults, WrongWord, vram_checks, vram_passes
from boxcheck.stress.vram_records import FaultKind

NONE = Profile(name="none", revision=1, title="no limits")
GIB = 1 << 30
INFO = GpuInfo(
    backend="cuda", index=0, name="RTX 4090", arch="sm_89", bdf=None, memory_bytes=24 * GIB, free_bytes=23 * GIB,
    compute_units=128, unified=False, is_gpu=True, driver="CUDA 13.0")
CPU = msgspec.structs.replace(INFO, backend="cpu", is_gpu=False, unified=True)
USABLE = 23 * GIB


def _sample(what: str, held: float = 0.98, **more: Any) -> Sample:
    notes = {
        "held_bytes": int(held * USABLE), "usable_bytes": USABLE, "free_bytes": USABLE, "blocks": 22,
        "accounting": "read+write", **more.pop("notes", {})}
    fields: dict[str, Any] = {
        "what": f"vram.{what}", "gpu": more.pop("gpu", "cuda:0"), "seconds": 0.05, "value": 880.0, "unit": "GB/s",
        "checked": USABLE // 4, "wrong": 0, "notes": notes, **more}
    return Sample(**fields)


def _all(held: float = 0.98, **more: Any) -> list[Sample]:
    return [_sample(family, held, **more) for family in vram_checks.FAMILIES]


def _find(check: Any, samples: list[Sample], want: Profile = NONE, **changes: Any) -> Finding:
    fields: dict[str, Any] = {
        "module": "vram", "gpus": (INFO,), "samples": tuple(samples), "troubles": (), "ended": ("cuda:0",), **changes}
    (finding,) = check(StressResults(**fields), want)
    assert isinstance(finding, Finding)
    return finding


def test_nothing_compared_is_unknown() -> None:
    for check in (vram_checks.wrong_words, vram_checks.self_test, vram_checks.coverage, vram_checks.rate,
                  vram_checks.rate_drop):
        assert _find(check, []).outcome is Outcome.UNKNOWN
    # A copy that was right is no test of the memory.
    assert _find(vram_checks.wrong_words, [_sample("copy")]).outcome is Outcome.UNKNOWN


def test_words_that_were_right_pass_and_the_patterns_are_named() -> None:
    finding = _find(vram_checks.wrong_words, _all()[:2])
    assert finding.outcome is Outcome.PASS
    assert finding.notes == ("patterns: address, retention",)


def test_one_wrong_word_fails_and_says_what_it_looks_like() -> None:
    word = WrongWord(index=12, expected=1, found=3, where="block 1 of 22, byte offset 0x30", kind="one bit (1)")
    bad = _sample("random", wrong=1, words=(word,), notes={"fault": "data-line", "looks_like": "bit 1 of the data lines"})
    finding = _find(vram_checks.wrong_words, [*_all(), bad])
    assert finding.outcome is Outcome.FAIL
    assert "1 word wrong in 1 of 6 samples: bit 1 of the data lines" in finding.says
    assert finding.notes == ("block 1 of 22, byte offset 0x30: expected 0x00000001, found 0x00000003 (one bit (1))",)
    assert finding.help == vram_checks.HELP["data-line"]
    assert finding.cause == "gpu-fault:cuda:0"


def test_a_wrong_copy_fails_too() -> None:
    finding = _find(vram_checks.wrong_words, [*_all(), _sample("copy.engine", wrong=5)])
    assert finding.outcome is Outcome.FAIL
    assert "in copies within the memory" in finding.says


def test_every_kind_of_fault_has_its_help() -> None:
    assert set(vram_checks.HELP) == {*get_args(FaultKind), vram_passes.UNSEEN}


@pytest.mark.parametrize(("held", "outcome"), [(0.95, Outcome.PASS), (0.9499, Outcome.UNKNOWN), (0.5, Outcome.UNKNOWN)])
def test_less_than_95_percent_of_the_free_memory_is_no_pass(held: float, outcome: Outcome) -> None:
    samples = [msgspec.structs.replace(one, notes={**one.notes, "held_bytes": -int(-held * USABLE // 1)}) for one in _all()]
    finding = _find(vram_checks.coverage, samples)
    assert finding.outcome is outcome
    assert f"{100 * held:.1f} % of 23.0 GiB that were free was tested" in finding.says


@pytest.mark.parametrize("missing", vram_checks.FAMILIES)
def test_a_family_of_patterns_that_was_not_compared_whole_is_no_pass(missing: str) -> None:
    left_out = [one for one in _all() if one.what != f"vram.{missing}"]
    short = [msgspec.structs.replace(one, checked=int(one.notes["held_bytes"]) // 4 - 1)
             if one.what == f"vram.{missing}" else one for one in _all()]
    for samples in (left_out, short):
        finding = _find(vram_checks.coverage, samples)
        assert finding.outcome is Outcome.UNKNOWN
        assert f"not all of it by {missing}" in finding.says


@pytest.mark.parametrize(("percent", "outcome"), [(50.0, Outcome.PASS), (49.9, Outcome.UNKNOWN)])
def test_a_block_in_the_hosts_memory_is_no_pass(percent: float, outcome: Outcome) -> None:
    samples = _all(notes={"slowest_block": 22, "slowest_percent": percent})
    assert _find(vram_checks.coverage, samples).outcome is outcome


@pytest.mark.parametrize(("free", "outcome"), [(0.80, Outcome.PASS), (0.799, Outcome.MARGINAL)])
def test_memory_that_other_programs_hold_is_told(free: float, outcome: Outcome) -> None:
    info = msgspec.structs.replace(INFO, memory_bytes=int(USABLE / free))
    finding = _find(vram_checks.coverage, _all(), gpus=(info,))
    assert finding.outcome is outcome
    shared = msgspec.structs.replace(info, unified=True)
    assert _find(vram_checks.coverage, _all(), gpus=(shared,)).outcome is Outcome.PASS


def test_of_a_processor_neither_coverage_nor_rate_is_judged() -> None:
    samples = [msgspec.structs.replace(one, gpu="cpu:0") for one in [*_all(), _sample("copy")]]
    for check in (vram_checks.coverage, vram_checks.rate):
        assert _find(check, samples, gpus=(CPU,)).outcome is Outcome.SKIP
        assert _find(check, [*_all(), _sample("copy")], full_size=False).outcome is Outcome.SKIP


@pytest.mark.parametrize(("value", "outcome"), [
    (849.9, Outcome.FAIL), (850.0, Outcome.MARGINAL), (909.9, Outcome.MARGINAL), (910.0, Outcome.PASS)])
def test_the_rate_is_judged_by_the_profile(value: float, outcome: Outcome) -> None:
    bound = Limit("vram.copy_gbs", "ge", must=850.0, should=910.0, unit="GB/s", source="test")
    want = msgspec.structs.replace(NONE, limits={bound.name: bound})
    slower = _sample("copy", value=700.0)
    assert _find(vram_checks.rate, [slower, _sample("copy.engine", value=value)], want).outcome is outcome
    assert _find(vram_checks.rate, [slower, _sample("copy.engine", value=value)]).outcome is Outcome.SKIP
    # No rate without a verified payload.
    unverified = [_sample("copy", value=2000.0, checked=0), _sample("copy.engine", value=2000.0, wrong=1)]
    assert _find(vram_checks.rate, unverified, want).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(("last", "outcome"), [
    (84.9, Outcome.MARGINAL), (85.1, Outcome.PASS), (49.9, Outcome.FAIL), (50.1, Outcome.MARGINAL)])
def test_memory_may_lose_a_few_percent_and_no_more(last: float, outcome: Outcome) -> None:
    samples = [_sample("inversion", value=value) for value in (*[100.0] * 6, last, last)]
    assert _find(vram_checks.rate_drop, samples).outcome is outcome
    assert _find(vram_checks.rate_drop, samples[-3:]).outcome is Outcome.SKIP


@pytest.mark.parametrize(("last", "outcome"), [(24.9, Outcome.FAIL), (25.1, Outcome.PASS)])
def test_of_a_processor_only_a_collapse_counts(last: float, outcome: Outcome) -> None:
    samples = [_sample("inversion", value=value, gpu="cpu:0") for value in (*[100.0] * 6, last, last)]
    assert _find(vram_checks.rate_drop, samples, gpus=(CPU,)).outcome is outcome


# What no memory can do.


def _timed(value: float, copied: float = 900.0, held_bytes: int = 16 << 30, accounting: str = "read+write") -> list[Sample]:
    copy = _sample("copy", value=copied, unit="GB/s", notes={"accounting": "copy_rw"})
    return [copy, *(
        _sample(family, value=value, unit="GB/s", notes={"accounting": accounting, "held_bytes": held_bytes})
        for family in vram_checks.FAMILIES)]


@pytest.mark.parametrize(("value", "outcome"), [(1512.0, Outcome.PASS), (1512.1, Outcome.UNKNOWN), (6000.0, Outcome.UNKNOWN)])
def test_a_pass_that_is_faster_than_the_cards_memory_can_be_is_unknown(value: float, outcome: Outcome) -> None:
    card = msgspec.structs.replace(INFO, pci_id="10de:2684", pci_revision=0xA1)  # 1008 GB/s
    for check in (vram_checks.wrong_words, vram_checks.rate):
        finding = _find(check, _timed(value), gpus=(card,))
        assert (finding.outcome is Outcome.UNKNOWN) == (outcome is Outcome.UNKNOWN), check
        assert outcome is Outcome.PASS or "are more than any RTX 4090 can reach (1512)" in finding.says
    (unjudged,) = {_find(vram_checks.wrong_words, _timed(value), gpus=(card,), full_size=False).outcome}
    assert unjudged is Outcome.PASS


@pytest.mark.parametrize(("value", "held_bytes", "outcome"), [
    (2700.0, 16 << 30, Outcome.PASS), (2700.1, 16 << 30, Outcome.UNKNOWN), (2700.1, 1 << 30, Outcome.PASS)])
def test_a_pass_far_above_the_runs_own_copy_is_unknown(value: float, held_bytes: int, outcome: Outcome) -> None:
    """Of a card that the database does not know; little memory may come from a cache."""
    finding = _find(vram_checks.wrong_words, _timed(value, held_bytes=held_bytes))
    assert finding.outcome is outcome
    assert outcome is Outcome.PASS or "3 times its own copies (900)" in finding.says


def test_damage_that_a_late_proof_does_not_see_leaves_words_unknown() -> None:
    samples = [*_all(), _sample("self-test", wrong=1)]
    assert _find(vram_checks.wrong_words, samples).outcome is Outcome.UNKNOWN
    assert _find(vram_checks.self_test, samples).outcome is Outcome.FAIL
