"""DCGM: a skip is no pass, a pass names what it did not look at, and a failure is what the same fact is elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxcheck.decode.dcgm_health import parse_health_json
from boxcheck.report.text import Style
from boxcheck.report.triage import triage_text
from tests.triage.benchmarks import corpus, one, read
from tests.triage.lspci_text import bridge, nvidia
from tests.triage.texts import told

V3: dict[str, Any] = {
    "DCGM GPU Diagnostic": {"test_categories": [
        {"category": "Deployment", "tests": [{"name": "Denylist", "results": [{"status": "Pass"}]}]},
        {"category": "Integration", "tests": [{"name": "PCIe", "results": [
            {"gpu_id": "0", "status": "Pass"},
            {"gpu_id": "1", "status": "Fail", "warnings": [{"error_id": 3, "warnings": "too many of them"}]}]}]},
        {"category": "Hardware", "tests": [{"name": "GPU Memory", "results": [
            {"gpu_id": "0", "status": "Skip"}, {"gpu_id": "1", "status": "Skip"}]}]}]},
    "Driver Version Detected": "550.54.15", "GPU Device IDs": ["20b5", "20b5"],
    "GPU Device Serials": {"0": "1320", "1": "1321"}, "version": "3.3.5",
}


def v4(*tests: dict[str, Any], category: str = "Hardware") -> dict[str, Any]:
    return {"DCGM Diagnostic": {"test_categories": [{"category": category, "tests": list(tests)}]},
            "entity_groups": [{"entity_group": "GPU", "entity_group_id": 1, "entities": [
                {"device_id": "2330", "entity_id": 0, "serial_num": "1650"}]}],
            "metadata": {"version": "4.4.1", "Driver Version Detected": "580.65.06"}}


def result(status: str, code: int | None = None, words: str = "", *, gpu: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {"entity_group": "GPU", "entity_group_id": 1, "entity_id": gpu, "status": status}
    if code is not None:
        found["warnings"] = [{"error_id": code, "error_category": 0, "error_severity": 0, "warning": words}]
    return found


def events(tmp_path: Path, value: object) -> list[tuple[str, str]]:
    return [(one.kind, one.event.severity) for one in told(tmp_path, json.dumps(value, indent=3)).events]


def test_json_of_dcgm_3(tmp_path: Path) -> None:
    found = told(tmp_path, json.dumps(V3))
    assert [(one.kind, one.event.severity, one.labels) for one in found.events] == [
        ("link-replays", "fail", ("gpu1", "PCIe")), ("tool-waived", "info", ("dcgmi",))]
    assert found.sources[0].pieces == ("dcgmi diag, DCGM 3.3.5",)
    assert [(device.index, device.serial) for device in found.devices] == [(0, "1320"), (1, "1321")]
    assert any("GPU Memory" in note and "skipped" in note for note in found.notes)


def test_json_of_dcgm_4(tmp_path: Path) -> None:
    """The summary repeats the messages of its GPUs: one event."""
    words = "Found 8 faulty memory elements on GPU 0"
    test = {"name": "memory", "results": [result("Fail", 52, words)],
            "test_summary": {"status": "Fail", "warnings": [{"error_id": 52, "warning": words}]}}
    assert events(tmp_path, v4(test)) == [("wrong-results", "fail")]
    warned = {"name": "memory", "results": [result("Fail", 9999, "something new")], "test_summary": {"status": "Warn"}}
    assert events(tmp_path, v4(warned)) == [("test-failed", "warn")]


@pytest.mark.parametrize(("status", "code", "severity"), [
    ("Fail", 120, "fail"), ("Pass", 120, "fail"), ("Fail", 80, "fail"), ("Fail", 104, "fail"), ("Warn", 104, "warn"),
    ("Fail", 46, "warn"), ("Fail", 40, "warn"), ("Fail", 25, "warn"), ("Warn", 29, "info"), ("Fail", 29, "info"), ("Fail", 117, "warn"),
    ("Fail", 9999, "fail"), ("Pass", 9999, "warn"), ("Pass", 56, "warn"), ("Fail", None, "fail"), ("Warn", None, "warn"),
])
def test_what_a_result_weighs(status: str, code: int | None, severity: str, tmp_path: Path) -> None:
    """A message of a fault beside a Pass is told; a setting fails no machine."""
    test = {"name": "pcie", "results": [result(status, code, "words")], "test_summary": {"status": status}}
    assert [found for _, found in events(tmp_path, v4(test))] == [severity]


@pytest.mark.parametrize("status", ["Skip", "Not Run", "", None, 7])
def test_what_did_not_run_is_no_pass(status: object, tmp_path: Path) -> None:
    test = {"name": "memory", "results": [result("Pass") | {"status": status}], "test_summary": {"status": status}}
    found = told(tmp_path, json.dumps(v4(test)))
    assert [one.kind for one in found.events] == ["tool-waived"]
    assert any("ran nothing on a GPU; it skipped memory" in note for note in found.notes)
    assert "ran nothing on a GPU" in " ".join(triage_text(found, Style()).split())


def test_a_run_that_did_not_run(tmp_path: Path) -> None:
    for words, kind, severity in (("Unable to complete diagnostic. Return: (-46): GPU is lost", "gpu-lost", "fail"),
                                  ("Unable to complete diagnostic", "tool-error", "warn")):
        assert events(tmp_path, {"DCGM Diagnostic": {"runtime_error": words, "version": "4.4.1"}}) == [(kind, severity)]


@pytest.mark.parametrize("value", [
    {"DCGM GPU Diagnostic": {"version": "4.2.3"}}, {"DCGM Diagnostic": {"test_categories": []}},
    {"DCGM Diagnostic": {"test_categories": {}}, "metadata": {"version": "4.4.1"}},
])
def test_no_test_at_all_is_told(value: object, tmp_path: Path) -> None:
    """As of GPUs that DCGM does not support; it would look like a run without a fault."""
    assert events(tmp_path, value) == [("tool-error", "warn")]


def test_no_result_of_health_is_told(tmp_path: Path) -> None:
    found = told(tmp_path, json.dumps({"header": ["Health Monitor Report"], "body": {}}))
    assert any("holds no result" in note for note in found.notes)


def test_a_table_that_stops_after_its_head(tmp_path: Path) -> None:
    text = corpus("dcgm", "diag-r3-sound.txt").split("|-----  Deployment")[0]
    assert [one.kind for one in told(tmp_path, text).events] == ["tool-error"]


def test_level_one_looked_at_no_gpu() -> None:
    assert "ran nothing on a GPU" in one(corpus("dcgm", "diag-r1.txt")).notes[0]
    assert not any("ran nothing" in note for note in one(corpus("dcgm", "diag-4-heat-xid.txt")).notes)


def test_a_pass_names_what_it_leaves_open() -> None:
    notes = one(corpus("dcgm", "diag-r3-sound.txt")).notes
    assert ["EUD Test" in notes[0], *(note.split(":")[0] for note in notes[1:])] == [
        True, "links", "all of a GPU's memory", "products"]


def test_healthy_is_what_the_watches_saw() -> None:
    assert "since" in one(corpus("dcgm", "health-healthy.txt")).notes[0]
    assert "NVLINK, SM" in one(corpus("dcgm", "health-watches.txt")).notes[0]


def test_health_as_json() -> None:
    value = {"header": ["Health Monitor Report"], "body": {
        "Overall Health": {"value": "Failure"},
        "GPU": {"children": {"5": {"value": "Failure", "children": {"Errors": {"children": {"Memory system": {
            "value": "Failure", "overflow": ["Detected 1 volatile double-bit", "ECC error(s) in GPU 5."]}}}}}}}}}
    found = parse_health_json(value)
    assert found is not None
    incident, = found.incidents
    assert (incident.group, incident.number, incident.system, incident.status) == ("GPU", 5, "Memory system", "Failure")
    assert incident.text == "Detected 1 volatile double-bit ECC error(s) in GPU 5."


def test_an_overall_failure_without_its_reason() -> None:
    text = corpus("dcgm", "health-failure.txt").split("| GPU  ")[0]
    assert [(event.kind, event.severity) for event in one(text).events] == [("test-failed", "fail")]


def test_the_same_link_is_one_problem(tmp_path: Path) -> None:
    """dcgmi's GPU 1 is nvidia-smi's, and the port settles it."""
    rows = "index, name, pci.bus_id\n" + "".join(
        f"{number}, NVIDIA GeForce RTX 4090, 00000000:4{number}:00.0\n" for number in (0, 1))
    diag = corpus("dcgm", "diag-4-width.txt")
    problem, = told(tmp_path, rows, diag).faults
    assert (problem.rule, problem.severity, "41:00.0" in problem.title) == ("narrow-link", "warn", True)
    card = nvidia("41:00.0", speed=16, width=4)
    for lanes, faults in ((4, []), (16, [("damaged-link", "fail")])):
        port = bridge("40:01.1", 0x41, width=4, lanes=lanes)
        assert [(one.rule, one.severity) for one in told(tmp_path, rows, diag, port + "\n" + card).faults] == faults


def test_fewer_gpus_than_the_bus_has(tmp_path: Path) -> None:
    listed = corpus("dcgm", "discovery.txt")
    two = nvidia("41:00.0", speed=16) + "\n" + nvidia("42:00.0", speed=16)
    assert told(tmp_path, listed, two).faults == ()
    problem, = told(tmp_path, listed, two + "\n" + nvidia("43:00.0", speed=16)).faults
    assert "dcgmi discovery lists 2" in problem.title


@pytest.mark.parametrize("before", ["$ dcgmi diag -r 1 -j\n", "Hi all,\n\n```json\n", "Running iteration 1 of 2...\n   "])
def test_json_within_a_text(before: str, tmp_path: Path) -> None:
    """Below a prompt, in a post, and two after one another."""
    after = "\n```\n[  500.000000] NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus.\n"
    document = json.dumps(V3, indent=3)
    found = told(tmp_path, before + document + after)
    first = before.count("\n") + 1
    assert [(one.kind, one.event.line) for one in found.events] == [
        ("xid", first + document.count("\n") + 2), ("link-replays", first), ("tool-waived", first)]
    assert len(told(tmp_path, before + document + "\n" + document).readings) == 2


def test_json_that_is_cut_off_is_said(tmp_path: Path) -> None:
    found = told(tmp_path, "$ dcgmi diag -r 1 -j\n" + json.dumps(V3, indent=3)[:-400])
    assert any("line 2: a JSON document that is cut off" in words for words in found.sources[0].complaints)


@pytest.mark.parametrize("row", ["| PCIe | Fail - GPU: 1 |", "| targeted_power            | Fail        |", "| pcie | Warn |"])
def test_a_row_that_grep_left(row: str) -> None:
    event, = one(row + "\n").events
    assert (event.kind, event.severity) == ("test-failed", "warn" if "Warn" in row else "fail")


@pytest.mark.parametrize("row", ["| Denylist | Fail |", "| my test | Fail |", "| memory | Failed to start it |"])
def test_a_row_of_another_table(row: str) -> None:
    assert read(row + "\n") == []


def test_two_tables_are_two_runs() -> None:
    """The second one of a level up, with and without the line above it."""
    first, second = corpus("dcgm", "diag-r1.txt"), corpus("dcgm", "diag-r2-memory.txt")
    assert [len(found.events) for found in read(first + second)] == [0, 2]
    bare = second.split("\n", 1)[1]
    found, = read(first + bare)
    assert [event.kind for event in found.events] == ["ecc-errors", "wrong-results"]


def test_an_nvidia_smi_right_above_keeps_its_own(tmp_path: Path) -> None:
    table = Path(__file__).parents[1] / "corpus" / "nvidia-smi" / "table-sound.txt"
    for name in ("health-failure.txt", "diag-r2-memory.txt", "discovery-lost.txt"):
        found = told(tmp_path, table.read_text().rstrip("\n") + "\n" + corpus("dcgm", name))
        assert found.sources[0].pieces[0].startswith("nvidia-smi")
        assert any(one.event.severity == "fail" for one in found.events), name
