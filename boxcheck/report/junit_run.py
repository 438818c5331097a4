"""A stored run as JUnit XML: a suite an area of checks, a case a finding; then the phases, then the verdict.

Written so that both schemas in use take it, that of Jenkins' xunit plugin (junit-10.xsd) and that of Ant
(windyroad/JUnit-Schema): they exclude each other's additions. So cases have no properties and no output of their own
(what was measured stands in the text of a failure, notes in the suite's system-out), and the root has no totals.

fail -> <failure>, unknown -> <error>, skip -> <skipped>; marginal, and what the profile does not require, pass with a
line in system-out. What a waiver answers for is <skipped>, which turns no build red and stays in sight. The case of the
verdict is red whenever the run exits with anything but 0; of the run of an acceptance, whenever that does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from boxcheck.certify.acceptance import Acceptance, Waiver
from boxcheck.certify.find_acceptance import says_alone
from boxcheck.certify.waivers import waiver_of
from boxcheck.model import Finding, Outcome
from boxcheck.report.certified import OUTCOMES, settled, waiver_line, word_of
from boxcheck.report.judged_run import JudgedRun, forced_in, judge_stored
from boxcheck.report.junit import _allowed, _attribute, _result, _text
from boxcheck.report.run_times import RunTimes, iso_ms
from boxcheck.store.rows import Phase
from boxcheck.store.texts import plain_line

_COUNTED = (("failure", "failures"), ("error", "errors"), ("skipped", "skipped"))


class Case(msgspec.Struct, frozen=True):
    area: str
    name: str
    seconds: float = 0.0
    result: str = "passed"
    """`passed`, `failure`, `error` or `skipped`."""
    says: str = ""
    type: str = ""
    text: str = ""
    """More than the message, in lines."""
    note: str = ""
    """A line in the suite's system-out."""


class Suite(msgspec.Struct, frozen=True):
    name: str
    cases: Sequence[Case]
    started: float
    properties: Mapping[str, str] = {}


def run_junit(path: str, profile: str | None = None, acceptance: Acceptance | None = None, strict: bool = False) -> str:
    """The document. StoreError, UsageError or ProfileError where the run cannot be judged."""
    return junit_of(judge_stored(path, profile, acceptance, strict), acceptance)


def junit_of(judged: JudgedRun, acceptance: Acceptance | None = None) -> str:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for id, suite in enumerate(_suites(judged, acceptance)):
        lines += _lines(id, suite, judged)
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _suites(judged: JudgedRun, acceptance: Acceptance | None) -> Iterator[Suite]:
    started = judged.run.started
    waivers = acceptance.waivers if acceptance is not None and judged.own else ()
    by_area: dict[str, list[Finding]] = {}
    for finding in judged.verdict.findings:
        by_area.setdefault(finding.check.split(".", 1)[0], []).append(finding)
    for area, findings in sorted(by_area.items()):
        yield Suite(area, _named([_case(area, one, waivers, judged.strict) for one in findings]), started)
    phases = [_phase(one) for one in judged.phases]
    if phases:
        yield Suite("phases", _named(phases), started)
    yield Suite("verdict", [_verdict(judged, acceptance)], started, properties_of(judged, acceptance))


def properties_of(judged: JudgedRun, acceptance: Acceptance | None) -> dict[str, str]:
    """What the run is: who, what, when, by which limits."""
    run, verdict = judged.run, judged.verdict
    outcome, code = settled(
        verdict.outcome, judged.exit_code, acceptance, verdict.findings, own=judged.own, strict=judged.strict)
    found = {
        "run": judged.id, "kind": run.info.kind, "state": run.state, "box": run.info.box, "tool": "boxcheck",
        "version": run.info.version, "commit": run.info.commit or "", "profile": judged.want.name,
        "profile-revision": str(judged.want.revision), "profile-sha256": judged.want.sha256,
        "profile-forced": forced_in(run),
        "started": RunTimes(run).iso(0.0), "finished": iso_ms(judged.finished),
        "seconds": f"{judged.judged.seconds:.3f}", "outcome": outcome.value,
        "exit-code": str(code)}
    found |= {f"count-{name}": str(number) for name, number in sorted(verdict.counts.items())}
    if acceptance is None:
        found["not-an-acceptance"] = says_alone(run)
    else:
        who = acceptance.identity
        found |= {
            "report": acceptance.id, "disposition": acceptance.disposition,
            "attempt": f"{acceptance.attempt} of {acceptance.attempts}", "serial": who.serial,
            "serial-from": who.serial_from, "work-order": who.work_order, "operator": who.operator,
            "station": who.station, "with-waivers": str(acceptance.with_waivers).lower(),
            "self-signed": str(acceptance.self_signed).lower(), "verdict-string": acceptance.verdict_string}
        found |= {f"riser-{slot}": label for slot, label in sorted(who.risers.items())}
        found |= {f"more-{name}": value for name, value in sorted(who.more.items())}
    return {name: value for name, value in found.items() if value}


