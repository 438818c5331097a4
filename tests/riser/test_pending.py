"""Journals that an earlier start left: applied, closed, or told that they cannot be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from boxcheck.host.refused import Size
from boxcheck.model import Bdf, Unread
from boxcheck.riser.links.hold import holding
from boxcheck.riser.links.journal import close_journal, journal_path, lock_links, pending_journals
from boxcheck.riser.links.pending import restore_pending
from boxcheck.riser.links.ports import LinkPair, Refused
from boxcheck.riser.links.retrain import retrain_once
from boxcheck.riser.links.target_speed import force_speed
from tests.riser.held_link import BOOT, journals, linked, pair_of, settings
from tests.riser.simulated.link import SimulatedLink, load_for
from tests.riser.simulated.machine import Machine


class Dead(BaseException):
    """The program was killed."""


def left_slow(folder: Path, **options: Any) -> tuple[Machine, SimulatedLink, LinkPair, Any]:
    """A link at 2.5 GT/s, with the journal of a program that was killed."""
    machine, link, pair = linked(**options)
    before = settings(link)
    kept: dict[str, bytes] = {}
    with holding(machine, pair, str(folder), boot=BOOT, what="target speeds") as held:
        force_speed(held, 2.5)
        for path in folder.glob("*.link.json"):
            kept[path.name] = path.read_bytes()
        bytes_now = {bdf: bytes(data) for bdf, data in machine.space.items()}
        state = link.code, link.width
    for bdf, data in bytes_now.items():
        machine.space[bdf][:] = data
    link.code, link.width = state
    link.cached = link.code
    for name, text in kept.items():
        (folder / name).write_bytes(text)
    assert link.code == 1
    machine.log.clear()
    return machine, link, pair, before


def test_a_link_left_at_2_5_gts_is_put_back_and_the_journal_closed(tmp_path: Path) -> None:
    machine, link, _, before = left_slow(tmp_path)
    said: list[str] = []
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT, announce=said.append)
    assert said == ["an experiment on PCIE3 was cut off (target speeds): putting its link back"]
    assert recovered.says == "PCIE3 is as it was: x16 at 16 GT/s"
    assert recovered.closed
    assert settings(link) == before
    assert link.code == 4
    assert journals(tmp_path) == []
    assert restore_pending(machine, str(tmp_path), boot=BOOT) == ()


def test_after_a_restart_the_journal_is_only_closed(tmp_path: Path) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    (recovered,) = restore_pending(machine, str(tmp_path), boot="another-boot")
    assert recovered.closed
    assert recovered.restored is None
    assert "registers are fresh" in recovered.says
    assert [entry for entry in machine.log if entry[1] == "write"] == []
    assert link.code == 1
    assert journals(tmp_path) == []


def test_another_card_in_the_slot_gets_nothing_and_the_port_its_target_back(tmp_path: Path) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    link.replace_card((0x1002, 0x744C), 0x99)
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert "PCIE3 has another card (1002:744c, serial" in recovered.says
    assert "10de:2684" in recovered.says
    assert recovered.closed
    writes = [entry for entry in machine.log if entry[1] == "write"]
    assert {entry[2] for entry in writes} == {link.port_bdf}
    assert link.code == 4, "the port does not stay at 2.5 GT/s"
    assert journals(tmp_path) == []


def test_a_port_that_could_not_be_put_back_below_another_card_goes_on_waiting(tmp_path: Path) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    link.replace_card((0x1002, 0x744C), 0x99)
    machine.refuses = "lockdown"
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert link.code == 1
    assert not recovered.closed
    assert len(journals(tmp_path)) == 1
    machine.refuses = None
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert recovered.closed
    assert link.code == 4


def test_a_card_of_the_same_kind_with_another_serial_number_is_another_card(tmp_path: Path) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    link.replace_card((0x10DE, 0x2684), 0x99)
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert "has another card" in recovered.says


def test_another_port_at_the_address_gets_nothing(tmp_path: Path) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    link.port.put(2, 0x1234)
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert "nothing was written" in recovered.says
    assert [entry for entry in machine.log if entry[1] == "write"] == []
    assert not recovered.closed, "nobody knows what became of the link that was changed"
    assert len(journals(tmp_path)) == 1


def test_a_port_that_does_not_answer_is_said_and_tried_again_next_time(tmp_path: Path) -> None:
    machine, link, _, before = left_slow(tmp_path)
    machine.gone.add(link.port_bdf)
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert not recovered.closed
    assert "does not answer" in recovered.says
    assert "cold boot" in recovered.help
    machine.gone.clear()
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert recovered.closed
    assert settings(link) == before


def test_a_card_that_does_not_answer_is_brought_back_by_its_port_where_that_helps(tmp_path: Path) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    link.drop()
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert link.code == 4
    # The link is back, and the card was reset by going down: that is said, and no driver can use it as it is.
    assert recovered.restored is not None
    assert recovered.restored.outcome == "down"
    assert "the card was reset" in recovered.says
    assert "cold boot" in recovered.help


def test_a_link_that_stays_down_is_said_each_time(tmp_path: Path) -> None:
    machine, link, pair, _ = left_slow(tmp_path, chances={})
    link.chances = {"down": 1.0}
    link.drop()
    for _ in range(2):
        (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
        assert not recovered.closed
        assert "the link of PCIE3 is down; it was x16 at 16 GT/s" in recovered.says
    with pytest.raises(Refused, match="waits to be put back"), holding(machine, pair, str(tmp_path), boot=BOOT):
        pytest.fail("it was held")


def test_a_link_that_only_trains_slow_is_said(tmp_path: Path) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    link.chances = {"slow": 1.0}
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT, load=load_for(link, 0.1))
    assert not recovered.closed
    assert recovered.says == (
        "the settings of PCIE3 are as they were, and its link came back x16 at 8 GT/s; it was x16 at 16 GT/s")


def test_without_a_load_nobody_can_tell_a_slow_link_from_a_card_that_rests(tmp_path: Path) -> None:
    machine, link, _, before = left_slow(tmp_path)
    link.chances = {"slow": 1.0}
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert recovered.closed, "its settings are as they were"
    assert "came back x16 at 8 GT/s; it was x16 at 16 GT/s, as of a card that rests" in recovered.says
    assert "load the card and look again" in recovered.help
    assert settings(link) == before


def test_a_card_that_rests_is_not_taken_for_a_slow_link(tmp_path: Path) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    link.rests = True
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT, load=load_for(link, 0.1))
    assert recovered.closed, recovered.says


@pytest.mark.parametrize("damage", [b"", b"{", b"\x00" * 500, b'{"schema": "boxcheck.link-journal/1"}', b"[]"])
def test_a_damaged_journal_is_said_with_what_the_link_is_now(damage: bytes, tmp_path: Path) -> None:
    machine, link, pair, _ = left_slow(tmp_path)
    path = Path(journal_path(str(tmp_path), link.port_bdf, BOOT))
    path.write_bytes(damage)
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert not recovered.closed
    assert "cannot be read" in recovered.says
    assert "x16 at 2.5 GT/s, its port aims for 2.5 GT/s and can do 16 GT/s" in recovered.says
    assert "cold boot" in recovered.help
    assert [entry for entry in machine.log if entry[1] == "write"] == []
    with pytest.raises(Refused, match="waits to be put back"), holding(machine, pair, str(tmp_path), boot=BOOT):
        pytest.fail("it was held")
    (recovered,) = restore_pending(machine, str(tmp_path), boot="another-boot")
    assert recovered.closed


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_is_no_journal_and_hangs_nobody(kind: str, tmp_path: Path) -> None:
    machine, link, _ = linked()
    path = Path(journal_path(str(tmp_path), link.port_bdf, BOOT))
    if kind == "link":
        (tmp_path / "elsewhere").write_text("{}")
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert "cannot be read" in recovered.says
    assert not recovered.closed


def test_a_forged_journal_reaches_no_register_but_the_settings_of_the_link(tmp_path: Path) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    (path,) = tmp_path.glob("*.link.json")
    forged = json.loads(path.read_text())
    forged["pair"]["port"]["express"] = 0x00
    forged["pair"]["card"]["l1_substates"] = 0x10
    forged["before"]["fields"] = [
        {"end": end, "register": register, "value": 0xFFFF_FFFF}
        for end in ("port", "card") for register in ("LnkCtl", "LnkCtl2", "DevCtl", "BridgeCtl", "Command")]
    forged["before"]["attributes"] = [
        {"end": "card", "name": name, "text": "1"} for name in ("remove", "../../../../../etc/passwd", "link/../reset")]
    forged["before"]["cooling"] = "/etc"
    path.write_text(json.dumps(forged))
    commands = [one.get(4) for one in (link.port, link.card)]
    set_before = dict(machine.attributes)
    restore_pending(machine, str(tmp_path), boot=BOOT)
    places = {(entry[2], entry[3]) for entry in machine.log if entry[1] == "write"}
    allowed = {(bdf, one.express + at) for one, bdf in ((link.port, link.port_bdf), (link.card, link.card_bdf))
               for at in (0x08, 0x10, 0x30)}
    assert places <= allowed
    assert [one.get(4) for one in (link.port, link.card)] == commands
    assert set(machine.attributes) == set(set_before)
    assert set(link.violations) <= {"target above the common speeds"}


def test_a_journal_that_names_another_link_than_its_file_is_damaged(tmp_path: Path) -> None:
    _machine, _link, _, _ = left_slow(tmp_path)
    (path,) = tmp_path.glob("*.link.json")
    path.rename(tmp_path / f"0000:99:01.1.{BOOT}.link.json")
    (pending,) = pending_journals(str(tmp_path))
    assert pending.journal is None
    assert pending.trouble == "it is about another link than its name says"


def test_a_journal_whose_program_still_runs_is_left_to_it(tmp_path: Path) -> None:
    machine, _link, _, _ = left_slow(tmp_path)
    lock = lock_links(str(tmp_path))
    assert lock is not None
    with pytest.raises(Refused, match="another boxcheck works on a link now"):
        restore_pending(machine, str(tmp_path), boot=BOOT)
    lock.release()
    assert [one.closed for one in restore_pending(machine, str(tmp_path), boot=BOOT)] == [True]


def test_a_full_disk_does_not_keep_a_link_from_being_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, link, _, before = left_slow(tmp_path)
    opened = os.open

    def full(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(28, "No space left on device")
        return opened(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", full)
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert recovered.closed
    assert settings(link) == before


def test_no_folder_holds_no_journal(tmp_path: Path) -> None:
    assert pending_journals(str(tmp_path / "missing")) == ()
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="whether a link waits to be restored is not known"):
        pending_journals(str(tmp_path / "file"))


def test_the_journal_of_one_link_does_not_stop_another(tmp_path: Path) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    other = SimulatedLink(machine, port="0000:80:01.1", card="0000:81:00.0")
    with holding(machine, pair_of(other, "PCIE5"), str(tmp_path), boot=BOOT) as held:
        retrain_once(held)
    assert other.trainings == 1
    assert link.trainings == 2
    assert len(pending_journals(str(tmp_path))) == 1


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    close_journal(str(tmp_path / "nothing"))


def test_a_card_pulled_by_hot_plug_is_said_to_be_gone(tmp_path: Path) -> None:
    machine, link, pair = linked(hotplug=True)

    def work() -> None:
        with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
            link.fates = ["down"]
            retrain_once(held)

    with pytest.raises(Exception, match="is down; it was x16 at 16 GT/s"):
        work()
    assert link.removed
    assert Bdf("0000:41:00.0") not in machine.space
    assert len(journals(tmp_path)) == 1


def test_a_card_that_is_changed_while_the_link_is_held_gets_nothing(tmp_path: Path) -> None:
    machine, link, pair = linked()
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        force_speed(held, 2.5)
        link.replace_card((0x1002, 0x744C), 0x99)
        machine.log.clear()
    assert held.restored is not None
    assert "PCIE3 has another card" in held.restored.says
    assert {entry[2] for entry in machine.log if entry[1] == "write"} == {link.port_bdf}
    assert link.code == 4
    assert journals(tmp_path) == []


def test_a_user_without_root_is_told_that_a_link_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, link, _, _ = left_slow(tmp_path)
    read = machine.read

    def as_user(bdf: Bdf, offset: int, size_bytes: Size) -> int | Unread:
        return read(bdf, offset, size_bytes) if offset < 64 else Unread(f"{bdf}: needs root", "permission")

    monkeypatch.setattr(machine, "read", as_user)
    (recovered,) = restore_pending(machine, str(tmp_path), boot=BOOT)
    assert recovered.says == "the link of PCIE3 waits to be put back, which needs root"
    assert recovered.help == "run it with sudo"
    assert not recovered.closed
    assert link.code == 1
