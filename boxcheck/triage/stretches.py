"""Kernel logs that go on where another one ends: a file that was cut in two, a log that was rotated, two pastes of one
terminal. Events of both compare in time, as those of one log do.

Told by the seconds since boot, where the second log does not show the start of a boot and begins within a minute of
the end of the first, or both tell an event of one microsecond; by wall times only where both name one host.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from boxcheck.decode.klog import KernelLog
from boxcheck.triage.reading import SourceReading
from boxcheck.triage.times import clock_text, moment

CUT_SECONDS = 60.0
"""Between the last line of one and the first of the next. A longer silence may be a reboot."""


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Where the log of one source stands in a longer one."""

    log: int
    """The source that the whole begins with."""
    part: int
    """Its place among those of the whole, from 0."""
    boots_before: int
    """Boots of the whole that end before this source's first line."""
    whole: KernelLog
    """The log up to the end of this source, as one."""


def chains(readings: Sequence[SourceReading]) -> list[list[SourceReading]]:
    """The readings of one machine that have a log, those that are one log together and in order."""
    found: list[list[SourceReading]] = []
    for reading in sorted((one for one in readings if one.log is not None), key=_beginning):
        chain = next((chain for chain in found if _goes_on(chain[-1], reading)), None)
        if chain is None:
            found.append([reading])
        else:
            chain.append(reading)
    return found


def stretches(readings: Sequence[SourceReading]) -> Mapping[int, Stretch]:
    """By source."""
    found: dict[int, Stretch] = {}
    for chain in chains(readings):
        boots, whole = 0, None
        for part, reading in enumerate(chain):
            assert reading.log is not None
            whole = reading.log if whole is None else _joined(whole, reading.log)
            found[reading.index] = Stretch(
                log=chain[0].index, part=part, boots_before=boots, whole=whole)
            boots += max(reading.log.boots - 1, 0)
    return found


def notes(readings: Sequence[SourceReading]) -> Iterator[str]:
    """Which logs were read as one, and which were not."""
    all_ = chains(readings)
    for chain in all_:
        for before, after in itertools.pairwise(chain):
            how = "is of the same boot as" if _share(before.log, after.log) else "goes on from the end of"
            yield f"{after.name} {how} {before.name}: both are read as one log"
    bad = [chain for chain in all_ if any(
        event.severity in ("fail", "warn") for one in chain if one.log is not None for event in one.log.events)]
    if len(bad) > 1:
        names = ", ".join(f"{chain[0].name}{_span(chain)}" for chain in bad[:4]) + (" ..." if len(bad) > 4 else "")
        yield f"what of one log led to what in another: {names} do not go on from each other, so no times are compared"


def _span(chain: Sequence[SourceReading]) -> str:
    first, last = chain[0].log, chain[-1].log
    if first is None or last is None or first.first_seconds is None or last.last_seconds is None:
        return ""
    return f" ({clock_text(first.first_seconds)} to {clock_text(last.last_seconds)})"


def _beginning(reading: SourceReading) -> tuple[float, int]:
    log = reading.log
    assert log is not None
    if log.first_seconds is not None:
        return log.first_seconds, reading.index
    return next(_walls(log), 0.0), reading.index


def _walls(log: KernelLog) -> Iterator[float]:
    for event in log.events:
        at = moment(event.first) if isinstance(event.first, str) else None
        if at is not None:
            yield at


def _goes_on(before: SourceReading, after: SourceReading) -> bool:
    first, second = before.log, after.log
    if first is None or second is None:
        return False
    if _share(first, second):
        return True
    if second.facts.from_boot and second.boots <= 1:
        return False
    if before.host != after.host and before.host is not None and after.host is not None:
        return False
    if first.last_seconds is not None and second.first_seconds is not None:
        return 0 <= second.first_seconds - first.last_seconds <= CUT_SECONDS
    if before.host is None or first.last_seconds is not None or second.first_seconds is not None:
        return False
    ends = [at for event in first.events if isinstance(event.last, str) and (at := moment(event.last)) is not None]
    begins = next(_walls(second), None)
    return bool(ends) and begins is not None and max(ends) <= begins


def _share(first: KernelLog | None, second: KernelLog | None) -> bool:
    """Whether an event stands in both: of one boot each, and timed to the microsecond, it is one boot."""
    if first is None or second is None or first.boots > 1 or second.boots > 1:
        return False
    keys = {(event.kind, event.bdf, event.first) for event in first.events if isinstance(event.first, float)}
    return any((event.kind, event.bdf, event.first) in keys for event in second.events)


def _joined(first: KernelLog, second: KernelLog) -> KernelLog:
    """What holds of both together, as far as rules ask."""
    starts = first.facts.from_boot or second.facts.from_boot
    return msgspec.structs.replace(
        second, events=(*first.events, *second.events), facts=msgspec.structs.replace(second.facts, from_boot=starts),
        lines=first.lines + second.lines, first_seconds=first.first_seconds,
        boots=first.boots + max(second.boots - 1, 0), truncated=first.truncated or second.truncated,
        before_since=first.before_since + second.before_since)

