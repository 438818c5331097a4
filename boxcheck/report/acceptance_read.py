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
from boxcheck.engine.agreed_load import as_agreed
from boxcheck.engine.boundaries import stored
from boxcheck.engine.inspect import Facts, name_slots
from boxcheck.engine.kept_profile import profile_named, profile_of
from boxcheck.engine.link_course import enter, ledger_of
from boxcheck.engine.rejudge import rejudge
from boxcheck.engine.stored_verdict import with_stored
from boxcheck.engine.watch_judging import BEFORE, facts_in
from boxcheck.engine.wholeness import Lacks, lacks_of
from boxcheck.judge import strictly
from boxcheck.model import Bdf, Verdict
from boxcheck.profile import Profile
from boxcheck.registry import discover, discover_stress
from boxcheck.report.acceptance_series import Courses
from boxcheck.report.acceptance_told import Attached, Counted, Done, Told, bare_finding
from boxcheck.report.measured import ColumnRows
from boxcheck.riser.evidence import Notebook
from boxcheck.store.reader import RunReader
from boxcheck.store.rebuild import Link, Rows, link_readings, links_in
from boxcheck.store.results import no_collections, results_of, watching_of
from boxcheck.store.rows import Phase, Run, bare
from boxcheck.store.verify import in_words, missing_rows
from boxcheck.stress.judging import forget
from boxcheck.stress.link_ledger import RECEIVED, UNANSWERED, Ledger
from boxcheck.telemetry.readings import LinkReading


def told_of(
    path: str, profile: str | None = None, acceptance: Acceptance | None = None, notebook: Notebook | None = None,
    strict: bool = False,
) -> Told:
    """Raises StoreError for what is no store, UsageError and ProfileError for a profile that is not there."""
    discover()
    discover_stress()
    with RunReader(path) as reader, no_collections():
        want, note = profile_of(reader) if profile is None else (profile_named(profile), "")
        run, phases = reader.run(), reader.phases()
        gone = in_words(missing_rows(reader))
        lacks = lacks_of(reader, want) if run.info.kind in ("burn", "certify") else None
        before = facts_in(reader, BEFORE)
        facts = before or Facts()
        name_slots(facts, want)
        ledger = ledger_of(phases, facts)
        end = run.end.at.seconds if run.end else _last_seconds(reader, phases)
        small = {one.plan.number for one in phases if one.start is not None and not one.start.full_size}
        courses = Courses(reader, 0.0, max(end, 1.0), small)
        verdict = None if profile is not None or note else _own_verdict(reader, run, gone)
        if verdict is not None:
            judged, done = f"when the run ended, by boxcheck {run.info.version}", _done(reader, phases, ledger, courses)
        else:
            verdict, judged, done = _judged(reader, phases, want, profile is not None, ledger, courses)
            if acceptance is not None and profile is not None:
                verdict = as_agreed(verdict, reader, want)
        if strict := strict or (acceptance is not None and acceptance.strict):
            verdict = strictly(verdict)
        keys = {info.key: info.bdf or info.key for one in done for info in one.results.gpus}
        return Told(
            run=run, run_id=run.info.id or os.path.basename(path).rpartition(".")[0], acceptance=acceptance,
            notebook=notebook, strict=strict, want=want, profile_note=note, verdict=verdict, judged=judged,
            phases=phases, done=done,
            missing=(*gone, *_lacking(lacks)), facts=facts,
            has_capture=before is not None, directions=tuple(ledger.directions()),
            unattributed=ledger.unattributed, counted=_counted(reader, courses), boundaries=stored(reader),
            series=courses.result(keys), events=tuple(one for one in reader.events() if one.severity != "info"),
            documents=_documents(reader), store_sha256="" if run.state == "running" else _sha256_of(path),
            store_bytes=os.path.getsize(path), seconds=end, phases_of=_phases_of(reader, phases))


def _last_seconds(reader: RunReader, phases: Sequence[Phase]) -> float:
    """Age of the run at the last thing that its store knows of."""
    ends = [one.seconds for phase in phases for one in (phase.started, phase.ended) if one is not None]
    records = [at / 1000 for sql in ("SELECT max(ended_ms) FROM blocks", "SELECT max(at_ms) FROM tail")
               for (at,) in reader.database.execute(sql) if isinstance(at, int)]
    return max([0.0, *ends, *records, *(one.at.seconds for one in reader.events())])


