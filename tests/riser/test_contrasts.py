"""One link under other conditions: what is held is said, and what did not hold is not claimed."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf
from boxcheck.riser.evidence import Conditions, Look, Way
from boxcheck.riser.measuring import warmth
from boxcheck.riser.measuring.contrasts import Bench, alone, at_limited_power, cold_and_hot
from boxcheck.riser.measuring.traffic import Traffic
from boxcheck.riser.measuring.warmth import cold, heat, is_steady
from tests.riser.test_measure import Box, devices
from tests.riser.test_power_cap import BDF, Stubborn, now, tree

__all__ = ("devices",)


class Measured:
    """In place of `measure`: looks at both links as they were asked for, and what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, errors: str = "") -> None:
        self.asked: list[tuple[tuple[str, ...], Conditions, Traffic]] = []
        self.stopped: list[bool] = []
        self.errors = errors
        monkeypatch.setattr("boxcheck.riser.measuring.contrasts.measure", self)

    def __call__(self, measured: Any, seconds: float, conditions: Conditions, *, load: Sequence[str], traffic: Traffic, say: Any, stopping: Any, **more: Any) -> tuple[Look, ...]:
        self.asked.append((tuple(load), conditions, traffic))
        say(f"traffic on {' and '.join(load)}")
        self.stopped.append(stopping())
        return tuple(
            Look(slot=slot, conditions=conditions, ways=(Way(toward="card", received={"BadTLP": 1} if slot in self.errors else {}),))
            for slot in "AB")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    return Measured(monkeypatch)


def bench(root: Path, devices: Sequence[GpuInfo], **more: Any) -> tuple[Box, Bench]:
    box = Box(root, devices)
    fields: dict[str, Any] = {"measured": box.measurable, "traffic": box.traffic, "seconds": 0.6, "root": str(root), "follow_log": False}
    return box, Bench(**{**fields, **more})


def test_a_resting_neighbour_is_there_only_with_what_it_counted(tmp_path: Path, devices: tuple[GpuInfo, ...], measured: Measured) -> None:
    _, made = bench(tmp_path, devices)
    assert [look.slot for look in alone(made, "A")] == ["A"]
    measured.errors = "B"
    assert [look.slot for look in alone(made, "A")] == ["A", "B"]


def test_power_is_drawn_beside_the_copies(tmp_path: Path, devices: tuple[GpuInfo, ...]) -> None:
    _, made = bench(tmp_path, devices)
    (look,) = alone(made, "A", traffic=made.traffic.going(power=True))
    assert not [note for note in look.notes if "power" in note]


def test_limited_power_stands_beside_full_power_and_is_put_back(tmp_path: Path, devices: tuple[GpuInfo, ...], measured: Measured) -> None:
    _, made = bench(tmp_path, devices)
    looks = at_limited_power(made, "A", tree(tmp_path), "1002", str(tmp_path))
    assert [look.conditions.power_capped for look in looks] == [False, True]
    assert [traffic.power for _, _, traffic in measured.asked] == [True, True]
    assert now(tmp_path) == 300.0


def test_a_limit_that_did_not_stay_is_not_claimed(tmp_path: Path, devices: tuple[GpuInfo, ...], measured: Measured) -> None:
    limiter = Stubborn()

    def raise_it(says: str) -> None:
        if limiter.watts == 180.0 and says.startswith("traffic"):
            limiter.watts = 300.0

    _, made = bench(tmp_path, devices, say=raise_it)
    looks = at_limited_power(made, "A", limiter, "10de", str(tmp_path))
    assert [look.conditions.power_capped for look in looks] == [False, False]
    assert looks[1].notes[-1] == f"the power limit of {BDF} did not stay at 180 W"


def test_a_look_at_limited_power_ends_when_somebody_stops_it(tmp_path: Path, devices: tuple[GpuInfo, ...], measured: Measured) -> None:
    """Signals wait while the limit is lowered, so the look has to be told."""
    def stop(says: str) -> None:
        if len(measured.asked) == 2 and says.startswith("traffic"):
            signal.raise_signal(signal.SIGTERM)

    _, made = bench(tmp_path, devices, say=stop)
    old = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        at_limited_power(made, "A", tree(tmp_path), "1002", str(tmp_path))
    finally:
        signal.signal(signal.SIGTERM, old)
    assert measured.stopped == [False, True]
    assert now(tmp_path) == 300.0


class Heat:
    """Cards whose temperatures a test makes up."""

    def __init__(self, rows: Sequence[float]) -> None:
        self.rows = list(rows)

    def cards(self, monkeypatch: pytest.MonkeyPatch) -> None:
        source = self

        class Cards:
            def __init__(self, gpus: object, root: str) -> None: ...

            def read(self) -> None: ...

            def await_heat(self, bdfs: object) -> None: ...

            def heat(self, bdf: Bdf) -> tuple[tuple[float, float], ...]:
                return tuple((float(at), value) for at, value in enumerate(source.rows))

            def told(self, bdfs: object) -> Any:
                from boxcheck.riser.measuring.cards import Card

                return Card(celsius=max(source.rows), first_celsius=source.rows[0]) if source.rows else Card()

            def close(self) -> None: ...

        monkeypatch.setattr(warmth, "Cards", Cards)


@pytest.mark.parametrize(("rows", "hot"), [((38.0,), False), ((45.0,), False), ((46.0,), None), ((), None)])
def test_only_a_cold_card_is_called_cold(tmp_path: Path, devices: tuple[GpuInfo, ...], monkeypatch: pytest.MonkeyPatch, rows: tuple[float, ...], hot: bool | None) -> None:
    Heat(rows).cards(monkeypatch)
    box, _ = bench(tmp_path, devices)
    found = cold(box.measurable, "A")
    assert found.hot is hot
    assert "A" in found.says


def test_a_card_is_steady_when_it_has_not_changed_for_a_minute() -> None:
    rising = [(float(at), 40.0 + at / 10) for at in range(200)]
    level = rising + [(200.0 + at, 60.0) for at in range(61)]
    assert not is_steady(rising, 0.0)
    assert is_steady(level, 0.0)
    assert not is_steady(level, 220.0)
    assert not is_steady(level[:-40], 0.0)


def test_a_card_that_was_heated_too_shortly_is_not_called_hot(tmp_path: Path, devices: tuple[GpuInfo, ...], measured: Measured) -> None:
    _, made = bench(tmp_path, devices)
    (look,) = cold_and_hot(made, "A", most_seconds=0.5)
    assert look.conditions.hot is None
    assert look.notes[-1].startswith("the card in A worked for ")
    assert look.notes[-1].endswith("; its temperature is not read, and after less than 2 min it is not called hot")


def test_a_card_that_was_heated_is_measured_hot(tmp_path: Path, devices: tuple[GpuInfo, ...], measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmth, "LEAST_SECONDS", 0.5)
    _, made = bench(tmp_path, devices)
    looks = cold_and_hot(made, "A", most_seconds=0.7)
    assert [look.conditions.hot for look in looks] == [None, True]


def test_work_that_broke_off_heats_nothing(tmp_path: Path, devices: tuple[GpuInfo, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    import msgspec

    order = Traffic._heat
    monkeypatch.setattr(Traffic, "_heat", lambda self, seconds: msgspec.structs.replace(order(self, seconds), module="no-such"))
    box, made = bench(tmp_path, devices)
    found = heat(box.measurable, made.traffic.going("heat"), ("A",), most_seconds=1.0, root=str(tmp_path))
    assert found["A"].hot is None
    assert found["A"].says.startswith("the card in A was not heated: cpu:0: ")
