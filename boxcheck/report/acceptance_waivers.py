"""Deviations and waivers: what somebody answers for, and what went otherwise than planned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.report.acceptance_told import Told
from boxcheck.report.acceptance_words import cell, code, facts_table, mixed, strong
from boxcheck.report.document import Block, Column, Fold, Heading, Paragraph, Row, Table
from boxcheck.report.judged_run import forced_in
from boxcheck.store.rows import Event

STATES = {"used": "used", "unused": "not needed", "expired": "expired: not applied",
          "not-yet-dated": "the clock is not to be trusted: not applied"}
MOST = 40


def waivers(told: Told) -> Iterator[Block]:
    yield Heading(level=2, text="Deviations and waivers", anchor="waivers")
    own = told.acceptance
    if own is None:
        yield Paragraph(words="A run by itself has no waivers.")
    elif not own.waivers:
        yield Paragraph(words="No waiver was given.")
    else:
        yield Paragraph(words=mixed(
            strong("This disposition rests on a waiver. ") if own.with_waivers else (
                "The disposition rests on none of these. "),
            "A waiver is somebody's word, kept in a file of its own and never in the profile. It changes no "
            "measurement."))
        yield Table(caption="Waivers", rows=tuple(Row(cells=(
            cell((code(one.check),)), cell(one.where or "anywhere"), cell(one.who), cell(one.why), cell(one.until),
            cell(STATES.get(one.state, one.state)))) for one in own.waivers), columns=(
                Column(head="check", share=1.3), Column(head="where"), Column(head="who"),
                Column(head="why", share=2.2), Column(head="until"), Column(head="state", share=1.2)))
    if forced := forced_in(told.run):
        yield Paragraph(words=mixed(strong("Profile taken by --force-profile. "), (
            f"{told.want.name} is the profile of another box: {forced}.")))
    events = _alike(told.events)
    if not events:
        yield Paragraph(words="Nothing happened in the run that is worth a warning.")
        return
    yield _events(f"What happened in the run: {len(told.events)}", events[:MOST])
    if len(events) > MOST:
        yield Fold(title=f"The other {min(len(events) - MOST, 400)}", blocks=(
            _events("What else happened in the run", events[MOST:MOST + 400]),))


def _alike(events: Sequence[Event]) -> list[list[Event]]:
    """In the order in which they first came; those that tell the same of the same part together."""
    found: dict[tuple[str, str | None, str], list[Event]] = {}
    for one in events:
        found.setdefault((one.kind, one.subject, one.says), []).append(one)
    return list(found.values())


def _events(caption: str, events: Sequence[Sequence[Event]]) -> Table:
    return facts_table(caption, ("after", "times", "kind", "where", "what"), tuple(
        (_when(some), str(len(some)), (code(some[0].kind),), some[0].subject or "-", some[0].says) for some in events),
        numeric=(1,), shares=(1.1, 0.5, 1.5, 1.2, 4), head=False)


def _when(some: Sequence[Event]) -> str:
    first, last = some[0].at.seconds, some[-1].at.seconds
    return f"{first:.0f} s" if len(some) == 1 else f"{first:.0f} to {last:.0f} s"
