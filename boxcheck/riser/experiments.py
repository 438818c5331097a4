"""The experiments on one link that need no hands, cheapest first, each announced and put back.

    lane errors     that were logged before are cleared                    root, --allow-writes
    as used         traffic on this card alone, then on all cards: its siblings at the same load are the measure; then
                    copies between cards, two by two, where there is another one of its kind
    retrain         once, then many times                                  root, --allow-writes
    ASPM off        where errors are counted and it is on                  root, --allow-writes
    lower speeds    where errors are counted, down and back                root, --allow-writes
    power capped    where errors are counted                               root, --allow-writes
    hot             with --soak: as the card is, then when it is hot
    margining       where both ends can, 16 GT/s and more                  root, --allow-writes

A kernel that is locked down lets registers not be written: ASPM and speeds then go by its own switches, where it has
them; the others are not tried. What teaches nothing is left out: speeds of a link without an error. What was not tried
is told, with the reason and how it can be. Every experiment gives its looks when it ends, however it does, so that
whoever keeps them loses none to Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import msgspec

from boxcheck.host.config_space import may_write
from boxcheck.model import Unread
from boxcheck.riser.account import Tried
from boxcheck.riser.evidence import Conditions, Look
from boxcheck.riser.guarded import Done, Found, guarded
from boxcheck.riser.held_looks import at_speed, counted, not_known_off
from boxcheck.riser.links.aspm import aspm_is_off, without_aspm
from boxcheck.riser.links.equalisation import redo_equalisation
from boxcheck.riser.links.hold import Held, NotRestored
from boxcheck.riser.links.lanes import clear_lane_errors, keep_awake
from boxcheck.riser.links.link_state import lane_errors
from boxcheck.riser.links.pending import MARGINING
from boxcheck.riser.links.ports import LinkPair, Ports, Refused
from boxcheck.riser.links.restore import Load, Restored
from boxcheck.riser.links.retrain import OFTEN, retrain_often, retrain_once
from boxcheck.riser.links.target_speed import try_speeds
from boxcheck.riser.margining.draw import drawn, left_out
from boxcheck.riser.margining.run import margin

__all__ = ["BACK_SECONDS", "LOAD_SECONDS", "Bench", "Done", "Measuring", "experiments", "margined"]

LOAD_SECONDS = 3.0
"""Of traffic around a look at the link's speed, and around each lane that is margined."""

BACK_SECONDS = 20.0
"""Longest that a link is measured after it is at full speed again."""


class Measuring(Protocol):
    """Looks at every link of the box. `everyone`: traffic on all cards, else on the one in question. `sample` is called
    a few times meanwhile."""

    def __call__(
        self, seconds: float, conditions: Conditions, *, everyone: bool = False,
        sample: Callable[[], None] | None = None,
    ) -> tuple[Look, ...]: ...


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """What the experiments work with."""

    ports: Ports
    slot: str
    pair: LinkPair | None
    """None where the registers of the link cannot be read."""
    pair_unread: str = ""
    measure: Measuring
    seconds: float
    hold: Callable[[str], AbstractContextManager[Held]]
    """Takes the link for an experiment that is named, and puts it back."""
    load: Load | None = None
    """A short look under load, which experiments sample; None where no runtime drives the card."""
    busy: Callable[[], AbstractContextManager[object]] = nullcontext
    """Steady traffic on this card."""
    loaded: bool = True
    """Whether a runtime can put traffic on this card."""
    siblings: bool = True
    """Whether other cards can carry traffic too."""
    peers: bool = False
    """Whether one of them is of its kind, so that the two can copy to each other."""
    writes: bool = False
    """--allow-writes was given."""
    retrainings: int = OFTEN
    margining: bool = True
    full_margining: bool = False
    force: bool = False
    again: str = "sudo boxcheck riser --resume --allow-writes"
    capped: Callable[[], tuple[Look, ...]] | None = None
    """Looks at full and at limited power; None where nothing can limit it."""
    why_not_capped: str = ""
    heated: Callable[[], tuple[Look, ...]] | None = None
    """Looks as the card is and when it is hot; None where that was not asked for."""