def _case(area: str, finding: Finding, waivers: Sequence[Waiver], strict: bool) -> Case:
    result = _result(finding, strict)
    lines = [finding.says]
    if finding.measured is not None:
        lines.append(f"measured: {finding.measured.value} {finding.measured.unit}".rstrip())
    if (limit := finding.limit) is not None:
        bounds = [f"{word} {limit.compare} {value} {limit.unit}".rstrip()
                  for word, value in (("must", limit.must), ("should", limit.should)) if value is not None]
        lines.append(f"limit: {limit.name}: {', '.join(bounds)} (from {limit.source or 'nowhere named'})")
    lines += [f"help: {step}" for step in finding.help]
    name = f"{finding.check.split('.', 1)[-1]}[{finding.subject}]"
    if finding.blocker and (waiver := waiver_of(finding, waivers)) is not None:
        return Case(area, name, 0.0, "skipped", f"waived: {finding.says} ({waiver_line(waiver)})")
    note = ""
    if result == "passed" and finding.outcome is not Outcome.PASS:
        word = "marginal" if finding.outcome is Outcome.MARGINAL else f"not required, {finding.outcome.value}"
        note = f"{name}: {word}: {finding.says}"
    return Case(area, name, 0.0, result, finding.says, finding.check, "\n".join(lines), note)


def _phase(phase: Phase) -> Case:
    """Whether it came to its end; what it found are findings."""
    plan = phase.plan
    name = plan.name if plan.module in ("", plan.name) else f"{plan.name} ({plan.module})"
    seconds = phase.ended.seconds - phase.started.seconds if phase.ended and phase.started else 0.0
    if phase.state == "ended":
        stopped = phase.end is not None and phase.end.results is not None and phase.end.results.stopped
        if not stopped:
            return Case("phases", name, seconds)
        return Case("phases", name, seconds, "error", "it was stopped before its end", "phase.stopped")
    if phase.state == "cut":
        return Case("phases", name, seconds, "error", "the run went down while it ran", "phase.cut")
    return Case("phases", name, seconds, "skipped", f"it was not run: {phase.state}")


def _verdict(judged: JudgedRun, acceptance: Acceptance | None) -> Case:
    verdict = judged.verdict
    says = verdict.reason
    if judged.run.state != "finished":
        why = judged.run.end.reason if judged.run.end and judged.run.end.reason else ""
        says = f"{says}; the run is {judged.run.state}{f': {why}' if why else ''}"
    outcome, code = settled(
        verdict.outcome, judged.exit_code, acceptance, verdict.findings, own=judged.own, strict=judged.strict)
    if acceptance is not None:
        told = f"{word_of(acceptance)}: {acceptance.reason}"
        same = judged.own and outcome is OUTCOMES[acceptance.disposition]
        says = told if same else f"{told}; the run by profile {judged.want.name}: {says}"
    result = "passed" if code == 0 else "failure" if outcome is Outcome.FAIL else "error"
    if acceptance is None and (alone := says_alone(judged.run)):
        says = f"{says}; {alone}"
        result = "skipped" if result == "passed" else result
    return Case("verdict", "box", judged.judged.seconds, result, says, "verdict",
                "\n".join([says, *(f"problem: {one.title}" for one in verdict.problems)]),
                "\n".join(filter(None, (says, judged.told))))


def _named(cases: Sequence[Case]) -> list[Case]:
    """Each name once: what is found in two phases, or named alike, gets a number. CI systems take cases of one name for
    one."""
    seen: Counter[str] = Counter()
    found = []
    for case in cases:
        seen[case.name] += 1
        number = seen[case.name]
        found.append(case if number == 1 else msgspec.structs.replace(case, name=f"{case.name} #{number}"))
    return found


def _lines(id: int, suite: Suite, judged: JudgedRun) -> Iterator[str]:
    counts = Counter(case.result for case in suite.cases)
    tally = " ".join(f'{word}="{counts[kind]}"' for kind, word in _COUNTED)
    host = plain_line(judged.run.info.host or judged.run.info.box).strip() or "localhost"
    yield (
        f'  <testsuite name={_attribute(suite.name)} package="boxcheck" id="{id}" tests="{len(suite.cases)}" {tally} '
        f'timestamp="{iso_ms(suite.started)[:19]}" time="{sum(case.seconds for case in suite.cases):.3f}" '
        f'hostname={_attribute(host)}>')
    yield "    <properties>"
    for name, value in suite.properties.items():
        yield f"      <property name={_attribute(_token(name))} value={_attribute(value)}/>"
    yield "    </properties>"
    for case in suite.cases:
        yield from _case_lines(case)
    notes = [case.note for case in suite.cases if case.note]
    yield f"    <system-out>{_text(chr(10).join(notes))}</system-out>"
    yield "    <system-err></system-err>"
    yield "  </testsuite>"


def _case_lines(case: Case) -> Iterator[str]:
    head = (
        f"    <testcase classname={_attribute(f'boxcheck.{case.area}')} name={_attribute(case.name)} "
        f'time="{max(0.0, case.seconds):.3f}"')
    if case.result == "passed":
        yield f"{head}/>"
        return
    yield f"{head}>"
    if case.result == "skipped":
        yield f"      <skipped message={_attribute(case.says)}/>"
    else:
        yield (
            f"      <{case.result} message={_attribute(case.says)} type={_attribute(case.type or case.result)}>"
            f"{_text(case.text)}</{case.result}>")
    yield "    </testcase>"


def _token(text: str) -> str:
    """A name, which must not be empty."""
    return " ".join(_allowed(text).split()) or "?"
