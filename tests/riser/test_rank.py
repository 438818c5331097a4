"""All links of a box in one order: the worst first, what nobody counts last."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.poisson import link_bits
from boxcheck.riser.evidence import Conditions, LaneMargin, Look, Way
from boxcheck.riser.measuring.rank import Ranked, rank, rate_words, table

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
