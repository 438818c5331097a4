"""Checks run on facts that a test makes, against limits that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from boxcheck.model import Finding, Limit, Outcome, Unread
from boxcheck.profile import Profile, Recommendation
from boxcheck.registry import CHECKS, LIMITS, discover, run_check

GONE = Unread("not in this capture", "not-captured")
DENIED = Unread("permission denied", "permission")


def want(limits: Mapping[str, Any] | None = None, recommend: Iterable[Recommendation] = ()) -> Profile:
    """A profile with these limits: a plain value is what must be, a mapping holds `must` and `should`."""
    discover()
    made = {}
    for name, value in (limits or {}).items():
        sides = value if isinstance(value, dict) else {"must": value}
        made[name] = Limit(name, LIMITS[name].compare, unit=LIMITS[name].unit, source="this test", **sides)
    return Profile(name="test", revision=1, title="made by a test", limits=made, recommend=tuple(recommend))


def judge(
    check: str, *facts: Any, limits: Mapping[str, Any] | None = None, profile: Profile | None = None
) -> list[Finding]:
    """The findings of a check. Every one must read well: lower case, no full stop, no control character."""
    discover()
    found = list(run_check(CHECKS[check], facts, profile or want(limits)))
    assert found, f"{check} said nothing"
    for finding in found:
        assert finding.says, finding
        assert not finding.says.endswith("."), finding.says
        assert finding.says.isprintable(), finding.says
        if finding.outcome in (Outcome.PASS, Outcome.SKIP):
            assert finding.cause is None, finding
        if finding.outcome in (Outcome.FAIL, Outcome.MARGINAL):
            assert finding.help, finding
            assert finding.cause, finding
            assert ":" in finding.cause, finding
    return found


def outcomes(found: Iterable[Finding]) -> list[str]:
    return [finding.outcome.value for finding in found]


def outcome(check: str, *facts: Any, limits: Mapping[str, Any] | None = None, profile: Profile | None = None) -> str:
    """The outcome of a check that must have exactly one finding."""
    found = judge(check, *facts, limits=limits, profile=profile)
    assert len(found) == 1, [finding.says for finding in found]
    return found[0].outcome.value
