"""What a link is not touched for, and what no experiment may write."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxcheck.host.refused import RefusedKind, Size
from boxcheck.model import Bdf
from boxcheck.riser.links.hold import Held, NotRestored, holding
from boxcheck.riser.links.journal import lock_links
from boxcheck.riser.links.ports import LinkPair, Refused
from boxcheck.riser.links.retrain import retrain_once
from boxcheck.riser.links.target_speed import force_speed
from tests.riser.held_link import BOOT, journals, linked, settings
from tests.riser.simulated.machine import Machine

LOCKDOWN = "/sys/kernel/security/lockdown"


def written(machine: Machine) -> list[tuple[Bdf, int, int, int]]:
    return [entry[2:] for entry in machine.log if entry[1] == "write"]


def held_for(work: Callable[[Held], object], machine: Machine, pair: LinkPair, folder: Path) -> None:
    with holding(machine, pair, str(folder), boot=BOOT) as held:
        work(held)


@pytest.mark.parametrize("kind", ["permission", "lockdown", "gone"])
def test_a_refusal_that_is_known_beforehand_costs_no_write(kind: RefusedKind, tmp_path: Path) -> None:
    machine, link, pair = linked()
    before = settings(link)
    machine.refuses = kind
    with pytest.raises(Refused, match="writes are refused") as raised:
        held_for(retrain_once, machine, pair, tmp_path)
    assert raised.value.kind == kind
    assert written(machine) == []
    assert settings(link) == before
    assert journals(tmp_path) == []


@pytest.mark.parametrize("state", ["integrity", "confidentiality"])
def test_lockdown_is_found_beforehand_and_said(state: str, tmp_path: Path) -> None:
    machine, link, pair = linked()
    machine.attributes[LOCKDOWN] = "none integrity confidentiality".replace(state, f"[{state}]")
    with pytest.raises(Refused, match=rf"locked down \(Secure Boot\).*lockdown={state}") as raised:
        held_for(lambda held: force_speed(held, 8.0), machine, pair, tmp_path)
    assert raised.value.kind == "lockdown"
    assert "Secure Boot" in raised.value.help
    assert written(machine) == []
    assert link.trainings == 0


def test_a_kernel_that_could_be_locked_down_and_is_not_is_written(tmp_path: Path) -> None:
    machine, link, pair = linked()
    machine.attributes[LOCKDOWN] = "[none] integrity confidentiality"
    held_for(retrain_once, machine, pair, tmp_path)
    assert link.trainings == 1


def test_under_lockdown_the_kernels_own_control_sets_the_speed_and_puts_it_back(tmp_path: Path) -> None:
    machine, link, pair = linked(cooling=3)
    before = settings(link)
    machine.attributes[LOCKDOWN] = "none [integrity] confidentiality"
    machine.refuses = "lockdown"
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        forced = force_speed(held, 8.0)
        assert forced.how == "kernel"
        assert forced.reached
        assert link.code == 3
    assert settings(link) == before
    assert link.code == 4
    assert written(machine) == []
    assert journals(tmp_path) == []


def test_under_lockdown_a_target_that_the_kernel_rounds_down_is_as_good_as_before(tmp_path: Path) -> None:
    """The port can do 32 GT/s and the card 16: the kernel puts the target back to 16."""
    machine, link, pair = linked(cooling=0, port_code=5)
    machine.refuses = "lockdown"
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        force_speed(held, 2.5)
    assert link.port.get(link.port.express + 0x30) & 0xF == 4
    assert held.restored is not None
    assert held.restored.outcome == "restored"
    assert link.code == 4


def test_what_hangs_on_a_link_is_left_alone_unless_forced(tmp_path: Path) -> None:
    machine, link, pair = linked()
    stakes = ("the disk that / is on (nvme0n1) hangs below it",)
    with pytest.raises(Refused, match="left alone: the disk that / is on") as raised, \
            holding(machine, pair, str(tmp_path), boot=BOOT, stakes=stakes):
        pytest.fail("it was held")
    assert "--force" in raised.value.help
    assert machine.log == []
    with holding(machine, pair, str(tmp_path), boot=BOOT, stakes=stakes, force=True) as held:
        retrain_once(held)
    assert link.trainings == 1


def failing_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: int) -> None:
        raise OSError(errno.EIO, "disk")
    monkeypatch.setattr(os, "fsync", broken)


@contextmanager
def tiny_files() -> Iterator[None]:
    """The kernel refuses to let a file grow beyond 100 bytes, as a full disk does. No fixture: pytest's own output may be
    a file, and it writes before a fixture ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_room_for_the_journal_means_that_nothing_is_written(tmp_path: Path) -> None:
    machine, _link, pair = linked()
    with tiny_files(), pytest.raises(
            Refused, match="nothing was changed: the settings of the link cannot be saved"):
        held_for(retrain_once, machine, pair, tmp_path)
    assert written(machine) == []
    assert journals(tmp_path) == []


def test_a_journal_that_does_not_reach_the_disk_means_that_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, _link, pair = linked()
    failing_fsync(monkeypatch)
    with pytest.raises(Refused, match=r"cannot be saved in .* first \(input/output error\)"):
        held_for(retrain_once, machine, pair, tmp_path)
    assert written(machine) == []
    assert journals(tmp_path) == []


def test_no_folder_for_the_journal_means_that_nothing_is_written(tmp_path: Path) -> None:
    machine, _link, pair = linked()
    with pytest.raises(Refused, match="nothing was changed"):
        held_for(retrain_once, machine, pair, tmp_path / "missing")
    assert written(machine) == []


