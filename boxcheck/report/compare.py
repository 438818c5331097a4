"""Two sides beside each other for people: what differs by part, the gravest first, then what nobody knows, then how
much is alike. As JSON it is the `Comparison` itself, docs/reference/comparison.schema.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from boxcheck.compare.difference import SECTIONS, Comparison, Difference, Section, Value
from boxcheck.compare.side import Input
from boxcheck.model import Outcome
from boxcheck.report.csv import line
from boxcheck.report.text import Style, wrap
from boxcheck.store.texts import plain_line

TITLES: dict[Section, str] = {
    "outcome": "judged otherwise", "still": "not passed on either side", "machine": "what the box has",
    "measured": "measured, beyond what its scatter explains", "setup": "profile, limits and versions",
    "unread": "read on one side alone: nobody knows whether it is alike", "one-sided": "on one side alone"}
COUNTED: dict[Section, str] = {
    "outcome": "judged otherwise", "machine": "in what the box has", "measured": "in what was measured",
    "setup": "in profile, limits and versions"}
SHOWN = 4
"""Differences of a part that are told without -v."""
PARTS = 12
FEW: dict[Section, int] = {"one-sided": 2, "unread": 3}
BOX = "box"


def compare_json(found: Comparison) -> str:
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()


def compare_csv(found: Comparison) -> str:
    """A row a difference."""
    head = ("section", "what", "where", "by", "unit", "a", "b", "a_state", "b_state", "a_outcome", "b_outcome",
            "a_samples", "b_samples", "a_deviation", "b_deviation", "change", "worse", "says")
    return line(head) + "".join(line([
        "" if cell is None else cell for cell in (
            one.section, one.what, one.where, one.by, one.unit, _cell(one.a), _cell(one.b), one.a.state, one.b.state,
            one.a.outcome, one.b.outcome, one.a.samples, one.b.samples, one.a.deviation, one.b.deviation, one.change,
            None if one.worse is None else str(one.worse).lower(), one.says)]) for one in found.differences)


def _cell(value: Value) -> Any:
    return value.text if value.value is None or isinstance(value.value, bool) else value.value


def compare_text(found: Comparison, style: Style) -> str:
    """Ends in a line feed. The last lines say how much changed, is not known, and is alike."""
    lines: list[str] = []
    if not style.quiet:
        lines = [*heads((found.a, found.b), style), *wrap(_boxes(found), style, "", "  ")]
        for told in found.told:
            lines += wrap(plain_line(told), style, "  ", "    ")
        for section in SECTIONS:
            lines += _section(section, [one for one in found.differences if one.section == section], style)
        lines.append("")
    lines += wrap(_closing(found), style, "", "  ")
    return "\n".join(one.rstrip() for one in lines) + "\n"


def heads(inputs: Sequence[Input], style: Style) -> Iterator[str]:
    """What was compared, a line each or more."""
    for one in inputs:
        profile = f"profile {one.profile} r{one.revision}" if one.profile else "no profile"
        verdict = one.disposition or one.outcome or "no verdict"
        gpus = "GPUs not read" if one.gpus is None else f"{one.gpus} GPU{'' if one.gpus == 1 else 's'}"
        parts = (one.name, one.source, f"box {one.box}" if one.box else "box not named", one.began or "no date",
                 profile, gpus, verdict)
        first, *rest = wrap(plain_line("   ".join(parts)), style, f" {one.label}  ", "    ")
        yield style.bold(first)
        yield from rest
        for note in one.notes:
            yield from wrap(plain_line(note), style, "    ! ", "      ")


def _boxes(found: Comparison) -> str:
    words = {"one": "one box twice", "two": "two boxes, matched by slot or position",
             "unknown": "whether it is one box is not known; matched by slot, else by address"}
    return plain_line(f"{words[found.box]}: {found.box_says}")


def _section(section: Section, differences: Sequence[Difference], style: Style) -> Iterator[str]:
    if not differences:
        return
    yield ""
    yield style.bold(style.text(f"{TITLES[section]}: {len(differences)}"))
    parts: dict[str, list[Difference]] = {}
    for one in differences:
        parts.setdefault(one.where or BOX, []).append(one)
    most = FEW.get(section, SHOWN)
    shown = parts if style.verbose else dict(list(parts.items())[:PARTS])
    for where, some in shown.items():
        yield from wrap(plain_line(where), style, "  ", "    ")
        told = some if style.verbose else some[:most]
        several = {(one.what, one.unit) for at, one in enumerate(some) if any(
            (one.what, one.unit) == (other.what, other.unit) for other in some[:at])}
        for one in told:
            yield from _row(one, (one.what, one.unit) in several, style)
        if len(told) < len(some):
            yield style.text(f"    {len(some) - len(told)} more (-v shows them)")
    if len(shown) < len(parts):
        yield style.text(f"  {len(parts) - len(shown)} more parts (-v shows them)")


def _row(one: Difference, by: bool, style: Style) -> Iterator[str]:
    word = {True: "worse", False: "better", None: ""}[one.worse]
    outcome = {True: Outcome.FAIL, False: Outcome.PASS, None: Outcome.SKIP}[one.worse]
    what = f"{one.what} ({one.by})" if by and one.by else one.what
    change = f"  ({one.change})" if one.change else ""
    text = plain_line(f"{what}: {one.a.text} -> {one.b.text}{change}")
    head = f"    {word:<7} "
    first, *rest = wrap(text, style, head, " " * len(head))
    yield first.replace(word, style.word(outcome, word), 1) if word else first
    yield from rest
    if one.says and one.says not in (one.a.text, one.b.text) and (style.verbose or one.section != "measured"):
        yield from wrap(plain_line(one.says), style, " " * len(head) + "  ", " " * len(head) + "  ")


def _closing(found: Comparison) -> str:
    counts = {section: sum(1 for one in found.differences if one.section == section) for section in SECTIONS}
    changed = ", ".join(f"{counts[section]} {words}" for section, words in COUNTED.items() if counts[section])
    whole = f"{found.changes} differences" if found.changes != 1 else "1 difference"
    parts = [f"{whole}{f': {changed}' if changed else ''}"]
    if counts["still"]:
        parts.append(f"{counts['still']} not passed on either side")
    if counts["one-sided"]:
        parts.append(f"{counts['one-sided']} on one side alone")
    if unread := counts["unread"] + found.unread_in_both:
        parts.append(f"{unread} not known to be alike: {counts['unread']} read on one side alone, "
                     f"{found.unread_in_both} on neither")
    if found.not_compared:
        parts.append(f"{found.not_compared} not compared")
    parts.append(f"{found.same} alike")
    return "; ".join(parts)


def schemas() -> dict[str, Any]:
    """Of the published schema: file name -> schema."""
    schema = msgspec.json.schema(Comparison)
    return {"comparison.schema.json": {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}}
