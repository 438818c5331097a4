"""A machine and its capture give the same answers: this machine, as this user and as nobody, and a tree of oddities."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from boxcheck.host import Host
from boxcheck.host.capture import CaptureHost
from boxcheck.host.live import LiveHost
from boxcheck.host.record import Recording
from boxcheck.host.write import members_of, write_capture
from boxcheck.model import Unread
from tests.host.asked import FORMS, answers, as_nobody, every_question
from tests.reachable import reachable

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def live_answers() -> tuple[bytes, Recording]:
    host = LiveHost()
    first = answers(host)
    assert answers(host) == first, "the same host answers differently when asked again"
    return first, host.recording


def written(recording: Recording, path: Path, form: str) -> CaptureHost:
    write_capture(members_of(recording), f"{path}/box{form}")
    return CaptureHost(f"{path}/box{form}")


def test_a_capture_of_this_machine_gives_the_same_facts_and_findings(tmp_path: Path) -> None:
    expected, recording = live_answers()
    for form in FORMS:
        assert answers(written(recording, tmp_path, form)) == expected, form or "directory"


@root_only
def test_a_capture_made_by_nobody_gives_the_same_facts_and_findings(tmp_path: Path) -> None:
    as_root, _ = live_answers()
    expected, recording = as_nobody(live_answers, tmp_path)
    assert expected != as_root, "nobody read all that root read, so that this test shows nothing"
    for form in FORMS:
        assert answers(written(recording, tmp_path, form)) == expected, form or "directory"


@pytest.fixture
def oddities(tmp_path: Path) -> Path:
    """Files of every kind, each a question that the two hosts could answer differently."""
    base = tmp_path / "odd"
    (base / "dir" / "inner").mkdir(parents=True)
    (base / "file").write_bytes(b"  text \r\n\x1b[31m\xff \n")
    (base / "large").write_bytes(b"x" * 5000)
    (base / "empty").write_bytes(b"")
    (base / "dir" / "x y").write_bytes(b"1")
    (base / "secret").write_bytes(b"2")
    (base / "secret").chmod(0)
    (base / "closed").mkdir()
    (base / "closed" / "file").write_bytes(b"3")
    (base / "closed").chmod(0o700)
    for name, target in {
        "to-file": "file",
        "to-dir": "dir",
        "to-to-dir": "to-dir",
        "absolute": str(base / "dir" / "x y"),
        "dangling": "nowhere/x",
        "loop": "loop",
        "ping": "pong/x",
        "pong": "ping/y",
        "up": "dir/../file",
        "dir/back": "../..",
        "self": ".",
        "to-secret": "secret",
        "to-root": "/",
    }.items():
        (base / name).symlink_to(target)
    os.mkfifo(base / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(base / "socket"))
    return base


def odd_paths(base: Path) -> list[str]:
    names = [
        "file",
        "large",
        "empty",
        "dir",
        "dir/x y",
        "dir/inner",
        "dir/none",
        "secret",
        "closed",
        "closed/file",
        "closed/none",
        "to-file",
        "to-dir",
        "to-to-dir",
        "to-to-dir/x y",
        "absolute",
        "dangling",
        "loop",
        "loop/x",
        "ping",
        "pong/x",
        "up",
        "dir/back",
        "dir/back/file",
        "self/self/self/file",
        "to-secret",
        "fifo",
        "socket",
        "none",
        "none/none",
        "file/none",
        "dir/../file",
        "dir/./x y",
        "dir//x y",
        "to-dir/../file",
        "to-dir/",
        "..",
        "none/../file",
        "",
        "x" * 300,
        "a\nb",
        "\x1b[2J",
        "y" * 5000,
        "d/" * 1000,
        "nul\0",
        "\udcff",
    ]
    return [f"{base}/{name}" for name in names] + [
        "",
        "/",
        "relative",
        "/dev/null",
        "/dev/full",
        "/proc/self",
        "/proc/self/limits",
        "/proc/1/exe",
        "/proc/1/fd",
        "/proc/1/environ",
        "/proc/thread-self",
        "/root",
        "/root/none",
        "/sys/class",
        "/sys/none",
        "/proc/mounts",
        "/dev/fd/9",
        f"{base}/to-root/proc/self/limits",
        "/dev/kmsg",
        "/etc/shadow",
        "/sys/bus/pci/devices",
        "/proc/kmsg",
    ]


def ask_all(host: Host, paths: list[str]) -> list[object]:
    return [
        [every_question(host, path) for path in paths],
        host.run(["true"]),
        host.run(["boxcheck-no-such-program"]),
        host.run(["sh", "-c", "echo out; echo err >&2; exit 3"]),
        host.run(["sleep", "9"], 0.1),
        host.answer("lib", "tuple", lambda: {"a": (1, 2.5, None, True), "b": "\x1b[1m", 3: b"\x00"}),
        host.answer("lib", "unread", lambda: Unread("no such function", "unsupported")),
        host.answer("lib", "broken", lambda: os.stat("/nonexistent") and None),
        host.answer("lib", "never"),
        host.disk("/"),
        host.disk("/nonexistent"),
        host.environment(),
        host.who(),
        host.kernel_log(0),
        host.kernel_log(-1),
        host.time(),
    ]


def odd_answers(paths: list[str]) -> tuple[list[object], Recording]:
    host = LiveHost()
    host.read(paths[0], 2)  # too small a limit first, then a larger one
    host.read_again(paths[0], "load")
    host.read_again(paths[1], "after")
    return ask_all(host, paths), host.recording


def test_every_answer_about_odd_files_is_replayed(oddities: Path, tmp_path: Path) -> None:
    paths = odd_paths(oddities)
    expected, recording = odd_answers(paths)
    compare(expected, recording, paths, tmp_path)


@root_only
def test_every_answer_about_odd_files_is_replayed_for_nobody(oddities: Path, tmp_path: Path) -> None:
    reachable(tmp_path)
    paths = odd_paths(oddities)
    odd_answers(paths)
    expected, recording = as_nobody(lambda: odd_answers(paths), tmp_path)
    compare(expected, recording, paths, tmp_path)
    denied = CaptureHost(f"{tmp_path}/box.tar")
    assert denied.exists(f"{oddities}/secret") is True
    assert kind_of(denied.read(f"{oddities}/secret")) == "permission"
    assert kind_of(denied.exists(f"{oddities}/closed/file")) == "permission"


def test_the_order_of_questions_does_not_matter_to_a_replay(oddities: Path, tmp_path: Path) -> None:
    paths = odd_paths(oddities)
    expected, recording = odd_answers(paths)
    replayed = ask_all(written(recording, tmp_path, ".tar"), paths[::-1])
    assert replayed[0][::-1] == expected[0]  # type: ignore[index]


def compare(expected: list[object], recording: Recording, paths: list[str], tmp_path: Path) -> None:
    for form in FORMS:
        replayed = ask_all(written(recording, tmp_path, form), paths)
        for path, live, again in zip(paths, expected[0], replayed[0], strict=True):  # type: ignore[call-overload]
            assert again == live, (form, path)
        assert replayed[1:] == expected[1:], form


def kind_of(value: object) -> str:
    return value.kind if isinstance(value, Unread) else "read"


def test_a_recording_says_not_captured_for_what_was_not_asked(tmp_path: Path) -> None:
    host = LiveHost()
    host.read("/proc/version")
    host.entries("/etc/boxcheck-none")
    replay = written(host.recording, tmp_path, ".tar")
    assert kind_of(replay.read("/proc/cmdline")) == "not-captured"
    assert kind_of(replay.exists("/proc/cmdline")) == "not-captured"
    assert kind_of(replay.entries("/proc")) == "not-captured", "a directory that was never listed is no listing"
    assert replay.exists("/proc") is True
    assert kind_of(replay.opens("/proc/version")) == "not-captured"
    assert replay.exists("/etc/boxcheck-none/deeper/still") is False, "what lies below an absent directory is absent"


def test_a_listing_proves_what_is_not_in_it(tmp_path: Path) -> None:
    host = LiveHost()
    names = host.entries("/sys")
    assert isinstance(names, tuple)
    replay = written(host.recording, tmp_path, ".tar")
    assert replay.entries("/sys") == names
    assert replay.exists("/sys/none") is False
    assert replay.exists("/sys/none/deeper") is False
    assert replay.exists("/sys/bus") is True
    assert kind_of(replay.entries("/sys/bus")) == "not-captured"


def test_a_listing_of_the_root_does_so_too(tmp_path: Path) -> None:
    host = LiveHost()
    assert "usr" in host.entries("/")  # type: ignore[operator]
    replay = written(host.recording, tmp_path, ".tar")
    assert replay.exists("/usr") is True
    assert replay.exists("/none") is False
