"""What all links of a box have alike, which no riser, slot or card explains: it is told, and looked into, first. Pure.

A speed or lane split that BIOS setup sets for all slots at once, a late-waking ASPM policy, a reference clock or a
power rail of the board reach every link. Parts are weighed one and two at a time, and none of them is like that; four
links that are slow in the same way are four bad parts to that arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from boxcheck.riser.evidence import Look, Notebook, Step
from boxcheck.riser.suspects.sightings import as_used, errors_of
from boxcheck.riser.suspects.suspicion import Posterior
from boxcheck.riser.suspects.symptoms import is_absent, is_narrow, is_slow

LEAST_LINKS = 2

Sign = Literal["slow", "narrow", "late", "errors"]


class Alike(msgspec.Struct, frozen=True, kw_only=True):
    """What every link showed in every boot."""

    sign: Sign
    says: str
    """With what may make it."""
    look_at: str = ""
    """What to look at before any part is moved; empty where no setting makes it."""


def alike(known: Posterior) -> Alike | None:
    """None where any link that was looked at was different in any boot."""
    every = [as_used(looks) for session in known.past.sessions for looks in session.looks.values() if looks]
    links = {slot for session in known.past.sessions for slot, looks in session.looks.items() if looks}
    if len(links) < LEAST_LINKS or not all(every) or any(is_absent(look) for looks in every for look in looks):
        return None
    count = len(links)
    if all(any(is_slow(look) for look in looks) for looks in every):
        trained = {(look.speed_gts, look.full_speed_gts) for looks in every for look in looks if is_slow(look)}
        if len(trained) == 1:
            speed, full = trained.pop()
            return Alike(
                sign="slow", look_at="the PCIe speed in BIOS setup, for all slots and for each",
                says=f"all {count} links run at {speed:g} of {full:g} GT/s: a setting of the whole box, or risers of"
                     " one kind that are made for it, and no single part")
    if all(any(is_narrow(look) for look in looks) for looks in every):
        widths = {(look.width, look.full_width) for looks in every for look in looks if is_narrow(look)}
        if len(widths) == 1:
            width, whole = widths.pop()
            return Alike(
                sign="narrow", look_at="how BIOS setup shares out the lanes of the slots (bifurcation)",
                says=f"all {count} links have x{width} of x{whole}: the board or BIOS setup shares lanes out so, or"
                     " all risers are of one kind, and no single part")
    if all(_is_late(looks) for looks in every):
        return Alike(
            sign="late", look_at="ASPM in BIOS setup and the kernel's policy for it",
            says=f"all {count} links have Timeouts and no damaged packet: a setting of the whole box such as ASPM, and"
                 " no single part")
    if all(errors_of(looks) for looks in every):
        return Alike(
            sign="errors", says=f"all {count} links have errors: what they share makes that rather than parts of their "
            "own, so the reference clock, the board, a setting for all slots or a supply of all")
    return None


def _is_late(looks: Sequence[Look]) -> bool:
    ways = [way for look in looks for way in look.ways]
    return any(way.unanswered for way in ways) and not any(way.received for way in ways)


def look_first(found: Alike, notebook: Notebook) -> Step | None:
    """The step before any part is moved: a look at the setting. None where it was asked for before, or cannot be."""
    asked = any(boot.asked is not None and boot.asked.kind == "cold-boot" for boot in notebook.boots)
    if not found.look_at or asked or "cold-boot" in notebook.cannot:
        return None
    return Step(
        kind="cold-boot", why=f"before any part is moved, look at {found.look_at}: {found.says}",
        expect={"all links as they were, with the setting right": "parts of one kind, or the board",
                "all links whole": "it was the setting"})
