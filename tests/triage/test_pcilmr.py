"""pcilmr's output in triage and as lane margins. The texts were printed by pcilmr's own code of 3.12 and 3.14, with
values that were made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given

from boxcheck.decode.pcilmr import address, csv_name, grade, parse
from boxcheck.riser.margining.pcilmr import lane_margins
from boxcheck.triage.evidence import Evidence
from boxcheck.triage.tools import pcilmr
from tests.triage.benchmarks import CORPUS, corpus, cut, fuzz, survives, texts
from tests.triage.test_benchmarks_corpus import wrapped

FILES = sorted((CORPUS / "pcilmr").glob("*.txt"))


def sections(text: str) -> list[Evidence]:
    return [pcilmr.read(section) for module, section in cut(text) if module == "pcilmr"]


def one(name: str) -> Evidence:
    found = sections(corpus("pcilmr", f"{name}.txt"))
    assert len(found) == 1
    return found[0]


def said(evidence: Evidence) -> list[tuple[str, str | None, tuple[str, ...]]]:
    return [(event.severity, event.bdf, event.labels) for event in evidence.events]


@pytest.mark.parametrize("name", ["lane-5-weak", "lane-5-weak-older"])
def test_a_weak_lane_is_named_at_the_end_that_receives_it(name: str) -> None:
    evidence = one(name)
    assert said(evidence) == [("fail", "0000:41:00.0", ("Rx F", "lane 5"))]
    assert evidence.events[0].says == (
        "lane 5 has 37% of the other lanes' eye width at Rx F of link 0000:40:01.1 to 0000:41:00.0, below the smallest allowed "
        "(10.9 ps of 18.75, 44 mV of 15)")
    assert [device.bdf for device in evidence.devices] == ["0000:40:01.1", "0000:41:00.0"]
    assert evidence.devices[1].parent == "0000:40:01.1"
    assert evidence.devices[0].link is not None
    assert (evidence.devices[0].link.speed_gts, evidence.devices[0].link.width) == (16.0, 16)
    assert any("ASPM" in note for note in evidence.notes)
    assert len(evidence.readings["lane_eyes"]) == 32


@pytest.mark.parametrize("name", ["lane-5-weak-csv", "lane-5-weak-older-csv"])
def test_a_csv_file_says_the_same_without_saying_whose(name: str) -> None:
    evidence = one(name)
    assert said(evidence) == [("fail", None, ("Rx ?", "lane 5"))]
    assert "(10.9 ps of 18.75, 44 mV of 15)" in evidence.events[0].says


@pytest.mark.parametrize("name", ["sound", "retimer", "own-criteria", "scan", "not-run", "one-side-older", "no-voltage-older", "one-side-older-csv"])
def test_sound_links_have_no_events(name: str) -> None:
    assert said(one(name)) == []


def test_a_lane_without_a_scale_is_compared_with_its_like() -> None:
    evidence = one("no-scale")
    assert said(evidence) == [("warn", "0000:41:00.0", ("Rx F", "lane 5"))]
    assert any("reports no scale" in note for note in evidence.notes)
    assert evidence.readings["lane_eyes"][21][3:] == [5, None, None, "unknown"]


@pytest.mark.parametrize(("name", "count"), [("one-side-whole", 2), ("one-side-whole-csv", 1)])
def test_all_lanes_alike_below_the_limit_are_no_lane_s_fault(name: str, count: int) -> None:
    evidence = one(name)
    assert [event.severity for event in evidence.events] == ["warn"] * count
    assert all("all its lanes" in event.says or "lanes " in event.says for event in evidence.events)


def test_what_was_not_margined_is_said() -> None:
    assert any("Rx F of link" in note and "Margining Ready bit is Clear" in note for note in one("not-run").notes)


def test_a_scan_lists_links() -> None:
    evidence = one("scan")
    assert evidence.readings["links"] == [["0000:40:01.1", "0000:41:00.0", True], ["0000:40:03.1", "0000:46:00.0", False]]


def test_a_run_that_was_cut_off_before_its_results_is_said_to_be() -> None:
    text = corpus("pcilmr", "lane-5-weak.txt").split("Results:")[0]
    assert sections(text)[0].events == ()
    text = corpus("pcilmr", "lane-5-weak.txt").split("Rx(F) Lane  5")[0]
    assert len(parse(text.split("\n")).links[0].receivers[1].lanes) == 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_text_is_one_section_and_the_log_around_it_is_not_taken(path: Path) -> None:
    before = "[  100.000001] pcieport 0000:40:01.1: AER: Correctable error message received from 0000:40:01.1\n"
    after = "[  101.000001] NVRM: Xid (PCI:0000:41:00): 79, pid=0, GPU has fallen off the bus.\nuser@bench:~$ exit\n"
    found = [(module, section) for module, section in cut(before + path.read_text().strip("\n") + "\n" + after)]
    assert [module for module, _ in found] == ["pcilmr"]
    lines = [line for line in path.read_text().split("\n") if line.strip()]
    assert [line for line in found[0][1].lines if line] == [line.rstrip() for line in lines]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_flattened_quoted_or_wrapped_text_says_the_same(path: Path) -> None:
    text = path.read_text()
    want = [(event.severity, event.labels, event.says) for event in sections(text)[0].events]
    flat = "\n".join("> " + " ".join(line.split()) if line.strip() else ">" for line in text.split("\n"))
    assert [(event.severity, event.labels, event.says) for event in sections(flat)[0].events] == want
    for columns in (72, 76, 80):
        if "csv" in path.stem:
            continue
        found = sections(wrapped(text, columns))
        assert len(found) == 1
        assert [(event.severity, event.labels, event.says) for event in found[0].events] == want


def test_margins_are_those_of_the_text_and_graded_by_the_specification() -> None:
    link = parse(corpus("pcilmr", "lane-5-weak.txt").split("\n")).links[0]
    margins = lane_margins(link)
    assert len(margins) == 32
    weak = next(margin for margin in margins if (margin.receiver, margin.lane) == ("F", 5))
    assert (weak.left_ui, weak.right_ui) == (pytest.approx(0.10), pytest.approx(0.075))
    assert (weak.up_volts, weak.down_volts) == (pytest.approx(0.0219), pytest.approx(0.0219))
    assert weak.grade == "fail"
    assert {margin.grade for margin in margins if margin is not weak} == {"pass"}
    older = lane_margins(parse(corpus("pcilmr", "lane-5-weak-older.txt").split("\n")).links[0])
    assert [margin.grade for margin in older] == [margin.grade for margin in margins], "pcilmr's own word was Okay"


def test_margins_of_a_receiver_without_a_scale_are_unknown() -> None:
    link = parse(corpus("pcilmr", "no-scale.txt").split("\n")).links[0]
    assert {(margin.left_ui, margin.up_volts, margin.grade) for margin in lane_margins(link)} == {(None, None, "unknown")}


def test_a_whole_eye_by_one_side_is_halved() -> None:
    link = parse(corpus("pcilmr", "one-side-whole.txt").split("\n")).links[0]
    margin = lane_margins(link)[0]
    assert (margin.left_ui, margin.right_ui) == (pytest.approx(0.1125), None)
    assert link.receivers[0].reversed
    assert not link.receivers[1].reversed


def test_a_csv_file_s_name_says_whose_it_is() -> None:
    assert csv_name("/tmp/lmr_0000.41.00.0_RxF_2026-11-28T21:59:59.csv") == ("0000:41:00.0", "F")
    assert csv_name("lmr_41.csv") is None
    found = parse(corpus("pcilmr", "lane-5-weak-csv.txt").split("\n"), "lmr_0000.41.00.0_RxF_2026-11-28T21:59:59.csv")
    assert found.links[0].card == "0000:41:00.0"
    assert len(lane_margins(found.links[0])) == 16
    assert lane_margins(parse(corpus("pcilmr", "lane-5-weak-csv.txt").split("\n")).links[0]) == ()


def test_addresses_get_their_zeros() -> None:
    assert address("40:1.1") == "0000:40:01.1"
    assert address("10000:e1:0.0") == "10000:e1:00.0"


LINE = "Rx(A) Lane  0: Pass	 (W {w:4.1f}% UI - {ps:5.2f}ps, H 15.0 mV)  (L {l:4.1f}% UI - {lps:5.2f}ps - 12st {stop})  (R {l:4.1f}% UI - {lps:5.2f}ps - 12st LIM)  (U   7.5 mV -  5st LIM)  (D   7.5 mV -  5st LIM)"


@pytest.mark.parametrize(("ps", "side", "stop", "expected"), [
    (18.75, 9.38, "LIM", "marginal"), (18.74, 9.37, "LIM", "marginal"), (18.70, 9.35, "LIM", "fail"), (18.70, 9.35, "THR", "unknown"),
    (18.70, 9.35, "NAK", "unknown")])
def test_the_limit_by_a_notch_and_by_what_ended_the_steps(ps: float, side: float, stop: str, expected: str) -> None:
    text = "Link 40:1.1 -> 41:0.0:\n\n" + LINE.format(w=ps / 0.625, ps=ps, l=side / 0.625, lps=side, stop=stop)
    link = parse(text.split("\n")).links[0]
    assert link.speed_gts == 16.0
    assert grade(link.receivers[0], link.receivers[0].lanes[0], link.speed_gts) == expected


@fuzz
@given(texts("pcilmr"))
def test_any_text_is_survived(text: str) -> None:
    survives("pcilmr", text)
    json.dumps([str(link) for link in parse(text.split("\n")).links])


@pytest.mark.parametrize("line", ["Rx(A) Lane 1: Pass (" + "L 1% UI " * 3000, "Link " + "1:" * 9000, "40:1.1 -> " * 3000, "9" * 9000 + ",1" * 9000])
def test_long_lines_cost_little(line: str) -> None:
    import time

    began = time.process_time()
    for _ in range(20):
        pcilmr.begins(line)
        pcilmr.belongs("pcilmr", line)
        pcilmr.belongs("pcilmr csv", line)
        parse([line] * 5)
    assert time.process_time() - began < 2.0
