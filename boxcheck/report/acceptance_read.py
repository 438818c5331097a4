"""All that a report tells, read once from the store of a run: `told_of(path, profile, acceptance)`.

The verdict is the one that the run ended with, where the store is whole and no other profile was named; `boxcheck
judge` judges it again. Of a run that was cut off, stopped or damaged, and by another profile, it is judged here, from
the store alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

import msgspec

from boxcheck.certify.acceptance import Acceptance
from boxcheck.engine.boundaries import stored
from boxcheck.engine.inspect import Facts, name_slots
from boxcheck.engine.kept_profile import profile_of
from boxcheck.engine.link_course import enter, ledger_of
from boxcheck.engine.rejudge import rejudge
from boxcheck.engine.stored_verdict import with_stored
from boxcheck.engine.watch_judging import BEFORE, facts_in
from boxcheck.engine.wholeness import Lacks, lacks_of
from boxcheck.model import Bdf, Verdict
from boxcheck.profile import Profile, load_profile
from boxcheck.registry import discover, discover_stress
from boxcheck.report.acceptance_series import series_of
from boxcheck.report.acceptance_told import Attached, Counted, Done, Told, bare_finding
from boxcheck.report.measured import measured_of
from boxcheck.riser.evidence import Notebook
from boxcheck.store.reader import RunReader
from boxcheck.store.results import no_collections, results_of, watching_of
from boxcheck.store.rows import Phase, Run, bare
from boxcheck.store.verify import in_words, missing_rows
from boxcheck.stress.judging import forget
from boxcheck.stress.link_ledger import RECEIVED, UNANSWERED, Ledger
from boxcheck.telemetry.readings import LinkReading


def told_of(
    path: str, profile: str | None = None, acceptance: Acceptance | None = None, notebook: Notebook | None = None
) -> Told:
    """Raises StoreError for what is no store, UsageError and ProfileError for a profile that is not there."""
    discover()
    discover_stress()
    with RunReader(path) as reader, no_collections():
        want, note = profile_of(reader) if profile is None else (load_profile(profile), "")
        run = reader.run()
        gone = in_words(missing_rows(reader))
        lacks = lacks_of(reader) if run.info.kind in ("burn", "certify") else None
        verdict, judged = _verdict(reader, run, want, note, profile is not None, gone)
        before = facts_in(reader, BEFORE)
        facts = before or Facts()
        name_slots(facts, want)
        phases = reader.phases()
        done, ledger = _done(reader, phases, facts)
        end = run.end.at.seconds if run.end else _last_seconds(reader, phases)
        keys = {info.key: info.bdf or info.key for one in done for info in one.results.gpus}
        series = series_of(reader, 0.0, max(end, 1.0), keys)
        size = os.path.getsize(path)
        return Told(
            run=run, run_id=run.info.id or os.path.basename(path).rpartition(".")[0], acceptance=acceptance,
            notebook=notebook, want=want, profile_note=note, verdict=verdict, judged=judged, phases=phases, done=done,
            missing=(*gone, *_lacking(lacks)), facts=facts,
            has_capture=before is not None, directions=tuple(ledger.directions()),
            unattributed=ledger.unattributed, counted=_counted(reader, phases), boundaries=stored(reader),
            series=series, events=tuple(one for one in reader.events() if one.severity != "info"),
            documents=_documents(reader), store_sha256="" if run.state == "running" else _sha256_of(path),
            store_bytes=size, seconds=end, phase_of=_phases_of(reader, phases))


def _lacking(lacks: Lacks | None) -> tuple[str, ...]:
    """What of the plan was not run, beside the state of the run, which is told by itself."""
    if lacks is None:
        return ()
    states = ("it goes on", "it was stopped before its end", "it did not come to its end")
    rest = msgspec.structs.replace(lacks, others=tuple(one for one in lacks.others if one not in states))
    return (rest.words,) if rest.number else ()


def _phases_of(reader: RunReader, phases: Sequence[Phase]) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for phase in phases:
        if phase.plan.module:
            for one in reader.findings(phase.plan.number):
                found.setdefault(bare_finding(one), phase.plan.name)
    return found


def _last_seconds(reader: RunReader, phases: Sequence[Phase]) -> float:
    """Age of the run at the last thing that its store knows of."""
    ends = [one.seconds for phase in phases for one in (phase.started, phase.ended) if one is not None]
    records = [at / 1000 for sql in ("SELECT max(ended_ms) FROM blocks", "SELECT max(at_ms) FROM tail")
               for (at,) in reader.database.execute(sql) if isinstance(at, int)]
    return max([0.0, *ends, *records, *(one.at.seconds for one in reader.events())])


def _verdict(
    reader: RunReader, run: Run, want: Profile, note: str, chosen: bool, gone: Sequence[str]
) -> tuple[Verdict, str]:
    verdict = reader.verdict()
    whole = run.end is not None and run.end.state == "finished" and not gone and run.salvaged is None
    if verdict is not None and whole and not chosen and not note:
        return verdict, f"when the run ended, by boxcheck {run.info.version}"
    again = rejudge(reader, want, chosen).verdict
    if not chosen and run.end is not None:
        again, other = with_stored(again, verdict, want)
        if other:
            return again, f"for this report, from the store alone; {other}"
    return again, "for this report, from the store alone"


def _done(reader: RunReader, phases: Sequence[Phase], facts: Facts) -> tuple[tuple[Done, ...], Ledger]:
    ledger, found = ledger_of(phases, facts), list[Done]()
    for phase in phases:
        if not phase.plan.module or phase.about is None:
            continue
        results = results_of(reader, phase.plan.number, only_judged=True)
        watching = watching_of(reader, phase.plan.number)
        enter(ledger, phase, results, watching)
        found.append(Done(phase=phase, results=bare(results), watching=watching, measured=measured_of(results)))
        del results
        forget()  # a phase's samples go before those of the next are read
    return tuple(found), ledger


def _counted(reader: RunReader, phases: Sequence[Phase]) -> dict[Bdf, Counted]:
    """The first and the last reading of each function, phase by phase: what is between them is not looked at here."""
    first: dict[Bdf, LinkReading] = {}
    last: dict[Bdf, LinkReading] = {}
    for phase in phases:
        here: dict[Bdf, LinkReading] = {}
        for one in _links(reader, phase.plan.number, last=False):
            if isinstance(one.correctable, tuple):
                here[one.bdf] = min((here.get(one.bdf, one), one), key=lambda link: link.monotonic_seconds)
        first = here | first
        here = {}
        for one in _links(reader, phase.plan.number, last=True):
            here[one.bdf] = max((here.get(one.bdf, one), one), key=lambda link: link.monotonic_seconds)
        last |= here
    return {bdf: _counts(first.get(bdf), last.get(bdf)) for bdf in sorted({*first, *last})}


def _links(reader: RunReader, phase: int, *, last: bool) -> Iterator[LinkReading]:
    """Readings of links of the first minute of a phase, or of its last."""
    for minute in reader.database.records(("links",), phase, last=last):
        for rows in minute:
            yield from (one for _, one in reader.read_rows(rows) if isinstance(one, LinkReading))
        if not last:
            return


def _counts(first: LinkReading | None, last: LinkReading | None) -> Counted:
    end = last.correctable if last is not None else None
    if first is None or not isinstance(end, tuple):
        return Counted(unread="this function has no counters" if end is None or isinstance(end, tuple) else end.why)

    def named(reading: LinkReading) -> dict[str, int]:
        counts = reading.correctable if isinstance(reading.correctable, tuple) else ()
        return {one.name: one.count for one in counts
                if one.name in (*RECEIVED, *UNANSWERED) and isinstance(one.count, int)}

    assert last is not None
    return Counted(first=named(first), last=named(last))


def _documents(reader: RunReader) -> tuple[Attached, ...]:
    found = []
    for name in reader.attachments():
        data = reader.attachment(name)
        if data is not None:
            found.append(Attached(name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
    return tuple(found)


def _sha256_of(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
