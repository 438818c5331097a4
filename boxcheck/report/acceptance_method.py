"""Method, and where each limit comes from."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Unread
from boxcheck.probes.clock import Clock
from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import SIGNS, code, dim, facts_table, grouped, scalar, value_words
from boxcheck.report.document import Block, Facts, Fold, Heading, Paragraph, Words
from boxcheck.report.profile import acceptance_words


def method(told: Told) -> Iterator[Block]:
    yield Heading(level=2, text="Method and sources of limits", anchor="method")
    yield Facts(rows=tuple(_facts(told)))
    used = {one.limit.name for one in told.findings if one.limit is not None}
    limits = told.want.limits
    judged = [name for name in sorted(limits) if name in used]
    others = [name for name in sorted(limits) if name not in used]
    if judged:
        yield _limits(f"Limits that something was judged by: {len(judged)}", judged, told)
    else:
        yield Paragraph(words="Nothing was judged by a limit of the profile.")
    if others:
        yield Fold(title=f"Limits of the profile that nothing was judged by: {len(others)}", blocks=(
            _limits("Limits that nothing was judged by", others, told),))


def _limits(caption: str, names: list[str], told: Told) -> Block:
    rows: list[tuple[Words, ...]] = []
    for name in names:
        one = told.want.limits[name]
        sign = SIGNS[one.compare]
        rows.append((
            (code(name),), "-" if one.must is None else f"{sign}{scalar(one.must, one.unit)}",
            "-" if one.should is None else f"{sign}{scalar(one.should, one.unit)}", one.source or dim_none()))
    return facts_table(caption, ("limit", "must", "should", "source"), rows, shares=(1.6, 1, 1, 3.4))


def dim_none() -> Words:
    return (dim("no source is given"),)


def _facts(told: Told) -> Iterator[tuple[str, Words]]:
    records = told.series.records
    readings = sum(number for kind, number in records.items() if kind != "sample")
    yield "Readings", f"{grouped(readings)}: GPUs and links once a second each, the box every five seconds"
    yield "Samples", f"{grouped(records.get('sample', 0))} pieces of work, each timed on the device and verified"
    yield "Plots", (
        "lowest and highest value of each span stay, so that no spike is lost; a gap is a time without readings")
    yield "Time", "order and lengths by the monotonic clock; dates by the box's wall clock"
    clock = told.facts.of(Clock)
    trusted = told.acceptance.clock_trusted if told.acceptance else None
    word = {True: "synchronised", False: "not synchronised", None: ""}[trusted]
    if not word:
        word = value_words(clock) if isinstance(clock, Unread) else (
            value_words(clock.synchronized) if isinstance(clock.synchronized, Unread) else
            f"{'synchronised' if clock.synchronized else 'not synchronised'}"
            f"{f' (told by {clock.source})' if clock.source else ''}")
    yield "Wall clock", word
    kernels = dict.fromkeys(one.results.module for one in told.done)
    yield "Loads", ", ".join(kernels) or "none"
    yield "Bounds", "one-sided, 95 %, exact for a Poisson count (Garwood 1936)"
    yield "Error rates", (
        "over payload that was verified; headers and idle symbols are not counted, so the bound is on the safe side")
    if (own := told.acceptance) is not None:
        yield "Load asked for", f"{own.planned}{f'; shortened: {own.shortened}' if own.shortened else ''}" or "not said"
    if asked := acceptance_words(told.want.burn):
        yield "Load that the profile wants", asked
    yield "Profile", f"{told.want.name} r{told.want.revision}, parts: {', '.join(told.want.parts) or 'none'}"
    for note in told.want.notes:
        yield "Note of the profile", note
