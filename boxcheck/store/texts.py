"""Texts of a store as a terminal may have them: one line each, without controls and marks that turn the writing round.

A store may come from elsewhere, and holds what a kernel, a card or a command line said: whoever prints a text of it
prints what somebody else wrote. So it is made plain where it is read, at one place, and no report has to think of it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from boxcheck.host.common import clean

_LINES = str.maketrans("\n\t", "  ")


def plain_line(text: str) -> str:
    """`text` in one line: blanks for its line ends, a mark for what could drive a terminal."""
    return text if text.isprintable() else clean(text).translate(_LINES)


def plain_value(value: Any) -> Any:
    """JSON as Python values, with every text in it made plain, the names of its fields too. Tracebacks alone keep their
    lines: they go into JSON, and no report prints them."""
    if isinstance(value, str):
        return plain_line(value)
    if isinstance(value, dict):
        return {plain_line(key) if isinstance(key, str) else key: (
            clean(one) if key == "traceback" and isinstance(one, str) else plain_value(one))
            for key, one in value.items()}
    return [plain_value(one) for one in value] if isinstance(value, list) else value


def decode_plain(data: str | bytes, type: Any) -> Any:
    """A value from its JSON. MsgspecError or ValueError where it does not fit. Nearly every document of a store has no
    text that has to be made plain, which is seen without decoding it: JSON writes a control as a backslash and more."""
    try:
        if isinstance(data, str) and "\\" not in data and data.isprintable():
            return msgspec.json.decode(data, type=type)
        if isinstance(data, bytes) and data.isascii() and not (b"\\" in data or b"\x7f" in data):
            return msgspec.json.decode(data, type=type)
        return msgspec.convert(plain_value(msgspec.json.decode(data)), type, str_keys=True)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


