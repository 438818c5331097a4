"""The link ledger: what crossed each link, what was counted at each end before and after, and what that shows of its
error rate. Zero is a bound; what was not read stays unread.
"""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.account import bus_of
from boxcheck.model import Outcome, Unread
from boxcheck.probes.links import Links
from boxcheck.report.acceptance_told import Counted, Told
from boxcheck.report.acceptance_topology import link_words, seen_link
from boxcheck.report.acceptance_words import cell, code, dim, mixed, outcome_cell
from boxcheck.report.document import Block, Cell, Column, Fold, Heading, Items, Paragraph, Row, Span, Table, Words
from boxcheck.riser.measuring.bounds import BITS_A_TERABYTE, SPECIFIED_BER, number, size
from boxcheck.stress.link_ledger import RECEIVED, UNANSWERED, Direction
from boxcheck.stress.link_rate_checks import TOWARD, link_subject
from boxcheck.stress.link_rates import is_above, rate_of


def links(told: Told) -> Iterator[Block]:
    yield Heading(level=2, text="Link ledger", anchor="links")
    if not told.directions:
        why = "no device hangs on a link that can be seen" if told.has_capture else (
            "the store holds no reading of the machine, so it is not known which links there are")
        yield Paragraph(words=f"No link is in the ledger: {why}.")
        return
    yield Paragraph(words=mixed(
        "Each direction of each link by itself: the end where bits arrive counts damaged packets, the end that sends "
        "them counts those that were not acknowledged. Bytes are those of verified payloads alone. Bounds hold one by "
        "one at 95 % (exact, Poisson): at most, over the payload; at least, over the most that can have crossed."))
    yield _rates(told)
    yield _counters(told)
    if told.unattributed:
        yield Paragraph(words="Of some payload it is not known which links it crossed; it is on none of them:")
        yield Items(items=tuple(f"{size(8.0 * bytes_)}: {why}" for why, bytes_ in told.unattributed.items()))
    yield from _between(told)


def _rates(told: Told) -> Table:
    rows = []
    for one in told.directions:
        outcome, word = _call(one)
        payload = size(one.payload_bits) if one.payload_bits else "none"
        rows.append(Row(head=True, cells=(
            cell(str(link_subject(one.hop))), cell(_link(one, told)), cell(TOWARD[one.toward]), cell(payload),
            cell(_errors(one)), cell(per_terabyte(one)), cell(_at_least(one)), cell(_at_most(one)),
            outcome_cell(outcome, word))))
    return Table(
        caption="Links under load: payload and error rates, by direction", rows=tuple(rows),
        columns=(
            Column(head="link", share=1.2), Column(head="under load", share=1.3), Column(head="direction", share=1.2),
            Column(head="payload", numeric=True), Column(head="errors counted", share=1.8),
            Column(head="errors per TB", numeric=True), Column(head="at least per TB", numeric=True),
            Column(head="at most per TB", numeric=True), Column(head="", share=1.0)),
        note="A direction without an error has no errors per TB, but a bound: at most so many, at 95 %.")


def _call(one: Direction) -> tuple[Outcome, str]:
    if one.errors:
        return (Outcome.FAIL, "FAIL") if is_above(one, SPECIFIED_BER) or one.unanswered.get("Rollover") else (
            Outcome.MARGINAL, "errors")
    if one.unread is not None or one.at_least:
        return Outcome.UNKNOWN, "unread"
    return (Outcome.PASS, "bounded") if one.payload_bits else (Outcome.UNKNOWN, "no payload")


def _link(one: Direction, told: Told) -> str:
    found = told.facts.of(Links)
    link = None if isinstance(found, Unread) else found.links.get(one.hop.port)
    if link is None:
        return link_words(None, None)
    words = link_words(*seen_link(told, link))
    full = link_words(one.hop.lanes, one.hop.gigatransfers)
    return words if words == full or one.hop.lanes is None else f"{words} (both ends can do {full})"


def _errors(one: Direction) -> Words:
    if one.unread is not None and not one.errors:
        return mixed("unread: ", dim(one.unread))
    told = ", ".join(f"{count} {name}" for name, count in {**one.received, **one.unanswered}.items())
    least = "at least " if one.at_least or one.unread else ""
    if told:
        return f"{least}{told}"
    return mixed("unread: ", dim(one.at_least[0])) if one.at_least else "0"


