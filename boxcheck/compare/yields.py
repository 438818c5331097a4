"""The yield of a line from its attempts: how many boxes passed the first time, how many in the end, and which check
they failed first. Pure.

An attempt is finished where it was judged: PASS, MARGINAL PASS, FAIL. INCOMPLETE, ABORTED and what has not ended are no
result, and counted apart. A box is one serial number; further attempts of it are retests. A pass with waivers is told
apart and is in no yield. Bounds are exact (boxcheck.binomial).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from boxcheck.binomial import CONFIDENCE, interval
from boxcheck.certify.waivers import OLDEST_CLOCK
from boxcheck.store.texts import decode_plain

SCHEMA = "boxcheck.yield/1"
Result = Literal["PASS", "MARGINAL PASS", "FAIL", "INCOMPLETE", "ABORTED", "OPEN", "UNREAD"]
"""As a disposition; `OPEN`: it has not ended; `UNREAD`: its folder is damaged."""
FINISHED: frozenset[Result] = frozenset(("PASS", "MARGINAL PASS", "FAIL"))
PASSED: frozenset[Result] = frozenset(("PASS", "MARGINAL PASS"))
By = Literal["profile", "station", "operator", "work-order", "month", "day"]
NOT_BOOKED = "(no check is named)"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of one box, as far as it is known."""

    serial: str
    number: int
    """From 1; 0 where nobody counted, and the order of times tells."""
    result: Result
    with_waivers: bool = False
    booked: str = ""
    """The check that it is booked on: `pcie.link-width PCIE3`."""
    started: float | None = None
    """Seconds since the epoch; None where it is not known."""
    profile: str = ""
    station: str = ""
    operator: str = ""
    work_order: str = ""
    where: str = ""
    """The folder or the store; empty where only a later attempt tells of it."""
    run: str = ""
    """Id of the run."""

    @property
    def dated(self) -> bool:
        """Whether its time can be believed: a clock that was never set starts in 1970."""
        return self.started is not None and self.started >= OLDEST_CLOCK


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A yield with its bounds."""

    passed: int
    of: int
    percent: float | None
    """null where there is nothing to count."""
    low_percent: float | None
    high_percent: float | None
    """Clopper and Pearson, two-sided, 95 %."""


class Pareto(msgspec.Struct, frozen=True, kw_only=True):
    """How many boxes failed this check first."""

    check: str
    boxes: int
    percent: float
    """Of the boxes that failed."""
    cumulative_percent: float
    parts: tuple[str, ...]
    """Where, the most frequent first: `PCIE3 (4)`."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """A line, or a part of it."""

    name: str
    """Of the part; empty for all of it."""
    boxes: int
    attempts: int
    first_pass: Share
    """First attempts that passed without waivers, of those that were finished."""
    final: Share
    """Boxes whose last finished attempt passed without waivers, of those that have one."""
    first_with_waivers: int
    final_with_waivers: int
    first_marginal: int
    """Passes of the first attempt within the margin; they are passes."""
    first_not_finished: Mapping[str, int]
    """Boxes whose first attempt gave no result, by what became of it: they are not in the first-pass yield."""
    not_finished: Mapping[str, int]
    """All attempts without a result."""
    never_finished: int
    """Boxes without any result."""
    attempts_to_pass: float | None
    """Mean number of attempts of the boxes that passed in the end."""
    retested: int
    """Boxes with more than one attempt."""


class Yield(msgspec.Struct, frozen=True, kw_only=True):
    schema: str = SCHEMA
    version: str
    confidence: float = CONFIDENCE
    since: str | None
    until: str | None
    """The window, by when the first attempt of a box began; ISO, UTC."""
    filters: Mapping[str, str]
    total: Counts
    by: By | None
    parts: tuple[Counts, ...]
    pareto: tuple[Pareto, ...]
    incomplete: tuple[Pareto, ...]
    """On what attempts without a result are booked, by the box's first of them."""
    told: tuple[str, ...]
    """What is not in the numbers, and why."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Which boxes are meant."""

    since: float | None = None
    until: float | None = None
    profile: str | None = None
    station: str | None = None
    operator: str | None = None
    work_order: str | None = None


def yield_of(
    attempts: Iterable[Attempt], window: Window, by: By | None, version: str, told: Sequence[str] = ()
) -> Yield:
    """The yield of the boxes in the window. `told`: what could not be read."""
    lines = list(told)
    boxes: dict[str, list[Attempt]] = {}
    for one in attempts:
        boxes.setdefault(one.serial, []).append(one)
    chosen: dict[str, list[Attempt]] = {}
    undated = unknown_first = later = 0
    for serial, some in sorted(boxes.items()):
        ordered = in_order(some)
        first = ordered[0]
        if first.number > 1:
            unknown_first += 1
        if (window.since is not None or window.until is not None) and not first.dated:
            undated += 1
            continue
        if not _is_meant(first, ordered, window):
            continue
        kept = [one for one in ordered if window.until is None or not one.dated or (one.started or 0) <= window.until]
        later += len(ordered) - len(kept)
        chosen[serial] = kept
    if undated:
        lines.append(f"{undated} {_boxes(undated)} whose first attempt has no believable date: left out of the window")
    if unknown_first:
        lines.append(f"of {unknown_first} {_boxes(unknown_first)} the first attempt is not known, so "
                     f"{'it is' if unknown_first == 1 else 'they are'} not in the first-pass yield")
    if later:
        lines.append(f"{later} attempt{'' if later == 1 else 's'} after the end of the window: left out")
    parts: dict[str, list[list[Attempt]]] = {}
    if by is not None:
        for some in chosen.values():
            parts.setdefault(_part(by, some) or "(not told)", []).append(some)
    every = list(chosen.values())
    made = Yield(
        version=version, since=_iso(window.since), until=_iso(window.until), told=tuple(lines), by=by,
        filters={name: value for name in ("profile", "station", "operator", "work_order")
                 if (value := getattr(window, name)) is not None},
        total=_counts("", every), parts=tuple(_counts(name, some) for name, some in sorted(parts.items())),
        pareto=_pareto(every, lambda one: one.result == "FAIL"),
        incomplete=_pareto(every, lambda one: one.result in ("INCOMPLETE", "ABORTED")))
    plain: Yield = decode_plain(msgspec.json.encode(made), Yield)  # names come from elsewhere
    return plain


