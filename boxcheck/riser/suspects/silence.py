"""Whether so much crossed a link as it is used that silence says that nothing is at fault. Pure.

A look with ASPM off, at a power limit or at a forced speed is milder than use, and so is a cold card: none of them
shows that the link is good as it is used. What the specification calls a failure is no silence under any condition.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from boxcheck.checks.wording import listed
from boxcheck.riser.evidence import Look
from boxcheck.riser.measuring.bounds import SPECIFIED_BER, broken, direction_of, per_rate, pooled, size
from boxcheck.riser.suspects.faults import HEALTHY_RATES
from boxcheck.riser.suspects.sightings import bits_of, errors_of
from boxcheck.riser.suspects.suspicion import Posterior
from boxcheck.stress.link_rates import is_above
from boxcheck.stress.link_routes import WAYS, Toward

ENOUGH_BITS = 3e12
"""In each direction, without an error: a rate below 1e-12 at 95 %, which the specification asks for."""
STRAYS = 3
"""Errors of a link in one boot that may come from elsewhere: one when it left its idle speed, one or two since."""
MANY = 3.0
"""So many times what the worst of good links has on the mean."""


def is_use(look: Look) -> bool:
    held = look.conditions
    return held.speed_gts is None and not held.aspm_off and not held.power_capped and held.hot is not False


def uses(known: Posterior, slot: str) -> list[Look]:
    """Looks at a link as it is used, of all boots."""
    return [look for session in known.past.sessions for look in session.looks.get(slot, ()) if is_use(look)]


def read_bits(looks: Sequence[Look], toward: Toward) -> float:
    """That crossed one way while all of its errors were counted."""
    return sum(way.bits for look in looks for way in look.ways
               if way.toward == toward and way.unread is None and not way.at_least)


def failures(known: Posterior) -> Iterator[str]:
    """What failed on any link in any boot: links that went down, uncorrectable errors, lanes below the minima of
    margin, a Rollover, a rate above the specification, more errors than a link with nothing wrong has, under whatever
    conditions. No suspect need explain them for the box not to be healthy, and no clean boot after them undoes them."""
    for number, session in enumerate(known.past.sessions):
        for slot, looks in session.looks.items():
            said = [says for look in looks for says in broken(look)]
            if rollovers := sum(way.unanswered.get("Rollover", 0) for look in looks for way in look.ways):
                said.append(f"{rollovers} Rollover, each a packet that failed four times in a row")
            errors = errors_of(looks)
            if too_many := _above(looks):
                said.append(too_many)
            elif errors > STRAYS + MANY * max(HEALTHY_RATES) * bits_of(looks):
                said.append(f"{errors} errors, more than a link with nothing wrong has")
            lanes = sorted({(one.receiver, one.lane) for look in looks for one in look.margins if one.grade == "fail"})
            if lanes:
                named = listed([f"lane {lane} at receiver {receiver}" for receiver, lane in lanes[:4]])
                more = f" and {len(lanes) - 4} more" if len(lanes) > 4 else ""
                said.append(f"{named}{more} below the specified margin")
            if said:
                yield f"{slot} failed in boot {number + 1}: {listed(said)}"


def _above(looks: Sequence[Look]) -> str:
    """What is proven of these looks at a link in one boot to be above the specified rate: in one of them, or in all at
    one speed. One error alone proves nothing: in a short look it would, and it may be a stray."""
    speeds = dict.fromkeys(look.speed_gts for look in looks)
    every = ([look] for look in looks), ([look for look in looks if look.speed_gts == speed] for speed in speeds)
    for some in itertools.chain(*every):
        for toward in WAYS:
            way = pooled(way for look in some for way in look.ways if way.toward == toward)
            if way is not None and way.errors > 1 and is_above(direction_of(way), SPECIFIED_BER):
                allowed = f"above the {per_rate(SPECIFIED_BER)} that PCI Express allows"
                return f"{way.errors} errors toward the {toward}, {allowed}"
    return ""


def silence_lacks(known: Posterior, slot: str) -> list[str]:
    """Why silence of a link is no proof; empty where it is one."""
    looks, few, read = uses(known, slot), [], []
    found = list(failures(known))
    every = [look for session in known.past.sessions for look in session.looks.get(slot, ())]
    for toward in WAYS:
        bits = read_bits(looks, toward)
        if not any(way.unread is None for look in every for way in look.ways if way.toward == toward):
            whys = [way.unread for look in every for way in look.ways if way.toward == toward and way.unread]
            why = f" ({whys[-1]})" if whys else ""
            found.append(f"errors of bits toward the {toward} were read in no boot on {slot}{why}, so that nothing is "
                         "said of that direction")
            continue
        read.append(toward)
        if bits < ENOUGH_BITS:
            few.append(f"{size(bits)} toward the {toward}")
    if few:
        found.append(f"{listed(few)} crossed {slot} as it is used while all errors were counted, and to show a rate "
                     f"below {per_rate(SPECIFIED_BER)} takes {size(ENOUGH_BITS)}")
    loaded = [look for look in looks if look.conditions.neighbours == "loaded"]
    alone = all(len(session.places) < 2 for session in known.past.sessions)
    idle = [toward for toward in read if not alone and not read_bits(loaded, toward)]
    if idle:
        found.append(f"errors of bits toward the {listed(idle)} of {slot} were not counted while the other cards were "
                     "loaded")
    return found
