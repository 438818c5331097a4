"""The page of one riser experiment, by itself: `boxcheck riser SLOT --html F --pdf F`. The same blocks as in the report
of a run (acceptance_riser), with what was tried without hands, what helps, and the card for the part.

    document = page(account)        a Document, for boxcheck.report.html and boxcheck.report.pdf
"""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Outcome
from boxcheck.report.acceptance_riser import riser
from boxcheck.report.acceptance_words import cell, dim, iso, mixed, strong
from boxcheck.report.document import Block, Column, Document, Facts, Heading, Items, Row, Table, VerdictWord
from boxcheck.riser.account import RiserAccount, State

VERDICTS: dict[State, tuple[str, Outcome]] = {
    "found": ("FOUND", Outcome.FAIL), "healthy": ("NO FAULT", Outcome.PASS), "waiting": ("NOT YET", Outcome.UNKNOWN),
    "exhausted": ("NOT TOLD APART", Outcome.UNKNOWN), "capture": ("NOT TOLD APART", Outcome.UNKNOWN)}


def page(account: RiserAccount) -> Document:
    book = account.stored.notebook
    title = f"Riser experiment at {book.slot}"
    return Document(
        title=title, blocks=tuple(_blocks(account, title)),
        footer=f"{account.stored.box or 'box without a name'}, experiment {book.id}")


def _reason(account: RiserAccount) -> str:
    """What speaks for it stands below."""
    says = account.weighed.says or "nothing was looked at yet"
    says = says.partition(". ")[0].rstrip(".")
    return f"{says[:1].upper()}{says[1:]}."


def _blocks(account: RiserAccount, title: str) -> Iterator[Block]:
    book = account.stored.notebook
    word, outcome = VERDICTS[account.state]
    yield Heading(level=1, text=title, anchor="top")
    yield VerdictWord(word=word, outcome=outcome, reason=_reason(account))
    yield Facts(rows=(
        ("Box", account.stored.box or "-"), ("Experiment", f"{book.id}, begun {iso(book.started)}"),
        ("This page", f"{iso(account.started)}, by boxcheck {account.version}"),
        *((("Read of", "a capture: errors were not counted"),) if account.of_capture else ())))
    if account.complaints:
        yield Items(items=tuple(mixed(strong("Note: "), one) for one in account.complaints))
    yield from riser(book, account.weighed)
    if account.absent:
        yield Table(
            caption=f"What the slot {book.slot} shows, in which no card answers",
            columns=(Column(head=""), Column(head="shows", share=2), Column(head="rules out", share=2),
                     Column(head="help", share=3)),
            rows=tuple(Row(head=True, cells=(cell(one.what), cell(one.says), cell(one.rules_out or "-"),
                                             cell(one.help or "-"))) for one in account.absent))
    if account.tried:
        yield Table(
            caption="Experiments without hands, in this boot",
            columns=(Column(head="experiment"), Column(head="", share=0.6), Column(head="what it showed, or why not",
                                                                                  share=4)),
            rows=tuple(Row(head=True, cells=(
                cell(one.name), cell("made" if one.done else "not tried"),
                cell(f"{one.says}{f'; {one.help}' if one.help else ''}"))) for one in account.tried))
    if account.advice:
        yield Heading(level=2, text="What helps, cheapest first", anchor="advice")
        yield Items(items=tuple(
            mixed(one.says, dim(f" [{one.source}]" if one.source else "")) for one in account.advice), ordered=True)
    if account.tape:
        yield Heading(level=2, text="To tape to the part", anchor="tape")
        yield Items(items=tuple(mixed(strong(f"{card.partition(chr(10))[0]}: "), "; ".join(card.split("\n")[1:]))
                                for card in account.tape))
