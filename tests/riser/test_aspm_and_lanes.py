"""ASPM off and on again, errors of single lanes, and settings that a link carries already."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.riser.links.aspm import aspm_off, without_aspm
from boxcheck.riser.links.hold import holding
from boxcheck.riser.links.lanes import clear_lane_errors, keep_awake, settings_of
from boxcheck.riser.links.link_state import lane_errors
from boxcheck.riser.links.ports import Refused
from tests.riser.held_link import BOOT, linked, settings
from tests.riser.simulated.link import SYS, load_for

LINK = f"{SYS}0000:41:00.0/link/"


def aspm_bits(link: object) -> tuple[int, int]:
    return tuple(one.get(one.express + 0x10) & 3 for one in (link.port, link.card))  # type: ignore[attr-defined, return-value]


def test_the_kernels_switches_are_used_where_it_shows_them(tmp_path: Path) -> None:
    machine, link, pair = linked(substates=True)
    before = settings(link)
    said: list[str] = []
    with holding(machine, pair, str(tmp_path), boot=BOOT, announce=said.append) as held:
        with without_aspm(held) as off:
            assert (off.state, off.how) == ("off", "kernel")
            assert aspm_bits(link) == (0, 0)
            assert {text for path, text in machine.attributes.items() if path.startswith(LINK)} == {"0"}
        assert settings(link) == before
    assert [entry for entry in machine.log if entry[1] == "write"] == []
    assert said == ["switching ASPM of PCIE3 off", "switching ASPM of PCIE3 on again, as it was"]


def test_only_switches_that_are_on_are_touched(tmp_path: Path) -> None:
    """A switch that is written 0 is remembered by the kernel, and shows the same as one that was never on."""
    machine, _, pair = linked()
    touched: list[str] = []
    machine.on_set.insert(0, lambda path, text: bool(touched.append(path)))
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held, without_aspm(held):
        pass
    assert set(touched) == {LINK + "l1_aspm"}


def test_under_lockdown_the_switches_do(tmp_path: Path) -> None:
    machine, link, pair = linked(substates=True)
    machine.refuses = "lockdown"
    before = settings(link)
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held, without_aspm(held) as off:
        assert off.state == "off"
    assert settings(link) == before


def test_registers_are_written_in_the_order_of_the_specification(tmp_path: Path) -> None:
    """Off: the card's L1 first, then the port's, then the substates. On: substates, then the port's L1, then the card's."""
    machine, link, pair = linked(substates=True, aspm_switches=False)
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held, without_aspm(held) as off:
        assert (off.state, off.how) == ("off", "registers")
        assert off.was == ("L1 at 0000:41:00.0", "L1 at 0000:40:01.1")
        cut = len(machine.log)
    port, card = link.port, link.card
    names = {(link.port_bdf, port.express + 0x10): "port L1", (link.card_bdf, card.express + 0x10): "card L1",
             (link.port_bdf, port.at["l1ss"] + 8): "port L1SS", (link.card_bdf, card.at["l1ss"] + 8): "card L1SS"}
    off_order = [names[entry[2], entry[3]] for entry in machine.log[:cut] if entry[1] == "write"]
    on_order = [names[entry[2], entry[3]] for entry in machine.log[cut:] if entry[1] == "write"]
    assert off_order == ["card L1", "port L1", "card L1SS", "port L1SS"]
    assert on_order == ["port L1SS", "card L1SS", "port L1", "card L1"]
    assert link.violations == []


def test_registers_under_lockdown_are_refused_with_the_reason(tmp_path: Path) -> None:
    machine, link, pair = linked(aspm_switches=False)
    machine.attributes["/sys/kernel/security/lockdown"] = "none [integrity] confidentiality"
    with pytest.raises(Refused, match="locked down"), holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        aspm_off(held)
    assert aspm_bits(link) == (2, 2)


def test_aspm_that_is_off_is_left_alone(tmp_path: Path) -> None:
    machine, _, pair = linked(aspm=None)
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held, without_aspm(held) as off:
        assert off.says == "ASPM is off already: there is nothing to switch off"
    assert [entry for entry in machine.log if entry[1] == "write"] == []


def test_aspm_that_stays_on_is_said(tmp_path: Path) -> None:
    machine, _, pair = linked()
    machine.on_set.insert(0, lambda path, text: path.startswith(LINK))
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        off = aspm_off(held)
    assert off.state == "still-on"
    assert "stays on" in off.says


def test_lane_errors_name_the_lane_and_the_end_and_are_cleared_only_when_asked(tmp_path: Path) -> None:
    machine, link, pair = linked(bad_lanes={"card": 7}, ber={("card", 4): 1e-9})
    load_for(link, 0.5)(lambda: None)
    port, card = lane_errors(machine, pair)
    assert (port.lanes, card.lanes) == ((), (7,))
    assert link.card.get(link.card.at["secondary"] + 8, 4) == 1 << 7, "reading clears nothing"
    said: list[str] = []
    with holding(machine, pair, str(tmp_path), boot=BOOT, announce=said.append) as held:
        assert clear_lane_errors(held) == ("0000:41:00.0 had logged errors on lanes 7",)
    assert said == ["clearing the lane errors of PCIE3: 0000:41:00.0 had logged errors on lanes 7"]
    assert all(one.lanes == () for one in lane_errors(machine, pair))


def test_parity_errors_count_as_errors_of_their_lanes() -> None:
    machine, link, pair = linked()
    link.port.put(link.port.at["phy16"] + 0x10, 1 << 15, 4)
    link.port.put(link.port.at["phy16"] + 0x14, 1 << 2, 4)
    port, card = lane_errors(machine, pair)
    assert (port.parity, port.retimer_parity, card.parity) == ((15,), (2,), ())


def test_a_target_below_what_both_ends_can_do_is_told_at_the_start() -> None:
    machine, link, pair = linked()
    assert settings_of(machine, pair) == ()
    link.port.bits(link.port.express + 0x30, 0xF, 3)
    assert settings_of(machine, pair) == (
        "the port 0000:40:01.1 aims for 8 GT/s and both ends can do 16: a setting of the firmware, of a tool or of the"
        " kernel caps it",)
    link.port.bits(link.port.express + 0x30, 0xF, 1)
    assert "pcie_failed_link_retrain" in settings_of(machine, pair)[0]


def test_a_port_that_aims_for_more_than_the_card_can_do_carries_no_setting() -> None:
    machine, _, pair = linked(port_code=5)
    assert settings_of(machine, pair) == ()


def test_compliance_and_a_link_that_is_switched_off_are_told() -> None:
    machine, link, pair = linked()
    link.port.bits(link.port.express + 0x10, 0x10, 0x10)
    link.card.bits(link.card.express + 0x30, 0x10, 0x10)
    assert settings_of(machine, pair) == (
        "the link of PCIE3 is switched off at its port 0000:40:01.1 (LnkCtl)",
        "0000:41:00.0 is set to enter compliance at the next training (LnkCtl2)")


def test_both_ends_are_kept_awake_while_they_are_held(tmp_path: Path) -> None:
    machine, link, pair = linked()
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        keep_awake(held)
        assert machine.attributes[f"{SYS}{link.card_bdf}/power/control"] == "on"
        assert machine.attributes[f"{SYS}{link.port_bdf}/power/control"] == "on"
    assert machine.attributes[f"{SYS}{link.card_bdf}/power/control"] == "auto"
    assert machine.attributes[f"{SYS}{link.port_bdf}/power/control"] == "auto"
