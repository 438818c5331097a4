"""What a stream cannot show, and data that is UTF-8 whatever the locale says."""

from __future__ import annotations

import sys

_LIKE = str.maketrans({
    "·": "-", "°": "", "–": "-", "—": "-", "×": "x", "…": "...", "≥": ">=", "≤": "<=", "µ": "u", "�": "?",
})


def ascii_of(text: str) -> str:
    """In ASCII, with `?` for what nothing in it is like."""
    return text.translate(_LIKE).encode("ascii", "replace").decode()


def like_it(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs.register_error: what comes nearest in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return ascii_of(error.object[error.start:error.end]), error.end


def write_data(text: str) -> None:
    """Writes JSON, XML and the like to standard output: UTF-8 also where the terminal is of another encoding."""
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:
        sys.stdout.write(text)
    else:
        sys.stdout.flush()  # what was written as text stands before it
        raw.write(text.encode("utf-8", "replace"))
    sys.stdout.flush()
