"""All links of a box in one order: the worst first, what nobody counts last."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.commands.riser_all import code_of
from boxcheck.poisson import link_bits
from boxcheck.report.riser_ranking import ranking_text
from boxcheck.report.text import Style
from boxcheck.riser.evidence import Conditions, LaneMargin, Look, Way
from boxcheck.riser.measuring.rank import Ranked, rank, rate_words, table
from tests.riser.showing import ranking

BITS = link_bits(16.0, 16, 60.0)


def way(errors: int = 0, toward: Any = "card", **changes: Any) -> Way:
    fields: dict[str, Any] = {"toward": toward, "bits": 0.8 * BITS, "most_bits": BITS, "seconds": 60.0,
                              "received": {"BadTLP": errors} if errors else {}, **changes}
    return Way(**fields)


def look(slot: str, errors: int = 0, unread: str | None = None, half: str | None = None, **changes: Any) -> Look:
    fields: dict[str, Any] = {
        "slot": slot, "present": True, "active": True, "width": 16, "speed_gts": 16.0, "full_width": 16, "full_speed_gts": 16.0,
        "ways": (way(errors, unread=unread), way(0, "host", unread=unread or half)), **changes}
    return Look(**fields)


EVERY = (
    look("clean"), look("unread", unread="the firmware keeps AER"), look("half", half="the port masks BadTLP"),
    look("marginal", 15), look("worse", 31), look("failing", 400), look("flood", 9000),
    look("narrow", width=8), look("slow", speed_gts=8.0, width=8), look("blind-narrow", width=4, unread="why"),
    look("absent", active=False, width=None, speed_gts=None, ways=()), look("dropped", dropped=2),
    look("empty", present=False, active=False, width=None, speed_gts=None, ways=()),
    look("weak", margins=(LaneMargin(receiver="F", lane=11, left_ui=0.08, right_ui=0.2, grade="fail"),)),
    look("thin", ways=(way(bits=BITS / 100), way(toward="host", bits=BITS / 100))),
)


def order(*looks: Look) -> list[str]:
    return [one.slot for one in rank(looks)]


def test_the_worst_is_first_and_what_nobody_counts_is_last() -> None:
    assert order(*EVERY) == [
        "dropped", "absent", "flood", "failing", "worse", "marginal", "slow", "blind-narrow", "narrow", "weak", "thin",
        "clean", "half", "unread", "empty"]
    assert [one.place for one in rank(EVERY)] == list(range(1, len(EVERY) + 1))


def test_among_failing_links_the_rate_goes_before_the_margin() -> None:
    weak = (LaneMargin(receiver="F", lane=1, left_ui=0.05, right_ui=0.05, grade="fail"),)
    assert order(look("less", 400, margins=weak), look("more", 9000)) == ["more", "less"]
    assert order(look("more", 15), look("less", 3, margins=weak)) == ["more", "less"]


def test_a_link_that_counts_nothing_is_never_first_and_never_called_bounded() -> None:
    blind = look("blind", unread="the firmware keeps AER")
    for other in (look("clean"), look("marginal", 1), look("half", half="why"), look("thin", ways=(way(bits=1e6), way(toward="host", bits=1e6)))):
        found = rank((blind, other))
        assert [one.slot for one in found] == [other.slot, "blind"]
        assert found[1].standing == "unread"
    assert rank((look("half", half="why"),))[0].standing == "half-read"
    (alone,) = rank((blind,))
    assert alone.standing == "unread"
    assert [one.at_most_per_terabyte for one in alone.ways] == [None, None]


def test_a_forced_speed_does_not_speak_for_the_link_as_it_is_used() -> None:
    forced = look("A", 0, conditions=Conditions(speed_gts=8.0), speed_gts=8.0)
    (one,) = rank((look("A", 15), forced))
    assert (one.standing, one.speed_gts) == ("marginal", 16.0)
    (used,) = rank((look("A"), forced, look("A", 9000, conditions=Conditions(aspm_off=True)), look("A", 9000, conditions=Conditions(power_capped=True))))
    assert used.standing == "bounded"
    (only,) = rank((forced,))
    assert only.standing == "short"


def test_windows_at_one_speed_are_one_and_others_apart() -> None:
    (one,) = rank((look("A"), look("A", 5), look("A")))
    assert one.ways[0].errors == 5
    assert one.ways[0].terabytes == pytest.approx(3 * 0.8 * BITS / 8e12)
    (fell,) = rank((look("A", 9000), look("A", speed_gts=8.0)))
    assert (fell.standing, fell.speed_gts) == ("failing", 16.0)


def test_the_table_fits_a_terminal_in_plain_letters() -> None:
    lines = table(rank((*EVERY, look("PCIE3 beside the long name of a slot \N{GREEK SMALL LETTER MU}", 12345678))))
    assert max(map(len, lines)) <= 80
    assert all(line.isascii() for line in lines)
    assert any(line.split()[1:4] == ["slow", "8/16", "8/16"] for line in lines)
    assert any(one.says.startswith("x8 of x16, 8 of 16 GT/s; ") for one in rank(EVERY))
    assert "not read both ways" in lines[-1]
    assert table(()) == ("no link was measured",)


@pytest.mark.parametrize(("one", "words"), [
    (way(), "<2.0"), (way(66), "43 (27-53)"), (way(900, at_least=("burst",)), ">=443"), (way(unread="why"), "unread"),
    (way(at_least=("reset",)), "unread"), (way(bits=0.0), "unread"), (way(3, bits=0.0, most_bits=None), "3 errors"),
    (way(received={}, unanswered={"Timeout": 4}), "2.6 (<6.0)")])
def test_a_cell_tells_bounds_or_that_there_are_none(one: Way, words: str) -> None:
    (found,) = rank((Look(slot="A", active=True, ways=(one,)),))
    assert rate_words(found.ways[0]) == words


def test_what_was_not_read_of_presence_is_not_called_empty() -> None:
    (one,) = rank((look("A", present=None, active=False, width=None, speed_gts=None, ways=()),))
    assert one.standing == "down"
    assert one.says == "whether a card is felt was not read; there is no link"


def test_the_order_survives_json() -> None:
    found = rank(EVERY)
    assert msgspec.json.decode(msgspec.json.encode(found), type=tuple[Ranked, ...]) == found


def lane(number: int, ui: float | None, volts: float, grade: Any) -> LaneMargin:
    return LaneMargin(receiver="F", lane=number, left_ui=ui, right_ui=ui, up_volts=volts, down_volts=volts, grade=grade)


@pytest.mark.parametrize("more", [
    {"width": 8}, {"speed_gts": 8.0}, {"margins": (lane(1, 0.05, 0.05, "fail"),)}])
@pytest.mark.parametrize("errors", [0, 5])
def test_an_error_beside_what_fails_is_no_pass(errors: int, more: dict[str, Any]) -> None:
    ranked = rank([look("A", errors, **more)])
    assert ranked[0].standing == ("marginal" if errors else "weak" if "margins" in more else "short")
    assert code_of(ranked) == 1


@pytest.mark.parametrize("width_ui", [0.25, None])
def test_a_lane_that_fails_by_its_height_is_the_weakest_beside_a_narrower_one(width_ui: float | None) -> None:
    ranked = rank([look("A", margins=(lane(1, 0.2, 0.05, "pass"), lane(2, width_ui, 0.004, "fail")))])
    assert ranked[0].weakest is not None
    assert ranked[0].weakest.lane == 2
    assert ranked[0].says.startswith("lane 2 at receiver F is graded fail; ")
    assert code_of(ranked) == 1


SHORT_BITS = {"ways": (way(bits=BITS / 200), way(toward="host", bits=BITS / 200))}
UNREAD = {"ways": (way(unread="its counters are stuck"), way(0, "host", unread="its counters are stuck"))}


@pytest.mark.parametrize(("errors", "standing"), [(0, "unread"), (3, "marginal")])
def test_what_was_read_for_a_moment_does_not_stand_for_what_was_not(errors: int, standing: str) -> None:
    moment = look("A", speed_gts=8.0, full_speed_gts=8.0, ways=(way(errors, bits=BITS / 200), way(toward="host", bits=BITS / 200)))
    ranked = rank([look("A", **UNREAD), moment])
    assert ranked[0].standing == standing
    assert code_of(ranked) == 3


def test_rest_between_two_pieces_of_work_takes_nothing_back() -> None:
    rest = look("A", speed_gts=None, ways=(way(bits=0.0), way(toward="host", bits=0.0)))
    ranked = rank([look("A"), rest])
    assert (ranked[0].standing, ranked[0].speed_gts, ranked[0].lacks) == ("bounded", 16.0, ())
    assert code_of(ranked) == 0


def test_lanes_that_were_missing_for_a_time_fail_beside_errors_at_full_width() -> None:
    ranked = rank([look("A", 5), look("A", width=8, **SHORT_BITS)])
    assert (ranked[0].standing, ranked[0].width, ranked[0].also_short) == ("marginal", 16, "x8 of x16, 16 GT/s")
    assert ranked[0].says.startswith("for a time it was x8 of x16, 16 GT/s; ")
    assert code_of(ranked) == 1


@pytest.mark.parametrize(("more", "says"), [
    ({"width": None, "speed_gts": None}, "its width and speed were not read"), ({"speed_gts": None}, "its speed was not read"),
    ({"full_width": None}, "what its width should be was not read")])
def test_lanes_and_speed_that_nobody_read_pass_nothing(more: dict[str, Any], says: str) -> None:
    ranked = rank([look("A", **more)])
    assert (ranked[0].standing, ranked[0].lacks) == ("bounded", (says,))
    assert code_of(ranked) == 3
    assert f"A: not looked at as a whole: {says}" in ranking_text(ranking(ranked), Style(columns=120))


def test_a_look_that_was_cut_short_is_told_and_is_not_whole() -> None:
    why = "load was ended for safety: GPU 2: junction at 110 C"
    ranked = rank([look("A", cut_short=why, notes=(why,)), look("B")])
    assert code_of(ranked) == 3
    text = ranking_text(ranking(ranked), Style(columns=120))
    assert text.count(why) == 1
    assert f"A: not looked at as a whole: {why}" in text
    assert ranking_text(ranking(ranked), Style(quiet=True)).splitlines() == ["A: bounded, not whole", "B: bounded"]


def test_words_that_arrived_wrong_fail_a_link_without_a_counted_error() -> None:
    note = "cuda:0: 12 words arrived wrong, which is no fault of the wire alone"
    ranked = rank([look("A", wrong_words=12, notes=(note,)), look("B", notes=("B noted something",))])
    assert (ranked[0].slot, ranked[0].standing, ranked[1].standing) == ("A", "failing", "bounded")
    assert ranked[0].says.startswith("12 words arrived wrong; ")
    assert code_of(ranked) == 1
    text = ranking_text(ranking(ranked), Style(columns=120))
    assert note in text
    assert "B: B noted something" in text


@pytest.mark.parametrize(("bits", "code"), [(1.0, 3), (1e6, 3), (2.9e12, 3), (3e12, 0)])
def test_a_bound_above_what_is_allowed_passes_nothing(bits: float, code: int) -> None:
    few = look("A", ways=(way(bits=bits), way(toward="host")))
    ranked = rank([few, look("B")])
    assert {one.slot: one.standing for one in ranked} == {"A": "bounded", "B": "bounded"}
    assert code_of(ranked) == code
    assert ("A: not looked at as a whole: a rate below 1e-12 is not shown yet to the card: it takes"
            in ranking_text(ranking(ranked), Style(columns=200))) is (code == 3)


def test_what_is_not_shown_one_way_is_not_hidden_by_errors_of_the_other() -> None:
    (one,) = rank([look("A", ways=(way(3), way(toward="host", bits=1e9)))])
    assert one.standing == "marginal"
    assert not one.is_whole
    assert code_of((one,)) == 3
