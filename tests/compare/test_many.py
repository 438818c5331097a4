"""Many sides: what stands out is told by a robust rule, and what was not measured is counted."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from boxcheck.compare.many import Many, Table, compare_many, label_of
from boxcheck.compare.side import Item, Side
from boxcheck.engine.figures import Card, CardFigures
from boxcheck.model import Finding, Outcome, Subject, Unread
from boxcheck.report.compare_many import many_csv, many_text
from boxcheck.report.text import Style
from tests.compare.sides import WHAT, card, figures, found, phase, rate, rated, side, strings


def boxes(*values: float, name: str = "RTX 4090") -> list[Side]:
    """A box with one card a value, in PCIE3."""
    made = []
    for at, value in enumerate(values):
        one = card(uuid=f"GPU-{at}", name=name)
        made.append(side(label_of(at), [one], box=f"W-{at}", figures=rated((one, value))))
    return made


def table(made: Many, what: str = WHAT, kind: str | None = None) -> Table:
    found, = [one for one in made.tables if one.what == what and kind in (None, one.kind)]
    return found


def marked(made: Many, what: str = WHAT) -> list[tuple[str, str | None]]:
    return [(cell.input, cell.stands_out) for cell in table(made, what).outliers]


@pytest.mark.parametrize(("values", "out"), [
    ((160.0, 160.5, 159.8, 160.2, 150.0), [("E", "low")]),
    ((160.0, 160.5, 159.8, 160.2, 170.0), [("E", "high")]),
    ((160.0, 160.5, 159.8, 160.2, 158.0), []),  # far by its score, and within what sound boxes differ by
    ((160.0, 160.0, 160.0, 160.0, 150.0), [("E", "low")]),  # no deviation at all
    ((160.0, 160.5, 159.8, 150.0), []),  # four are too few
    ((130.0, 145.0, 160.0, 175.0, 190.0), []),  # they scatter: none is far from the others
])
def test_the_rule_for_what_stands_out(values: tuple[float, ...], out: list[tuple[str, str]]) -> None:
    assert marked(compare_many(boxes(*values), "0")) == out


def test_the_score_is_that_of_the_source() -> None:
    """The example of NIST/SEMATECH 1.3.5.17 is by hand: median 10, deviation 1, so that 20 has 0.6745 times 10."""
    made = table(compare_many(boxes(8.0, 9.0, 10.0, 11.0, 20.0), "0"))
    assert (made.median, made.deviation) == (10.0, 1.0)
    assert made.cells[-1].score == pytest.approx(6.745, abs=0.01)


def test_one_bad_box_does_not_hide_another() -> None:
    """Two of seven move the mean and the standard deviation, and not the median."""
    values = (160.0, 160.4, 159.7, 160.1, 160.2, 90.0, 95.0)
    assert [label for label, _ in marked(compare_many(boxes(*values), "0"))] == ["F", "G"]


def test_too_few_values_are_said_and_judge_nothing() -> None:
    made = compare_many(boxes(160.0, 160.0, 1.0), "0")
    one = table(made)
    assert (one.judged, one.outliers, one.values) == (False, (), 3)
    assert "too few to say what stands out (5 are needed)" in many_text(made, Style(verbose=1))


def test_what_was_not_measured_is_counted_and_is_no_value() -> None:
    sides = boxes(160.0, 160.0, 160.0, 160.0, 160.0)
    sides.append(side("F", [card(uuid="GPU-f")], figures_unread="no load was run"))
    nan = card(uuid="GPU-g")
    sides.append(side("G", [nan], figures=figures(phase(CardFigures(card=nan, rates=(rate(math.nan),))))))
    sides.append(side("H", cards_unread="the bus was not read"))
    one = table(compare_many(sides, "0"))
    assert (one.values, one.not_measured) == (5, 3)
    assert {cell.input: cell.why for cell in one.cells if cell.value is None} == {
        "F": "not measured", "G": "not measured", "H": "which GPUs there are was not read: the bus was not read"}


def test_kinds_of_gpus_units_and_means_have_tables_of_their_own() -> None:
    other = card(uuid="GPU-x", name="RTX 5090")
    by = card(uuid="GPU-y")
    sides = [*boxes(160.0, 160.0), side("C", [other], figures=rated((other, 300.0))), side("D", [by], figures=figures(
        phase(CardFigures(card=by, rates=(rate(160.0, unit="GB/s"), rate(160.0, by="kernel z"))))))]
    found = {(one.kind, one.unit, one.by): one.values for one in compare_many(sides, "0").tables if one.what == WHAT}
    assert found == {("RTX 4090", "TFLOPS", "kernel k"): 2, ("RTX 5090", "TFLOPS", "kernel k"): 1,
                     ("RTX 4090", "GB/s", "kernel k"): 1, ("RTX 4090", "TFLOPS", "kernel z"): 1}


def with_items(*values: Any, what: str = "memory installed", unit: str = "bytes", **fields: Any) -> list[Side]:
    return [side(label_of(at), box=f"W-{at}", items=[Item(what=what, value=value, unit=unit, **fields)])
            for at, value in enumerate(values)]


@pytest.mark.parametrize(("values", "out"), [
    ((512, 512, 384), [("C", "low")]), ((512, 512, 1024), [("C", "high")]), ((512, 384, 256), []),
    ((512, 512, 384, 384), []), ((512, 384), []), ((512, 512, Unread("needs root")), []),
    (("3.80", "3.80", "3.20"), [("C", "other")])])
def test_what_a_box_has_stands_out_where_most_have_something_else(values: tuple[Any, ...], out: list[Any]) -> None:
    made = compare_many(with_items(*values, unit="bytes"), "0")
    assert marked(made, "memory installed") == out
    assert table(made, "memory installed").not_measured == sum(isinstance(one, Unread) for one in values)


def test_a_box_with_a_gpu_less_stands_out_and_one_that_was_not_read_does_not() -> None:
    cards = [card(one) for one in range(1, 8)]
    sides = [side("A", cards), side("B", cards), side("C", cards[:6]), side("D", cards[:3], cards_unread="no root")]
    assert marked(compare_many(sides, "0"), "GPUs") == [("C", "low")]


def test_a_run_of_another_length_is_left_out_and_said() -> None:
    sides = boxes(160.0, 160.0, 160.0, 160.0, 160.0)
    one = sides[4].cards[0]
    sides[4].figures = figures(phase(CardFigures(card=one, rates=(rate(90.0),)), planned_seconds=600.0))
    made = compare_many(sides, "0")
    assert table(made).values == 4
    assert any(told.startswith("E: what matmul measured is left out") for told in made.told)


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_the_tables_fit_and_need_no_colour(columns: int) -> None:
    sides = boxes(*[160.0] * 29, 100.0)
    text = many_text(compare_many(sides, "0"), Style(columns=columns, ascii=True))
    assert max(map(len, text.splitlines())) <= columns
    assert text.isascii()
    assert "100.0 !" in text
    assert text.count(" !") == 1
    assert "AD" in text, "the thirtieth"


def test_as_csv_a_row_a_value_and_no_formula() -> None:
    sides = boxes(160.0, 160.0, 160.0, 160.0, 100.0, name="=HYPERLINK(1)")
    rows = list(csv.DictReader(io.StringIO(many_csv(compare_many(sides, "0")))))
    measured = [row for row in rows if row["what"] == WHAT]
    assert [(row["input"], row["box"], row["value"], row["stands_out"]) for row in measured][-1] == (
        "E", "W-4", "100.0", "low")
    assert {row["kind"] for row in measured} == {"'=HYPERLINK(1)"}


def test_names_from_elsewhere_are_plain() -> None:
    hostile = "\x1b[31mred\x1b[0m\n\u202eesrever"
    made = compare_many(boxes(160.0, 160.0, 160.0, name=hostile), "0")
    assert [text for text in strings(msgspec.to_builtins(made)) if not text.isprintable()] == []
    assert "\x1b" not in many_text(made, Style(verbose=1))


def test_labels() -> None:
    assert [label_of(at) for at in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


def counts(found: Sequence[Table]) -> int:
    return sum(len(one.outliers) for one in found)


def test_quantities_in_which_something_stands_out_come_first() -> None:
    made = compare_many(boxes(160.0, 160.0, 160.0, 160.0, 100.0), "0")
    assert made.tables[0].what == WHAT
    assert counts(made.tables[1:]) == 0


# What was judged, and what was not looked at.


def required(check: str, outcome: Outcome = Outcome.PASS, slot: str = "PCIE3") -> Finding:
    return msgspec.structs.replace(found(outcome, check=check, subject=Subject("link", slot=slot)), blocker=True)


def test_sides_that_fail_by_different_checks_are_not_alike() -> None:
    checks = ("pcie.link-width", "memory.installed", "gpu.count")
    made = compare_many([side(label, (), *(required(check, Outcome.FAIL if at == bad else Outcome.PASS)
                                           for at, check in enumerate(checks)), fields={"outcome": "fail"})
                         for bad, label in enumerate("ABC")], "0")
    assert [(one.check, dict(one.outcomes)["B"]) for one in made.judged] == [
        ("gpu.count", "pass"), ("memory.installed", "fail"), ("pcie.link-width", "pass")]
    assert (made.verdicts, made.changes) == ({"fail": 3}, 3)
    text = many_text(made, Style())
    assert "  pcie.link-width PCIE3: A fail; B, C pass" in text.splitlines()
    assert "3 checks judged otherwise" in text
    rows = [row for row in csv.DictReader(io.StringIO(many_csv(made))) if row["kind"] == "judgement"]
    assert len(rows) == 9
    assert [row["value"] for row in rows if row["what"] == "gpu.count"] == ["pass", "pass", "fail"]


def test_what_fails_alike_everywhere_is_no_change_and_elsewhere_is_one() -> None:
    def three(*slots: str) -> Many:
        return compare_many([side(label, (), required("x.y", Outcome.FAIL, slot))
                             for label, slot in zip("ABC", slots, strict=True)], "0")

    assert (three("PCIE3", "PCIE3", "PCIE3").judged, three("PCIE3", "PCIE3", "PCIE3").unread) == ((), 0)
    assert [one.where for one in three("PCIE3", "PCIE3", "PCIE5").judged] == ["PCIE3", "PCIE5"]


@pytest.mark.parametrize(("other", "unread"), [
    ({}, 0), ({"items_unread": "a record holds no machine"}, 2), ({"figures": figures()}, 2)])
def test_a_side_without_a_table_is_not_alike(other: dict[str, Any], unread: int) -> None:
    """Without the machine of one, two are too few to count GPUs; with load on one alone, two have nothing beside it."""
    made = compare_many([side("A"), side("B"), side("C", **other)], "0")
    assert (made.changes, made.unread) == (0, unread)


def test_required_checks_that_were_not_read_or_not_made_are_not_alike() -> None:
    sides = [side("A", (), required("x.y"), required("x.z")), side("B", (), required("x.y", Outcome.UNKNOWN), required("x.z")),
             side("C", (), required("x.y"))]
    made = compare_many(sides, "0")
    assert (made.changes, made.unread) == (0, 2)
    assert made.told[1:] == ("B: 1 required finding not read", "C: 1 required check of others not made")
    assert "2 not read, or left out" in " ".join(many_text(made, Style(quiet=True)).split())


def test_an_incomplete_attempt_is_no_pass() -> None:
    """Its checks passed, and it was too short."""
    sides = [side(label, fields={"source": "attempt", "outcome": "pass", "disposition": disposition})
             for label, disposition in zip("ABCD", ("PASS", "INCOMPLETE", "PASS with waivers", "ABORTED"), strict=True)]
    made = compare_many([*sides, side("E")], "0")
    assert made.verdicts == {"pass": 2, "unknown": 1, "aborted": 1, "pass with waivers": 1}
    assert made.changes == 1


@pytest.mark.parametrize(("values", "divided"), [
    ((512, 384, 256), True), ((512, 512, 384, 384), True), ((512, 512, 512), False), ((512, 512, 384), False)])
def test_sides_of_which_none_is_usual_are_not_alike(values: tuple[int, ...], divided: bool) -> None:
    made = compare_many(with_items(*values), "0")
    assert table(made, "memory installed").is_divided is divided
    assert (made.changes > 0) is (len(set(values)) > 1)
    assert ("nothing of it is usual" in many_text(made, Style())) is divided


def of_all(count: int, check: str = "p2p.slow-pair", outcome: Outcome = Outcome.PASS) -> Finding:
    return msgspec.structs.replace(found(outcome, check=check, subject=Subject("group", f"{count} GPUs")), blocker=True)


ALL = tuple(card(one) for one in range(1, 8))
SLOW = required("p2p.slow-pair", Outcome.FAIL)


@pytest.mark.parametrize(("cards", "own", "says"), [
    (ALL, [of_all(7)], "pass"),
    (ALL, [msgspec.structs.replace(of_all(7), subject=Subject("box"))], "pass"),
    ((*ALL, card(8)), [of_all(8)], "pass"),
    (ALL, [of_all(6)], None),  # PCIE3 may be the one that had no load
    (ALL[3:], [of_all(4)], None),  # it has no PCIE3
    (ALL, [of_all(7), required("p2p.slow-pair", Outcome.FAIL, "PCIE5")], None),  # the pass is of the rest
    (ALL, [of_all(7, outcome=Outcome.UNKNOWN)], None), (ALL, [of_all(7, "p2p.crowd")], None), (ALL, [], None)])
def test_a_pass_of_all_gpus_is_one_of_each(cards: Sequence[Card], own: list[Finding], says: str | None) -> None:
    made = compare_many([side("A", cards, *own), side("B", ALL, SLOW), side("C", ALL, SLOW)], "0")
    one, = [one for one in made.judged if (one.check, one.where) == ("p2p.slow-pair", "PCIE3")]
    assert one.outcomes.get("A") == says


def test_cards_that_were_not_read_are_not_taken_for_those_that_passed() -> None:
    unread = side("A", ALL, of_all(7), cards_unread="no root")
    made = compare_many([unread, side("B", ALL, SLOW), side("C", ALL, SLOW)], "0")
    assert [dict(one.outcomes) for one in made.judged] == [{"B": "fail", "C": "fail"}]
