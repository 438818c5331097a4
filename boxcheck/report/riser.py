"""The terminal account of `boxcheck riser`: what was seen in each boot, what is suspect, what to do next.

Renders a `RiserAccount` and decides nothing. Numbers are of the bounds in boxcheck.riser.measuring.bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from boxcheck.checks.wording import counted, listed
from boxcheck.model import Outcome
from boxcheck.report.command import runnable
from boxcheck.report.text import Style, wrap
from boxcheck.riser.absent import Shown
from boxcheck.riser.account import RiserAccount, Tried
from boxcheck.riser.certainty import percent
from boxcheck.riser.cold_boots import cold_boots, in_words
from boxcheck.riser.evidence import NO_RISER, Boot, Conditions, Look, Notebook, Place, Step, Suspect, Way
from boxcheck.riser.measuring.bounds import (
    BITS_A_TERABYTE,
    TOWARD,
    Call,
    broken,
    call_link,
    call_way,
    direction_of,
    number,
    size,
    terabytes,
)
from boxcheck.riser.parts import short_card
from boxcheck.stress.link_rates import rate_of

OUTCOMES: dict[Call, Outcome] = {
    "failing": Outcome.FAIL, "marginal": Outcome.MARGINAL, "bounded": Outcome.PASS, "unread": Outcome.UNKNOWN}
WORDS: dict[Call, str] = {
    "failing": "FAILING", "marginal": "marginal", "bounded": "bounded", "unread": "unread"}
BAR = 10
HEADS = ("boot", "slot", "riser", "card", "link", "copied", "to card", "from card", "")
"""Errors per terabyte of payload, each direction by itself."""
RIGHT = frozenset(("copied", "to card", "from card"))


def riser_text(account: RiserAccount, style: Style) -> str:
    """The whole account, ending in a line feed."""
    notebook = account.stored.notebook
    if style.quiet:
        return "\n".join(_closing(account, style)) + "\n"
    lines = [*_head(account, style), "", *_table(notebook, style)]
    tally = cold_boots(notebook)
    if tally is not None and tally.tried > 1:
        lines += ["", *wrap(f"{notebook.slot}: {in_words(tally)}", style, "  ", "    ")]
    if notebook.boots:
        lines += ["", *_this_boot(notebook, notebook.boots[-1], account, style)]
    if account.eye:
        lines += ["", *(f"  {style.text(line)}" for line in account.eye)]
    lines += ["", *_suspects(account, style), "", *_closing(account, style)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _head(account: RiserAccount, style: Style) -> Iterator[str]:
    notebook = account.stored.notebook
    box = f"   box {account.stored.box}" if account.stored.box else ""
    head = (f"boxcheck {account.version}   riser {notebook.slot}{box}   experiment {notebook.id}, "
            f"boot {len(notebook.boots)}")
    lines = wrap(head, style, "", "  ")
    yield style.bold(lines[0])
    yield from lines[1:]
    for complaint in account.complaints:
        yield from wrap(complaint, style, "  ! ", "    ")


def _interesting(boot: Boot, notebook: Notebook) -> tuple[Place, ...]:
    """Where the parts are that the experiment is about: those of the link in question at its start, and its slot."""
    start = next((place for place in notebook.boots[0].places if place.slot == notebook.slot), None)
    if start is None:
        return boot.places
    return tuple(
        place for place in boot.places
        if place.slot == start.slot or (place.riser == start.riser != NO_RISER)
        or (start.card is not None and place.card == start.card))


def _table(notebook: Notebook, style: Style) -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    calls: list[Call | None] = []
    for index, boot in enumerate(notebook.boots, 1):
        first = True
        for place in _interesting(boot, notebook):
            look = as_used(boot, place.slot)
            rows.append((str(index) if first else "", _brief(place.slot), _brief(place.riser or "-"),
                         _brief(short_card(place.card)),
                         *_cells(look)))
            calls.append(call_link(look).call if look is not None and look.ways else None)
            first = False
    if not rows:
        return
    shown = list(range(len(HEADS)))
    widths = [max(len(style.text(row[column])) for row in (HEADS, *rows)) for column in shown]
    if 2 + sum(width + 2 for width in widths) - 2 > style.columns:
        shown.remove(HEADS.index("copied"))

    def line(row: Sequence[str]) -> str:
        cells = [(HEADS[at], style.text(row[at]), widths[at]) for at in shown]
        return "  " + "  ".join(
            cell.rjust(width) if head in RIGHT else cell.ljust(width) for head, cell, width in cells)

    if any(row[-1] for row in rows):
        before = shown[:shown.index(HEADS.index("to card"))]
        yield "  " + " " * sum(widths[at] + 2 for at in before) + style.text("errors per TB (< at 95 %)")
    yield line(HEADS)
    for row, call in zip(rows, calls, strict=True):
        text = line(row)
        if call is not None:
            text = text[:len(text) - widths[-1]] + style.word(OUTCOMES[call], row[-1])
        yield text


LABEL_COLUMNS = 12


def _brief(label: str) -> str:
    """A label that fits its column; a long one loses its middle, so that its ends still tell it."""
    return label if len(label) <= LABEL_COLUMNS else f"{label[:5]}…{label[-6:]}"


def _cells(look: Look | None) -> tuple[str, str, str, str, str]:
    if look is None:
        return "not looked at", "-", "-", "-", ""
    if look.width is None and (look.present is not None or look.active is not None):
        felt = {True: "card felt", False: "slot empty", None: "no link"}[look.present]
        return felt, "-", "-", "-", "no link"
    link = f"x{look.width or '?'} {f'{look.speed_gts:g} GT/s' if look.speed_gts else '?'}"
    bits = sum(way.bits for way in look.ways)
    return (link, size(bits) if bits else "-", _per_terabyte(look.way("card")), _per_terabyte(look.way("host")),
            WORDS[call_link(look).call])


def _per_terabyte(way: Way | None) -> str:
    """Errors per terabyte; of none the bound; of what was not read a word."""
    if way is None or (way.unread is not None and not way.errors):
        return "unread"
    if not way.bits:
        return counted(way.errors, "error") if way.errors else "no copies"
    if way.errors:
        least = ">= " if way.at_least or way.unread else ""
        return f"{least}{number(way.errors / (way.bits / BITS_A_TERABYTE))}"
    rate = rate_of(direction_of(way))
    if rate is None or rate.at_most is None:
        return "unread"
    return f"< {number(rate.at_most * BITS_A_TERABYTE, 'up')}"


def as_used(boot: Boot, slot: str) -> Look | None:
    """The look at a link as the box is used, nothing forced, of which the worst is to be said; then the one with most
    errors, with most bits."""
    plain = [look for look in boot.looks if look.slot == slot and look.conditions.speed_gts is None
             and not look.conditions.aspm_off and not look.conditions.power_capped]
    return max(plain, key=lambda look: (
        bool(look.ways), _gravity(look), sum(way.errors for way in look.ways), sum(way.bits for way in look.ways)),
        default=None)


def _gravity(look: Look) -> int:
    """Of what was read, failing is the worst. What carried payload and was not read is worse than what is bounded; at
    rest there was nothing to read."""
    carried = any(way.bits for way in look.ways)
    return {"failing": 4, "marginal": 3, "unread": 2 if carried else 0, "bounded": 1}[call_link(look).call]


def _this_boot(notebook: Notebook, boot: Boot, account: RiserAccount, style: Style) -> Iterator[str]:
    here = [look for look in boot.looks if look.slot == notebook.slot]
    plain = as_used(boot, notebook.slot)
    if account.absent:
        yield style.bold(style.text(f"No card answers in {notebook.slot}"))
        yield from _absent(account.absent, style)
    elif plain is not None:
        yield style.bold(style.text(f"Link of {notebook.slot} in this boot"))
    if plain is not None:
        for said in (call_way(way) for way in plain.ways):
            yield from _said(said.call, said.says, style)
        if worst := broken(plain):
            yield from _said("failing", f"{conditions_words(plain.conditions)}: {'; '.join(worst)}", style)
        for note in remarks(plain):
            yield from wrap(note, style, " " * 12, " " * 14)
    others = [look for look in here if look.conditions != (plain.conditions if plain else Conditions())]
    known = remarks(plain) if plain is not None else ()
    for look in others:
        yield from _told(look, style, known)
        known = (*known, *remarks(look))
    done = [one for one in account.tried if one.done]
    left = [one for one in account.tried if not one.done]
    for one in done:
        yield from wrap(f"{one.name}: {one.says}", style, "  ", "    ")
    if left and account.state != "found":
        yield ""
        yield style.bold(style.text("Not tried"))
        yield from _left(left, style)


def _absent(every: Sequence[Shown], style: Style) -> Iterator[str]:
    width = max(len(one.what) for one in every)
    for one in every:
        yield from wrap(one.says, style, f"  {one.what.ljust(width)}  ", " " * (width + 4))
        if one.rules_out:
            yield from wrap(f"rules out {one.rules_out}", style, " " * (width + 4), " " * (width + 6))
        if one.help:
            yield from wrap(one.help, style, f"{' ' * (width + 4)}help: ", " " * (width + 10))


def _said(call: Call, says: str, style: Style) -> Iterator[str]:
    lines = wrapped(says, style, " " * 12)
    yield f"  {style.word(OUTCOMES[call], WORDS[call], 9)} {lines[0][12:]}"
    yield from lines[1:]


def _told(look: Look, style: Style, known: Sequence[str]) -> Iterator[str]:
    """A look under other conditions than those of use, each direction with its bound. `known`: remarks already told."""
    if not look.ways:
        return
    says = "; ".join((*broken(look), *(f"{TOWARD[way.toward]} {terabytes(way)}" for way in look.ways)))
    yield from _said(call_link(look).call, f"{conditions_words(look.conditions)}: {says}", style)
    for note in remarks(look):
        if note not in known:
            yield from wrap(note, style, " " * 12, " " * 14)


def remarks(look: Look) -> tuple[str, ...]:
    """What else is to be known of a look, the reason first why it was cut short."""
    cut = (f"cut short: {look.cut_short}",) if look.cut_short else ()
    return (*cut, *(note for note in look.notes if note not in look.cut_short))


def conditions_words(held: Conditions) -> str:
    """`at 8 GT/s`, `ASPM off`, `all cards loaded`."""
    words = []
    if held.speed_gts is not None:
        words.append(f"at {held.speed_gts:g} GT/s")
    if held.aspm_off:
        words.append("ASPM off")
    if held.power_capped:
        words.append("power capped")
    if held.traffic == "peers":
        words.append("copies between cards")
    words.append("all cards loaded" if held.neighbours == "loaded" else "this card alone")
    if held.hot is not None:
        words.append("hot" if held.hot else "cold")
    return ", ".join(words)


def _left(left: Sequence[Tried], style: Style) -> Iterator[str]:
    """What was not tried, together where the reason is the same."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in left:
        reasons.setdefault((one.says, one.help), []).append(one.name)
    for (says, help), names in reasons.items():
        yield from wrap(f"{listed(names)}: {says}", style, "  ", "    ")
        if help:
            yield from wrap(runnable(help), style, "    ", "      ")


