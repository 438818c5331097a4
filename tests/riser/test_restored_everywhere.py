"""Every experiment, cut off at every write it makes, by an interruption and by death: both ends are as they were."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from boxcheck.model import Bdf
from boxcheck.riser.evidence import Look
from boxcheck.riser.links.aspm import without_aspm
from boxcheck.riser.links.equalisation import redo_equalisation
from boxcheck.riser.links.hold import Held, NotRestored, holding
from boxcheck.riser.links.lanes import clear_lane_errors, keep_awake
from boxcheck.riser.links.pending import restore_pending
from boxcheck.riser.links.ports import LinkPair, Refused
from boxcheck.riser.links.retrain import retrain_often
from boxcheck.riser.links.target_speed import try_speeds
from tests.riser.held_link import BOOT, journals, linked, settings
from tests.riser.simulated.link import SimulatedLink, load_for
from tests.riser.simulated.machine import Machine


class Dead(BaseException):
    """The program was killed: nothing it does from then on reaches the machine."""


def speeds(held: Held, link: SimulatedLink) -> None:
    def measure(sample: Callable[[], None]) -> Look:
        load_for(link, 0.5)(sample)
        return Look(slot="PCIE3")
    try_speeds(held, (8.0, 2.5), measure)


def aspm(held: Held, link: SimulatedLink) -> None:
    with without_aspm(held):
        held.sleep(0.1)


EXPERIMENTS: dict[str, tuple[dict[str, Any], Callable[[Held, SimulatedLink], object]]] = {
    "retrain": ({}, lambda held, link: retrain_often(held, 3, clear=True)),
    "retrain-pericom": ({"keeps_retrain": True}, lambda held, link: retrain_often(held, 2)),
    "speeds-raw": ({}, speeds),
    "speeds-kernel": ({"cooling": 5}, speeds),
    "speeds-kernel-wider-port": ({"cooling": 0, "port_code": 5}, speeds),
    "equalise": ({"port_code": 5, "card_code": 5}, lambda held, link: redo_equalisation(held)),
    "aspm-kernel": ({"substates": True}, aspm),
    "aspm-raw": ({"substates": True, "aspm_switches": False}, aspm),
    "lanes": ({"bad_lanes": {"card": 3}, "ber": {("card", 4): 1e-9}}, lambda held, link: clear_lane_errors(held)),
    "awake": ({}, lambda held, link: keep_awake(held)),
}


class Cut:
    """Counts what reaches the machine, and ends it where it is told."""

    def __init__(self, machine: Machine, at: int | None, dead_after: int | None) -> None:
        self.count, self.at, self.dead_after = 0, at, dead_after
        self.dead = False
        self.by_experiment: int | None = None
        """Writes that the experiment made itself, where it came to its end."""
        machine.cut = lambda _: self.step()
        machine.on_set.insert(0, self._on_set)
        machine.on_read.insert(0, self._on_read)

    def step(self) -> bool:
        number, self.count = self.count, self.count + 1
        if self.dead_after is not None and number >= self.dead_after:
            self.dead = True
        if self.dead:
            raise Dead
        return number == self.at

    def _on_set(self, path: str, text: str) -> bool:
        if self.step():
            raise KeyboardInterrupt
        return False

    def _on_read(self, bdf: Bdf, offset: int, size: int) -> None:
        if self.dead:
            raise Dead

    def end(self, machine: Machine) -> None:
        machine.on_read.remove(self._on_read)
        machine.cut = lambda _: False
        machine.on_set.remove(self._on_set)


def started(name: str) -> tuple[Machine, SimulatedLink, LinkPair, Callable[[Held, SimulatedLink], object]]:
    options, experiment = EXPERIMENTS[name]
    machine, link, pair = linked(**options)
    if name == "lanes":
        load_for(link, 0.2)(lambda: None)
        assert link.card.get(link.card.at["secondary"] + 8, 4) == 1 << 3
    return machine, link, pair, experiment


def run(name: str, folder: Path, at: int | None, dead_after: int | None) -> tuple[Machine, SimulatedLink, Cut, Any]:
    machine, link, pair, experiment = started(name)
    before = settings(link)
    cut = Cut(machine, at, dead_after)
    try:
        with holding(machine, pair, str(folder), boot=BOOT) as held:
            experiment(held, link)
            cut.by_experiment = cut.count
    except (KeyboardInterrupt, Dead):
        pass
    cut.end(machine)
    return machine, link, cut, before


def writes_of(name: str, folder: Path) -> tuple[int, int]:
    """Writes of an experiment, and of it with the restoration after it."""
    _, link, cut, before = run(name, folder, None, None)
    assert settings(link) == before
    assert journals(folder) == []
    assert link.violations == []
    assert (link.code, link.width) == (4 if link.card_code == 4 else 5, 16)
    assert cut.by_experiment is not None
    return cut.by_experiment, cut.count


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_interruption_at_any_write_leaves_the_link_as_it_was(name: str, tmp_path: Path) -> None:
    made, total = writes_of(name, tmp_path)
    assert made >= 1
    for at in range(made):
        _, link, _, before = run(name, tmp_path, at, None)
        assert settings(link) == before, f"cut at write {at} of {total}"
        assert (link.code, link.width) == (link.target, 16)
        assert journals(tmp_path) == []
        assert link.violations == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_death_at_any_write_is_made_good_by_the_next_start(name: str, tmp_path: Path) -> None:
    _, total = writes_of(name, tmp_path)
    for at in range(total):
        machine, link, _, before = run(name, tmp_path, None, at)
        recovered = restore_pending(machine, str(tmp_path), boot=BOOT)
        # The last writes are those of the restoration itself; a death there may have left nothing to do.
        assert all(one.closed for one in recovered), recovered
        assert len(recovered) == 1
        assert settings(link) == before, f"killed at write {at} of {total}"
        assert (link.code, link.width) == (link.target, 16)
        assert journals(tmp_path) == []
        assert link.violations == []


@pytest.mark.parametrize("name", ["speeds-raw", "speeds-kernel", "aspm-raw", "equalise"])
@pytest.mark.parametrize("later", [0, 1, 2, 4])
def test_death_while_it_is_put_back_is_made_good_by_the_next_start(name: str, later: int, tmp_path: Path) -> None:
    _, total = writes_of(name, tmp_path)
    for at in range(total):
        machine, link, _, before = run(name, tmp_path, at, at + 1 + later)
        restore_pending(machine, str(tmp_path), boot=BOOT)
        assert settings(link) == before, f"interrupted at write {at}, killed {later} writes later"
        assert (link.code, link.width) == (link.target, 16)
        assert journals(tmp_path) == []


@pytest.mark.parametrize("name", ["speeds-raw", "speeds-kernel"])
def test_the_next_start_may_die_too(name: str, tmp_path: Path) -> None:
    _, total = writes_of(name, tmp_path)
    for at in range(total):
        machine, link, _, before = run(name, tmp_path, None, at)
        second = Cut(machine, None, 1)
        with suppress(Dead):
            restore_pending(machine, str(tmp_path), boot=BOOT)
        second.end(machine)
        restore_pending(machine, str(tmp_path), boot=BOOT)
        assert settings(link) == before
        assert link.code == link.target
        assert journals(tmp_path) == []


def test_before_the_first_write_the_journal_is_on_the_disk(tmp_path: Path) -> None:
    for name in EXPERIMENTS:
        machine, link, pair, experiment = started(name)
        seen: list[list[str]] = []

        def look(bdf: Bdf, offset: int, size: int, value: int, seen: list[list[str]] = seen) -> bool:
            seen.append([entry for entry in journals(tmp_path) if entry.endswith(".link.json")])
            return False

        machine.on_write.insert(0, look)
        machine.on_set.insert(0, lambda path, text, look=look: look(Bdf(""), 0, 0, 0))  # type: ignore[misc]
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            experiment(held, link)
        assert seen
        assert all(names == [f"{link.port_bdf}.{BOOT}.link.json"] for names in seen), name


def test_a_refused_write_in_an_experiment_is_said_and_the_journal_stays(tmp_path: Path) -> None:
    """A kernel without securityfs does not tell beforehand that it is locked down."""
    machine, link, pair = linked()
    before = settings(link)

    def refuse(number: int) -> bool:
        machine.refuses = "lockdown" if number >= 1 else None
        return False

    def work() -> None:
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            machine.cut = refuse
            try_speeds(held, (8.0,))

    with pytest.raises(Refused, match="refused") as raised:
        work()
    assert any("LnkCtl2 of 0000:40:01.1 reads 0x3 and was 0x4" in note for note in raised.value.__notes__)
    assert settings(link) != before
    assert journals(tmp_path) == [f"{link.port_bdf}.{BOOT}.link.json"]
    machine.refuses, machine.cut = None, lambda number: False
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert recovered.closed
    assert settings(link) == before


def test_a_link_that_does_not_come_back_is_said_to_be_down(tmp_path: Path) -> None:
    machine, link, pair = linked()
    said: list[str] = []

    def work() -> None:
        with holding(machine, pair, str(tmp_path), boot=BOOT, announce=said.append):
            link.chances = {"down": 1.0}
            link.drop()

    with pytest.raises(NotRestored, match="is down; it was x16 at 16 GT/s; retraining it did not help") as raised:
        work()
    assert "cold boot" in raised.value.help
    assert any("is down" in sentence for sentence in said)
    assert journals(tmp_path) == [f"{link.port_bdf}.{BOOT}.link.json"]
