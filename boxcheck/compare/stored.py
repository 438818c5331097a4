"""Findings of a stored run, by phase, check and part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from boxcheck.model import Finding
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Phase


def found_in(reader: RunReader, phases: Sequence[Phase]) -> dict[tuple[str, str, str], list[Finding]]:
    """What was found in each phase; a plan may have a step twice, whose second is `matmul 2`."""
    found: dict[tuple[str, str, str], list[Finding]] = {}
    times: Counter[str] = Counter()
    for phase in phases:
        name = phase.plan.name
        times[name] += 1
        called = name if times[name] == 1 else f"{name} {times[name]}"
        for one in reader.findings(phase.plan.number):
            found.setdefault((called, one.check, str(one.subject)), []).append(one)
    return found
