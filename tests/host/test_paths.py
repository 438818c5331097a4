"""The small parts under both hosts: text, words, symbolic links, covers."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxcheck.host.common import Resolver, clean, clean_path, errno_name, from_errno, from_errno_name, to_text
from boxcheck.host.covers import Covers


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b" x16 \n", "x16"),
        (b"a\r\nb\rc", "a\nb\nc"),
        (b"\x1b[2Jx", "\ufffd[2Jx"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\tb", "a\tb"),
        ("\u202eabc\u2066".encode(), "\ufffdabc\ufffd"),
        (b"\0\0", "\ufffd\ufffd"),
        (b"performance\n" + 4084 * b"\0", "performance"),
        (b"a\0b\0", "a\ufffdb"),
        (b"", ""),
        (b"\n\n", ""),
        ("\x85a\u2028b".encode(), "a\ufffdb"),
    ],
)
def test_text_cannot_drive_a_terminal(data: bytes, text: str) -> None:
    assert to_text(data) == text


@given(st.binary(max_size=200))
def test_text_cleaned_twice_is_text_cleaned_once(data: bytes) -> None:
    once = to_text(data)
    assert to_text(once.encode()) == once
    assert clean(once) == once


def test_every_error_number_has_words_and_a_kind() -> None:
    import errno

    for number in errno.errorcode:
        words, kind = from_errno_name(errno_name(number))
        assert words
        assert kind in ("absent", "permission", "unsupported", "timeout", "error")
    assert from_errno(None, "/x").why == "/x: input/output error"
    assert from_errno(errno.EACCES, "/x\x1b").why == "/x?: permission denied"


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("/a/b", "/a/b"),
        ("/a//b/", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/../..", "/"),
        ("", "/"),
        ("a", "/a"),
        ("/", "/"),
        ("/a/..b", "/a/..b"),
    ],
)
def test_paths_are_cleaned(path: str, cleaned: str) -> None:
    assert clean_path(path) == cleaned


LINKS = {
    "/sys/bus/pci/devices/a": "../../../devices/p/a",
    "/lib": "usr/lib",
    "/abs": "/sys/devices/p",
    "/self": ".",
    "/up": "../../..",
    "/loop": "loop",
    "/ping": "pong/x",
    "/pong": "ping/y",
    "/sys/devices/p/a/driver": "../../../bus/pci/drivers/d",
    "/long": "x/" * 3000,
    "/odd": "\x1b",
    "/chain0": "chain1",
    "/chain1": "chain2",
    "/chain2": "sys",
    "/back": "sys/devices/p/../p/a/./driver",
    **{f"/l{number}": f"l{number + 1}" for number in range(60)},
    **{f"/d{number}": f"d{number + 1}/x" for number in range(500)},
}


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/sys/bus/pci/devices/a/config", "/sys/devices/p/a/config"),
        ("/lib/modules", "/usr/lib/modules"),
        ("/abs/a", "/sys/devices/p/a"),
        ("/self/self/abs", "/sys/devices/p"),
        ("/up", ""),
        ("/up/lib", "/usr/lib"),
        ("/loop", None),
        ("/loop/x", None),
        ("/ping", None),
        ("/pong/x/y", None),
        ("/sys/bus/pci/devices/a/driver/x", "/sys/bus/pci/drivers/d/x"),
        ("/long", None),
        ("/odd/x", None),
        ("/chain0/bus", "/sys/bus"),
        ("/back", "/sys/bus/pci/drivers/d"),
        ("/none/../lib", "/usr/lib"),
        ("/sys/bus/pci/devices/a/../x", "/sys/devices/p/x"),
        ("/l25", "/l60"),
        ("/l10", None),
        ("/d480", "/d500" + "/x" * 20),
        ("/d0", None),
        ("/", ""),
        ("/a/./b//c/", "/a/b/c"),
    ],
)
def test_links_are_followed_as_the_kernel_follows_them(path: str, real: str | None) -> None:
    for _ in range(2):
        assert Resolver(LINKS.get).resolve(path) == real


def test_a_path_without_end_is_refused_in_no_time() -> None:
    began = time.process_time()
    resolver = Resolver(LINKS.get)
    assert resolver.resolve("/x" * 1_000_000) is None
    assert resolver.resolve("/self" * 1000) is None
    assert time.process_time() - began < 1


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "l", "m", "n", ""]), max_size=8), st.data())
def test_links_agree_with_the_system(parts: list[str], data: st.DataObject) -> None:
    """Against realpath(3) on a tree of links, wherever that one ends inside the tree."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root = os.path.realpath(folder)
        os.makedirs(f"{root}/a/b/a")
        os.makedirs(f"{root}/b/a")
        targets = {
            f"{root}/l": "a/b",
            f"{root}/a/m": "../l/a",
            f"{root}/b/n": f"{root}/a/m",
            f"{root}/a/b/l": "l",
            f"{root}/n": "b/../a/m",
        }
        for place, target in targets.items():
            os.symlink(target, place)
        path = f"{root}/{'/'.join(parts)}"
        expected = os.path.realpath(path)
        if not expected.startswith(root):
            return
        found = Resolver(targets.get).resolve(path)
        if found is None:
            # The system stops at a directory that is not there, before the loop behind it (`l/b/../l`).
            with pytest.raises(OSError, match=r"symbolic links|No such file"):
                os.stat(path)
        else:
            assert found == expected or not os.path.exists(path)


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("/*", "/sys/anything/at/all", True),
        ("/sys/*", "/sys/a/b", True),
        ("/sys/*", "/sys", False),
        ("/sys/*", "/proc/a", False),
        ("/sys/*/config", "/sys/a/config", True),
        ("/sys/*/config", "/sys/a/b/config", False),
        ("/sys/**/config", "/sys/a/b/config", True),
        ("/sys/**/config", "/sys/config", True),
        ("/sys/a?", "/sys/ab", True),
        ("/sys/a?", "/sys/a", False),
        ("/sys/?*", "/sys/a", True),
        ("/sys/?*", "/sys/a/b", False),
        ("/sys/[ab]x", "/sys/bx", True),
        ("/sys/[ab]x", "/sys/cx", False),
        ("/sys/nvme*", "/sys/nvme0", True),
        ("/sys/a.b", "/sys/axb", False),
        ("/**", "/x/y", True),
        ("relative", "/relative", False),
        ("/sys/[", "/sys/[", True),
        ("/", "/x", False),
    ],
)
def test_covers(glob: str, path: str, matches: bool) -> None:
    assert Covers([glob]).match(path) is matches
    assert Covers(["/other/*/x", glob, 5, None, "/zzz"]).match(path) is matches


def test_no_glob_takes_exponential_time() -> None:
    began = time.monotonic()
    hostile = Covers(
        ["/" + "*a" * 2000, "/" + "**/" * 31 + "x", *(f"/**/{number}/**/x*y*z*" for number in range(1000))]
    )
    assert not hostile.match("/" + "a" * 4000 + "b")
    assert not hostile.match("/a" * 60)
    assert time.monotonic() - began < 5
