"""Looks whether a store is whole: every page, every row, every record, and whether all are there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from boxcheck.store.errors import StoreError
from boxcheck.store.reader import READINGS, RunReader
from boxcheck.store.results import INCOMPLETE, results_of
from boxcheck.store.rows import Counts
from boxcheck.store.schema import BLOCKS, ENDS, TABLES

MOST = 20
"""Complaints of SQLite's own check that are told."""
COUNTED = tuple(name for name in TABLES if name not in ("tail", "blocks"))
NO_LOSS = frozenset(("copies",))
"""Tables of what is elsewhere as well."""


def missing_rows(run: RunReader) -> dict[str, int]:
    """Rows by table that there must have been and are gone: their numbers begin at 1 and leave none out, the end of a
    run counts them, and a salvage tells what it could not save. Records of phases are counted with these
    (boxcheck.store.results)."""
    base, found = run.database, dict[str, int]()
    with base.snapshot():
        salvaged = run.run().salvaged
        told = salvaged.get("missing") if isinstance(salvaged, dict) else None
        counts: dict[str, int] = {}
        for row in base.rows(ENDS):
            for name, number in base.decoded(row[-2], Counts).counts.items():
                counts[name] = max(number, counts.get(name, 0))
        for name in COUNTED:
            # A salvage adds one row, with the number after the last that it found.
            own = " WHERE key != 'salvaged'" if name == "meta" else ""
            ((number, highest),) = base.execute(f"SELECT count(*), coalesce(max(id), 0) FROM {name}{own}")
            lost = max(highest, counts.get(name, 0)) - number
            if lost > 0:
                found[name] = lost
    for name, number in told.items() if isinstance(told, dict) else ():
        if isinstance(number, int):
            found[str(name)] = max(number, found.get(str(name), 0))
    return {name: number for name, number in found.items() if number > 0 and name not in NO_LOSS}


def in_words(missing: Mapping[str, int]) -> tuple[str, ...]:
    """`3 events are missing`, a clause for each table."""
    return tuple(
        f"{number} {name if number != 1 else name.removesuffix('s')} {'is' if number == 1 else 'are'} missing"
        for name, number in missing.items())


def complaints(path: str) -> tuple[str, ...]:
    """What is wrong with a store, a clause each; empty where nothing is. StoreError where it cannot be opened."""
    with RunReader(path) as run:
        try:
            return tuple(_complaints(run))
        except StoreError as error:
            return (str(error),)


def _complaints(run: RunReader) -> list[str]:
    base = run.database
    found: list[str] = []
    with base.snapshot():
        found += [str(row[0]) for row in islice(base.execute("PRAGMA quick_check(20)"), MOST) if row[0] != "ok"]
        if found:
            return found
        counts: dict[str, int] = {}
        for name, table in TABLES.items():
            numbers = [row[0] for row in base.rows(table)]
            counts[name] = len(numbers)
            if name in COUNTED and numbers and numbers[-1] != len(numbers):
                found.append(f"{numbers[-1] - len(numbers)} rows of {name} are missing")
        found += _out_of_order(run)
        end = run.run().end
        for name, number in (end.counts if end else {}).items():
            if counts.get(name, 0) < number and name in COUNTED:
                found.append(f"{name} has {counts.get(name, 0)} of {number} rows")
        for phase in run.phases():
            if phase.state == "ended":
                found += [
                    f"phase {phase.plan.number}: {one.says}"
                    for one in results_of(run, phase.plan.number).troubles if one.kind == INCOMPLETE]
        _read_all(run)
    return list(dict.fromkeys(found))


def _out_of_order(run: RunReader) -> list[str]:
    """Records are numbered as they came, each once."""
    before, folds = 0, dict[int, tuple[int, int]]()
    for row in run.database.rows(BLOCKS):
        fold, first, last = row[4:7]
        low, high = folds.get(fold, (first, last))
        folds[fold] = (min(low, first), max(high, last))
    found = []
    for low, high in folds.values():
        if low <= before:
            found.append(f"records {low} to {high} have numbers that were given before")
        before = high
    return found


def _read_all(run: RunReader) -> None:
    """StoreError where anything cannot be read."""
    streams: list[Any] = [run.samples(), run.events(), run.findings()]
    for stream in streams:
        for _ in stream:
            pass
    for minute in run.database.records(READINGS):
        for rows in minute:
            run.read_rows(rows)
    run.verdict()
    for name in run.attachments():
        run.attachment(name)
