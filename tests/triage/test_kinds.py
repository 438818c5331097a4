"""Every kind of event is told in the reference, and every one that is told can happen."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from boxcheck.decode.klog.kinds import KINDS
from boxcheck.triage.account import triage
from boxcheck.triage.kinds import ALL_KINDS, TOOL_KINDS

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "corpus"


@cache
def happened() -> frozenset[str]:
    """The kinds of all events of the corpus."""
    found: set[str] = set()
    for place in sorted(CORPUS.rglob("*")):
        if place.is_file() and ".expected." not in place.name and place.suffix != ".md":
            found |= {sighting.kind for sighting in triage([str(place)]).events}
    return frozenset(found)


def test_every_kind_that_happens_is_in_the_reference() -> None:
    assert happened() - ALL_KINDS == set()


def test_every_kind_of_the_reference_happens_in_the_corpus() -> None:
    assert ALL_KINDS - happened() == set()


def test_no_kind_is_told_twice() -> None:
    assert set(KINDS) & set(TOOL_KINDS) == set()


def test_kinds_are_words_for_the_command_line() -> None:
    assert all(re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", kind) for kind in ALL_KINDS)
