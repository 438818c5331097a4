from __future__ import annotations

from pathlib import Path

from boxcheck.probes.clock import CHRONYC, SYNCHRONIZED, TIMEDATECTL, Clock, parse_tracking
from tests.boxes.tree import Tree
from tests.probes.reading import HOSTILE, fact, kind_of, live, never_raises, tree

TRACKING = "Reference ID    : C0A80001\nStratum         : 3\nLeap status     : Normal\n"


def answers(*programs: tuple[tuple[str, ...], str, int]) -> Tree:
    made = tree()
    for argv, text, status in programs:
        made.run(list(argv), text, exit_status=status)
    return made


def test_who_says_so(tmp_path: Path) -> None:
    assert fact(Clock, tree({SYNCHRONIZED: ""}), tmp_path) == Clock(True, "systemd-timesyncd")
    assert fact(Clock, answers((TIMEDATECTL, "yes\n", 0)), tmp_path) == Clock(True, "timedatectl")
    assert fact(Clock, answers((TIMEDATECTL, "no\n", 0)), tmp_path) == Clock(False, "timedatectl")
    assert fact(Clock, answers((TIMEDATECTL, "", 1), (CHRONYC, TRACKING, 0)), tmp_path) == Clock(True, "chronyc")


def test_nobody_says_so(tmp_path: Path) -> None:
    assert kind_of(fact(Clock, answers(), tmp_path).synchronized) == "not-captured"
    assert kind_of(fact(Clock, answers((TIMEDATECTL, "", 1), (CHRONYC, "", 1)), tmp_path).synchronized) == "unsupported"


def test_tracking() -> None:
    assert parse_tracking(TRACKING) is True
    assert parse_tracking("Leap status     : Not synchronised\n") is False
    assert kind_of(parse_tracking("506 Cannot talk to daemon")) == "malformed"
    never_raises(parse_tracking, *HOSTILE)


def test_this_machine() -> None:
    assert live(Clock) is not None
