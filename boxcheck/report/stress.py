"""A stress run for people: devices, what was measured and verified, matrices, findings, the verdict. And as JSON.

Schema: docs/reference/stress.schema.json. Additive changes only within /1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

import msgspec

from boxcheck.engine.stress import StressRun
from boxcheck.model import Finding, Outcome
from boxcheck.report.json import finding_object
from boxcheck.report.matrices import lines, matrices
from boxcheck.report.text import Style, wrap
from boxcheck.stress import Sample, StressResults

SCHEMA = "boxcheck.stress/1"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """All samples of one kind on one device."""

    what: str
    """Without the module's name where all begin with it."""
    gpu: str
    unit: str
    best: float | None
    middle: float | None
    spread_percent: float | None
    """How far the slowest is behind the fastest."""
    samples: int
    checked: int
    of: str
    wrong: int


def rows_of(results: StressResults) -> list[Row]:
    """One row a kind and device, in the order in which they came; pairs of devices are in the matrices."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for one in results.samples:
        if one.peer is None or one.peer == "host":
            groups.setdefault((one.what, one.gpu), []).append(one)
    rows = []
    for (what, gpu), some in groups.items():
        values = [one.value for one in some if one.value is not None]
        rows.append(Row(
            what=what.removeprefix(f"{results.module}."), gpu=gpu, unit=some[0].unit, samples=len(some),
            checked=sum(one.checked for one in some),
            of=some[0].of, wrong=sum(one.wrong for one in some),
            best=(min if some[0].unit == "us" else max)(values, default=None),
            middle=median(values) if values else None,
            spread_percent=100 * (1 - min(values) / max(values)) if values and max(values) > 0 else None))
    return rows


def figure(value: float | None, digits: int = 4) -> str:
    """Four significant digits, `-` for none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def count(number: int) -> str:
    """Whole numbers in groups of three, large ones in powers of ten."""
    return f"{number:.3g}" if number >= 10**9 else f"{number:,}".replace(",", " ")


def stress_text(run: StressRun, style: Style, version: str) -> str:
    """The whole account, ending in a line feed."""
    shown = [] if style.quiet else [*_head(run, style, version), *_measured(run, style), *_findings(run, style), ""]
    shown += _closing(run, style)
    return "\n".join(line.rstrip() for line in shown) + "\n"


def _head(run: StressRun, style: Style, version: str) -> Iterator[str]:
    stamp = datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    names = ", ".join(results.module for results in run.results)
    head = wrap(f"boxcheck {version}   stress {names}   {stamp}", style, "", "  ")
    head[0] = style.bold(head[0])
    yield from head
    if run.profile:
        yield from wrap(f"profile {run.profile}, {run.profile_why}", style, "  ", "    ")
    if any(results.injected for results in run.results):
        yield style.word(Outcome.UNKNOWN, f"A FAULT IS PUT IN ON PURPOSE: {run.results[0].injected}. Nothing can pass.")
    slots = run.results[0].slots if run.results else {}
    for info in dict.fromkeys(info for results in run.results for info in results.gpus):
        place = " ".join(filter(None, (slots.get(info.key), info.bdf)))
        yield from wrap("  ".join(filter(None, (
            f"{info.key:<9}", place, info.name, info.arch, f"{info.memory_bytes / 2**30:.1f} GiB", info.driver))),
            style, "  ", "             ")
    for name, trouble in run.runtime.troubles.items():
        if style.verbose or trouble.kind not in ("no-binding", "no-driver", "no-device"):
            yield from wrap(f"{name}: {trouble.says}", style, "  ", "    ")


