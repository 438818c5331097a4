"""What is below the GPUs: who copied how fast to whom, the ledger of the links, what happened, what was found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content, Span
from textual.geometry import Region
from textual.message import Message
from textual.widgets import Static

from boxcheck.checks.wording import clock
from boxcheck.tui.frame import EventRow, Frame, LinkView
from boxcheck.tui.look import (
    OF_OUTCOME,
    OF_SEVERITY,
    Glyphs,
    apart,
    cut,
    filled,
    middle,
    padded,
    plain,
    trained,
)
from boxcheck.tui.matrix import HEADS, direction, notes_of, table


class Pane(Static):
    """One of them. `show` draws a frame."""

    TITLE = ""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._drawn: tuple[str, list[tuple[str, Sequence[Span]]]] | None = None

    def show(self, frame: Frame, glyphs: Glyphs) -> None:
        title, rows = self.title_of(frame), self.rows(frame, glyphs, max(20, self.content_size.width))
        drawn = (title, [(row.plain, row.spans) for row in rows])
        if drawn == self._drawn:  # most frames: nothing is laid out again
            return
        self._drawn = drawn
        if self.parent is not None:  # the frame is of what scrolls, so that it stands still
            self.parent.border_title = Content(title)  # type: ignore[attr-defined]
        self.update(Content("\n").join(rows))

    def title_of(self, frame: Frame) -> str:
        return self.TITLE

    def rows(self, frame: Frame, glyphs: Glyphs, width: int) -> list[Content]:
        """Abstract: the lines of the pane."""
        raise NotImplementedError


class MatrixPane(Pane):
    TITLE = "copies"

    def rows(self, frame: Frame, glyphs: Glyphs, width: int) -> list[Content]:
        if not frame.matrices:
            return [Content.styled("no copies between devices were timed yet", "$quiet")]
        found = []
        for matrix in frame.matrices:
            head, *rest = table(matrix, width)
            found += [Content.styled(line, "bold") for line in filled(head, width)]
            found += [Content.styled(line, "$quiet") for line in filled(says, width)] if (
                says := direction(matrix)) else []
            found += [_cells(plain(line)) for line in rest]
            found += [Content.styled(line, "$marginal") for note in notes_of(matrix) for line in filled(note, width)]
            found.append(Content(""))
        return found


SLOT = 12
"""Columns of the name of a part, as an address has them: `0001:41:00.0`."""
MARKED = re.compile(r"[0-9.]*(?P<mark>[!<*])(?=\s|$)")


def _cells(line: str) -> Content:
    """A row of cells with those that are marked in their colour, too."""
    text = Content(line)
    if line.startswith(HEADS):
        return text.stylize("$quiet")
    for found in MARKED.finditer(line):
        text = text.stylize("$fail" if found["mark"] == "!" else "$marginal", *found.span())
    return text


class OpenLink(Message):
    """The link of a GPU is to be shown."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


class LedgerPane(Pane, can_focus=True):
    """All links; up and down move from GPU to GPU, enter opens one as a tree."""

    TITLE = "links, and what their error counters grew by"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False), Binding("down,j", "move(1)", "down", show=False),
        Binding("enter", "open", "link", tooltip="this link as a tree")]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._cursor = 0
        self._shown: tuple[Frame, Glyphs] | None = None

    def show(self, frame: Frame, glyphs: Glyphs) -> None:
        self._shown = (frame, glyphs)
        super().show(frame, glyphs)

    def on_focus(self) -> None:
        self._again()

    def on_blur(self) -> None:
        self._again()

    def _again(self) -> None:
        if self._shown is not None:
            self.show(*self._shown)

    def action_move(self, by: int) -> None:
        rows = self._shown[0].gpus if self._shown else ()
        self._cursor = min(max(0, self._cursor + by), max(0, len(rows) - 1))
        self._again()
        line = sum(max(1, len(row.chain)) for row in rows[:self._cursor])
        if self.parent is not None and hasattr(self.parent, "scroll_to_region"):
            self.parent.scroll_to_region(Region(0, line, 1, 2), animate=False)

    def action_open(self) -> None:
        if self._shown and self._shown[0].gpus:
            self.post_message(OpenLink(self._shown[0].gpus[self._cursor].key))

    def rows(self, frame: Frame, glyphs: Glyphs, width: int) -> list[Content]:
        found: list[Content] = []
        longest = max((cell_len(plain(row.place)) for row in frame.gpus), default=0)
        slot = min(max(8, longest), SLOT if width < 80 else 2 * SLOT)
        places = apart((plain(row.place) for row in frame.gpus), slot)
        deepest = max((len(row.chain) for row in frame.gpus), default=1)
        named = 8 + (3 + 2 * (deepest - 2) if deepest > 1 else 0)
        for at, row in enumerate(frame.gpus):
            here = at == self._cursor and self.has_focus
            place = f"{glyphs.arrow if here else ' '}{padded(places[plain(row.place)], slot)} "
            for depth, link in enumerate(row.chain):
                mark = "" if depth == 0 else "  " * (depth - 1) + glyphs.tree[1]
                name = f"{mark}{link.bdf.removeprefix('0000:')}"
                blamed = bool(frame.blaming(link.bdf))
                parts = [
                    (place if depth == 0 else " " * (slot + 2), "bold"),
                    (padded(name, named), "bold $fail" if blamed else ""), (f" {link_state(link):<9} ", ""),
                    ("blamed  " if blamed else "", "bold $fail")]
                room = max(8, width - sum(cell_len(part) for part, _ in parts))
                (says, style), = link_errors(link)
                says = says if len(says) <= room else f"{link.total} in all" if link.errors else cut(says, room)
                found.append(Content.assemble(*parts, (says, style)))  # a number is never cut
            if not row.chain:
                why = "not on PCIe" if row.bdf is None else "its link is not read"
                found.append(Content.assemble((place, "bold"), (why, "$quiet")))
        return found or [Content.styled("no device is at work yet", "$quiet")]


