"""Ways in which a doctor could pass without having looked; each was one once, or is one of another tool."""

from __future__ import annotations

import dataclasses
import struct

import msgspec
import pytest

from boxcheck.engine.inspect import choose_checks, inspect_facts, read_facts
from boxcheck.judge import exit_code
from boxcheck.model import Finding, Outcome, Verdict
from boxcheck.profile import Profile, load_profile
from boxcheck.registry import CHECKS, Check
from tests.boxes import Tree, build
from tests.boxes.memory import host

PORT, GPU = "0000:40:01.1", "0000:41:00.0"
IDS = ("vendor", "device", "class", "revision", "config")


def real(tree: Tree, bdf: str) -> str:
    return tree.resolve(f"/sys/bus/pci/devices/{bdf}")


def judged(tree: Tree, profile: str | Profile = "wopr-7x4090", checks: tuple[Check, ...] | None = None) -> Verdict:
    facts = read_facts(host(tree))
    want = load_profile(profile) if isinstance(profile, str) else profile
    return inspect_facts(facts, want, choose_checks([]) if checks is None else checks)


def of(verdict: Verdict, check: str, bdf: str | None = GPU) -> Finding:
    return next(finding for finding in verdict.findings
                if finding.check == check and (bdf is None or finding.subject.bdf == bdf))


def deny(tree: Tree, bdf: str) -> None:
    for name in IDS:
        tree.denied(f"{real(tree, bdf)}/{name}", "input/output error", "error")


@pytest.mark.parametrize("check", ["pcie.link-width", "pcie.link-speed", "pcie.lane-errors", "pcie.aspm"])
def test_a_port_that_cannot_be_read_hides_no_riser(check: str) -> None:
    tree = build("wopr-7x4090+riser-x8")
    deny(tree, PORT)
    verdict = judged(tree)
    assert verdict.outcome is not Outcome.PASS
    assert of(verdict, check).outcome is Outcome.UNKNOWN


def test_a_port_that_is_not_listed_hides_no_riser() -> None:
    tree = build("wopr-7x4090+riser-x8")
    tree.remove(f"/sys/bus/pci/devices/{PORT}")
    verdict = judged(tree)
    assert verdict.outcome is Outcome.UNKNOWN
    assert of(verdict, "pcie.link-width").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("profile", ["generic", "wopr-7x4090"])
def test_a_gpu_whose_ids_cannot_be_read_is_not_gone_and_not_fine(profile: str) -> None:
    tree = build("wopr-7x4090")
    deny(tree, GPU)
    verdict = judged(tree, profile)
    assert verdict.outcome is Outcome.UNKNOWN
    assert of(verdict, "inventory.gpu-lost", None).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(("width", "outcome"), [("8", Outcome.FAIL), ("garbage", Outcome.UNKNOWN), ("16", Outcome.PASS)])
@pytest.mark.parametrize("end", [PORT, GPU])
def test_width_under_load_counts(width: str, outcome: Outcome, end: str) -> None:
    tree = build("wopr-7x4090")
    path = f"{real(tree, end)}/current_link_width"
    tree.readings = [
        dataclasses.replace(reading, data=f"{width}\n".encode())
        if reading.path == path and reading.phase == "load" else reading for reading in tree.readings
    ]
    assert of(judged(tree), "pcie.link-width").outcome is outcome


@pytest.mark.parametrize("name", ["wopr-7x4090-one-reading", "wopr-7x4090"])
def test_two_ends_that_disagree_settle_nothing(name: str) -> None:
    tree = build(name)
    tree.put(f"{real(tree, GPU)}/current_link_width", "8\n")
    assert of(judged(tree), "pcie.link-width").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("speeds", "outcome"),
    [((2.5, 8.0, 16.0), Outcome.PASS), ((16.0, 8.0, 16.0), Outcome.MARGINAL), ((16.0, 16.0, 8.0), Outcome.FAIL)],
)
def test_a_link_that_falls_back_under_load_is_no_ramp(speeds: tuple[float, ...], outcome: Outcome) -> None:
    tree = build("wopr-7x4090")
    path = f"{real(tree, PORT)}/current_link_speed"
    tree.readings = [reading for reading in tree.readings if not (reading.path == path and reading.phase == "load")]
    for index, speed in enumerate(speeds):
        tree.again(path, f"{speed} GT/s PCIe\n", "load", 3.0 + index)
    assert of(judged(tree), "pcie.link-speed").outcome is outcome


def extended(config: bytes, id: int) -> int:
    """Offset of an extended capability in configuration space."""
    offset = 0x100
    while offset:
        head: int = struct.unpack_from("<I", config, offset)[0]
        if head & 0xFFFF == id:
            return offset
        offset = head >> 20 & 0xFFC
    raise AssertionError(f"no extended capability {id:#x}")


def test_equalisation_at_32_gts_is_looked_at() -> None:
    tree = build("tinybox-green-v2")
    ports = [path for path in tree if path.endswith("/config")]
    changed = 0
    for path in ports:
        config = bytearray(tree[path])  # type: ignore[arg-type]
        try:
            offset = extended(config, 0x2A)
        except (AssertionError, struct.error):
            continue
        struct.pack_into("<I", config, offset + 0x0C, 1 << 4)  # Link Equalization Request 32 GT/s, phases not done
        tree[path] = bytes(config)
        changed += 1
    assert changed
    found = [finding for finding in judged(tree, "tinybox-green-v2").findings if finding.check == "pcie.equalisation"]
    assert {finding.outcome for finding in found} == {Outcome.MARGINAL}


def test_leaving_out_a_check_that_fails_is_not_a_pass() -> None:
    tree = build("wopr-7x4090+row-remap-failed")
    left = tuple(check for check in choose_checks([]) if check.id != "nvidia.row-remap")
    verdict = judged(tree, checks=left)
    assert verdict.outcome is Outcome.UNKNOWN
    assert int(exit_code(verdict)) == 3


