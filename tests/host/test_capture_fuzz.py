"""Captures mutated by hypothesis: any bytes give a capture that answers everything, or one CaptureError.

BOXCHECK_FUZZ_EXAMPLES=100000 python -m pytest tests/host/test_capture_fuzz.py   runs as many inputs as asked for.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxcheck.host.capture import CaptureHost
from boxcheck.host.tree import CaptureError
from tests.host.hostile import CANARY, interrogate, is_clean, member, padded, tar

EXAMPLES = int(os.environ.get("BOXCHECK_FUZZ_EXAMPLES", "300"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

FOLDER = Path(tempfile.mkdtemp(prefix="boxcheck-fuzz-"))
(FOLDER / "canary").write_bytes(CANARY)


def survive(data: bytes) -> None:
    path = FOLDER / "box.tar"
    path.write_bytes(data)
    says = ""
    try:
        interrogate(CaptureHost(str(path)))
    except CaptureError as error:
        says = str(error)
    assert is_clean(says)
    assert "\n" not in says
    assert len(says) < 400


SEED = tar(
    [
        member("sys/a", b"1\n"),
        member("sys/link", kind=tarfile.SYMTYPE, link="../canary"),
        member("sys/" + "n" * 150, b"long"),
        member("proc/cmdline", b"quiet"),
        member("sys/hard", kind=tarfile.LNKTYPE, link="sys/a"),
        member("sys/ä", b"2"),
        member("var/log/dmesg", b"[    0.000000] Linux\n"),
        member("sys/loop", kind=tarfile.SYMTYPE, link="loop"),
        member("boxcheck/stat.json", b'{"/dev/kfd":{"type":"char","mode":"660","uid":0,"gid":44,"open":"ok"}}'),
        member("boxcheck/unread.jsonl", b'{"path":"/sys/b","why":"permission denied","kind":"permission"}\n'),
        member("boxcheck/list.jsonl", b'{"path":"/sys","names":["a","b"]}\n'),
        member("boxcheck/run/0000.json", b'{"argv":["true"],"exit":0,"stdout":"out","stderr":""}'),
        member("boxcheck/lib/0000.json", b'{"library":"lib","request":"request","value":{"a":[1,"x"]}}'),
        member(
            "boxcheck/again/index.jsonl", b'{"sequence":0,"path":"/sys/a","phase":"load","monotonic":1.0,"wall":2.0}\n'
        ),
        member("boxcheck/again/0000/sys/a", b"2\n"),
    ]
)
BLOCKS = len(SEED) // 512


@fuzz
@given(
    st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.binary(min_size=1, max_size=12)), max_size=8),
    st.integers(0, len(SEED)),
)
def test_bytes_changed_anywhere(changes: list[tuple[int, bytes]], cut: int) -> None:
    data = bytearray(SEED)
    for place, new in changes:
        data[place : place + len(new)] = new
    survive(bytes(data[: cut or None]))


FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "size": (124, 12),
    "type": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
    "prefix": (345, 155),
}


@fuzz
@given(
    st.lists(
        st.tuples(
            st.integers(0, BLOCKS - 1),
            st.sampled_from(sorted(FIELDS)),
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from(
                    [
                        b"../../canary",
                        b"/etc/passwd",
                        b"sys/../..",
                        b"sys/a/b",
                        b"2",
                        b"1",
                        b"x",
                        b"L",
                        b"K",
                        b"g",
                        b"S",
                        b"5",
                        b"6",
                        b"77777777777",
                        b"\x80" + b"\xff" * 11,
                        b"0000000512",
                    ]
                ),
            ),
        ),
        max_size=6,
    )
)
def test_headers_changed_with_right_checksums(changes: list[tuple[int, str, bytes]]) -> None:
    data = bytearray(SEED)
    for number, field, new in changes:
        start, length = FIELDS[field]
        block = data[number * 512 : number * 512 + 512]
        block[start : start + length] = new[:length].ljust(length, b"\0")
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        data[number * 512 : number * 512 + 512] = block
    survive(bytes(data))


@fuzz
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8"), max_size=20).map(lambda text: "sys/" + text)
            | st.sampled_from(
                [
                    "sys/a",
                    "sys/link",
                    "sys/a/b",
                    "boxcheck",
                    "proc/cmdline",
                    "boxcheck/stat.json",
                    "sys/link/x",
                    "../canary",
                    "sys",
                ]
            ),
            st.binary(max_size=30),
            st.sampled_from(
                [
                    tarfile.REGTYPE,
                    tarfile.SYMTYPE,
                    tarfile.LNKTYPE,
                    tarfile.DIRTYPE,
                    tarfile.FIFOTYPE,
                    tarfile.CHRTYPE,
                    b"M",
                ]
            ),
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
            | st.sampled_from(
                ["/", "..", "../canary", "a", "loop", "/sys/link", "../sys/link/x", "../../../../../../tmp"]
            ),
        ),
        max_size=12,
    )
)
def test_members_of_any_kind_in_any_order(made: list[tuple[str, bytes, bytes, str]]) -> None:
    survive(
        tar([member(name, data if kind == tarfile.REGTYPE else b"", kind, link) for name, data, kind, link in made])
    )


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=12)
    | st.sampled_from(
        [
            "/sys/a",
            "/dev/kfd",
            "ok",
            "EACCES",
            "absent",
            "char",
            "660",
            "load",
            "\x1b[31m",
            "boxcheck.capture/1",
            "lib",
            "2026-01-01T00:00:00Z",
            "9999-12-31T23:59:59-23:59",
            "/*",
            "/sys/[",
            "/**/**/a*b*c*d",
            "0001-01-01",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "path",
                    "why",
                    "kind",
                    "type",
                    "mode",
                    "uid",
                    "gid",
                    "open",
                    "argv",
                    "exit",
                    "stdout",
                    "stderr",
                    "ms",
                    "unread",
                    "library",
                    "request",
                    "value",
                    "sequence",
                    "phase",
                    "schema",
                    "user",
                    "name",
                    "groups",
                    "env",
                    "start",
                    "covers",
                    "/dev/kfd",
                    "/sys/a",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
PLACES = ("stat.json", "run/0000.json", "lib/0000.json")
LINES = ("unread.jsonl", "list.jsonl", "again/index.jsonl")


@fuzz
@given(JSON, st.dictionaries(st.sampled_from(PLACES + LINES), st.lists(JSON, max_size=3), max_size=6))
def test_any_json_in_any_place(meta: Any, places: dict[str, list[Any]]) -> None:
    if isinstance(meta, dict):
        meta["schema"] = "boxcheck.capture/1"
    files = [member("sys/a", b"1")]
    for name, values in places.items():
        encoded = [msgspec.json.encode(value) for value in values]
        files.append(member(f"boxcheck/{name}", b"\n".join(encoded) if name in LINES else b"".join(encoded[:1])))
    survive(tar(files, meta=msgspec.json.encode(meta)))


@fuzz
@given(st.binary(max_size=2000))
def test_any_bytes(data: bytes) -> None:
    survive(data)
    survive(gzip.compress(padded(data)))
    survive(b"\x1f\x8b\x08\x00" + data)
    survive(b"\x28\xb5\x2f\xfd" + data)
