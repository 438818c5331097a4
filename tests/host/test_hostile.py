"""Captures made to do harm, or broken on the way: one clear error or an unread path, and nothing from outside them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from boxcheck.engine.inspect import read_facts
from boxcheck.host import Who
from boxcheck.host import inflate as inflate_module
from boxcheck.host import tar as tar_module
from boxcheck.host.capture import CaptureHost
from boxcheck.host.tree import CaptureError
from boxcheck.model import Unread
from tests.host.asked import as_nobody
from tests.host.hostile import CANARY, END, META, header, interrogate, is_clean, member, opened, padded, tar
from tests.reachable import reachable


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file beside every capture that no capture may reach."""
    (tmp_path / "canary").write_bytes(CANARY)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_bytes(CANARY)
    return tmp_path


def refused(data: bytes, path: Path) -> str:
    with pytest.raises(CaptureError) as error:
        opened(data, path)
    assert is_clean(str(error.value))
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{path}: ")


# The container


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is no tar archive"),
        (b"x", "is no tar archive"),
        (b"\0" * 512, "is an empty archive"),
        (b"\0" * 10240, "is an empty archive"),
        (b"\0" * 1024 + b"x" * 1024, "is no tar archive"),
        (random.Random(1).randbytes(100_000), "is no tar archive"),
        (b"PK\x03\x04" + b"zip" * 500, "is no tar archive"),
        (b"\x1f\x8b" + b"garbage" * 100, "is damaged"),
        (b"BZh9" + b"garbage" * 100, "is damaged"),
        (b"\xfd7zXZ\x00" + b"garbage" * 100, "is damaged"),
        (b"\x28\xb5\x2f\xfd" + b"garbage" * 100, "is damaged"),
        (gzip.compress(b"\x1b[31mnot a tar" * 100, mtime=0), "is no tar archive"),
        (gzip.compress(gzip.compress(tar([]), mtime=0), mtime=0), "is no tar archive"),
        (tar([member("readme", b"hello")], meta=None), "holds no sys/, proc/ or boxcheck/"),
        (tar([], meta=b"["), "boxcheck/capture.json is damaged"),
        (tar([], meta=b"{}"), "boxcheck/capture.json is damaged"),
        (tar([], meta=b'{"schema":5}'), "boxcheck/capture.json is damaged"),
        (tar([], meta=b'{"schema":"boxcheck.capture/2"}'), "capture schema 'boxcheck.capture/2' is not known"),
        (tar([], meta=b'{"schema":"\\u001b[31m' + b"x" * 500 + b'"}'), "capture schema '?[31mxxx"),
    ],
)
def test_what_is_no_capture_is_one_clear_error(tmp_path: Path, data: bytes, says: str) -> None:
    assert says in refused(data, tmp_path / "box")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_a_truncated_capture_is_refused_wherever_it_was_cut(tmp_path: Path, pack: object) -> None:
    whole = tar([member("sys/a", b"1" * 700), member("proc/cmdline", b"quiet"), member("sys/" + "n" * 200, b"x")])
    packed = pack(whole.rstrip(b"\0") + END)  # type: ignore[operator]
    for cut in range(0, len(packed) - (1024 if pack is bytes else 0), 37):
        refused(packed[:cut], tmp_path / "box")


def test_the_third_party_compressions_are_read(tmp_path: Path) -> None:
    whole = tar([member("sys/a", b"1")])
    for pack in (bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress):
        assert opened(pack(whole), tmp_path / "box").read("/sys/a") == b"1"  # type: ignore[operator]
    halves = gzip.compress(whole[:700]) + gzip.compress(whole[700:])
    assert opened(halves, tmp_path / "box").read("/sys/a") == b"1", "gzip files may be concatenated"
    assert opened(gzip.compress(whole) + b"\0" * 512, tmp_path / "box").read("/sys/a") == b"1"


def test_a_wrong_checksum_of_the_packed_data_is_damage(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(tar([member("sys/a", b"1")])))
    packed[-6] ^= 1
    assert "is damaged" in refused(bytes(packed), tmp_path / "box")


