"""The experiments on one link that need no hands, cheapest first, each announced and put back.

    as used         traffic on this card alone, then on all cards: its siblings at the same load are the measure
    retrain         once, then many times                                  root, --allow-writes
    ASPM off        where errors are counted and it is on                  root, --allow-writes
    lower speeds    where errors are counted, down and back                root, --allow-writes
    power capped    where errors are counted                               root
    hot             with --soak: as the card is, then when it is hot
    margining       where both ends can, 16 GT/s and more                  root, --allow-writes

What teaches nothing is left out: speeds of a link without an error. What was not tried is told, with the reason and how
it can be. Every experiment gives its looks when it is done, so that whoever keeps them loses none to Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import msgspec

from boxcheck.host.config_space import may_write
from boxcheck.riser.account import Tried
from boxcheck.riser.evidence import Conditions, Look
from boxcheck.riser.links.aspm import without_aspm
from boxcheck.riser.links.equalisation import redo_equalisation
from boxcheck.riser.links.hold import Held, NotRestored
from boxcheck.riser.links.ports import LinkPair, Ports, Refused
from boxcheck.riser.links.restore import Load, Restored
from boxcheck.riser.links.retrain import OFTEN, retrain_often, retrain_once
from boxcheck.riser.links.target_speed import try_speeds
from boxcheck.riser.margining.draw import drawn, left_out
from boxcheck.riser.margining.run import margin

LOAD_SECONDS = 3.0
"""Of traffic around a look at the link's speed, and around each lane that is margined."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What one experiment gave."""

    looks: tuple[Look, ...] = ()
    tried: tuple[Tried, ...] = ()
    eye: tuple[str, ...] = ()


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
    used = bench.measure(bench.seconds, Conditions())
    looks = list(used)
    yield Done(looks=used)
    if bench.siblings and bench.loaded:
        more = bench.measure(bench.seconds, Conditions(neighbours="loaded"), everyone=True)
        looks += more
        yield Done(looks=more)
    mine = [look for look in looks if look.slot == bench.slot]
    dirty = any(way.errors for look in mine for way in look.ways) or any(look.dropped for look in mine)
    refused = _why_no_writes(bench)
    if refused is not None:
        names = ["retrain", "lower speeds", "ASPM off", *(["margining"] if bench.margining else [])]
        yield Done(tried=tuple(
            Tried(name=name, done=False, says=refused.says, help=refused.help) for name in names))
    else:
        yield from _guarded("retrain", lambda: _retrain(bench))
        if dirty:
            yield from _guarded("ASPM off", lambda: _aspm(bench))
            yield from _guarded("lower speeds", lambda: _speeds(bench))
        else:
            yield Done(tried=(Tried(
                name="lower speeds and ASPM off", done=False,
                says="no error was counted at full speed, so a lower one would tell nothing"),))
    if dirty and bench.loaded:
        yield from _guarded("power capped", lambda: _capped(bench))
    if bench.heated is not None and bench.loaded:
        yield from _guarded("cold against hot", lambda: _heated(bench))
    if refused is None and bench.margining:
        yield from _guarded("margining", lambda: _margining(bench))


def _why_no_writes(bench: Bench) -> Refused | None:
    """Found beforehand, and said once."""
    if bench.pair is None:
        return Refused("permission", bench.pair_unread or "the registers of this link were not read", bench.again)
    if not bench.writes:
        return Refused("permission", "these write to the link's registers and put them back", bench.again)
    ends = [end.bdf for end in (bench.pair.port, bench.pair.card) if end is not None]
    return may_write(bench.ports, *ends)


def _guarded(name: str, run: Callable[[], Done]) -> Iterator[Done]:
    try:
        yield run()
    except Refused as refused:
        yield Done(tried=(Tried(name=name, done=False, says=refused.says, help=refused.help),))


def _retrain(bench: Bench) -> Done:
    with bench.hold("retraining") as held:
        once = retrain_once(held)
        said = [Tried(name="retrained once", says=once.says)]
        if not once.equalisation.complete and once.equalisation.read:
            said.append(Tried(name="equalisation", says=redo_equalisation(held).says))
        tally = retrain_often(held, bench.retrainings, load=bench.load)
        said.append(Tried(name="retrained often", says=tally.says))
    look = Look(slot=bench.slot, retrains=tally.retrains, dropped=tally.dropped)
    return Done(looks=(look,), tried=tuple(said))


def _aspm(bench: Bench) -> Done:
    with bench.hold("ASPM off") as held, without_aspm(held) as off:
        if off.how == "none":
            return Done(tried=(Tried(name="ASPM off", done=False, says="ASPM is off already"),))
        looks = bench.measure(bench.seconds, Conditions(aspm_off=True))
    return Done(looks=_of(bench, looks))


def _speeds(bench: Bench) -> Done:
    assert bench.pair is not None
    lower = [gts for gts in bench.pair.common_gts[::-1][1:] if gts >= 5.0]

    def measured(sample: Callable[[], None]) -> Look:
        found = _of(bench, bench.measure(bench.seconds, Conditions(), sample=sample))
        return found[0] if found else Look(slot=bench.slot)

    with bench.hold("lower speeds") as held:
        tour = try_speeds(held, lower, measured)
    seen = [trial.look for trial in tour.trials if trial.look is not None and trial.confirmed]
    told = [Tried(name=f"{trial.gts:g} GT/s", says=trial.says) for trial in tour.trials]
    if tour.stopped:
        told.append(Tried(name="lower speeds", says=tour.stopped))
    return Done(looks=tuple(seen), tried=tuple(told))


def _capped(bench: Bench) -> Done:
    if bench.capped is None:
        return Done(tried=(Tried(name="power capped", done=False, says=bench.why_not_capped),))
    return Done(looks=_of(bench, bench.capped()))


def _heated(bench: Bench) -> Done:
    assert bench.heated is not None
    return Done(looks=_of(bench, bench.heated()))


def _margining(bench: Bench) -> Done:
    assert bench.pair is not None
    margins = margin(
        bench.ports, bench.pair, mode="full" if bench.full_margining else "screening", force=bench.force,
        load=bench.busy, hold=lambda ports, pair: bench.hold("lane margining"))
    if margins.not_restored:
        raise NotRestored(Restored(outcome="differs", says=margins.not_restored))
    lanes = margins.lane_margins()
    if not lanes:
        return Done(tried=tuple(
            Tried(name="margining", done=False, says=says.removeprefix("not margined: "))
            for says in left_out(margins) or ["no lane was measured"]))
    # Only margins: errors that receivers without a sampler of their own made meanwhile are in no look.
    return Done(looks=(Look(slot=bench.slot, margins=lanes),), eye=tuple(drawn(margins)))


def _of(bench: Bench, looks: tuple[Look, ...]) -> tuple[Look, ...]:
    """Those at the link in question: under conditions that were made for it alone."""
    return tuple(look for look in looks if look.slot == bench.slot)


__all__ = ["Bench", "Done", "NotRestored", "experiments"]
