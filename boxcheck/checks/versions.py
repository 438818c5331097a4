"""Limits that are version numbers: `{ must = "6.1", should = "6.5" }`, compared as numbers and not as text."""

from __future__ import annotations

from typing import Any

from boxcheck.checks.wording import decided, wants
from boxcheck.decode.version import Numbers, at_least, parse_numbers
from boxcheck.model import Finding, Limit, Outcome, Quantity, Subject


def version_outcome(numbers: Numbers, limit: Limit) -> Outcome:
    """pass, marginal or fail, as `registry.outcome_of` does it for numbers. A bound that is no version fails, so that a
    mistake in a profile cannot pass a box."""
    for bound, broken in ((limit.must, Outcome.FAIL), (limit.should, Outcome.MARGINAL)):
        if bound is None:
            continue
        wanted = parse_numbers(str(bound))
        if wanted is None or not at_least(numbers, wanted):
            return broken
    return Outcome.PASS


def demanded(limit: Limit) -> str:
    """`6.1 or later`, `6.16.9 or later, better 6.18.4`."""
    if limit.must is not None and limit.should is not None:
        return f"{limit.must} or later, better {limit.should}"
    return f"{limit.must if limit.must is not None else limit.should} or later"


def wish(limit: Limit) -> str:
    """The same with who wants it: `profile requires 6.1 or later, better 6.5`."""
    return f"{wants(limit)} {demanded(limit)}"


def judged_version(subject: Subject, text: str, numbers: Numbers, limit: Limit, says: str, **options: Any) -> Finding:
    """Like `wording.judged` for a version. `numbers` is what is compared, `text` what was read."""
    return decided(version_outcome(numbers, limit), subject, says, measured=Quantity(text), limit=limit, **options)
