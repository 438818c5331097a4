"""What is written of a run while it is followed: `--jsonl` and `--ocptv`, each to its own place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from boxcheck.report.lines import Lines

if TYPE_CHECKING:
    from boxcheck.certify.acceptance import Acceptance
    from boxcheck.engine.detach import Progress
    from boxcheck.model import Verdict
    from boxcheck.store.reader import RunReader
    from boxcheck.store.rows import Event, Phase, Run

AGAIN = "boxcheck report RUN --ocptv FILE"


class Stream(Protocol):
    """Makes lines of a run: `boxcheck.engine.stream.Stream`, `boxcheck.report.ocptv_run.OcptvStream`."""

    def look(
        self, reader: RunReader, run: Run, phases: Sequence[Phase], news: Sequence[Event], /) -> list[str]: ...
    def end(self, run: Run, verdict: Verdict, history: Any = None, /) -> list[str]: ...


class Streams(NamedTuple):
    """What makes the lines, in place of that for a run by itself: of the run of an acceptance."""

    jsonl: Stream | None = None
    ocptv: Stream | None = None
    decided: Callable[[], Acceptance | None] = lambda: None
    """The acceptance that the account of the run ends with, asked for when the run is over."""


NO_STREAMS = Streams()


class Telling:
    """A context manager. Places are opened when it is made (UsageError where one cannot be), before a run begins."""

    def __init__(
        self, jsonl: str | None, ocptv: str | None, strict: bool = False, streams: Streams = NO_STREAMS,
    ) -> None:
        self.decided = streams.decided
        self._told: list[tuple[Lines, Stream]] = []
        if jsonl is not None:
            from boxcheck.engine.stream import Stream as JsonStream

            self._told.append((Lines(jsonl), streams.jsonl or JsonStream(strict)))
        if ocptv is not None:
            from boxcheck.report.ocptv_run import OcptvStream

            self._told.append((Lines(ocptv, AGAIN), streams.ocptv or OcptvStream(strict)))
        self._fresh: list[tuple[Lines, list[str]]] = []

    @property
    def wanted(self) -> bool:
        return any(lines.wanted for lines, _ in self._told)

    def look(self, reader: RunReader, progress: Progress) -> None:
        """Reads what is new. It is written by `write`, when the store is closed again."""
        self._fresh += [
            (lines, stream.look(reader, progress.run, progress.phases, progress.news))
            for lines, stream in self._told if lines.wanted]

    def write(self) -> None:
        """BrokenPipeError where a reader has gone."""
        fresh, self._fresh = self._fresh, []
        for lines, texts in fresh:
            lines.write(texts)

    def end(self, run: Run, verdict: Verdict, history: Any) -> None:
        for lines, stream in self._told:
            if lines.wanted:
                lines.write(stream.end(run, verdict, history))

    def __enter__(self) -> Telling:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for lines, _ in self._told:
            lines.__exit__(kind, error, at)
