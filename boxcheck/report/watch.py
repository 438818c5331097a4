"""A watch for people: what crossed the links and what they counted, findings, the verdict. And as JSON.

`boxcheck.watch/1`: `command`, `command_status`, `exit_code`, `seconds`, `ledger`, `changes`, `events`, and under `run`
the object of docs/reference/stress.schema.json, with no samples. Additive changes only within /1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from boxcheck.checks.wording import duration, listed
from boxcheck.engine.rights import word_after
from boxcheck.engine.stress import StressRun
from boxcheck.engine.watching_run import Ended
from boxcheck.model import Outcome, Subject
from boxcheck.report.command import under_sudo
from boxcheck.report.json import finding_object
from boxcheck.report.run_times import stamp
from boxcheck.report.stress import judged_by, stress_object
from boxcheck.report.text import Style, wrap
from boxcheck.stress.runtime import RuntimeGpus

SCHEMA = "boxcheck.watch/1"
MEANING = {
    Outcome.PASS: "Nothing bad was seen. Results of the work were not verified: that is what `boxcheck burn` is for.",
    Outcome.SKIP: "",
}


def run_of(ended: Ended, *, started: float, profile: str, profile_why: str, certain: bool) -> StressRun:
    """The same as a stress run without samples, as `boxcheck judge` gives it."""
    return StressRun(
        results=(ended.results,), watching=(ended.watching,), runtime=RuntimeGpus(ended.results.gpus, {}, ()),
        verdict=ended.verdict, started=started, seconds=ended.seconds, profile=profile, profile_why=profile_why,
        profile_certain=certain)


def watch_text(ended: Ended, run: StressRun, style: Style, version: str, says: str) -> str:
    """The whole account, ending in a line feed."""
    shown = [] if style.quiet else [*_head(ended, run, style, version, says), *_links(ended, style),
                                    *_findings(ended, style), ""]
    return "\n".join(line.rstrip() for line in [*shown, *_closing(ended, style)]) + "\n"


def watch_json(
    ended: Ended, run: StressRun, version: str, *, says: str, exit_code: int, path: str
) -> str:
    changes = ended.changes
    found: Mapping[str, Any] = {
        "schema": SCHEMA, "tool": {"name": "boxcheck", "version": version}, "command": says or None,
        "command_status": ended.status, "exit_code": exit_code, "seconds": round(ended.seconds, 3),
        "reason": ended.reason, "store": path, "ledger": ended.ledger,
        "changes": {
            "compared": not changes.why_not, "why_not": changes.why_not, "better": changes.better,
            "same": changes.same, "worse": [
                {"before": one.before.value if one.before is not None else None, **finding_object(one.finding)}
                for one in changes.worse]},
        "events": [msgspec.to_builtins(one) for one in ended.events], "events_in_all": ended.events_in_all,
        "run": stress_object(run, version)}
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()


def _head(ended: Ended, run: StressRun, style: Style, version: str, says: str) -> Iterator[str]:
    head = wrap(f"boxcheck {version}   watch   {stamp(run.started)}   {duration(ended.seconds)}", style, "", "  ")
    head[0] = style.bold(head[0])
    yield from head
    if run.profile:
        yield from wrap(judged_by(run), style, "  ", "    ")
    status = "" if ended.status is None else f": exit code {ended.status}"
    yield from wrap(f"watched {says}{status}", style, "  ", "    ")
    if ended.reason:
        yield from wrap(ended.reason, style, "  ", "    ")


def _links(ended: Ended, style: Style) -> Iterator[str]:
    gpus = ended.ledger["gpus"]
    if not gpus:
        return
    yield ""
    yield style.text(f"  {'GPU':<28} {'sent':>12} {'received':>12}   by NVML's counters")
    for one in gpus:
        name = f"{one['slot'] or one['key']} {one['name']}"[:28]
        if one["bytes_unknown"] is not None:
            yield from wrap(f"{name:<28} bytes unknown: {one['bytes_unknown']}", style, "  ", "      ")
        else:
            yield style.text(f"  {name:<28} {_size(one['sent_bytes']):>12} {_size(one['received_bytes']):>12}")
    for one in ended.ledger["links"]:
        speed = "" if one["most_gts"] is None else f"  {one['least_gts']:g} to {one['most_gts']:g} GT/s"
        errors = ", ".join(f"{name} {number}" for name, number in one["errors"].items())
        counted = errors or ("no errors" if one["counted"] else "errors not counted")
        if errors or not one["counted"] or style.verbose:
            width = "?" if one["width"] is None else one["width"]
            yield from wrap(f"port {one['bdf']}  x{width}{speed}  {counted}", style, "  ", "      ")


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _findings(ended: Ended, style: Style) -> Iterator[str]:
    shown = [
        one for one in ended.verdict.findings
        if style.verbose or one.outcome in (Outcome.FAIL, Outcome.MARGINAL, Outcome.UNKNOWN)]
    if shown:
        yield ""
    for one in sorted(shown, key=lambda item: (item.outcome.rank, item.check)):
        yield style.word(one.outcome, f"{one.outcome.value}[{one.check}]")
        yield from wrap(f"{one.subject}: {one.says}", style, "  ", "      ")
        for note in one.notes:
            yield from wrap(note, style, "      ", "        ")
        for step in one.help if one.problem is None else ():
            yield from wrap(step, style, "      help  ", "            ")
    problems = ended.verdict.problems
    for number, problem in enumerate(problems, 1):
        yield ""
        yield from wrap(f"problem {number} of {len(problems)}: {problem.title}", style, "", "  ")
        for place, step in enumerate(problem.help, 1):
            yield from wrap(f"{place}. {step}", style, "  ", "     ")


def _unread(ended: Ended) -> str:
    """GPUs that were not watched, beside any verdict; empty where there are none."""
    gpus = ended.results.gpus
    if not gpus:
        return "No GPU was watched."
    silent = [str(Subject("gpu", info.name, slot=ended.results.slots.get(info.key), bdf=info.bdf)) for info in gpus
              if not ended.watching.readings.get(info.key) and info.key in ended.watching.silent]
    if not silent:
        return ""
    many = f"{len(silent)} of {len(gpus)} GPUs" if len(gpus) > 1 else "The GPU"
    return f"{many} told nothing: {listed(silent, 8)}."


def _closing(ended: Ended, style: Style) -> Iterator[str]:
    verdict = ended.verdict
    tally = ", ".join(f"{number} {word}" for word, number in verdict.counts.items() if number and word != "skip")
    yield from wrap(f"{style.word(verdict.outcome, verdict.outcome.value.upper())}   {tally}", style)
    failed = ", ".join(dict.fromkeys(
        one.check for one in verdict.findings if one.blocker and one.outcome is Outcome.FAIL))
    meaning = {
        **MEANING, Outcome.MARGINAL: f"Nothing failed, but {verdict.reason}.",
        Outcome.UNKNOWN: f"Not a pass: {verdict.reason}.", Outcome.FAIL: f"Failed: {failed}.",
    }[verdict.outcome]
    yield from wrap(meaning, style)
    if unread := _unread(ended):
        yield from wrap(unread, style)
    if rooted := word_after("watch", verdict.findings):
        yield from wrap(under_sudo(rooted), style)
    if ended.trouble:
        yield from wrap(f"the store does not hold all of it: {ended.trouble}", style)
