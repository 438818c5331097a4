"""One lane's margining registers and the samplers of its receivers, after the specification's words (5.0, 4.2.13 and
7.7.7), written anew: it shares no code with what drives it.

Time is asked for, never waited for: what a status register shows at a time follows from when commands took effect.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass, field
from math import log2

CONTROL_DEFAULT, STATUS_DEFAULT = 0x9C38, 0x0000
DECADES_PER_STEP = 6.0
"""How steep an eye's edge is: a step further in, errors are a million times rarer."""
EDGE_BER = 1e-8
"""At the edge itself: some errors in the least number of bits a step compares."""


@dataclass
class Eye:
    """Distance of its edges from the sampling point: unit intervals and volts."""

    left: float = 0.25
    right: float = 0.24
    up: float = 0.060
    down: float = 0.055


@dataclass
class Kind:
    """What a receiver can do, as it reports it (and `true_*` where it reports a zero)."""

    voltage: bool = True
    ind_up_down: bool = True
    ind_left_right: bool = True
    reports_rate: bool = True
    ind_sampler: bool = True
    timing_steps: int = 16
    voltage_steps: int = 64
    timing_percent: int = 40
    voltage_percent: int = 20
    rate_timing: int = 31
    rate_voltage: int = 31
    sample_count: int | None = None
    """A receiver that compares a fixed number; None: what its sampler compared since it was moved."""
    max_lanes: int = 3
    true_timing_percent: int = 40
    true_voltage_percent: int = 20
    never_echoes: bool = False
    naks: bool = False
    stuck_in_setup: bool = False
    never_trips: bool = False
    """Counts beyond its limit and goes on."""
    default_limit: int = 4
    go_normal_first: bool = False
    """Answers no report before it got Go to Normal once."""


@dataclass
class Stepping:
    """A sampler that was moved."""

    number: int
    voltage: bool
    steps: int
    looks_from: float
    """End of the set-up."""
    arrivals: list[float] = field(default_factory=list)
    """Seconds of looking after which each error is seen, at most 64."""
    limit: int = 4
    never_trips: bool = False
    paused: float = 0.0
    paused_since: float | None = None
    ended: bool = False
    shown: int | None = None
    """The payload that stays, once it ended."""
    drawn_trip: float | None = None
    """`trips_after` as it was drawn: clearing the log empties `arrivals`."""

    def looked(self, now: float) -> float:
        until = now if self.paused_since is None else self.paused_since
        return max(0.0, until - self.looks_from - self.paused)

    def errors(self, now: float) -> int:
        return min(63, bisect_right(self.arrivals, self.looked(now)))

    @property
    def trips_after(self) -> float | None:
        return self.arrivals[self.limit] if len(self.arrivals) > self.limit else None

    def tripped(self, now: float) -> bool:
        return not self.never_trips and self.trips_after is not None and self.looked(now) >= self.trips_after