def experiments(bench: Bench) -> Iterator[Done]:
    """One after the other. Refused of one of them is told and ends none of the others; NotRestored ends all."""
    refused = _why_nothing(bench)
    if refused is None:
        yield from guarded("lane errors", lambda found: _cleared(bench, found))
    used = bench.measure(bench.seconds, Conditions())
    looks = list(used)
    yield Done(looks=used)
    if bench.siblings and bench.loaded:
        more = bench.measure(bench.seconds, Conditions(neighbours="loaded"), everyone=True)
        looks += more
        yield Done(looks=more)
    if bench.peers and bench.siblings and bench.loaded:
        copied = bench.measure(bench.seconds, Conditions(neighbours="loaded", traffic="peers"), everyone=True)
        looks += copied
        yield Done(looks=copied)
    mine = [look for look in looks if look.slot == bench.slot]
    dirty = any(way.errors for look in mine for way in look.ways) or any(look.dropped for look in mine)
    if refused is not None:
        names = ["retrain", "lower speeds", "ASPM off", *(["margining"] if bench.margining else [])]
        yield Done(tried=tuple(
            Tried(name=name, done=False, says=refused.says, help=refused.help) for name in names))
    else:
        yield from guarded("retrain", lambda found: _retrain(bench, found))
        if dirty:
            yield from guarded("ASPM off", lambda found: _aspm(bench, found))
            yield from guarded("lower speeds", lambda found: _speeds(bench, found))
        else:
            yield Done(tried=(Tried(
                name="lower speeds and ASPM off", done=False,
                says="no error was counted at full speed, so a lower one would tell nothing"),))
    if dirty and bench.loaded:
        yield from guarded("power capped", lambda found: _capped(bench, found))
    if bench.heated is not None and bench.loaded:
        yield from guarded("cold against hot", lambda found: _heated(bench, found))
    if refused is None and bench.margining:
        yield from guarded("margining", lambda found: _margining(bench, found))


def margined(bench: Bench) -> Iterator[Done]:
    """Lane margining of one link and nothing else; what keeps it from being done is told as not tried."""
    refused = _why_nothing(bench)
    if refused is not None:
        yield Done(tried=(Tried(name="margining", done=False, says=refused.says, help=refused.help),))
        return
    yield from guarded("margining", lambda found: _margining(bench, found))


def _why_nothing(bench: Bench) -> Refused | None:
    """Why the link is not to be changed at all. Found beforehand, and said once."""
    if bench.pair is None:
        return Refused("permission", bench.pair_unread or "the registers of this link were not read", bench.again)
    if not bench.writes:
        return Refused("permission", "these write to the link's registers and put them back", bench.again)
    for end in (bench.pair.port, bench.pair.card):
        refused = None if end is None else bench.ports.writable(end.bdf)
        if refused is not None and refused.kind != "lockdown":
            return refused
    return None


def _refuse_locked(bench: Bench) -> None:
    """Refused where the kernel lets config space not be written. ASPM and speeds have ways of the kernel's own, which
    it leaves open, and say so themselves where they have none."""
    assert bench.pair is not None
    refused = may_write(bench.ports, *(end.bdf for end in (bench.pair.port, bench.pair.card) if end is not None))
    if refused is not None:
        raise refused


def _cleared(bench: Bench, found: Found) -> None:
    """Lanes that have logged errors already would not show new ones; where none has, nothing is written."""
    assert bench.pair is not None
    if not any(one.lanes or one.parity or one.retimer_parity for one in lane_errors(bench.ports, bench.pair)):
        return
    _refuse_locked(bench)
    with bench.hold("clearing lane errors") as held:
        logged = clear_lane_errors(held)
    found.tried.append(Tried(name="lane errors", says=f"cleared: {'; '.join(logged) or 'none were left'}"))


def _retrain(bench: Bench, found: Found) -> None:
    _refuse_locked(bench)
    with bench.hold("retraining") as held:
        keep_awake(held)
        once = retrain_once(held)
        found.tried.append(Tried(name="retrained once", says=once.says))
        if not once.equalisation.complete and once.equalisation.read:
            found.tried.append(Tried(name="equalisation", says=redo_equalisation(held).says))
        tally = retrain_often(held, bench.retrainings, load=bench.load)
        found.tried.append(Tried(name="retrained often", says=tally.says))
        found.looks.append(Look(slot=bench.slot, retrains=tally.retrains, dropped=tally.dropped))


