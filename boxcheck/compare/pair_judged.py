"""What was judged otherwise on two sides. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from boxcheck.compare.difference import Difference, Section, Tally, Value, is_worse
from boxcheck.compare.judged import LEAST_PERCENT, Row, change_words, number, rows_of, value_words
from boxcheck.compare.matching import Match, Sameness
from boxcheck.compare.side import DOCTOR, Side
from boxcheck.compare.wholes import beside_whole
from boxcheck.engine.history_heat import HEAT_CELSIUS, HEAT_NOISE
from boxcheck.model import Finding, Outcome

_ByPart: TypeAlias = Mapping[tuple[str, str, str], Sequence[Finding]]


def judgements(tally: Tally, a: Side, b: Side, found: Sequence[Match], same: Sameness) -> None:
    left, right = a.found, b.found
    if a.has_load is not b.has_load:
        which, loaded = ("A", a) if a.has_load else ("B", b)
        load = sum(len(some) for (phase, _), some in loaded.found.items() if not phase.startswith(DOCTOR))
        tally.leave_out(
            f"load was run in {which} alone: what doctor found is compared, {load} judgements on the load are not",
            max(1, load))
        left, right = _doctor_alone(left), _doctor_alone(right)
    names = _names(found, same)
    by_part = _by_part(left, names[0]), _by_part(right, names[1])
    rows, told = [], set()
    for row in rows_of(*by_part):
        row, wholes = beside_whole(row, left, right, a, b)
        rows.append(row)
        told |= {row.base, *((*row.base[:2], str(one.subject)) for one in wholes)}
    phases = {phase for phase, _ in left}, {phase for phase, _ in right}
    alone = _quiet(tally, *by_part, told)
    for row in rows:
        phase = row.base[0]
        if (row.a is None or row.b is None) and phase in phases[0] ^ phases[1] and row.outcome not in (
                Outcome.FAIL, Outcome.MARGINAL):
            alone[phase, "A" if phase in phases[0] else "B"] += 1
            continue
        section = _section(row)
        if section is None:
            if row.change == "unread":
                tally.unread += 1
            else:
                tally.same += 1
            continue
        tally.found.append(Difference(
            section=section, what=row.what, where=row.base[2], unit=_unit(row), a=_judged(row.a), b=_judged(row.b),
            change=change_words(row.a, row.b), says=_says(row), worse=None if section == "unread" else is_worse(
                *(one.outcome.value if one is not None else None for one in (row.a, row.b)))))
    for (phase, which), count in sorted((+alone).items()):
        tally.leave_out(
            f"{phase or 'the whole run'} was judged in {which} alone: {count} values are not compared", count)


def _doctor_alone(found: Mapping[tuple[str, str], Sequence[Finding]]) -> dict[tuple[str, str], Sequence[Finding]]:
    """What doctor found last, as the phase `doctor`."""
    phases = [phase for phase, _ in found if phase.startswith(DOCTOR)]
    last = phases[-1] if phases else DOCTOR
    return {(DOCTOR, check): some for (phase, check), some in found.items() if phase == last}


def _names(found: Sequence[Match], same: Sameness) -> tuple[Callable[[Finding], str], Callable[[Finding], str]]:
    """By finding the name of its part, one for both sides: of a finding on a card that of the card, wherever it is
    now; of one on a link that of the place."""
    def namer(side: Literal["a", "b"]) -> Callable[[Finding], str]:
        by_bdf, by_slot = dict[str, Match](), dict[str, Match]()
        for one in found:
            card = one.a if side == "a" else one.b
            if card is not None:
                by_bdf |= {card.bdf: one} if card.bdf else {}
                by_slot |= {card.slot: one} if card.slot else {}

        def name(finding: Finding) -> str:
            subject = finding.subject
            one = by_bdf.get(subject.bdf or "") or by_slot.get(subject.slot or "")
            if one is None or one.a is None or one.b is None:
                return str(subject)
            if subject.kind == "gpu":
                return one.where
            if subject.kind in ("link", "slot") and (same == "two" or not (one.a.slot and one.b.slot)):
                return one.where
            return str(subject)

        return name

    return namer("a"), namer("b")


def _by_part(
    found: Mapping[tuple[str, str], Sequence[Finding]], name: Callable[[Finding], str],
) -> dict[tuple[str, str, str], list[Finding]]:
    by_part: dict[tuple[str, str, str], list[Finding]] = {}
    for (phase, check), some in found.items():
        for one in some:
            by_part.setdefault((phase, check, name(one)), []).append(one)
    return by_part


def _quiet(
    tally: Tally, left: _ByPart, right: _ByPart, besides: set[tuple[str, str, str]]
) -> Counter[tuple[str, str]]:
    """Checks that simply passed, or did not arise. One that passed on one side and was not made on the other, or does
    not arise there, is no more alike than another. Gives how many are of a phase that one side alone has, by it."""
    alone: Counter[tuple[str, str]] = Counter()
    phases = {phase for phase, _, _ in left}, {phase for phase, _, _ in right}
    for base in sorted({*left, *right} - besides):
        phase, check, where = base
        one, other = left.get(base, ()), right.get(base, ())
        if (not one or not other) and phase in phases[0] ^ phases[1]:
            alone[phase, "A" if one else "B"] += any(finding.outcome is not Outcome.SKIP for finding in (*one, *other))
            continue
        words = _words(one), _words(other)
        if {finding.outcome for finding in one} == {finding.outcome for finding in other}:
            if words[0] == words[1]:
                tally.same += 1
            else:
                tally.found.append(Difference(
                    section="setup", what=check, where=where, a=Value(text=words[0] or "no word", value=words[0]),
                    b=Value(text=words[1] or "no word", value=words[1])))
            continue
        tally.found.append(Difference(
            section="one-sided", what=f"{check} in {phase}" if phase not in ("", DOCTOR) else check, where=where,
            a=_quiet_value(one), b=_quiet_value(other)))
    return alone


def _words(found: Sequence[Finding]) -> str:
    """What was read where that is no number: `performance`."""
    return ", ".join(sorted({
        str(one.measured.value) for one in found if one.measured is not None and number(one) is None}))


def _quiet_value(found: Sequence[Finding]) -> Value:
    if not found:
        return Value(text="not judged", state="none")
    outcome = min((one.outcome for one in found), key=lambda one: one.rank)
    return Value(text="pass" if outcome is Outcome.PASS else "does not arise", outcome=outcome.value)


def _section(row: Row) -> Section | None:
    """None for what is alike, and for what neither side read."""
    a, b = row.a, row.b
    if row.change in ("same", "unread") or _is_weather(row):
        return None
    if row.change == "bad":
        return "still"
    if row.change == "moved":
        return "measured"
    outcomes = {one.outcome for one in (a, b) if one is not None}
    if row.change == "judged":
        grave = bool(outcomes & {Outcome.FAIL, Outcome.MARGINAL})
        if Outcome.UNKNOWN in outcomes and not grave:
            return "unread"
        return "outcome" if grave or Outcome.SKIP not in outcomes else "one-sided"
    return "unread" if outcomes == {Outcome.UNKNOWN} else "one-sided"


def _is_weather(row: Row) -> bool:
    """A few degrees more or less at the same judgement: a room differs by as much."""
    one, other = number(row.a), number(row.b)
    return row.change == "moved" and _unit(row) == "°C" and one is not None and other is not None and abs(
        other - one) <= HEAT_NOISE + HEAT_CELSIUS


def _judged(one: Finding | None) -> Value:
    if one is None:
        return Value(text="not judged", state="none")
    value = number(one)
    measured = one.measured.value if one.measured is not None and value is not None else None
    text = one.says if one.outcome is Outcome.UNKNOWN and value is None else value_words(one)
    return Value(text=text, state="unread" if one.outcome is Outcome.UNKNOWN else "read", value=measured,
                 outcome=one.outcome.value)


def _unit(row: Row) -> str:
    return next((one.measured.unit for one in (row.b, row.a) if one is not None and one.measured is not None), "")


def _says(row: Row) -> str:
    if row.change == "moved":
        return f"a judgement keeps no scatter; {LEAST_PERCENT:.0f} % or more is told"
    if row.a is not None and row.b is not None and row.b.outcome is Outcome.UNKNOWN and row.a.outcome in (
            Outcome.FAIL, Outcome.MARGINAL):
        return f"{row.b.says}; what was found in A is not shown to be mended"
    one = row.b if row.b is not None and row.b.outcome is not Outcome.PASS else row.a
    return one.says if one is not None and one.outcome is not Outcome.PASS else ""
