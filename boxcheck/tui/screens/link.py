"""The way to one GPU as a tree, from the root port to the card; the part that findings blame is marked, and said."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from boxcheck.model import Outcome
from boxcheck.tui.frame import GRAVE, Frame, GpuRow, LinkView, Problem
from boxcheck.tui.look import OF_OUTCOME, OF_STATE, STATE_WORD, Glyphs, filled, plain
from boxcheck.tui.screens.view import View
from boxcheck.tui.widgets.head import Head
from boxcheck.tui.widgets.keys import Keys
from boxcheck.tui.widgets.panes import link_errors, link_state

INDENT = 3


class LinkScreen(View):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,l", "app.pop_screen", "back"), Binding("n", "next(1)", "next", tooltip="next GPU"),
        Binding("p", "next(-1)", "previous", tooltip="previous GPU"),
        Binding("b", "app.big", "big", tooltip="big verdict"),
    ]

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def compose(self) -> ComposeResult:
        yield Head()
        with VerticalScroll():
            yield Static("", id="link-tree", markup=False)
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def draw(self, frame: Frame) -> None:
        self.query_one(Head).show(frame, self.glyphs)
        row = next((one for one in frame.gpus if one.key == self._key), None)
        body = self.query_one("#link-tree", Static)
        if row is None:
            body.update("this device is in the run no more")
            return
        body.update(Content("\n").join(tree(row, frame, self.glyphs, max(40, self.size.width - 3))))

    def action_next(self, by: int) -> None:
        keys = [one.key for one in self.shown.gpus] if self.shown else []
        if keys and self.shown is not None:
            self._key = keys[((keys.index(self._key) if self._key in keys else 0) + by) % len(keys)]
            self.draw(self.shown)


def tree(row: GpuRow, frame: Frame, glyphs: Glyphs, width: int) -> list[Content]:
    as_of = f"   {frame.as_of}" if frame.as_of else ""
    lines = [
        Content.assemble(
            (f" {row.title}  {plain(row.place)}  ", "bold"),
            (STATE_WORD[row.state], f"bold {OF_STATE[row.state]}"), f"  {plain(row.name)}", (as_of, "$quiet")),
        Content("")]
    if not row.chain:
        why = "it is not on PCIe" if row.bdf is None else "no link on the way to it is read"
        return [*lines, Content.styled(f" {why}", "$quiet")]
    told: set[str] = set()
    for depth in range(len(row.chain)):
        lines += _hop(row.chain, depth, frame, glyphs, width, told)
    blamed = {one for link in row.chain for one in frame.blaming(link.bdf)}
    others = [one for one in frame.problems if one.outcome in GRAVE and one.is_of(row) and one not in blamed]
    if others:
        lines += [Content(""), Content.styled(" found as well", "bold")]
        for one in others:
            lines += _said(one, "   ", width)
            lines += _once([f"help: {step}" for step in one.help], "   ", width, told)
    if not frame.judged:
        lines += [Content(""), Content.styled(" nothing was judged yet: no hop is cleared", "$quiet")]
    return lines


def _hop(
    chain: tuple[LinkView, ...], depth: int, frame: Frame, glyphs: Glyphs, width: int, told: set[str],
) -> list[Content]:
    """`told`: what was said above; a step of help that several findings share is said once in a tree."""
    link, count = chain[depth], len(chain)
    blames = frame.blaming(link.bdf)
    # A cause `link:` names a link by its upper end, and is as much of the lower one.
    is_other_end = depth > 0 and not blames and any(
        one.cause.startswith("link:") for one in frame.blaming(chain[depth - 1].bdf))
    lead = " " if depth == 0 else " " * (1 + INDENT * (depth - 1)) + glyphs.tree[1]
    under = " " * (1 + INDENT * depth) + (glyphs.tree[2] if depth + 1 < count else "   ")
    part = "the card" if depth == count - 1 else "root port" if depth == 0 else "bridge"
    style = f"bold {OF_OUTCOME[blames[0].outcome]}" if blames else "bold"
    head = Content.assemble(
        lead, (f"{glyphs.arrow}{glyphs.arrow} " if blames else "", style), (f"{link.bdf}  {part}", style),
        (f"   blamed, {blames[0].outcome.value}" if blames else "", style))
    other = "the other end of the link that is blamed" if is_other_end else ""
    beside = bool(other) and cell_len(head.plain) + 3 + len(other) <= width
    if beside:
        head = Content.assemble(head, (f"   {other}", "$quiet"))
    had = "" if not link.low or link.best_gts is None else f"   it had x{link.best_width} {link.best_gts:g} in this run"
    lines = [head, *(_quiet(other, under, width) if other and not beside else ())]
    state = f"{link_state(link)}{_unit(link)}"
    (errors, style), = link_errors(link)
    if cell_len(f"{under}{state}{had}   errors {errors}") <= width:
        lines.append(Content.assemble((under, "$quiet"), state, (had, "$marginal"), "   errors ", (errors, style)))
    else:
        lines.append(Content.assemble((under, "$quiet"), state, (had, "$marginal")))
        lines += [
            Content.assemble((under, "$quiet"), (line, style))
            for line in filled(f"errors {errors}", width - cell_len(under))]
    for said in frame.link_says:
        if said.bdf == link.bdf:
            style = "" if said.outcome is Outcome.PASS else OF_OUTCOME[said.outcome]
            lines += [
                Content.assemble((under, "$quiet"), (line, style)) for line in filled(said.says, width - len(under))]
    for one in blames:
        if one.check != "stress.link-rate":  # said above, by direction
            lines += _said(one, under, width)
        where = [] if one.where == f"port {link.bdf}" else [f"where: {one.where}"] if one.where else []
        lines += _once([*where, *(f"help: {step}" for step in one.help)], under, width, told)
    return [*lines, Content.styled(under.rstrip(), "$quiet")]


def _once(texts: list[str], lead: str, width: int, told: set[str]) -> list[Content]:
    new = [text for text in texts if text not in told]
    told.update(new)
    return [line for text in new for line in _quiet(text, lead, width)]


def _quiet(text: str, lead: str, width: int) -> list[Content]:
    return [Content.styled(f"{lead}{line}", "$quiet") for line in filled(text, width - len(lead))]


def _unit(link: LinkView) -> str:
    return " GT/s" if link.speed_gts and link_state(link) not in ("-", "gone") else ""


def _said(one: Problem, lead: str, width: int) -> list[Content]:
    word = f"{one.outcome.value} "
    first, *rest = filled(f"{one.says}  ({one.check})", width - len(lead) - len(word))
    return [
        Content.assemble((lead, "$quiet"), (word, f"bold {OF_OUTCOME[one.outcome]}"), first),
        *(Content.assemble((lead, "$quiet"), " " * len(word), line) for line in rest)]
