"""Whether the run of an attempt is there, can be read and is the one that the attempt began; the acceptance where it
is gone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from boxcheck import __version__
from boxcheck.certify.acceptance import Acceptance
from boxcheck.certify.attempts import Asked
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError
from boxcheck.version import source_commit


class RunGoneError(UsageError):
    """The run of an attempt is not there or damaged, or another lies in its place."""


def mark_of(path: str) -> str:
    """What tells a run from others: its first session, whatever its file is called. StoreError where it cannot be
    read."""
    with RunReader(path) as reader:
        sessions = reader.run().sessions
    if not sessions:
        return ""
    first = sessions[0]
    told = f"{first.boot} {first.pid} {first.monotonic_seconds:.3f} {first.began.wall:.3f}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


END = "end the attempt without it: boxcheck certify --resume SERIAL --end"


@contextmanager
def own_run(asked: Asked) -> Iterator[None]:
    """RunGoneError where the attempt's run is gone or another, or what is done with it finds it damaged."""
    try:
        refuse_other_run(asked)
        yield
    except StoreError as error:
        if error.kind not in ("damaged", "not-a-store"):
            raise
        raise RunGoneError(f"the run of {asked.name} is lost: {error}", f"{error.help}, or {END}") from None


def refuse_other_run(asked: Asked) -> None:
    """RunGoneError where the attempt's run is gone or is another than it began."""
    help = f"put it back, or {END}"
    if not os.path.lexists(asked.run):
        raise RunGoneError(f"the run of {asked.name} is gone: {plain_line(asked.run)}", help)
    if asked.run_mark and mark_of(asked.run) != asked.run_mark:
        raise RunGoneError(f"{plain_line(asked.run)} is another run than the one that {asked.name} began", help)


def without_run(
    asked: Asked, why: str, earlier: Sequence[str], *, now: float, clock_trusted: bool | None,
    machine: Mapping[str, str],
) -> Acceptance:
    """What is known of an attempt of which no run is there: that it came to nothing."""
    return Acceptance(
        id=asked.id, version=__version__, commit=source_commit() or "", identity=asked.identity, attempt=asked.attempt,
        attempts=asked.attempt, earlier=tuple(earlier), profile=asked.profile, profile_revision=asked.profile_revision,
        profile_sha256=asked.profile_sha256, started=asked.began, finished=now, clock_trusted=clock_trusted,
        run=plain_line(os.path.basename(asked.run).rpartition(".")[0]), disposition="INCOMPLETE", verdict="unknown",
        reason=f"{why}; what it found is not known", verdict_string="run-gone", waivers=asked.waivers, exit_code=3,
        planned=asked.planned, shortened=asked.shortened, left_out=("everything but this: the run is gone",),
        machine=machine)
