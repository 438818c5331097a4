"""When silence says that nothing is at fault: both directions, as the box is used, with the others loaded."""

from __future__ import annotations

import msgspec
import pytest

from boxcheck.riser.evidence import Boot, Conditions, LaneMargin, Look, Way, Weighed
from boxcheck.riser.measuring.bounds import call_link
from boxcheck.riser.suspects.posterior import posterior
from boxcheck.riser.suspects.sightings import seen
from boxcheck.riser.suspects.silence import failures, silence_lacks
from boxcheck.riser.suspects.weigh import weigh
from tests.riser.suspects.notebooks import boot, look, notebook, places
from tests.riser.suspects.test_rules import UNREAD

LOADED = Conditions(neighbours="loaded")


def quiet(*looks: Look, boots: int = 6, count: int = 4) -> Weighed:
    """So many boots without an error, with these looks at PCIE1; the other links are looked at as they are used."""
    every: list[Boot] = [boot(number, places(count), [*looks, *(
        look(f"PCIE{n}", conditions=LOADED) for n in range(2, count + 1))]) for number in range(boots)]
    return weigh(notebook(*every, slot="PCIE1"))


def test_both_directions_as_used_with_the_others_loaded_are_enough() -> None:
    found = quiet(look("PCIE1", conditions=LOADED))
    assert found.verdict == "healthy"
    assert "0 errors in 18 TB on PCIE1 over 6 boots (fewer than 0.17 per TB at 95 %)" in found.says


@pytest.mark.parametrize("toward", ["card", "host"])
def test_a_direction_that_no_boot_read_keeps_a_link_from_being_healthy_and_is_named(toward: str) -> None:
    found = quiet(look("PCIE1", conditions=LOADED, **{f"{toward}_unread": UNREAD}))
    assert found.healthy > 0.9
    assert found.verdict in ("not-yet", "exhausted")
    assert f"errors of bits toward the {toward} were read in no boot on PCIE1 ({UNREAD})" in found.says


def test_each_direction_needs_its_bits() -> None:
    found = quiet(look("PCIE1", conditions=LOADED, bits=1e9), look("PCIE1", conditions=LOADED, host_unread=UNREAD))
    assert found.verdict != "healthy"
    assert "750 MB toward the host crossed PCIE1 as it is used" in found.says


@pytest.mark.parametrize("held", [
    Conditions(neighbours="loaded", aspm_off=True), Conditions(neighbours="loaded", power_capped=True),
    Conditions(neighbours="loaded", speed_gts=8.0), Conditions(neighbours="loaded", hot=False)],
    ids=["ASPM off", "power capped", "slow", "cold"])
def test_milder_conditions_than_use_show_nothing_of_use(held: Conditions) -> None:
    found = quiet(look("PCIE1", conditions=LOADED, bits=1e9), look("PCIE1", conditions=held))
    assert found.verdict != "healthy"
    assert "crossed PCIE1 as it is used" in found.says or found.healthy < 0.5


def test_a_direction_that_was_read_in_cold_looks_alone_is_not_called_unread() -> None:
    found = quiet(look("PCIE1", conditions=Conditions(neighbours="loaded", hot=False)), boots=8)
    assert found.verdict != "healthy"
    assert "were read in no boot" not in found.says
    assert "0 bytes toward the card and 0 bytes toward the host crossed PCIE1 as it is used" in found.says


def test_others_that_were_never_loaded_keep_a_link_from_being_healthy() -> None:
    found = quiet(look("PCIE1"), boots=8)
    assert found.verdict != "healthy"
    assert "errors of bits toward the card and host of PCIE1 were not counted while the other cards were loaded" in found.says


def test_a_card_that_is_alone_has_no_others_to_load() -> None:
    book = notebook(*(boot(number, places(1), [look("PCIE1")]) for number in range(3)), slot="PCIE1")
    assert not silence_lacks(posterior(book), "PCIE1")
    two = notebook(*(boot(number, places(2), [look("PCIE1")]) for number in range(3)), slot="PCIE1")
    assert len(silence_lacks(posterior(two), "PCIE1")) == 1


def test_errors_that_may_have_been_missed_are_no_silence() -> None:
    unsure = look("PCIE1", conditions=LOADED)
    unsure = msgspec.structs.replace(unsure, ways=tuple(
        msgspec.structs.replace(way, at_least=("the counters began anew",)) for way in unsure.ways))
    assert quiet(unsure, boots=8).verdict != "healthy"


def test_no_error_is_told_as_a_bound() -> None:
    assert seen([look("PCIE1")]) == "0 errors in 3.1 TB (fewer than 0.98 per TB at 95 %)"
    assert seen([look("PCIE1", host_unread=UNREAD)]) == "0 errors in 1.5 TB toward the card (fewer than 2.0 per TB at 95 %)"
    assert seen([look("PCIE1", card=3)]) == "3 errors in 3.1 TB"
    assert seen([look("PCIE1", card=3), look("PCIE1", card=1)]) == "4 errors in 6.1 TB over both ways of 2 looks"


FATAL = {"fatal DLP at 0000:40:01.1": 3}
LANE = tuple(LaneMargin(receiver="F", lane=lane, left_ui=0.05 if lane == 3 else 0.3, right_ui=0.3,
                        grade="fail" if lane == 3 else "pass") for lane in range(16))


