"""OCP Test & Validation JSONL, schema 2.0: a check is a step, a finding a measurement and a diagnosis.

Source: opencomputeproject/ocp-diag-core, json_spec/output. Mapping: docs/reference/ocptv-mapping.md. Written directly
rather than through the `ocptv` library, which stamps each line with the time of writing; a run that is rendered later
must carry its own times.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import msgspec

from boxcheck.account import Account
from boxcheck.model import Finding, Limit, Outcome, Subject

_VALIDATORS = {"ge": "GREATER_THAN_OR_EQUAL", "le": "LESS_THAN_OR_EQUAL", "eq": "EQUAL"}
_TYPES = {Outcome.PASS: "PASS", Outcome.MARGINAL: "PASS", Outcome.FAIL: "FAIL", Outcome.UNKNOWN: "UNKNOWN"}
_VERDICTS = {
    Outcome.PASS: "as-required", Outcome.MARGINAL: "marginal", Outcome.FAIL: "not-as-required",
    Outcome.UNKNOWN: "unread",
}


def ocptv_lines(account: Account) -> Iterator[str]:
    """The lines of one run, numbered and stamped with the run's own times."""
    from datetime import datetime

    def stamp(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    start, end = stamp(account.started), stamp(account.finished)
    for number, artifact in enumerate(_artifacts(account)):
        last = "testRunArtifact" in artifact and "testRunEnd" in artifact["testRunArtifact"]
        line = {**artifact, "sequenceNumber": number, "timestamp": end if last else start}
        yield msgspec.json.encode(line).decode()


def _artifacts(account: Account) -> Iterator[dict[str, Any]]:
    yield {"schemaVersion": {"major": 2, "minor": 0}}
    hardware, ids = _hardware(account)
    profile = account.profile
    yield {"testRunArtifact": {"testRunStart": {
        "name": "boxcheck doctor", "version": account.version, "commandLine": " ".join(sys.argv),
        "parameters": {
            "profile": profile.name if profile else None, "profile_revision": profile.revision if profile else None,
            "profile_sha256": profile.sha256 if profile else None, "goal": account.goal, "stage": "inspect",
            "strict": account.strict,
        },
        "dutInfo": {
            "dutInfoId": "box", "name": account.box or "unnamed", "hardwareInfos": hardware,
            "softwareInfos": [{"softwareInfoId": "boxcheck", "name": "boxcheck", "version": account.version,
                               "softwareType": "APPLICATION"}],
        },
    }}}
    by_check: dict[str, list[Finding]] = {}
    for finding in account.verdict.findings:
        by_check.setdefault(finding.check, []).append(finding)
    for number, (check, findings) in enumerate(by_check.items()):
        yield from _step(str(number), check, findings, ids, account.strict)
    yield {"testRunArtifact": {"log": {"severity": _severity(account), "message": account.verdict.reason}}}
    yield {"testRunArtifact": {"testRunEnd": _end(account)}}


def _severity(account: Account) -> str:
    return {Outcome.FAIL: "ERROR", Outcome.PASS: "INFO"}.get(account.verdict.outcome, "WARNING")


def _end(account: Account) -> dict[str, str]:
    outcome = account.verdict.outcome
    if outcome in (Outcome.PASS, Outcome.MARGINAL):
        return {"status": "COMPLETE", "result": "PASS"}
    if outcome is Outcome.FAIL:
        return {"status": "COMPLETE", "result": "FAIL"}
    if account.verdict.partial:
        return {"status": "SKIP", "result": "NOT_APPLICABLE"}
    return {"status": "ERROR", "result": "NOT_APPLICABLE"}


def _hardware(account: Account) -> tuple[list[dict[str, str]], dict[tuple[str, str], str]]:
    """Parts that findings are about, and the id of each."""
    found: list[dict[str, str]] = []
    ids: dict[tuple[str, str], str] = {}
    for finding in account.verdict.findings:
        key = _part(finding.subject)
        if key in ids:
            continue
        ids[key] = str(len(found))
        part = {"hardwareInfoId": ids[key], "name": str(finding.subject), "partType": finding.subject.kind}
        place = finding.subject.slot or finding.subject.bdf
        if place:
            part["location"] = place
        found.append(part)
    return found, ids


def _part(subject: Subject) -> tuple[str, str]:
    return subject.kind, subject.bdf or subject.slot or subject.name


def _decides(finding: Finding) -> bool:
    """Whether a run that passes may not hold this finding as a diagnosis: a reader takes one FAIL for a failed run."""
    return finding.blocker or finding.outcome in (Outcome.PASS, Outcome.MARGINAL)


def _step(
    step: str, check: str, findings: list[Finding], ids: dict[tuple[str, str], str], strict: bool,
) -> Iterator[dict[str, Any]]:
    """A check as a step. Parts that have no id in `ids` are named in the messages alone."""
    def artifact(**content: Any) -> dict[str, Any]:
        return {"testStepArtifact": {"testStepId": step, **content}}

    yield artifact(testStepStart={"name": check})
    for finding in findings:
        hardware = {"hardwareInfoId": id} if (id := ids.get(_part(finding.subject))) is not None else {}
        if finding.measured is not None:
            measurement: dict[str, Any] = {
                "name": check, "value": finding.measured.value, "unit": finding.measured.unit,
                **hardware, "validators": _validators(finding.limit, finding.measured.unit),
            }
            yield artifact(measurement=measurement)
        if finding.outcome is Outcome.SKIP:
            yield artifact(log={"severity": "INFO", "message": f"skipped: {finding.says}"})
            continue
        if not _decides(finding):
            yield artifact(log={
                "severity": "WARNING", "message": f"not required, {finding.outcome.value}: {finding.says}"})
        else:
            if finding.outcome is Outcome.UNKNOWN:
                yield artifact(error={"symptom": "unread", "message": finding.says, "softwareInfoIds": []})
            fails = strict and finding.blocker and finding.outcome is Outcome.MARGINAL
            yield artifact(diagnosis={
                "verdict": f"{check.replace('.', '-')}-{_VERDICTS[finding.outcome]}",
                "type": "FAIL" if fails else _TYPES[finding.outcome],
                "message": finding.says, **hardware,
            })
        yield artifact(extension={"name": "boxcheck", "content": {
            "outcome": finding.outcome.value, "blocker": finding.blocker, "problem": finding.problem,
        }})
    outcomes = {finding.outcome for finding in findings}
    unread = any(finding.blocker and finding.outcome is Outcome.UNKNOWN for finding in findings)
    status = "SKIP" if outcomes == {Outcome.SKIP} else "ERROR" if unread else "COMPLETE"
    yield artifact(testStepEnd={"status": status})


def _validators(limit: Limit | None, unit: str) -> list[dict[str, Any]]:
    """The limit as validators. Sets have no place in the schema's values; they stand in the message. So does a limit in
    another unit than what was measured (errors against errors a bit): a validator would compare the bare numbers."""
    if limit is None or limit.compare not in _VALIDATORS or limit.unit != unit:
        return []
    return [
        {"name": f"{name} {limit.name}", "type": _VALIDATORS[limit.compare], "value": value,
         "metadata": {"source": limit.source}}
        for name, value in (("must", limit.must), ("should", limit.should)) if value is not None
    ]
