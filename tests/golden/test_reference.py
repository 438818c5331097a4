"""Reference files from elsewhere: what is none, or holds what cannot be, is one clear error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.golden.reference import (
    LARGEST_BYTES,
    Reference,
    parse_reference,
    plain_release,
    read_bytes,
    reference_bytes,
)
from boxcheck.usage import UsageError

GOOD: dict[str, Any] = {
    "schema": "boxcheck.reference/1", "made": "2026-11-29", "boxes": 1, "runs": 1,
    "box": {"profile": "wopr-7x4090", "profile_revision": 1, "profile_sha256": "7b" * 32, "board": "ROMED8-2T",
            "gpus": [{"name": "RTX 4090", "pci_id": "10de:2684", "revision": 161, "memory_gib": 24, "count": 7}]},
    "conditions": {"boxcheck": ["1.0"], "drivers": ["driver 580"], "kernels": ["6.8.0"], "seconds": {"matmul": 60.0},
                   "hottest_celsius": {"core": 70.0}, "most_watts": 440.0, "held_unread": False, "self_signed": False},
    "measured": [{
        "limit": "matmul.bf16_tflops", "unit": "TFLOPS", "better": "higher", "mean": 163.0, "worst": 161.0, "best": 165.0,
        "spread_percent": 1.0, "between_percent": None, "over_time_percent": 0.4, "bound": 154.0, "margin_percent": 5.5,
        "useful": True, "rule": "99 % ...", "devices": 7, "boxes": 1, "runs": 1, "samples": 28, "by": ["kernel mma"]}],
    "not_measured": ["vram.copy_gbs"]}


def changed(place: str, value: Any) -> dict[str, Any]:
    """`measured.0.mean`: of the good one, with one value replaced."""
    found = msgspec.json.decode(msgspec.json.encode(GOOD))
    here, *path = found, *place.split(".")
    for key in path[:-1]:
        here = here[int(key) if key.isdigit() else key]
    here[path[-1]] = value
    return dict(found)


def test_a_good_one_is_read_and_has_one_form() -> None:
    found = parse_reference(msgspec.json.encode(GOOD), "ref.json")
    data = reference_bytes(found)
    assert parse_reference(data, "ref.json") == found
    assert reference_bytes(parse_reference(msgspec.json.format(data), "ref.json")) == data
    assert data.endswith(b"}\n")


def test_what_a_later_boxcheck_adds_is_left_alone() -> None:
    assert isinstance(parse_reference(msgspec.json.encode(changed("more", {"a": 1})), "r"), Reference)


@pytest.mark.parametrize(("place", "value"), [
    ("measured.0.mean", -1.0), ("measured.0.mean", 0.0), ("measured.0.mean", 1e300), ("measured.0.worst", 170.0),
    ("measured.0.best", 100.0), ("measured.0.bound", 162.0), ("measured.0.spread_percent", -2.0), ("measured.0.unit", "GB/s"),
    ("measured.0.better", "lower"), ("measured.0.limit", "link.width"), ("measured.0.limit", "no.such"),
    ("measured.0.devices", 0), ("measured.0.devices", -3), ("measured.0.mean", "163"), ("measured.0.mean", None),
    ("measured.0.by", ["x" * 201]), ("measured.0.by", ["\x1b[31mred"]), ("box.board", "a\nb"), ("box.board", "\u202etxet"),
    ("box.profile_sha256", "nothing"), ("made", "yesterday"), ("schema", "boxcheck.run/1"), ("schema", "other"), ("schema", 7),
    ("schema", None), ("conditions.seconds", {"matmul": -1.0}), ("conditions.hottest_celsius", {"\x07": 1.0}),
    ("conditions.most_watts", -5.0), ("box.gpus", [{}] * 100), ("measured", "x"), ("boxes", 10**12),
    ("conditions.self_signed", "no"), ("measured", [GOOD["measured"][0]] * 2)])
def test_what_cannot_be_is_one_clear_error(place: str, value: Any) -> None:
    with pytest.raises(UsageError) as error:
        parse_reference(msgspec.json.encode(changed(place, value)), "ref.json")
    assert str(error.value).startswith("ref.json ")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400
    assert error.value.help


@pytest.mark.parametrize("data", [
    b"", b"{", b"[]", b"7", b"null", b'"boxcheck.reference/1"', b"\xff\xfe\x00", b"[" * 100_000, b'{"schema": NaN}',
    msgspec.json.encode(GOOD).replace(b'"mean":163.0', b'"mean":NaN'),
    msgspec.json.encode(GOOD).replace(b'"mean":163.0', b'"mean":1e999'),
    msgspec.json.encode(GOOD).replace(b'"most_watts":440.0', b'"most_watts":-1e999')])
def test_what_is_no_json_of_it_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"^ref\.json "):
        parse_reference(data, "ref.json")


def test_files_that_are_none(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with open(huge, "wb") as stream:
        stream.truncate(LARGEST_BYTES + 1)
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("huge.json", "larger than 1 MiB"), ("pipe", "is no file"), (".", "is no file"), ("none", "no such")):
        with pytest.raises(UsageError, match=says):
            read_bytes(str(tmp_path / name))
    with pytest.raises(UsageError, match="is no path"):
        read_bytes("a\0b")


@pytest.mark.parametrize(("release", "plain"), [
    ("6.8.0-45-generic", "6.8.0-45-generic"), ("6.14.0-1011-oem", "6.14.0-1011-oem"), ("6.8.12-zbigniew", "6.8.12"),
    ("6.12.9-200.fc41.x86_64", "6.12.9-200-fc41-x86-64"), ("5.14.0-503.el9_5.x86_64", "5.14.0-503"),
    ("6.9.1-arch1-1", "6.9.1-arch1"), ("garbage", ""), ("6.1-quokka17.local", "6.1")])
def test_a_release_is_shared_without_what_somebody_added(release: str, plain: str) -> None:
    found = plain_release(release)
    assert not {"zbigniew", "quokka17", "local"} & {*found.replace("-", " ").split()}
    assert found.startswith(plain.partition("-")[0])
    if "fc" not in release and "el9" not in release:
        assert found == plain
