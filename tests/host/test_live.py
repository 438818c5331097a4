"""The live host against a machine that misbehaves: files that hang, vanish, deny, or are no files; programs that do not end."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxcheck.host import ProgramOutput
from boxcheck.host import live as live_module
from boxcheck.host.capture import CaptureHost
from boxcheck.host.kmsg import KmsgFollower, parse_record, read_kmsg
from boxcheck.host.live import LiveHost
from boxcheck.host.programs import run_program
from boxcheck.host.write import members_of, write_capture
from boxcheck.model import Unread

DEVICE = "/sys/devices/pci0000:40/0000:40:01.1/0000:41:00.0"


@pytest.fixture
def dying_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every file of one PCI function blocks; those of its port and of another function answer."""
    stuck = threading.Event()
    asked: list[str] = []

    def read(path: str, limit_bytes: int) -> Any:
        asked.append(path)
        if path.startswith(f"{DEVICE}/"):
            stuck.wait(20)
        return b"fine\n"

    monkeypatch.setattr(live_module, "_read_regular", read)
    monkeypatch.setattr(live_module, "READ_TIMEOUT_SECONDS", 0.2)
    yield asked
    stuck.set()


def test_a_dying_device_costs_two_timeouts_and_no_more(dying_gpu: list[str], tmp_path: Path) -> None:
    host = LiveHost()
    began = time.monotonic()
    answers = [
        host.text(f"{DEVICE}/{name}")
        for name in ("current_link_speed", "current_link_width", "config", "hwmon/hwmon3/temp1_input")
    ]
    assert time.monotonic() - began < 2
    for answer in answers:
        assert isinstance(answer, Unread)
        assert answer.kind == "timeout"
    assert len(dying_gpu) == 2
    assert host.text(f"{DEVICE.rpartition('/')[0]}/current_link_speed") == "fine", "its port still answers"
    assert host.text(DEVICE.replace("41:00.0", "41:00.1") + "/current_link_speed") == "fine", "so does its neighbour"
    assert host.text(f"{DEVICE}/config") == answers[2], "asked again, the answer is the same and at once"
    write_capture(members_of(host.recording), f"{tmp_path}/box.tar")
    replay = CaptureHost(f"{tmp_path}/box.tar")
    assert [replay.text(f"{DEVICE}/{name}") for name in ("current_link_speed", "config")] == [answers[0], answers[2]]


def test_a_file_that_is_gone_between_listing_and_reading(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    host = LiveHost()
    assert host.entries(str(tmp_path)) == ("a", "b")
    (tmp_path / "a").unlink()
    gone = host.read(f"{tmp_path}/a")
    assert gone == Unread(f"{tmp_path}/a: no such file", "absent")
    assert host.exists(f"{tmp_path}/a") is False
    assert host.read(f"{tmp_path}/b") == b"2"
    (tmp_path / "b").write_text("changed")
    assert host.read(f"{tmp_path}/b") == b"2", "one inspection sees one state of the machine"
    write_capture(members_of(host.recording), f"{tmp_path}/box.tar")
    replay = CaptureHost(f"{tmp_path}/box.tar")
    assert replay.entries(str(tmp_path)) == ("a", "b")
    assert replay.read(f"{tmp_path}/a") == gone
    assert replay.exists(f"{tmp_path}/a") is False


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.ENODEV, errno.ENXIO, errno.EINVAL, errno.ENODATA, errno.EOPNOTSUPP, errno.ENOENT]
)
def test_what_a_driver_answers_is_never_absent_while_its_file_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    (tmp_path / "attribute").write_text("1")

    def broken(path: str, limit_bytes: int) -> Any:
        raise OSError(number, os.strerror(number))

    host = LiveHost()
    monkeypatch.setattr(live_module, "_read_regular", broken)
    answer = host.read(f"{tmp_path}/attribute")
    assert isinstance(answer, Unread)
    assert answer.kind in ("error", "unsupported"), answer
    assert host.exists(f"{tmp_path}/attribute") is True


def test_a_pipe_in_the_place_of_an_attribute_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    host = LiveHost()
    assert host.read(f"{tmp_path}/pipe") == Unread(f"{tmp_path}/pipe: not a regular file", "error")
    assert isinstance(host.read("/dev/tty"), Unread)
    assert isinstance(host.read("/dev/zero"), Unread)
    assert time.monotonic() - began < 1


def test_a_file_without_end_is_cut_off_and_may_be_asked_for_with_a_larger_limit(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 100_000)
    host = LiveHost()
    small = host.read(f"{tmp_path}/log", 1000)
    assert small == Unread(f"{tmp_path}/log: larger than 1000 bytes", "malformed")
    assert host.read(f"{tmp_path}/log", 1 << 20) == b"x" * 100_000
    assert host.read(f"{tmp_path}/log", 1000) == small