def _lacking(lacks: Lacks | None) -> tuple[str, ...]:
    """What of the plan was not run, beside the state of the run, which is told by itself."""
    if lacks is None:
        return ()
    states = ("it goes on", "it was stopped before its end", "it did not come to its end")
    rest = msgspec.structs.replace(lacks, others=tuple(one for one in lacks.others if one not in states))
    return (rest.words,) if rest.number else ()


def _phases_of(reader: RunReader, phases: Sequence[Phase]) -> dict[bytes, tuple[str, ...]]:
    found: dict[bytes, dict[str, None]] = {}
    for phase in phases:
        if phase.plan.module:
            for one in reader.findings(phase.plan.number):
                found.setdefault(bare_finding(one), {})[phase.plan.name] = None
    return {one: tuple(names) for one, names in found.items()}


def _own_verdict(reader: RunReader, run: Run, gone: Sequence[str]) -> Verdict | None:
    """That which a run ended with; None where it did not come to its end, or where anything is missing in the store."""
    whole = run.end is not None and run.end.state == "finished" and not gone and run.salvaged is None
    return reader.verdict() if whole else None


def _judged(
    reader: RunReader, phases: Sequence[Phase], want: Profile, chosen: bool, ledger: Ledger, courses: Courses
) -> tuple[Verdict, str, tuple[Done, ...]]:
    """Judged anew, from the store alone; by the run's own profile the graver of both verdicts."""
    again = rejudge(reader, want, chosen, ledger=ledger, seen=courses.see)
    verdict, other = again.verdict, ""
    if not chosen and reader.run().end is not None:
        verdict, other = with_stored(verdict, reader.verdict(), want)
    every = zip((phase for phase in phases if phase.plan.module), again.results, again.watching, again.measured,
                strict=True)
    done = tuple(Done(phase=phase, results=results, watching=watching, measured=measured)
                 for phase, results, watching, measured in every if phase.about is not None)
    return verdict, "; ".join(filter(None, ("for this report, from the store alone", other))), done


def _done(reader: RunReader, phases: Sequence[Phase], ledger: Ledger, courses: Courses) -> tuple[Done, ...]:
    found = list[Done]()
    for phase in phases:
        if not phase.plan.module or phase.about is None:
            continue
        rows = ColumnRows(phase.plan.module)

        def see(records: Rows, rows: ColumnRows = rows) -> None:
            courses.see(records)
            rows.see(records)

        results = results_of(reader, phase.plan.number, only_judged=True, seen=see, wanted=rows.wanted)
        watching = watching_of(reader, phase.plan.number, seen=courses.see)
        enter(ledger, phase, results, watching)
        found.append(Done(phase=phase, results=bare(results), watching=watching, measured=rows.result(results)))
        del results
        forget()  # a phase's samples go before those of the next are read
    return tuple(found)


def _counted(reader: RunReader, courses: Courses) -> dict[Bdf, Counted]:
    """The first and the last reading of each function, phase by phase: what is between them is not looked at here. Of a
    function that is known already no record is read: a day has hundreds of phases."""
    first: dict[Bdf, LinkReading] = {}
    last: dict[Bdf, LinkReading] = {}
    phases = sorted({phase for phase, _ in courses.links})
    with reader.guarded("records"):
        for phase in phases:
            begin = (one for rows in _ends(courses, phase, 0) for link in links_in(rows.stream.columns)
                     if Bdf(link.bdf) not in first for one in _links(link, rows)
                     if isinstance(one.correctable, tuple))
            for one in sorted(begin, key=lambda reading: reading.monotonic_seconds):
                first.setdefault(one.bdf, one)
        for phase in reversed(phases):
            end = (one for rows in _ends(courses, phase, 1) for link in links_in(rows.stream.columns)
                   if Bdf(link.bdf) not in last for one in _links(link, rows, (len(rows.numbers) - 1,)))
            last |= {one.bdf: one for one in sorted(end, key=lambda reading: reading.monotonic_seconds)}
    return {bdf: _counts(first.get(bdf), last.get(bdf)) for bdf in sorted({*first, *last})}


def _ends(courses: Courses, phase: int, at: int) -> Iterator[Rows]:
    """The first (0) or the last (1) records of links of a phase, of each stream that has any."""
    return (rows for (of, _), ends in courses.links.items() if of == phase and (rows := ends[at]).numbers)


def _links(link: Link, rows: Rows, where: Sequence[int] | None = None) -> list[LinkReading]:
    return [one for one in link_readings(link, rows, where) if isinstance(one, LinkReading)]


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
