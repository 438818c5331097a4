"""Every link of the box in one order, the worst first: `boxcheck riser --all` on the terminal and as a page.

    text = ranking_text(ranking, style)
    document = ranking_page(ranking)        a Document, for boxcheck.report.html and boxcheck.report.pdf
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from boxcheck.checks.wording import counted, listed
from boxcheck.model import Outcome
from boxcheck.report.acceptance_words import cell, iso, mixed, outcome_cell, strong
from boxcheck.report.command import runnable
from boxcheck.report.document import Block, Cell, Column, Document, Facts, Heading, Items, Row, Table, VerdictWord
from boxcheck.report.drawing_eyes import eyes, weakest_words
from boxcheck.report.riser import wrapped
from boxcheck.report.text import Style, wrap
from boxcheck.riser.evidence import LaneMargin
from boxcheck.riser.measuring.rank import Ranked, RankedWay, Standing, link_words, rate_words, table

OUTCOMES: Mapping[Standing, Outcome] = {
    "down": Outcome.FAIL, "failing": Outcome.FAIL, "short": Outcome.FAIL, "marginal": Outcome.MARGINAL,
    "weak": Outcome.MARGINAL, "bounded": Outcome.PASS, "half-read": Outcome.UNKNOWN, "unread": Outcome.UNKNOWN,
    "empty": Outcome.SKIP}


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """What one call of `riser --all` found."""

    ranked: tuple[Ranked, ...]
    version: str
    started: float
    """Seconds since the epoch."""
    box: str = ""
    left_out: Mapping[str, str] = {}
    """Slots whose lanes were not margined, or not all of them, and why."""
    margins: Mapping[str, tuple[LaneMargin, ...]] = {}
    """Slot -> all of its lanes that were margined."""
    of_capture: bool = False


def outcome_of(one: Ranked) -> Outcome:
    """As the exit code goes by it: what failed, whatever it stands under; nothing good of what was not seen whole."""
    if one.has_failed:
        return Outcome.FAIL
    outcome = OUTCOMES[one.standing]
    return Outcome.UNKNOWN if outcome in (Outcome.PASS, Outcome.MARGINAL) and not one.is_whole else outcome


def standing_words(one: Ranked) -> str:
    """`bounded`, `marginal, short`, `bounded, not whole`: all that the exit code goes by."""
    words = [str(one.standing)]
    if one.is_short and one.standing not in ("short", "down", "empty"):
        words.append("short")
    if one.weakest is not None and one.weakest.grade == "fail":
        words.append("a lane fails")
    if one.lacks:
        words.append("not whole")
    return ", ".join(words)


def remarks(ranked: Sequence[Ranked]) -> Mapping[str, Sequence[str]]:
    """What is to be said of links that are not well, or were not looked at as a whole -> their slots."""
    found: dict[str, list[str]] = {}
    for one in ranked:
        if one.standing not in ("bounded", "empty"):
            found.setdefault(one.says, []).append(one.slot)
    for one in ranked:
        for note in one.notes:
            found.setdefault(note, []).append(one.slot)
        for lack in one.lacks:
            found.setdefault(f"not looked at as a whole: {lack}", []).append(one.slot)
    return found


def _weakest(ranked: Sequence[Ranked]) -> Mapping[str, str]:
    """Slot -> its weakest lane in words."""
    return {one.slot: weakest_words((one.weakest,), one.speed_gts) or "no lane was measured to its end"
            for one in ranked if one.weakest is not None}


def _not_margined(ranking: Ranking) -> Mapping[tuple[str, str], Sequence[str]]:
    """(`not taken` or `not all taken`, why) -> slots."""
    some = {one.slot for one in ranking.ranked if one.weakest is not None}
    found: dict[tuple[str, str], list[str]] = {}
    for slot, why in ranking.left_out.items():
        found.setdefault(("not all taken" if slot in some else "not taken", why), []).append(slot)
    return found


def _next(ranked: Sequence[Ranked]) -> str:
    """The command that finds the part at the worst link; empty where none is bad."""
    worst = ranked[0] if ranked else None
    if worst is None or worst.standing in ("bounded", "empty", "unread", "half-read"):
        return ""
    return f"boxcheck riser {worst.slot}"


def ranking_text(ranking: Ranking, style: Style) -> str:
    """A table, a line for each thing that is not well, and the weakest lane of each link."""
    ranked = ranking.ranked
    if style.quiet:
        return "".join(f"{style.text(f'{one.slot}: {standing_words(one)}')}\n" for one in ranked)
    box = f"   box {ranking.box}" if ranking.box else ""
    head = f"boxcheck {ranking.version}   riser --all{box}   {counted(len(ranked), 'link')}, the worst first"
    lines = [style.bold(style.text(head)), "", *(style.text(line) for line in table(ranked)), ""]
    for says, slots in remarks(ranked).items():
        lines += wrap(f"{listed(slots, 16)}: {says}", style, "  ", "    ")
    weakest = _weakest(ranked)
    if weakest or ranking.left_out:
        lines += ["", style.bold("Lane margins")]
    for slot, says in weakest.items():
        lines += wrapped(f"{slot}: {says}", style, "  ", "    ")
    for (what, why), slots in _not_margined(ranking).items():
        lines += wrap(f"{what} of {listed(slots, 16)}: {runnable(why)}", style, "  ", "    ")
    if command := _next(ranked):
        lines += ["", *wrap(f"{runnable(command)}   finds the part", style, "Next  ", "      ")]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def ranking_page(ranking: Ranking) -> Document:
    return Document(title="Links of the box, the worst first", blocks=tuple(_blocks(ranking)),
                    footer=f"{ranking.box or 'box without a name'}, {iso(ranking.started)}")


def _blocks(ranking: Ranking) -> Iterator[Block]:
    ranked = ranking.ranked
    yield Heading(level=1, text="Links of the box, the worst first", anchor="top")
    yield _verdict(ranked)
    yield Facts(rows=(
        ("Box", ranking.box or "-"), ("This page", f"{iso(ranking.started)}, by boxcheck {ranking.version}"),
        *((("Read of", "a capture: errors were not counted"),) if ranking.of_capture else ())))
    yield Table(
        caption="Links", rows=tuple(_row(one) for one in ranked), columns=(
            Column(head="", numeric=True, share=0.3), Column(head="slot"), Column(head="link", share=1.4),
            Column(head="to card", share=1.2), Column(head="from card", share=1.2),
            Column(head="TB to and from card", share=1.2), Column(head="°C", numeric=True, share=0.4),
            Column(head="weakest lane", share=1.2), Column(head="stands", share=1.2)),
        note="Errors per terabyte of payload, with bounds at 95 %: < from above, >= from below, in brackets both. "
             "Where it says unread, nothing follows about errors.")
    if said := remarks(ranked):
        yield Items(items=tuple(mixed(strong(f"{listed(slots, 16)}: "), says) for says, slots in said.items()))
    weakest, left = _weakest(ranked), _not_margined(ranking)
    if weakest or left:
        yield Heading(level=2, text="Lane margins", anchor="margins")
        yield Items(items=(
            *(mixed(strong(f"{slot}: "), says) for slot, says in weakest.items()),
            *(mixed(strong(f"{what} of {listed(slots, 16)}: "), why) for (what, why), slots in left.items())))
    for nth, one in enumerate(ranked):
        if drawn := eyes(ranking.margins.get(one.slot, ()), one.speed_gts):
            yield Heading(level=3, text=f"Eyes of {one.slot}", anchor=f"eyes-{nth}")
            yield from drawn
    if command := _next(ranked):
        yield Items(items=(mixed(strong("Next: "), f"{command} finds the part"),))


def _verdict(ranked: Sequence[Ranked]) -> VerdictWord:
    every = [outcome_of(one) for one in ranked]
    worst = next((one for one in (Outcome.FAIL, Outcome.UNKNOWN, Outcome.SKIP, Outcome.MARGINAL) if one in every),
                 Outcome.PASS if every else Outcome.UNKNOWN)
    if worst is Outcome.SKIP:
        worst = Outcome.UNKNOWN  # a slot in which a card was looked for
    word = {Outcome.FAIL: "FAILING", Outcome.UNKNOWN: "NOT ALL SHOWN", Outcome.MARGINAL: "MARGINAL"}.get(
        worst, "ALL BOUNDED")
    counts = {outcome: every.count(outcome) for outcome in dict.fromkeys(every)}
    told = {Outcome.FAIL: "failing", Outcome.MARGINAL: "marginal", Outcome.PASS: "bounded both ways",
            Outcome.UNKNOWN: "not shown as a whole", Outcome.SKIP: "without a card"}
    says = listed([f"{counts[one]} {told[one]}" for one in told if counts.get(one)]) or "no link was measured"
    return VerdictWord(word=word, outcome=worst, reason=f"{counted(len(ranked), 'link')}: {says}.")


def _row(one: Ranked) -> Row:
    ways: dict[str, RankedWay] = {way.toward: way for way in one.ways}
    copied = " / ".join(f"{ways[toward].terabytes:.2g}" if toward in ways else "-" for toward in ("card", "host"))
    lane = one.weakest
    return Row(cells=(
        cell(str(one.place)), cell(one.slot), cell(link_words(one)), _rate(ways.get("card")), _rate(ways.get("host")),
        cell(copied), cell("-" if one.celsius is None else f"{one.celsius:.0f}"),
        cell("not margined" if lane is None else f"{lane.receiver}{lane.lane}, {lane.grade}"),
        outcome_cell(outcome_of(one), standing_words(one))))


def _rate(way: RankedWay | None) -> Cell:
    return cell("unread" if way is None else rate_words(way))