PARTS = {"slot": "slot", "riser": "riser", "card": "card", "seat": "contacts of", "supply": "supply",
         "setting": "setting"}
LEAST_SHOWN = 0.02
WORTH = 0.1
"""A capture of a box that may well have nothing wrong asks nobody to power off."""


def suspect_name(suspect: Suspect) -> str:
    name = short_card(suspect.name) if suspect.kind == "card" else suspect.name
    if name.startswith("the "):
        return name
    if suspect.kind == "riser" and name.startswith("riser "):
        return name
    return f"{PARTS[suspect.kind]} {name}"


def _suspects(account: RiserAccount, style: Style) -> Iterator[str]:
    weighed = account.weighed
    shown = [one for one in weighed.suspects if one.probability >= LEAST_SHOWN or one in weighed.accused]
    common = [reason for reason in (shown[0].because if shown else ())
              if len(shown) > 1 and all(reason in one.because for one in shown)]
    names = [style.text(suspect_name(one)) for one in shown] + ["no part at fault"]
    width = max(len(name) for name in names)
    yield style.bold("Suspects")
    for reason in common:
        yield from wrapped(reason, style, "  ", "    ")
    for name, one in zip(names, shown, strict=False):
        outcome = Outcome.FAIL if one in weighed.accused else Outcome.UNKNOWN
        bar = style.word(outcome, _bar(one.probability, style))
        yield f"  {name.ljust(width)}  {bar}  {percent(one.probability):>6}"
        for reason in one.because:
            if reason not in common:
                yield from wrapped(reason, style, " " * (width + 4), " " * (width + 6))
    yield f"  {names[-1].ljust(width)}  {style.word(Outcome.PASS, _bar(weighed.healthy, style))}  " \
          f"{percent(weighed.healthy):>6}"


