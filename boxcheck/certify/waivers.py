"""Waivers: who answers for which failing check, why, and until when. A file of their own, never the profile.

    [[waiver]]
    check = "pcie.link-width"     # id, or glob of one area (aer.*)
    where = "PCIE3"               # slot, address or name; without it: wherever it is found
    who = "J. Doe, quality"
    why = "riser R3 is on order, 4711"
    until = 2026-12-31            # the last day on which it holds, UTC
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal

import msgspec

from boxcheck.certify.acceptance import Acceptance, Waiver
from boxcheck.certify.identity import LONG, why_not_text
from boxcheck.certify.tables import read_table
from boxcheck.model import Finding, Outcome, Subject
from boxcheck.registry import CHECKS, selected
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError, nearest

FIELDS = ("check", "where", "who", "why", "until")
MOST = 200
OLDEST_CLOCK = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
"""Before there was a boxcheck: a clock that says so was never set."""
NEVER = ("gpu-lost:", "safety-stop:", "guard-gone:")
"""Causes of findings that nobody can answer for: a lost GPU, and a run that was stopped before harm."""


def read_waivers(path: str) -> tuple[Waiver, ...]:
    """The waivers of a file. UsageError for what is none, for a check that nobody knows, and for checks of more than
    one area: who answers for nearly everything has looked at nothing."""
    table, where = read_table(path, "waivers"), f"waivers file {plain_line(path)}"
    for key in table:
        if key != "waiver":
            raise UsageError(f"{where}: {plain_line(key)} is not known", "it has tables [[waiver]] alone")
    rows = table.get("waiver", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{where}: waiver is no list of tables", "write [[waiver]]")
    if len(rows) > MOST:
        raise UsageError(f"{where}: has {len(rows)} waivers", f"at most {MOST}: a box with more needs another profile")
    return tuple(_waiver(row, f"{where}, waiver {number}") for number, row in enumerate(rows, 1))


def _waiver(row: dict[str, Any], where: str) -> Waiver:
    for key in row:
        if key not in FIELDS:
            raise UsageError(f"{where}: {plain_line(key)} is not known", f"known are {', '.join(FIELDS)}")
    until = row.get("until")
    if isinstance(until, date):  # a datetime is one too
        until = until.date().isoformat() if isinstance(until, datetime) else until.isoformat()
    found = {**row, "until": until}
    for name in FIELDS:
        text = found.get(name, "" if name == "where" else None)
        if not isinstance(text, str) or (name != "where" and not text.strip()):
            raise UsageError(f"{where}: {name} is not said", "a waiver says check, who, why and until")
        if name == "where" and name in row and not text.strip():
            raise UsageError(f"{where}: where is blank", "name a slot or an address; leave where out for every place")
        if why := why_not_text(text, 400 if name == "why" else LONG):
            raise UsageError(f"{where}: {name} {why}", "write one line of text")
        found[name] = text.strip()
    try:
        date.fromisoformat(found["until"])
    except ValueError:
        raise UsageError(f"{where}: until is {found['until']!r}, no date", "write until = 2026-12-31") from None
    check = found["check"]
    waived = [id for id in CHECKS if selected((check,), id)]
    if not waived:
        raise UsageError(f"{where}: no check is called {check!r}",
                         nearest(check, CHECKS) or "boxcheck checks lists them all")
    if len(areas := {id.partition(".")[0] for id in waived}) > 1:
        every = "every check" if len(waived) == len(CHECKS) else f"{len(waived)} checks of {len(areas)} areas"
        raise UsageError(f"{where}: {check!r} waives {every}",
                         "name the check that it is about, or those of one area, as in aer.*; another needs its own")
    return Waiver(**found)


def clock_trouble(started: float, finished: float, now: float) -> str:
    """Why the machine's clock cannot tell whether a waiver is over; empty where it can."""
    if min(started, finished, now) < OLDEST_CLOCK:
        return "the clock of the box was not set"
    if finished < started or now < finished:
        return "the clock of the box went back during the run"
    return ""


def standing(
    waiver: Waiver, started: float, finished: float, now: float,
) -> Literal["unused", "expired", "not-yet-dated"]:
    """Whether a waiver holds for a run (`unused`: it does, and nothing has used it yet)."""
    if clock_trouble(started, finished, now):
        return "not-yet-dated"
    day = datetime.fromtimestamp(finished, UTC).date()
    return "unused" if day <= date.fromisoformat(waiver.until) else "expired"


def covers(waiver: Waiver, finding: Finding) -> bool:
    """Whether a waiver that holds is for this finding, which failed."""
    if finding.outcome is not Outcome.FAIL or (finding.cause or "").startswith(NEVER):
        return False
    return selected((waiver.check,), finding.check) and (not waiver.where or waiver.where in _names(finding.subject))


def waiver_of(finding: Finding, waivers: Sequence[Waiver]) -> Waiver | None:
    """The waiver that was used for a finding."""
    return next((one for one in waivers if one.state == "used" and covers(one, finding)), None)


def answered(told: Acceptance, findings: Sequence[Finding]) -> bool:
    """Whether waivers that were used answer for every required failure of its run, as its disposition says. A failure
    that none is for (a load that a later boxcheck judges otherwise, a record changed by hand) stays one."""
    failed = [one for one in findings if one.blocker and one.outcome is Outcome.FAIL]
    return told.with_waivers and bool(failed) and all(waiver_of(one, told.waivers) is not None for one in failed)


def _names(subject: Subject) -> tuple[str, ...]:
    short = subject.bdf[5:] if subject.bdf and subject.bdf.startswith("0000:") else subject.bdf
    return tuple(name for name in (subject.slot, subject.bdf, short, subject.name, str(subject)) if name)


class Waived(msgspec.Struct, frozen=True, kw_only=True):
    """Which findings are waived, by what."""

    indices: frozenset[int] = frozenset()
    """Of the verdict's findings."""
    waivers: tuple[Waiver, ...] = ()
    """All of them, with their state."""


def waive(
    waivers: Sequence[Waiver], findings: Sequence[Finding], *, started: float, finished: float, now: float,
) -> Waived:
    """Holds the waivers against findings that would fail the box."""
    covered: set[int] = set()
    told: list[Waiver] = []
    for one in waivers:
        state: Literal["used", "unused", "expired", "not-yet-dated"] = standing(one, started, finished, now)
        if state == "unused":
            hits = {index for index, finding in enumerate(findings) if finding.blocker and covers(one, finding)}
            covered |= hits
            state = "used" if hits else "unused"
        told.append(msgspec.structs.replace(one, state=state))
    return Waived(indices=frozenset(covered), waivers=tuple(told))
