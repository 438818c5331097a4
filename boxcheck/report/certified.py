"""What `boxcheck certify` says at the end: in text, in the manner of text.py, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Any

import msgspec

from boxcheck.certify.acceptance import Acceptance, Disposition, Waiver
from boxcheck.certify.identity import lines_of
from boxcheck.certify.waivers import answered
from boxcheck.judge import ExitCode
from boxcheck.model import Finding, Outcome
from boxcheck.report.run_times import stamp
from boxcheck.report.text import Style, wrap
from boxcheck.store.texts import plain_line

OUTCOMES: dict[Disposition, Outcome] = {
    "PASS": Outcome.PASS, "MARGINAL PASS": Outcome.MARGINAL, "FAIL": Outcome.FAIL, "INCOMPLETE": Outcome.UNKNOWN,
    "ABORTED": Outcome.UNKNOWN}
NAME_COLUMNS = 11
_STATES = {
    "used": "used", "unused": "not used: nothing failed that it is for", "expired": "EXPIRED, not applied",
    "not-yet-dated": "expiry cannot be judged, not applied"}


class Certified(Acceptance, frozen=True, kw_only=True):
    """`certify --json`: the acceptance as its folder has it, and where that is."""

    folder: str = ""


def certified_json(told: Acceptance, folder: str) -> str:
    fields = {name: getattr(told, name) for name in Acceptance.__struct_fields__}
    return msgspec.json.format(msgspec.json.encode(Certified(**fields, folder=folder)), indent=1).decode()


def schemas() -> dict[str, Any]:
    """Of the published schema: file name -> schema. acceptance.json has all of it but the folder."""
    schema = msgspec.json.schema(Certified)
    return {"acceptance.schema.json": {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}}


def certified_text(told: Acceptance, folder: str, style: Style) -> str:
    """The account of an attempt, ending in a line feed. The last lines are the disposition and what to do next."""
    lines: list[str] = []
    if not style.quiet:
        lines = [*_head(told, style), "", *_rows(told, style), ""]
    lines += _closing(told, folder, style)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def word_of(told: Acceptance) -> str:
    """`PASS with waivers`."""
    return f"{told.disposition} with waivers" if told.with_waivers else told.disposition


def settled(
    outcome: Outcome, code: int, told: Acceptance | None, findings: Sequence[Finding], *, own: bool,
    strict: bool = False,
) -> tuple[Outcome, int]:
    """Outcome and exit code of a run that is the load of an acceptance: its disposition decides, since the plan may
    have been cut short, and waivers may answer for all that failed. `outcome`, `code`, `findings`: of the run by
    itself. `own`: judged by the profile of the acceptance; by another one, both have to pass."""
    if told is None:
        return outcome, code
    theirs, their_code = OUTCOMES[told.disposition], told.exit_code
    if strict and theirs is Outcome.MARGINAL:
        theirs, their_code = Outcome.FAIL, int(ExitCode.FAILED)
    if not their_code and theirs not in (Outcome.PASS, Outcome.MARGINAL):
        their_code = int(ExitCode.FAILED if theirs is Outcome.FAIL else ExitCode.INCOMPLETE)
    if own and (their_code or answered(told, findings)):
        return theirs, their_code
    return min((outcome, code), (theirs, their_code), key=lambda one: (one[1] == 0, one[0].rank))


def _head(told: Acceptance, style: Style) -> list[str]:
    parts = (f"boxcheck {told.version}", "certify", f"profile {told.profile} r{told.profile_revision}",
             f"box {told.identity.serial}", stamp(told.started))
    first, *rest = wrap(plain_line("   ".join(parts)), style, "", "  ")
    return [style.bold(first), *rest]


def _rows(told: Acceptance, style: Style) -> Iterator[str]:
    for name, text in lines_of(told.identity):
        yield from _row(name, text, style)
    yield from _row("attempt", f"{told.attempt} of {told.attempts}", style)
    for line in told.earlier:
        yield from _row("", line, style)
    if told.planned:
        yield from _row("load", f"{told.planned}{f'; SHORTENED: {told.shortened}' if told.shortened else ''}", style)
    if told.profile_note:
        yield from _row("profile", told.profile_note, style)
    if told.forced:
        yield from _row("profile", f"OF ANOTHER BOX, taken by --force-profile: {told.forced}", style)
    if told.clock_trusted is False:
        yield from _row("clock", "not synchronised: its times are what the box believes", style)
    for waiver in told.waivers:
        yield from _row("waiver", waiver_line(waiver), style)
    for line in told.left_out:
        yield from _row("not made", line, style)


def waiver_line(waiver: Waiver) -> str:
    """One waiver in words, its state first."""
    where = f" at {waiver.where}" if waiver.where else ""
    return plain_line(
        f"{_STATES[waiver.state]}: {waiver.check}{where}, by {waiver.who} until {waiver.until}: {waiver.why}")


def _row(name: str, text: str, style: Style) -> list[str]:
    head = f" {plain_line(name)[:NAME_COLUMNS - 1]:<{NAME_COLUMNS}}"
    return wrap(plain_line(text), style, head, " " * len(head))


def disposition_text(told: Acceptance, outcome: Outcome, style: Style) -> str:
    """What `judge` and `report` say of an attempt after the account of its run. `outcome`: as `settled` gives it."""
    box = plain_line(told.identity.serial)
    about = f"box {box}, attempt {told.attempt}: "
    if outcome is OUTCOMES[told.disposition]:
        lines = _headed(word_of(told), outcome, about + told.reason, style)
    else:
        lines = _headed(outcome.value.upper(), outcome, (
            f"{about}so its run is judged here; its acceptance says {word_of(told)}: {told.reason}"), style)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _headed(word: str, outcome: Outcome, text: str, style: Style) -> Iterator[str]:
    first, *rest = wrap(plain_line(f"{word}   {text}"), style, "", "  ")
    yield first.replace(word, style.word(outcome, word), 1)
    yield from rest


def _closing(told: Acceptance, folder: str, style: Style) -> Iterator[str]:
    yield from _headed(word_of(told), OUTCOMES[told.disposition], told.reason, style)
    if told.disposition in ("PASS", "MARGINAL PASS"):
        yield from wrap(
            "A pass applies to these checks on this day; it is not a general statement about the machine.", style)
    sign = f"boxcheck report sign {quote(plain_line(folder))} --key KEY  (at the station, not on this box)"
    yield from wrap(sign, style, "next   ", "       ")
    yield from wrap(plain_line(folder), style, "saved  ", "       ")
