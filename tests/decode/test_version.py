from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxcheck.decode.version import (
    at_least,
    parse_numbers,
    parse_release,
    release_order,
    snapshot_date,
    upstream_version,
)


def test_versions_compare_as_numbers() -> None:
    assert at_least((6, 18, 4), (6, 9, 1))
    assert not at_least((6, 9, 1), (6, 18, 4))
    assert at_least((6, 18), (6, 18, 0))
    assert not at_least((6, 18), (6, 18, 1))
    assert parse_numbers("570.133.20-p2p") == (570, 133, 20)
    assert parse_numbers("6.3.3-74") == (6, 3, 3)
    assert parse_numbers("none") is None


@pytest.mark.parametrize(("text", "numbers", "flavour", "backports"), [
    ("6.14.0-1014-oem", (6, 14, 0), "oem", True),
    ("6.17.0-5-generic", (6, 17, 0), "generic", False),
    ("6.18.9-200.fc43.x86_64", (6, 18, 9), "", False),
    ("5.14.0-503.11.1.el9_5.x86_64", (5, 14, 0), "el9", True),
    ("6.12.1-arch1-1", (6, 12, 1), "arch1", False),
    ("6.1.0-37-amd64", (6, 1, 0), "amd64", False),
    ("6.18.0-rc3", (6, 17, 999, 3), "", False),
    ("7.0.0-29-generic", (7, 0, 0), "generic", False),
    ("6.18", (6, 18, 0), "", False)])
def test_releases(text: str, numbers: tuple[int, ...], flavour: str, backports: bool) -> None:
    release = parse_release(text)
    assert release is not None
    assert (release.numbers, release.flavour, release.backports) == (numbers, flavour, backports)


def test_a_candidate_is_older_than_its_version() -> None:
    candidate, final = parse_release("6.18.0-rc7"), parse_release("6.18.0")
    assert candidate is not None
    assert final is not None
    assert not at_least(candidate.numbers, final.numbers)
    assert at_least(candidate.numbers, (6, 17, 12))


def test_releases_of_one_flavour_have_an_order() -> None:
    names = ["6.8.0-100-generic", "6.8.0-60-generic", "6.11.0-26-generic", "6.8.0-9-generic"]
    assert sorted(names, key=release_order) == [
        "6.8.0-9-generic", "6.8.0-60-generic", "6.8.0-100-generic", "6.11.0-26-generic"]


UBUNTU = ("Linux version 6.8.0-60-generic (buildd@lcy02-amd64-030) (x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0-6ubuntu2~24.04)"
          " 13.3.0, GNU ld (GNU Binutils for Ubuntu) 2.42) #63-Ubuntu SMP PREEMPT_DYNAMIC Tue Apr 15 19:04:15 UTC 2025")
DEBIAN = ("Linux version 6.1.0-37-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, GNU ld "
          "(GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.140-1 (2025-05-22)")


@pytest.mark.parametrize(("banner", "release", "stable"), [
    (f"{UBUNTU} Ubuntu 6.8.0-60.63-generic 6.8.12", "6.8.0-60-generic", "6.8.12"),
    (DEBIAN, "6.1.0-37-amd64", "6.1.140"),
    (UBUNTU, "6.8.0-60-generic", None),  # the compiler's version is not the kernel's
    ("Linux version 6.18.9-200.fc43.x86_64 (gcc (GCC) 15.2.1)", "6.18.9-200.fc43.x86_64", None),
    ("(Ubuntu 6.17.0-5.5-generic 6.17.0-rc7)", "6.17.0-5-generic", "6.17.0-rc7"),
    (DEBIAN, "nonsense", None)])
def test_the_stable_release_behind_a_package(banner: str, release: str, stable: str | None) -> None:
    assert upstream_version(banner, release) == stable


@pytest.mark.parametrize(("text", "date"), [
    ("20251125-1.fc43", "20251125"), ("1:20251111-1", "20251111"),
    ("20240318.git3b128b60-0ubuntu2.12", "20240318"), ("1.187.39", None), ("1202511250", None)])
def test_firmware_snapshots(text: str, date: str | None) -> None:
    assert snapshot_date(text) == date


@given(st.text(max_size=200))
def test_any_text_has_a_version_or_none(text: str) -> None:
    parse_release(text)
    release_order(text)
    upstream_version(text, text)
    snapshot_date(text)
    parse_numbers(text)
