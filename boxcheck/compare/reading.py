"""Sides from what lies on a disk: stored runs, folders of attempts, doctor's records. Reads only; what cannot be
read is a StoreError or a UsageError with the way out, what a run lacks is a note."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from boxcheck.certify.acceptance import Acceptance
from boxcheck.certify.waivers import OLDEST_CLOCK
from boxcheck.compare.machine import cards_in, items_in
from boxcheck.compare.matching import physical
from boxcheck.compare.side import DOCTOR, Input, Side
from boxcheck.compare.stored import found_in
from boxcheck.engine.figures import Card, Figures
from boxcheck.engine.history_cards import cards_of
from boxcheck.engine.history_store import figures_from, stored_figures
from boxcheck.engine.inspect import Facts, name_slots
from boxcheck.engine.kept_profile import profile_of
from boxcheck.engine.watch_judging import BEFORE, facts_in
from boxcheck.model import Bdf, Finding, Outcome, Quantity, Subject, SubjectKind
from boxcheck.profile import Profile, ProfileError
from boxcheck.report.acceptance_told import bare_finding
from boxcheck.store.errors import StoreError
from boxcheck.store.listing import LARGEST_RECORD_BYTES
from boxcheck.store.reader import RunReader
from boxcheck.store.regular import open_regular
from boxcheck.store.results import no_collections
from boxcheck.store.texts import decode_plain, plain_line
from boxcheck.store.verify import in_words, missing_rows
from boxcheck.usage import UsageError


def time_of(seconds: float | None) -> str | None:
    """ISO, UTC; None for a time that no calendar has."""
    with suppress(ValueError, OverflowError, OSError):
        if seconds is not None:
            return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return None


def clock_notes(seconds: float | None) -> tuple[str, ...]:
    if seconds is not None and (seconds < OLDEST_CLOCK or time_of(seconds) is None):
        return ("the clock of the box was never set: its times say nothing",)
    return ()


def of_store(path: str, label: str, told: Acceptance | None = None, where: str = "") -> Side:
    """A run; with the acceptance that it belongs to where it lies in the folder of an attempt. `where`: what is told
    as its path, where a copy is read."""
    with RunReader(path) as reader, no_collections():
        run, phases, verdict = reader.run(), reader.phases(), reader.verdict()
        want, notes = _profile(reader)
        gone = in_words(missing_rows(reader))
        if gone:
            notes.append(f"rows are missing in the store: {', '.join(gone)}")
        if run.salvaged is not None:
            notes.append("it was saved from a damaged store: what is missing may be what would have failed")
        if run.state != "finished":
            notes.append({"running": "it goes on: what it found so far is compared", "stopped": "it was stopped",
                          "crashed": "it did not come to its end"}[run.state])
        found: dict[tuple[str, str], list[Finding]] = {}
        known: set[bytes] = set()
        for (phase, check, _), some in found_in(reader, phases).items():
            found.setdefault((phase, check), []).extend(some)
            known |= {bare_finding(one) for one in some}
        for one in verdict.findings if verdict is not None else ():
            if bare_finding(one) not in known:
                found.setdefault(("", one.check), []).append(one)
        facts = facts_in(reader, BEFORE)
        figures, no_figures = _figures(reader)
    cards, cards_unread, items, items_unread = _machine(facts, want, figures)
    end, info = run.end, run.info
    outcome = end.outcome if end is not None else None
    return Side(
        cards=cards, cards_unread=cards_unread, items=items, items_unread=items_unread, found=found, figures=figures,
        figures_unread=no_figures, limits=want.limits if want is not None else None,
        input=Input(
            label=label, source="run" if told is None else "attempt", path=where or path, state=run.state,
            name=(info.id or os.path.basename(path).rpartition(".")[0]) if told is None else (
                f"{told.identity.serial} attempt {told.attempt}"),
            box=told.identity.serial if told is not None else info.box or info.host, began=time_of(run.started),
            profile=info.profile.name if info.profile else None,
            revision=info.profile.revision if info.profile else None,
            profile_sha256=info.profile.sha256 if info.profile else None,
            outcome=outcome if outcome in {one.value for one in Outcome} else None,
            disposition=None if told is None else f"{told.disposition}{' with waivers' if told.with_waivers else ''}",
            reason=told.reason if told is not None else verdict.reason if verdict is not None else "",
            gpus=None if cards_unread else len(cards), notes=(*notes, *clock_notes(run.started))))


def _profile(reader: RunReader) -> tuple[Profile | None, list[str]]:
    try:
        want, note = profile_of(reader)
    except (UsageError, ProfileError) as error:
        if isinstance(error, StoreError):
            raise
        return None, [f"its limits are not known: {error}"]
    return want, [f"its limits are not those of then: {note}"] if note else []


def _figures(reader: RunReader) -> tuple[Figures | None, str]:
    """Those that the run kept where they tell their scatter, else made anew, which takes as long as to judge it."""
    kept = stored_figures(reader)
    if kept is not None and all(
            rate.deviation is not None for phase in kept.phases for card in phase.cards for rate in card.rates):
        return kept, ""
    made = figures_from(reader)
    return (made, "") if made.phases else (None, "no load was run")


def _machine(
    facts: Facts | None, want: Profile | None, figures: Figures | None
) -> tuple[tuple[Card, ...], str, Sequence[Any], str]:
    """Cards by what was read of the bus and by what runtimes told, each once; and what the machine has."""
    by_runtime = cards_of(figures) if figures is not None else ()
    if facts is None:
        why = "the run keeps no capture" if by_runtime else "the run keeps no capture, and no load was put on a GPU"
        return _once(by_runtime), "" if by_runtime else why, (), why
    if want is not None:
        name_slots(facts, want)
    cards, unread = cards_in(facts)
    return _once((*cards, *by_runtime)), unread, items_in(facts), ""


def _once(cards: Sequence[Card]) -> tuple[Card, ...]:
    """Each card once, with all that is known of it."""
    found: dict[str, Card] = {}
    for card in cards:
        key = physical(card)
        known = found.get(key)
        found[key] = card if known is None else msgspec.structs.replace(
            known, uuid=known.uuid or card.uuid, serial=known.serial or card.serial, slot=known.slot or card.slot)
    return tuple(sorted(found.values(), key=lambda card: (card.slot or "", card.bdf or "", card.key)))


def of_facts(
    facts: Facts, input: Input, findings: Sequence[Finding], want: Profile | None, redacted: bool
) -> Side:
    """A capture that was read and judged."""
    cards, unread, items, _ = _machine(facts, want, None)
    found: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        found.setdefault((DOCTOR, one.check), []).append(one)
    return Side(
        input=msgspec.structs.replace(input, gpus=None if unread else len(cards)), cards=cards, cards_unread=unread,
        items=items, found=found, limits=want.limits if want is not None else None, redacted=redacted)


class _Subject(msgspec.Struct):
    kind: SubjectKind
    slot: str | None = None
    bdf: str | None = None
    name: str = ""


class _Measured(msgspec.Struct):
    value: int | float | str | bool
    unit: str = ""


class _Finding(msgspec.Struct):
    check: str
    subject: _Subject
    outcome: Outcome
    says: str
    measured: _Measured | None = None
    blocker: bool = False


class _Verdict(msgspec.Struct):
    outcome: Outcome
    reason: str = ""


class _Profile(msgspec.Struct):
    name: str
    revision: int
    sha256: str


class _Named(msgspec.Struct):
    schema: str


REFERENCE = "boxcheck.reference/"
"""How the schema of a reference measurement begins (boxcheck.golden.reference)."""


class _Record(msgspec.Struct):
    """The part of boxcheck.run/1 that is compared."""

    schema: str
    started: datetime
    verdict: _Verdict
    findings: list[_Finding]
    box: str = ""
    profile: _Profile | None = None


def of_record(path: str, label: str) -> Side:
    """What doctor wrote as JSON: its findings, without the machine that they are of."""
    try:
        with open_regular(path) as stream:
            data = stream.read(LARGEST_RECORD_BYTES)
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            if decode_plain(data, _Named).schema.startswith(REFERENCE):
                raise UsageError(
                    f"{plain_line(path)} is a reference measurement, which holds rates of cards and no findings",
                    f"a run is laid beside it with: boxcheck profile beside RUN {shlex.quote(plain_line(path))}")
        record = decode_plain(data, _Record)
    except OSError as error:
        raise UsageError(f"{plain_line(path)}: {(error.strerror or '').lower()}",
                         "boxcheck runs lists runs") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UsageError(f"{plain_line(path)} is JSON, but no account of doctor: {plain_line(str(error))[:160]}",
                         "boxcheck doctor --json FILE writes one; compare takes captures and runs too") from None
    if not record.schema.startswith("boxcheck.run/"):
        raise UsageError(f"{plain_line(path)} holds {record.schema[:40]}, not an account of doctor",
                         "boxcheck doctor --json FILE writes one; compare takes captures and runs too")
    found: dict[tuple[str, str], list[Finding]] = {}
    for one in record.findings:
        found.setdefault((DOCTOR, one.check), []).append(Finding(
            check=one.check, outcome=one.outcome, says=one.says, blocker=one.blocker,
            subject=Subject(one.subject.kind, one.subject.name, one.subject.slot,
                            Bdf(one.subject.bdf) if one.subject.bdf else None),
            measured=Quantity(one.measured.value, one.measured.unit) if one.measured is not None else None))
    profile, began = record.profile, record.started.timestamp()
    why = "a record of doctor holds what it found, not what the machine has"
    return Side(found=found, cards_unread=why, items_unread=why, input=Input(
        label=label, name=os.path.basename(path).removesuffix(".json"), source="record", path=path, box=record.box,
        began=time_of(began), profile=profile.name if profile else None,
        revision=profile.revision if profile else None, profile_sha256=profile.sha256 if profile else None,
        outcome=record.verdict.outcome.value, disposition=None, reason=record.verdict.reason, state=None, gpus=None,
        notes=clock_notes(began)))

