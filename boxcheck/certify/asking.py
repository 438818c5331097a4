"""Who tests what, before a run: what is given, and on a terminal the rest from whoever sits there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from boxcheck.certify.acceptance import Identity
from boxcheck.certify.identity import RISER, Given, Station, collect, lines_of, read_station, serial_of
from boxcheck.certify.keys import config_folder
from boxcheck.certify.prompts import Left, Prompts
from boxcheck.engine.inspect import Facts
from boxcheck.profile import Profile
from boxcheck.usage import UsageError


def station_here(path: str | None) -> Station:
    """By the file that is named, else by the one of this user where there is one."""
    if path is None:
        usual = os.path.join(config_folder(), "station.toml")
        path = usual if os.path.lexists(usual) else None
    return read_station(path)


def identify(
    given: Given, station: Station, want: Profile, facts: Facts, what: str, *, terminal: bool,
    doubts: Callable[[str], Sequence[str]],
) -> Identity:
    """The identity; on a terminal what is not given is asked for, and one key starts `what`. `doubts`: what speaks
    against a serial number, said before that; UsageError where it can be none."""
    slots = {slot.label: slot.riser or "" for slot in want.slots}
    wanted: Sequence[str] = tuple(slots) if RISER in station.fields and station.field(RISER).ask else ()
    serial = serial_of(facts)
    if not terminal or _all_given(given, station):
        identity = collect(given, station, serial, slots, None, wanted)
        _say(doubts(identity.serial))
        return identity
    prompts = Prompts(sys.stdin.fileno(), sys.stderr)
    try:
        identity = collect(given, station, serial, slots, prompts.ask, wanted)
        for name, text in lines_of(identity):
            print(f"  {name:<12} {text}", file=sys.stderr)
        _say(doubts(identity.serial))
        prompts.start(f"{what}: enter starts, q leaves ")
    except Left:
        raise UsageError("nothing was started", "boxcheck certify asks again") from None
    return identity


def _say(doubts: Sequence[str]) -> None:
    for one in doubts:
        print(f"{one}; is the serial number right?", file=sys.stderr)


def _all_given(given: Given, station: Station) -> bool:
    """Whether every field that is needed was given, so that nobody is asked for the others."""
    return all(given.values.get(name) for name in station.names if station.is_required(name)) and not any(
        station.is_required(name) and name == "riser" for name in station.fields)
