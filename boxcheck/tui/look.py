"""Words, marks and colours: each outcome has all three, so that none is needed alone (no colour, no Unicode, no eye for
red and green)."""

from __future__ import annotations

import os
import re
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import floor, log10
from typing import Literal

import msgspec
from rich.cells import cell_len

from boxcheck.compare.judged import figure as figure
from boxcheck.model import Outcome
from boxcheck.store.errors import StoreError
from boxcheck.store.schema import SUFFIX
from boxcheck.tui.frame import Frame, GpuState, LinkView

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


PATH_FIRST = re.compile(rf"(?P<path>/.*?{re.escape(SUFFIX)}):? (?P<why>.+)", re.DOTALL)
"""As errors of a store are told."""


def word_of(frame: Frame) -> str:
    """The verdict in a word; of a run that goes on it is one so far."""
    if frame.lost:
        return "LOST"
    if frame.opening:
        return "OPENING"
    if frame.over and frame.state == "crashed":
        return "CRASHED"
    if frame.over and frame.state == "stopped" and frame.outcome is not Outcome.FAIL:
        return "STOPPED"
    return (FINAL if frame.over else WORD)[frame.proven]


def reason_of(frame: Frame) -> str:
    """The one reason beside the word, and who tells nothing: a word that is good so far never stands alone then."""
    if frame.lost:
        return why_lost(frame.lost)
    if frame.unheard_seconds:
        return "; ".join(filter(None, (f"nothing read for {frame.unheard_seconds:.0f} s", frame.reason)))
    untold = untold_of(frame)
    return f"{untold}; {frame.reason}" if frame.outcome is Outcome.PASS and untold and frame.reason else "; ".join(
        filter(None, (frame.reason, untold)))


def why_lost(said: str) -> str:
    """Why a store is lost: the reason first, then the file's name alone, then what helps. What an error says begins
    with the path, which would fill the line."""
    found = PATH_FIRST.fullmatch(said)
    if found is None:
        return f"the store can no longer be read: {said}"
    name = os.path.basename(found["path"])
    why, more, rest = found["why"].removeprefix("is ").partition(" (")
    helps = f"; boxcheck runs salvage {name.removesuffix(SUFFIX)} saves what is left" if "damaged" in why else ""
    return f"{why}: {name}{helps}{more}{rest}"


def untold_of(frame: Frame) -> str:
    """`PCIE7: no reading for 41 s`; empty where all GPUs tell what they should."""
    rows = [row for row in frame.untold if not row.place or row.place not in frame.reason]  # that says it already
    if not rows:
        return ""
    if len(rows) == 1:
        return f"{rows[0].place}: {rows[0].why}"
    places = ", ".join(row.place for row in rows)
    tell = "tell nothing" if frame.live else "told nothing at the end"
    told = f"all {len(rows)}" if len(rows) == len(frame.gpus) else f"{len(rows)} of {len(frame.gpus)}"
    return f"{told} GPUs {tell}: {places}"


def outcome_of(frame: Frame) -> Outcome:
    """What the word stands for: of a run that came to no end, or is read no more, it is not known."""
    if frame.lost or (frame.over and frame.state != "finished" and frame.outcome is not Outcome.FAIL):
        return Outcome.UNKNOWN
    return frame.proven


def style_of(frame: Frame) -> Style:
    return OF_OUTCOME[outcome_of(frame)]


def trained(link: LinkView) -> str:
    """`x8! 16`: lanes and GT/s, each with a mark where it was higher in this run; a dash where nothing was read."""
    if not link.width:
        return "-"
    lanes = f"x{link.width}{'!' if link.width < (link.best_width or 0) else ''}"
    if not link.speed_gts:
        return lanes
    return f"{lanes} {link.speed_gts:g}{'!' if link.speed_gts < (link.best_gts or 0) else ''}"


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


def in_line(values: Iterable[float | None]) -> Callable[[float | None], str]:
    """`figure` for a column: all with as many decimals as the largest has, so that their points stand in one line;
    each by itself where the smallest would lose all of its digits by that."""
    sizes = [abs(one) for one in values if one]
    if not sizes or max(sizes) >= 1e9 or min(sizes) < 0.01 * max(sizes):
        return figure
    decimals = max(0, min(5, 2 - floor(log10(max(sizes))))) if max(sizes) < 100 else int(max(sizes) < 1000)
    return lambda value: "-" if value is None else f"{value:.{decimals}f}"


def in_words(error: Exception) -> str:
    """In one line; of what is no error of a store also what it is."""
    said = " ".join(str(error).split())
    return said if isinstance(error, StoreError) and said else f"{type(error).__name__}: {said}".rstrip(": ")


def plain(text: str) -> str:
    """A name from outside as text alone: no escapes, no line feeds, nothing that turns the direction of writing."""
    return "".join(one if one.isprintable() else "?" for one in text)


def cut(text: str, width: int) -> str:
    """In no more columns than that; a tilde where something is left out."""
    return text if cell_len(text) <= width else _first(text, width - 1) + "~" if width > 0 else ""


def middle(text: str, width: int, tail: int | None = None) -> str:
    """The same with what is left out in the middle: `PCIEX~_16`. What tells names apart stands at their ends."""
    if cell_len(text) <= width:
        return text
    last = max(0, min(width - 1, width // 2 if tail is None else tail))
    end = ""
    for one in reversed(text):
        if cell_len(one + end) > last:
            break
        end = one + end
    return f"{_first(text, width - 1 - cell_len(end))}~{end}" if width > 0 else ""


def apart(names: Iterable[str], width: int) -> Mapping[str, str]:
    """Each name in that many columns, and no two alike: cut where as much of them is left as tells them apart, with a
    number before them where nothing does."""
    whole = list(dict.fromkeys(names))
    half = width // 2
    for tail in sorted(range(width), key=lambda one: abs(one - half)):
        short = [middle(one, width, tail) for one in whole]
        if len({*short}) == len(whole):
            return dict(zip(whole, short, strict=True))
    return {one: cut(f"{at} {one}", width) for at, one in enumerate(whole)}


def _first(text: str, width: int) -> str:
    """As many of its characters as have room in so many columns."""
    end = 0
    while end < len(text) and cell_len(text[:end + 1]) <= width:
        end += 1
    return text[:end]


def padded(text: str, width: int, *, left: bool = True) -> str:
    """Exactly that many columns; `left`: what there is stands at the left."""
    text = cut(text, width)
    gap = " " * (width - cell_len(text))
    return text + gap if left else gap + text


def filled(text: str, width: int, indent: str = "") -> list[str]:
    """In lines of that many columns, broken between words; each begins with `indent`."""
    width, text = max(12, width), plain(text)
    if cell_len(text) == len(text):
        return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent) or [indent]
    lines = [indent]
    for word in text.split():
        while word:
            joint = " " if lines[-1] != indent else ""
            if cell_len(lines[-1] + joint + word) <= width:
                lines[-1] += joint + word
                break
            if joint:
                lines.append(indent)
                continue
            some = _first(word, width - cell_len(indent)) or word[0]  # a word that is longer than a line
            lines[-1] += some
            word = word[len(some):]
    return lines
