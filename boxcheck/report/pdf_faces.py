"""The fonts of a PDF, and text made so that each of its characters is seen and none of them acts.

Fonts are Noto Sans (its digits are of one width) and Cascadia Mono, of the package pymupdf-fonts (SIL Open Font
License 1.1); what Noto Sans lacks is taken from FiraGO or Cascadia Mono, and what is Chinese, Japanese or Korean from a
font of the system, where one is installed. Only the glyphs that are used come into the file. A character that no font
has, that is a control or formatting character, or that would be written from right to left stands as `[U+202E]`:
nothing is lost, and nothing turns the order of what stands beside it.
"""

from __future__ import annotations

import importlib
import os
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from boxcheck.report.pdf_east_asian import system_fonts

if TYPE_CHECKING:
    from fpdf import FPDF

Face = Literal["regular", "bold", "code"]

FILES = {
    "sans": "NotoSans_Regular", "sans-bold": "NotoSans_Bold", "mono": "CascadiaMono_Regular",
    "more": "FiraGO_Regular", "more-bold": "FiraGO_Bold",
}
CHAINS: dict[Face, tuple[str, ...]] = {
    "regular": ("sans", "more", "mono"), "bold": ("sans-bold", "more-bold", "mono"), "code": ("mono", "sans", "more"),
}
"""Where a character is looked for, in this order."""
CODE_SCALE = 0.88
"""Of Cascadia Mono beside Noto Sans, so that both are of one height to the eye."""

Run: TypeAlias = tuple[str, str, float]
"""Font, text, and its width at size 1."""


class Faces:
    """Fonts of one PDF; one is loaded when the first character asks for it. Widths are in points at size 1."""

    def __init__(self, pdf: FPDF, folder: str) -> None:
        self._pdf = pdf
        self._folder = folder
        self._widths: dict[str, dict[int, float]] = {}
        self._chars: dict[tuple[Face, str], tuple[str, str, float]] = {}
        self._words: dict[tuple[Face, str], tuple[tuple[Run, ...], float]] = {}
        self._system: list[str] = []
        self._further: list[tuple[str, int]] | None = None
        """Fonts of the system: those that are loaded, and those that no character asked for; None: not looked for."""
        self.replaced = False
        """Whether some character stands as its number."""
        self.lacks_east_asian = False
        """Whether one of those is a Chinese, Japanese or Korean letter."""

    def runs(self, text: str, face: Face) -> tuple[tuple[Run, ...], float]:
        """`text` as pieces of one font each, and their width."""
        key = (face, text)
        known = self._words.get(key)
        if known is not None:
            return known
        runs: list[Run] = []
        for char in text if text.isascii() else unicodedata.normalize("NFC", text):
            font, shown, wide = self._chars.get((face, char)) or self._char(face, char)
            if runs and runs[-1][0] == font:
                runs[-1] = (font, runs[-1][1] + shown, runs[-1][2] + wide)
            else:
                runs.append((font, shown, wide))
        found = (tuple(runs), sum(run[2] for run in runs))
        if len(self._words) < 100_000:
            self._words[key] = found
        return found

    def width(self, text: str, face: Face) -> float:
        return self.runs(text, face)[1]

    def _char(self, face: Face, char: str) -> tuple[str, str, float]:
        found = self._drawn(face, char)
        if found is None:
            self.replaced = True
            self.lacks_east_asian |= _is_east_asian(char) and unicodedata.category(char) != "So"
            shown = told(char)
            pieces = [self._drawn(face, one) for one in shown]
            found = (CHAINS[face][0], shown, sum(piece[2] for piece in pieces if piece))
        self._chars[face, char] = found
        return found

    def _drawn(self, face: Face, char: str) -> tuple[str, str, float] | None:
        """Font and width of a character that may be shown as itself."""
        if not _is_plain(char):
            return None
        code = ord(char)
        for font in CHAINS[face]:
            widths = self._widths.get(font) or self._load(font)
            if code in widths:
                return font, char, widths[code] / 1000 * scale(face)
        if _is_east_asian(char):
            for font in self._system_fonts():
                if code in self._widths[font]:
                    return font, char, self._widths[font][code] / 1000 * scale(face)
        return None

    def _system_fonts(self) -> Iterator[str]:
        yield from self._system
        if self._further is None:
            self._further = list(system_fonts())
        while self._further:
            path, index = self._further.pop(0)
            font = f"system-{len(self._system)}"
            try:
                # An fpdf2 that cannot be told which font of a file (below 2.8.6) embeds outlines like Noto's wrongly.
                self._pdf.add_font(font, "", path, collection_font_number=index)
                self._widths_of(font)
            except Exception:  # noqa: BLE001 - whatever is wrong with it, a report needs no font of the system
                continue
            self._system.append(font)
            yield font

    def _load(self, font: str) -> dict[int, float]:
        buffer: bytes = importlib.import_module(f"pymupdf_fonts.{FILES[font]}").fontbuffer
        path = os.path.join(self._folder, f"{font}.ttf")
        with open(path, "wb") as stream:
            stream.write(buffer)
        self._pdf.add_font(font, "", path)
        return self._widths_of(font)

    def _widths_of(self, font: str) -> dict[int, float]:
        loaded = self._pdf.fonts[font]
        widths = {code: float(loaded.cw[code]) for code in loaded.cmap}  # type: ignore[union-attr,index]
        self._widths[font] = widths
        return widths


def scale(face: Face) -> float:
    return CODE_SCALE if face == "code" else 1.0


def visible(text: str) -> str:
    """`text` for the outline and the properties of the file: what is not plain as `[U+202E]`."""
    return "".join(char if _is_plain(char) else told(char) for char in text)


def told(char: str) -> str:
    """A character by its number."""
    return f"[U+{ord(char):04X}]"


def _is_plain(char: str) -> bool:
    if " " <= char <= "~":
        return True
    kind = unicodedata.category(char)
    # Control, format, private, surrogate, unassigned; line separators; marks that would be heaped on their neighbours.
    if kind[0] == "C" or kind in ("Zl", "Zp", "Mn", "Me"):
        return False
    return unicodedata.bidirectional(char) not in ("R", "AL", "AN")


def _is_east_asian(char: str) -> bool:
    """What fonts for Chinese, Japanese and Korean hold, each a whole that stands beside the next (Unicode, annex 11:
    wide, of full width, of half width). Emoji are wide, too."""
    return _is_plain(char) and unicodedata.east_asian_width(char) in ("W", "F", "H")
