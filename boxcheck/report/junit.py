"""JUnit XML, as CI systems read it: a suite an area, a case a finding.

fail -> <failure>, unknown -> <error>, skip -> <skipped>; marginal, and what the profile does not require, -> passed
with a property and <system-out>. With --strict, marginal and required -> <failure>. The last suite holds one case, the
verdict: without it a run that passed nothing but what somebody chose, or that no profile could judge, would be all
green.
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
    counts = Counter(_result(finding, account.strict) for finding in account.verdict.findings)
    verdict, result = _verdict(account)
    counts[result] += 1
    total = len(account.verdict.findings) + 1
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="boxcheck" tests="{total}" failures="{counts["failure"]}" errors="{counts["error"]}" '
        f'skipped="{counts["skipped"]}" time="{account.elapsed_seconds:.3f}">',
    ]
    for area, findings in by_area.items():
        here = Counter(_result(finding, account.strict) for finding in findings)
        lines.append(
            f'  <testsuite name={_attribute(area)} tests="{len(findings)}" failures="{here["failure"]}" '
            f'errors="{here["error"]}" skipped="{here["skipped"]}" timestamp="{stamp}" time="0" '
            f'hostname={_attribute(account.box)}>')
        for finding in findings:
            lines += _case(finding, account.strict)
        lines.append("  </testsuite>")
    tally = " ".join(f'{word}="{int(result == kind)}"' for kind, word in _COUNTED)
    lines += [
        f'  <testsuite name="verdict" tests="1" {tally} timestamp="{stamp}" time="0" '
        f'hostname={_attribute(account.box)}>', *verdict, "  </testsuite>", "</testsuites>"]
    return "\n".join(lines) + "\n"


_COUNTED = (("failure", "failures"), ("error", "errors"), ("skipped", "skipped"))


def _verdict(account: Account) -> tuple[list[str], str]:
    """The case of the verdict, and its element. A subset that passed is skipped, neither green nor red: it is no
    verdict."""
    verdict = account.verdict
    result = "skipped" if verdict.partial else {
        Outcome.FAIL: "failure", Outcome.UNKNOWN: "error"}.get(verdict.outcome, "passed")
    said = _attribute(verdict.reason)
    element = {
        "failure": f'      <failure message={said} type="verdict"/>',
        "error": f'      <error message={said} type="verdict"/>', "skipped": f"      <skipped message={said}/>",
        "passed": f"      <system-out>{_text(verdict.reason)}</system-out>",
    }
    return ['    <testcase classname="boxcheck.verdict" name="box" time="0">', "      <properties>",
            f'        <property name="outcome" value="{verdict.outcome.value}"/>', "      </properties>",
            element[result], "    </testcase>"], result


def _result(finding: Finding, strict: bool) -> str:
    """The element that JUnit has for it. What the profile does not require decides no build: a pass with a note."""
    if finding.outcome is Outcome.SKIP:
        return "skipped"
    if finding.blocker and finding.outcome in (Outcome.FAIL, Outcome.UNKNOWN):
        return "failure" if finding.outcome is Outcome.FAIL else "error"
    if finding.blocker and strict and finding.outcome is Outcome.MARGINAL:
        return "failure"
    return "passed"


def _case(finding: Finding, strict: bool) -> list[str]:
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
    result = _result(finding, strict)
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
