"""A stress run for people: devices, what was measured and verified, matrices, findings, the verdict. And as JSON.

Schema: docs/reference/stress.schema.json. Additive changes only within /1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.engine.stress import StressRun
from boxcheck.model import Finding, Outcome, Verdict
from boxcheck.report.json import finding_object
from boxcheck.report.matrices import lines
from boxcheck.report.measured import Measured, measured_of, row_objects
from boxcheck.report.run_times import iso_second, stamp
from boxcheck.report.stress_rates import judged_rows, table
from boxcheck.report.text import Style, wrap
from boxcheck.stress import Sample

SCHEMA = "boxcheck.stress/1"


def stress_text(run: StressRun, style: Style, version: str) -> str:
    """The whole account, ending in a line feed."""
    shown = [] if style.quiet else [*_head(run, style, version), *_measured(run, style), *_findings(run, style), ""]
    shown += _closing(run, style)
    return "\n".join(line.rstrip() for line in shown) + "\n"


def _head(run: StressRun, style: Style, version: str) -> Iterator[str]:
    names = ", ".join(dict.fromkeys(results.module for results in run.results))
    head = wrap(f"boxcheck {version}   stress {names}   {stamp(run.started)}", style, "", "  ")
    head[0] = style.bold(head[0])
    yield from head
    if run.profile:
        yield from wrap(judged_by(run), style, "  ", "    ")
    if any(results.injected for results in run.results):
        yield style.word(Outcome.UNKNOWN, f"A FAULT IS PUT IN ON PURPOSE: {run.results[0].injected}. Nothing can pass.")
    if run.asked_seconds is not None:
        given = "".join(f", {name}={value}" for name, value in run.options.items())
        yield from wrap(f"{run.asked_seconds:g} s a module{given}", style, "  ", "    ")
    for name, why in run.without_work.items():
        yield from wrap(f"{name} left out: {why}", style, "  ", "    ")
    slots = run.results[0].slots if run.results else {}
    for info in {info.key: info for results in run.results for info in results.gpus}.values():
        place = " ".join(filter(None, (slots.get(info.key), info.bdf)))
        yield from wrap("  ".join(filter(None, (
            f"{info.key:<9}", place, info.name, info.arch,
            f"{info.memory_bytes / 2**30:.1f} GiB" if info.memory_bytes else "", info.driver))),
            style, "  ", "             ")
    for name, trouble in run.runtime.troubles.items():
        if style.verbose or trouble.kind not in ("no-binding", "no-driver", "no-device"):
            yield from wrap(f"{name}: {trouble.says}", style, "  ", "    ")


def judged_by(run: StressRun) -> str:
    """By which profile, and why by that one. No account says that there is none and names one."""
    if run.profile_certain:
        return ", ".join(filter(None, (f"profile {run.profile}", run.profile_why)))
    why = f": {run.profile_why}" if run.profile_why else ""
    return f"no profile{why}; judged by what holds for any box ({run.profile})"


def _measured(run: StressRun, style: Style) -> Iterator[str]:
    for results, measured in zip(run.results, measured_in(run), strict=True):
        rows = judged_rows(results, measured.rows, run.verdict.findings)
        tables = list(_matrices(measured, style))
        if not rows and not tables:
            continue
        yield ""
        if rows:
            for line, is_wrong in table(results.module, rows, style.columns):
                fit = [style.text(line)] if len(line) <= style.columns else wrap(line, style, "", "    ")
                yield from (style.word(Outcome.FAIL, text) if is_wrong else text for text in fit)
        if rows and not results.full_size:
            yield from wrap("small sizes: these rates are not judged", style, "  ")
        yield from tables


def measured_in(run: StressRun) -> Sequence[Measured]:
    """What was measured, of each module."""
    return run.measured or [measured_of(results) for results in run.results]


def _matrices(measured: Measured, style: Style) -> Iterator[str]:
    for matrix in measured.matrices:
        yield ""
        for line in lines(matrix, style.columns):  # titles and explanations may be wider
            yield from [style.text(line)] if len(line) <= style.columns else wrap(line, style, "", "  ")


def _findings(run: StressRun, style: Style) -> Iterator[str]:
    shown = [
        one for one in run.verdict.findings
        if style.verbose or one.outcome in (Outcome.FAIL, Outcome.MARGINAL, Outcome.UNKNOWN)]
    if shown:
        yield ""
    problems = run.verdict.problems
    alike: dict[object, list[Finding]] = {}
    """What one reason left unknown, of one part: it is said once, with the checks that it is said of."""
    for one in sorted(shown, key=lambda item: (item.outcome.rank, item.check)):
        what = (one.subject, one.says, one.notes, one.help) if one.outcome is Outcome.UNKNOWN else len(alike)
        alike.setdefault(what, []).append(one)
    for one, *others in alike.values():
        checks = ", ".join(dict.fromkeys(each.check for each in (one, *others)))
        for line in wrap(f"{one.outcome.value}[{checks}]", style, "", "  "):
            yield style.word(one.outcome, line)
        yield from wrap(f"{one.subject}: {one.says}", style, " " * 2, " " * 6)
        for note in one.notes:
            yield from wrap(note, style, "      ", "        ")
        helps = one.help if one.problem is None else ()
        for step in helps:
            yield from wrap(step, style, "      help  ", "            ")
    for number, problem in enumerate(problems, 1):
        yield ""
        yield from wrap(f"problem {number} of {len(problems)}: {problem.title}", style, "", "  ")
        for place, step in enumerate(problem.help, 1):
            yield from wrap(f"{place}. {step}", style, "  ", "     ")


def _closing(run: StressRun, style: Style) -> Iterator[str]:
    verdict = run.verdict
    tally = ", ".join(f"{number} {word}" for word, number in verdict.counts.items() if number and word != "skip")
    word = style.word(verdict.outcome, "PARTIAL" if verdict.partial else verdict.outcome.value.upper())
    yield from wrap(f"{word}   {tally}   {run.seconds:.1f} s", style)
    fewer = f" {len(run.left_out)} more not asked for: {', '.join(run.left_out)}." if run.left_out else ""
    meaning = {
        Outcome.PASS: f"Nothing that was compared was wrong.{fewer}",
        Outcome.MARGINAL: f"Nothing failed, but {verdict.reason}.",
        Outcome.FAIL: _failed(run), Outcome.UNKNOWN: _unknown(verdict), Outcome.SKIP: "",
    }
    yield from wrap(meaning[verdict.outcome], style)


def _unknown(verdict: Verdict) -> str:
    said = verdict.reason.partition("; `boxcheck doctor`")[0]
    return f"{said[:1].upper()}{said[1:]}." if verdict.partial else f"Not a pass: {said}."


def _failed(run: StressRun) -> str:
    names = dict.fromkeys(
        one.check for one in run.verdict.findings if one.blocker and one.outcome is Outcome.FAIL)
    return f"Failed: {', '.join(names)}." if names else run.verdict.reason.capitalize() + "."


def _sample_object(one: Sample) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(one)
    return found


def stress_object(run: StressRun, version: str, findings: Sequence[Finding] | None = None) -> Mapping[str, Any]:
    """The object of docs/reference/stress.schema.json."""
    verdict = run.verdict
    return {
        "schema": SCHEMA, "tool": {"name": "boxcheck", "version": version},
        "started": iso_second(run.started),
        "seconds": round(run.seconds, 3),
        "injected": next((results.injected for results in run.results if results.injected), None),
        "devices": [msgspec.to_builtins(info) for info in run.runtime.gpus],
        "runtimes": {
            name: {"kind": trouble.kind, "says": trouble.says, "help": trouble.help}
            for name, trouble in run.runtime.troubles.items()},
        "modules": [{
            "name": results.module, "gpus": [info.key for info in results.gpus], "full_size": results.full_size,
            "ended": list(results.ended), "stopped": results.stopped,
            "samples": [_sample_object(one) for one in results.samples], "rows": row_objects(measured),
            "troubles": [msgspec.to_builtins(one) for one in results.troubles],
            "watched": msgspec.to_builtins(watching),
        } for results, watching, measured in zip(run.results, run.watching, measured_in(run), strict=True)],
        "profile": run.profile, "profile_why": run.profile_why, "left_out": list(run.left_out),
        "asked_seconds": run.asked_seconds, "options": dict(run.options), "without_work": dict(run.without_work),
        "verdict": {"outcome": verdict.outcome.value, "reason": verdict.reason, "counts": dict(verdict.counts)},
        "findings": [finding_object(one) for one in verdict.findings],
        "problems": [{
            "id": one.id, "title": one.title, "where": one.where, "outcome": one.outcome.value,
            "findings": list(one.findings), "help": list(one.help), "not": list(one.not_)} for one in verdict.problems],
        "crashes": [{"where": one.where, "traceback": one.traceback} for one in verdict.crashes],
    }


def stress_json(run: StressRun, version: str) -> str:
    return msgspec.json.format(msgspec.json.encode(stress_object(run, version)), indent=1).decode()