def per_terabyte(one: Direction) -> str:
    """Errors over a terabyte of payload; a dash where there were none, since then there is but a bound."""
    if one.unread is not None and not one.errors:
        return "unread"
    if not one.errors:
        return "-"
    least = "≥ " if one.at_least or one.unread else ""
    return f"{least}{number(one.errors / one.payload_bits * BITS_A_TERABYTE)}" if one.payload_bits else "no payload"


def _at_most(one: Direction) -> str:
    rate = rate_of(one)
    return "not known" if rate is None or rate.at_most is None else f"< {number(rate.at_most * BITS_A_TERABYTE, 'up')}"


def _at_least(one: Direction) -> str:
    rate = rate_of(one)
    if rate is None or rate.at_least is None:
        return "not known"
    return f"> {number(rate.at_least * BITS_A_TERABYTE, 'down')}" if rate.at_least else "0"


def _counters(told: Told) -> Block:
    """Both ends of each link: before, after, grown."""
    rows = []
    names = (*RECEIVED, *UNANSWERED)
    for hop in dict.fromkeys(one.hop.port for one in told.directions):
        one = next(item.hop for item in told.directions if item.hop.port == hop)
        for end, word in ((one.port, "port"), (one.card, "card")):
            if end is None:
                continue
            counted = told.counted.get(end, Counted(unread="no instrument read it"))
            silent = one.silent.get(end)
            cells = [cell(str(link_subject(one))), cell((Span(f"{word} "), code(bus_of(end))))]
            if counted.unread is not None:
                cells += [Cell(words=f"unread: {counted.unread}", outcome=Outcome.UNKNOWN),
                          *(cell("unread") for _ in names[1:])]
            else:
                cells += [_counter(counted, name) for name in names]
            cells.append(cell("yes" if silent is None else f"not known: {silent.why}" if isinstance(silent, Unread)
                              else f"no: {silent}"))
            rows.append(Row(head=True, cells=tuple(cells)))
    table = Table(
        caption="Counters at both ends of each link: before > after (grown by)", rows=tuple(rows), columns=(
            Column(head="link", share=1.0), Column(head="end", share=1.2),
            *(Column(head=name, numeric=True) for name in names), Column(head="reports errors", share=1.4)),
        note="The kernel's counters of corrected errors since boot, at the first and at the last reading of this run. "
             "A counter that fell began anew; its growth is at least what it shows then.")
    return table if len(rows) <= 40 else Fold(title=f"{table.caption}: {len(rows)} ends", blocks=(table,))


def _counter(counted: Counted, name: str) -> Cell:
    before, after = counted.first.get(name), counted.last.get(name)
    if before is None or after is None:
        return cell("unread")
    if after < before:
        return Cell(words=f"{before} > {after} (anew)", outcome=Outcome.UNKNOWN)
    if after == before:
        return cell(f"{after}")
    return Cell(words=f"{before} > {after} (+{after - before})", outcome=Outcome.MARGINAL)


def _between(told: Told) -> Iterator[Block]:
    """Replays, retrains and memory counters, read between the phases."""
    found = told.boundaries
    rows: list[Row] = []
    for of, names in found.of_kind("compared").items():
        for name in names:
            total, where = found.total(of, name)
            rows.append(Row(head=True, cells=(
                cell((code(bus_of(of) if ":" in of else of),)), cell(name),  # type: ignore[arg-type]
                cell(str(total)) if not total else Cell(words=str(total), outcome=Outcome.MARGINAL),
                cell(", ".join(where) or "-"))))
    unread = sorted({f"{of}: {name}: {why}" for of, names in found.of_kind("unread").items()
                     for name, whys in names.items() for why in whys if isinstance(why, str)})
    if rows:
        yield Fold(title=f"Counters read between the phases: {len(rows)}", blocks=(Table(
            caption="Growth from the first boundary of phases to the last", rows=tuple(rows), columns=(
                Column(head="of"), Column(head="counter"), Column(head="grown by", numeric=True),
                Column(head="in", share=2))), *([Paragraph(words=f"Unread: {'; '.join(unread)}.")] if unread else [])))
    elif found.missing:
        why = "; ".join(found.missing)
        yield Paragraph(words=f"Counters between the phases (replays, retrains) are unread: {why}.")
