"""Where lines go as they come: standard output for `-`, else a file that grows. A file that can no longer be written is
one error, and costs nothing else; a pipe whose reader has gone ends who follows, never the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import TextIO

from boxcheck.report.encoding import write_data
from boxcheck.report.output import HELP, open_grown
from boxcheck.usage import UsageError


class Lines:
    """A context manager. BrokenPipeError when the reader has gone; UsageError where the file cannot be made."""

    def __init__(self, place: str | None, again: str = "boxcheck attach RUN --jsonl FILE") -> None:
        """None: every line goes nowhere. `again`: what writes all of it once more."""
        self._place, self._again = place, again
        self._file: TextIO | None = None
        if place == "-":
            self._file = sys.stdout
        elif place is not None:
            try:
                self._file = open_grown(place)
            except OSError as error:
                raise UsageError(f"{place}: {os.strerror(error.errno or 0).lower()}", HELP) from None

    @property
    def wanted(self) -> bool:
        return self._file is not None

    def write(self, lines: Iterable[str]) -> None:
        """All of them at once, each ended by a line feed. Nothing is said twice of a file that cannot be written."""
        if self._file is None:
            return
        text = "".join(f"{one}\n" for one in lines)
        if not text:
            return
        try:
            if self._file is sys.stdout:
                write_data(text)
            else:
                self._file.write(text)
                self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            where = "standard output" if self._place == "-" else self._place
            print(
                f"error: {where}: {os.strerror(error.errno or 0).lower()}\nhelp: nothing more is written there; the run"
                f" goes on, and {self._again} writes all of it once more",
                file=sys.stderr, flush=True)
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None and file is not sys.stdout:
            with suppress(OSError):  # what was buffered cannot be written either, and that was said
                file.close()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()