class LaneModel:
    """Control and status of one lane at one end, and the samplers that they reach."""

    def __init__(self, port: PortModel, lane: int) -> None:
        self.port, self.lane = port, lane
        self.reset()

    def reset(self) -> None:
        """DL_Down."""
        self.control, self.status = CONTROL_DEFAULT, STATUS_DEFAULT
        self.pending: tuple[float, int] | None = None
        self.showing: Stepping | None = None
        self.moved: dict[int, Stepping] = {}
        self.limits: dict[int, int] = {}
        self.normal_once: set[int] = set()
        self.frozen: int | None = None

    @property
    def in_place(self) -> bool:
        """Every sampler where it belongs, and the control register at rest."""
        return not any(not one.ended for one in self.moved.values()) and self.control & 0xFF3F == CONTROL_DEFAULT & 0xFF3F

    def write(self, word: int, now: float) -> None:
        self.settle(now)
        before, self.control = self.control, word
        if word & 0xFF7F == before & 0xFF7F:
            if word & 0x38 != 0x38:
                self.port.violations.append(f"lane {self.lane}: {word:#06x} twice without No Command between")
            return
        if word & 0x38 != 0x38 and before & 0x38 != 0x38:
            self.port.violations.append(f"lane {self.lane}: {word:#06x} right after {before:#06x}")
        if word & 0x40:
            self.port.violations.append(f"lane {self.lane}: usage model bit set in {word:#06x}")
        latency = self.port.latency()
        self.port.owner.waits.append(("command", latency))
        self.pending = (now + latency, word)

    def read(self, now: float) -> int:
        self.settle(now)
        if self.frozen is not None:
            return self.frozen
        word = self.status
        if self.showing is not None:
            word = word & 0x00FF | self._payload(self.showing, now) << 8
            if self.port.owner.freezes is self.showing and word >> 14 == 2:
                self.frozen = word
        return word

    def _payload(self, step: Stepping, now: float) -> int:
        kind = self.port.kinds[step.number]
        if self.port.overrun(step.number, now):
            return self.port.rng.randrange(256)
        if step.ended:
            return step.shown if step.shown is not None else 0x80 | step.errors(now)
        if kind.stuck_in_setup or now < step.looks_from:
            return 0x40
        if step.tripped(now):
            step.ended, step.shown = True, min(63, step.limit + 1)
            return step.shown
        return 0x80 | step.errors(now)

    def settle(self, now: float) -> None:
        """Lets a command take effect whose time has come."""
        if self.pending is not None and now >= self.pending[0]:
            (at, word), self.pending = self.pending, None
            self._take(word, at)
        for step in self.moved.values():
            if not step.ended and step.tripped(now) and now >= step.looks_from:
                step.ended, step.shown = True, min(63, step.limit + 1)

    def _take(self, word: int, now: float) -> None:
        number, kind_of, payload = word & 7, word >> 3 & 7, word >> 8
        if kind_of == 7:
            if number == 0 and payload == 0x9C:
                self.status, self.showing = CONTROL_DEFAULT & 0xFF3F, None
            return
        kinds = self.port.kinds
        if number == 0:
            if kind_of == 2 and payload in (0x0F, 0x55):
                for one in kinds:
                    self._set(one, payload, now)
                self._echo(word, payload)
            return
        kind = kinds.get(number)
        if kind is None or kind.never_echoes or not self.port.connected(self.lane):
            return
        if kind.go_normal_first and number not in self.normal_once and not (kind_of == 2 and payload == 0x0F):
            return
        if kind_of == 1:
            answer = self._report(kind, number, payload, now)
            if answer is not None:
                self._echo(word, answer)
        elif kind_of == 2 and (payload in (0x0F, 0x55) or payload >= 0xC0):
            self._set(number, payload, now)
            self._echo(word, payload)
        elif kind_of in (3, 4):
            self._step(word, kind, number, kind_of == 4, payload, now)
        elif kind_of == 5:
            self._echo(word, 0xA5)

    def _echo(self, word: int, payload: int) -> None:
        self.status, self.showing = word & 0x3F | payload << 8, None

    def _samples(self, kind: Kind, number: int, now: float) -> int:
        """3 times the binary logarithm of the bits, at most 127."""
        if kind.sample_count is not None:
            return kind.sample_count
        step = self.moved.get(number)
        if step is None:
            return 0
        looked = step.looked(now)
        if step.ended and step.drawn_trip is not None:
            looked = min(looked, step.drawn_trip)
        rate = self.port.owner.speed_gts * 1e9 * ((kind.rate_voltage if step.voltage else kind.rate_timing) + 1) / 64
        return min(127, int(3 * log2(max(1.0, looked * rate))))

    def _report(self, kind: Kind, number: int, payload: int, now: float) -> int | None:
        if payload <= 0x87 or payload >= 0xA0:
            return self.port.retimer_registers.get((number, payload), 0) if number in (2, 4) else None
        bits = (kind.voltage | kind.ind_up_down << 1 | kind.ind_left_right << 2 | kind.reports_rate << 3
                | kind.ind_sampler << 4)
        return {0x88: bits, 0x89: kind.voltage_steps, 0x8A: kind.timing_steps, 0x8B: kind.timing_percent,
                0x8C: kind.voltage_percent, 0x8D: kind.rate_voltage, 0x8E: kind.rate_timing,
                0x8F: self._samples(kind, number, now), 0x90: kind.max_lanes}.get(payload)

    def _set(self, number: int, payload: int, now: float) -> None:
        if payload == 0x0F:
            self.moved.pop(number, None)
            self.limits.pop(number, None)
            self.normal_once.add(number)
        elif payload == 0x55:
            if number in self.moved:
                self.moved[number].arrivals = []
        else:
            self.limits[number] = payload & 0x3F

    def _step(self, word: int, kind: Kind, number: int, voltage: bool, payload: int, now: float) -> None:
        owner = self.port.owner
        owner.step_taken()
        if voltage:
            steps, sided = payload & 0x7F, kind.ind_up_down
            second = bool(payload & 0x80) and sided
            known = kind.voltage and steps <= kind.voltage_steps
        else:
            steps, sided = payload & 0x3F, kind.ind_left_right
            second = bool(payload & 0x40) and sided
            known = steps <= kind.timing_steps
        if not sided and payload & (0x80 if voltage else 0x40):
            self.port.violations.append(f"lane {self.lane}: direction bit set for a receiver without sides")
        self._echo(word, 0)
        if not known or kind.naks:
            self.moved.pop(number, None)
            self.status = word & 0x3F | 0xC0 << 8
            return
        eye = self.port.eye(number, self.lane)
        if voltage:
            per_step = kind.true_voltage_percent / 100 / kind.voltage_steps
            edge = (eye.down if second else eye.up if sided else min(eye.up, eye.down)) / per_step
            rate = owner.speed_gts * 1e9 * (kind.rate_voltage + 1) / 64
        else:
            per_step = kind.true_timing_percent / 100 / kind.timing_steps
            edge = (eye.left if second else eye.right if sided else min(eye.left, eye.right)) / per_step
            rate = owner.speed_gts * 1e9 * (kind.rate_timing + 1) / 64
        exponent = min(-0.3, -8 + DECADES_PER_STEP * (steps - edge))
        errors_per_second = 10 ** max(exponent, -40.0) * rate
        setup = self.port.setup()
        step = Stepping(number, voltage, steps, now + setup, limit=self.limits.get(number, kind.default_limit),
                        never_trips=kind.never_trips)
        at = 0.0
        for _ in range(64):
            at += self.port.rng.expovariate(errors_per_second) if errors_per_second > 1e-12 else 1e12
            if at > 1e6:
                break
            step.arrivals.append(at)
        step.drawn_trip = step.trips_after
        self.moved[number] = step
        self.showing = step
        owner.waits.append(("setup", setup))
        owner.steps.append((self.lane, number, "voltage" if voltage else "timing", second, steps, step))
        owner.step_began(self, step)

    def suspend(self, now: float) -> None:
        self.settle(now)
        for step in self.moved.values():
            if step.paused_since is None:
                step.paused_since = now

    def resume(self, now: float) -> None:
        for step in self.moved.values():
            if step.paused_since is not None:
                step.paused += now - step.paused_since
                step.paused_since = None

    def terminate(self, now: float, freeze: bool) -> None:
        """Recovery ended margining: the samplers are back; the status stays as it was, or goes to its default."""
        shown = self.read(now)
        for step in self.moved.values():
            step.ended, step.shown = True, None
        self.moved.clear()
        self.pending, self.showing = None, None
        self.status = shown if freeze else STATUS_DEFAULT