def _aspm(bench: Bench, found: Found) -> None:
    with bench.hold("ASPM off") as held, without_aspm(held) as off:
        if off.state != "off":
            says = "ASPM is off already" if off.state == "already-off" else off.says
            found.tried.append(Tried(name="ASPM off", done=False, says=says))
            return
        looks = _of(bench, bench.measure(bench.seconds, Conditions(aspm_off=True)))
        # Until it is read: the reading obeys Ctrl-C, and what was measured is kept.
        found.looks += not_known_off(looks, "whether ASPM stayed off was not read")
        still = aspm_is_off(held)
        if still is True:
            found.looks[:] = looks
            found.tried.append(Tried(name="ASPM off", says=f"{off.says}; {counted(looks)}"))
            return
        why = (f"whether ASPM stayed off was not read: {still.why}" if isinstance(still, Unread)
               else "ASPM was switched on again by somebody else while the link was measured")
        found.looks[:] = not_known_off(looks, why)
        found.tried.append(Tried(name="ASPM off", done=False, says=why))


def _speeds(bench: Bench, found: Found) -> None:
    assert bench.pair is not None
    full = max(bench.pair.common_gts, default=0.0)
    lower = [gts for gts in bench.pair.common_gts[::-1][1:] if gts >= 5.0]
    if not lower:
        raise Refused("unsupported", f"the ends share no speed of 5 GT/s or more below their full one ({full:g} GT/s)")
    measured: list[tuple[Look, ...]] = []

    def measure(sample: Callable[[], None]) -> Look:
        looks = _of(bench, bench.measure(bench.seconds, Conditions(), sample=sample))
        measured.append(looks)
        return looks[0] if looks else Look(slot=bench.slot)

    with bench.hold("lower speeds") as held:
        keep_awake(held)
        tour = try_speeds(held, lower, measure)
        loaded = (trial for trial in tour.trials if trial.look is not None)
        for trial, looks in zip(loaded, measured, strict=True):
            found.looks += [at_speed(look, trial, full) for look in looks]
        found.tried += [Tried(name=f"{trial.gts:g} GT/s", says=trial.says) for trial in tour.trials]
        if tour.stopped:
            found.tried.append(Tried(name="lower speeds", says=tour.stopped))
    if tour.back is not None:
        back = _of(bench, bench.measure(min(bench.seconds, BACK_SECONDS), Conditions()))
        found.looks += back
        found.tried.append(Tried(name="and back", says=f"{tour.back.says}; {counted(back)}"))


def _capped(bench: Bench, found: Found) -> None:
    if not bench.writes:
        raise Refused("permission", "it sets the card's power limit and puts it back", bench.again)
    if bench.capped is None:
        raise Refused("unsupported", bench.why_not_capped)
    found.looks += _of(bench, bench.capped())


def _heated(bench: Bench, found: Found) -> None:
    assert bench.heated is not None
    found.looks += _of(bench, bench.heated())


def _margining(bench: Bench, found: Found) -> None:
    assert bench.pair is not None
    _refuse_locked(bench)
    margins = margin(
        bench.ports, bench.pair, mode="full" if bench.full_margining else "screening", force=bench.force,
        load=bench.busy, hold=lambda ports, pair: bench.hold(MARGINING))
    if margins.not_restored:
        raise NotRestored(Restored(outcome="differs", says=margins.not_restored))
    lanes = margins.lane_margins()
    found.tried += [
        Tried(name="margining", done=False, says=says.removeprefix("not margined: "))
        for says in left_out(margins) or ([] if lanes else ["no lane was measured"])]
    cut_short = f"margining ended early: {margins.stopped}" if margins.stopped else ""
    if lanes or cut_short:
        # Only margins: errors that receivers without a sampler of their own made meanwhile are in no look.
        found.looks.append(Look(slot=bench.slot, margins=lanes, cut_short=cut_short))
    if lanes:
        found.eye = tuple(drawn(margins))


def _of(bench: Bench, looks: tuple[Look, ...]) -> tuple[Look, ...]:
    """Those at the link in question: under conditions that were made for it alone."""
    return tuple(look for look in looks if look.slot == bench.slot)