def wrapped(text: str, style: Style, first: str = "", rest: str | None = None) -> list[str]:
    """As `wrap`, and no number is parted from its unit."""
    kept = re.sub(r"(?<=\d) (?=%|TB|GT/s|ms\b)", "\u00a0", text)
    return [line.replace("\u00a0", " ") for line in wrap(kept, style, first, rest)]


def _bar(part: float, style: Style) -> str:
    full = round(BAR * part)
    return ("#" if style.ascii else "█") * full + ("." if style.ascii else "░") * (BAR - full)


def _closing(account: RiserAccount, style: Style) -> Iterator[str]:
    weighed, step = account.weighed, account.weighed.next
    if weighed.says:
        # What speaks for it stands above.
        says = weighed.says if weighed.verdict != "found" else weighed.says.partition(". ")[0] + "."
        yield from (style.bold(line) for line in wrapped(says[0].upper() + says[1:], style))
    if step is not None and (account.state == "waiting" or (account.of_capture and weighed.healthy < WORTH)):
        yield ""
        yield from _next(step, account, style)
    if account.of_capture:
        yield from wrap(f"boxcheck riser {account.stored.notebook.slot}   on that machine counts errors and goes on",
                        style, "Next  ", "      ")
    if style.quiet:
        return
    for card in account.tape:
        yield ""
        yield style.bold("Tape this to the part")
        yield from boxed(card.split("\n"), style)
    if account.advice:
        yield ""
        yield style.bold("What helps, cheapest first")
        for one in account.advice:
            yield from wrap(f"{one.says}{f' [{one.source}]' if one.source else ''}", style, "  - ", "    ")
    if account.command and not (account.state == "waiting" and step is not None):
        yield ""
        if account.state == "exhausted":
            yield from wrap("No step that is possible would tell more; a longer look shows rarer errors.", style)
        yield from wrap(runnable(account.command), style, "Go on with  ", "            ")
    if account.path:
        yield from wrap(f"notebook {account.path}", style, "", "  ")