@pytest.mark.parametrize("kind", ["fifo", "socket", "zero", "missing", "odd name"])
def test_what_is_neither_file_nor_directory_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "box\x1b[31m"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        import socket

        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "odd name":
        path.write_bytes(b"garbage")
    began = time.monotonic()
    with pytest.raises(CaptureError) as error:
        CaptureHost("/dev/zero" if kind == "zero" else str(path))
    assert time.monotonic() - began < 1
    assert is_clean(str(error.value))


def test_bombs_end_after_a_fixed_amount_of_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = header(b"sys/zeros", b"77777777777") + bytes(40 << 20)  # a member that claims 8 GiB
    bomb = zstandard.compress(big)
    assert "in the middle of" in refused(bomb, tmp_path / "box")
    monkeypatch.setattr(tar_module, "UNPACKED_LIMIT_BYTES", 32 << 20)
    for pack in (gzip.compress, bz2.compress, lzma.compress, zstandard.compress):
        assert "unpacks to more than 32 MiB" in refused(pack(big), tmp_path / "box")
    monkeypatch.setattr(tar_module, "MEMBER_LIMIT", 100)
    many = tar([member(f"sys/{number}") for number in range(101)])
    assert "holds more than 100 files" in refused(many, tmp_path / "box")
    monkeypatch.setattr(tar_module, "MEMBER_LIMIT", 1000)
    monkeypatch.setattr(tar_module, "DIRECTORY_LIMIT", 2000)
    deep = tar([member(f"{number}/{'a/' * 50}b") for number in range(50)])
    assert "holds more than 2000 directories" in refused(deep, tmp_path / "box")
    monkeypatch.setattr(tar_module, "KEPT_LIMIT_BYTES", 1 << 20)
    assert "holds more than 1 MiB of files" in refused(tar([member("sys/a", bytes(2 << 20))]), tmp_path / "box")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_streams_that_unpack_to_nothing_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes],
) -> None:
    """Each costs a decompressor and a copy of what follows; none of the other bounds meets one."""
    monkeypatch.setattr(inflate_module, "STREAM_LIMIT", 50)
    whole = pack(tar([member("proc/cmdline", b"quiet")]))
    place = tmp_path / "box"
    place.write_bytes(pack(b"") * 40 + whole)
    assert CaptureHost(str(place)).read("/proc/cmdline") == b"quiet"
    if pack is zstandard.compress:
        return  # its library passes over empty frames by itself, 40 MB of them in half a second
    assert "is made of more than 50 compressed streams" in refused(pack(b"") * 60 + whole, place)


