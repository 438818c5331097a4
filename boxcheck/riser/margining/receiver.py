"""The eyes of all lanes at one receiver: what it can do, its lanes one after the other, each brought back to normal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from boxcheck.riser.links.ports import Ports, Refused
from boxcheck.riser.margining import capabilities as margin_capabilities
from boxcheck.riser.margining.capabilities import Capabilities
from boxcheck.riser.margining.commands import (
    NO_COMMAND,
    Command,
    Receiver,
    clear_error_log,
    error_limit,
    go_to_normal,
    step_timing,
    step_voltage,
)
from boxcheck.riser.margining.eye import Direction, LaneEye, Side, Stop
from boxcheck.riser.margining.plan import Pace, least_seconds
from boxcheck.riser.margining.search import Edge, Search, screen, sweep
from boxcheck.riser.margining.step import VOIDS, LinkWatch, Tried, take
from boxcheck.riser.margining.wire import NO_COMMAND_SECONDS, LinkLost, Silent, Wire

SILENT_LANES = 3
"""Lanes in a row that may not answer before a receiver is given up."""
FINISHES, FINISH_SECONDS = 3, 0.3
"""How often a lane is brought back to normal before it is said that it did not confirm, and the pause between."""
UNFINISHED = "not measured to its end"
SAMPLES = 3
"""A sample count is reported as 3 times the binary logarithm of the bits."""


class Lanes:
    """One receiver's lanes through one end's registers. Remembers which it touched until they are back to normal."""

    def __init__(self, wire: Wire, receiver: Receiver, watch: LinkWatch, speed_gts: float, limit: int) -> None:
        self.wire, self.receiver, self.watch = wire, receiver, watch
        self.speed_gts, self.limit = speed_gts, limit
        self.mirrored = False
        self.touched: set[int] = set()
        """By the number of their registers."""
        self._woken: set[int] = set()
        self.notes: list[str] = []

    def through(self, ports: Ports) -> None:
        """What registers are accessed through from now on."""
        self.wire.ports = self.watch.ports = ports

    def register(self, lane: int) -> int:
        """The number that the registers of a lane have here."""
        return self.wire.end.max_width - 1 - lane if self.mirrored else lane

    def capabilities(self, width: int) -> Capabilities:
        """Asks at lane 0; where that is silent, at the other end of the port. Silent where both are."""
        last = self.wire.end.max_width - 1
        try:
            found = self._ask(0)
        except Silent:
            if last == 0:
                raise
            found = self._ask(last)
            self.mirrored = width < self.wire.end.max_width
            if self.mirrored:
                self.notes.append(f"lanes are reversed: the registers of lane 0 are those of lane {last}")
        return margin_capabilities.with_quirks(self.wire, self.receiver, found)

    def _ask(self, register: int) -> Capabilities:
        self.touched.add(register)
        self.wire.rest(register)
        self.wire.order(register, go_to_normal(self.receiver))
        self.wire.done(register)
        self._woken.add(register)
        found = margin_capabilities.read(self.wire, register, self.receiver)
        self.touched.discard(register)
        return found

    def begin(self, register: int) -> None:
        """Before the steps of a direction: the error limit is a setting that Go to Normal takes back."""
        self.touched.add(register)
        self.wire.rest(register)
        if register not in self._woken:
            # Broadcom switches do not answer before this (ocp-diag-pci_lmt, pull request 11).
            self.wire.order(register, go_to_normal(self.receiver))
            self.wire.done(register)
            self._woken.add(register)
        self.wire.order(register, error_limit(self.receiver, self.limit))
        self.wire.done(register)

    def normal(self, register: int) -> None:
        """Clear, Go to Normal, with No Command between. May be done again from its start after an interruption."""
        self.wire.rest(register)
        self.wire.order(register, clear_error_log(self.receiver))
        self.wire.done(register)
        self.wire.order(register, go_to_normal(self.receiver))
        self.wire.done(register)
        self.touched.discard(register)

    def finishing(self) -> list[Callable[[], None]]:
        """For `insist`: what brings each lane back that was left somewhere. An end that does not answer has lost its
        settings with the link (4.2.13: leaving L0 ends margining)."""
        def finish(register: int) -> Callable[[], None]:
            def bring_back() -> None:
                try:
                    if self.watch.down():
                        self._blindly(register)
                        self.touched.discard(register)
                        return
                    self._patiently(register)
                except LinkLost:
                    self.touched.discard(register)
                except (Silent, Refused) as why:
                    self._blindly(register)
                    self.notes.append(f"{why}; it was told to go back to normal and did not confirm it")
                    self.touched.discard(register)

            return bring_back

        return [finish(register) for register in sorted(self.touched)]

    def _patiently(self, register: int) -> None:
        """A link in Recovery takes no commands for a while."""
        for attempt in range(FINISHES):
            try:
                self.normal(register)
                return
            except Silent:
                if attempt == FINISHES - 1:
                    raise
                self.wire.ports.sleep(FINISH_SECONDS)

    def _blindly(self, register: int) -> None:
        try:
            for command in (NO_COMMAND, go_to_normal(self.receiver), NO_COMMAND):
                self.wire.write(register, command)
                self.wire.ports.sleep(NO_COMMAND_SECONDS)
        except Refused:
            return

    def sample_bits(self, register: int) -> float | None:
        """Bits that the last step compared, of a receiver that counts them."""
        value = self.wire.ask(register, self.receiver, "sample-count")
        return float(2 ** (value / SAMPLES)) if value else None


class Found(msgspec.Struct, kw_only=True):
    """What is known so far of the lanes of a receiver."""

    eyes: dict[int, LaneEye] = {}
    last_good: dict[Direction, int] = {}
    """By direction: where the next lane is likely to end as well."""
    resolution: int = 1
    silent: int = 0


def directions_of(found: Capabilities) -> tuple[Direction, ...]:
    names: list[Direction] = ["left"]
    if found.independent_left_right:
        names.append("right")
    if found.voltage and found.voltage_steps:
        names.append("up")
        if found.independent_up_down:
            names.append("down")
    return tuple(names)


def command_for(receiver: Receiver, found: Capabilities, direction: Direction, steps: int) -> Command:
    if direction in ("left", "right"):
        return step_timing(receiver, steps, direction == "left" if found.independent_left_right else None)
    return step_voltage(receiver, steps, direction == "down" if found.independent_up_down else None)


def measure(lanes: Lanes, found: Capabilities, batch: Sequence[int], pace: Pace, known: Found) -> None:
    """All directions of some lanes, which are stepped together. What is found goes to `known` at once, so that it is
    there when the link drops (LinkLost)."""
    ports = lanes.wire.ports
    for lane in batch:
        known.eyes[lane] = LaneEye(lane=lane, why=UNFINISHED)
    alive = list(batch)
    for direction in directions_of(found):
        voltage = direction in ("up", "down")
        least = least_seconds(found, voltage, lanes.speed_gts)
        look, resolution = pace.look_seconds(least, ports.seconds()), pace.resolution(least, ports.seconds())
        known.resolution = max(known.resolution, resolution)
        most = found.voltage_steps if voltage else found.timing_steps
        for lane in list(alive):
            try:
                lanes.begin(lanes.register(lane))
            except Silent as why:
                lanes.watch.require()
                _give_up(known, lane, str(why))
                alive.remove(lane)
        guess = known.last_good.get(direction)
        searches: dict[int, Search] = {
            lane: sweep(most) if pace.mode == "full" else screen(most, guess, resolution) for lane in alive}
        sides, overhead = _search(lanes, found, direction, searches, look)
        for lane in list(alive):
            side = sides[lane]
            if isinstance(side, str):
                _give_up(known, lane, side)
                alive.remove(lane)
                continue
            known.eyes[lane] = msgspec.structs.replace(
                known.eyes[lane], sides={**known.eyes[lane].sides, direction: side})
            if side.steps:
                known.last_good[direction] = side.steps
        for lane in list(batch):
            register = lanes.register(lane)
            if register not in lanes.touched:
                continue
            try:
                lanes.normal(register)
            except Silent as why:
                lanes.watch.require()
                _give_up(known, lane, str(why))
                if lane in alive:
                    alive.remove(lane)
        pace.ended(1, overhead)
    for lane in alive:
        known.eyes[lane] = msgspec.structs.replace(known.eyes[lane], why=None)
    known.silent = 0 if alive else known.silent + len(batch)


def _give_up(known: Found, lane: int, why: str) -> None:
    """The first reason stays."""
    if known.eyes[lane].why == UNFINISHED:
        known.eyes[lane] = msgspec.structs.replace(known.eyes[lane], why=why)


def _search(lanes: Lanes, found: Capabilities, direction: Direction, searches: dict[int, Search],
            look_seconds: float) -> tuple[dict[int, Side | str], float]:
    """Runs searches side by side: a step of each lane, watched together, until all have their edge. A sentence in place
    of a side where a lane was given up. And the mean time of a step beside its look."""
    sides: dict[int, Side | str] = {}
    wanted: dict[int, int] = {}
    tries, voids = dict.fromkeys(searches, 0), dict.fromkeys(searches, 0)
    naks, bits = dict[int, int](), dict[int, float | None]()
    overheads: list[float] = []
    rate = found.bits_per_second(direction in ("up", "down"), lanes.speed_gts)

    def side_of(lane: int, edge: Edge) -> Side:
        stop: Stop = "range" if edge.ceiling is None else "nak" if naks.get(lane) == edge.ceiling else "errors"
        return Side(steps=edge.steps, ceiling=edge.ceiling, stop=stop, tried=tries[lane],
                    bits=rate * look_seconds if rate is not None else bits.get(lane))

    def advance(lane: int, worked: bool | None) -> None:
        try:
            wanted[lane] = next(searches[lane]) if worked is None else searches[lane].send(worked)
        except StopIteration as done:
            wanted.pop(lane, None)
            sides[lane] = side_of(lane, done.value)

    for lane in searches:
        advance(lane, None)
    while wanted:
        commands = {lanes.register(lane): command_for(lanes.receiver, found, direction, steps)
                    for lane, steps in wanted.items()}
        results = take(lanes.wire, lanes.watch, commands, look_seconds, lanes.limit, not found.independent_sampler)
        for lane, steps in list(wanted.items()):
            result: Tried = results[lanes.register(lane)]
            overheads.append(result.overhead_seconds)
            if result.verdict == "void":
                voids[lane] += 1
                if voids[lane] >= VOIDS:
                    del wanted[lane]
                    sides[lane] = result.why
                continue
            voids[lane] = 0
            tries[lane] += 1
            if result.verdict == "nak":
                naks[lane] = steps
            if result.verdict == "good" and found.counts_samples:
                bits[lane] = lanes.sample_bits(lanes.register(lane))
            advance(lane, result.verdict == "good")
    return sides, sum(overheads) / len(overheads) if overheads else 0.0