def link_state(link: LinkView) -> str:
    """`x8! 16`: as it is trained. What was last read long ago is not shown."""
    return "gone" if link.gone else "-" if link.is_stale else trained(link)


def link_errors(link: LinkView) -> list[tuple[str, str]]:
    """What its counters grew by; that nothing counts, or is read no more, is no zero. What a link has no part in, as
    advisory errors, is told without alarm."""
    if not link.counted:
        return [("nothing counts here", "$unknown")]
    says = ", ".join(f"{name} {number}" for name, number in link.errors)
    style = "$fail" if link.of_link else ""
    if not link.is_counting:
        return [(f"{says}, not read any more" if says else "not read any more", style or "$unknown")]
    return [(says or "0", style)]


def _names(frame: Frame) -> dict[str, str]:
    """What a person calls the part of an event. A port is called after the GPU below it where that is one alone."""
    ways = Counter(link.bdf for row in frame.gpus for link in row.chain)
    ports = {link.bdf: row.place for row in frame.gpus for link in row.chain if ways[link.bdf] == 1}
    return ports | {row.key: row.place for row in frame.gpus} | {row.bdf: row.place for row in frame.gpus if row.bdf}


ROWS = 300
"""Events that are drawn, the newest first; words find the others."""


class EventsPane(Pane):
    TITLE = "events"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.filter = ""

    def title_of(self, frame: Frame) -> str:
        before = f", {frame.events_before} older ones are not shown" if frame.events_before else ""
        if not self.filter:
            return f"events{before}"
        return f"events: {len(self._wanted(frame))} of {len(frame.events)} with {plain(self.filter)!r}{before}"

    def _wanted(self, frame: Frame) -> list[EventRow]:
        """Those with all words of the filter, in any order."""
        words = self.filter.lower().split()
        names = _names(frame)
        return [
            one for one in frame.events if not words or all(
                word in f"{one.severity} {one.subject} {names.get(one.subject, '')} {one.kind} {one.says}".lower()
                for word in words)]

    def rows(self, frame: Frame, glyphs: Glyphs, width: int) -> list[Content]:
        shown = self._wanted(frame)
        if not shown:
            return [Content.styled("none of them" if self.filter else "none", "$quiet")]
        names = _names(frame)
        found: list[Content] = []
        for one in shown[:-ROWS - 1:-1]:
            name = padded(middle(plain(names.get(one.subject, one.subject or "box")), SLOT), SLOT)
            style = OF_SEVERITY.get(one.severity, "")
            first, *rest = filled(one.says, width - SLOT - 18)
            found.append(Content.assemble(
                (clock(one.seconds), "$quiet"), f"  {one.severity:<5}", (f" {name}  ", "bold"), (first, style)))
            found += [Content.styled(f"{'':<{SLOT + 18}}{line}", style) for line in rest]
        return found


class FindingsPane(Pane):
    TITLE = "findings: what did not pass"

    def rows(self, frame: Frame, glyphs: Glyphs, width: int) -> list[Content]:
        found: list[Content] = []
        for one in frame.problems:
            required = "" if one.blocker else "  (not required)"
            head, *rest = filled(f"{one.subject}: {one.says}", width - 10)
            found.append(Content.assemble((f"{one.outcome.value:<9} ", f"bold {OF_OUTCOME[one.outcome]}"), head))
            found += [Content(f"{'':<10}{line}") for line in rest]
            found.append(Content.styled(f"{'':<10}{plain(one.check)}{required}", "$quiet"))
            for step in one.help[:2]:
                found += [Content.styled(line, "$quiet") for line in filled(step, width, " " * 10)]
        if found:
            return found
        if not frame.judged:
            return [Content.styled("nothing was judged yet", "$quiet")]
        return [Content.styled(f"{frame.judged} judgements, and nothing that did not pass", "$quiet")]
