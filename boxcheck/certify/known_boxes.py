"""The boxes of which attempts are kept: whether a serial number that was told is one of theirs in other letters, or
this machine was tested by another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from boxcheck.certify.attempts import Earlier, attempts_of, safe_name
from boxcheck.certify.machine import is_tested_box
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError


def doubts(root: str, serial: str, here: Mapping[str, str]) -> list[str]:
    """What speaks against the serial number that was told, a clause each. UsageError where it can be none."""
    refuse_other_case(root, serial)
    return other_boxes(root, serial, here)


def refuse_other_case(root: str, serial: str) -> None:
    """UsageError where a box is known whose serial number differs by small and capital letters alone: its failures
    would not be found."""
    def alike(name: str) -> bool:
        return name.partition(".")[0].casefold() == safe_name(serial).partition(".")[0].casefold()

    for name, attempts in _boxes(root):
        # A folder from which all attempts were moved elsewhere has its name at least.
        known = next((one.serial for one in attempts if one.serial), "" if "." in name else name)
        if alike(name) and known != serial and known.casefold() == serial.casefold():
            raise UsageError(
                f"box {plain_line(known)} has attempts, and {plain_line(serial)} differs from it by small and "
                "capital letters alone", f"--serial {plain_line(known)} is that box; another needs another number")


def other_boxes(root: str, serial: str, here: Mapping[str, str]) -> list[str]:
    """That this machine was tested by another serial number, or that box was another machine. By the hardware's own
    numbers and the kernel that still runs: machines that were installed from one image have one machine-id."""
    here = _without_id(here)
    found = []
    for _, attempts in _boxes(root):
        newest = next((one for one in reversed(attempts) if one.serial and _without_id(one.machine)), None)
        if newest is None:
            continue
        place, known = is_tested_box(_without_id(newest.machine), here), plain_line(newest.serial)
        if newest.serial == serial and place.answer == "other":
            found.append(f"attempt {newest.number} of box {known} was made on another machine ({place.says})")
        elif newest.serial != serial and place.answer == "same":
            found.append(f"this machine was tested as box {known} ({place.says}), attempt {newest.says}")
    return found


def _without_id(marks: Mapping[str, str]) -> dict[str, str]:
    return {name: mark for name, mark in marks.items() if name != "machine-id"}


def _boxes(root: str) -> Iterator[tuple[str, Sequence[Earlier]]]:
    """Names of their folders, and what lies there; without those that cannot be listed."""
    with suppress(OSError):
        for name in sorted(os.listdir(root)):
            with suppress(OSError):
                yield name, attempts_of(os.path.join(root, name))
