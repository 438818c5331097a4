"""Counters that stand still are not looked at, and come to what they come to where each is looked at."""

from __future__ import annotations

import random

import msgspec
import pytest

from boxcheck.model import Bdf, Unread
from boxcheck.stress.tally import Tally
from boxcheck.telemetry.readings import Count, LinkReading


class Looking(Tally):
    """Looks at every counter of every reading."""

    def add(self, readings: object) -> None:
        for one in readings:  # type: ignore[attr-defined]
            self._still.clear()
            super().add([one])


def some_readings(seed: int) -> list[LinkReading]:
    """Of two functions, whose counters grow, begin anew, are not read, and come in the wrong order."""
    some, now = random.Random(seed), 100.0
    counters = {name: [some.randrange(3), 0] for name in ("0000:40:01.1", "0000:41:00.0")}
    found = []
    for _ in range(some.randrange(1, 30)):
        now += some.choice((-0.2, 0.1, 0.3, 1.0))
        name = some.choice(list(counters))
        if some.random() < 0.3:
            counters[name][some.randrange(2)] = some.randrange(4)
        bad, receiver = counters[name]
        counts: tuple[Count, ...] | Unread | None = (Count("BadTLP", bad), Count("RxErr", receiver))
        counts = some.choices(
            (counts, Unread("timeout", "timeout"), None, (Count("BadTLP", Unread("timeout")),)), (80, 8, 4, 4))[0]
        found.append(LinkReading(
            bdf=Bdf(name), monotonic_seconds=now, speed_gts=some.choice((8.0, 16.0)), width=16, correctable=counts,
            nonfatal=(), fatal=()))
    return found


@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_what_stands_still_comes_to_the_same_as_when_all_is_looked_at(first: int) -> None:
    grown = resets = 0
    for seed in range(first, first + 100):
        readings, fast, looking = some_readings(seed), Tally(()), Looking(())
        for one in readings:
            fast.add([one])
            looking.add([one])
        result = fast.result()
        assert msgspec.json.encode(result) == msgspec.json.encode(looking.result()), seed
        grown += sum(sum(one.values()) for one in result.link_errors.values())
        resets += len(result.reset_links)
    assert grown > 100
    assert resets > 10
