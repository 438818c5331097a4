"""What becomes of damaged bits: which end logs what, and how much of it the kernel counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.riser.boxes.chance import geometric, poisson

TLP_WIRE = 0.87
"""Payload in the wire bytes of a packet."""
DLLP_SHARE = 0.03
IDLE_SEEN = 0.3
"""Of hits on idle symbols at 8 GT/s and above, those that make a receiver error; the rest is seen by nobody."""
TWO_CLASSES = {True: 0.9, False: 0.12}
"""A damaged packet is a receiver error too: nearly always with 8b/10b (true), seldom with 128b/130b."""
ACK_MISSED = 0.1
"""A lost acknowledgement is made good by the next, mostly; else the sender of the packet times out."""
ROLLOVER = 0.02
"""Of bursts of eight and more, those that hit a packet four times in a row."""
MOST = 2000
"""Events that are made one by one; of more, a part of the time is made and scaled."""
IN_A_BURST_SECONDS = 0.004


@dataclass
class Hits:
    """Moments of one direction's events in a look, by class. The last two are logged by the end that sends."""

    rx: list[float] = field(default_factory=list)
    tlp: list[float] = field(default_factory=list)
    dllp: list[float] = field(default_factory=list)
    unacknowledged: list[float] = field(default_factory=list)
    """Time-outs at the end that receives this direction: it waits for acknowledgements that were damaged here."""
    rollover: list[float] = field(default_factory=list)
    scale: float = 1.0
    """Each moment stands for so many, over the same time."""
    of: set[int] = field(default_factory=set)
    """Numbers of the faults that made some."""


def hit(source: Random, into: Hits, mean: float, burst: float, payload: float, generation: int, seconds: float) -> int:
    """Adds the events of one fault in one look; how many became something that a counter can see."""
    bursts = poisson(source, mean / burst)
    if bursts > MOST:
        into.scale, bursts = max(into.scale, bursts / MOST), MOST
    seen = 0
    in_packets = payload / TLP_WIRE
    for _ in range(bursts):
        at, size = source.uniform(0.0, seconds), geometric(source, burst)
        if size >= 8 and source.random() < ROLLOVER:
            into.rollover.append(at)
        for _ in range(size):
            where = source.random()
            if where < in_packets:
                into.tlp.append(at)
                if source.random() < TWO_CLASSES[generation < 3]:
                    into.rx.append(at)
            elif where < in_packets + DLLP_SHARE:
                into.dllp.append(at)
                if source.random() < ACK_MISSED:
                    into.unacknowledged.append(at)
            elif source.random() < IDLE_SEEN or generation < 3:
                into.rx.append(at)
            else:
                at += source.expovariate(1 / IN_A_BURST_SECONDS)
                continue
            seen += 1
            at += source.expovariate(1 / IN_A_BURST_SECONDS)
    return seen


def counted(moments: Sequence[float], scale: float, dead_seconds: float) -> tuple[int, int]:
    """What the kernel counts of a class, and the most of it between two readings a second apart."""
    # The moments are those of a sample: so many are lost in between as if all had been drawn.
    total, last, dead = 0, -1e9, dead_seconds * scale
    by_second: dict[int, int] = {}
    for at in sorted(moments):
        if at - last >= dead:
            total, last = total + 1, at
            by_second[int(at)] = by_second.get(int(at), 0) + 1
    return round(total * scale), round(max(by_second.values(), default=0) * scale)
