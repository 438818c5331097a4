from __future__ import annotations

from typing import Any

import pytest

from boxcheck.checks.network import parse_card
from boxcheck.model import Bdf
from boxcheck.probes.network import Controller, NetPort, Network
from tests.checks.judging import GONE, judge, outcome, outcomes

X550 = tuple(Controller(Bdf(f"0000:45:00.{number}"), "8086:1563", 0x020000, "ixgbe") for number in range(2))
WIFI = Controller(Bdf("0000:46:00.0"), "14c3:0616", 0x028000, "mt7921e")


def port(name: str, state: Any = "up", speed: int | None = 10000) -> NetPort:
    return NetPort(name=name, bdf=Bdf("0000:45:00.0"), driver="ixgbe", state=state, speed_mbps=speed, mac=None)


@pytest.mark.parametrize(("controllers", "limits", "wanted"), [
    (X550, {"nic.cards": {"should": ["8086:1563 x2"]}}, ["pass"]),
    (X550[:1], {"nic.cards": {"should": ["8086:1563 x2"]}}, ["marginal"]),
    (X550[:1], {"nic.cards": ["8086:1563 x2"]}, ["fail"]),
    (X550, {"nic.cards": ["14e4:16d8|8086:1563 x2"]}, ["pass"]),
    ((), {"nic.cards": ["14e4:16d8|8086:1563 x2"]}, ["fail"]),
    (X550, {"nic.cards": ["nonsense"]}, ["fail"]),
    ((*X550, WIFI), {"nic.ports": 2}, ["pass"]), ((X550[0], WIFI), {"nic.ports": 2}, ["fail"]),
    (X550, {"nic.cards": ["8086:1563 x2"], "nic.ports": {"should": 3}}, ["pass", "marginal"]),
    (X550, None, ["skip"])])
def test_present(controllers: Any, limits: Any, wanted: list[str]) -> None:
    assert outcomes(judge("nic.present", Network(controllers, ()), limits=limits)) == wanted


def test_present_is_unknown_where_the_bus_was_not_read() -> None:
    assert outcome("nic.present", Network((), (), GONE), limits={"nic.ports": 2}) == "unknown"


def test_links_are_told_and_not_judged() -> None:
    ports = {"nic.ports": 2}
    finding = judge("nic.present", Network(X550, (port("eno1"), port("eno2", "down", None))), limits=ports)[0]
    assert finding.outcome == "pass"
    assert finding.notes == ("1 of 2 ports up: eno1 10000 Mbit/s",)
    assert judge("nic.present", Network(X550, (port("eno1", GONE),)), limits=ports)[0].notes == ()
    assert judge("nic.present", Network(X550, GONE), limits=ports)[0].notes == ()


@pytest.mark.parametrize(("text", "card"), [
    ("8086:1563 x2", (("8086:1563",), 2)), ("14E4:16D8|8086:1563", (("14e4:16d8", "8086:1563"), 1)),
    ("8086:1563x2", None), ("intel", None), ("", None), ("8086:1563 x999", None)])
def test_spelling_of_cards(text: str, card: Any) -> None:
    assert parse_card(text) == card
