"""[burn] of a profile: how a burn-in of this box differs from that of others. Every mistake with its line.

    [burn]
    shares = { vram = 0.4 }                       # part of the time; what is not named shares the rest as usual
    left_out = { power-pulse = "why this box cannot" }
    acceptance = "4h"                             # how long `certify` burns in
    acceptance_from = "where this time comes from"
    acceptance_least = "1h"                       # the shortest that still is an acceptance
    [burn.options]
    vram = { rest = "120" }

Which options a phase takes is known to the stress modules, above this layer: engine/plan_profile.py looks at them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from boxcheck.profile import PHASES, BurnWanted
from boxcheck.profile_file import show_text
from boxcheck.profile_values import show
from boxcheck.usage import closest

if TYPE_CHECKING:
    from boxcheck.profile_read import Sheet

KEYS = ("shares", "left_out", "options", "acceptance", "acceptance_from", "acceptance_least")
_DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def read_burn(sheet: Sheet) -> BurnWanted:
    """The [burn] table of a file; empty where it has none."""
    if "burn" not in sheet.data:
        return BurnWanted()
    table = sheet.data["burn"]
    if not isinstance(table, dict):
        sheet.wrong(("burn",), f"burn is {show(table)}, expected a table", "write it as [burn]")
        return BurnWanted()
    for key in table:
        if key not in KEYS:
            sheet.wrong(("burn", key), f"{show_text(key)} is not known in [burn]", f"known are {', '.join(KEYS)}")
    shares, left_out, options = _shares(sheet), _left_out(sheet), _options(sheet)
    for phase in left_out:
        if phase in shares or phase in options:
            sheet.wrong(
                ("burn", "left_out", phase), f"{phase} is left out and has a share or options", "keep one of them")
    if set(left_out) >= set(PHASES) - {"warm-up", "cool-down"}:
        sheet.wrong(("burn", "left_out"), "every phase is left out, so that a burn-in would load nothing", "keep one")
    asked, least = _seconds(sheet, "acceptance"), _seconds(sheet, "acceptance_least")
    if least is not None and (asked is None or least > asked):
        sheet.wrong(("burn", "acceptance_least"), "burn.acceptance_least is not below burn.acceptance",
                    "it is the shortest burn-in that still is an acceptance")
    return BurnWanted(
        shares=shares, left_out=left_out, options=options, acceptance_seconds=asked, acceptance_least_seconds=least,
        acceptance_source=_source(sheet))


def _source(sheet: Sheet) -> str:
    """Where the duration comes from; empty where that is not said."""
    value = sheet.data["burn"].get("acceptance_from")
    if value is None:
        return ""
    says = " ".join(value.split()) if isinstance(value, str) else ""
    if not says or not says.isprintable():
        sheet.wrong(("burn", "acceptance_from"), f"burn.acceptance_from is {show(value)}, expected text",
                    "say where the time comes from, in quotes")
    elif "acceptance" not in sheet.data["burn"]:
        sheet.wrong(("burn", "acceptance_from"), "burn.acceptance_from is of no time", 'add acceptance = "4h"')
    return says


def _seconds(sheet: Sheet, key: str) -> float | None:
    """A duration of [burn]; None where there is none."""
    value = sheet.data["burn"].get(key)
    if value is None:
        return None
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 10 <= seconds <= 30 * 86400:
        sheet.wrong(("burn", key), f"burn.{key} is {show(value)}, expected a duration", 'from "10s" to "30d": "4h"')
        return None
    return seconds


def _phases(sheet: Sheet, key: str) -> Mapping[str, Any]:
    """A table by phase; the names that are none are told."""
    value = sheet.data["burn"].get(key, {})
    if not isinstance(value, dict):
        sheet.wrong(("burn", key), f"burn.{key} is {show(value)}, expected a table by phase", "write { vram = ... }")
        return {}
    for phase in value:
        if phase not in PHASES:
            near = closest(phase, PHASES)
            sheet.wrong(("burn", key, phase), f"burn.{key}: no phase is called {show_text(phase)}",
                        f"did you mean {near}?" if near else f"known are {', '.join(PHASES)}")
    return {phase: one for phase, one in value.items() if phase in PHASES}


def _shares(sheet: Sheet) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for phase, value in _phases(sheet, "shares").items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 < value <= 1:  # what is no number (nan) is not between them
            sheet.wrong(("burn", "shares", phase), f"burn.shares.{phase} is {show(value)}, expected a part of the time",
                        "from 0 to 1: 0.25 is a quarter; a phase is left out by burn.left_out, with a reason")
        else:
            found[phase] = float(value)
    if sum(found.values()) > 1:
        sheet.wrong(("burn", "shares"), f"burn.shares are {sum(found.values()):g} together, more than all of the time",
                    "lower them: 1 is all")
    return found


def _left_out(sheet: Sheet) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for phase, value in _phases(sheet, "left_out").items():
        reason = " ".join(value.split()) if isinstance(value, str) else ""
        if not reason or not reason.isprintable():
            sheet.wrong(("burn", "left_out", phase), f"burn.left_out.{phase} gives no reason", "say why, in quotes")
        else:
            found[phase] = reason
    return found


def _options(sheet: Sheet) -> Mapping[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for phase, table in _phases(sheet, "options").items():
        if not isinstance(table, dict):
            sheet.wrong(("burn", "options", phase), f"burn.options.{phase} is {show(table)}, expected a table",
                        'write { rest = "120" }')
            continue
        for key, value in table.items():
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                sheet.wrong(
                    ("burn", "options", phase, key),
                    f"burn.options.{phase}.{show_text(key)} is {show(value)}, expected text", "put it in quotes")
        found[phase] = {
            key: value if isinstance(value, str) else f"{value:g}" for key, value in table.items()
            if isinstance(value, (str, int, float)) and not isinstance(value, bool)}
    return found
