"""What to do: no step comes twice in other words, and each is a step."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

from boxcheck.decode.klog import parse_log

CORPUS = Path(__file__).parents[1] / "corpus" / "klog"
_SMALL = frozenset(("a", "an", "and", "at", "by", "for", "in", "is", "it", "its", "of", "on", "or", "the", "then", "to", "with"))
VERBS = frozenset((
    "add", "ask", "blacklist", "boot", "check", "copy", "do", "drop", "find", "fix", "give", "hold", "if", "in", "install", "load", "look",
    "lower", "make", "move", "nothing", "note", "plug", "power", "raise", "read", "reboot", "rebuild", "replace", "reseat",
    "reset", "run", "set", "swap", "test", "then", "try", "unbind", "unload", "update", "use",
))
"""First words of a step; `if` and `in` lead up to one, `nothing to do` is an answer."""


def steps() -> set[str]:
    return {step for path in CORPUS.glob("*.log") for event in parse_log(path.read_bytes()).events for step in event.help}


def words(step: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9_.=/-]+", step.lower())) - _SMALL


def test_no_step_says_what_another_one_says() -> None:
    near = []
    # The same of the other driver is another step.
    for one, other in combinations(sorted({step.replace("amdgpu", "nvidia") for step in steps()}), 2):
        alike = len(words(one) & words(other)) / len(words(one) | words(other))
        if alike > 0.7:
            near.append((one, other))
    assert near == []


def test_a_step_is_something_to_do() -> None:
    found = steps()
    assert len(found) > 60
    assert {step for step in found if re.split(r"[^a-z]", step)[0] not in VERBS} == set()
