"""Margining inside the journal's holder: signals wait, all settings come back, the journal is closed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from boxcheck.model import Unread
from boxcheck.riser.links.hold import holding
from boxcheck.riser.links.link_pair import read_end
from boxcheck.riser.links.pending import restore_pending
from boxcheck.riser.links.ports import LinkPair
from boxcheck.riser.margining.hold import Hold
from boxcheck.riser.margining.run import margin
from tests.riser.margin_bench import bench, clean, run, wrong_edges
from tests.riser.simulated.machine import Machine
from tests.riser.simulated.margin import CARD, PORT, MarginLink


def journalled(folder: str, stakes: tuple[str, ...] = ()) -> Hold:
    """As `boxcheck.riser.live` holds a link."""
    return lambda ports, pair: holding(ports, pair, folder, what="lane margining", stakes=stakes)


def held_bench() -> tuple[Machine, MarginLink, LinkPair]:
    """With the two ends as the program reads them from the registers."""
    machine, link, _ = bench(width=2, max_width=2, link_control=0x0042)
    found = []
    for bdf in (PORT, CARD):
        end = read_end(machine, bdf)
        assert not isinstance(end, Unread), end
        found.append(end[0])
    return machine, link, LinkPair(port=found[0], card=found[1], slot="PCIE3")


def test_a_run_under_the_journal_measures_the_same_and_closes_it(tmp_path: Path) -> None:
    machine, link, pair = held_bench()
    said: list[str] = []
    link.at_step[3] = lambda lane: said.extend(os.listdir(tmp_path))
    margins = run(machine, link, pair, hold=journalled(str(tmp_path)))
    assert wrong_edges(link, margins) == []
    assert margins.not_restored is None
    assert any(name.endswith(".link.json") for name in said), "the journal was there while the link was changed"
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".link.json")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 4, 17])
def test_a_signal_ends_it_between_two_accesses_and_everything_comes_back(tmp_path: Path, number: int, step: int) -> None:
    machine, link, pair = held_bench()
    before = link.settings
    link.at_step[step] = lambda lane: signal.raise_signal(number)
    seen: list[int] = []
    old = signal.signal(number, lambda got, frame: seen.append(got))
    try:
        with pytest.raises(KeyboardInterrupt):
            margin(machine, pair, hold=journalled(str(tmp_path)))
    finally:
        signal.signal(number, old)
    clean(link, before)
    assert seen == [number], "and is delivered to whoever had it before"
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".link.json")]


def test_a_card_that_was_reset_gets_all_its_settings_back(tmp_path: Path) -> None:
    machine, link, pair = held_bench()
    link.at_step[4] = lambda lane: link.drop(0.4)
    before = link.settings
    margins = margin(machine, pair, hold=journalled(str(tmp_path)))
    assert margins.stopped is not None
    assert margins.not_restored is None
    assert link.settings == before
    assert link.in_place
    # The port is trained anew to bring the link back; nothing else was written that should not be.
    assert all("Retrain" in one for one in link.all_violations)


def test_a_card_that_never_comes_back_leaves_the_journal_and_says_so(tmp_path: Path) -> None:
    machine, link, pair = held_bench()
    link.at_step[4] = lambda lane: link.drop(1e9)
    margins = margin(machine, pair, hold=journalled(str(tmp_path)))
    assert margins.not_restored is not None
    assert [name for name in os.listdir(tmp_path) if name.endswith(".link.json")]


def test_a_link_with_the_root_disk_below_is_left_alone(tmp_path: Path) -> None:
    machine, link, pair = held_bench()
    margins = margin(machine, pair, hold=journalled(str(tmp_path), stakes=("the root disk hangs on it",)))
    assert margins.obstacles[0].kind == "refused"
    assert "root disk" in margins.obstacles[0].says
    assert link.control_writes == 0


def test_a_journal_that_cannot_be_written_means_that_nothing_is(tmp_path: Path) -> None:
    machine, link, pair = held_bench()
    margins = margin(machine, pair, hold=journalled(str(tmp_path / "absent")))
    assert margins.obstacles[0].kind == "refused"
    assert link.control_writes == 0
    assert not [entry for entry in machine.log if entry[1] == "write"]


class Killed(BaseException):
    """Nothing reaches the machine any more."""


def killed(folder: Path) -> tuple[Machine, MarginLink, Any]:
    """A link whose margining was killed while samplers stood elsewhere, and the settings it had."""
    machine, link, pair = held_bench()
    before = link.settings
    dead: list[object] = []

    def cut(at: int) -> bool:
        if dead:
            raise Killed
        return False

    machine.cut = cut
    for number in range(1, 60):
        # At a step that holds: one with too many errors brings its sampler back by itself.
        link.at_step[number] = lambda lane: dead.extend(one for one in lane.moved.values() if one.trips_after is None)
    with pytest.raises(Killed):
        margin(machine, pair, hold=journalled(str(folder)))
    machine.cut = lambda at: False
    link.at_step.clear()
    assert not link.in_place
    assert [name for name in os.listdir(folder) if name.endswith(".link.json")]
    return machine, link, before


def test_the_next_start_after_a_kill_brings_every_sampler_back_too(tmp_path: Path) -> None:
    machine, link, before = killed(tmp_path)
    (recovered,) = restore_pending(machine, str(tmp_path))
    assert recovered.closed, recovered
    clean(link, before)
    assert restore_pending(machine, str(tmp_path)) == ()


def test_a_sampler_that_does_not_confirm_is_told_and_the_journal_waits(tmp_path: Path) -> None:
    machine, link, _ = killed(tmp_path)
    link.recovers_until = 1e9
    (recovered,) = restore_pending(machine, str(tmp_path))
    assert not recovered.closed
    assert "did not confirm Go to Normal" in recovered.says
    assert "cold boot" in recovered.help
    assert len(restore_pending(machine, str(tmp_path))) == 1
    (after,) = restore_pending(machine, str(tmp_path), boot="another")
    assert after.closed, "a restart has brought it back"
