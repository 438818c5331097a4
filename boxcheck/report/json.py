"""JSON: one object a run (`boxcheck.run/1`), one line a finding (`boxcheck.line/1`), the facts (`boxcheck.facts/1`).

Schemas: docs/reference/run.schema.json, line.schema.json and facts.schema.json. Additive changes only within /1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

import msgspec

from boxcheck.account import Account
from boxcheck.engine.inspect import Facts
from boxcheck.host import Host
from boxcheck.model import Finding, Limit, Unread
from boxcheck.report.facts import facts_object

RUN_SCHEMA = "boxcheck.run/1"
LINE_SCHEMA = "boxcheck.line/1"


def _iso(seconds: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _limit(limit: Limit | None) -> dict[str, Any] | None:
    if limit is None:
        return None
    found: dict[str, Any] = {"name": limit.name, "unit": limit.unit, "source": limit.source}
    if limit.must is not None:
        found[limit.compare] = limit.must
    if limit.should is not None:
        found[f"should_{limit.compare}"] = limit.should
    return found


def finding_object(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "subject": {
            "kind": finding.subject.kind, "slot": finding.subject.slot, "bdf": finding.subject.bdf,
            "name": finding.subject.name,
        },
        "outcome": finding.outcome.value, "says": finding.says,
        "measured": None if finding.measured is None else {
            "value": finding.measured.value, "unit": finding.measured.unit},
        "limit": _limit(finding.limit), "blocker": finding.blocker, "evidence": list(finding.evidence),
        "help": list(finding.help), "notes": list(finding.notes), "problem": finding.problem,
        "needs_root": finding.needs_root,
    }


def run_object(account: Account, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The object of docs/reference/run.schema.json."""
    verdict = account.verdict
    found: dict[str, Any] = {
        "schema": RUN_SCHEMA,
        "tool": {"name": "boxcheck", "version": account.version, "commit": account.commit},
        "started": _iso(account.started), "finished": _iso(account.finished),
        "origin": account.origin, "box": account.box, "stage": "inspect",
        "profile": None if account.profile is None else {
            "name": account.profile.name, "revision": account.profile.revision, "sha256": account.profile.sha256,
            "why": account.profile_why, "goal": account.goal,
            "own_goal": account.own_goal,
        },
        "strict": account.strict,
        "verdict": {
            "outcome": verdict.outcome.value, "reason": verdict.reason, "counts": dict(verdict.counts),
            "crashed": verdict.crashed, "device_lost": verdict.device_lost, "partial": verdict.partial,
            "not_run": verdict.not_run,
        },
        "findings": [finding_object(finding) for finding in verdict.findings],
        "problems": [
            {
                "id": problem.id, "title": problem.title, "where": problem.where, "outcome": problem.outcome.value,
                "findings": list(problem.findings), "help": list(problem.help), "not": list(problem.not_),
            }
            for problem in verdict.problems
        ],
        "needs_root": list(account.needs_root),
        "crashes": [{"where": crash.where, "traceback": crash.traceback} for crash in account.crashes],
        "complaints": list(account.complaints),
    }
    if facts is not None:
        found["facts"] = facts
    return found


def run_json(account: Account, *, with_facts: bool) -> str:
    facts = facts_object(account.facts) if with_facts else None
    return msgspec.json.format(msgspec.json.encode(run_object(account, facts)), indent=1).decode()


def run_lines(account: Account) -> Iterator[str]:
    """JSONL: a start, one line a finding, one a problem, an end. Each line stands alone."""
    whole = run_object(account)
    head = {
        "schema": LINE_SCHEMA, "type": "start",
        **{key: whole[key] for key in ("tool", "started", "origin", "box", "profile", "strict")},
    }
    yield msgspec.json.encode(head).decode()
    for finding in whole["findings"]:
        yield msgspec.json.encode({"schema": LINE_SCHEMA, "type": "finding", **finding}).decode()
    for problem in whole["problems"]:
        yield msgspec.json.encode({"schema": LINE_SCHEMA, "type": "problem", **problem}).decode()
    yield msgspec.json.encode(
        {"schema": LINE_SCHEMA, "type": "end", "finished": whole["finished"], "verdict": whole["verdict"]}
    ).decode()


def facts_json(facts: Facts, host: Host) -> str:
    """The object of docs/reference/facts.schema.json."""
    found = {"schema": "boxcheck.facts/1", "origin": host.origin, **facts_object(facts.by_name())}
    return msgspec.json.format(msgspec.json.encode(found, enc_hook=_encode), indent=1).decode()


def _encode(value: object) -> Any:
    if isinstance(value, Unread):
        return {"type": "unread", "why": value.why, "kind": value.kind}
    raise TypeError(f"{type(value).__name__} is no JSON value")
