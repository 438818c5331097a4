"""Counter files that are missing or cut are never zero errors."""

from __future__ import annotations

import pytest

from boxcheck.decode.pci_aer import AER_CORRECTABLE, AER_CORRECTABLE_BIT
from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.model import Outcome, Unread
from boxcheck.probes.pcie_aer import SIGNAL, parse_counters, parse_disabled, unnamed
from boxcheck.profile import load_profile
from boxcheck.registry import discover
from tests.boxes import build
from tests.boxes.memory import host
from tests.boxes.tree import Tree

BOX = "wopr-7x4090"
PORT, CARD, SLOT = "0000:40:01.1", "0000:41:00.0", "PCIE3"
CHECKS = ("aer.correctable", "aer.live", "aer.uncorrectable")
FILES = ("correctable", "nonfatal", "fatal")


def outcomes(tree: Tree) -> dict[str, str]:
    """Outcome of every aer check for the link of one slot."""
    discover()
    checks = choose_checks(CHECKS)
    facts = read_facts(host(tree))
    want = load_profile(BOX)
    name_slots(facts, want)
    return {
        finding.check: finding.outcome.value
        for finding in inspect_facts(facts, want, checks).findings if finding.subject.slot == SLOT}


def at(tree: Tree, bdf: str, name: str) -> str:
    return f"{tree.resolve(f'/sys/bus/pci/devices/{bdf}')}/aer_dev_{name}"


@pytest.mark.parametrize("kind", ["absent", "not-captured"])
@pytest.mark.parametrize("end", [PORT, CARD])
def test_an_end_without_its_counter_files_is_never_a_pass(end: str, kind: str) -> None:
    tree = build(BOX)
    for name in FILES:
        path = at(tree, end, name)
        del tree.nodes[path]
        if kind == "not-captured":
            tree.denied(path, "not in the capture", kind)
    found = outcomes(tree)
    assert set(found) == set(CHECKS)
    assert "pass" not in found.values(), found
    if end == CARD or kind == "not-captured":
        assert set(found.values()) == {"unknown"}, found


def test_errors_at_one_end_are_told_although_the_other_was_not_read() -> None:
    tree = build(BOX)
    tree.denied(at(tree, CARD, "correctable"), "input/output error", "error")
    path = at(tree, PORT, "correctable")
    tree.put(path, tree.text(path).replace("BadTLP 0", "BadTLP 3").replace("TOTAL_ERR_COR 0", "TOTAL_ERR_COR 3").strip())
    assert outcomes(tree)["aer.correctable"] in ("marginal", "fail")


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_unread(name: str) -> None:
    tree = build(BOX)
    tree.put(at(tree, PORT, name), "RxErr 0")
    assert outcomes(tree)["aer.correctable" if name == "correctable" else "aer.uncorrectable"] == "unknown"


@pytest.mark.parametrize(("old", "new"), [
    ("TOTAL_ERR_COR 0", "TOTAL_ERR_COR 412"), ("TOTAL_ERR_COR 0", "dev_cor_errs_bit[9] 7\nTOTAL_ERR_COR 7")])
def test_errors_without_a_name_do_not_pass(old: str, new: str) -> None:
    tree = build(BOX)
    path = at(tree, CARD, "correctable")
    tree.put(path, tree.text(path).replace(old, new).strip())
    assert outcomes(tree)["aer.correctable"] == "unknown"


def test_what_a_counter_file_must_hold() -> None:
    whole = "\n".join(f"{name} 0" for name in AER_CORRECTABLE.values())
    assert not isinstance(parse_counters(whole, AER_CORRECTABLE_BIT, AER_CORRECTABLE, SIGNAL), Unread)
    cut = parse_counters(whole.replace("Timeout 0", ""), AER_CORRECTABLE_BIT, AER_CORRECTABLE, SIGNAL)
    assert isinstance(cut, Unread)
    assert (cut.kind, "Timeout" in cut.why) == ("malformed", True)
    assert unnamed({"RxErr": 2, "BadTLP": 2, "TOTAL": 3}) == 0
    assert unnamed({"RxErr": 2, "TOTAL": 5}) == 3


@pytest.mark.parametrize(("line", "wanted"), [
    ("pcie_ports=dpc-native pci=noaer", "pci=noaer"), ("pcie_ports=native pcie_ports=compat", "pcie_ports=compat"),
    ("pci=realloc,noaer", "pci=noaer"), ("pcie_ports=dpc-native", None), ("quiet", None)])
def test_every_word_of_the_command_line_is_looked_at(line: str, wanted: str | None) -> None:
    assert parse_disabled(line) == wanted


def test_the_sound_box_passes() -> None:
    assert set(outcomes(build(BOX)).values()) == {Outcome.PASS.value}


def live(name: str) -> list[tuple[str, str, str]]:
    facts = read_facts(host(build(name)))
    want = load_profile(BOX)
    name_slots(facts, want)
    found = inspect_facts(facts, want, choose_checks(("aer.live",))).findings
    return [(str(finding.subject), finding.says, finding.where or "") for finding in found
            if finding.outcome is Outcome.MARGINAL]


def test_one_cause_for_all_links_is_told_once() -> None:
    ((subject, says, where),) = live(f"{BOX}+aer-firmware-owned")
    assert subject == "box"
    assert says.startswith("errors of 7 GPU links are not counted: ")
    assert where == "PCIE1, PCIE2, PCIE3, PCIE4, PCIE5, PCIE6 and PCIE7"


def test_two_causes_are_two_findings_and_the_other_links_pass() -> None:
    found = live(f"{BOX}+aer-reporting-off")
    assert [subject for subject, _, _ in found] == [SLOT]
    assert "the card does not report correctable errors" in found[0][1]
    tree = outcomes(build(f"{BOX}+aer-firmware-owned"))
    assert set(tree.values()) == {"unknown"}  # the counters of each link are still no pass
