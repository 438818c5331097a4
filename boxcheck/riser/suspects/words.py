"""Suspects, steps and verdicts in words for a screen. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.checks.wording import listed
from boxcheck.riser.certainty import percent, told, told_healthy
from boxcheck.riser.evidence import Look, Notebook, Suspect
from boxcheck.riser.measuring.bounds import SPECIFIED_BER, per_rate, size
from boxcheck.riser.parts import short_card
from boxcheck.riser.suspects.faults import BEHAVIOURS, FOUND, TRUST
from boxcheck.riser.suspects.reach import is_on
from boxcheck.riser.suspects.sightings import bits_of, bounded, conditions_told, errors_of, seen
from boxcheck.riser.suspects.silence import silence_lacks, uses
from boxcheck.riser.suspects.suspicion import UNNAMED_SUPPLY, Part, Posterior
from boxcheck.riser.suspects.suspicion import Place as At
from boxcheck.riser.suspects.whole_box import alike

SETTINGS = {
    "aspm": "ASPM", "capped": "the speed limit", "split": "the lane split",
    "switched-off": "slot power or address space"}


def part_words(part: Part, known: Posterior | None = None) -> str:
    """`riser R3`, `slot PCIE3`, `card …4417`, `the contacts of PCIE3`, `supply A`, `ASPM of PCIE3`."""
    if part.kind == "card":
        return f"card {short_card(part.name)}"
    if part.kind == "seat":
        return f"the contacts of {part.name}"
    if part.kind == "supply":
        return part.name if part.name == UNNAMED_SUPPLY else f"supply {part.name}"
    if part.kind == "setting":
        return f"{setting_words(part, known)} of {part.name}" if known is not None else f"a setting of {part.name}"
    return f"{part.kind} {part.name}"


def setting_words(part: Part, known: Posterior) -> str:
    """Which setting it would be: `ASPM`, `the speed limit`, `the lane split`."""
    ways = known.behaviours.get(part, {})
    best = max(ways, key=lambda name: ways[name], default="aspm")
    return SETTINGS.get(best, "a setting")


def suspects_of(known: Posterior, notebook: Notebook, at_most: int = 8) -> tuple[Suspect, ...]:
    """All parts that are suspect at all, the likeliest first, with what speaks for and against the first few."""
    ranked = sorted(known.probabilities.items(), key=lambda one: (-one[1], one[0]))
    kept = [one for one in ranked if one[1] >= 0.005][:at_most] or ranked[:1]
    return tuple(
        Suspect(kind=part.kind, name=part.name, probability=told(trusted(probability)),
                because=tuple(because(part, known, notebook)))
        for part, probability in kept)


def trusted(probability: float) -> float:
    """What a probability is worth once the model itself is doubted: its arithmetic takes looks for more independent
    than they are, so what it is sure of is guilty less often (see faults.TRUST)."""
    if probability <= 0.5:
        return probability
    odds = min(probability, 1 - 1e-12) / max(1 - probability, 1e-12)
    return 1 - 1 / (1 + float(odds ** TRUST))


# -- what speaks for a part


def because(part: Part, known: Posterior, notebook: Notebook) -> Iterator[str]:
    """What was seen with it, what was seen without it where there had been damage, and what the conditions told."""
    here = links_of(part, known)
    damaged = [at for at in here if known.dirty.get(at)]
    clean = [at for at in here if known.dirty.get(at) is False and is_read(looks_at(at, known))]
    if part.kind == "setting":
        yield f"it would be {setting_words(part, known)}"
        if part.name == notebook.slot:
            yield from (f"doctor, {name}: {says}" for name, says in notebook.settings.items())
        yield from (f"doctor excludes {says}" for says in notebook.excluded.get(part.name, ()))
    bad_slots = {at.slot for at in damaged}
    if damaged:
        yield f"damaged with it: {_told(damaged, known)}"
    if clean and damaged:
        yield f"clean with it: {_told(clean, known)}"
    elif clean:
        yield f"never seen damaged with it: {_told(clean, known)}"
    silent = [at for at in here if known.dirty.get(at) is False and at not in clean]
    if silent and not damaged and not clean:
        yield f"nothing is known of errors with it: {_told(silent, known)}"
    without = [at for at, dirty in known.dirty.items()
               if at not in here and not dirty and at.slot in bad_slots and is_read(looks_at(at, known))]
    if without:
        yield f"clean without it: {_told(without, known)}"
    others = [at for at, dirty in known.dirty.items() if at not in here and dirty]
    if others:
        yield f"damaged without it: {_told(others, known)}"
    if part.kind == "supply" and len(bad_slots) > 1:
        yield f"{len(bad_slots)} links that it feeds are damaged"
    yield from _conditions(damaged, known)
    if part.kind == "riser" and known.past.repeated and any(
            part.name.startswith(f"{label} in ") for label in known.past.repeated):
        yield "its label stands on two risers, so where it was is not known"


def links_of(part: Part, known: Posterior) -> list[At]:
    """Links and boots, looked at, on which a part was."""
    found = []
    for at in known.dirty:
        session = known.past.sessions[at.session]
        riser = known.course.risers[at.session].get(at.slot) if known.course is not None else None
        if is_on(part, at.slot, session.places[at.slot], riser):
            found.append(at)
    return found


def looks_at(at: At, known: Posterior) -> Sequence[Look]:
    return known.past.sessions[at.session].looks[at.slot]


def is_read(looks: Sequence[Look]) -> bool:
    """Whether anything is known of the errors of a link. Zero counts of ends that count nothing are no counts."""
    return any(look.replays is not None or any(way.unread is None for way in look.ways) for look in looks)


def _told(places: Sequence[At], known: Posterior, at_most: int = 3) -> str:
    told = [f"{seen(known.past.sessions[number].looks[slot])} in {slot} (boot {number + 1})"
            for number, slot in places[:at_most]]
    more = len(places) - at_most
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


def _conditions(places: Sequence[At], known: Posterior) -> Iterator[str]:
    """Each kind of finding once, from the boot that shows it first."""
    told: dict[str, str] = {}
    for number, slot in places:
        for kind, says in conditions_told(known.past.sessions[number].looks[slot]):
            told.setdefault(kind, says)
    yield from told.values()


# -- the verdict


def found_words(accused: Sequence[Suspect], known: Posterior, notebook: Notebook) -> str:
    names = listed([f"{part_words(Part(one.kind, one.name), known)} ({percent(one.probability)})" for one in accused])
    reasons = [says for says in accused[0].because if says.startswith("damaged with it")][:1]
    reasons += [says for says in accused[0].because if says.startswith("clean without it")][:1]
    verb = "is" if len(accused) == 1 and accused[0].kind != "seat" else "are"
    says = f"{names} {verb} at fault"
    if len(accused) == 1:
        says += _behaves(Part(accused[0].kind, accused[0].name), known)
    common = alike(known)
    if common is not None:
        says += f". {common.says}"
    return ". ".join([says, *reasons, *remarks(known, notebook.slot)])


def _behaves(part: Part, known: Posterior) -> str:
    """How it is bad, where one way is likely: `, probably too much loss at this speed`."""
    ways: dict[str, float] = {}
    for name, share in known.behaviours.get(part, {}).items():
        ways[BEHAVIOURS[name].says] = ways.get(BEHAVIOURS[name].says, 0.0) + share
    says, share = max(ways.items(), key=lambda one: one[1], default=("", 0.0))
    return f": {says}" if share > 0.8 else f", probably {says}" if share > 0.5 else ""


def healthy_words(known: Posterior, notebook: Notebook) -> str:
    looks = uses(known, notebook.slot)
    errors, bits = errors_of(looks), bits_of(looks)
    counted = f"{errors} error{'' if errors == 1 else 's'} in {size(bits)} on {notebook.slot}"
    boots = len(known.past.sessions)
    sure = percent(told_healthy(known.healthy))
    every = [look for session in known.past.sessions for look in session.looks.get(notebook.slot, ())]
    milder = errors_of(every) - errors
    more = f", and {milder} under milder conditions" if milder else ""
    return ". ".join([
        f"nothing is at fault ({sure}): {counted} over {boots} boot{'' if boots == 1 else 's'}{bounded(looks)}{more}",
        *remarks(known, notebook.slot)])


def open_words(suspects: Sequence[Suspect], known: Posterior, notebook: Notebook, exhausted: bool) -> str:
    first = [f"{part_words(Part(one.kind, one.name), known)} ({percent(one.probability)})"
             for one in suspects[:3] if one.probability > 0.03]
    if known.healthy > 0.03:
        first.append(f"nothing at all ({percent(told_healthy(known.healthy))})")
    what = "not told apart, and no step that is possible would tell more" if exhausted else "not told apart yet"
    lacking = silence_lacks(known, notebook.slot) if known.healthy >= 0.5 else []
    if lacking_proof(suspects, known):
        lacking.insert(0, f"the errors are rarer than the {per_rate(SPECIFIED_BER)} per bit that PCI Express allows,"
                       " and nothing was clean beside them that would tell whose they are: no part is accused on those"
                       " alone")
    common = alike(known)
    whole = [common.says] if common is not None else []
    return ". ".join([*whole, f"{what}: {listed(first)}" if first else what, *lacking, *remarks(known, notebook.slot)])


def lacking_proof(suspects: Sequence[Suspect], known: Posterior) -> bool:
    """Whether a part is likely enough to be accused and is not, for want of proof."""
    from boxcheck.riser.suspects.proof import is_established  # which is built on the words here

    return any(one.probability >= FOUND and not is_established(Part(one.kind, one.name), known) for one in suspects)


def remarks(known: Posterior, slot: str = "") -> Iterator[str]:
    """What is odd about the notebook itself."""
    mine = [look for session in known.past.sessions for look in session.looks.get(slot, ()) if look.ways]
    if mine and not is_read(mine):
        whys = dict.fromkeys(way.unread for look in mine for way in look.ways if way.unread)
        yield f"errors of {slot} were not counted ({listed(list(whys))}): lost lanes, lost speed and drops alone speak"
    for label in known.past.repeated:
        yield f"riser label {label} stands on two risers: give each its own, so that they can be told apart"
    if known.course is not None and known.course.undone and known.course_share > 0.5:
        boots = listed([str(number + 1) for number in known.course.undone])
        yield f"the risers were probably not moved as asked before boot {boots} ({percent(known.course_share)})"
    for number, share in along_shares(known).items():
        if share > 0.5:
            yield (f"the cards that moved before boot {number + 1} probably took their risers along, though nobody "
                   f"said so ({percent(share)})")
        elif share > 0.1:
            yield (f"whether the cards that moved before boot {number + 1} took their risers along is not known "
                   f"({percent(share)} that they did): --riser SLOT=LABEL says which riser is where")
    for number, session in enumerate(known.past.sessions):
        if session.strayed:
            yield f"boot {number + 1} was not as asked: {listed(list(session.strayed))}"


def along_shares(known: Posterior) -> dict[int, float]:
    """Session -> probability that cards took their risers along before it. Nothing is known of it where nothing is
    bad."""
    found: dict[int, float] = {}
    bad = sum(one.probability for one in known.hypotheses)
    for place, course in enumerate(known.past.courses):
        share = sum(one.probability * one.courses[place] for one in known.hypotheses)
        for number in course.along if bad > 0.5 else ():
            found[number] = found.get(number, 0.0) + share / bad
    return dict(sorted(found.items()))