def _next(step: Step, account: RiserAccount, style: Style) -> Iterator[str]:
    from boxcheck.riser.motions import step_words

    yield from wrap(step_words(step, account.stored.notebook), style, "Do now   ", "         ")
    if step.why and not style.quiet:
        yield from wrap(step.why, style, "Why      ", "         ")
    if not account.of_capture:
        yield from wrap(runnable(account.command), style, "Then     ", "         ")
    if step.expect and not style.quiet:
        yield ""
        width = min(34, max(len(outcome) for outcome in step.expect) + 3)
        for outcome, meaning in step.expect.items():
            yield from wrapped(meaning, style, f"If {outcome}".ljust(width) + "  ", " " * (width + 2))


def boxed(lines: Sequence[str], style: Style) -> Iterator[str]:
    """A card with a frame, to be cut out and taped to a part."""
    from textwrap import wrap as folded

    inner = min(style.columns - 6, 66)
    text = [part for line in lines for part in (folded(style.text(line), inner) or [""])]
    wide = max(len(line) for line in text)
    corner, across, side = ("++++", "-", "|") if style.ascii else ("┌┐└┘", "─", "│")
    yield f"  {corner[0]}{across * (wide + 2)}{corner[1]}"
    for line in text:
        yield f"  {side} {line.ljust(wide)} {side}"
    yield f"  {corner[2]}{across * (wide + 2)}{corner[3]}"
