"""What is known of links without measuring anything: from facts, as a capture or a first reading has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxcheck.engine.inspect import Facts, choose_checks, inspect_facts
from boxcheck.model import Outcome, Unread
from boxcheck.profile import Profile
from boxcheck.riser.evidence import Look, Way
from boxcheck.riser.measuring.targets import Target, measurable
from boxcheck.riser.parts import Seat
from boxcheck.stress.link_routes import WAYS, Toward

UNCOUNTED = "counters were read once, and their growth is what tells"
SETTINGS = ("pcie.link-speed", "pcie.link-width", "pcie.speed-disable", "pcie.aspm", "pcie.link-down",
            "bar.unassigned", "bar.bridge-window")
"""Checks whose findings name settings: a capped target speed, ASPM, a link that is switched off, no address space."""
NO_SETTINGS = ("bios", "bifurcated", "aspm")
"""What is excluded of settings has one of these words."""
WORDS = ("target speed", "capped", "aspm", "disabled", "bifurcat", "bios", "told not to", "address space", "window")


def looks_in(seats: Sequence[Seat], facts: Facts, want: Profile) -> tuple[Look, ...]:
    """A look at each slot's link as the facts show it: presence, lanes, speed; no errors, which need two readings."""
    targets = measurable([(seat.slot, seat.link) for seat in seats], facts, want)
    full = {} if isinstance(targets, Unread) else {target.slot: target for target in targets.targets}
    found: list[Look] = []
    for seat in seats:
        link, load = seat.link, seat.link.under_load
        speed = link.speed_gts if isinstance(load, Unread) else load.speed_gts
        width = link.width if isinstance(load, Unread) else load.width
        up = isinstance(width, int) and width > 0 and link.upstream is not None
        target = full.get(seat.slot)
        found.append(Look(
            slot=seat.slot, present=_flag(link.presence_detect),
            active=_flag(link.dll_active) if isinstance(link.dll_active, bool) else (up or None),
            width=width if up and isinstance(width, int) else None,
            # Cards lower the speed of a link that rests: a speed at rest says nothing.
            speed_gts=speed if up and isinstance(speed, float) and not isinstance(load, Unread) else None,
            full_width=target.full_width if target else None,
            full_speed_gts=target.full_speed_gts if target else None,
            ways=tuple(Way(toward=toward, unread=_uncounted(target, toward)) for toward in WAYS) if up else ()))
    return tuple(found)


def _uncounted(target: Target | None, toward: Toward) -> str:
    """Why nothing is known of the errors of bits in this direction."""
    receiver = None if target is None else target.hop.receiver(toward)
    silent = None if target is None or receiver is None else target.hop.silent.get(receiver)
    return f"{'the card' if toward == 'card' else 'the port'} counts no errors: {silent}" if isinstance(
        silent, str) else UNCOUNTED


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def settings_excluded(facts: Facts, want: Profile, seats: Sequence[Seat]) -> Mapping[str, tuple[str, ...]]:
    """What doctor excludes of settings at the links of these slots: slot -> in its words."""
    findings = inspect_facts(facts, want, choose_checks(SETTINGS)).findings
    found = {seat.slot: tuple(dict.fromkeys(
        text for one in findings if one.cause == f"link:{seat.link.id}" for text in one.not_
        if any(word in text.lower() for word in NO_SETTINGS))) for seat in seats}
    return {slot: texts for slot, texts in found.items() if texts}


def settings_found(facts: Facts, want: Profile, port: str) -> Mapping[str, str]:
    """What doctor finds of settings at the link below a port: id of the check -> what it says."""
    verdict = inspect_facts(facts, want, choose_checks(SETTINGS))
    found: dict[str, str] = {}
    for one in verdict.findings:
        if one.outcome not in (Outcome.FAIL, Outcome.MARGINAL) or one.subject.bdf is None:
            continue
        about = " ".join((one.says, *one.help, *one.notes)).lower()
        mine = port == one.subject.bdf or port in (one.cause or "")
        if mine and any(word in about for word in WORDS):
            found[one.check] = one.says
    return found
