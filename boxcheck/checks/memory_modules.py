"""Judgements on the single memory modules: alike, and as fast as the box is built for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boxcheck.checks.memory import TABLES, dimm, dimm_cause
from boxcheck.checks.steps import SAME_MODULE
from boxcheck.checks.wording import broken_bound, decided, not_read, size, wish_of
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Subject, Unread
from boxcheck.probes.memory import Memory, Module
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, outcome_of, passed, skipped

SPEED = limit("memory.speed_mts", int, "ge", "MT/s", "Speed that every module runs at.", low=400, high=20000)
UNIFORM = limit("memory.uniform", bool, "eq", "", "Whether all modules must be of one size and part number.")

SPEED_ROUNDING_MTS = 5
"""Firmware writes 2666 and 2667, 2933 and 2934, 7998 and 8000 for the same speeds."""


@check("memory.uniform", reads=[Memory], limits=[UNIFORM], needs=["root"])
def uniform(memory: Memory, want: Profile) -> Iterator[Finding]:
    """The memory modules are not all of one size and part number.

    Why it matters: uneven channels interleave over their common part only; mixed parts train to the slowest timing, and
    some boards refuse them after a BIOS update.
    What to do: replace the odd one with the part number of the others.
    Not a fault: by itself; mixed memory can work for years.
    By hand: sudo dmidecode -t 17 | grep -E 'Locator|Size|Part Number'
    """
    bound = want.limit(UNIFORM)
    if bound is None or wish_of(bound) is False:
        yield skipped(BOX, f"the profile sets no {UNIFORM}")
        return
    if isinstance(memory.modules, Unread):
        yield not_read(BOX, memory.modules, evidence=(TABLES,))
        return
    fitted = [module for module in memory.modules if module.installed is not False]
    kinds: dict[tuple[int, str | None], list[Module]] = {}
    for module in fitted:
        if isinstance(module.size_bytes, Unread):
            yield not_read(dimm(module), module.size_bytes, evidence=(TABLES,))
            return
        kinds.setdefault((module.size_bytes, module.part), []).append(module)
    nameless = [module for module in fitted if module.part is None]
    if nameless and len({size_bytes for size_bytes, _ in kinds}) == 1:
        yield not_read(dimm(nameless[0]), Unread(
            f"the firmware gives no part number of {len(nameless)} of {len(fitted)} modules", "absent"),
            evidence=(TABLES,))
        return
    usual = max(kinds, key=lambda kind: len(kinds[kind]), default=None)
    if usual is None:
        yield not_read(BOX, Unread("the firmware lists no module", "absent"), evidence=(TABLES,))
    elif len(kinds) == 1:
        yield passed(
            BOX, f"{len(fitted)} modules of {size(usual[0])}, {usual[1] or 'part number not given'}",
            measured=Quantity(True), limit=bound, evidence=(TABLES,))
    for kind, members in kinds.items() if usual is not None and len(kinds) > 1 else ():
        if kind == usual or usual is None:
            continue
        for module in members:
            yield decided(
                outcome_of(False, bound), dimm(module),
                f"{size(kind[0])} {kind[1] or 'of no part number'}, {len(kinds[usual])} others are {size(usual[0])} "
                f"{usual[1] or 'of no part number'}", measured=Quantity(False), limit=bound, evidence=(TABLES,),
                cause=dimm_cause(module.label), title=f"memory module {module.label} differs from the others",
                help=(SAME_MODULE.format(label=module.label),),
            )


@check("memory.speed", reads=[Memory], limits=[SPEED], needs=["root"])
def speed(memory: Memory, want: Profile) -> Iterator[Finding]:
    """Memory runs slower than the box is built for.

    Why it matters: bandwidth falls in proportion; one slow module holds all others down to its speed.
    What to do: a slow module is named: replace it. Where all modules can do more than they run at, set the memory
    speed in the BIOS (or XMP/EXPO), and check that the processor and the number of modules a channel allow it.
    Not a fault: two modules a channel run slower by design on many boards.
    By hand: sudo dmidecode -t 17 | grep -E 'Locator|Speed'
    """
    bound = want.limit(SPEED)
    if bound is None:
        yield skipped(BOX, f"the profile sets no {SPEED}")
        return
    if isinstance(memory.modules, Unread):
        yield not_read(BOX, memory.modules, evidence=(TABLES,))
        return
    fitted = [module for module in memory.modules if module.installed is not False]
    if not fitted:
        yield not_read(BOX, Unread("the firmware lists no module", "absent"), evidence=(TABLES,))
        return
    for module in fitted:
        if isinstance(module.configured_mts, Unread):
            yield not_read(dimm(module), module.configured_mts, evidence=(TABLES,))
            return
    slow = [module for module in fitted if _reaches(module.configured_mts, bound) is not Outcome.PASS]
    weak = [module for module in fitted if _reaches(module.rated_mts, bound) is not Outcome.PASS]
    notes = () if isinstance(memory.theoretical_gbs, Unread) else (
        f"channels, speed and width make {memory.theoretical_gbs:g} GB/s at most",)
    yield from _speed_findings(fitted, slow, weak, bound, notes)


def _reaches(speed_mts: int | Unread, bound: Limit) -> Outcome:
    """An unread rating counts as enough: it accuses nobody."""
    return Outcome.PASS if isinstance(speed_mts, Unread) else outcome_of(speed_mts + SPEED_ROUNDING_MTS, bound)


def _speed_findings(
    fitted: Sequence[Module], slow: Sequence[Module], weak: Sequence[Module], bound: Limit, notes: tuple[str, ...]
) -> Iterator[Finding]:
    slowest = min(module.configured_mts for module in fitted if isinstance(module.configured_mts, int))
    outcome = _reaches(slowest, bound)
    options = {"measured": Quantity(slowest, "MT/s"), "limit": bound, "evidence": (TABLES,)}
    demand = broken_bound(slowest, bound)
    if not slow:
        yield passed(BOX, f"{len(fitted)} modules run at {slowest} MT/s, {demand}", notes=notes, **options)
        return
    odd = weak if 0 < len(weak) < len(fitted) else slow if len(slow) < len(fitted) else []
    for module in odd:
        yield decided(
            outcome, dimm(module),
            f"runs at {module.configured_mts} MT/s, rated {_rating(module)}, {demand}",
            cause=dimm_cause(module.label), title=f"memory module {module.label} is slower than the others",
            help=(SAME_MODULE.format(label=module.label),),
            notes=(f"it holds the other {len(fitted) - len(odd)} down to its speed",) if len(slow) > len(odd) else (),
            **options)
    if not odd:
        ratings = {module.rated_mts for module in fitted if isinstance(module.rated_mts, int)}
        capable = bool(ratings) and not weak
        yield decided(
            outcome, Subject("memory", "memory"),
            f"{len(fitted)} modules run at {slowest} MT/s, rated {_rating(fitted[0])}, {demand}", cause="memory-speed:",
            title=f"memory runs at {slowest} MT/s",
            help=("set the memory speed in the BIOS (memory clock, XMP or EXPO)",) if capable else (
                f"the modules are rated too slow for {wish_of(bound)} MT/s: replace them",),
            notes=notes, not_=("slow modules",) if capable else (), **options)


def _rating(module: Module) -> str:
    return "not given" if isinstance(module.rated_mts, Unread) else f"{module.rated_mts} MT/s"
