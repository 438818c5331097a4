"""Metrics of the last verdict: read by prometheus-client's parsers, for Prometheus and for OpenMetrics."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.account import Account
from boxcheck.certify.acceptance import Acceptance, Identity
from boxcheck.commands.doctor import Options, doctor, examine
from boxcheck.model import Finding, Outcome, Subject
from boxcheck.report.judged_run import judge_stored
from boxcheck.report.openmetrics import (
    MOST_FINDINGS,
    Metric,
    account_openmetrics,
    directions_of,
    of_run,
    run_openmetrics,
    text_of,
)
from tests.boxes import build
from tests.report.stored import EVERY, stored

prometheus = pytest.importorskip("prometheus_client.parser")
openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser")
Samples = dict[str, list[tuple[dict[str, str], float]]]


def parsed(text: str, source: str = "burn") -> Samples:
    """What both parsers make of a text, which is the same; without the label that all of it has."""
    sources: set[str] = set()

    def of(families: Iterable[Any]) -> Samples:
        found: Samples = {}
        for family in families:
            for sample in family.samples:
                assert family.type == "gauge"
                assert sample.timestamp is None
                labels = dict(sample.labels)
                sources.add(labels.pop("source"))
                found.setdefault(sample.name, []).append((labels, float(sample.value)))
        return found

    as_prometheus = of(prometheus.text_string_to_metric_families(text))
    assert as_prometheus == of(openmetrics.text_string_to_metric_families(text))
    assert sources == {source}
    return as_prometheus


@cache
def metrics_of(name: str) -> Samples:
    return parsed(run_openmetrics(stored(name)))


def account(box: str, folder: Path) -> Account:
    build(box).write_dir(folder)
    return examine(Options(sysroot=str(folder)))[0]


@pytest.mark.parametrize("name", EVERY)
def test_both_parsers_read_every_run_and_see_its_verdict(name: str) -> None:
    judged, found = judge_stored(stored(name), None), metrics_of(name)
    assert [labels["outcome"] for labels, value in found["boxcheck_verdict"] if value] == [judged.verdict.outcome.value]
    assert len(found["boxcheck_verdict"]) == 4
    assert found["boxcheck_exit_code"] == [({}, judged.exit_code)]
    assert [labels["state"] for labels, value in found["boxcheck_run_state"] if value] == [judged.run.state]
    assert found["boxcheck_finished_timestamp_seconds"][0][1] == pytest.approx(judged.finished)


def test_a_run_that_goes_on_has_no_time_of_its_end() -> None:
    judged = judge_stored(stored("finished"), None)
    going = msgspec.structs.replace(judged, run=msgspec.structs.replace(judged.run, state="running", end=None))
    assert "boxcheck_finished_timestamp_seconds" not in parsed(text_of(of_run(going), "burn"))


def test_errors_of_a_link_are_told_by_slot_and_direction() -> None:
    found = metrics_of("failing")
    errors = {(labels["slot"], labels["direction"], labels["error"]): value
              for labels, value in found["boxcheck_link_errors"]}
    assert errors["PCIE3", "host", "BadTLP"] > 0
    assert {key[:2] for key, value in errors.items() if value} == {("PCIE3", "host")}
    assert len({(labels["bdf"], labels["direction"]) for labels, _ in found["boxcheck_link_payload_bits"]}) == 14


def test_errors_that_nobody_counts_have_no_sample() -> None:
    path = stored("failing")
    judged = judge_stored(path, None)
    first, *rest = directions_of(path, judged)
    blind = msgspec.structs.replace(first, unread="it was not read")
    found = parsed(text_of(of_run(judged, (blind, *rest)), "burn"))
    place = {"slot": first.hop.slot, "bdf": first.hop.port, "card": first.hop.card, "direction": first.toward}
    assert (place, 0.0) in found["boxcheck_link_errors_known"]
    assert not [labels for labels, _ in found["boxcheck_link_errors"]
                if (labels["bdf"], labels["direction"]) == (first.hop.port, first.toward)]


def test_heat_and_power_are_the_most_of_the_run() -> None:
    found = metrics_of("marginal")
    hot = {labels["slot"]: value for labels, value in found["boxcheck_gpu_hottest_celsius"]
           if labels["sensor"] == "core"}
    assert max(hot, key=hot.__getitem__) == "PCIE5"
    assert len(found["boxcheck_gpu_most_watts"]) == 7


def test_the_number_of_series_is_bounded() -> None:
    judged = judge_stored(stored("finished"), None)
    bad = tuple(Finding(
        check="pcie.link-width", subject=Subject("gpu", f"GPU {number}"), outcome=Outcome.FAIL, says="", blocker=True)
        for number in range(2000))
    verdict = msgspec.structs.replace(judged.verdict, findings=bad)
    judged = msgspec.structs.replace(judged, judged=msgspec.structs.replace(judged.judged, verdict=verdict))
    found = parsed(text_of(of_run(judged), "burn"))
    assert len(found["boxcheck_finding"]) == MOST_FINDINGS
    assert found["boxcheck_findings_left_out"] == [({}, 1500.0)]


def test_labels_are_escaped_and_hold_no_control_characters() -> None:
    hostile = 'a"b\\c\nd\x1b[31m\u202e{}=,' + "x" * 500
    text = text_of([Metric("info", hostile, [({"box": hostile}, 1.0), ({"box": hostile}, 1.0)])], "burn")
    (labels, value), = parsed(text)["boxcheck_info"]
    assert labels["box"].startswith('a"b\\c')
    assert len(labels["box"]) == 200
    assert not {"\x1b", "\n", "\u202e"} & set(labels["box"])
    assert value == 1.0
    assert "\x1b" not in "".join(labels for labels, _ in [(str(one), 0) for one in metrics_of("hostile").items()])


def test_doctor_tells_counters_of_both_ends_of_each_link(tmp_path: Path) -> None:
    found = parsed(account_openmetrics(account("wopr-7x4090+riser-x8", tmp_path)), "doctor")
    assert [labels["outcome"] for labels, value in found["boxcheck_verdict"] if value] == ["fail"]
    bad = [labels for labels, _ in found["boxcheck_finding"] if labels["outcome"] == "fail"]
    assert [(one["check"], one["slot"]) for one in bad] == [("pcie.link-width", "PCIE3")]
    ends = {(labels["slot"], labels["direction"]) for labels, value in found["boxcheck_aer_errors_known"] if value}
    assert {("PCIE3", "card"), ("PCIE3", "host")} <= ends
    assert found["boxcheck_info"][0][0]["profile"] == "wopr-7x4090"


def test_counters_that_were_not_read_are_not_zero(tmp_path: Path) -> None:
    build("wopr-7x4090").write_dir(tmp_path)
    for path in tmp_path.rglob("aer_dev_correctable"):
        path.unlink()
    found = parsed(account_openmetrics(examine(Options(sysroot=str(tmp_path)))[0]), "doctor")
    assert not [labels for labels, _ in found.get("boxcheck_aer_errors", ()) if labels["severity"] == "correctable"]
    assert 0.0 in {value for _, value in found["boxcheck_aer_errors_known"]}


def test_the_file_is_replaced_whole_and_others_may_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build("tinybox-red").write_dir(tmp_path / "box")
    place = tmp_path / "boxcheck.prom"
    place.write_text("old")
    before = place.stat().st_ino
    os.umask(mask := os.umask(0o022))
    doctor(Options(sysroot=str(tmp_path / "box"), openmetrics=str(place), quiet=True))
    assert place.stat().st_ino != before
    assert place.stat().st_mode & 0o777 == 0o666 & ~mask
    assert sorted(path.name for path in tmp_path.iterdir()) == ["box", "boxcheck.prom"]
    assert parsed(place.read_text(), "doctor")["boxcheck_verdict"]
    capsys.readouterr()


def test_a_file_of_doctor_and_one_of_a_run_lie_in_one_folder(tmp_path: Path) -> None:
    """node_exporter refuses one sample in two files, and a metric with two helps."""
    helps: dict[str, str] = {}
    samples: list[str] = []
    for text in (account_openmetrics(account("wopr-7x4090", tmp_path)), run_openmetrics(stored("finished"))):
        for line in text.splitlines():
            if line.startswith("# HELP "):
                _, _, name, help = line.split(" ", 3)
                assert helps.setdefault(name, help) == help
            elif not line.startswith("#"):
                samples.append(line.rpartition(" ")[0])
    assert len(samples) == len(set(samples)) > 300


def test_a_bound_on_the_error_rate_needs_bits_and_known_errors() -> None:
    path = stored("finished")
    judged = judge_stored(path, None)
    some = directions_of(path, judged)[:4]
    bits = [3 * 10**12, 3 * 10**12, 0, 3 * 10**12]
    moved = [msgspec.structs.replace(one, payload_bits=size) for one, size in zip(some, bits, strict=True)]
    moved[1] = msgspec.structs.replace(moved[1], at_least=("its counters began anew",))
    moved[3] = msgspec.structs.replace(moved[3], unread="nobody read them")
    found = parsed(text_of(of_run(judged, moved), "burn"))["boxcheck_link_bit_error_rate_upper"]
    assert [value for _, value in found] == [pytest.approx(1e-12, rel=0.01)]


def test_an_acceptance_tells_its_disposition_and_attempt() -> None:
    told = Acceptance(
        id="3b9f", version="0.4.0", identity=Identity(serial="BX-1", serial_from="operator"), attempt=2, attempts=2,
        profile="p", profile_revision=1, profile_sha256="0", started=0.0, finished=1.0, run="r",
        disposition="MARGINAL PASS", verdict="marginal", reason="")
    found = parsed(text_of(of_run(judge_stored(stored("finished"), None), (), told), "burn"))
    assert [labels for labels, value in found["boxcheck_disposition"] if value] == [
        {"disposition": "MARGINAL PASS", "serial": "BX-1", "with_waivers": "false"}]
    assert found["boxcheck_attempt"] == [({}, 2.0)]
