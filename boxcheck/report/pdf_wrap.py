"""Words set in lines of a width: breaks at blanks, within a word only where it is wider than a line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from math import inf

import msgspec

from boxcheck.report.document import Manner, Role, Words
from boxcheck.report.pdf_faces import Face, Faces, Run

BREAK_AFTER = "/-_.,:;=@+|"
"""Where a long word is broken rather than anywhere."""
_PIECES = re.compile(f"[^{re.escape(BREAK_AFTER)}]+[{re.escape(BREAK_AFTER)}]?|.")


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Part of a line in one manner; width at size 1."""

    runs: tuple[Run, ...]
    face: Face
    role: Role
    width: float


class Line(msgspec.Struct, frozen=True):
    pieces: tuple[Piece, ...]
    width: float


class _Part(msgspec.Struct, frozen=True, gc=False):
    text: str
    face: Face
    role: Role


_Unit = list[_Part]
"""What stands together without a blank."""

_FACES: dict[Manner, Face] = {"plain": "regular", "strong": "bold", "code": "code", "dim": "regular"}


def wrap(faces: Faces, words: Words, width: float, face: Face = "regular", role: Role = "ink") -> tuple[Line, ...]:
    """Lines at most `width` wide at size 1; one at least, empty for no words."""
    lines: list[Line] = []
    for units in _paragraphs(words, face, role):
        line: list[_Part] = []
        used = 0.0
        for unit in units:
            wide = _width(faces, unit)
            blank = faces.width(" ", line[-1].face) if line else 0.0
            if line and used + blank + wide <= width:
                line.append(_Part(" ", line[-1].face, line[-1].role))
                line += unit
                used += blank + wide
                continue
            if line:
                lines.append(_line(faces, line))
            *whole, line = _broken(faces, unit, width) if wide > width else [unit]
            lines += [_line(faces, part) for part in whole]
            used = _width(faces, line)
        lines.append(_line(faces, line))
    return tuple(lines)


def lengths(
    faces: Faces, words: Words, face: Face = "regular", breakable: float = inf
) -> tuple[float, tuple[float, ...]]:
    """Of the longest word, and of each line as long as it comes, at size 1. A word longer than `breakable` counts by
    the longest of what it may be broken into, if that is more."""
    longest = 0.0
    whole: list[float] = []
    for units in _paragraphs(words, face, "ink"):
        wide = 0.0
        for unit in units:
            own = _width(faces, unit)
            if own > longest:
                longest = max(longest, own if own <= breakable else min(own, max(breakable, _least(faces, unit))))
            wide += own + (faces.width(" ", unit[-1].face) if wide else 0.0)
        whole.append(wide)
    return longest, tuple(whole)


def _least(faces: Faces, unit: _Unit) -> float:
    """Of the longest piece of a unit that is broken after each mark."""
    return max(faces.width(piece, part.face) for part in unit for piece in _PIECES.findall(part.text))


def _paragraphs(words: Words, face: Face, role: Role) -> Iterable[list[_Unit]]:
    """Units by line feed. A tab is a blank."""
    spans = [(words, face, role)] if isinstance(words, str) else [
        (span.text, face if span.manner == "plain" or (face == "bold" and span.manner == "dim") else
         _FACES[span.manner], "dim" if span.manner == "dim" else role) for span in words]
    units: list[_Unit] = []
    joined = False
    for text, own_face, own_role in spans:
        for number, row in enumerate(text.replace("\t", " ").split("\n")):
            if number:
                yield units
                units, joined = [], False
            for count, word in enumerate(row.split(" ")):
                if count:
                    joined = False
                if not word:
                    continue
                part = _Part(word, own_face, own_role)
                if joined and units:
                    units[-1].append(part)
                else:
                    units.append([part])
                joined = True
    yield units


def _width(faces: Faces, unit: _Unit) -> float:
    return sum(faces.width(part.text, part.face) for part in unit)


def _line(faces: Faces, parts: _Unit) -> Line:
    pieces: list[Piece] = []
    for (face, role), same in groupby(parts, lambda part: (part.face, part.role)):
        runs, width = faces.runs("".join(part.text for part in same), face)
        pieces.append(Piece(runs, face, role, width))
    return Line(tuple(pieces), sum(piece.width for piece in pieces))


def _broken(faces: Faces, unit: _Unit, width: float) -> list[_Unit]:
    """A unit wider than a line, as units that are not; a character is never left out, however narrow the line is."""
    lines: list[_Unit] = [[]]
    used = 0.0
    for part in unit:
        text = part.text
        while text:
            fits = _fitting(faces, text, part.face, width - used)
            if fits == 0 and lines[-1]:
                lines.append([])
                used = 0.0
                continue
            fits = max(fits, 1)
            if fits < len(text):
                better = max(text.rfind(mark, 0, fits) for mark in BREAK_AFTER) + 1
                fits = better if better > fits * 0.5 else fits
            lines[-1].append(_Part(text[:fits], part.face, part.role))
            used += faces.width(text[:fits], part.face)
            text = text[fits:]
            if text:
                lines.append([])
                used = 0.0
    return lines


def _fitting(faces: Faces, text: str, face: Face, room: float) -> int:
    """How many of the first characters fit."""
    used = 0.0
    for count, char in enumerate(text):
        used += faces.width(char, face)
        if used > room:
            return count
    return len(text)
