"""Text as HTML may have it: nothing in it is markup, drives anything, or turns the writing of its neighbours round."""

from __future__ import annotations

import re

from boxcheck.report.document import Span, Words

_SPECIAL = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
# C0 without line feed and tab, DEL, C1; marks that are not seen and those that turn writing round (Unicode TR9);
# separators of lines; surrogates that stand alone; what is no character, as the last two of each plane; tags; private
# planes.
_NO_CHARACTERS = "".join(f"{chr(end - 1)}{chr(end)}" for end in range(0x1ffff, 0xf0000, 0x10000))
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    f"\U000e0000-\U000e0fff{_NO_CHARACTERS}\U000f0000-\U0010ffff]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_MARKS = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_MANY_MARKS = re.compile(f"({_MARKS}{{2}}){_MARKS}+")
"""Marks on one letter, of which a hundred draw over the lines above."""


def hidden(character: str) -> str:
    """What stands for a character that is not shown: `U+202E`."""
    return f"U+{ord(character):04X}"


def escaped(text: str) -> str:
    """For the inside of an element or of an attribute in quotes; hidden characters by their number."""
    if not text.isascii():
        text = _MANY_MARKS.sub(r"\1", text)
    if not text.isprintable() or not text.isascii():
        text = _HIDDEN.sub(lambda found: f"[{hidden(found[0])}]", text)
    return text.translate(_SPECIAL)


def inline(text: str) -> str:
    """For the inside of an element: what is hidden stands apart, and writing from right to left is by itself."""
    if text.isascii() and text.isprintable():
        return text.translate(_SPECIAL)
    if not text.isascii():
        text = _MANY_MARKS.sub(r"\1", text)
    parts, at = [], 0
    for found in _HIDDEN.finditer(text):
        parts.append(text[at:found.start()].translate(_SPECIAL))
        parts.append(f'<span class="ctl">{hidden(found[0])}</span>')
        at = found.end()
    parts.append(text[at:].translate(_SPECIAL))
    whole = "".join(parts)
    return f"<bdi>{whole}</bdi>" if _RIGHT_TO_LEFT.search(text) else whole


_TAGS = {
    "plain": ("", ""), "strong": ("<b>", "</b>"), "code": ("<code>", "</code>"),
    "dim": ('<span class="dim">', "</span>")}


def words_html(words: Words) -> str:
    if isinstance(words, str):
        return inline(words)
    return "".join(f"{_TAGS[one.manner][0]}{inline(one.text)}{_TAGS[one.manner][1]}" for one in words)


def plain(words: Words) -> str:
    return words if isinstance(words, str) else "".join(one.text for one in words)


def css_string(text: str) -> str:
    """A string of a style sheet: every character beside letters, digits and blanks by its number."""
    return '"' + "".join(
        one if one.isascii() and (one.isalnum() or one == " ") else f"\\{ord(one):x} " for one in text
        if not _HIDDEN.match(one)) + '"'


__all__ = ["Span", "css_string", "escaped", "hidden", "inline", "plain", "words_html"]