@pytest.mark.parametrize("pair", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"])
def test_a_function_that_answers_with_another_identity_does_not_answer(pair: bytes) -> None:
    tree = build("wopr-7x4090")
    path = f"{real(tree, GPU)}/config"
    tree[path] = pair + bytes(tree[path])[4:]  # type: ignore[arg-type]
    assert of(judged(tree), "inventory.gpu-lost").outcome in (Outcome.FAIL, Outcome.UNKNOWN)


def test_bridges_that_were_not_read_pass_nothing_on() -> None:
    tree = build("wopr-7x4090")
    tree.denied(f"{real(tree, PORT)}/config", "input/output error", "error")
    verdict = judged(tree)
    assert of(verdict, "bar.bridge-window").outcome is Outcome.UNKNOWN
    assert of(verdict, "pcie.containment", None).outcome is Outcome.UNKNOWN


def test_two_slots_with_one_address_name_neither() -> None:
    from boxcheck.probes.links import _slot_labels
    from boxcheck.probes.slots import PhysicalSlot, Slots

    slots = Slots((
        PhysicalSlot("PCIE2", "0000:41:00.0", "SMBIOS type 9"), PhysicalSlot("PCIE3", "0000:41:00.0", "SMBIOS type 9"),
        PhysicalSlot("PCIE4", "0000:42:00.0", "SMBIOS type 9"), PhysicalSlot("19", "0000:41:00", "sysfs"),
    ))
    labels = _slot_labels(slots)
    assert "0000:41:00" not in labels
    assert labels["0000:42:00"] == "PCIE4"


def test_the_switch_on_an_intel_card_is_not_the_slot() -> None:
    tree = build("geohot-amd-dev+riser-x8")
    names = {"0x1478": "0x4fa0", "0x1479": "0x4fa4", "0x744c": "0x56a0"}
    for path in [path for path in tree if path.endswith("/device") and isinstance(tree[path], bytes)]:
        text = tree.text(path).strip()
        if text in names:
            folder = path.rsplit("/", 1)[0]
            tree.put(path, f"{names[text]}\n")
            tree.put(f"{folder}/vendor", "0x8086\n")
            config = bytearray(tree[f"{folder}/config"])  # type: ignore[arg-type]
            struct.pack_into("<HH", config, 0, 0x8086, int(names[text], 16))
            tree[f"{folder}/config"] = bytes(config)
    verdict = judged(tree, "generic")
    widths = [finding for finding in verdict.findings if finding.check == "pcie.link-width"]
    assert Outcome.MARGINAL in {finding.outcome for finding in widths}  # no profile says what it should be


def test_a_check_that_crashes_is_unknown_and_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*facts: object) -> object:
        raise RuntimeError("a bug")

    check = msgspec.structs.replace(CHECKS["pcie.link-width"], function=broken)
    verdict = judged(build("wopr-7x4090"), checks=(check,))
    assert verdict.crashed
    assert int(exit_code(verdict)) == 4
    assert [crash.where for crash in verdict.crashes] == ["check pcie.link-width"]
    assert "a bug" in verdict.crashes[0].traceback


def test_an_empty_machine_passes_nothing() -> None:
    tree = Tree()
    tree.directory("/sys")
    for profile in ("generic", "wopr-7x4090", "strix-halo"):
        assert judged(tree, profile).outcome is not Outcome.PASS


def test_a_check_that_finds_nothing_to_judge_is_unknown() -> None:
    check = msgspec.structs.replace(CHECKS["pcie.link-width"], function=lambda *facts: iter(()))
    verdict = judged(build("wopr-7x4090"), checks=(check,))
    assert verdict.findings[0].outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", ["subsystem_vendor", "subsystem_device", "revision"])
@pytest.mark.parametrize("every", [False, True])
def test_cards_whose_board_nobody_read_are_not_identical(name: str, every: bool) -> None:
    tree = build("wopr-7x4090")
    bdfs = [path.split("/")[-2] for path in tree if path.endswith("/device") and tree[path] == b"0x2684\n"]
    assert len(bdfs) == 7
    cards = bdfs if every else [GPU]
    for bdf in cards:
        tree.denied(f"{real(tree, bdf)}/{name}", "input/output error", "error")
        if name == "revision":
            tree.denied(f"{real(tree, bdf)}/config", "input/output error", "error")
    found = [finding for finding in judged(tree).findings if finding.check == "inventory.gpu-uniform"]
    assert {finding.outcome for finding in found} == {Outcome.UNKNOWN}


@pytest.mark.parametrize("text", ["-1\n", "asleep?\n", ""])
def test_a_state_that_no_kernel_knows_is_no_pass(text: str) -> None:
    tree = build("wopr-7x4090")
    tree.put(f"{real(tree, GPU)}/power/runtime_status", text)
    assert of(judged(tree), "driver.runtime-error").outcome is Outcome.UNKNOWN


def test_a_revision_below_zero_is_none() -> None:
    tree = build("wopr-7x4090")
    for name in ("revision", "subsystem_device"):
        tree.put(f"{real(tree, GPU)}/{name}", "-1\n")
    found = [finding for finding in judged(tree).findings if finding.check == "inventory.gpu-uniform"]
    assert {finding.outcome for finding in found} == {Outcome.UNKNOWN}


def test_a_bar_that_the_kernel_lists_as_none_is_told_apart_by_registers_alone() -> None:
    tree = build("wopr-7x4090")
    tree.denied(f"{real(tree, GPU)}/config", "input/output error", "error")
    assert of(judged(tree), "bar.unassigned").outcome is Outcome.UNKNOWN
