"""What all links of a box have alike is no part's doing, and rates that are allowed accuse nobody by themselves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.riser.evidence import Boot, Conditions, Look, Place, Step, Weighed
from boxcheck.riser.suspects.weigh import weigh
from tests.riser.suspects.notebooks import MINUTE_BITS, boot, look, notebook, places

CONDITIONS = (Conditions(), Conditions(neighbours="loaded"))


def every(where: tuple[Place, ...], bits: float = MINUTE_BITS, **more: Any) -> list[Look]:
    return [look(place.slot, bits=bits, conditions=held, **more) for place in where for held in CONDITIONS]


def of(*boots: Boot, **more: Any) -> Weighed:
    return weigh(notebook(*boots, slot="PCIE1", **more))


@pytest.mark.parametrize("count", [4, 7])
@pytest.mark.parametrize("supplies", [1, 2])
def test_errors_that_are_allowed_accuse_no_supply_for_being_everywhere(count: int, supplies: int) -> None:
    where = places(count, supplies=supplies)
    found = of(boot(0, where, every(where, host=2)))
    assert found.suspects[0].kind == "supply"
    assert found.verdict in ("not-yet", "exhausted")
    assert found.accused == ()
    assert f"all {count} links have errors: what they share makes that" in found.says
    assert "the reference clock, the board" in found.says
    if found.suspects[0].probability > 0.905:
        assert "rarer than the 1e-12 per bit that PCI Express allows" in found.says


def test_an_allowed_rate_with_the_other_supply_s_links_clean_accuses() -> None:
    where = places(8, supplies=2)
    found = of(boot(0, where, [*every(where[:4], host=3), *every(where[4:])]))
    assert [(one.kind, one.name) for one in found.accused] == [("supply", "A")]
    assert "links have errors" not in found.says


def test_a_rate_that_is_not_allowed_accuses_and_names_what_else_all_links_share() -> None:
    where = places(4)
    found = of(boot(0, where, every(where, host=400)))
    assert [(one.kind, one.name) for one in found.accused] == [("supply", "A")]
    assert "all 4 links have errors" in found.says


@pytest.mark.parametrize(("shown", "says", "look_at"), [
    ({"speed_gts": 8.0}, "all 4 links run at 8 of 16 GT/s: a setting of the whole box", "the PCIe speed in BIOS setup"),
    ({"width": 8}, "all 4 links have x8 of x16: the board or BIOS setup", "bifurcation"),
    ({"late": 30}, "all 4 links have Timeouts and no damaged packet: a setting of the whole box such as ASPM", "ASPM in BIOS")],
    ids=["slow", "narrow", "late"])
def test_a_setting_of_all_slots_is_looked_at_before_a_part_is_moved(shown: dict[str, Any], says: str, look_at: str) -> None:
    where = places(4)
    first = boot(0, where, every(where, **shown))
    found = of(first)
    assert found.verdict == "not-yet"
    assert found.says.startswith(says)
    assert found.next is not None
    assert found.next.kind == "cold-boot"
    assert found.next.why.startswith("before any part is moved, look at")
    assert look_at in found.next.why
    again = of(first, boot(1, where, every(where, **shown), asked=found.next))
    assert again.next is None or again.next.kind != "cold-boot", "it was looked at"
    assert again.says.startswith(says)
    barred = of(first, cannot=("cold-boot",))
    assert barred.next is None or barred.next.kind != "cold-boot"


def test_links_that_are_slow_each_in_its_own_way_or_all_but_one_are_not_alike() -> None:
    where = places(4)
    slow = every(where, speed_gts=8.0)
    other = [msgspec.structs.replace(one, speed_gts=5.0) if one.slot == "PCIE2" else one for one in slow]
    fast = [msgspec.structs.replace(one, speed_gts=16.0) if one.slot == "PCIE2" else one for one in slow]
    for looks in (other, fast):
        assert "all 4 links" not in of(boot(0, where, looks)).says
    assert "all 4 links" not in of(boot(0, where, slow), boot(1, where, fast, asked=Step(kind="cold-boot"))).says
