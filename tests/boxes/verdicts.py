"""What boxcheck makes of every built box: the table that tests hold and the docs show.

    python -m tests.boxes.verdicts            write tests/boxes/verdicts.json and docs/reference/check-captures.md
    python -m tests.boxes.verdicts NAME       print one box's account in short
    python -m tests.boxes.verdicts --all      judge every mutation on every box it fits (a minute), print what is strange

The table is golden: a change of it is a change of what users are told, and is read line by line before it is committed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from boxcheck.engine.inspect import choose_checks, inspect_facts, name_slots, read_facts
from boxcheck.judge import exit_code
from boxcheck.model import Outcome, Verdict
from boxcheck.profile import Goal, Profile, load_profile
from boxcheck.profile_detect import detect
from boxcheck.registry import CHECKS, discover
from tests.boxes import MUTATIONS, build, names
from tests.boxes.memory import host

TABLE = Path(__file__).parent / "verdicts.json"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "check-captures.md"

GOALS: dict[str, Goal] = {
    "guests": "vm", "guests-share-group": "vm", "guests-without-iommu": "vm",
}
"""Mutations of boxes that are judged for another use than their profile's, as by `--goal`."""

PROFILES = {"wopr-7x4090-one-reading": "wopr-7x4090", "laptop": "generic"}
"""Profile that a box is judged by where it is not called as the box."""


def profile_of(name: str) -> str:
    base = name.split("+", 1)[0]
    return PROFILES.get(base, base)


def profile_for(name: str) -> Profile:
    """The profile of a built box, with the goal that its mutation is about."""
    want = load_profile(profile_of(name))
    goal = GOALS.get(name.split("+")[-1])
    return want if goal is None else msgspec.structs.replace(want, goal=goal)


def judge_box(name: str) -> tuple[Verdict, str | None]:
    """The verdict on a built box by its profile, and the profile that detection finds."""
    facts = read_facts(host(build(name)))
    assert not facts.crashes, facts.crashes[0].traceback
    want = profile_for(name)
    name_slots(facts, want)
    return inspect_facts(facts, want, choose_checks([])), detect(facts).name


def row(name: str) -> dict[str, Any]:
    """The golden entry of one box: everything that is neither a pass nor a skip."""
    verdict, detected = judge_box(name)
    problems = [
        {
            "id": problem.id, "title": problem.title, "where": problem.where,
            "findings": sorted({_label(verdict, index) for index in problem.findings}),
        }
        for problem in verdict.problems
    ]
    loose = sorted({
        _label(verdict, index) for index, finding in enumerate(verdict.findings)
        if finding.problem is None and finding.outcome not in (Outcome.PASS, Outcome.SKIP)
    })
    return {
        "outcome": verdict.outcome.value, "exit": int(exit_code(verdict)), "detected": detected, "problems": problems,
        "loose": loose,
    }


def _label(verdict: Verdict, index: int) -> str:
    """`fail pcie.link-width PCIE3`, with a star on advisory findings."""
    finding = verdict.findings[index]
    star = "" if finding.blocker else "*"
    return f"{finding.outcome.value}{star} {finding.check} {finding.subject}"


SEVERAL = {
    "aer-firmware-raw-status": "the status register shows what nobody counted, and that nobody counts",
    "disk-full": "boot disk and array are two file systems",
}
"""Mutations that trip two causes, each with its reason."""


def strange(name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """What must not be so: a healthy change that trips a check, a fault that trips none, one cause told as several
    problems, a bad finding in no problem."""
    label = name.split("+")[-1]
    mutation = MUTATIONS[label] if "+" in name else None
    loose = [found for found in entry["loose"] if found.startswith(("fail", "marginal"))]
    bad = [*loose, *(found for problem in entry["problems"] for found in problem["findings"])]
    if (mutation is None or mutation.healthy) and bad:
        yield f"{name} is healthy and trips {bad}"
    if mutation is not None and not mutation.healthy and not bad:
        yield f"{name} trips nothing: {mutation.area}"
    if len(entry["problems"]) > 1 and label not in SEVERAL:
        yield f"{name} is told as several problems: {[problem['id'] for problem in entry['problems']]}"
    if loose:
        yield f"{name} has findings in no problem: {loose}"


def table() -> dict[str, dict[str, Any]]:
    return {name: row(name) for name in names()}


def fires() -> Mapping[str, dict[str, list[str]]]:
    """Check -> outcome -> boxes on which it comes out so, from the golden table."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, entry in json.loads(TABLE.read_text()).items():
        labels = [*entry["loose"], *(label for problem in entry["problems"] for label in problem["findings"])]
        for label in labels:
            outcome, check, _ = label.split(" ", 2)
            boxes = found.setdefault(check, {}).setdefault(outcome.rstrip("*"), [])
            if name not in boxes:
                boxes.append(name)
    return found


def page() -> str:
    discover()
    fired = fires()
    lines = [
        "<!-- Generated by python -m tests.boxes.verdicts. -->\n\n# Captures on which each check fires\n\n",
        "Built captures of `tests/boxes`: a healthy box, `+`, and what was changed in its bytes. Every check passes or "
        "does not apply on the healthy boxes.\n\n",
        "| check | fails or is marginal on |\n|---|---|\n",
    ]
    for id in sorted(id for id, check in CHECKS.items() if check.stress is None):
        boxes = [*fired.get(id, {}).get("fail", []), *fired.get(id, {}).get("marginal", [])]
        shown = ", ".join(f"`{name}`" for name in dict.fromkeys(boxes)) or "see the check's own test"
        lines.append(f"| `{id}` | {shown} |\n")
    return "".join(lines)


def _short(name: str) -> Iterator[str]:
    entry = row(name)
    note = MUTATIONS[name.split("+")[-1]].area if "+" in name else "healthy"
    yield f"{name}: {entry['outcome']} (exit {entry['exit']}), detected {entry['detected']}; {note}"
    for problem in entry["problems"]:
        yield f"  problem {problem['id']}: {problem['title']} | {problem['where']}"
        yield from (f"    {label}" for label in problem["findings"])
    yield from (f"  loose {label}" for label in entry["loose"])


def main() -> int:
    if sys.argv[1:] == ["--all"]:
        everywhere = [f"{base}+{name}" for name, mutation in MUTATIONS.items() for base in mutation.bases]
        said = [text for name in everywhere for text in strange(name, row(name))]
        print("\n".join([*said, f"{len(everywhere)} boxes, {len(said)} strange"]))
        return 1 if said else 0
    if len(sys.argv) > 1:
        for name in sys.argv[1:]:
            print("\n".join(_short(name)))
        return 0
    TABLE.write_text(json.dumps(table(), indent=1) + "\n")
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