def _measured(run: StressRun, style: Style) -> Iterator[str]:
    for results in run.results:
        rows = rows_of(results)
        tables = list(_matrices(results, style))
        if not rows and not tables:
            continue
        width = max([len(row.what) for row in rows] + [len(results.module)])
        yield ""
        if rows:
            yield style.text(
                f"{results.module:<{width + 4}}{'device':<9}{'best':>8} {'median':>8} {'spread':>7}        "
                f"{'verified':>20}  {'wrong':>5}")
        for row in rows:
            spread = f"{row.spread_percent:.1f} %" if row.spread_percent is not None else "-"
            verified = f"{count(row.checked)} {row.of}"
            line = (f"  {row.what:<{width}}  {row.gpu:<9}{figure(row.best):>8} {figure(row.middle):>8} {spread:>7} "
                    f"{row.unit:<6} {verified:>20}  {count(row.wrong):>5}")
            yield style.word(Outcome.FAIL, style.text(line)) if row.wrong else style.text(line)
        if rows and not results.full_size:
            yield from wrap("small sizes: these rates are not judged", style, "  ")
        yield from tables


def _matrices(results: StressResults, style: Style) -> Iterator[str]:
    for matrix in matrices(results):
        yield ""
        yield from (style.text(line) for line in lines(matrix, style.columns))


def _findings(run: StressRun, style: Style) -> Iterator[str]:
    shown = [
        one for one in run.verdict.findings
        if style.verbose or one.outcome in (Outcome.FAIL, Outcome.MARGINAL, Outcome.UNKNOWN)]
    if shown:
        yield ""
    problems = run.verdict.problems
    for one in sorted(shown, key=lambda item: (item.outcome.rank, item.check)):
        word = style.word(one.outcome, f"{one.outcome.value}[{one.check}]")
        text = wrap(f"{one.subject}: {one.says}", style, " " * 2, " " * 6)
        yield f"{word}"
        yield from text
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
    word = style.word(verdict.outcome, verdict.outcome.value.upper())
    yield from wrap(f"{word}   {tally}   {run.seconds:.1f} s", style)
    fewer = f" {len(run.left_out)} more not asked for: {', '.join(run.left_out)}." if run.left_out else ""
    meaning = {
        Outcome.PASS: f"Nothing that was compared was wrong.{fewer}",
        Outcome.MARGINAL: f"Nothing failed, but {verdict.reason}.",
        Outcome.FAIL: _failed(run), Outcome.UNKNOWN: f"Not a pass: {verdict.reason}.", Outcome.SKIP: "",
    }
    yield from wrap(meaning[verdict.outcome], style)


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
        "started": datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "seconds": round(run.seconds, 3),
        "injected": next((results.injected for results in run.results if results.injected), None),
        "devices": [msgspec.to_builtins(info) for info in run.runtime.gpus],
        "runtimes": {
            name: {"kind": trouble.kind, "says": trouble.says, "help": trouble.help}
            for name, trouble in run.runtime.troubles.items()},
        "modules": [{
            "name": results.module, "gpus": [info.key for info in results.gpus], "full_size": results.full_size,
            "ended": list(results.ended), "stopped": results.stopped,
            "samples": [_sample_object(one) for one in results.samples],
            "troubles": [msgspec.to_builtins(one) for one in results.troubles],
            "watched": msgspec.to_builtins(watching),
        } for results, watching in zip(run.results, run.watching, strict=True)],
        "profile": run.profile, "profile_why": run.profile_why, "left_out": list(run.left_out),
        "verdict": {"outcome": verdict.outcome.value, "reason": verdict.reason, "counts": dict(verdict.counts)},
        "findings": [finding_object(one) for one in verdict.findings],
        "problems": [{
            "id": one.id, "title": one.title, "where": one.where, "outcome": one.outcome.value,
            "findings": list(one.findings), "help": list(one.help), "not": list(one.not_)} for one in verdict.problems],
        "crashes": [{"where": one.where, "traceback": one.traceback} for one in verdict.crashes],
    }


def stress_json(run: StressRun, version: str) -> str:
    return msgspec.json.format(msgspec.json.encode(stress_object(run, version)), indent=1).decode()