@pytest.mark.parametrize(("more", "says"), [
    (look("PCIE1", conditions=LOADED, uncorrectable=FATAL), "PCIE1 failed in boot 1: 3 fatal DLP at 0000:40:01.1"),
    (Look(slot="PCIE1", margins=LANE), "PCIE1 failed in boot 1: lane 3 at receiver F below the specified margin"),
    (look("PCIE1", conditions=Conditions(speed_gts=8.0), uncorrectable=FATAL), "3 fatal DLP"),
    (look("PCIE3", uncorrectable=FATAL), "PCIE3 failed in boot 1")],
    ids=["uncorrectable", "margin", "at a lower speed", "on another link"])
def test_a_link_that_failed_is_not_healthy_however_few_bits_were_damaged(more: Look, says: str) -> None:
    found = quiet(look("PCIE1", conditions=LOADED), more)
    assert found.healthy > 0.9
    assert found.verdict in ("not-yet", "exhausted")
    assert says in found.says


def test_a_request_that_somebody_refused_is_no_failure_of_a_link() -> None:
    refused = {"nonfatal UnsupReq at 0000:41:00.0": 2}
    assert quiet(look("PCIE1", conditions=LOADED, uncorrectable=refused)).verdict == "healthy"


def test_errors_under_milder_conditions_bar_a_clean_bill_whatever_comes_after() -> None:
    """Nine errors while the card was cold, and a clean boot after it: what failed has failed."""
    cold, loaded = Conditions(neighbours="loaded", hot=False), Conditions(neighbours="loaded")
    clean = [look("PCIE3"), look("PCIE3", conditions=loaded)]
    for errors, healthy in ((0, True), (1, True), (9, False)):
        boots = [boot(0, places(), [*clean, look("PCIE3", card=errors, conditions=cold)]),
                 *(boot(at, places(), clean) for at in range(1, 6))]
        weighed = weigh(notebook(*boots))
        assert (weighed.verdict == "healthy") is healthy, errors
        if errors == 1:
            assert "and 1 under milder conditions" in weighed.says
        if not healthy:
            assert "PCIE3 failed in boot 1: 9 errors, more than a link with nothing wrong has" in weighed.says


def short(errors: dict[str, int], bits: float, *, toward: str = "card", held: Conditions = LOADED) -> Look:
    """A short look at PCIE1: Rollover as its sender counts it, the others as the receiver does."""
    late = {name: count for name, count in errors.items() if name == "Rollover"}
    ways = tuple(Way(
        toward=way, bits=bits, most_bits=1.2 * bits, seconds=bits / 200e9,  # type: ignore[arg-type]
        received={name: count for name, count in errors.items() if name not in late} if way == toward else {},
        unanswered=late if way == toward else {}) for way in ("card", "host"))
    return Look(slot="PCIE1", conditions=held, present=True, active=True, width=16, full_width=16, speed_gts=16.0,
                full_speed_gts=16.0, ways=ways)


@pytest.mark.parametrize("toward", ["card", "host"])
@pytest.mark.parametrize("held", [LOADED, Conditions(power_capped=True), Conditions(hot=False)], ids=["use", "capped", "cold"])
@pytest.mark.parametrize(("errors", "bits", "says"), [
    ({"Rollover": 1}, 1e13, "1 Rollover"), ({"Rollover": 3}, 1e12, "3 Rollover"),
    ({"BadTLP": 3}, 1e11, "3 errors toward the"), ({"BadTLP": 3, "RxErr": 1}, 1e11, "4 errors toward the")])
def test_what_the_specification_calls_a_failure_is_one_however_much_is_clean_beside_it(
        errors: dict[str, int], bits: float, says: str, held: Conditions, toward: str) -> None:
    failed = short(errors, bits, toward=toward, held=held)
    assert call_link(failed).call == "failing"
    clean = look("PCIE1", conditions=LOADED)
    others = [look(f"PCIE{n}", conditions=LOADED) for n in range(2, 5)]
    boots = [boot(0, places(), [clean, failed, *others]), *(boot(at, places(), [clean, *others]) for at in range(1, 6))]
    found = weigh(notebook(*boots, slot="PCIE1"))
    assert found.verdict != "healthy"
    (told,) = failures(posterior(notebook(*boots, slot="PCIE1")))
    assert says in told


def test_strays_are_no_failure() -> None:
    one = short({"BadTLP": 1}, 1e9)
    assert call_link(one).call == "failing"
    rare = look("PCIE1", card=3, conditions=LOADED)
    for more in (one, rare):
        book = notebook(boot(0, places(), [look("PCIE1", conditions=LOADED), more]), slot="PCIE1")
        assert not list(failures(posterior(book))), more


def test_errors_of_short_looks_at_one_speed_add_up() -> None:
    book = notebook(boot(0, places(), [short({"BadTLP": 1}, 2e10), short({"RxErr": 1}, 2e10)]), slot="PCIE1")
    assert list(failures(posterior(book))) == [
        "PCIE1 failed in boot 1: 2 errors toward the card, above the 1e-12 that PCI Express allows"]
