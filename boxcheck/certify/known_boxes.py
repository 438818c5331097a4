"""The boxes of which attempts are kept: whether a serial number that was told is one of theirs in other letters."""

from __future__ import annotations

import os
from contextlib import suppress

from boxcheck.certify.attempts import read_asked, safe_name
from boxcheck.certify.contents import ACCEPTANCE, KEPT_LIMIT_BYTES
from boxcheck.certify.manifest import ManifestError, parse_acceptance
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError


def refuse_other_case(root: str, serial: str) -> None:
    """UsageError where a box is known whose serial number differs by small and capital letters alone: its failures
    would not be found."""
    with suppress(OSError):
        for name in sorted(os.listdir(root)):
            if name.partition(".")[0].casefold() != safe_name(serial).partition(".")[0].casefold():
                continue
            known = _serial_in(os.path.join(root, name))
            if known is not None and known != serial and known.casefold() == serial.casefold():
                raise UsageError(
                    f"box {plain_line(known)} has attempts, and {plain_line(serial)} differs from it by small and "
                    "capital letters alone", f"--serial {plain_line(known)} is that box; another needs another number")


def _serial_in(folder: str) -> str | None:
    """Of the box whose attempts lie there; None where none of them can be read."""
    for name in sorted(os.listdir(folder)):
        place = os.path.join(folder, name)
        if (asked := read_asked(place)) is not None:
            return asked.identity.serial
        with suppress(OSError, ManifestError), open(os.path.join(place, ACCEPTANCE), "rb") as stream:
            return parse_acceptance(stream.read(KEPT_LIMIT_BYTES)).identity.serial
    return None
