"""Why a step is worth a power cycle, and what each outcome would mean, in words. Pure."""

from __future__ import annotations

import math

from boxcheck.checks.wording import listed
from boxcheck.riser.certainty import percent, told_healthy
from boxcheck.riser.evidence import Notebook
from boxcheck.riser.suspects.candidates import Plan
from boxcheck.riser.suspects.sightings import errors_of
from boxcheck.riser.suspects.suspicion import Part, Posterior
from boxcheck.riser.suspects.symptoms import is_absent, is_narrow, is_slow
from boxcheck.riser.suspects.words import is_read, looks_at, part_words

OUTCOMES_TOLD = 5


def why(plan: Plan, known: Posterior, notebook: Notebook) -> str:
    """What it tells, in bits, and why these partners."""
    open_bits = doubt_bits(known)
    moved = {move.to for move in plan.step.moves} - {_focus(plan, known, notebook)}
    says = f"it should take away {plan.bits:.1f} of {open_bits:.1f} bits of doubt"
    ranked = sorted(known.probabilities.items(), key=lambda one: (-one[1], one[0]))
    names = [part_words(part, known) for part, probability in ranked if probability > 0.05][:3]
    if len(names) > 1:
        says += f" between {listed(names)}"
    partners = [slot for slot in plan.looked if slot in moved]
    clean = [slot for slot in partners if not any(dirty for at, dirty in known.dirty.items() if at.slot == slot)
             and any(is_read(looks_at(at, known)) for at in known.dirty if at.slot == slot)]
    if clean:
        says += f"; {listed(clean)} {'was' if len(clean) == 1 else 'were'} clean so far"
    if plan.step.kind == "rotate":
        says += "; card and riser go to different slots, so one boot tells slot, riser and card apart"
    elif plan.step.kind == "reseat":
        says += "; contacts that were plugged badly are cured by it, other parts are not"
    elif plan.step.kind == "cold-boot":
        says += "; rates differ from boot to boot, so another one tells whether it comes back"
    return says


def doubt_bits(known: Posterior) -> float:
    """Uncertainty about which parts are bad."""
    found: dict[tuple[Part, ...], float] = {(): known.healthy}
    for one in known.hypotheses:
        found[one.parts] = found.get(one.parts, 0.0) + one.probability
    return sum(-share * math.log2(share) for share in found.values() if share > 0)


def _focus(plan: Plan, known: Posterior, notebook: Notebook) -> str:
    return plan.looked[0] if plan.looked else notebook.slot


def expectations(plan: Plan, known: Posterior, notebook: Notebook) -> dict[str, str]:
    """Outcome -> what it would mean, the likeliest first."""
    noun = _noun(known, notebook)
    found: dict[str, str] = {}
    for slots, probability, parts, healthy in sorted(plan.outcomes, key=lambda one: -one[1])[:OUTCOMES_TOLD]:
        if probability < 0.03:
            continue
        alone = " alone" if len(slots) == 1 and len(plan.looked) > 1 else ""
        where = f"{noun} in {listed(list(slots))}{alone}" if slots else f"{listed(list(plan.looked))} clean"
        likely = [f"{part_words(part, known)} ({percent(share)})" for part, share in parts if share > 0.1]
        if healthy > 0.1 or not likely:
            likely.append(f"nothing at fault ({percent(told_healthy(healthy))})")
        found[where] = " or ".join(likely)
    return found


def _noun(known: Posterior, notebook: Notebook) -> str:
    """What the trouble is: `errors`, `no link`, `lost lanes`, `lost speed`."""
    looks = [look for at, dirty in known.dirty.items() if dirty
             for look in known.past.sessions[at.session].looks[at.slot]]
    if any(is_absent(look) for look in looks):
        return "no link"
    if errors_of(looks):
        return "errors"
    if any(is_narrow(look) for look in looks):
        return "lost lanes"
    return "lost speed" if any(is_slow(look) for look in looks) else "errors"
