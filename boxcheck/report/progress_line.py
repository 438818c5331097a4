"""One line of how far a run is: time, percent, step, what is left, heat, power, rates, errors.

In 80 columns it keeps all of them; blanks and names give way first. What could not be read is `?`, never a number.
"""

from __future__ import annotations

from boxcheck.checks.wording import clock, short_duration
from boxcheck.engine.progress import Pace, View
from boxcheck.model import Outcome
from boxcheck.report.stress_rates import figure
from boxcheck.report.text import Style


def progress_line(view: View, style: Style) -> str:
    """The line, no wider than the terminal; errors are coloured."""
    errors = f"{view.errors} error{'' if view.errors == 1 else 's'}"
    for tight in range(4):
        parts = _parts(view, tight)
        gap = "  " if tight < 2 else " "
        if len(text := style.text(gap.join([*parts, errors]))) <= style.columns:
            break
    while len(text) > style.columns and len(parts) > 3:  # the last give way, whole
        parts.pop()
        text = style.text(" ".join([*parts, errors]))
    if view.errors and text.endswith(errors):
        return text[:-len(errors)] + style.word(Outcome.FAIL, errors)
    return text


def _parts(view: View, tight: int) -> list[str]:
    """The parts but the last. 0: all in words; 1: no names of rates; 2: as 1, to be set closer; 3: one rate alone,
    and no names of sensors."""
    percent = f"{view.percent:.0f} %" if tight < 2 else f"{view.percent:.0f}%"
    parts = [clock(view.seconds), percent]
    if view.state != "running":
        return [*parts, view.state]
    doing = f"{view.step}/{view.steps} {view.doing}" if view.step else "it begins"
    parts += [doing, f"{short_duration(view.left_seconds)} left"]
    if view.on_gpus:
        parts += [_heat(view, tight < 3), _watts(view)]
    paces = view.paces if tight < 3 else view.paces[:1]
    return [*parts, *(_pace(one, named=tight == 0 or len(paces) > 1, tight=tight >= 2) for one in paces)]


def _heat(view: View, named: bool) -> str:
    if view.hot is None:
        return "? °C"
    sensor = "" if not named or view.hot.sensor in ("core", "edge") else f"{view.hot.sensor} "
    slot = f"slot {view.hot.where}" if view.hot.where.isdigit() else view.hot.where
    return f"{view.hot.celsius:.0f} °C {sensor}{slot}"


def _watts(view: View) -> str:
    """`2750+? W` where some GPUs told nothing."""
    told, every = view.watts_of
    return "? W" if view.watts is None else f"{view.watts:.0f}{'+?' if told < every else ''} W"


def _pace(one: Pace, *, named: bool, tight: bool) -> str:
    percent = "" if one.percent is None else f" {one.percent:.0f}{'' if tight else ' '}%"
    name = f"{one.what.removesuffix('.power')} " if named else ""
    return f"{name}{figure(one.value, 3)} {one.unit}{percent}"
