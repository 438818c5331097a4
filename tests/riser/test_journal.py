"""The journal on the disk: whole, synced, its user's own, and only in a place that is one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from boxcheck.host.live import LiveHost
from boxcheck.riser.links.hold import holding
from boxcheck.riser.links.journal import Journal, boot_id, journal_directory, pending_journals
from boxcheck.riser.links.ports import Refused
from boxcheck.riser.links.target_speed import force_speed
from tests.riser.held_link import BOOT, linked


def test_it_holds_both_ends_and_what_they_were_set_to(tmp_path: Path) -> None:
    machine, _, pair = linked(substates=True, cooling=4)
    with holding(machine, pair, str(tmp_path), boot=BOOT, what="target speeds") as held:
        force_speed(held, 2.5)
        (pending,) = pending_journals(str(tmp_path))
    journal = pending.journal
    assert isinstance(journal, Journal)
    assert (journal.pair, journal.boot, journal.pid, journal.what) == (pair, BOOT, os.getpid(), "target speeds")
    assert (journal.before.speed_gts, journal.before.width) == (16.0, 16)
    assert journal.before.target_code == 4
    assert journal.before.cooling == "/sys/class/thermal/cooling_device4"
    registers = {(one.end, one.register): one.value for one in journal.before.fields}
    assert set(registers) == {(end, name) for end in ("port", "card") for name in (
        "LnkCtl", "LnkCtl2", "LnkCtl3", "DevCtl", "DevCtl2", "L1SSCtl1", "L1SSCtl2")}
    assert registers["port", "LnkCtl"] == 0x0C42
    assert registers["card", "L1SSCtl1"] == 0x4003_280F
    names = {(one.end, one.name) for one in journal.before.attributes}
    assert ("card", "link/l1_2_aspm") in names
    assert ("port", "power/control") in names
    assert journal.card is not None
    assert (journal.card.vendor, journal.card.device) == (0x10DE, 0x2684)


def test_bits_that_act_or_clear_are_not_in_it(tmp_path: Path) -> None:
    machine, link, pair = linked(keeps_retrain=True)
    link.port.bits(link.port.express + 0x10, 0x20, 0x20)
    link.port.bits(link.port.at["secondary"] + 4, 1, 1, 4)
    link.port.bits(link.port.express + 0x30, 0x0410, 0x0410)
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        values = {one.register: one.value for one in held.before.fields if one.end == "port"}
    assert not values["LnkCtl"] & 0x30
    assert not values["LnkCtl2"] & 0x0410
    assert not values["LnkCtl3"] & 1


def test_the_file_and_then_its_name_are_put_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, _, pair = linked()
    made: list[str] = []
    fsync, rename = os.fsync, os.rename

    def syncing(file: int) -> None:
        made.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        fsync(file)

    def renaming(old: str, new: str) -> None:
        made.append("name")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(os, "rename", renaming)
    machine.on_write.insert(0, lambda bdf, offset, size, value: bool(made.append("write")))
    with holding(machine, pair, str(tmp_path), boot=BOOT) as held:
        force_speed(held, 8.0)
    assert made[:4] == ["file", "name", "folder", "write"]
    assert made[-1] == "folder", "its end is put on the disk too"


def test_it_belongs_to_whom_its_folder_belongs_to(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root alone gives files away")
    os.chown(tmp_path, 1234, 1234)
    machine, link, pair = linked()
    with holding(machine, pair, str(tmp_path), boot=BOOT):
        status = (tmp_path / f"{link.port_bdf}.{BOOT}.link.json").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 1234, 0o600)


def test_it_lies_beside_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("SUDO_UID", "SUDO_GID", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    folder = journal_directory(LiveHost())
    assert folder == str(tmp_path / "boxcheck" / "links")
    assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
    assert journal_directory(LiveHost()) == folder


def test_a_folder_that_is_a_link_to_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_UID", raising=False)
    (tmp_path / "boxcheck").mkdir()
    (tmp_path / "boxcheck" / "links").symlink_to("/etc")
    with pytest.raises(Refused, match="there is no place to save the settings of a link in"):
        journal_directory(LiveHost())


def test_the_boot_is_known_here() -> None:
    assert len(boot_id()) == 36


def test_an_older_boxcheck_ignores_what_a_later_one_added(tmp_path: Path) -> None:
    machine, link, pair = linked()
    with holding(machine, pair, str(tmp_path), boot=BOOT):
        path = tmp_path / f"{link.port_bdf}.{BOOT}.link.json"
        data = msgspec.json.decode(path.read_bytes())
        data["later"] = 1
        path.write_bytes(msgspec.json.encode(data))
        (pending,) = pending_journals(str(tmp_path))
        assert pending.journal is not None
