"""How a run is beside earlier runs of its box: for people, and as JSON (`history` of the account, and of `--jsonl`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.checks.wording import counted
from boxcheck.engine.history import History
from boxcheck.engine.history_series import day
from boxcheck.engine.stress import StressRun
from boxcheck.model import Finding, Outcome
from boxcheck.report.json import finding_object
from boxcheck.report.stress import stress_object
from boxcheck.report.text import Style, wrap

SHOWN = 4


def history_text(history: History, style: Style) -> str:
    """Lines that end in a line feed each; nothing where only the verdict is asked for."""
    return "" if style.quiet else "".join(f"{one.rstrip()}\n" for one in _lines(history, style))


def _lines(history: History, style: Style) -> Iterator[str]:
    yield ""
    yield from wrap(f"history   {_beside(history)}", style, "", "          ")
    worse: dict[str, list[Finding]] = {}
    for one in history.findings:
        if one.outcome is Outcome.MARGINAL:
            worse.setdefault(str(one.subject), []).append(one)
    for subject, some in worse.items():
        name = some[0].subject.name
        where = f"{subject}  {name}" if name and name != subject else subject
        yield f"  {style.word(Outcome.MARGINAL)}  {style.text(f'{where}: {_short(some)}')}"
        for one in some:
            yield from wrap(one.says, style, "      ", "        ")
            for note in one.notes:
                yield from wrap(note, style, "        ", "          ")
            for step in one.help:
                yield from wrap(step, style, "      help  ", "            ")
    alike = [one for one in history.findings if one.outcome is Outcome.PASS]
    if alike and not style.verbose:
        yield from wrap(f"as before: {counted(len(alike), 'comparison')} (-v shows them)", style, "  ")
    for one in alike if style.verbose else ():
        yield from wrap(f"{one.subject}: {one.says}", style, "  ", "      ")
    for text in history.told:
        yield from wrap(text, style, "  ", "      ")
    for title, texts in (("not compared", history.not_compared), ("left out", history.left_out)):
        shown = texts if style.verbose else texts[:SHOWN]
        for text in shown if history.compared or style.verbose else ():
            yield from wrap(f"{title}: {text}", style, "  ", "      ")
        if len(texts) > len(shown) and history.compared:
            yield from wrap(f"{title}: {len(texts) - len(shown)} more (-v shows them)", style, "  ", "      ")


def _beside(history: History) -> str:
    if not history.compared:
        why = f" ({'; '.join(history.left_out[:2])})" if history.left_out else ""
        return f"no earlier run of this box to compare with{why}"
    first, last = history.compared[0], history.compared[-1]
    if first == last:
        return f"beside run {first.run} of this box"
    return (f"beside {counted(len(history.compared), 'run')} of this box, {day(first.started)} (run {first.run}) to "
            f"{day(last.started)} (run {last.run})")


SHORT = {
    "history.rate": "{:.1f} % slower", "history.temperature": "{:.0f} °C hotter",
    "history.power": "{:.0f} % other power",
    "history.throttling": "its clock cut for {:.1f} % of the time", "history.link-errors": "{:.0f} errors of its link"}


def _short(findings: Sequence[Finding]) -> str:
    """`4.0 % slower, 9 °C hotter`: the worst of each kind."""
    most: dict[str, float] = {}
    for one in findings:
        if one.measured is not None and isinstance(one.measured.value, (int, float)):
            most[one.check] = max(most.get(one.check, 0.0), float(one.measured.value))
    return ", ".join(SHORT[check].format(value) for check, value in most.items())


def account_json(run: StressRun, version: str, history: History | None) -> str:
    """The account of a stress run, with the comparison as `history` where there is one."""
    found = dict(stress_object(run, version))
    if history is not None:
        found["history"] = history_object(history)
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()


def history_object(history: History) -> Mapping[str, Any]:
    """As JSON. Its findings are those of doctor's JSON; none of them is part of the verdict."""
    return {
        "run": history.run, "box": history.box,
        "compared": [msgspec.to_builtins(one) for one in history.compared], "told": list(history.told),
        "left_out": list(history.left_out), "not_compared": list(history.not_compared),
        "findings": [finding_object(one) for one in history.findings]}
