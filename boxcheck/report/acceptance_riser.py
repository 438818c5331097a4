"""The notebook of a riser experiment: what was where in each boot, what was seen, which part is suspect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from boxcheck.checks.wording import counted, duration
from boxcheck.decode.eye_limits import SOURCE, Grade
from boxcheck.model import Outcome
from boxcheck.report.acceptance_words import cell, dim, iso, mixed, outcome_cell, strong
from boxcheck.report.document import Block, Column, Fold, Heading, Items, Paragraph, Row, Table, Words
from boxcheck.report.drawing_eyes import eyes, height_words, weakest_words, width_words
from boxcheck.report.riser import LEAST_SHOWN, OUTCOMES, WORDS, as_used, conditions_words, remarks, suspect_name
from boxcheck.riser.certainty import percent
from boxcheck.riser.cold_boots import cold_boots, in_words
from boxcheck.riser.evidence import Boot, LaneMargin, Look, Notebook, Way, Weighed
from boxcheck.riser.margining.outline import outline
from boxcheck.riser.measuring.bounds import BITS_A_TERABYTE, broken, call_link, direction_of, number, size
from boxcheck.riser.motions import step_words
from boxcheck.riser.parts import short_card
from boxcheck.riser.suspects.weigh import weigh
from boxcheck.stress.link_rates import rate_of

GRADES: Mapping[Grade, Outcome] = {
    "pass": Outcome.PASS, "marginal": Outcome.MARGINAL, "fail": Outcome.FAIL, "unknown": Outcome.UNKNOWN}


def riser(notebook: Notebook, weighed: Weighed | None = None) -> Iterator[Block]:
    """`weighed`: where it was weighed already."""
    weighed = weighed or weigh(notebook)
    yield Heading(level=2, text=f"Riser experiment at {notebook.slot}", anchor="riser")
    yield Paragraph(words=mixed(
        f"Experiment {notebook.id}, begun {iso(notebook.started)}, {counted(len(notebook.boots), 'boot')}. ", strong(
            f"{weighed.says[:1].upper()}{weighed.says[1:]}"), dim(
            "  A riser has no identity that software can read: labels are the operator's.")))
    if notebook.boots:
        yield _boots(notebook)
        if (tally := cold_boots(notebook)) is not None:
            yield Paragraph(words=mixed(strong("Training: "), f"{in_words(tally)}."))
        yield from _other_looks(notebook)
        yield from _eyes(notebook)
    if weighed.suspects:
        rows = [Row(head=True, cells=(
            cell(suspect_name(one)), cell(percent(one.probability)),
            outcome_cell(Outcome.FAIL, "at fault") if one in weighed.accused else cell("-"),
            cell("; ".join(one.because) or "-")))
            for one in weighed.suspects if one.probability >= LEAST_SHOWN or one in weighed.accused]
        nobody = (cell("no part at fault"), cell(percent(weighed.healthy)), cell("-"), cell("-"))
        yield Table(
            caption="Suspects", rows=(*rows, Row(head=True, cells=nobody)),
            columns=(Column(head="part", share=1.4), Column(head="probability", numeric=True), Column(head="verdict"),
                     Column(head="what speaks for it and against it", share=4)))
    if weighed.next is not None:
        yield Paragraph(words=mixed(strong("Next step: "), step_words(weighed.next, notebook)))


def _boots(notebook: Notebook) -> Table:
    rows = []
    for at, boot in enumerate(notebook.boots, 1):
        for place in boot.places:
            look = as_used(boot, place.slot)
            if look is None and place.slot != notebook.slot:
                continue
            called = call_link(look).call if look is not None and look.ways else None
            rows.append(Row(cells=(
                cell(str(at)), cell(place.slot), cell(place.riser or "-"), cell(short_card(place.card)),
                cell(_link(look)),
                cell(size(sum(way.bits for way in look.ways)) if look is not None and look.ways else "-"),
                cell(_way(look, "card")), cell(_way(look, "host")),
                outcome_cell(OUTCOMES[called], WORDS[called]) if called else outcome_cell(
                    Outcome.UNKNOWN, "no link" if look is not None else "not looked at"))))
    return Table(
        caption="Boots: who sat where, and what was counted as the box is used", rows=tuple(rows), columns=(
            Column(head="boot", numeric=True, share=0.6), Column(head="slot"), Column(head="riser"),
            Column(head="card"), Column(head="link", share=1.3), Column(head="copied", numeric=True),
            Column(head="to the card, per TB", numeric=True), Column(head="from the card, per TB", numeric=True),
            Column(head="", share=1.1)),
        note="Errors per terabyte of payload; < is a bound at 95 % where none was counted.")


def _link(look: Look | None) -> str:
    if look is None:
        return "-"
    if look.width is None:
        return {True: "card felt, no link", False: "slot empty", None: "not read"}[look.present]
    return f"x{look.width} {f'{look.speed_gts:g}' if look.speed_gts else '?'} GT/s"


def _way(look: Look | None, toward: str) -> str:
    way: Way | None = None if look is None else next((one for one in look.ways if one.toward == toward), None)
    if way is None or (way.unread is not None and not way.errors):
        return "unread"
    if not way.bits:
        return counted(way.errors, "error") if way.errors else "no copies"
    if way.errors:
        return f"{'≥ ' if way.at_least or way.unread else ''}{number(way.errors / way.bits * BITS_A_TERABYTE)}"
    rate = rate_of(direction_of(way))
    return "unread" if rate is None or rate.at_most is None else f"< {number(rate.at_most * BITS_A_TERABYTE, 'up')}"


def _other_looks(notebook: Notebook) -> Iterator[Block]:
    """Looks that are not in the table, and what the table has no column for."""
    told: list[Words] = []
    for at, boot in enumerate(notebook.boots, 1):
        plain = as_used(boot, notebook.slot)
        for look in boot.looks:
            if look.slot != notebook.slot or not look.ways:
                continue
            seconds = max((way.seconds for way in look.ways), default=0.0)
            held = f"boot {at}, {conditions_words(look.conditions)}, {duration(seconds)}"
            more = remarks(look)
            if look is not plain:
                told.append("; ".join((f"{held}: {call_link(look).says}", *more)))
            elif worst := (*broken(look), *more):
                told.append(f"{held}: {'; '.join(worst)}")
        told += [f"boot {at}: {words}" for words in _strayed(boot)]
    if told:
        yield Paragraph(words=mixed(strong("What else was seen"),))
        yield Items(items=tuple(told))


def _eyes(notebook: Notebook) -> Iterator[Block]:
    """Of every margining: the eyes of each receiver, the weakest lane, and the numbers."""
    for at, boot in enumerate(notebook.boots, 1):
        for nth, look in enumerate((one for one in boot.looks if one.margins), 1):
            used = as_used(boot, look.slot)
            speed = look.speed_gts or (used.speed_gts if used is not None else None)
            yield Heading(level=3, text=f"Lane margins of {look.slot} in boot {at}", anchor=f"eyes-{at}-{nth}")
            if weakest := weakest_words(look.margins, speed):
                yield Paragraph(words=mixed(strong(weakest)))
            yield from eyes(look.margins, speed)
            yield Fold(title="All lanes in numbers", blocks=(_lanes(look.margins, speed),))


def _lanes(margins: Sequence[LaneMargin], speed_gts: float | None) -> Table:
    rows = []
    for one in margins:
        found = outline(one)
        rows.append(Row(cells=(
            cell(one.receiver), cell(str(one.lane)),
            cell("not measured" if found is None else width_words(found, speed_gts)),
            cell((height_words(found) if found is not None else "") or "-"),
            outcome_cell(GRADES[one.grade], one.grade))))
    return Table(
        caption="Lanes", rows=tuple(rows), columns=(
            Column(head="receiver"), Column(head="lane", numeric=True), Column(head="width", share=2),
            Column(head="height"), Column(head="grade")),
        note=SOURCE)


def _strayed(boot: Boot) -> Iterator[str]:
    yield from (f"not as it was asked: {one}" for one in boot.strayed)
