"""A run of one GPU and one step of three seconds, in a store that is still open."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from boxcheck.model import BOX
from boxcheck.registry import failed
from boxcheck.store.creating import create_run
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.store.writer import RunWriter
from tests.store.machine import HandClock, Machine


class Small(NamedTuple):
    store: RunWriter
    hand: HandClock
    machine: Machine


def small_run(folder: Path, *, plan: Any = None, wall: float | None = None) -> Small:
    """Its step has begun, and found a failure. `wall`: where the wall clock begins."""
    hand, machine = HandClock(), Machine(1, links=2)
    hand.wall = hand.wall if wall is None else wall
    store = create_run(str(folder), RunInfo(kind="burn", version="0.4.0", plan=plan), clock=hand.clock())
    store.plan_phase(PhasePlan(number=1, name="matmul", module="matmul"))
    store.about(1, "work")
    store.begin_phase(1, PhaseStart(gpus=machine.gpus))
    for _ in range(3):
        hand.pass_by(1)
        store.watched(1, machine.told_by(0, hand.monotonic))
        store.sample(1, machine.sample(0))
    store.findings(1, [failed(BOX, "61 bad TLPs")])
    return Small(store, hand, machine)
