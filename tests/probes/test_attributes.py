from __future__ import annotations

import pytest

from boxcheck.model import Unread
from boxcheck.probes.attributes import either, numbered, parse_cpu_list, parse_integer
from tests.probes.reading import HOSTILE, kind_of, never_raises


@pytest.mark.parametrize(("text", "value"), [
    ("0", 0), ("-40000", -40000), ("0x1a03", 0x1A03), ("18446744073709551615", 2**64 - 1)])
def test_integer(text: str, value: int) -> None:
    assert parse_integer(text, "x") == value


@pytest.mark.parametrize("text", ["", "-", "1.5", "12abc", "0xzz", "9" * 40, "٣", "\x1b[31m"])
def test_what_is_no_integer_is_malformed(text: str) -> None:
    found = parse_integer(text, "/sys/x")
    assert kind_of(found) == "malformed"
    assert isinstance(found, Unread)
    assert found.why.isprintable()


@pytest.mark.parametrize(("text", "cpus"), [
    ("", ()), ("0", (0,)), ("0-3,8", (0, 1, 2, 3, 8)), ("2,0-1", (0, 1, 2)),
    ("0-63,128-191", (*range(64), *range(128, 192)))])
def test_cpu_list(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["3-1", "a-b", "0-99999999", "1-", "-", "0-65535,x"])
def test_impossible_cpu_list(text: str) -> None:
    assert kind_of(parse_cpu_list(text)) == "malformed"


def test_hostile_texts_end() -> None:
    never_raises(parse_cpu_list, *HOSTILE)
    never_raises(lambda text: parse_integer(text, "x"), *HOSTILE)


def test_numbered_sorts_by_number_and_drops_others() -> None:
    assert numbered(("cpu10", "cpu2", "cpufreq", "cpu", "mc0"), "cpu") == ["cpu2", "cpu10"]


def test_either_takes_the_second_only_where_the_first_was_not_read() -> None:
    gone = Unread("no such file", "absent")
    assert either("a", "b") == "a"
    assert either(None, "b") is None
    assert either(gone, "b") == "b"
    assert either(gone, Unread("x", "permission")) is gone
