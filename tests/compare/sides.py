"""Sides made by hand: what they have, what was judged, what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boxcheck.compare.difference import Comparison, Difference
from boxcheck.compare.pair import compare
from boxcheck.compare.side import Input, Item, Side
from boxcheck.engine.figures import Card, CardFigures, Figures, PhaseFigures, Rate
from boxcheck.model import Finding, Outcome, Quantity, Subject

WHAT = "matmul.bf16.power"


def card(number: int = 3, slot: str | None = "PCIE", **fields: Any) -> Card:
    """The card of a slot, with a UUID of its own."""
    known: dict[str, Any] = {
        "key": f"cuda:{number}", "name": "RTX 4090", "backend": "cuda", "uuid": f"GPU-{number}",
        "bdf": f"0000:{number:02x}:00.0", "slot": None if slot is None else f"{slot}{number}"}
    return Card(**(known | fields))


def rate(value: float, deviation: float | None = 0.1, **fields: Any) -> Rate:
    known: dict[str, Any] = {"what": WHAT, "unit": "TFLOPS", "by": "kernel k", "value": value, "samples": 50,
                             "deviation": deviation}
    return Rate(**(known | fields))


def phase(*cards: CardFigures, **fields: Any) -> PhaseFigures:
    known: dict[str, Any] = {"name": "matmul", "module": "matmul", "planned_seconds": 60.0, "watched_seconds": 60.0,
                             "cards": cards}
    return PhaseFigures(**(known | fields))


def figures(*phases: PhaseFigures) -> Figures:
    return Figures(run="r", started=1_795_000_000.0, version="0", box="W-1", phases=phases)


def rated(*values: tuple[Card, float], deviation: float | None = 0.1) -> Figures:
    """One phase with one rate of each card."""
    return figures(phase(*(CardFigures(card=one, rates=(rate(value, deviation),)) for one, value in values)))


def found(
    outcome: Outcome = Outcome.PASS, value: float | str | None = None, check: str = "pcie.link-width",
    unit: str = "lanes", subject: Subject | None = None, says: str = "words",
) -> Finding:
    return Finding(check=check, subject=subject or Subject("link", slot="PCIE3"), outcome=outcome, says=says,
                   measured=None if value is None else Quantity(value, unit))


def side(
    label: str = "A", cards: Sequence[Card] = (), *findings: Finding, items: Sequence[Item] = (),
    figures: Figures | None = None, box: str = "W-1", fields: Mapping[str, Any] | None = None, **told: Any,
) -> Side:
    """`fields`: of its input; `told`: of the side."""
    known: dict[str, Any] = {
        "label": label, "name": f"run-{label}", "source": "capture", "path": f"/{label}", "box": box,
        "began": "2026-11-21T13:20:04Z", "profile": "p", "revision": 1, "profile_sha256": "0" * 64, "outcome": "pass",
        "disposition": None, "reason": "", "state": None, "gpus": len(cards), "notes": ()}
    by_check: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        by_check.setdefault(("doctor", one.check), []).append(one)
    return Side(input=Input(**(known | dict(fields or {}))), cards=tuple(cards), items=items, figures=figures,
                found=by_check, limits={}, **told)


def compared(a: Side, b: Side) -> Comparison:
    return compare(a, b, "0")


def rows(made: Comparison, section: str) -> list[Difference]:
    return [one for one in made.differences if one.section == section]


def strings(value: Any) -> Iterator[str]:
    """Every text in what JSON holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from (*strings(key), *strings(one))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from strings(one)
