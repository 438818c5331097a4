"""The report of an acceptance: what it must say, and what it must never say."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import msgspec
import pytest

from boxcheck.certify.acceptance import Acceptance, Identity, Waiver
from boxcheck.certify.waivers import waiver_of
from boxcheck.model import Bdf, Finding, Limit, Outcome, Quantity, Subject, Unread
from boxcheck.report.acceptance import document_of, document_of_run
from boxcheck.report.acceptance_machine import beside
from boxcheck.report.acceptance_matrices import SLOW_MARK, heat_table
from boxcheck.report.acceptance_read import told_of
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import margin_words
from boxcheck.report.document import Document, Table, VerdictWord
from boxcheck.report.html import html_of, run_html
from boxcheck.report.matrices import Matrix
from boxcheck.store.errors import StoreError
from tests.report.pages import check, facts, parsed, table, tables, text_of, words
from tests.report.scenes import Scene, made
from tests.tui import runs

SCALE = 0.3


@pytest.fixture(scope="module")
def bad_riser(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return made("bad-riser", str(tmp_path_factory.mktemp("bad-riser")), SCALE)


@pytest.fixture(scope="module")
def bad_told(bad_riser: Scene) -> Told:
    return told_of(bad_riser.path, None, bad_riser.acceptance)


@pytest.fixture(scope="module")
def passing(tmp_path_factory: pytest.TempPathFactory) -> Told:
    scene = made("passing", str(tmp_path_factory.mktemp("passing")), SCALE)
    return told_of(scene.path, None, scene.acceptance)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return told_of(made("crashed", str(tmp_path_factory.mktemp("crashed")), 0.3).path)


def cover_of(document: Document) -> VerdictWord:
    return next(one for one in document.blocks if isinstance(one, VerdictWord))


def test_a_bad_riser_fails_and_the_slot_is_named_first(bad_told: Told) -> None:
    document = document_of(bad_told)
    tree = check(html_of(document))
    assert cover_of(document).word == "FAIL"
    failed = table(tree, "Failed: ")
    assert {row[0] for row in failed} == {"FAIL"}
    assert "pcie.link-width" in {row[1] for row in failed}
    width = next(row for row in failed if row[1] == "pcie.link-width")
    assert width[2] == "PCIE3"
    assert width[4] == "≥ 16 lanes"
    assert width[5] == "-50.0 %"
    order = [name for name, _ in tables(tree)]
    places = [next(at for at, name in enumerate(order) if name.startswith(head)) for head in (
        "Failed", "Marginal", "Passed", "Skipped")]
    assert places == sorted(places)


def test_what_failed_is_never_folded_away(bad_told: Told) -> None:
    tree = parsed(html_of(document_of(bad_told)))
    folded = "".join(text_of(one) for one in tree.iter("details"))
    assert "Failed: " not in folded
    assert "Passed, by check" in folded


def test_what_passed_of_one_part_is_said_of_no_other(bad_told: Told) -> None:
    rows = [row for row in table(parsed(html_of(document_of(bad_told))), "Passed, by check") if row[1] == "stress.link-speed"]
    (wide,), (narrow,) = ([row for row in rows if row[3].startswith(lanes)] for lanes in ("x16 throughout", "x8 throughout"))
    assert "40:01.1" not in wide[2]
    assert "PCIE3" not in wide[2]
    assert "PCIE3" in narrow[2]
    assert wide[3].endswith("in matmul, copy, p2p")
    assert narrow[3].endswith("in copy, p2p")


def test_more_words_of_a_check_than_fit_are_one_row_of_one_part(passing: Told) -> None:
    some = [one for one in passing.findings if one.check == "inventory.slot-map"]
    many = msgspec.structs.replace(passing, verdict=msgspec.structs.replace(passing.verdict, findings=[
        msgspec.structs.replace(some[at % len(some)], says=f"sits in seat {at}") for at in range(20)]))
    (row,) = table(parsed(html_of(document_of(many))), "Passed, by check")
    assert row[2] == (some[0].subject.slot or "")
    assert "seat 0" in row[3]
    assert "(one of 20, which differ)" in row[3]


def test_the_counters_after_the_load_are_those_of_the_load(bad_told: Told) -> None:
    ends = table(parsed(html_of(document_of(bad_told))), "Counters at both ends")
    (port,) = (row for row in ends if row[0] == "PCIE3" and row[1].startswith("port"))
    (found,) = [one for one in bad_told.findings if one.check == "aer.correctable" and one.subject.slot == "PCIE3"]
    assert found.outcome is Outcome.MARGINAL
    assert port[3].startswith(f"0 > {found.says.partition(' ')[0]}"), port[3]


def test_no_made_up_card_is_faster_than_any_of_its_kind(tmp_path: Path) -> None:
    for name in ("strix", "passing"):
        told = told_of(made(name, str(tmp_path / name), SCALE).path)
        assert told.verdict.outcome is Outcome.PASS
        assert all(gpu.pci_id for gpu in told.gpus)


def test_what_both_ends_of_a_link_tell_alike_is_said_once_with_where(bad_told: Told) -> None:
    section = words(html_of(document_of(bad_told))).partition("What it explains")[0].rpartition("Problem 1 of")[2]
    assert section.count("fell from x16 to x8 and stayed for") == 1
    assert "at PCIE3, port 40:01.1 and at PCIE3, GPU 41:00.0" in section


def test_findings_are_counted_as_findings_and_checks_as_checks(bad_told: Told) -> None:
    page = words(html_of(document_of(bad_told)))
    failed = [one for one in bad_told.findings if one.outcome is Outcome.FAIL]
    assert len(failed) > len({one.check for one in failed})
    assert f"Findings: {len(failed)} failed, " in page
    assert f"{len({one.check for one in failed if one.blocker})} required checks failed" in page


def test_a_uuid_stands_in_one_line_of_the_cover_on_paper(passing: Told) -> None:
    """Of DejaVu Sans, the widest of the fonts that browsers take, at 8.5 points, beside 5 of padding, on A4 with its margins."""
    glance = next(block for block in document_of(passing).blocks if isinstance(block, Table) and "at a glance" in block.caption)
    uuid = len("GPU-40900193-4417-4000-8000-000000004603")
    assert glance.columns[4].share / sum(column.share for column in glance.columns) * 510 > uuid * 4.1 + 5


def test_the_cover_says_who_what_when_and_by_what(bad_told: Told) -> None:
    told = facts(parsed(html_of(document_of(bad_told))))
    own = bad_told.acceptance
    assert own is not None
    assert told["Box serial"].startswith("W-0007")
    assert told["Attempt"].startswith("2 of 2")
    assert "1: FAIL 2026-11-20" in told["Attempt"]
    assert told["Profile hash"] == bad_told.want.sha256
    assert told["Report id"] == own.id
    assert told["Started"] == "2026-11-21 13:20:04 UTC"
    assert told["Short hash of the run"] == bad_told.store_sha256[:16]
    assert "kWh" in told["Energy used"] or "Wh" in told["Energy used"]


def test_a_pass_of_the_record_does_not_stand_against_a_run_that_failed(bad_told: Told) -> None:
    own = msgspec.structs.replace(bad_told.acceptance, disposition="PASS", verdict="pass")
    word = cover_of(document_of(msgspec.structs.replace(bad_told, acceptance=own)))
    assert word.word == "FAIL"
    assert "the run does not" in word.reason


def test_a_pass_of_the_record_does_not_stand_where_rows_are_missing(passing: Told) -> None:
    word = cover_of(document_of(msgspec.structs.replace(passing, missing=("2 events are missing",))))
    assert word.word == "INCOMPLETE"
    page = html_of(document_of(msgspec.structs.replace(passing, missing=("2 events are missing",))))
    assert "A part only." in words(page)


def test_a_pass_says_what_it_does_not_say(passing: Told) -> None:
    document = document_of(passing)
    assert cover_of(document).word == "PASS"
    assert cover_of(document).outcome is Outcome.PASS
    said = words(html_of(document))
    assert "not a general statement that the machine is healthy" in said
    assert "Nothing failed, nothing was marginal" in said
    assert "that this is the box in front of you" in said


def test_zero_errors_are_told_as_a_bound(passing: Told) -> None:
    rows = table(parsed(html_of(document_of(passing))), "Links under load")
    assert len(rows) == 14
    for row in rows:
        assert row[4] == "0"
        assert row[5] == "-"
        assert row[7].startswith("< ")
        assert row[8] == "bounded"


def test_errors_of_a_link_have_bounds_on_both_sides_as_far_as_they_hold(bad_told: Told) -> None:
    rows = table(parsed(html_of(document_of(bad_told))), "Links under load")
    (bad,) = (row for row in rows if row[0] == "PCIE3" and row[2] == "from the card")
    assert "BadTLP" in bad[4]
    assert bad[6].startswith("> ")
    assert bad[7] == "not known", "bursts: there may have been more"
    assert bad[8] == "FAIL"
    ends = table(parsed(html_of(document_of(bad_told))), "Counters at both ends")
    (port,) = (row for row in ends if row[0] == "PCIE3" and row[1].startswith("port"))
    assert port[3].startswith("0 > ")
    assert "(+" in port[3]


def test_unread_counters_are_unread_and_no_zeros(passing: Told) -> None:
    quiet = msgspec.structs.replace(passing, counted={}, directions=tuple(
        msgspec.structs.replace(one, unread="nobody read them") for one in passing.directions))
    tree = parsed(html_of(document_of(quiet)))
    for row in table(tree, "Links under load"):
        assert row[4].startswith("unread: ")
        assert row[5] == "unread"
        assert row[7] == "not known"
        assert row[8] == "unread"
    for row in table(tree, "Counters at both ends"):
        assert row[2].startswith("unread")
        assert "0" not in row[2:7]


def test_a_run_that_broke_off_says_so_on_its_cover_and_what_was_not_run(crashed: Told) -> None:
    document = document_of(crashed)
    page = html_of(document)
    assert cover_of(document).word == "INCOMPLETE"
    said = words(page)
    assert "A part only." in said
    assert "boxcheck or the machine went down" in said
    assert "Not an acceptance." in said
    ran = table(parsed(page), "What was run")
    assert [row[5] for row in ran if row[0] == "p2p"] == ["cut off"]
    assert [row[4] for row in ran if row[0] == "p2p"] == ["9 s"] or ran[2][4].endswith(" s")


def test_what_was_cut_off_is_not_said_to_have_had_no_instruments(crashed: Told) -> None:
    """Its sheets hold temperatures and power to the second of the crash."""
    page = words(html_of(document_of(crashed)))
    assert "no temperature and no power was read" not in page
    assert "no record of what watched heat and power" in page


def test_a_gpu_that_told_nothing_has_a_gap_and_no_line(crashed: Told) -> None:
    lines = {info.key: crashed.series.gpus[info.bdf or ""].lines["power"] for info in crashed.gpus}
    ends = {key: segments[-1][-1][0] for key, segments in lines.items()}
    silent = max(ends)
    assert silent == "cuda:6"
    assert ends["cuda:6"] < ends["cuda:0"] - 3


def test_what_happened_again_and_again_is_one_row_with_how_often(bad_told: Told) -> None:
    errors = [one for one in bad_told.events if one.kind == "aer-correctable"]
    assert len(errors) > 3
    (row,) = [row for row in table(check(html_of(document_of(bad_told))), "What happened in the run") if row[2] == errors[0].kind]
    assert row == [f"{errors[0].at.seconds:.0f} to {errors[-1].at.seconds:.0f} s", str(len(errors)), errors[0].kind,
                   errors[0].subject, errors[0].says]


def test_a_bound_above_the_limit_is_no_margin_and_never_looks_like_a_failure() -> None:
    at_most = Limit("aer.ber", "le", must=1e-12, unit="errors/bit")
    shown = Finding(check="stress.link-rate", subject=Subject("link"), outcome=Outcome.PASS, says="no error", limit=at_most,
                    measured=Quantity(2.3e-12, "errors/bit"))
    assert margin_words(shown) == "bound only"
    assert margin_words(msgspec.structs.replace(shown, outcome=Outcome.FAIL)) == "-130.0 %"
    assert margin_words(msgspec.structs.replace(shown, measured=Quantity(5e-13, "errors/bit"))) == "+50.0 %"


def test_what_follows_from_a_cause_stands_apart_from_it(bad_told: Told) -> None:
    text = text_of(check(html_of(document_of(bad_told))))
    problem = text[text.index("Problem 1 of"):]
    assert problem.index("pcie.link-width") < problem.index("stress.link-rate") < problem.index("What it explains")
    assert problem.index("What it explains") < problem.index("copy.rate") < problem.index("What to do")


def test_waivers_are_shown_with_who_and_until_when(bad_told: Told) -> None:
    rows = table(parsed(html_of(document_of(bad_told))), "Waivers")
    assert rows[1][0] == "pcie.link-width"
    assert rows[1][2] == "A. Rossi, quality"
    assert rows[1][5].startswith("expired")
    assert "FAIL" in {row[0] for row in table(parsed(html_of(document_of(bad_told))), "Failed")}


def test_a_waiver_that_was_used_moves_its_finding_and_the_cover_says_so(bad_told: Told) -> None:
    used = Waiver(check="pcie.link-width", where="PCIE3", who="A", why="b", until="2026-12-31", state="used")
    failed = {one.check for one in bad_told.findings if one.blocker and one.outcome is Outcome.FAIL}
    assert len(failed) > 1
    every = tuple(msgspec.structs.replace(used, check=check, where="") for check in sorted(failed))
    own = msgspec.structs.replace(bad_told.acceptance, waivers=(used,), with_waivers=True, disposition="PASS")
    tree = check(html_of(document_of(msgspec.structs.replace(bad_told, acceptance=own))))
    assert [row[1] for row in table(tree, "Waived: ")] == ["pcie.link-width"]
    assert "pcie.link-width" not in {row[1] for row in table(tree, "Failed: ")}
    assert text_of(_verdict(tree)).startswith("FAILThe record of the acceptance says PASS, and the run does not")
    own = msgspec.structs.replace(own, waivers=every)
    tree = check(html_of(document_of(msgspec.structs.replace(bad_told, acceptance=own))))
    assert {row[1] for row in table(tree, "Waived: ")} == failed
    assert text_of(_verdict(tree)).startswith("PASSwith waivers")


def _verdict(tree: Element) -> Element:
    return next(one for one in tree.iter("div") if one.get("class", "").startswith("verdict"))


@pytest.mark.parametrize(("waiver", "outcome", "cause", "waived"), [
    ({}, Outcome.FAIL, None, True), ({"where": "41:00.0"}, Outcome.FAIL, None, True),
    ({"check": "pcie.*"}, Outcome.FAIL, None, True), ({"check": "pcie"}, Outcome.FAIL, None, True),
    ({"state": "expired"}, Outcome.FAIL, None, False), ({"where": "PCIE4"}, Outcome.FAIL, None, False),
    ({}, Outcome.UNKNOWN, None, False), ({}, Outcome.FAIL, "gpu-lost:0000:41:00.0", False)])
def test_what_the_report_calls_waived_is_what_certify_waives(
    waiver: dict[str, Any], outcome: Outcome, cause: str | None, waived: bool,
) -> None:
    one = Waiver(**({"check": "pcie.link-width", "who": "A", "why": "b", "until": "2026-12-31", "state": "used"} | waiver))
    found = Finding(check="pcie.link-width", outcome=outcome, says="x8", cause=cause, subject=Subject(
        kind="link", name="0000:41:00.0", slot="PCIE3", bdf=Bdf("0000:41:00.0")))
    assert (waiver_of(found, (one,)) is one) == waived


def test_the_same_store_gives_the_same_bytes(bad_riser: Scene) -> None:
    assert run_html(bad_riser.path, None, bad_riser.acceptance) == run_html(bad_riser.path, None, bad_riser.acceptance)


def test_a_run_is_judged_by_another_profile_where_one_is_named(bad_riser: Scene) -> None:
    document = document_of_run(bad_riser.path, "generic")
    assert cover_of(document).word in ("FAIL", "INCOMPLETE")
    assert "from the store alone" in words(html_of(document))


def test_the_report_says_as_judge_says(bad_riser: Scene, bad_told: Told) -> None:
    from boxcheck.engine.rejudge import rejudge
    from boxcheck.store.reader import RunReader

    with RunReader(bad_riser.path) as reader:
        again = rejudge(reader, bad_told.want, False).verdict
    assert bad_told.verdict.outcome is again.outcome


@pytest.mark.parametrize("name", ["no-gpu", "sixteen", "lost", "stopped", "hung", "clock-back", "nothing-yet", "hostile"])
def test_every_kind_of_run_gives_a_page_that_parses(name: str, tmp_path: Path) -> None:
    with runs.made(name, str(tmp_path)) as run:
        path = run.path
    document = document_of_run(path)
    page = html_of(document)
    check(page)
    assert cover_of(document).word not in ("PASS", "MARGINAL PASS")
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_store_that_is_none_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "none.sqlite"
    path.write_bytes(b"no store")
    with pytest.raises(StoreError):
        document_of_run(str(path))
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as base:
        base.execute("CREATE TABLE meta (a)")
    with pytest.raises(StoreError):
        document_of_run(str(foreign))


def test_a_machine_that_was_not_read_is_not_drawn(tmp_path: Path) -> None:
    with runs.made("sixteen", str(tmp_path)) as run:
        path = run.path
    said = words(html_of(document_of_run(path)))
    assert "holds no reading of the machine" in said
    assert "No link is in the ledger" in said


def test_an_acceptance_from_1970_and_without_names_is_shown_as_it_is(passing: Told) -> None:
    assert passing.acceptance is not None
    bare = Acceptance(
        id="x", version="0", identity=Identity(serial="S", serial_from="operator"), attempt=1, attempts=1, profile="p",
        profile_revision=1, profile_sha256="", started=0.0, finished=0.0, clock_trusted=False, run="r",
        disposition="PASS", verdict="pass", reason="")
    page = html_of(document_of(msgspec.structs.replace(passing, acceptance=bare)))
    told = facts(check(page))
    assert told["Operator"] == "not given"
    assert "The clock was not synchronised." in words(page)


def test_a_self_signed_report_says_so_on_its_cover(passing: Told) -> None:
    own = msgspec.structs.replace(passing.acceptance, self_signed=True)
    assert "Self-signed." in words(html_of(document_of(msgspec.structs.replace(passing, acceptance=own))))


def test_a_processor_and_an_opencl_device_on_it_are_called_no_gpus(passing: Told) -> None:
    processors = tuple(msgspec.structs.replace(one, results=msgspec.structs.replace(one.results, gpus=tuple(
        msgspec.structs.replace(info, is_gpu=False) for info in one.results.gpus))) for one in passing.done)
    tree = parsed(html_of(document_of(msgspec.structs.replace(passing, done=processors))))
    assert table(tree, "Devices at a glance")
    assert table(tree, "Devices")
    assert not {"GPU", "GPUs"} & {text_of(one) for name in ("th", "h2", "caption") for one in tree.iter(name)}
    assert [text_of(one) for one in tree.iter("h2") if one.attrib.get("id") == "gpus"] == ["Devices"]


def slow_and_shades(title: str, columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...], told: Told) -> tuple[
        set[str], list[list[str | None]]]:
    """What is marked as slow, and the shades by row."""
    matrix = Matrix(title=title, rows=tuple(f"cuda:{number} PCIE{number}" for number in range(len(rows))), columns=columns,
                    cells=rows)
    cells = [row.cells[1:] for row in heat_table(matrix, "phase", told).rows]
    return ({str(one.words) for row in cells for one in row if SLOW_MARK in one.words},
            [[one.shade for one in row] for row in cells])


def test_both_ways_at_once_is_not_slow_beside_one_way_where_there_are_as_many_gpus_as_ways(passing: Told) -> None:
    good = ("26.1", "26.3", "19.8", "20.1")
    for count in (3, 4, 5):
        slow, shades = slow_and_shades("host and GPU, pinned memory, all GPUs at once, GB/s; every payload verified", (
            "to GPU", "from GPU", "to, both", "from, both"), (*((good,) * (count - 1)), ("13.0", "26.3", "19.8", "20.1")), passing)
        assert slow == {f"13.0 {SLOW_MARK}"}, count
        assert {shade for row in shades[:-1] for shade in row} == {"heat7"}


def test_pairs_of_gpus_have_one_scale_also_where_there_are_two(passing: Told) -> None:
    title = "one way, the source's copy engine writes, GB/s; every payload verified"
    _, ((_, there), (back, _)) = slow_and_shades(title, ("cuda:0", "cuda:1"), ((".", "26.0"), ("13.0", ".")), passing)
    assert (there, back) == ("heat7", "heat0")
    three = ((".", "26.0", "26.0"), ("26.0", ".", "12.0"), ("26.0", "26.0", "."))
    assert slow_and_shades(title, ("cuda:0", "cuda:1", "cuda:2"), three, passing)[0] == {f"12.0 {SLOW_MARK}"}


def glance(told: Told) -> dict[str, tuple[str, str]]:
    """By place: outcome and what was found."""
    rows = table(parsed(html_of(document_of(told))), "GPUs at a glance")
    return {row[0]: (row[1], row[2]) for row in rows[1:]}


def test_a_pair_makes_no_gpu_fail_whose_partner_fails_by_itself(bad_told: Told) -> None:
    pair = Finding(
        check="p2p.rate", outcome=Outcome.FAIL, blocker=True, says="slow", subject=Subject("group", "PCIE3 (cuda:2) > PCIE6 (cuda:5)"))
    told = msgspec.structs.replace(bad_told, verdict=msgspec.structs.replace(
        bad_told.verdict, findings=(*bad_told.findings, pair)))
    assert glance(told)["PCIE6"] == glance(bad_told)["PCIE6"]
    assert glance(told)["PCIE3"][0] == "FAIL"


def test_a_pair_of_two_gpus_that_are_well_by_themselves_is_shown_at_both(passing: Told) -> None:
    pair = Finding(
        check="p2p.rate", outcome=Outcome.FAIL, blocker=True, says="slow", subject=Subject("group", "PCIE3 (cuda:2) > PCIE6 (cuda:5)"))
    told = msgspec.structs.replace(passing, verdict=msgspec.structs.replace(
        passing.verdict, findings=(*passing.findings, pair)))
    shown = glance(told)
    assert {place for place, (word, _) in shown.items() if word == "FAIL"} == {"PCIE3", "PCIE6"}
    assert shown["PCIE6"][1] == "p2p.rate"


def test_what_nobody_required_and_nobody_read_makes_no_gpu_unknown(passing: Told) -> None:
    def with_unread(blocker: bool) -> Told:
        unread = Finding(check="stress.link-errors", outcome=Outcome.UNKNOWN, blocker=blocker, says="no counters",
                         subject=Subject("link", "x", slot="PCIE3"))
        return msgspec.structs.replace(passing, verdict=msgspec.structs.replace(
            passing.verdict, findings=(*passing.findings, unread)))

    assert glance(with_unread(False))["PCIE3"][0] == "pass"
    assert glance(with_unread(True))["PCIE3"][0] == "unknown"


def test_what_was_not_read_does_not_run_into_what_stands_beside_it() -> None:
    unread = Unread("no such file", "absent")
    assert beside("ASRock", "WRX80") == "ASRock WRX80"
    assert beside(unread, unread) == "not read: no such file; not read: no such file"
    assert beside("ASRock", unread) == "ASRock; not read: no such file"