class PortModel:
    """One end: its lanes and the receivers that answer through it."""

    def __init__(self, owner: object, kinds: dict[int, Kind], max_width: int, seed: int) -> None:
        self.owner, self.kinds, self.max_width = owner, kinds, max_width  # type: ignore[assignment]
        self.owner: MarginOwner
        self.rng = random.Random(seed)
        self.violations: list[str] = []
        self.retimer_registers: dict[tuple[int, int], int] = {}
        self.latency_seconds = (0.0005, 0.004)
        self.setup_seconds = (0.001, 0.020)
        self.lanes = [LaneModel(self, lane) for lane in range(max_width)]

    def latency(self) -> float:
        return self.rng.uniform(*self.latency_seconds)

    def setup(self) -> float:
        return self.rng.uniform(*self.setup_seconds)

    def connected(self, register_lane: int) -> bool:
        return self.owner.logical(register_lane, self.max_width) is not None

    def eye(self, number: int, register_lane: int) -> Eye:
        lane = self.owner.logical(register_lane, self.max_width)
        assert lane is not None
        return self.owner.eyes[number, lane]

    def overrun(self, number: int, now: float) -> bool:
        moved = sum(1 for lane in self.lanes if (step := lane.moved.get(number)) is not None and not step.ended
                    and not step.tripped(now))
        return moved > self.kinds[number].max_lanes + 1


class MarginOwner:
    """What a port asks of the link that it belongs to."""

    speed_gts: float
    waits: list[tuple[str, float]]
    steps: list[tuple[int, int, str, bool, int, Stepping]]
    eyes: dict[tuple[int, int], Eye]
    freezes: Stepping | None

    def logical(self, register_lane: int, max_width: int) -> int | None:
        raise NotImplementedError

    def step_taken(self) -> None:
        raise NotImplementedError

    def step_began(self, lane: LaneModel, step: Stepping) -> None:
        raise NotImplementedError