def in_order(some: Sequence[Attempt]) -> list[Attempt]:
    """The attempts of a box, the first one first: by their numbers where each has its own, else by time. Two stations
    that did not know of each other both begin with 1."""
    numbers = [one.number for one in some]
    if all(numbers) and len(set(numbers)) == len(numbers):
        return sorted(some, key=lambda one: one.number)
    return sorted(some, key=lambda one: (one.started is None, one.started or 0.0, one.number))


def _is_meant(first: Attempt, some: Sequence[Attempt], window: Window) -> bool:
    """By its first attempt; where a later one alone tells of that, by what the first that is there says."""
    known = _told_by(some)
    began = first.started or 0.0
    wanted = ((window.profile, known.profile), (window.station, known.station), (window.operator, known.operator),
              (window.work_order, known.work_order))
    return (window.since is None or began >= window.since) and (window.until is None or began <= window.until) and all(
        want is None or want == has for want, has in wanted)


def _told_by(some: Sequence[Attempt]) -> Attempt:
    """The first attempt that is there: one that a later attempt alone tells of names no station."""
    return next((one for one in some if one.where), some[0])


def _part(by: By, some: Sequence[Attempt]) -> str:
    if by in ("month", "day"):
        length = 7 if by == "month" else 10
        return (_iso(some[0].started) or "")[:length] if some[0].dated else ""
    return str(getattr(_told_by(some), by.replace("-", "_")))


def _counts(name: str, boxes: Sequence[Sequence[Attempt]]) -> Counts:
    firsts = [some[0] for some in boxes if some[0].number <= 1]
    finished = [one for one in firsts if one.result in FINISHED]
    lasts = [ended[-1] for some in boxes if (ended := [one for one in some if one.result in FINISHED])]
    open_firsts = Counter(one.result for one in firsts if one.result not in FINISHED)
    if unknown := len(boxes) - len(firsts):
        open_firsts["UNREAD"] += unknown
    without = Counter(one.result for some in boxes for one in some if one.result not in FINISHED)
    tries = [1 + next(at for at, one in enumerate(some) if _passed(one)) for some in boxes if any(map(_passed, some))]
    return Counts(
        name=name, boxes=len(boxes), attempts=sum(map(len, boxes)),
        first_pass=share(sum(map(_passed, finished)), len(finished)), final=share(sum(map(_passed, lasts)), len(lasts)),
        first_with_waivers=sum(map(_is_waived, finished)), final_with_waivers=sum(map(_is_waived, lasts)),
        first_marginal=sum(1 for one in finished if _passed(one) and one.result == "MARGINAL PASS"),
        first_not_finished=dict(sorted(open_firsts.items())), not_finished=dict(sorted(without.items())),
        never_finished=len(boxes) - len(lasts), retested=sum(1 for some in boxes if len(some) > 1),
        attempts_to_pass=sum(tries) / len(tries) if tries else None)


def _passed(one: Attempt) -> bool:
    return one.result in PASSED and not one.with_waivers


def _is_waived(one: Attempt) -> bool:
    return one.result in PASSED and one.with_waivers


def share(passed: int, of: int) -> Share:
    bounds = interval(passed, of)
    low, high = bounds if bounds is not None else (None, None)
    return Share(passed=passed, of=of, percent=100 * passed / of if of else None,
                 low_percent=None if low is None else 100 * low, high_percent=None if high is None else 100 * high)


def _pareto(boxes: Sequence[Sequence[Attempt]], wanted: Callable[[Attempt], bool]) -> tuple[Pareto, ...]:
    """By the first attempt of each box that is wanted."""
    first = [one for some in boxes if (one := next(filter(wanted, some), None)) is not None]
    checks: dict[str, list[str]] = {}
    for one in first:
        check, _, part = one.booked.partition(" ")
        checks.setdefault(check or NOT_BOOKED, []).append(part)
    found, before = [], 0
    for check, parts in sorted(checks.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        before += len(parts)
        where = Counter(part for part in parts if part)
        found.append(Pareto(
            check=check, boxes=len(parts), percent=100 * len(parts) / len(first),
            cumulative_percent=100 * before / len(first),
            parts=tuple(f"{part} ({count})" for part, count in where.most_common(5))))
    return tuple(found)


def _boxes(count: int) -> str:
    return "box" if count == 1 else "boxes"


def _iso(seconds: float | None) -> str | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(
            timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None
