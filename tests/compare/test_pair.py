"""Two sides: what differs is told, and nothing is alike that one of them did not read."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from boxcheck.compare.difference import SECTIONS
from boxcheck.compare.side import Item
from boxcheck.engine.figures import CardFigures
from boxcheck.model import Bdf, Limit, Outcome, Subject, Unread
from boxcheck.report.compare import compare_text
from boxcheck.report.text import Style
from tests.compare.sides import WHAT, card, compared, figures, found, phase, rate, rated, rows, side, strings

UNREAD = Unread("config space needs root", "permission")


def item(value: Any, what: str = "link width", unit: str = "lanes", **fields: Any) -> Item:
    return Item(what=what, value=value, unit=unit, **({"place": "PCIE3"} | fields))


# Nothing is alike that was not read.


@pytest.mark.parametrize("other", [UNREAD, math.nan, None])
@pytest.mark.parametrize("turned", [False, True])
def test_a_value_that_one_side_did_not_read_is_not_alike(other: object, turned: bool) -> None:
    sides = [side("A", items=[item(16)]), side("B", items=[item(other)])]
    made = compared(*(reversed(sides) if turned else sides))
    told = [one for one in made.differences if one.what == "link width"]
    assert len(told) == 1
    assert told[0].section == ("machine" if other is None else "unread")
    nothing = compared(side("A"), side("B"))
    assert made.same == nothing.same


def test_what_neither_side_read_is_counted_as_that_and_not_as_alike() -> None:
    nothing = compared(side("A"), side("B"))
    made = compared(side("A", (), found(Outcome.UNKNOWN), items=[item(UNREAD)]),
                    side("B", (), found(Outcome.UNKNOWN), items=[item(UNREAD)]))
    assert (made.unread_in_both, made.same - nothing.same, made.differences) == (2, 0, ())
    assert made.unread == 2


def test_a_finding_that_one_side_could_not_make_is_unread_there() -> None:
    made = compared(side("A", (), found(value=16)), side("B", (), found(Outcome.UNKNOWN, says="not read: needs root")))
    one, = rows(made, "unread")
    assert (one.a.text, one.b.text, one.b.state, one.worse) == ("16 lanes", "not read: needs root", "unread", None)


@pytest.mark.parametrize("turned", [False, True])
def test_a_fault_at_a_part_is_laid_beside_the_pass_of_all_parts(turned: bool) -> None:
    """`p2p.slow-pair` names the slow GPU by kind of copy, and else all of them."""
    cards = tuple(card(one) for one in range(1, 8))
    slow = [found(Outcome.FAIL, 12.9, "p2p.slow-pair", "GB/s", says=f"{way}: 12.9 GB/s") for way in ("read", "write")]
    sides = [side("A", cards, found(check="p2p.slow-pair", subject=Subject("group", "7 GPUs"))), side("B", cards, *slow)]
    made = compared(*(reversed(sides) if turned else sides))
    assert [(one.what, one.where, *sorted((one.a.text, one.b.text)), one.worse) for one in made.differences] == [
        (f"p2p.slow-pair {way}", "PCIE3", "fail  12.9 GB/s", "pass", not turned) for way in ("read", "write")]


def test_a_failure_that_is_not_read_afterwards_is_not_mended() -> None:
    made = compared(side("A", (), found(Outcome.FAIL, 8)), side("B", (), found(Outcome.UNKNOWN, says="needs root")))
    one, = rows(made, "outcome")
    assert "not shown to be mended" in one.says


@pytest.mark.parametrize("b", [(), (found(Outcome.SKIP),)])
def test_a_check_that_passed_on_one_side_and_was_not_made_on_the_other_is_told(b: tuple[Any, ...]) -> None:
    made = compared(side("A", (), found()), side("B", (), *b, found(check="x.y")))
    told = {(one.what, one.a.text, one.b.text) for one in rows(made, "one-sided")}
    assert ("pcie.link-width", "pass", "does not arise" if b else "not judged") in told
    assert made.same == compared(side("A"), side("B")).same


def test_words_that_differ_where_both_passed_are_told() -> None:
    made = compared(side("A", (), found(value="performance")), side("B", (), found(value="powersave")))
    one, = rows(made, "setup")
    assert (one.a.text, one.b.text) == ("performance", "powersave")


def test_a_card_that_is_missing_is_lost_and_one_that_could_not_be_seen_is_unread() -> None:
    cards = [card(1), card(2)]
    lost, = rows(compared(side("A", cards), side("B", cards[:1])), "machine")
    assert (lost.where, lost.worse, lost.b.text) == ("PCIE2", True, "not there")
    new, = rows(compared(side("A", cards[:1]), side("B", cards)), "machine")
    assert (new.where, new.worse) == ("PCIE2", False)
    made = compared(side("A", cards), side("B", cards[:1], cards_unread="a function does not say what it is"))
    assert rows(made, "machine") == []
    assert rows(made, "unread")[0].b.text == "not read: a function does not say what it is"


@pytest.mark.parametrize("other", [
    rate(math.nan), rate(math.inf), rate(160.0, unit="GB/s"), rate(160.0, by="kernel other"), rate(160.0, what="x")])
def test_a_rate_that_is_no_number_of_another_unit_or_by_other_means_is_not_alike(other: Any) -> None:
    one = card()
    a = side("A", [one], figures=figures(phase(CardFigures(card=one, rates=(rate(160.0),)))))
    b = side("B", [one], figures=figures(phase(CardFigures(card=one, rates=(other,)))))
    made = compared(a, b)
    told = [row for row in rows(made, "one-sided") if row.what == WHAT and row.unit == "TFLOPS"]
    assert any(row.a.text == "160.0 TFLOPS" and row.b.state == "none" for row in told)
    assert rows(made, "measured") == []
    without = [msgspec.structs.replace(side(one.input.label, one.cards), figures=figures(phase())) for one in (a, b)]
    assert made.same == compared(*without).same


def test_a_phase_that_is_no_measure_or_had_other_options_is_not_compared() -> None:
    one = card()
    for fields, words in (({"complete": False}, "did not come to its end"), ({"injected": "bit"}, "on purpose"),
                          ({"options": {"size": "1"}}, "other options"), ({"planned_seconds": 600.0}, "s long")):
        a = side("A", [one], figures=rated((one, 160.0)))
        b = side("B", [one], figures=figures(phase(CardFigures(card=one, rates=(rate(160.0),)), **fields)))
        made = compared(a, b)
        assert any(words in told for told in made.told), made.told
        assert not [row for row in made.differences if row.what == WHAT]


def test_what_one_side_alone_ran_is_told() -> None:
    one = card()
    made = compared(side("A", [one], figures=rated((one, 160.0))), side("B", [one], figures=figures(phase(name="other"))))
    assert any("matmul was run in A alone" in told for told in made.told)
    made = compared(side("A", [one], figures=rated((one, 160.0))), side("B", [one], figures_unread="no load was run"))
    assert any("rates, heat and power of B are not there: no load was run" in told for told in made.told)


def test_a_side_without_a_verdict_is_not_one_that_passed() -> None:
    made = compared(side("A"), side("B", fields={"outcome": None, "state": "crashed"}))
    one, = rows(made, "outcome")
    assert (one.what, one.a.text, one.b.text) == ("verdict", "pass", "no verdict: crashed")
    both = compared(*(side(label, fields={"outcome": None, "state": "crashed"}) for label in "AB"))
    assert (both.differences, both.unread_in_both) == ((), 1)


# What explains a change.


@pytest.mark.parametrize(("before", "after", "deviation", "told"), [
    (160.0, 157.0, 0.1, False),  # within 2 %, by which sound cards differ from run to run
    (160.0, 156.7, 0.1, True),
    (160.0, 150.0, 2.0, False),  # 3 x 1.4826 x 2 x sqrt(2) is 12.6
    (160.0, 147.3, 2.0, True),
    (160.0, 154.0, None, False),  # a run that kept no scatter: 4 %
    (160.0, 153.5, None, True),
    (160.0, 164.0, 0.1, True),
])
def test_a_rate_is_told_beyond_the_scatter_and_what_sound_cards_differ_by(
    before: float, after: float, deviation: float | None, told: bool
) -> None:
    one = card()
    made = compared(*(side(label, [one], figures=rated((one, value), deviation=deviation))
                      for label, value in (("A", before), ("B", after))))
    measured = rows(made, "measured")
    assert bool(measured) is told
    for row in measured:
        assert row.worse is (after < before)
        assert row.change == f"{100 * (after / before - 1):+.1f} %"


def test_heat_at_another_power_is_no_measure() -> None:
    one = card()

    def heated(label: str, celsius: float, watts: float | None) -> Any:
        return side(label, [one], figures=figures(phase(CardFigures(
            card=one, hottest_celsius={"core": celsius}, most_watts=watts))))

    row, = rows(compared(heated("A", 60.0, 440.0), heated("B", 69.0, 441.0)), "measured")
    assert (row.what, row.change, row.worse) == ("hottest core in matmul", "+9 °C", True)
    assert rows(compared(heated("A", 60.0, 440.0), heated("B", 67.0, 441.0)), "measured") == []
    made = compared(heated("A", 60.0, 300.0), heated("B", 69.0, 441.0))
    assert [row.what for row in rows(made, "measured")] == ["most power in matmul"]
    assert rows(made, "one-sided")[0].says == "at 300 W and at 441 W"


def test_errors_of_a_link_are_compared_as_rates_and_unread_counters_are_no_zero() -> None:
    port = Bdf("0000:40:01.1")

    def counted(label: str, errors: int | None, seconds: float = 60.0) -> Any:
        links = () if errors is None else (port,)
        return side(label, figures=figures(phase(
            links=links, link_errors={port: {"BadTLP": errors}} if errors else {}, watched_seconds=seconds,
            planned_seconds=60.0)))

    row, = rows(compared(counted("A", 0), counted("B", 40)), "measured")
    assert (row.where, row.worse, row.b.text) == (f"port {port}", True, "40 in 60 s")
    assert rows(compared(counted("A", 1), counted("B", 3)), "measured") == []
    for made in (compared(counted("A", 0), counted("B", None)), compared(counted("A", None), counted("B", 0))):
        assert len(rows(made, "unread")) == 1


# Whose is whose.


def test_a_card_that_moved_is_followed_by_its_number_and_its_links_stay_with_the_slots() -> None:
    one, other = card(3), card(5)
    moved = [card(3, slot=None, bdf="0000:05:00.0", key="cuda:5", uuid="GPU-3"), card(5, uuid="GPU-5", bdf="0000:03:00.0")]
    swapped = [msgspec.structs.replace(moved[0], slot="PCIE5"), msgspec.structs.replace(moved[1], slot="PCIE3")]
    a = side("A", [one, other], items=[item(16), item(16, place="PCIE5"), item(24, "GPU memory", "bytes", card=one.bdf, place=None)],
             figures=rated((one, 120.0), (other, 160.0)))
    b = side("B", swapped, items=[item(8), item(16, place="PCIE5"), item(24, "GPU memory", "bytes", card="0000:05:00.0", place=None)],
             figures=rated((swapped[0], 121.0), (swapped[1], 160.0)))
    made = compared(a, b)
    assert [told for told in made.told if "moved" in told] == ["RTX 4090 moved: PCIE3 -> PCIE5", "RTX 4090 moved: PCIE5 -> PCIE3"]
    assert rows(made, "measured") == [], "the slow card is slow in its new slot too"
    width, = rows(made, "machine")
    assert (width.what, width.where, width.b.text) == ("link width", "PCIE3", "x8")


def test_another_card_in_the_same_slot_is_said() -> None:
    made = compared(side("A", [card(3)]), side("B", [card(3, uuid="GPU-new")]))
    assert "PCIE3: another card is there: RTX 4090 (GPU-3) in A, RTX 4090 (GPU-new) in B" in made.told


def test_a_number_that_two_cards_claim_matches_none() -> None:
    twice = [card(1, uuid="GPU-x"), card(2, uuid="GPU-x")]
    made = compared(side("A", twice), side("B", list(reversed(twice))))
    assert not [told for told in made.told if "moved" in told]
    assert made.differences == ()


def test_without_slots_addresses_tell_and_it_is_said_that_they_do() -> None:
    bare = [card(1, slot=None, uuid=None), card(2, slot=None, uuid=None)]
    made = compared(side("A", bare), side("B", list(reversed(bare))))
    assert made.differences == ()
    assert any("told by its place alone" in told for told in made.told)


def test_two_boxes_are_matched_by_slot_or_position_whatever_their_addresses() -> None:
    left = [card(1, uuid="GPU-a"), card(2, slot=None, uuid="GPU-b")]
    right = [card(1, uuid="GPU-c", bdf="0000:c1:00.0"), card(7, slot=None, uuid="GPU-d")]
    made = compared(
        side("A", left, found(value=16, subject=Subject("link", slot="PCIE1")), figures=rated((left[0], 160.0), (left[1], 150.0))),
        side("B", right, found(Outcome.FAIL, 8, subject=Subject("link", slot="PCIE1")), box="W-2",
             figures=rated((right[0], 160.0), (right[1], 120.0))))
    assert made.box == "two"
    assert [row.where for row in rows(made, "outcome")] == ["PCIE1"]
    slow, = rows(made, "measured")
    assert (slow.where, slow.change) == ("0000:02:00.0", "-20.0 %")
    assert rows(made, "machine") == []


def test_redacted_captures_are_not_taken_for_two_boxes_by_their_hashes() -> None:
    made = compared(side("A", [card(3, uuid="GPU-hash1")], box="h1", redacted=True), side("B", [card(3, uuid="GPU-hash2")], box="h2"))
    assert made.box == "unknown"
    assert not [told for told in made.told if "another card" in told]
    assert made.differences == ()


@pytest.mark.parametrize(("one", "other", "box"), [
    ("W-1 (host)", "W-1", "one"), ("W-1", "W-2", "two"), ("", "", "one"), ("W-1", "", "one")])
def test_what_says_that_it_is_one_box(one: str, other: str, box: str) -> None:
    """Where a name is missing, GPUs with the same numbers do."""
    assert compared(side("A", [card()], box=one), side("B", [card()], box=other)).box == box
    if not other:
        assert compared(side("A", [card()], box=one), side("B", [card(uuid="GPU-9")], box=other)).box == "unknown"


# Order, limits, load on one side.


def test_sections_come_in_the_order_of_their_weight_and_the_worst_first() -> None:
    one = card()
    a = side("A", [one], found(value=16), found(Outcome.FAIL, 1, "x.still"), found(Outcome.FAIL, 1, "x.mended"),
             found(value=1, check="x.unread"), items=[item(16), item("1.0", "BIOS", "", kind="setting", place=None)],
             figures=rated((one, 160.0)))
    b = side("B", [one], found(Outcome.FAIL, 8), found(Outcome.FAIL, 1, "x.still"), found(value=2, check="x.mended"),
             found(Outcome.UNKNOWN, check="x.unread"), items=[item(8), item("2.0", "BIOS", "", kind="setting", place=None)],
             figures=rated((one, 80.0)), fields={"outcome": "fail"})
    made = compared(a, b)
    order = [SECTIONS.index(row.section) for row in made.differences]
    assert order == sorted(order)
    assert [row.what for row in rows(made, "outcome")] == ["verdict", "pcie.link-width", "x.mended"]
    assert [row.what for row in rows(made, "still")] == ["x.still"]
    assert (made.changes, [row.what for row in rows(made, "setup")]) == (6, ["BIOS"])


def test_limits_of_two_versions_of_a_profile() -> None:
    def limited(label: str, must: float, revision: int) -> Any:
        made = side(label, fields={"revision": revision, "profile_sha256": str(revision) * 64})
        made.limits = {"link.width": Limit("link.width", "ge", must=must, unit="lanes"), "same": Limit("same", "le", must=1)}
        return made

    told = {row.what: (row.a.text, row.b.text) for row in rows(compared(limited("A", 16, 1), limited("B", 8, 2)), "setup")}
    assert told == {"profile": ("p r1", "p r2"), "limit link.width": ("must >= 16 lanes", "must >= 8 lanes")}
    assert rows(compared(limited("A", 16, 1), limited("B", 16, 1)), "setup") == []


def test_the_older_one_last_is_said() -> None:
    older = side("B", fields={"began": "2026-11-20T13:20:04Z"})
    assert any("B is older than A" in told for told in compared(side("A"), older).told)
    assert compared(older, side("A")).told == ()


def test_bytes_that_are_told_alike_and_are_not_are_told_in_full() -> None:
    made = compared(side("A", items=[item(25757220864, "GPU memory", "bytes")]),
                    side("B", items=[item(25757220352, "GPU memory", "bytes")]))
    assert [(row.a.text, row.b.text) for row in rows(made, "machine")] == [("25757220864 bytes", "25757220352 bytes")]


def test_names_from_elsewhere_are_plain_and_in_one_line() -> None:
    hostile = "\x1b[31mred\x1b[0m\n\u202eesrever"
    made = compared(side("A", [card(3, name=hostile)], found(says=hostile), box=hostile, items=[item(hostile, "board", "")]), side("B"))
    every = list(strings(msgspec.to_builtins(made)))
    assert [text for text in every if not text.isprintable()] == []
    assert any("red" in text for text in every)


# What a script asks: whether all of it was looked at, on both sides.


def test_a_check_or_a_rate_of_one_side_alone_is_not_known_to_be_alike() -> None:
    one = card()
    b = side("B", [one], found(value=16), figures=rated())
    for a in (side("A", [one], found(value=16), found(check="aer.correctable"), figures=rated()),
              side("A", [one], found(value=16), figures=rated((one, 163.0)))):
        for made in (compared(a, b), compared(b, a)):
            assert (made.changes, made.unread) == (0, 1)
            assert made.unread_in_both == 0


def test_what_is_told_not_to_be_compared_is_counted() -> None:
    one = card()
    bare, loaded = side("A", [one]), side("B", [one], figures=rated((one, 160.0)))
    loaded.found = {("matmul", "matmul.rate"): [found(check="matmul.rate")] * 3}
    quiet = side("B", [one], figures=rated((one, 160.0)))
    quiet.found = {("matmul", "matmul.done"): [found(check="matmul.done")]}
    half = side("B", [one], figures=figures(phase(CardFigures(card=one, rates=(rate(160.0),)), complete=False)))
    longer = side("B", [one], figures=figures(*rated((one, 160.0)).phases, phase(name="other")))
    whole = side("A", [one], figures=rated((one, 160.0)))
    unlimited = side("B", [one], fields={"profile_sha256": None})
    unlimited.limits = None
    for a, b, count in ((bare, loaded, 3), (whole, quiet, 1), (whole, half, 1), (whole, longer, 1),
                        (bare, unlimited, 1), (bare, side("B", [one], items_unread="a record"), 1),
                        (side("A"), side("B", cards_unread="no root"), 1)):
        for made in (compared(a, b), compared(b, a)):
            assert made.not_compared == count, made.told
            assert made.unread >= count
            assert f"{count} not compared" in compare_text(made, Style(quiet=True))


def test_nothing_is_left_out_of_two_sides_that_are_alike() -> None:
    one = card()
    made = compared(*(side(label, [one], found(value=16), figures=rated((one, 160.0))) for label in "AB"))
    assert (made.changes, made.unread, made.not_compared) == (0, 0, 0)


def test_the_verdict_of_a_run_and_of_its_attempt_is_one() -> None:
    def attempt(disposition: str) -> Any:
        return side("B", fields={"source": "attempt", "disposition": disposition})

    assert compared(side("A"), attempt("PASS")).differences == ()
    for other in ("INCOMPLETE", "PASS with waivers", "ABORTED"):
        one, = compared(side("A"), attempt(other)).differences
        assert (one.what, one.section, one.b.text) == ("verdict", "outcome", other)
