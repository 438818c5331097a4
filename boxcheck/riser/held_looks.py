"""Looks under conditions that an experiment made, called no more than is known of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from boxcheck.riser.evidence import Look
from boxcheck.riser.links.target_speed import Trial
from boxcheck.riser.measuring.bounds import size


def not_known_off(looks: Sequence[Look], why: str) -> list[Look]:
    """Looks that are as the link is used, for all that is known."""
    return [msgspec.structs.replace(
        look, conditions=msgspec.structs.replace(look.conditions, aspm_off=False), notes=(*look.notes, why))
        for look in looks]


def at_speed(look: Look, trial: Trial, full_gts: float) -> Look:
    """With the speed among its conditions only where that was confirmed. Else its errors count and its silence does
    not: a link that ran slower than it can, since it was told to, is neither a slow one nor a clean one."""
    if trial.confirmed and look.speed_gts in (None, trial.gts):
        return msgspec.structs.replace(look, conditions=msgspec.structs.replace(look.conditions, speed_gts=trial.gts))
    if look.speed_gts is not None and look.speed_gts >= (look.full_speed_gts or full_gts):
        why = f"measured at {look.speed_gts:g} GT/s while {trial.gts:g} was set: {trial.says}"
        return msgspec.structs.replace(look, notes=(*look.notes, why))
    ran = "" if look.speed_gts is None else f"the link ran at {look.speed_gts:g} GT/s, and "
    why = f"{ran}the speed under load is not confirmed: {trial.says}"
    return msgspec.structs.replace(
        look, speed_gts=None, notes=(*look.notes, why),
        ways=tuple(msgspec.structs.replace(way, unread=way.unread or why) for way in look.ways))


def counted(looks: Sequence[Look]) -> str:
    """`3 errors were counted in 12 GB`; that none was read, where that is so."""
    ways = [way for look in looks for way in look.ways if way.unread is None or way.errors]
    if not ways:
        return "no error count was read"
    errors, bits = sum(way.errors for way in ways), sum(way.bits for way in ways)
    over = f" in {size(bits)}" if bits else ""
    return f"{errors} error{' was' if errors == 1 else 's were'} counted{over}"
