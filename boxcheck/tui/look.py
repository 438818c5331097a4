"""Words, marks and colours: each outcome has all three, so that none is needed alone (no colour, no Unicode, no eye for
red and green)."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from boxcheck.model import Outcome
from boxcheck.tui.frame import Frame, GpuState

Style = Literal["$ok", "$marginal", "$fail", "$unknown", "$quiet", "$text", "bold", ""]

WORD = {
    Outcome.PASS: "PASSING", Outcome.MARGINAL: "MARGINAL", Outcome.FAIL: "FAILING", Outcome.UNKNOWN: "UNKNOWN",
    Outcome.SKIP: "SKIPPED",
}
FINAL = {**WORD, Outcome.PASS: "PASSED", Outcome.FAIL: "FAILED"}
OF_OUTCOME: dict[Outcome, Style] = {
    Outcome.PASS: "$ok", Outcome.MARGINAL: "$marginal", Outcome.FAIL: "$fail", Outcome.UNKNOWN: "$unknown",
    Outcome.SKIP: "$quiet",
}
OF_STATE: dict[GpuState, Style] = {
    "ok": "$ok", "marginal": "$marginal", "fail": "$fail", "unknown": "$unknown", "waiting": "$quiet",
    "working": "", "silent": "$unknown", "lost": "$fail",
}
STATE_WORD: dict[GpuState, str] = {
    "ok": "ok", "marginal": "marginal", "fail": "FAIL", "unknown": "unknown", "waiting": "waiting",
    "working": "working", "silent": "SILENT", "lost": "LOST",
}
OF_SEVERITY: dict[str, Style] = {"fail": "$fail", "warn": "$marginal", "info": "$quiet"}


class Glyphs(msgspec.Struct, frozen=True):
    levels: str
    """Of a sparkline, lowest first."""
    full: str
    empty: str
    none: str
    """Where nothing was read."""
    degree: str
    arrow: str
    tree: tuple[str, str, str]
    """A branch, the last branch, the line that goes on."""


UNICODE = Glyphs("▁▂▃▄▅▆▇█", "█", "░", "·", "°C", "▸", ("├─ ", "└─ ", "│  "))
ASCII = Glyphs("_.-:=+*#", "#", ".", " ", "C", ">", ("|- ", "`- ", "|  "))


def word_of(frame: Frame) -> str:
    """The verdict in a word; of a run that goes on it is one so far."""
    if frame.lost:
        return "LOST"
    if frame.over and frame.state == "crashed":
        return "CRASHED"
    if frame.over and frame.state == "stopped" and frame.outcome is not Outcome.FAIL:
        return "STOPPED"
    return (FINAL if frame.over else WORD)[frame.proven]


def reason_of(frame: Frame) -> str:
    """The one reason beside the word, and who tells nothing: a word that is good so far never stands alone then."""
    if frame.lost:
        return f"the store can no longer be read: {frame.lost}"
    if frame.unheard_seconds:
        return "; ".join(filter(None, (f"nothing read for {frame.unheard_seconds:.0f} s", frame.reason)))
    untold = untold_of(frame)
    return f"{untold}; {frame.reason}" if frame.outcome is Outcome.PASS and untold and frame.reason else "; ".join(
        filter(None, (frame.reason, untold)))


def untold_of(frame: Frame) -> str:
    """`PCIE7: no reading for 41 s`; empty where all GPUs tell what they should."""
    rows = [row for row in frame.untold if not row.place or row.place not in frame.reason]  # that says it already
    if not rows:
        return ""
    if len(rows) == 1:
        return f"{rows[0].place}: {rows[0].why}"
    places = ", ".join(row.place for row in rows)
    tell = "tell nothing" if frame.live else "told nothing at the end"
    return f"{len(rows)} of {len(frame.gpus)} GPUs {tell}: {places}"


def style_of(frame: Frame) -> Style:
    if frame.lost or (frame.over and frame.state != "finished" and frame.outcome is not Outcome.FAIL):
        return "$unknown"
    return OF_OUTCOME[frame.proven]


def moment(seconds: float) -> str:
    """`2026-11-28 18:40`, UTC. A wrong clock may be anywhere."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "?"


def bar(fraction: float, width: int, glyphs: Glyphs) -> str:
    full = round(max(0.0, min(1.0, fraction)) * width)
    return glyphs.full * full + glyphs.empty * (width - full)


def spark(values: Sequence[float | None], top: float | None, glyphs: Glyphs) -> str:
    """One character a value, from nothing up to somewhat above `top` and the highest, so that a dip is as low as it was
    and rows of full cells do not run into one another."""
    highest = max((value for value in values if value is not None), default=0.0)
    scale = 1.2 * max(highest, top or 0.0)
    steps = len(glyphs.levels)
    return "".join(
        glyphs.none if value is None else glyphs.levels[min(steps - 1, int(value / scale * steps)) if scale else 0]
        for value in values)


def figure(value: float | None) -> str:
    """Three or four significant digits, however small it is; a dash where nothing was measured."""
    if value is None:
        return "-"
    if 0 < abs(value) < 1:
        return f"{value:.4g}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def plain(text: str) -> str:
    """A name from outside as text alone: no escapes, no line feeds, nothing that turns the direction of writing."""
    return "".join(one if one.isprintable() else "?" for one in text)


def cut(text: str, width: int) -> str:
    """No longer than that; a tilde where something is left out."""
    return text if len(text) <= width else text[:max(0, width - 1)] + "~"


def filled(text: str, width: int, indent: str = "") -> list[str]:
    """In lines of that width, broken between words; each begins with `indent`."""
    return textwrap.wrap(plain(text), max(12, width), initial_indent=indent, subsequent_indent=indent) or [indent]
