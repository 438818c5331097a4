"""What is said of a link's errors: bounds, how much longer, and the call."""

from __future__ import annotations

from typing import Any

import pytest

from boxcheck.model import Bdf
from boxcheck.poisson import link_bits
from boxcheck.riser.evidence import Look, Way
from boxcheck.riser.measuring.bounds import (
    call_link,
    call_way,
    direction_of,
    number,
    pooled,
    showing,
    size,
    terabytes,
)
from boxcheck.stress.link_rates import bounds_in_words
from boxcheck.stress.link_routes import Hop

MINUTE_GEN4_X16 = link_bits(16.0, 16, 60.0)
"""1.5e13 bits."""


def way(errors: int = 0, *, bits: float = 0.8 * MINUTE_GEN4_X16, name: str = "BadTLP", **changes: Any) -> Way:
    fields: dict[str, Any] = {
        "toward": "card", "bits": bits, "most_bits": MINUTE_GEN4_X16, "seconds": 60.0,
        "received": {name: errors} if errors else {}, **changes}
    return Way(**fields)


def test_zero_is_a_bound_and_never_no_errors() -> None:
    assert terabytes(way(bits=4.2 * 8e12)) == "0 errors in 4.2 TB (fewer than 0.72 per TB at 95 %)"


def test_errors_are_told_per_terabyte_between_two_bounds() -> None:
    assert terabytes(way(66, bits=1.2 * 8e12)) == "66 errors in 1.2 TB: 55 per TB (27 to 68 at 95 %)"


def test_a_count_that_may_be_less_than_what_was_has_a_lower_bound_alone() -> None:
    told = terabytes(way(900, bits=1.2 * 8e12, at_least=("a burst",)))
    assert told == "at least 900 errors in 1.2 TB (at least 443 per TB at 95 %)"


@pytest.mark.parametrize("hidden", [{"unread": "the card counts no errors: it masks BadTLP"}, {"at_least": ("its counters began anew",)}])
def test_a_zero_that_is_no_zero_has_no_bound(hidden: dict[str, Any]) -> None:
    one = way(**hidden)
    assert terabytes(one).startswith("no bound: ")
    assert call_way(one).call == "unread"
    assert all(shown.more_seconds is None for shown in showing(one))


def test_a_direction_that_moved_nothing_has_no_bound_from_above() -> None:
    one = way(bits=0.0)
    assert call_way(one).call == "unread"
    assert "no payload is known to have crossed it" in terabytes(one)


def test_a_minute_at_gen4_x16_calls_1e_11_failing() -> None:
    """At 1e-11 154 errors are expected, 2.6 a second: a lower bound, and above the specification."""
    for errors in (154 - 25, 154, 154 + 25):
        one = way(errors, at_least=("BadTLP came about once a second",))
        assert call_way(one).call == "failing", errors


def test_a_minute_at_gen4_x16_calls_1e_12_marginal_or_worse() -> None:
    """At 1e-12 15 errors are expected; none at all in 2e-7 of all minutes."""
    assert {call_way(way(errors)).call for errors in (1, 8, 15)} == {"marginal"}
    assert call_way(way(40)).call == "failing"


def test_a_minute_at_gen4_x16_without_errors_bounds_it_below_1e_12_in_each_direction() -> None:
    """Also where payload fills a fifth of the link: the physical limit is 12 s."""
    look = Look(slot="PCIE3", ways=(way(bits=0.2 * MINUTE_GEN4_X16), way(bits=0.2 * MINUTE_GEN4_X16, toward="host")))
    called = call_link(look)
    assert called.call == "bounded"
    assert [showing(one)[0].more_seconds for one in look.ways] == [0.0, 0.0]
    assert call_way(way(bits=0.19 * MINUTE_GEN4_X16)).says.endswith("; 1e-12 takes 2 s more to show")


def test_how_much_longer_is_told_for_three_rates() -> None:
    one = way()
    assert [round(shown.more_seconds or 0.0) for shown in showing(one)] == [0, 86, 14568]


