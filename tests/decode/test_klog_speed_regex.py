"""No pattern that a line of a log can reach takes more than linear time, whatever the line holds.

Every compiled pattern of the package is found by walking its modules, taken apart, and fed lines made of its own words
and character classes, the worst that can be made against it: 1 000 and 8 000 characters of each. Eight times the length
may take 24 times the time; a quadratic pattern takes 64 times. The parser itself cuts lines at 4 096 characters.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]

import pytest

import boxcheck.decode.klog as klog
from boxcheck.decode.klog.family import Rule
from boxcheck.decode.klog.words import Rx

SHORT, LONG = 1_000, 8_000
MOST_GROWTH = 24.0
FLOOR_SECONDS = 0.002
"""Below this a measurement says nothing."""


def patterns() -> dict[str, re.Pattern[str] | re.Pattern[bytes]]:
    """Every pattern of every module, by where it stands."""
    found: dict[str, re.Pattern[str] | re.Pattern[bytes]] = {}

    def take(place: str, value: object) -> None:
        if isinstance(value, Rx):
            found[place] = value.pattern
        elif isinstance(value, re.Pattern):
            found[place] = value
        elif isinstance(value, Rule):
            take(place, value.pattern)
        elif isinstance(value, tuple | list):
            for index, part in enumerate(value):
                take(f"{place}[{index}]", part)
        elif isinstance(value, dict):
            for key, part in value.items():
                take(f"{place}[{key}]", part)

    for module in pkgutil.iter_modules(klog.__path__):
        loaded = importlib.import_module(f"{klog.__name__}.{module.name}")
        for name, value in vars(loaded).items():
            take(f"{module.name}.{name}", value)
            if isinstance(value, type) and value.__module__ == loaded.__name__:
                for inner, part in vars(value).items():
                    take(f"{module.name}.{name}.{inner}", part)
    assemble = importlib.import_module(f"{klog.__name__}.assemble")
    take("assemble._heads", assemble._heads())
    return found


def samples(items: object) -> Iterator[str]:
    """Characters that a class takes: its own, the ends of its ranges, one of each category."""
    for code, value in items:  # type: ignore[attr-defined]
        if code is codes.LITERAL:
            yield chr(value)
        elif code is codes.RANGE:
            yield chr(value[0])
        elif code is codes.CATEGORY:
            yield {codes.CATEGORY_DIGIT: "7", codes.CATEGORY_SPACE: " ", codes.CATEGORY_WORD: "a"}.get(value, "-")


def words(tree: object) -> Iterator[str]:
    """What a pattern is made of: its runs of literal characters, with one character for each class in between."""
    run = ""
    for code, value in tree:  # type: ignore[attr-defined]
        if code is codes.LITERAL:
            run += chr(value)
        elif code is codes.IN:
            some = [*samples(value)] or ["-"]
            yield from some
            run += some[0] if value[0][0] is not codes.NEGATE else "x"
        elif code is codes.ANY:
            run += "x"
        elif code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            inner = list(words(value[2]))
            yield from inner
            run += inner[-1] if inner and value[0] else ""
        elif code is codes.SUBPATTERN:
            inner = list(words(value[-1]))
            yield from inner
            run += inner[-1] if inner else ""
        elif code is codes.BRANCH:
            for branch in value[1]:
                yield from words(branch)
            first = list(words(value[1][0]))
            run += first[-1] if first else ""
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            yield from words(value[1])
        elif code is codes.NOT_LITERAL:
            run += "x" if value != ord("x") else "y"
    if run:
        yield run


def hard_lines(pattern: re.Pattern[str] | re.Pattern[bytes]) -> Iterator[str]:
    """Pieces to fill a line with, and heads to put before the filling."""
    source = pattern.pattern
    text = source.decode("latin-1") if isinstance(source, bytes) else source
    pieces = list(dict.fromkeys(words(parser.parse(text))))
    whole = pieces[-1] if pieces else "a"
    fills = [*[piece for piece in pieces if len(piece) == 1][:7], " ", "a", "7", ":", "["]
    yield from pieces[-8:]
    for fill in dict.fromkeys(fills):
        yield fill
        for size in sorted({len(whole), len(whole) // 2} - {0}):
            yield whole[:size] + "\0" + fill


def filled(line: str, size: int) -> str:
    head, mark, fill = line.rpartition("\0")
    return (head + fill * (size // len(fill) + 1))[:size] if mark else (line * (size // len(line) + 1))[:size]


def seconds(pattern: re.Pattern[str] | re.Pattern[bytes], text: str) -> float:
    data = text.encode("latin-1", "replace")
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        if isinstance(pattern.pattern, bytes):
            pattern.search(data)  # type: ignore[arg-type]
        else:
            pattern.search(text)  # type: ignore[arg-type]
        best = min(best, time.process_time() - start)
        if best < FLOOR_SECONDS / 2:
            break
    return best


FOUND = patterns()


def test_the_walk_finds_the_patterns() -> None:
    places = " ".join(FOUND)
    assert len(FOUND) > 100
    for place in ("envelope._SECONDS", "aer_lines._BUS_ERROR", "aer.Aer.follow", "residue._ERROR", "assemble._heads"):
        assert place in places


def growth(pattern: re.Pattern[str] | re.Pattern[bytes]) -> tuple[float, str]:
    """The largest ratio of the times for LONG and SHORT that a line of this pattern brings about, or the first that is
    too large."""
    worst, culprit = 0.0, ""
    for line in hard_lines(pattern):
        long = seconds(pattern, filled(line, LONG))
        if long < FLOOR_SECONDS:
            continue
        ratio = long / max(seconds(pattern, filled(line, SHORT)), 1e-6)
        if ratio > worst:
            worst, culprit = ratio, line
        if worst > MOST_GROWTH:
            break
    return worst, culprit


@pytest.mark.parametrize("place", FOUND)
def test_time_grows_with_length_alone(place: str) -> None:
    worst, line = growth(FOUND[place])
    assert worst < MOST_GROWTH, (place, FOUND[place].pattern, line)


@pytest.mark.parametrize("bad", [r"(?:a|b)*c.*d", r"x *\s*y", r"([\w.]+): (\d{1,9}) callbacks suppressed"])
def test_a_pattern_that_is_not_linear_is_caught(bad: str) -> None:
    worst, _ = growth(re.compile(bad))
    assert worst > MOST_GROWTH
