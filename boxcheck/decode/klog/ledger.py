"""Folding: where the families put what they found, and how repetitions become counts."""

from __future__ import annotations

from typing import Any

from boxcheck.model import Bdf

from .envelope import Line
from .events import Cause, Event, Severity, Stamp

MAX_EVENTS = 20_000
"""Different events kept. A hostile log may name a million devices."""
MAX_LABEL_CHARACTERS = 96
MAX_QUOTED_CHARACTERS = 300
_QUOTED = " (quoted in a sentence, so perhaps of no machine)"
_GRAVITY: tuple[Severity, ...] = ("fail", "warn", "info", "benign")


class Fold:
    """One event while the log is read."""

    __slots__ = (
        "bdf", "boot", "cause", "details", "first", "fresh", "help", "kind", "labels", "last", "line", "multiple",
        "quoted", "says", "severity", "suppressed", "tallies", "text", "wall",
    )

    def __init__(self, kind: str, bdf: Bdf | None, labels: tuple[str, ...], line: Line, boot: int) -> None:
        self.kind = kind
        self.bdf = bdf
        self.labels = labels
        self.boot = boot
        self.line = line.number
        self.text = line.message[:MAX_QUOTED_CHARACTERS]
        self.first: Stamp = line.when
        self.last: Stamp = line.when
        self.wall = line.stamp
        """Wall time of the last sighting, as spelled, also where `last` is seconds."""
        self.quoted = line.quoted
        """Somebody quotes it within a sentence: whether it happened, nobody knows."""
        self.fresh = True
        self.tallies: dict[str, tuple[int, float | None]] = {}
        self.suppressed = 0
        self.multiple = False
        self.cause: Cause | None = None
        self.severity: Severity = "info"
        self.says = ""
        self.help: tuple[str, ...] = ()
        self.details: dict[str, Any] = {}

    def wants(self, severity: Severity) -> bool:
        """Whether to describe it: it is new, or this sighting is graver than those before."""
        return self.fresh or _GRAVITY.index(severity) < _GRAVITY.index(self.severity)

    def describe(
        self, severity: Severity, cause: Cause | None, says: str, help: tuple[str, ...] = (), **details: Any
    ) -> None:
        """Say what the event is. `details` are further fields of `Event`."""
        self.severity = severity
        self.cause = cause
        self.says = says
        self.help = help
        self.details.update(details)

    def tally(self, line: Line, variant: str, count: int, repeated: bool = False) -> None:
        """Count one more sighting.

        Variants are different messages about the same happening ("no space", then "failed to assign"): the event
        happened as often as the most frequent of them. The same variant at the same microsecond is the same message
        pasted twice; the first second is exempt, as early boot has one coarse clock, and so is a line that says that
        it stands for others (`repeated`).
        """
        seen, at = self.tallies.get(variant, (0, None))
        seconds = line.seconds
        if seconds is not None and seconds == at and seconds > 1.0 and not repeated:
            return
        self.tallies[variant] = (seen + count, seconds)
        stamp = line.stamp
        if stamp is not None:
            self.wall = stamp
        when = stamp if seconds is None else seconds
        if when is None:
            return
        if isinstance(when, float) and isinstance(self.first, float) and isinstance(self.last, float):
            self.first = min(self.first, when)
            self.last = max(self.last, when)
        else:
            self.first = when if self.first is None else self.first
            self.last = when

    @property
    def count(self) -> int:
        """How often it happened, as far as the text tells."""
        return max((seen for seen, _ in self.tallies.values()), default=0)

    def event(self) -> Event:
        """The finished event."""
        severity, says, helps = self.severity, self.says, self.help
        if self.quoted:
            says, helps = says + _QUOTED, ()
            severity = "info" if severity in ("fail", "warn") else severity
        return Event(
            kind=self.kind, bdf=self.bdf, labels=self.labels, count=self.count, suppressed=self.suppressed,
            multiple=self.multiple, cause=self.cause, severity=severity, says=says, help=helps,
            first=self.first, last=self.last, line=self.line, boot=self.boot, text=self.text, **self.details,
        )


class Ledger:
    """All events of one log."""

    def __init__(self) -> None:
        self.boot = 0
        self.dropped = 0
        self.taken = 0
        """Number of the latest line that a family understood."""
        self.times = 0
        """The line stands for so many more of its sort (`message repeated 3 times`), 0 for an ordinary one."""
        self.limits_log = False
        """The kernel of this boot limits how many errors of a device it logs (`aer_limit`)."""
        self._folds: dict[tuple[int, str, str | None, tuple[str, ...], bool], Fold] = {}
        self._latest: dict[str, Fold] = {}

    def add(
        self, kind: str, line: Line, *, bdf: Bdf | None = None, labels: tuple[str, ...] = (), variant: str = "",
        count: int = 1,
    ) -> Fold:
        """Count one happening; its fold is returned, `fresh` when it is the first of its kind, device and labels.

        A fresh fold wants `describe`.
        """
        key = (self.boot, kind, bdf, labels, line.quoted)
        fold = self._folds.get(key)
        if fold is None:
            short = tuple(label[:MAX_LABEL_CHARACTERS] for label in labels)
            fold = Fold(kind, bdf, short, line, self.boot)
            if len(self._folds) >= MAX_EVENTS:
                self.dropped += 1
            else:
                self._folds[key] = fold
        else:
            fold.fresh = False
        self.take(line)
        self._latest[kind] = fold
        if self.times:
            fold.tally(line, variant, count * self.times, repeated=True)
        else:
            fold.tally(line, variant, count)
        return fold

    def take(self, line: Line) -> None:
        """A family understood this line. `add` says so for its own; a family does for one that adds no event."""
        if line.number > self.taken:
            self.taken = line.number

    def latest(self, kind: str) -> Fold | None:
        """The fold of this kind that was counted last."""
        return self._latest.get(kind)

    def of_kind(self, *kinds: str) -> list[Fold]:
        """All folds of these kinds, in the order they were found."""
        return [fold for fold in self._folds.values() if fold.kind in kinds]

    def folds(self) -> list[Fold]:
        """All that was counted, by first line."""
        return sorted((fold for fold in self._folds.values() if fold.tallies), key=lambda fold: fold.line)