def test_one_link_at_a_time(tmp_path: Path) -> None:
    machine, _link, pair = linked()
    lock = lock_links(str(tmp_path))
    assert lock is not None
    with pytest.raises(Refused, match=r"another boxcheck works on a link now \(process \d+\)") as raised:
        held_for(retrain_once, machine, pair, tmp_path)
    assert raised.value.kind == "busy"
    assert written(machine) == []
    lock.release()
    held_for(retrain_once, machine, pair, tmp_path)


def test_a_card_that_is_gone_before_the_start_is_left_alone(tmp_path: Path) -> None:
    machine, link, pair = linked()
    machine.gone.add(link.card_bdf)
    with pytest.raises(Refused, match=r"left alone: 0000:41:00\.0 does not answer"):
        held_for(retrain_once, machine, pair, tmp_path)
    assert written(machine) == []
    assert journals(tmp_path) == []


def test_facts_that_no_longer_fit_the_machine_are_not_gone_by(tmp_path: Path) -> None:
    machine, link, pair = linked()
    link.card.put(link.card.express + 0x0C, 0x0043_1083, 4)
    with pytest.raises(Refused, match="no longer what they were"):
        held_for(retrain_once, machine, pair, tmp_path)
    assert written(machine) == []


EXPRESS, CARD_EXPRESS = 0x58, 0x78
PORT, CARD = Bdf("0000:40:01.1"), Bdf("0000:41:00.0")


@pytest.mark.parametrize(("bdf", "offset", "size", "value", "why"), [
    (PORT, EXPRESS + 0x30, 2, 0x0014, "enter compliance"),
    (PORT, EXPRESS + 0x30, 2, 0x0404, "modified compliance"),
    (PORT, EXPRESS + 0x30, 2, 0x0005, "a speed that the card cannot do"),
    (PORT, EXPRESS + 0x30, 2, 0x0000, "no speed"),
    (PORT, EXPRESS + 0x10, 2, 0x0052, "link disable"),
    (PORT, EXPRESS + 0x10, 4, 0x0042, "a write over the status bits beside it"),
    (PORT, EXPRESS + 0x12, 2, 0xC000, "bits that the kernel counts"),
    (CARD, CARD_EXPRESS + 0x10, 2, 0x0062, "retrain at the card's end"),
    (CARD, CARD_EXPRESS + 0x08, 2, 0x8000, "function level reset"),
    (PORT, 0x3E, 2, 0x0040, "bus reset"),
    (CARD, 0x04, 2, 0x0000, "the command register"),
    (Bdf("0000:00:00.0"), EXPRESS + 0x10, 2, 0x0020, "another device"),
])
def test_no_experiment_writes(bdf: Bdf, offset: int, size: Size, value: int, why: str, tmp_path: Path) -> None:
    machine, link, pair = linked()
    with pytest.raises(ValueError, match=r"no experiment writes|target speed code"):
        held_for(lambda held: held.write(bdf, offset, size, value), machine, pair, tmp_path)
    assert written(machine) == [], why
    assert link.violations == []


def test_no_experiment_sets_other_attributes(tmp_path: Path) -> None:
    machine, _link, pair = linked()
    machine.attributes["/sys/class/thermal/cooling_device0/cur_state"] = "0"
    for path in ("/sys/class/thermal/cooling_device0/cur_state", f"/sys/bus/pci/devices/{CARD}/remove"):
        with pytest.raises(ValueError, match="is no setting of the link"):
            held_for(lambda held, path=path: held.set_attribute(path, "1"), machine, pair, tmp_path)  # type: ignore[misc]


def test_reading_alone_leaves_no_trace(tmp_path: Path) -> None:
    machine, link, pair = linked()
    held_for(lambda held: held.read(PORT, EXPRESS + 0x12, 2), machine, pair, tmp_path)
    assert written(machine) == []
    assert link.trainings == 0
    assert journals(tmp_path) == []


@pytest.mark.parametrize("end", ["port", "card"])
@pytest.mark.parametrize(("where", "offset", "size", "bits"), [
    ("express", 0x08, 2, 0x70E7), ("express", 0x28, 2, 0x0410), ("express", 0x10, 2, 0x03C9),
    ("express", 0x30, 2, 0xF3A0), ("secondary", 0x04, 4, 0xFE02), ("l1ss", 0x08, 4, 0xE3FF_FF0F), ("l1ss", 0x0C, 4, 0xFB)])
def test_every_setting_of_both_ends_is_put_back_whoever_changed_it(
    end: str, where: str, offset: int, size: int, bits: int, tmp_path: Path,
) -> None:
    machine, link, pair = linked(substates=True, aspm_switches=False)
    before = settings(link)
    one = link.port if end == "port" else link.card
    at = (one.express if where == "express" else one.at[where]) + offset
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        one.put(at, one.get(at, size) ^ bits, size)
    assert held.restored is not None
    assert held.restored.outcome == "restored"
    assert settings(link) == before
    assert link.violations == []


def test_a_target_that_may_differ_hides_no_other_bit_of_its_register(tmp_path: Path) -> None:
    machine, link, pair = linked(cooling=0, port_code=5)
    machine.refuses = "lockdown"

    def work(held: Held) -> None:
        force_speed(held, 2.5)
        link.port.bits(link.port.express + 0x30, 0x20, 0x20)

    with pytest.raises(NotRestored, match=r"LnkCtl2 of 0000:40:01\.1 reads 0x24 and was 0x5") as raised:
        held_for(work, machine, pair, tmp_path)
    assert raised.value.restored.outcome == "differs"
