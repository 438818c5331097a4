"""Fonts of this system with Chinese, Japanese and Korean characters, for the PDF. boxcheck brings none: each takes 4 to
20 MB."""

from __future__ import annotations

import os

FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")
"""Not those of a user: root makes reports too, and parses no font that somebody else laid there."""
FILES = {
    # Five fonts in a file: Japanese, Korean, Chinese simplified, traditional, of Hong Kong. They differ in the forms of
    # some characters, not in which they have.
    "NotoSansCJK-Regular.ttc": 2,
    "NotoSansCJKsc-Regular.otf": 0, "NotoSansSC-Regular.otf": 0, "SourceHanSansSC-Regular.otf": 0,
    "SourceHanSansCN-Regular.otf": 0,
    "wqy-microhei.ttc": 0, "wqy-zenhei.ttc": 0, "DroidSansFallbackFull.ttf": 0, "DroidSansFallback.ttf": 0,
    "ipaexg.ttf": 0, "ipag.ttf": 0, "NanumGothic.ttf": 0,
}
"""The number of the font in the file, in the order in which they are asked. Of those that distributions have: their
licences let a document hold their glyphs (SIL OFL 1.1, Apache 2.0, IPA 1.0, GPL with the font exception)."""
PACKAGE = "fonts-noto-cjk"


def system_fonts() -> tuple[tuple[str, int], ...]:
    """Path of each that is installed, and its number in the file."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for place, folders, names in os.walk(folder):
            folders.sort()
            for name in names:
                if name in FILES:
                    found.setdefault(name, os.path.join(place, name))
    return tuple((found[name], number) for name, number in FILES.items() if name in found)