def test_a_library_that_hangs_or_fails_is_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "ANSWER_TIMEOUT_SECONDS", 0.1)
    host = LiveHost()
    hang = host.answer("lib", "hang", lambda: time.sleep(5))
    assert isinstance(hang, Unread)
    assert hang.kind == "timeout"
    assert host.answer("lib", "after") == Unread("lib after: was not asked", "not-captured")
    assert host.answer("lib", "fine", lambda: [1]) == [1]
    with pytest.raises(ZeroDivisionError):  # a bug of the caller's, which is for the caller to see
        host.answer("lib", "bug", lambda: 1 // 0)


# Programs


def test_programs_are_bounded_in_time_and_output() -> None:
    began = time.monotonic()
    slow = run_program(["sh", "-c", "sleep 30"], 0.3)
    endless = run_program(["sh", "-c", "yes"], 20, limit_bytes=1 << 20)
    deaf = run_program(["sh", "-c", "trap '' TERM INT; sleep 30 & sleep 30"], 0.3)
    silent = run_program(["sh", "-c", "exec >&- 2>&-; sleep 30"], 0.3)
    assert time.monotonic() - began < 10
    for answer in (slow, deaf, silent):
        assert isinstance(answer, Unread)
        assert answer.kind == "timeout"
    assert isinstance(endless, Unread)
    assert endless.kind == "malformed"


def test_what_a_program_leaves_behind_does_not_hold_it_up() -> None:
    began = time.monotonic()
    answer = run_program(["sh", "-c", "sleep 20 & echo done"], 10)
    assert time.monotonic() - began < 3
    assert not isinstance(answer, Unread)
    assert (answer.exit, answer.stdout) == (0, "done")


def test_programs_get_no_input_and_a_plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nonexistent.so")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    answer = run_program(["sh", "-c", "cat; echo $LC_ALL $LANG $LD_PRELOAD; printf '\\033[31m\\377' >&2; exit 7"], 5)
    assert not isinstance(answer, Unread)
    assert (answer.exit, answer.stdout) == (7, "C")
    assert "\x1b" not in answer.stderr
    assert run_program(["boxcheck-none"], 1) == Unread("boxcheck-none is not installed", "absent")
    assert isinstance(run_program(["sh", "nul\0"], 1), Unread)


# The ring buffer


@pytest.mark.parametrize(
    ("record", "lines"),
    [
        (
            b"6,339,5140900,-;NET: Registered protocol family 10\n SUBSYSTEM=net\n",
            b"[    5.140900] NET: Registered protocol family 10\n",
        ),
        (b"30,340,5690716,-,caller=T1;udevd[80]: starting\n", b"[    5.690716] udevd[80]: starting\n"),
        (
            b"4,1,123456789012,c;a\\x0ab\\x09c \\xc3\\xa4 \\x5cx\n",
            "[123456.789012] a\n[123456.789012] b\tc ä \\x\n".encode(),
        ),
        (b"garbage", b"[    0.000000] \n"),
        (b"6,1,x,-;text", b"[    0.000000] text\n"),
        (b"", b"[    0.000000] \n"),
    ],
)
def test_records_become_lines(record: bytes, lines: bytes) -> None:
    assert parse_record(record) == lines


def test_the_ring_buffer_may_be_missing_or_no_ring_buffer(tmp_path: Path) -> None:
    missing = read_kmsg(f"{tmp_path}/none")
    assert isinstance(missing, Unread)
    assert missing.kind == "absent"
    (tmp_path / "empty").write_bytes(b"")
    assert read_kmsg(f"{tmp_path}/empty") == Unread("empty", "unsupported")


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/kmsg"), reason="needs root and a ring buffer")
def test_the_log_is_that_of_dmesg() -> None:
    import shutil
    import subprocess

    if shutil.which("dmesg") is None:
        pytest.skip("dmesg is not installed")
    ours = LiveHost().kernel_log()
    theirs = subprocess.run(["dmesg"], capture_output=True, text=True).stdout.strip().splitlines()
    assert isinstance(ours, str)
    lines = ours.splitlines()
    common = min(len(lines), len(theirs))
    assert common > 5
    strip = [line.split("] ", 1)[-1].strip() for line in theirs[:common]]
    assert [line.split("] ", 1)[-1].strip() for line in lines[:common]] == strip


def test_a_log_that_cannot_be_followed_from_now_on_is_not_read_from_its_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "kmsg")
    follower = KmsgFollower(str(tmp_path / "kmsg"))
    assert isinstance(follower.unread, Unread)
    assert follower._descriptor is None, "what stands in it is of before"
    assert follower.read() == b""


def test_root_is_not_asked_for_a_journal_that_nobody_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where journald has a folder on disk may root read what another user may not."""
    says_nothing = ProgramOutput(argv=(), exit=0, stdout="", stderr="")
    monkeypatch.setattr(live_module, "run_program", lambda *_: says_nothing)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(live_module, "JOURNAL_FOLDER", f"{tmp_path}/journal")

    def kind() -> str:
        log = LiveHost().kernel_log(-1)
        assert isinstance(log, Unread)
        return log.kind

    assert kind() == "absent", "no folder"
    (tmp_path / "journal").mkdir()
    assert kind() == "absent", "an empty one"
    (tmp_path / "journal" / "0123456789abcdef0123456789abcdef").mkdir()
    assert kind() == "permission"
    monkeypatch.setattr(os, "scandir", lambda _: (_ for _ in ()).throw(PermissionError()))
    assert kind() == "permission", "a folder that he may not look into"
