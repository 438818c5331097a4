"""The last verdict, its findings and the counters behind it as metrics, for the textfile collector of node_exporter and
for anything that reads OpenMetrics.

Both formats are written at once, as far as they have the same words: node_exporter reads the text format of Prometheus
(0.0.4), which knows no `info` and no `stateset`, allows no time stamps in that place, and takes `# UNIT` and `# EOF`
for comments. So everything is a gauge, also what a run has counted: it begins anew with each run, as no counter may.

A file stays as it was written while boxcheck is not run: when the run ended is a metric of its own
(`boxcheck_finished_timestamp_seconds`), so that an alarm sees an old pass for what it is. What was not read has no
sample; `boxcheck_link_errors_known` says of which links the errors are known.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from boxcheck.certify.acceptance import Acceptance
from boxcheck.model import Finding, Outcome, Subject, Verdict, worst
from boxcheck.report.certified import settled
from boxcheck.store.texts import plain_line

if TYPE_CHECKING:
    from boxcheck.account import Account
    from boxcheck.report.judged_run import JudgedRun
    from boxcheck.stress.link_ledger import Direction

PREFIX = "boxcheck_"
MOST_FINDINGS = 500
"""Findings with a series of their own; the gravest first. How many were left out is a metric."""
MOST_DEVICES = 256
LONGEST_LABEL = 200
_VERDICTS = (Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL, Outcome.UNKNOWN)

Labels = Mapping[str, str]


class Metric(msgspec.Struct, frozen=True):
    """A gauge."""

    name: str
    """Without `boxcheck_`; ends in its unit, where it has one."""
    help: str
    samples: Sequence[tuple[Labels, float]]
    unit: str = ""


def run_openmetrics(
    path: str, profile: str | None = None, acceptance: Acceptance | None = None, strict: bool = False,
) -> str:
    """Of a stored run. StoreError, UsageError or ProfileError where it cannot be judged."""
    from boxcheck.report.judged_run import judge_stored

    judged = judge_stored(path, profile, acceptance, strict)
    return text_of(of_run(judged, directions_of(path, judged), acceptance), judged.run.info.kind or "run")


def account_openmetrics(account: Account) -> str:
    """Of one look of doctor."""
    return text_of(of_account(account), "doctor")


def text_of(metrics: Iterator[Metric] | Sequence[Metric], source: str) -> str:
    """The file. A metric without samples is left out. `source` is a label of every sample: node_exporter refuses two
    files with one sample, and a box may well have one of doctor and one of its last burn-in."""
    lines: list[str] = []
    for one in metrics:
        if not one.samples:
            continue
        name = f"{PREFIX}{one.name}"
        lines += [f"# HELP {name} {_escaped(one.help, quotes=False)}", f"# TYPE {name} gauge"]
        if one.unit:
            lines.append(f"# UNIT {name} {one.unit}")
        seen: set[str] = set()
        for labels, value in one.samples:
            inner = ",".join(f'{key}="{_label(text)}"' for key, text in {"source": source, **labels}.items())
            if inner not in seen:  # names that differ in what a label cannot hold
                seen.add(inner)
                lines.append(f"{name}{{{inner}}} {_number(value)}")
    return "\n".join([*lines, "# EOF"]) + "\n"


def _label(text: str) -> str:
    plain = plain_line(text.encode("utf-8", "replace").decode())
    return _escaped(plain if len(plain) <= LONGEST_LABEL else plain[: LONGEST_LABEL - 3] + "...")


def _escaped(text: str, quotes: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def of_run(
    judged: JudgedRun, directions: Sequence[Direction] = (), acceptance: Acceptance | None = None
) -> Iterator[Metric]:
    """The metrics of a stored run."""
    run, verdict = judged.run, judged.verdict
    outcome, code = settled(
        verdict.outcome, judged.exit_code, acceptance, verdict.findings, own=judged.own, strict=judged.strict)
    yield from _head(
        {"run": judged.id, "box": run.info.box, "version": run.info.version,
         "profile": judged.want.name, "profile_revision": str(judged.want.revision),
         "profile_sha256": judged.want.sha256}, verdict, outcome, code, run.started,
        judged.finished if run.state != "running" else None)
    yield Metric("run_state", "1 for the state that the run is in", [
        ({"state": state}, float(run.state == state)) for state in ("running", "finished", "stopped", "crashed")])
    if acceptance is not None:
        yield Metric("disposition", "1 for the disposition of the acceptance", [
            ({"disposition": one, "serial": acceptance.identity.serial,
              "with_waivers": str(acceptance.with_waivers).lower()}, float(one == acceptance.disposition))
            for one in ("PASS", "MARGINAL PASS", "FAIL", "INCOMPLETE", "ABORTED")])
        yield Metric("attempt", "which attempt of this box it is", [({}, float(acceptance.attempt))])
    yield from _findings(verdict.findings)
    yield from _links(directions)
    yield from _heat(judged)


def of_account(account: Account) -> Iterator[Metric]:
    """The metrics of doctor: the verdict, and the error counters of links since boot."""
    from boxcheck.judge import exit_code

    profile = account.profile
    yield from _head(
        {"box": account.box, "version": account.version,
         "profile": profile.name if profile else "", "profile_revision": str(profile.revision) if profile else "",
         "profile_sha256": profile.sha256 if profile else ""}, account.verdict, account.verdict.outcome,
        int(exit_code(account.verdict, strict=account.strict)), account.started, account.finished)
    yield from _findings(account.verdict.findings)
    yield from _counters(account)


def _head(
    info: Labels, verdict: Verdict, outcome: Outcome, code: int, started: float, finished: float | None,
) -> Iterator[Metric]:
    yield Metric("info", "what was judged, and by which limits", [(info, 1.0)])
    yield Metric("verdict", "1 for the verdict; all of them are there, so that an alarm can name one", [
        ({"outcome": one.value}, float(outcome is one)) for one in _VERDICTS])
    yield Metric("exit_code", "what boxcheck exits with: 0 passed, 1 failed, 3 incomplete, 4 broke, 5 lost or unsafe", [
        ({}, float(code))])
    yield Metric("started_timestamp_seconds", "when it began, seconds since 1970", [({}, started)], "seconds")
    if finished is not None:
        yield Metric("finished_timestamp_seconds", "when it ended: time() less this is the age of all of this", [
            ({}, finished)], "seconds")
    yield Metric("written_timestamp_seconds", "when this file was written", [({}, round(time.time(), 3))], "seconds")
    yield Metric("findings", "findings by outcome", [
        ({"outcome": one.value}, float(verdict.counts.get(one.value, 0))) for one in Outcome])
    yield Metric("problems", "causes that the findings come to", [({}, float(len(verdict.problems)))])


def _where(subject: Subject) -> dict[str, str]:
    return {"kind": subject.kind, "slot": subject.slot or "", "bdf": subject.bdf or "", "name": subject.name}


def _findings(findings: Sequence[Finding]) -> Iterator[Metric]:
    """Each check with its gravest outcome and how often it has each; each finding that is no pass with its place."""
    by_check: dict[str, list[Finding]] = {}
    for finding in findings:
        by_check.setdefault(finding.check, []).append(finding)
    yield Metric("check", "the gravest outcome of a check; how many findings it has is the value", [
        ({"check": check, "outcome": (worst(one.outcome for one in found) or Outcome.SKIP).value,
          "required": str(any(one.blocker for one in found)).lower()}, float(len(found)))
        for check, found in sorted(by_check.items())])
    bad = [one for one in findings if one.outcome not in (Outcome.PASS, Outcome.SKIP)]
    bad.sort(key=lambda one: (one.outcome.rank, not one.blocker, one.check))
    counted = Counter(
        tuple({"check": one.check, "outcome": one.outcome.value, "required": str(one.blocker).lower(),
               **_where(one.subject)}.items()) for one in bad[:MOST_FINDINGS])
    yield Metric("finding", "what is no pass, and where; the value is how often", [
        (dict(labels), float(number)) for labels, number in counted.items()])
    yield Metric("findings_left_out", "findings that have no series of their own, since there are too many", [
        ({}, float(max(0, len(bad) - MOST_FINDINGS)))])


def directions_of(path: str, judged: JudgedRun) -> tuple[Direction, ...]:
    """What crossed each link of a run and what was counted there; none of a run that has no ledger."""
    from boxcheck.engine.inspect import Facts, name_slots
    from boxcheck.engine.link_course import enter, ledger_of
    from boxcheck.engine.watch_judging import BEFORE, facts_in
    from boxcheck.store.reader import RunReader
    from boxcheck.store.results import results_of, watching_of

    with RunReader(path) as reader:
        facts = facts_in(reader, BEFORE) or Facts()
        name_slots(facts, judged.want)
        ledger = ledger_of(judged.phases, facts)
        if not ledger.where.hops:
            return ()
        for phase in judged.phases:
            if phase.plan.module:
                number = phase.plan.number
                enter(ledger, phase, results_of(reader, number, only_judged=True), watching_of(reader, number))
    return tuple(ledger.directions())


def _links(directions: Sequence[Direction]) -> Iterator[Metric]:
    from boxcheck.poisson import upper

    places = [
        ({"slot": one.hop.slot or "", "bdf": one.hop.port, "card": one.hop.card or "", "direction": one.toward}, one)
        for one in directions[: 2 * MOST_DEVICES]]
    known = [(where, one) for where, one in places if one.unread is None]
    yield Metric("link_payload_bits", "bits of verified payloads that crossed a link in the run", [
        (where, float(one.payload_bits)) for where, one in places], "bits")
    yield Metric("link_errors_known", "1 where somebody counts the errors of this direction, and they were read", [
        (where, float(one.unread is None)) for where, one in places])
    yield Metric("link_errors", "errors of this direction that were counted in the run, by kind; 0 where none was", [
        ({**where, "error": name, "counted_by": who}, float(errors.get(name, 0)))
        for where, one in known
        for who, names, errors in (("receiver", ("RxErr", "BadTLP", "BadDLLP"), one.received),
                                   ("sender", ("Rollover", "Timeout"), one.unanswered))
        for name in names])
    yield Metric("link_errors_at_least", "1 where there may have been more errors than were counted", [
        (where, float(bool(one.at_least))) for where, one in known])
    yield Metric("link_bit_error_rate_upper", "the bit error rate is below this at 95 %, by the bits of payloads", [
        (where, upper(one.errors) / one.payload_bits) for where, one in known
        if one.payload_bits and not one.at_least])


def _heat(judged: JudgedRun) -> Iterator[Metric]:
    """The most that each device showed over all phases."""
    heat: dict[tuple[str, ...], float] = {}
    power: dict[tuple[str, ...], float] = {}
    held: dict[tuple[str, ...], float] = {}
    for results, watching in zip(judged.judged.results, judged.judged.watching, strict=True):
        for info in results.gpus[:MOST_DEVICES]:
            place = (results.slots.get(info.key, ""), info.bdf or "", info.key)
            for sensor, value in watching.hottest_celsius.get(info.key, {}).items():
                heat[(*place, sensor)] = max(value, heat.get((*place, sensor), value))
            if (most := watching.most_watts.get(info.key)) is not None:
                power[place] = max(most, power.get(place, most))
            course = watching.courses.get(info.key)
            for reason, seconds in (course.throttle_seconds if course is not None else {}).items():
                held[(*place, reason)] = held.get((*place, reason), 0.0) + seconds

    def samples(found: Mapping[tuple[str, ...], float], more: str = "") -> list[tuple[Labels, float]]:
        names = ("slot", "bdf", "device", *([more] if more else []))
        return [(dict(zip(names, key, strict=True)), value) for key, value in sorted(found.items())]

    yield Metric("gpu_hottest_celsius", "the highest temperature in the run", samples(heat, "sensor"), "celsius")
    yield Metric("gpu_most_watts", "the highest power in the run", samples(power), "watts")
    yield Metric("gpu_held_down_seconds", "for how long something held the clock down in the run",
                 samples(held, "reason"), "seconds")


def _counters(account: Account) -> Iterator[Metric]:
    """The kernel's error counters since boot, of the functions on the way to a GPU: both ends of each link."""
    from boxcheck.probes.links import Links
    from boxcheck.probes.pcie_aer import Aer

    links = next((one for one in account.facts.values() if isinstance(one, Links)), None)
    aer = next((one for one in account.facts.values() if isinstance(one, Aer)), None)
    if links is None or aer is None:
        return
    errors: list[tuple[Labels, float]] = []
    known: list[tuple[Labels, float]] = []
    for link in list(links.links.values())[:MOST_DEVICES]:
        for end, direction in ((link.downstream, "host"), (link.upstream, "card")):
            if end is None:
                continue
            where = {"slot": link.slot or "", "bdf": end.bdf, "direction": direction}
            counters = aer.counters.get(end.bdf)
            groups = {} if counters is None else {
                "correctable": counters.correctable, "nonfatal": counters.nonfatal, "fatal": counters.fatal}
            counts = {word: one for word, one in groups.items() if isinstance(one, Mapping)}
            known.append((where, float(len(counts) == 3)))
            for severity, names in counts.items():
                errors += [
                    ({**where, "severity": severity, "error": name}, float(number)) for name, number in names.items()
                    if name != "TOTAL" and (number or name in ("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout"))]
    yield Metric("aer_errors_known", "1 where the kernel's error counters of this function were read", known)
    yield Metric("aer_errors", "errors since boot by the kernel; direction: which way arriving bits went", errors)
