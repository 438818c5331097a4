"""PCI ports on the way to a GPU."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from boxcheck.model import Bdf, Unread
from boxcheck.telemetry.links import Port, ports_above
from boxcheck.telemetry.readings import counted
from tests.telemetry.trees import CORRECTABLE, advisory, amd_card, function, home, put


def one(root: Path, speed: str = "16.0 GT/s PCIe", width: int = 16) -> tuple[Bdf, Port]:
    function(root, "pci0000:40/0000:40:01.1", speed, width)
    return Bdf("0000:40:01.1"), Port(str(root), Bdf("0000:40:01.1"))


def test_the_way_to_a_card_begins_at_its_root_port(tmp_path: Path) -> None:
    bdf = amd_card(tmp_path)
    assert ports_above(str(tmp_path), bdf) == ("0000:40:01.1", "0000:41:00.0", "0000:42:00.0", bdf)


def test_speed_width_and_counters_are_read(tmp_path: Path) -> None:
    bdf, port = one(tmp_path)
    put(home(tmp_path, bdf), "aer_dev_correctable", CORRECTABLE.format(bad=61))
    found = port.read(5.0)
    assert (found.speed_gts, found.width, found.gone) == (16.0, 16, False)
    assert (counted(found.correctable, "BadTLP"), counted(found.correctable, "RxErr")) == (61, 0)
    assert counted(found.fatal, "DLP") == 0


def test_counters_that_grow_are_seen_and_those_that_stay_too(tmp_path: Path) -> None:
    bdf, port = one(tmp_path)
    for bad in (0, 0, 5, 5, 6):
        put(home(tmp_path, bdf), "aer_dev_correctable", CORRECTABLE.format(bad=bad))
        assert counted(port.read(5.0).correctable, "BadTLP") == bad


@pytest.mark.parametrize(("messages", "extra", "told"), [(0, 0, 0), (1, 0, 5), (0, 1, 6)])
def test_what_a_card_reported_as_advisory_is_no_error_where_its_root_port_had_no_message(
    messages: int, extra: int, told: int, tmp_path: Path,
) -> None:
    card = amd_card(tmp_path)
    advisory(tmp_path, card, 5, messages, extra)
    found = Port(str(tmp_path), card).read(5.0)
    assert (counted(found.correctable, "NonFatalErr"), counted(found.nonfatal, "UnsupReq")) == (5, told)


def test_an_error_that_its_root_port_had_a_message_of_shows_though_nothing_else_has_changed(tmp_path: Path) -> None:
    card = amd_card(tmp_path)
    advisory(tmp_path, card, 5)
    port = Port(str(tmp_path), card)
    assert counted(port.read(5.0).nonfatal, "UnsupReq") == 0
    advisory(tmp_path, card, 5, messages=1)
    assert counted(port.read(6.0).nonfatal, "UnsupReq") == 5


def test_without_the_root_ports_messages_no_error_is_taken_for_an_advisory_one(tmp_path: Path) -> None:
    card = amd_card(tmp_path)
    advisory(tmp_path, card, 5)
    (home(tmp_path, Bdf("0000:40:01.1")) / "aer_rootport_total_err_nonfatal").unlink()
    assert counted(Port(str(tmp_path), card).read(5.0).nonfatal, "UnsupReq") == 5


def test_counters_that_were_cut_are_no_zeros(tmp_path: Path) -> None:
    bdf, port = one(tmp_path)
    for text in (b"", b"RxErr 0\n", b"garbage\n"):
        put(home(tmp_path, bdf), "aer_dev_correctable", text)
        assert isinstance(port.read(5.0).correctable, Unread)


def test_a_port_without_aer_has_no_counters(tmp_path: Path) -> None:
    bdf, _ = one(tmp_path)
    for kind in ("correctable", "nonfatal", "fatal"):
        (home(tmp_path, bdf) / f"aer_dev_{kind}").unlink()
    found = Port(str(tmp_path), bdf).read(5.0)
    assert found.correctable is found.nonfatal is found.fatal is None


def test_counters_that_cannot_be_read_are_not_taken_for_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, port = one(tmp_path)

    def fail(fd: int, count: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    found = port.read(5.0)
    assert [isinstance(counts, Unread) for counts in (found.correctable, found.nonfatal, found.fatal)] == [True] * 3


def test_a_function_without_a_link_has_none(tmp_path: Path) -> None:
    bdf, _ = one(tmp_path)
    for name in ("current_link_speed", "current_link_width"):
        (home(tmp_path, bdf) / name).unlink()
    found = Port(str(tmp_path), bdf).read(5.0)
    assert (found.speed_gts, found.width, found.gone) == (None, None, False)


def test_all_ones_are_a_function_that_is_gone(tmp_path: Path) -> None:
    _, port = one(tmp_path, speed="Unknown", width=63)
    found = port.read(5.0)
    assert found.gone
    assert isinstance(found.speed_gts, Unread)
    assert isinstance(found.width, Unread)


def test_a_link_that_is_down_is_not_gone(tmp_path: Path) -> None:
    _, port = one(tmp_path, speed="Unknown", width=0)
    found = port.read(5.0)
    assert (found.width, found.gone) == (0, False)
    assert isinstance(found.speed_gts, Unread)


def test_the_link_of_a_sleeping_function_is_not_read_but_its_counters_are(tmp_path: Path) -> None:
    bdf, port = one(tmp_path)
    put(home(tmp_path, bdf), "power/runtime_status", "suspended")
    put(home(tmp_path, bdf), "current_link_width", 63)
    put(home(tmp_path, bdf), "current_link_speed", "Unknown")
    found = port.read(5.0)
    assert isinstance(found.speed_gts, Unread)
    assert (found.gone, counted(found.correctable, "BadTLP")) == (False, 0)


@pytest.mark.parametrize(("code", "gone"), [(errno.ENODEV, True), (errno.EINVAL, True), (errno.EIO, False)])
def test_what_the_kernel_answers_for_a_removed_function_is_known(
    code: int, gone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = one(tmp_path)
    pread = os.pread

    def fail(fd: int, count: int, offset: int) -> bytes:
        if "current_link" in os.readlink(f"/proc/self/fd/{fd}"):
            raise OSError(code, os.strerror(code))
        return pread(fd, count, offset)

    monkeypatch.setattr(os, "pread", fail)
    found = port.read(5.0)
    assert found.gone == gone
    assert isinstance(found.speed_gts, Unread)
    assert isinstance(found.width, Unread)


def test_a_function_that_is_not_there_is_gone_with_nothing_read(tmp_path: Path) -> None:
    found = Port(str(tmp_path), Bdf("0000:99:00.0")).read(5.0)
    assert found.gone
    assert isinstance(found.width, Unread)
    assert isinstance(found.correctable, Unread)
