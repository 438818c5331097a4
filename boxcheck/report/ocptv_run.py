"""A run as OCP Test & Validation JSONL: as it happens, or afterwards from its store. Both give the same artifacts.

Mapping: docs/reference/ocptv-mapping.md. A phase is a step, which begins when it is said that it is about to run: its
telemetry as measurement series, what happened in it as logs, its troubles as errors, its rates as measurements. When
the run is over each check is a step, with measurements and diagnoses: a finding of a phase may be followed by another,
and a diagnosis that was written cannot be taken back.

Every time stamp is one of the run. Live, lines come in the order in which the store had them; rendered, in the order of
time. A stream without `testRunEnd` was cut off: what is in it happened, and the store has the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge
from operator import itemgetter
from typing import Any

import msgspec

from boxcheck.certify.acceptance import Acceptance, Identity
from boxcheck.certify.find_acceptance import attempt_of, says_alone
from boxcheck.engine.figures import rates_of
from boxcheck.engine.stream import MINUTE_SECONDS
from boxcheck.model import Finding, Outcome, Verdict
from boxcheck.report.certified import waiver_line
from boxcheck.report.judged_run import forced_in, id_of, judge_stored
from boxcheck.report.ocptv import _decides, _step
from boxcheck.report.ocptv_parts import Parts
from boxcheck.report.ocptv_series import KINDS, Element, Series, Told, every_seconds
from boxcheck.report.run_times import RunTimes
from boxcheck.report.units import unit_of
from boxcheck.store.reader import RunReader
from boxcheck.store.results import results_of
from boxcheck.store.rows import Event, Phase, Run, step_seconds, steps_of

SEVERITIES = {"info": "INFO", "warn": "WARNING", "fail": "ERROR"}
_OUTCOMES = {Outcome.FAIL: "ERROR", Outcome.UNKNOWN: "WARNING", Outcome.MARGINAL: "WARNING"}
READINGS_SECONDS = 5.0
"""Between two looks at the readings of a phase that goes on."""
Artifact = dict[str, Any]
Timed = tuple[float, int, int, Artifact]
"""Age, phase, order within one moment, artifact."""


def run_ocptv(
    path: str, profile: str | None = None, acceptance: Acceptance | None = None, strict: bool = False,
) -> Iterator[str]:
    """The lines of a stored run, each ended by a line feed. StoreError, UsageError or ProfileError where it cannot be
    judged."""
    judged = judge_stored(path, profile, acceptance, strict)
    stream = OcptvStream(
        judged.strict, by_profile=None if profile is None else judged.want.name, decided=lambda: acceptance,
        attempt=None if acceptance is None else attempt_parameters(
            acceptance.id, acceptance.identity, acceptance.attempt, acceptance.attempts, acceptance.self_signed))
    with RunReader(path) as reader:
        run, phases = reader.run(), reader.phases()
        for line in stream.lines(reader, run, phases, tuple(reader.events())):
            yield f"{line}\n"
    if run.state != "running":  # else there is no end yet
        for line in stream.end(run, judged.verdict, None):
            yield f"{line}\n"


def attempt_parameters(
    id: str, identity: Identity, attempt: int, attempts: int, self_signed: bool = False,
) -> dict[str, Any]:
    """What the first lines say of the acceptance that a run is the load of."""
    return {"id": id, **msgspec.to_builtins(identity), "attempt": attempt, "attempts": attempts,
            "self_signed": self_signed}


class _Open:
    """A step that a phase is."""

    def __init__(self, every: float) -> None:
        self.series = Series(every)
        self.counts: dict[str, int] = {}
        """Elements by series."""
        self.newest = 0
        """Number of the last reading that was told."""
        self.read = float("-inf")
        """When its readings were looked at last (CLOCK_MONOTONIC)."""
        self.last = 0.0
        """Age of what came last."""


class OcptvStream:
    """Makes the lines of a run. As boxcheck.engine.stream.Stream: `look` for what is new, `end` at last."""

    def __init__(
        self, strict: bool = False, by_profile: str | None = None, attempt: Mapping[str, Any] | None = None,
        decided: Callable[[], Acceptance | None] = lambda: None,
    ) -> None:
        """`attempt`: of an acceptance, by `attempt_parameters`. `decided` gives that acceptance when the run is over,
        None where there is none, or where it is not over."""
        self._strict, self._by_profile, self._attempt, self._decided = strict, by_profile, attempt, decided
        self._number = 0
        self._parts: Parts | None = None
        self._times: RunTimes | None = None
        self._every = 1.0
        self._open: dict[int, _Open] = {}
        self._closed: set[int] = set()
        self._early: list[Event] = []
        """Events from before the first line could be written."""
        self._last = 0.0
        """Age of what was written last."""

    def look(self, reader: RunReader, run: Run, phases: Sequence[Phase], news: Sequence[Event]) -> list[str]:
        """The lines that are new."""
        return list(self.lines(reader, run, phases, news))

    def lines(self, reader: RunReader, run: Run, phases: Sequence[Phase], news: Sequence[Event]) -> Iterator[str]:
        """The same one by one, read as they are asked for."""
        self._times = RunTimes(run)
        events = [*self._early, *news]
        if self._parts is None:
            if run.state == "running" and all(one.about is None for one in phases):
                self._early = events  # the capture that names the parts is not there yet
                return
            self._early = []
            self._parts = Parts(reader, run)
            self._every = every_seconds(_planned(run))
            for one in self._beginning(run):
                yield self._line(0.0, one)
        found: list[Iterator[Timed]] = []
        for phase in phases:
            begin = phase.about or phase.started
            if begin is None or phase.plan.number in self._closed:
                continue
            end = _ended_at(phase, run)
            own = [one for one in events if one.phase == phase.plan.number and (end is None or one.at.seconds <= end)]
            events = [one for one in events if one not in own]
            found.append(self._phase(reader, phase, begin.seconds, end, own))
        found.append((one.at.seconds, 0, 1, {"testRunArtifact": {"log": _event(one)}}) for one in events)
        for at, _, _, artifact in merge(*found, key=itemgetter(0, 1, 2)):
            yield self._line(at, artifact)

    def end(self, run: Run, verdict: Verdict, history: Any = None) -> list[str]:
        """The last lines: each check as a step, the verdict, the end."""
        parts = self._parts
        at = run.end.at.seconds if run.end else self._last
        if parts is None:
            return []
        by_check: dict[str, list[Finding]] = {}
        for finding in verdict.findings:
            by_check.setdefault(finding.check, []).append(finding)
        ids = parts.of_findings(verdict.findings)
        artifacts: list[Artifact] = []
        for number, (check, findings) in enumerate(sorted(by_check.items())):
            artifacts += _step(f"check-{number}", check, findings, ids, self._strict)
        artifacts += [{"testRunArtifact": {"log": {"severity": "ERROR", "message": _problem(one)}}}
                      for one in verdict.problems]
        told = self._decided()
        alone = "" if told is not None else says_alone(run)
        if alone:
            artifacts.append({"testRunArtifact": {"log": {"severity": "WARNING", "message": alone}}})
        if told is not None:
            waived = " (with waivers)" if told.with_waivers else ""
            artifacts.append({"testRunArtifact": {"log": {
                "severity": "WARNING" if told.exit_code else "INFO",
                "message": f"disposition: {told.disposition}{waived}: {told.reason}"}}})
            artifacts += [{"testRunArtifact": {"log": {"severity": "WARNING", "message": f"waiver {waiver_line(one)}"}}}
                          for one in told.waivers if one.state == "used"]
            if told.with_waivers and verdict.outcome is Outcome.FAIL:
                artifacts.append({"testRunArtifact": {"log": {"severity": "WARNING", "message": WAIVED}}})
        artifacts.append({"testRunArtifact": {"log": {
            "severity": _OUTCOMES.get(verdict.outcome, "INFO"), "message": verdict.reason}}})
        artifacts.append({"testRunArtifact": {"testRunEnd": _result(run, verdict, told, bool(alone))}})
        return [self._line(at, one) for one in artifacts]

    def _line(self, at: float, artifact: Artifact) -> str:
        assert self._times is not None
        self._last = max(self._last, at)
        line = {**artifact, "sequenceNumber": self._number, "timestamp": self._times.iso(at)}
        self._number += 1
        return msgspec.json.encode(line).decode()

    def _beginning(self, run: Run) -> Iterator[Artifact]:
        assert self._parts is not None
        profile, plan = run.info.profile, run.info.plan if isinstance(run.info.plan, dict) else {}
        parameters: dict[str, Any] = {
            "run": id_of(run.path), "kind": run.info.kind, "plan": plan.get("name"), "stage": "stress",
            "profile": profile.name if profile else None, "profile_revision": profile.revision if profile else None,
            "profile_sha256": profile.sha256 if profile else None, "strict": self._strict,
            "series_seconds": self._every}
        if forced := forced_in(run):
            parameters["profile_forced"] = forced
        if self._by_profile is not None:
            parameters["judged_by_profile"] = self._by_profile
        if self._attempt is not None:
            parameters["acceptance"] = dict(self._attempt)
        elif attempt := attempt_of(run):
            parameters["attempt"] = attempt
        yield {"schemaVersion": {"major": 2, "minor": 0}}
        yield {"testRunArtifact": {"testRunStart": {
            "name": f"boxcheck {run.info.kind or 'run'}", "version": run.info.version,
            "commandLine": f"boxcheck {run.info.kind or 'run'}", "parameters": parameters,
            "dutInfo": {"dutInfoId": "box", "name": run.info.box or "unnamed",
                        "hardwareInfos": self._parts.infos, "softwareInfos": self._parts.software}}}}

    def _phase(
        self, reader: RunReader, phase: Phase, begin: float, end: float | None, events: Sequence[Event],
    ) -> Iterator[Timed]:
        """What is new of a phase that has begun. `end`: when it was over; None while it goes on."""
        number = phase.plan.number
        step = self._open.get(number)
        if step is None:
            step = self._open[number] = _Open(self._every)
            step.last = begin
            name = phase.plan.name if phase.plan.module in ("", phase.plan.name) else (
                f"{phase.plan.name} ({phase.plan.module})")
            yield begin, number, 0, _in_step(number, testStepStart={"name": name})
        happened = [(max(begin, one.at.seconds), number, 1, _in_step(number, log=_event(one))) for one in events]
        step.last = max(step.last, *(at for at, *_ in happened)) if happened else step.last
        yield from merge(happened, self._readings(reader, number, step, begin, end), key=itemgetter(0, 1, 2))
        if end is not None:
            at = max(step.last, end) if phase.ended is not None else step.last
            for artifact in self._closing(reader, phase, step):
                yield at, number, 3, artifact
            del self._open[number]
            self._closed.add(number)

    def _readings(
        self, reader: RunReader, number: int, step: _Open, begin: float, end: float | None,
    ) -> Iterator[Timed]:
        since = time.monotonic() - step.read
        if end is None and since < READINGS_SECONDS:
            return
        step.read = time.monotonic()
        for minute in reader.database.records(KINDS, number, last=end is None and since < MINUTE_SECONDS):
            with reader.guarded("readings"):
                told = step.series.add(minute, step.newest)
            step.newest = max(step.newest, *(rows.numbers[-1] for rows in minute))
            for at, one in told:
                at = max(begin, at if end is None else min(at, end))
                step.last = max(step.last, at)
                for artifact in self._told(number, step, one):
                    yield at, number, 1, artifact

    def _told(self, number: int, step: _Open, one: Told) -> Iterator[Artifact]:
        assert self._parts is not None
        assert self._times is not None
        place = self._parts.name_of(one.device)
        if not isinstance(one, Element):
            yield _in_step(number, log={"severity": "WARNING", "message": f"{place}: {one.says}"})
            return
        series = f"{number}/{one.device}/{one.column}"
        if series not in step.counts:
            step.counts[series] = 0
            yield _in_step(number, measurementSeriesStart={
                "name": one.column, "measurementSeriesId": series, **_unit(one.column),
                **self._hardware(one.device), "metadata": {"device": one.device, "place": place}})
        yield _in_step(number, measurementSeriesElement={
            "index": step.counts[series], "value": one.value, "measurementSeriesId": series,
            "timestamp": self._times.iso(one.at)})
        step.counts[series] += 1

    def _hardware(self, device: str) -> dict[str, str]:
        assert self._parts is not None
        id = self._parts.id_of(device)
        return {} if id is None else {"hardwareInfoId": id}

    def _closing(self, reader: RunReader, phase: Phase, step: _Open) -> Iterator[Artifact]:
        """Series end, the most that was read, rates, what was found, troubles, the end of the step."""
        assert self._parts is not None
        number = phase.plan.number
        for series, count in step.counts.items():
            yield _in_step(number, measurementSeriesEnd={"measurementSeriesId": series, "totalCount": count})
        for (device, column), value in step.series.most.items():
            yield _in_step(number, measurement={
                "name": f"{column} at most", "value": value, **_unit(column), **self._hardware(device),
                "metadata": {"device": device, "place": self._parts.name_of(device)}})
        troubles = False
        if phase.plan.module:
            results = results_of(reader, number, only_judged=True)
            for info in results.gpus:
                for rate in rates_of(results.of_gpu(info.key)):
                    yield _in_step(number, measurement={
                        "name": rate.what, "value": rate.value, "unit": rate.unit, **self._hardware(info.key),
                        "metadata": {"device": info.key, "by": rate.by, "samples": rate.samples, "is": "median"}})
            for trouble in results.troubles:
                troubles = True
                yield _in_step(number, error={
                    "symptom": trouble.kind, "message": f"{' '.join(trouble.gpus)}: {trouble.says}".strip(": "),
                    "softwareInfoIds": ["boxcheck"] if trouble.kind == "bug" else []})
        if self._by_profile is None:
            for finding in reader.findings(number):
                if finding.outcome in _OUTCOMES:
                    word = "" if _decides(finding) else "not required, "
                    yield _in_step(number, log={
                        "severity": _OUTCOMES[finding.outcome],
                        "message": f"{word}{finding.outcome.value}[{finding.check}] {finding.subject}: {finding.says}"})
        status = "ERROR" if troubles or phase.state != "ended" else "COMPLETE"
        yield _in_step(number, testStepEnd={"status": status})


def _unit(column: str) -> dict[str, str]:
    unit = unit_of(column)
    return {"unit": unit} if unit else {}


def _in_step(number: int, **content: Any) -> Artifact:
    return {"testStepArtifact": {"testStepId": f"phase-{number}", **content}}


WAIVED = ("the result of this run is FAIL all the same, by what was measured: OCP has no word for a failure that "
          "somebody answers for, and a waiver changes no measurement")


def _event(event: Event) -> dict[str, str]:
    return {"severity": SEVERITIES[event.severity],
            "message": ": ".join(filter(None, (event.kind, event.subject, event.says)))}


def _problem(problem: Any) -> str:
    return f"problem: {problem.title} ({problem.where})" if problem.where else f"problem: {problem.title}"


def _planned(run: Run) -> float:
    """Seconds that the whole run was to last, by its plan."""
    return sum(map(step_seconds, steps_of(run.info.plan)))


def _ended_at(phase: Phase, run: Run) -> float | None:
    """When a phase was over: of one that was cut off, when the next session began, else the end of the run. None while
    it goes on."""
    if phase.state == "ended" and phase.ended is not None:
        return phase.ended.seconds
    begin = phase.started or phase.about
    if (phase.state != "cut" and run.state == "running") or begin is None:
        return None
    later = [one.began.seconds for one in run.sessions if one.began.seconds > begin.seconds]
    return min(later, default=run.end.at.seconds if run.end else float("inf"))


def _result(run: Run, verdict: Verdict, told: Acceptance | None = None, alone: bool = False) -> dict[str, str]:
    """PASS only where both say so: a run may pass of which the acceptance does not (a shortened plan, `--strict`), and
    a waiver changes no measurement. `alone`: it is the load of an attempt whose disposition is not known."""
    if verdict.outcome is Outcome.FAIL or (told is not None and told.disposition == "FAIL"):
        return {"status": "COMPLETE", "result": "FAIL"}
    if verdict.outcome in (Outcome.PASS, Outcome.MARGINAL) and run.state == "finished":
        if told is not None and told.disposition not in ("PASS", "MARGINAL PASS"):
            return {"status": "ERROR", "result": "NOT_APPLICABLE"}
        if alone:
            return {"status": "SKIP", "result": "NOT_APPLICABLE"}
        return {"status": "COMPLETE", "result": "PASS"}
    if verdict.partial and run.state != "crashed":
        return {"status": "SKIP", "result": "NOT_APPLICABLE"}
    return {"status": "ERROR", "result": "NOT_APPLICABLE"}