def test_a_rate_that_is_as_high_as_that_is_not_shown_by_going_on() -> None:
    assert [shown.more_seconds for shown in showing(way(15))] == [None, None, None]


def test_a_rollover_is_failing_whatever_the_rate() -> None:
    assert call_way(way(unanswered={"Rollover": 1})).call == "failing"
    assert call_way(way(unanswered={"Timeout": 1})).call == "marginal"


def test_one_damaged_packet_under_two_names_proves_one_error() -> None:
    both = way(received={"BadTLP": 20, "RxErr": 20})
    alone = way(20)
    assert both.errors == 40
    assert bounds_in_words(direction_of(both)).split()[0] == bounds_in_words(direction_of(alone)).split()[0]


def test_a_link_that_went_down_or_lost_a_request_is_failing() -> None:
    sound = (way(), way(toward="host"))
    assert call_link(Look(slot="A", ways=sound)).call == "bounded"
    assert call_link(Look(slot="A", ways=sound, dropped=1)).says.startswith("it went down once; ")
    assert call_link(Look(slot="A", ways=sound, uncorrectable={"fatal SDES at 0000:40:01.1": 1})).call == "failing"
    refused = Look(slot="A", ways=sound, uncorrectable={"nonfatal UnsupReq at 0000:41:00.0": 4})
    assert call_link(refused).call == "bounded"


def test_one_unread_direction_keeps_a_link_from_being_called_bounded() -> None:
    half = Look(slot="A", ways=(way(), way(toward="host", unread="the port counts no errors")))
    assert call_link(half).call == "unread"
    assert call_link(Look(slot="A", ways=(way(),))).call == "unread"
    assert call_link(Look(slot="A", ways=(way(3), way(toward="host", unread="why")))).call == "marginal"


def test_windows_add_up_and_one_that_was_not_read_adds_no_bits() -> None:
    found = pooled([way(2), way(3), way(unread="why"), way(bits=1e12)])
    assert found is not None
    assert (found.errors, found.unread) == (5, None)
    assert found.bits == pytest.approx(1.6 * MINUTE_GEN4_X16 + 1e12)
    with_errors = pooled([way(), way(4, unread="the card counts no errors")])
    assert with_errors is not None
    assert with_errors.at_least == ("the card counts no errors",)
    blind = pooled([way(unread="why"), way(unread="why")])
    assert blind is not None
    assert blind.unread == "why"
    assert call_way(blind).call == "unread"
    assert pooled([]) is None


def test_a_way_and_a_direction_of_the_ledger_are_the_same() -> None:
    one = way(4, bits=1e12, unanswered={"Timeout": 1}, at_least=("why",), unread="why")
    same = direction_of(one, Hop(port=Bdf("a"), card=Bdf("b")))
    assert (same.payload_bits, same.most_bits, same.seconds) == (one.bits, one.most_bits, one.seconds)
    for name in ("toward", "received", "unanswered", "at_least", "unread"):
        assert getattr(same, name) == getattr(one, name), name


@pytest.mark.parametrize(("value", "text"), [(3388, "3 388"), (55.4, "55"), (1.44, "1.4"), (0.714, "0.71"), (0.00238, "0.0024"), (99.7, "100"), (9.97, "10")])
def test_numbers_have_two_digits_or_more(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("value", "up", "down"), [
    (0.71325, "0.72", "0.71"), (0.72, "0.72", "0.72"), (441.7, "442", "441"), (5961.2, "5 962", "5 961"), (27.3, "28", "27"), (1.01, "1.1", "1.0")])
def test_a_bound_is_rounded_so_that_what_is_said_of_it_holds(value: float, up: str, down: str) -> None:
    assert (number(value, "up"), number(value, "down")) == (up, down)


def test_sizes_of_payload() -> None:
    assert [size(bits) for bits in (9.6e12, 2.72e12, 9.6e7, 800.0)] == ["1.2 TB", "340 GB", "12 MB", "100 bytes"]
