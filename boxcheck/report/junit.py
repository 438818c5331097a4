"""JUnit XML, as CI systems read it: a suite an area, a case a finding.

fail -> <failure>, unknown -> <error>, skip -> <skipped>; marginal, and what the profile does not require, -> passed
with a property and <system-out>.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC

from boxcheck.account import Account
from boxcheck.model import Finding, Outcome


def _attribute(text: str) -> str:
    from xml.sax.saxutils import quoteattr

    return quoteattr(_allowed(text))


def _allowed(text: str) -> str:
    """Characters that XML 1.0 allows (section 2.2)."""
    return "".join(
        character if character in "\t\n\r" or " " <= character <= "\ud7ff" or "\ue000" <= character <= "\ufffd"
        or character >= "\U00010000" else "?"
        for character in text
    )


def junit_xml(account: Account) -> str:
    from datetime import datetime

    by_area: dict[str, list[Finding]] = {}
    for finding in account.verdict.findings:
        by_area.setdefault(finding.check.split(".", 1)[0], []).append(finding)
    stamp = datetime.fromtimestamp(account.started, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    counts = Counter(_result(finding) for finding in account.verdict.findings)
    total = len(account.verdict.findings)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="boxcheck" tests="{total}" failures="{counts["failure"]}" errors="{counts["error"]}" '
        f'skipped="{counts["skipped"]}" time="{account.elapsed_seconds:.3f}">',
    ]
    for area, findings in by_area.items():
        here = Counter(map(_result, findings))
        lines.append(
            f'  <testsuite name={_attribute(area)} tests="{len(findings)}" failures="{here["failure"]}" '
            f'errors="{here["error"]}" skipped="{here["skipped"]}" timestamp="{stamp}" time="0" '
            f'hostname={_attribute(account.box)}>')
        for finding in findings:
            lines += _case(finding)
        lines.append("  </testsuite>")
    lines.append("</testsuites>")
    return "\n".join(lines) + "\n"


def _result(finding: Finding) -> str:
    """The element that JUnit has for it. What the profile does not require decides no build: a pass with a note."""
    if finding.outcome is Outcome.SKIP:
        return "skipped"
    if finding.blocker and finding.outcome in (Outcome.FAIL, Outcome.UNKNOWN):
        return "failure" if finding.outcome is Outcome.FAIL else "error"
    return "passed"


def _case(finding: Finding) -> list[str]:
    name = f"{finding.check.split('.', 1)[-1]}[{finding.subject}]"
    classname = f"boxcheck.{finding.check.split('.', 1)[0]}"
    lines = [f'    <testcase classname={_attribute(classname)} name={_attribute(name)} time="0">', "      <properties>"]
    properties = {"outcome": finding.outcome.value, "blocker": str(finding.blocker).lower()}
    if finding.measured is not None:
        properties["measured"] = f"{finding.measured.value} {finding.measured.unit}".strip()
    if finding.limit is not None:
        bound = finding.limit.must if finding.limit.must is not None else finding.limit.should
        properties["limit"] = f"{finding.limit.compare} {bound} {finding.limit.unit}".strip()
        properties["limit-source"] = finding.limit.source
    lines += [
        f"        <property name={_attribute(key)} value={_attribute(value)}/>" for key, value in properties.items()]
    lines.append("      </properties>")
    message = _attribute(finding.says)
    result = _result(finding)
    if result == "failure":
        lines.append(f"      <failure message={message} type={_attribute(finding.check)}/>")
    elif result == "error":
        lines.append(f"      <error message={message} type={_attribute(finding.check)}/>")
    elif result == "skipped":
        lines.append(f"      <skipped message={message}/>")
    elif finding.outcome is not Outcome.PASS:
        word = "marginal" if finding.outcome is Outcome.MARGINAL else f"not required, {finding.outcome.value}"
        lines.append(f"      <system-out>{_text(f'{word}: {finding.says}')}</system-out>")
    lines.append("    </testcase>")
    return lines


def _text(text: str) -> str:
    from xml.sax.saxutils import escape

    return escape(_allowed(text))
