"""Lane margining at the receivers of one link: how far each lane's sampling point can be moved before bits are lost.

Writes  LnkCtl and LnkCtl2 of both ends and their power/control (given back as they were), the lane margining registers
        (left in No Command, every sampler in its place)
Needs   root, a kernel without lockdown, a link at 16 GT/s or faster that is kept busy meanwhile
By hand `sudo pcilmr --margin 40:01.1` (pciutils 3.11 and newer); it leaves ASPM off where it was on

The spirit of it: nothing is started that may not be possible, nothing is believed without an echo, one lane at a time
unless more are asked for, and the link is given back on every exit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from boxcheck.riser.links.hold import NotRestored
from boxcheck.riser.links.ports import LinkPair, Ports, Refused
from boxcheck.riser.margining import plan as margin_plan
from boxcheck.riser.margining import ready as margin_ready
from boxcheck.riser.margining.capabilities import BITS_PER_STEP, Capabilities, odd
from boxcheck.riser.margining.commands import Receiver
from boxcheck.riser.margining.eye import LaneEye, Margins, ReceiverEyes
from boxcheck.riser.margining.hold import Hold, NotGivenBack, insist, kept, settle
from boxcheck.riser.margining.plan import Mode
from boxcheck.riser.margining.ready import Obstacle
from boxcheck.riser.margining.receiver import SILENT_LANES, Found, Lanes, measure
from boxcheck.riser.margining.receivers import end_of, receivers, retimers, toward, where
from boxcheck.riser.margining.step import LinkWatch
from boxcheck.riser.margining.wire import LinkLost, Silent, Wire

ERROR_LIMIT = 4
"""The receivers' own default, and pcilmr's."""
NO_SAMPLER = ("it has no error sampler of its own: each step would damage the data that crosses the link "
              "(force does it all the same)")


def margin(ports: Ports, pair: LinkPair, *, mode: Mode = "screening", lanes: Sequence[int] | None = None,
           only: Sequence[Receiver] | None = None, parallel: int = 1, error_limit: int = ERROR_LIMIT,
           look_seconds: float | None = None, force: bool = False,
           load: Callable[[], AbstractContextManager[object]] = nullcontext, hold: Hold = kept,
           tell: Callable[[str], None] = lambda says: None,
           found: Callable[[Receiver, LaneEye], None] = lambda receiver, eye: None) -> Margins:
    """Margins a link. `load` makes what keeps it busy; `tell` gets a sentence before each part; `found` each lane when
    it is done. What could not be done, or not be given back, is in the result, with why."""
    run = _Run(ports, pair, mode, parallel, error_limit, look_seconds, force, tell, found)
    began = ports.seconds()
    run.obstacles = list(margin_ready.before(ports, pair))
    if any(obstacle.end is None for obstacle in run.obstacles):
        return run.result(began)
    try:
        with hold(ports, pair) as run.ports, load():
            run.held = True
            try:
                run.all(lanes, only)
            except (LinkLost, Refused) as why:
                run.stopped = str(why)
            finally:
                # Not through the holder: it may let nothing through once somebody asked the program to stop.
                for one in run.open:
                    one.through(ports)
                insist([action for one in run.open for action in one.finishing()])
    except (NotGivenBack, NotRestored) as why:
        run.not_restored = f"{why}. {why.help}" if isinstance(why, NotRestored) else str(why)
    except Refused as refused:
        if run.held:
            run.not_restored = refused.says
        else:
            run.obstacles.append(Obstacle(kind="refused", says=refused.says, help=refused.help))
    return run.result(began)


class _Run:
    """One margining of one link, as far as it has come."""

    def __init__(self, ports: Ports, pair: LinkPair, mode: Mode, parallel: int, limit: int, look_seconds: float | None,
                 force: bool, tell: Callable[[str], None], found: Callable[[Receiver, LaneEye], None]) -> None:
        self.ports, self.pair, self.mode, self.parallel = ports, pair, mode, max(1, parallel)
        self.limit, self.look_seconds, self.force, self.tell, self.found = limit, look_seconds, force, tell, found
        self.obstacles: list[Obstacle] = []
        self.open: list[Lanes] = []
        self.eyes: list[ReceiverEyes] = []
        self.held = False
        """The holder let it begin."""
        self.stopped: str | None = None
        self.not_restored: str | None = None
        self.notes: list[str] = []
        self.watch: LinkWatch | None = None
        self.retimers = 0
        self.discard_errors = False

    def all(self, wanted: Sequence[int] | None, only: Sequence[Receiver] | None) -> None:
        ports, pair = self.ports, self.pair
        self.tell("switching ASPM off and holding speed and width; all of it is given back")
        obstacle = settle(ports, pair)
        self.obstacles += [obstacle] if obstacle is not None else margin_ready.under_load(ports, pair)
        if any(one.end is None for one in self.obstacles):
            return
        self.watch = LinkWatch(ports, pair)
        speed = self.watch.began.speed_gts or 0.0
        width = self.watch.began.width
        lanes = [lane for lane in (range(width) if wanted is None else wanted) if 0 <= lane < width]
        self.retimers = retimers(ports, pair)
        blocked = {one.end: one.says for one in self.obstacles if one.end is not None}
        ready: list[tuple[Lanes, Capabilities]] = []
        for receiver in receivers(self.retimers):
            if only is not None and receiver not in only:
                continue
            end = end_of(pair, receiver)
            assert end is not None
            if end.bdf in blocked:
                self._skip(receiver, speed, None, blocked[end.bdf])
                continue
            one = Lanes(Wire(ports, end), receiver, self.watch, speed, self.limit)
            self.open.append(one)
            try:
                known = one.capabilities(width)
            except Silent as why:
                self.watch.require()
                insist(one.finishing())
                self._skip(receiver, speed, None, f"it does not tell what it can do: {why}")
                continue
            if not known.timing_steps:
                self._skip(receiver, speed, known, "it reports no timing steps")
            elif not known.independent_sampler and not self.force:
                self._skip(receiver, speed, known, NO_SAMPLER)
            else:
                ready.append((one, known))
        if not ready or not lanes:
            return
        together = min(self.parallel, 1 + min(known.max_lanes for _, known in ready))
        if together < self.parallel:
            self.notes.append(f"{together} lanes at a time: that is as many as the receivers allow")
        every = tuple(known for _, known in ready)
        minutes = margin_plan.expected_seconds(self.mode, len(lanes), every, speed, together) / 60
        self.tell(f"margining {len(lanes)} lanes at {len(ready)} receivers, about {minutes:.1f} min")
        pace = margin_plan.pace(self.mode, len(lanes), every, together, self.look_seconds)
        pace.aim_seconds += ports.seconds()
        pace.most_seconds += ports.seconds()
        for one, known in ready:
            self._receiver(one, known, lanes, together, pace)

    def _skip(self, receiver: Receiver, speed: float, known: Capabilities | None, why: str) -> None:
        self.eyes.append(ReceiverEyes(receiver=receiver, toward=toward(receiver), speed_gts=speed, capabilities=known,
                                      where=where(receiver, self.retimers), skipped=why))

    def _receiver(self, one: Lanes, known: Capabilities, lanes: list[int], together: int,
                  pace: margin_plan.Pace) -> None:
        began, so_far = self.ports.seconds(), Found()
        self.discard_errors = self.discard_errors or not known.independent_sampler
        skipped = None
        self.tell(f"{where(one.receiver, self.retimers)}")
        try:
            for at in range(0, len(lanes), together):
                if so_far.silent >= SILENT_LANES:
                    skipped = f"{so_far.silent} lanes in a row gave no answer; the others were not tried"
                    break
                batch = lanes[at:at + together]
                measure(one, known, batch, pace, so_far)
                for lane in batch:
                    self.found(one.receiver, so_far.eyes[lane])
        finally:
            notes = [*known.quirks, *odd(known), *one.notes]
            few = [side.bits for eye in so_far.eyes.values() for side in eye.sides.values() if side.bits is not None]
            if few and min(few) < BITS_PER_STEP * 0.99:
                notes.append(f"a step compared {min(few):.1g} bits, where the specification asks for 1e8")
            self.eyes.append(ReceiverEyes(
                receiver=one.receiver, toward=toward(one.receiver), where=where(one.receiver, self.retimers),
                speed_gts=one.speed_gts, capabilities=known, lanes=tuple(so_far.eyes.values()), mirrored=one.mirrored,
                skipped=skipped, notes=tuple(notes), seconds=self.ports.seconds() - began,
                resolution=so_far.resolution))

    def result(self, began: float) -> Margins:
        speed = self.watch.began.speed_gts if self.watch else None
        notes = list(self.notes)
        if self.discard_errors:
            notes.append("errors that the ports counted meanwhile come from margining and are discarded")
        for one in self.open:
            shown = [note for eyes in self.eyes if eyes.receiver == one.receiver for note in eyes.notes]
            notes += [note for note in one.notes if note not in shown]
        return Margins(
            port=self.pair.port.bdf, card=self.pair.card.bdf if self.pair.card else None, slot=self.pair.slot,
            mode=self.mode, speed_gts=speed, width=self.watch.began.width if self.watch else None,
            error_limit=self.limit, max_width=self.pair.port.max_width, retimers=self.retimers,
            receivers=tuple(sorted(self.eyes, key=lambda eyes: eyes.receiver)), obstacles=tuple(self.obstacles),
            stopped=self.stopped, not_restored=self.not_restored, notes=tuple(notes),
            discard_errors=self.discard_errors, seconds=self.ports.seconds() - began)