def test_memory_stays_bounded_whatever_is_in_it(tmp_path: Path) -> None:
    """The worst of each kind, in a process of its own, by its peak resident size."""
    nested = b"[" * 500_000 + b"]" * 500_000
    wide = b"[" + b"[]," * 4_000_000 + b"[]]"
    cases = {
        "wide": tar(
            [
                member("boxcheck/stat.json", wide),
                member("boxcheck/unread.jsonl", wide),
                member("boxcheck/list.jsonl", wide),
                member("boxcheck/run/0000.json", wide),
            ],
            meta=b'{"schema":"boxcheck.capture/1","covers":' + wide + b',"env":' + wide + b',"user":' + wide + b"}",
        ),
        "nested": tar(
            [
                member("boxcheck/stat.json", b'{"/dev/kfd":' + nested + b"}"),
                member("boxcheck/lib/0.json", b'{"library":"lib","request":"request","value":' + nested + b"}"),
            ]
        ),
        "pax": header(b"x", b"77777777777", b"x") + bytes(1 << 20),
        "long": header(b"x", b"77777777777", b"L") + bytes(1 << 20),
        "deep": tar([member(f"{number:06}/{'a/' * 50}b") for number in range(9_000)]),
        "many": tar([member(f"sys/{number:06}") for number in range(100_000)]),
        "large": tar([member("sys/a", b"x" * (63 << 20)), member("sys/b", b"y" * (65 << 20))]),
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(zstandard.compress(data))
    code = (
        "import sys\n"
        "from boxcheck.host.capture import CaptureHost\n"
        "from boxcheck.host.tree import CaptureError\n"
        "from tests.host.hostile import interrogate\n"
        "try:\n    interrogate(CaptureHost(sys.argv[1]))\n"
        "except CaptureError as error:\n    print(error, file=sys.stderr)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    for name in cases:
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert int(done.stdout) < 350_000, f"{name}: {done.stdout} kB"


# Paths that lead out


def test_names_that_leave_the_capture_are_ignored(canary: Path) -> None:
    names = ["../canary", "sys/../../canary", "/../canary", "sys/a/../../../canary", "..", "sys/..", "./../canary"]
    host = opened(tar([member(name, CANARY) for name in names] + [member("sys/a", b"1")]), canary / "box.tar")
    assert host.read("/sys/a") == b"1"
    assert any("leaves the capture" in complaint for complaint in host.complaints)
    interrogate(host)


def links(canary: Path) -> dict[str, str]:
    outside = canary / "outside"
    chain = {f"sys/chain/l{number}": f"l{number + 1}" for number in range(60)}
    return {
        "sys/link": str(outside),
        "sys/a/b": str(outside / "canary"),
        "proc/cmdline": "../../canary",
        "sys/loop": "loop",
        "etc/passwd": "/etc/passwd",
        "sys/up": "../" * 40 + str(outside)[1:],
        "sys/ping": "pong/x",
        "sys/pong": "ping/x",
        "sys/self": ".",
        "sys/root": "/",
        "sys/odd": "\x1b[31m",
        "sys/long": "x/" * 2500,
        "dev/kfd": "/dev/null",
        "sys/bytes": os.fsdecode(b"\xff\xfe"),
        "sys/empty-target": " ",
        **chain,
        "sys/chain/l60": str(outside),
        **{f"sys/deep/d{number}": f"/sys/deep/d{number + 1}/x" for number in range(400)},
        "sys/deep/d400": str(outside),
    }


def ask_about_links(host: CaptureHost) -> None:
    interrogate(
        host,
        [
            *(f"/{name}" for name in links(Path("/x"))),
            "/sys/up/canary",
            "/sys/chain/l0/canary",
            "/sys/chain/l25/canary",
            "/sys/self/self/self/a",
            "/sys/root/sys/root/sys/link/canary",
            "/sys/deep/d0/canary",
            "/sys/deep/d300/canary",
            "/sys/" + "self/" * 3000 + "a",
        ],
    )
    for path in ("/sys/loop", "/sys/ping", "/sys/chain/l0", "/sys/deep/d0/x", "/sys/odd", "/sys/long"):
        answer = host.read(path)
        assert isinstance(answer, Unread), path
        assert answer.kind in ("error", "malformed"), (path, answer)
        assert isinstance(host.exists(path), Unread), "nobody can say whether it exists"


def test_links_are_followed_within_the_capture_only_in_a_tar(canary: Path) -> None:
    made = [member(name, kind=tarfile.SYMTYPE, link=target) for name, target in links(canary).items()]
    host = opened(tar([*made, member("sys/x", b"1")]), canary / "box.tar")
    assert host.read("/sys/self/self/x") == b"1"
    assert host.read("/sys/root/sys/x") == b"1"
    ask_about_links(host)
    read_facts(host)


def test_links_are_followed_within_the_capture_only_in_a_directory(canary: Path) -> None:
    box = canary / "box"
    for name, target in {**links(canary), "sys/to-x": "/sys/x", "sys/long": "x/" * 2040}.items():
        (box / name).parent.mkdir(parents=True, exist_ok=True)
        (box / name).symlink_to(target)
    (box / "sys/x").write_bytes(b"1")
    (box / "boxcheck").mkdir()
    (box / "boxcheck/capture.json").write_bytes(META)
    host = CaptureHost(str(box))
    assert host.read("/sys/to-x") == b"1", "an absolute link is one of the machine's, not of this one's"
    ask_about_links(host)
    read_facts(host)


def test_a_directory_that_is_a_link_gives_nothing(canary: Path) -> None:
    box = canary / "box"
    (box / "sys").mkdir(parents=True)
    (box / "proc").symlink_to(canary / "outside")
    (box / "boxcheck").symlink_to(canary / "outside")
    (canary / "outside/capture.json").write_bytes(META)
    host = CaptureHost(str(box))
    assert not host.ours
    interrogate(host, ["/proc/canary"])


def test_members_below_a_link_or_a_file_are_ignored(canary: Path) -> None:
    data = tar(
        [
            member("sys/link", kind=tarfile.SYMTYPE, link=str(canary / "outside")),
            member("sys/link/x", b"through a link"),
            member("sys/a", b"file"),
            member("sys/a/b", b"below a file"),
            member("sys/c/d", b"1"),
            member("sys/c", b"now a file"),
        ]
    )
    host = opened(data, canary / "box.tar")
    interrogate(host, ["/sys/c/d", "/sys/c"])
    assert host.read("/sys/a") == b"file"
    assert host.read("/sys/c/d") == b"1"
    lost = host.read("/sys/a/b")
    assert isinstance(lost, Unread)
    assert lost.kind == "not-captured", "ignored is not absent, though the capture covers everything"
    assert len(host.complaints) == 3


def test_hard_links_lead_to_members_only(canary: Path) -> None:
    outside = str(canary / "outside/canary")
    data = tar(
        [
            member("sys/a", b"1"),
            member("sys/hard", kind=tarfile.LNKTYPE, link="sys/a"),
            member("sys/b", kind=tarfile.LNKTYPE, link=outside),
            member("sys/c", kind=tarfile.LNKTYPE, link="../canary"),
            member("sys/d", kind=tarfile.LNKTYPE, link="sys/d"),
            member("sys/e", kind=tarfile.LNKTYPE, link="sys"),
        ]
    )
    host = opened(data, canary / "box.tar")
    assert host.read("/sys/hard") == b"1"
    interrogate(host, ["/sys/b", "/sys/c", "/sys/d", "/sys/e"])
    assert isinstance(host.exists("/sys/b"), Unread)


# Members of other kinds


def test_devices_and_pipes_in_a_tar_are_never_opened(tmp_path: Path) -> None:
    kinds = [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
    made = [member(f"sys/{number}", kind=kind, devmajor=1, devminor=5) for number, kind in enumerate(kinds)]
    host = opened(tar(made), tmp_path / "box.tar")
    for number in range(3):
        assert host.read(f"/sys/{number}") == Unread(f"/sys/{number}: not a regular file", "error")
        assert host.exists(f"/sys/{number}") is True
    interrogate(host, ["/sys/0", "/sys/2"])


def test_pipes_devices_and_sockets_in_a_directory_never_block(tmp_path: Path) -> None:
    box = tmp_path / "box"
    (box / "sys/a").mkdir(parents=True)
    (box / "boxcheck").mkdir()
    (box / "proc").mkdir()
    os.mkfifo(box / "sys/a/b")
    os.mkfifo(box / "proc/cmdline")
    os.mkfifo(box / "boxcheck/stat.json")
    os.mkfifo(box / "boxcheck/unread.jsonl")
    if os.geteuid() == 0:
        os.mknod(box / "sys/zero", 0o666 | 0o020000, os.makedev(1, 5))
    began = time.monotonic()
    host = CaptureHost(str(box))
    interrogate(host, ["/sys/zero"])
    assert not read_facts(host).crashes
    assert time.monotonic() - began < 10
    assert host.read("/sys/a/b") == Unread("/sys/a/b: not a regular file", "error")


def test_sparse_and_unknown_members_are_unread(tmp_path: Path) -> None:
    sparse = header(b"sys/a", b"0001000", b"S", magic=b"ustar ") + padded(b"x" * 512)
    newer = member("sys/b", b"x", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.realsize": "99999999999"})
    rest = tar([newer, member("sys/c", b"1"), member("sys/d", b"2", kind=b"M"), member("proc/x", b"1")])
    host = opened(sparse + rest, tmp_path / "box.tar")
    assert host.read("/sys/c") == b"1"
    for name in "abd":
        answer = host.read(f"/sys/{name}")
        assert isinstance(answer, Unread)
        assert answer.kind == "not-captured", name
    interrogate(host)


def test_the_last_of_two_members_counts(tmp_path: Path) -> None:
    made = [
        member("sys/a", b"1"),
        member("sys/a", b"2"),
        member("sys/b", b"3"),
        member("sys/b", kind=tarfile.SYMTYPE, link="a"),
        member("sys/c", kind=tarfile.SYMTYPE, link="a"),
        member("sys/c", b"4"),
        member("sys/d/e", b"5"),
        member("sys/d", kind=tarfile.DIRTYPE),
    ]
    host = opened(tar(made), tmp_path / "box.tar")
    assert [host.read(f"/sys/{name}") for name in ("a", "b", "c", "d/e")] == [b"2", b"2", b"4", b"5"]


def test_odd_names_are_left_out_or_read(tmp_path: Path) -> None:
    made = [
        member(os.fsdecode(b"sys/\xff\xfe"), b"1"),
        member("sys/\x1b[31mred", b"2"),
        member("sys/a\nb", b"3"),
        member("sys/" + "n" * 3000, b"4"),
        member("sys/" + "x" * 9000, b"5"),
        member("sys/ä ö", b"6"),
        member("sys/" + "d/" * 500 + "x", b"7"),
        member("sys/\u202egpj", b"8"),
        member("./sys/./dot", b"9"),
        member("//sys//slash", b"10"),
    ]
    host = opened(tar(made), tmp_path / "box.tar")
    assert host.entries("/sys") == ("dot", "n" * 3000, "slash", "ä ö")
    assert host.read("/sys/ä ö") == b"6"
    assert host.read("/sys/dot") == b"9"
    assert host.read("/sys/slash") == b"10"
    interrogate(host, ["/sys/\x1b[31mred", "/sys/" + "x" * 9000])


def test_odd_names_in_a_directory_are_left_out(tmp_path: Path) -> None:
    box = tmp_path / "box/sys"
    box.mkdir(parents=True)
    for name in (b"\xff\xfe", b"\x1b[31mred", b"a\nb", "ä".encode()):
        Path(os.fsdecode(os.fsencode(box) + b"/" + name)).write_bytes(b"1")
    host = CaptureHost(str(tmp_path / "box"))
    assert host.entries("/sys") == ("ä",)
    assert len(host.complaints) == 3
    interrogate(host)


# Headers


@pytest.mark.parametrize(
    "data",
    [
        header(b"x", b"0000020", b"x") + padded(b"99 path=sys/a\nxxx") + header(b"sys/b") + END,
        header(b"x", b"0000020", b"x") + padded(b"0 path=sys/aaaaaa") + header(b"sys/b") + END,
        header(b"x", b"0000020", b"x") + padded(b"-5 path=sys/aaaaa") + header(b"sys/b") + END,
        header(b"x", b"0000020", b"x") + padded(b"\x1b[31m\xff\xfe=\0\0\0\0\0\0") + header(b"sys/b") + END,
        header(b"x", b"0000012", b"x") + padded(b"10 size=-1") + header(b"sys/b") + END,
        header(b"x", b"0000013", b"x") + padded(b"11 size=-1\n") + header(b"sys/b") + END,
        header(b"x", b"0000037", b"x") + padded(b"31 size=99999999999999999999999\n"[:31]) + header(b"sys/b") + END,
        header(b"x", b"7777777", b"x") + bytes(4 << 20),
        header(b"sys/a", b"-000001") + END,
        header(b"sys/a", b"zzzzzzz") + END,
        header(b"sys/a", b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") + END,
        header(b"sys/a", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") + END,
        header(b"sys/a")[:300] + b"x" + bytes(211) + END,
    ],
)
def test_a_damaged_header_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    assert len(refused(data, tmp_path / "box")) < 120


def test_names_in_extended_headers_are_held_to_the_same_rules(canary: Path) -> None:
    made = [
        member("sys/a", b"1", pax_headers={"path": "../canary"}),
        member("sys/b", b"2", pax_headers={"path": "sys/renamed"}),
        member("sys/c", kind=tarfile.SYMTYPE, pax_headers={"linkpath": str(canary / "outside")}),
    ]
    everywhere = header(b"g", b"0000024", b"g") + padded(b"20 path=sys/global\n\0")
    long = header(b"././@LongLink", b"0000012", b"L") + padded(b"../canary\0") + header(b"short")
    host = opened(everywhere + long + tar(made), canary / "box.tar")
    interrogate(host, ["/sys/renamed", "/sys/c/canary", "/sys/global"])
    assert host.read("/sys/renamed") == b"2"
    assert isinstance(host.read("/sys/global"), Unread)


# Directories


def test_a_huge_file_costs_neither_time_nor_memory(tmp_path: Path) -> None:
    box = tmp_path / "box"
    (box / "sys").mkdir(parents=True)
    (box / "boxcheck").mkdir()
    (box / "var/log").mkdir(parents=True)
    for name in ("sys/a", "boxcheck/stat.json", "boxcheck/unread.jsonl", "var/log/dmesg"):
        with open(box / name, "wb") as file:
            file.truncate(10 << 30)
    began = time.monotonic()
    host = CaptureHost(str(box))
    assert host.read("/sys/a") == Unread("/sys/a: larger than 4194304 bytes", "malformed")
    assert isinstance(host.kernel_log(), Unread)
    interrogate(host)
    assert time.monotonic() - began < 10


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_this_copy_does_not_let_us_read_is_not_absent(tmp_path: Path) -> None:
    """A capture unpacked by root and read by somebody else: a closed directory must not look like an empty machine."""
    box = tmp_path / "box"
    (box / "sys/closed").mkdir(parents=True)
    (box / "sys/closed/a").write_bytes(b"1")
    (box / "sys/file").write_bytes(b"1")
    (box / "boxcheck").mkdir()
    (box / "boxcheck/capture.json").write_bytes(META)
    (box / "sys/closed").chmod(0)
    (box / "sys/file").chmod(0)
    reachable(tmp_path)

    def work() -> list[object]:
        host = CaptureHost(str(box))
        return [
            host.entries("/sys/closed"),
            host.exists("/sys/closed/a"),
            host.read("/sys/closed/a"),
            host.read("/sys/file"),
            host.exists("/sys/none"),
        ]

    listed, exists, read, file, none = as_nobody(work, tmp_path)
    for answer in (listed, exists, read, file):
        assert isinstance(answer, Unread)
        assert answer.kind == "not-captured"
    assert none is False


def test_a_directory_of_too_many_names_is_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = tmp_path / "box"
    (box / "sys/many").mkdir(parents=True)
    for number in range(30):
        (box / f"sys/many/{number}").write_bytes(b"")
    monkeypatch.setattr("boxcheck.host.tree.ENTRIES_LIMIT", 20)
    host = CaptureHost(str(box))
    assert isinstance(host.entries("/sys/many"), Unread)
    assert isinstance(host.exists("/sys/many/1"), Unread)
    assert host.complaints == ["ignored a directory (more than 20 names): /sys/many"]


# The command


@pytest.mark.parametrize("name", ["garbage", "empty", "truncated", "schema", "missing\x1b[31m"])
def test_the_command_says_one_line_and_exits_2(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = {
        "garbage": b"\x1b[31mgarbage" * 100,
        "empty": b"",
        "truncated": gzip.compress(tar([member("sys/a", b"1" * 5000)]))[:150],
        "schema": tar([], meta=b'{"schema":"\\u001b[31m"}'),
    }.get(name)
    if data is not None:
        path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "boxcheck", "doctor", "--sysroot", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert is_clean(done.stdout + done.stderr)
    assert done.stderr.count("\n") <= 3


def test_old_formats_are_read(tmp_path: Path) -> None:
    """A V7 header without magic, a ustar prefix, a size in base 256, a directory as it was before there was a type."""
    old = header(b"sys/old", b"0000001", magic=b"\0" * 6) + padded(b"1")
    size = b"\x80" + (1).to_bytes(11, "big")
    base = header(b"sys/base", size) + padded(b"2")
    block = bytearray(header(b"name", b"0000001"))
    block[345:355] = b"sys/prefix"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    host = opened(
        old + base + bytes(block) + padded(b"3") + header(b"sys/dir/", kind=b"\0") + END, tmp_path / "box.tar"
    )
    assert [host.read(f"/sys/{name}") for name in ("old", "base", "prefix/name")] == [b"1", b"2", b"3"]
    assert host.entries("/sys/dir") == ()


def test_a_group_that_a_capture_does_not_name_is_not_roots(tmp_path: Path) -> None:
    folder = tmp_path / "box" / "boxcheck"
    folder.mkdir(parents=True)
    (folder / "capture.json").write_text('{"schema": "boxcheck.capture/1", "user": {"uid": 1000}}')
    who = CaptureHost(str(tmp_path / "box")).who()
    assert isinstance(who, Who)
    assert (who.uid, who.gid, who.root) == (1000, None, False)
