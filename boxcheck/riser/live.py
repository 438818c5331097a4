"""The machine under the experiments: its ports, its traffic, what may be written, where the journal lies.

Traffic goes by the engine's workers and is verified; where no runtime drives the card, errors are counted without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from boxcheck.engine.inspect import Facts
from boxcheck.engine.safety import limits_of
from boxcheck.gpu import GpuInfo
from boxcheck.host import Host
from boxcheck.host.config_space import LivePorts
from boxcheck.model import Bdf, Unread
from boxcheck.probes.links import Links
from boxcheck.probes.pci import PciInventory
from boxcheck.probes.storage import Storage
from boxcheck.profile import Profile
from boxcheck.riser.evidence import Conditions, Look
from boxcheck.riser.experiments import LOAD_SECONDS, Bench
from boxcheck.riser.links.hold import Held, holding
from boxcheck.riser.links.lanes import settings_of
from boxcheck.riser.links.link_pair import pci_pair
from boxcheck.riser.links.restore import Load
from boxcheck.riser.links.stakes import stakes
from boxcheck.riser.measuring import contrasts
from boxcheck.riser.measuring.contrasts import at_limited_power, cold_and_hot
from boxcheck.riser.measuring.measure import loaded, measure
from boxcheck.riser.measuring.power_limits import limiter_of
from boxcheck.riser.measuring.stuck import Standing
from boxcheck.riser.measuring.targets import Measurable, Target, measurable
from boxcheck.riser.measuring.traffic import Traffic
from boxcheck.riser.parts import Seat
from boxcheck.stress.link_routes import LinkMap

BUSY_SECONDS = 3600.0
"""Longest that steady traffic is held around an experiment."""


class Live:
    """A live box: what `Bench` needs, made of its facts."""

    def __init__(
        self, host: Host, facts: Facts, want: Profile, seats: Sequence[Seat], devices: Sequence[GpuInfo], *,
        folder: str, journals: str, say: Callable[[str], None], options: dict[str, str] | None = None,
    ) -> None:
        self.host, self.facts, self.want, self.seats = host, facts, want, tuple(seats)
        self.folder, self.journals, self.say = folder, journals, say
        self.ports = LivePorts()
        self.traffic = Traffic(devices, options=options, limits=limits_of(want)) if devices else None
        found = measurable([(seat.slot, seat.link) for seat in seats], facts, want, devices)
        self.unread = found if isinstance(found, Unread) else None
        """Why no link can be measured at all."""
        nothing = Measurable(targets=(), where=LinkMap(hops={}, ways={}))
        self.measurable = nothing if isinstance(found, Unread) else found
        self._standing: dict[Bdf, Standing] = {}
        """Error bits of each end that looks so far found to stand uncounted."""
        self.stopping: Callable[[], bool] = lambda: False
        """Whether somebody asked to stop: of the link that is held, since signals wait as long as one is."""

    def measure(
        self, slot: str, seconds: float, conditions: Conditions, *, everyone: bool = False,
        sample: Callable[[], None] | None = None,
    ) -> tuple[Look, ...]:
        """Looks at all links, with traffic on one card or on all. `sample` is called a few times meanwhile."""
        def stop() -> bool:
            if sample is not None:
                sample()
            return self.stopping()

        drivable = [target.slot for target in self.measurable.targets if target.keys]
        traffic = self.traffic
        if traffic is not None and conditions.traffic == "peers":
            target = self.measurable.of(slot)
            traffic = traffic.going("peers", first=target.keys if target is not None else (), behind={
                key: one.slot for one in self.measurable.targets for key in one.keys})
        elif traffic is not None and everyone:
            traffic = traffic.going(power=True)
        return measure(
            self.measurable, seconds, conditions, load=[one for one in drivable if everyone or one == slot],
            traffic=traffic, ports=self._readable, stopping=stop, say=self.say, standing=self._standing)

    @property
    def _readable(self) -> LivePorts | None:
        """Registers beyond the header are root's."""
        return self.ports if os.geteuid() == 0 else None

    def bench(self, slot: str, seconds: float, *, soak: bool = False, force: bool = False, **more: object) -> Bench:
        """What the experiments on one link need."""
        seat = next(seat for seat in self.seats if seat.slot == slot)
        pci, target = self.facts.of(PciInventory), self.measurable.of(slot)
        pair = pci if isinstance(pci, Unread) else pci_pair(seat.link, pci)
        others = [one for one in self.measurable.targets if one.slot != slot and one.keys]
        loaded = bool(target and target.keys and self.traffic is not None)
        capped, why = self._capped(slot, seconds, target)

        def measured(
            seconds: float, conditions: Conditions, *, everyone: bool = False,
            sample: Callable[[], None] | None = None,
        ) -> tuple[Look, ...]:
            return self.measure(slot, seconds, conditions, everyone=everyone, sample=sample)

        return Bench(
            ports=self.ports, slot=slot, pair=None if isinstance(pair, Unread) else pair,
            pair_unread=pair.why if isinstance(pair, Unread) else "", measure=measured, seconds=seconds,
            hold=lambda what: self._hold(seat, what, force), load=self.load(slot),
            busy=lambda: self._busy(slot), loaded=loaded,
            siblings=bool(others), peers=self._pairs_up(slot), force=force, capped=capped, why_not_capped=why,
            heated=(lambda: cold_and_hot(self._contrast(seconds), slot)) if soak and loaded else None,
            **more)  # type: ignore[arg-type]

    def _pairs_up(self, slot: str) -> bool:
        """Whether another card, behind another link, can copy to the one in this slot."""
        target = self.measurable.of(slot)
        if self.traffic is None or target is None:
            return False
        elsewhere = {key for one in self.measurable.targets if one.slot != slot for key in one.keys}
        mine = [key for key in target.keys if self.traffic.pairs_up(key)]
        kinds = {(info.backend, info.arch) for info in self.traffic.devices if info.key in mine}
        return any(info.key in elsewhere and (info.backend, info.arch) in kinds for info in self.traffic.devices)

    def _contrast(self, seconds: float) -> contrasts.Bench:
        assert self.traffic is not None
        return contrasts.Bench(
            measured=self.measurable, traffic=self.traffic, seconds=seconds, ports=self._readable,
            stopping=lambda: self.stopping(), say=self.say, standing=self._standing)

    def _capped(
        self, slot: str, seconds: float, target: Target | None,
    ) -> tuple[Callable[[], tuple[Look, ...]] | None, str]:
        """How the power of the card is limited, or why it is not."""
        if os.geteuid() != 0:
            return None, "a card's power limit is set by root"
        if target is None or not target.gpus or self.traffic is None:
            return None, "no driver of this card sets its power limit"
        bdf, vendor = target.gpus[0]
        limiter = limiter_of(bdf, vendor, self.ports)
        if isinstance(limiter, Unread):
            return None, limiter.why
        return lambda: at_limited_power(self._contrast(seconds), slot, limiter, vendor, self.folder), ""

    @contextmanager
    def _hold(self, seat: Seat, what: str, force: bool) -> Iterator[Held]:
        """The link, taken for an experiment and put back after it."""
        pci, links, storage = self.facts.of(PciInventory), self.facts.of(Links), self.facts.of(Storage)
        assert not isinstance(pci, Unread)
        assert not isinstance(links, Unread)
        pair = pci_pair(seat.link, pci)
        assert not isinstance(pair, Unread)
        lost = (f"which disks hang on it was not read: {storage.why}",) if isinstance(storage, Unread) else stakes(
            self.host, seat.link.id, pci, links, storage)
        load = self.load(seat.slot)
        with holding(self.ports, pair, self.journals, what=what, stakes=lost, force=force, announce=self.say,
                     load=load) as held:
            before, self.stopping = self.stopping, lambda: held.stopping
            try:
                yield held
            finally:
                self.stopping = before
        if held.restored is not None and held.restored.outcome != "restored":
            self.say(held.restored.says)  # nothing is wrong with it, and something is to be known of it

    def load(self, slot: str) -> Load | None:
        """A short look under load, sampled meanwhile; None where no runtime drives the card."""
        target = self.measurable.of(slot)
        if self.traffic is None or target is None or not target.keys:
            return None
        return lambda sample: self.measure(slot, LOAD_SECONDS, Conditions(), sample=sample)

    def settings(self, slot: str) -> tuple[str, ...]:
        """Settings that make the link less than it can be, before anything is changed."""
        pci, seat = self.facts.of(PciInventory), next(seat for seat in self.seats if seat.slot == slot)
        pair = pci if isinstance(pci, Unread) else pci_pair(seat.link, pci)
        return () if isinstance(pair, Unread) or self._readable is None else settings_of(self.ports, pair)

    @contextmanager
    def _busy(self, slot: str) -> Iterator[None]:
        """Steady traffic on the card, so that its link stays awake; none where no runtime drives it."""
        if self.traffic is None:
            yield
            return
        with loaded(self.measurable, self.traffic, [slot], BUSY_SECONDS, lambda: self.stopping()):
            yield
