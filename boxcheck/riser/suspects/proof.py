"""Whether a likely part may be accused: what a probability alone does not prove. Pure.

PCI Express allows a bit error rate of 1e-12, and a good link that has a few errors over a night is as it should be. On
such rates a part is accused only where its absence, or a milder condition, was seen to be clean.
"""

from __future__ import annotations

from boxcheck.riser.evidence import Suspect
from boxcheck.riser.measuring.bounds import SPECIFIED_BER, broken, pooled
from boxcheck.riser.suspects.faults import FOUND
from boxcheck.riser.suspects.sightings import as_used, conditions_told
from boxcheck.riser.suspects.suspicion import Part, Place, Posterior
from boxcheck.riser.suspects.symptoms import is_absent, is_narrow, is_slow
from boxcheck.riser.suspects.words import is_read, links_of, looks_at

NO_CONTRASTS = frozenset(("contact", "late", "direction"))
"""Kinds of what conditions told that are no milder condition which was clean."""


def proven(suspects: tuple[Suspect, ...], known: Posterior) -> tuple[Suspect, ...]:
    """Those that are accused: the likeliest, and a second one where it damaged a link on which the first was not. Two
    parts that were on the damaged links together are not proven to be both bad."""
    above = [one for one in suspects if one.probability >= FOUND and is_established(Part(one.kind, one.name), known)]
    if len(above) < 2:
        return tuple(above)
    damaged = [{at for at in links_of(Part(one.kind, one.name), known) if known.dirty[at]} for one in above[:2]]
    return tuple(above[:2]) if damaged[1] - damaged[0] else (above[0],)


def is_established(part: Part, known: Posterior) -> bool:
    """Whether links through a part showed more than errors at rates that are allowed, or a contrast tells of it."""
    here = [at for at in links_of(part, known) if known.dirty[at]]
    return any(is_beyond(at, known) for at in here) or has_contrast(part, here, known)


def is_beyond(at: Place, known: Posterior) -> bool:
    """Whether a link in a boot showed what the specification does not allow."""
    looks = looks_at(at, known)
    if any(broken(look) or is_absent(look) or is_narrow(look) or is_slow(look) for look in looks):
        return True
    if any(one.grade in ("marginal", "fail") for look in looks for one in look.margins):
        return True
    if any(look.retrains is not None and look.retrains.full < look.retrains.tried for look in looks):
        return True
    for toward in ("card", "host"):
        whole = pooled(way for look in as_used(looks) for way in look.ways if way.toward == toward)
        if whole is not None and whole.errors and (
                whole.errors > SPECIFIED_BER * whole.bits or whole.unanswered.get("Rollover")):
            return True
    return False


def has_contrast(part: Part, damaged: list[Place], known: Posterior) -> bool:
    """Whether the errors went with the part, or with a condition: a supply's other links are clean, a damaged slot is
    clean without the part or with it plugged anew, the part is clean elsewhere, a milder condition is clean."""
    if any(kind not in NO_CONTRASTS for at in damaged for kind, _ in conditions_told(looks_at(at, known))):
        return True
    here = set(links_of(part, known))
    slots = {at.slot for at in damaged}
    clean = [at for at, dirty in known.dirty.items() if not dirty and is_read(looks_at(at, known))]
    if part.kind == "supply":
        return any(at not in here for at in clean)
    return any(at.slot in slots or at in here for at in clean)
