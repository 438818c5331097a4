"""The writer: the same bytes for the same content, only for its owner, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from boxcheck.host import ProgramOutput, Stat
from boxcheck.host.capture import CaptureHost
from boxcheck.host.record import Again, Recording
from boxcheck.host.write import Members, WriteError, members_from, members_of, write_capture
from boxcheck.model import Unread
from tests.host.asked import FORMS


def recording() -> Recording:
    made = Recording()
    made.started_seconds = 1_788_271_200.125
    made.finished_seconds = 1_788_271_201.0
    made.files = {
        "/proc/cmdline": b"quiet\n",
        "/sys/devices/a/config": bytes(range(256)),
        "/etc/empty": b"",
        f"/sys/{'long/' * 60}name": b"long",
        "/etc/ä ö": "ü".encode(),
    }
    made.links = {"/sys/bus/a": "../devices/a", "/dev/dri/by-path": "/dev/none"}
    made.stats = {"/dev/kfd": Stat("char", 0o660, 0, 44)}
    made.opened = {"/dev/kfd": "EACCES"}
    made.listings = {"/sys/class/drm": ("card0", "card1")}
    made.unread = {
        "/sys/devices/a/vpd": Unread("permission denied", "permission"),
        "/sys/b": Unread("no such file", "absent"),
    }
    made.programs = {
        ("true",): ProgramOutput(("true",), 0, "", "", 3),
        ("no",): Unread("no is not installed", "absent"),
    }
    made.answers = {("nvml", "count"): 7, ("nvml", "bad"): Unread("gone", "error"), ("hip", "list"): [1, {"a": None}]}
    made.again = [Again("/sys/devices/a/config", "load", 5.0, 1_788_271_200.5, b"later")]
    made.environment = {"LANG": "C"}
    return made


def test_everything_in_a_recording_comes_back(tmp_path: Path) -> None:
    for form in FORMS:
        write_capture(members_of(recording()), f"{tmp_path}/box{form}")
        host = CaptureHost(f"{tmp_path}/box{form}")
        for path, data in recording().files.items():
            assert host.read(path) == data
        assert host.read("/sys/bus/a/config") == bytes(range(256))
        assert host.target("/dev/dri/by-path") == "/dev/none"
        assert host.stat("/dev/kfd") == Stat("char", 0o660, 0, 44)
        assert host.opens("/dev/kfd") == Unread("/dev/kfd: permission denied", "permission")
        assert host.entries("/sys/class/drm") == ("card0", "card1")
        assert host.read("/sys/bus/a/vpd") == Unread("/sys/bus/a/vpd: permission denied", "permission")
        assert host.exists("/sys/b") is False
        assert host.run(["true"]) == ProgramOutput(("true",), 0, "", "", 3)
        assert host.run(["no"]) == Unread("no is not installed", "absent")
        assert host.answer("nvml", "count") == 7
        assert host.answer("nvml", "bad") == Unread("gone", "error")
        assert host.answer("hip", "list") == [1, {"a": None}]
        assert host.again("/sys/bus/a/config", "load") == (b"later",)
        assert host.environment() == {"LANG": "C"}
        assert host.time() == 1_788_271_200.125
        assert isinstance(host.who(), Unread)


@pytest.mark.parametrize("form", FORMS[1:])
def test_the_same_content_gives_the_same_bytes(tmp_path: Path, form: str) -> None:
    for name in ("a", "b"):
        write_capture(members_of(recording()), f"{tmp_path}/{name}{form}")
    assert (tmp_path / f"a{form}").read_bytes() == (tmp_path / f"b{form}").read_bytes()


def test_other_tools_read_the_tar_and_find_the_description_first(tmp_path: Path) -> None:
    write_capture(members_of(recording()), f"{tmp_path}/box.tar.gz")
    with tarfile.open(tmp_path / "box.tar.gz") as archive:
        names = archive.getnames()
        meta = json.load(archive.extractfile("boxcheck/capture.json"))  # type: ignore[arg-type]
    assert names[0] == "boxcheck/capture.json"
    assert names[1:] == sorted(names[1:])
    assert meta["schema"] == "boxcheck.capture/1"
    assert meta["kind"] == "recorded"
    assert meta["redacted"] is False
    unpacked = subprocess.run(
        ["tar", "xzf", f"{tmp_path}/box.tar.gz", "-C", tmp_path], capture_output=True, check=True, text=True
    )
    assert unpacked.stderr == ""
    assert CaptureHost(str(tmp_path)).text("/proc/cmdline") == "quiet"
    listed = subprocess.run(["tar", "tzf", f"{tmp_path}/box.tar.gz"], capture_output=True, check=True, text=True)
    assert len(listed.stdout.splitlines()) == len(names)


@pytest.mark.parametrize("form", FORMS)
def test_a_capture_packed_anew_answers_the_same(tmp_path: Path, form: str) -> None:
    write_capture(members_of(recording()), f"{tmp_path}/first{form}")
    again = members_from(CaptureHost(f"{tmp_path}/first{form}"))
    assert again == members_of(recording())


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    os.umask(0)
    write_capture(members_of(recording()), f"{tmp_path}/box.tar")
    write_capture(members_of(recording()), f"{tmp_path}/box")
    os.umask(0o022)
    assert (tmp_path / "box.tar").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "box").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "box/proc/cmdline").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root stands behind sudo")
@pytest.mark.parametrize("form", FORMS)
def test_under_sudo_it_belongs_to_whoever_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "2345")
    write_capture(members_of(recording()), f"{tmp_path}/box{form}")
    status = (tmp_path / f"box{form}").stat()
    assert (status.st_uid, status.st_gid) == (1234, 2345)
    if not form:
        assert (tmp_path / "box/proc/cmdline").stat().st_uid == 1234


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    old = tmp_path / "box.tar"
    old.write_bytes(b"an older capture")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(os, "symlink", full)
    with pytest.raises(WriteError, match=r"not written: no space left on device \(the capture needs up to 1 MB\)"):
        write_capture(members_of(recording()), f"{tmp_path}/box{form}")
    assert os.listdir(tmp_path) == ["box.tar"]
    assert old.read_bytes() == b"an older capture"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system")
    try:
        for form in FORMS:
            with pytest.raises(WriteError, match="no space left on device"):
                write_capture(Members({"/proc/large": os.urandom(200_000)}, {}), f"{small}/box{form}")
            assert os.listdir(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("none/box.tar", "its folder is not there"),
        ("file/box.tar", "its folder is not there"),
        ("full", "exists and is no empty directory"),
        ("file", "exists and is no empty directory"),
        ("box.zip", "a capture is a directory or ends in .tar, .tar.gz, .tgz, .tar.zst"),
        ("full.tar", "is a directory"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, out: str, says: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_bytes(b"")
    (tmp_path / "full.tar").mkdir()
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(WriteError, match=says):
        write_capture(members_of(recording()), f"{tmp_path}/{out}")
    assert sorted(os.listdir(tmp_path)) == before


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    write_capture(members_of(recording()), f"{tmp_path}/box/")
    assert CaptureHost(f"{tmp_path}/box").text("/proc/cmdline") == "quiet"


def test_what_was_both_a_file_and_a_directory_is_written_once(tmp_path: Path) -> None:
    made = Members({"/sys/a": b"1", "/sys/a/b": b"2", "/sys/c/d": b"3"}, {"/sys/c": "elsewhere"})
    for form in FORMS:
        write_capture(made, f"{tmp_path}/box{form}")
        host = CaptureHost(f"{tmp_path}/box{form}")
        assert host.read("/sys/a") == b"1"
        assert host.target("/sys/c") == "/sys/elsewhere"
