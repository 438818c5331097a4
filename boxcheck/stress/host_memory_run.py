"""A run over main memory: pieces of triad and copy, then patterns written and compared, on all cores in step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

from boxcheck.stress import Rig, Sample
from boxcheck.stress.host_cores import Core
from boxcheck.stress.host_memory_patterns import Family, Pattern, splitmix
from boxcheck.stress.host_memory_room import HostRoom
from boxcheck.stress.host_orders import Done, Notes, Order, full_size
from boxcheck.stress.host_team import Team

STREAM_PART = 0.3
"""Of the time; the patterns get the rest."""
STREAM_PIECES = 10
LONGEST_PIECE_SECONDS = 0.5
TAKE_PART = 0.4
"""Of the time for patterns is spent on taking memory and writing the first; fresh pages are slow, and to compare them
takes less."""
REST_SECONDS, REST_PART, TEST_REST_SECONDS = 10.0, 0.1, 0.1
"""Of a rest, and of the time that is rested at most after the first."""
WORDS = (0x5555555555555555, 0x0000000000000000, 0x00FF00FF00FF00FF)
"""Of the inversions, by turns."""
MOST_WORDS = 64


class Step(NamedTuple):
    """One pattern of the plan. `down`: compared, and written over, from the end of the region to its start."""

    family: Family
    pattern: Pattern
    down: bool = False


def plan(seed: int) -> Iterator[Step]:
    """Patterns in the order in which they are written. Neighbours differ in several bits of nearly every word."""

    def keyed(number: int) -> Pattern:
        return Pattern("keyed", int(splitmix((seed * 0x9E3779B97F4A7C15 + number) & 0xFFFFFFFFFFFFFFFF)))

    for number in count():
        word = WORDS[number % len(WORDS)]
        yield Step("address", keyed(2 * number))
        yield Step("inversion", Pattern("word", word))
        yield Step("inversion", Pattern("word", word ^ 0xFFFFFFFFFFFFFFFF), down=True)
        yield Step("inversion", Pattern("word", word))
        yield Step("random", keyed(2 * number + 1), down=number % 2 == 1)


class MemoryRun:
    def __init__(self, rig: Rig, team: Team, cores: Mapping[str, Core], room: HostRoom, notes: Notes) -> None:
        self._rig = rig
        self._team = team
        self._cores = cores
        self._room = room
        self._notes = dict(notes)
        self._rested = 0.0

    # Bandwidth

    def streams(self, words: int) -> Iterator[Sample]:
        """Triad and copy by turns; a sample a piece and node."""
        until = self._rig.seconds * STREAM_PART
        piece = min(LONGEST_PIECE_SECONDS, until / STREAM_PIECES)
        self._team.go(Order(do="streams", settings={"words": words}), "making arrays")
        for number in count():
            what = ("triad", "copy")[number % 2]
            over = self._team.elapsed > until or self._rig.stopping()
            if not self._team.members or (number > 1 and over):
                break
            done = self._team.go(Order(do=what, seconds=piece), what)
            for node, mine in self._by_node(done):
                busy = sum(float(one.notes["busy_seconds"]) for one in mine) / sum(one.seconds for one in mine)
                yield self._sample(f"dram.{what}.node{node}", mine, {
                    "piece": number // 2, "array_mib": round(words * 8 / (1 << 20), 3), "node": node,
                    "cores": len(mine), "busy_percent": round(100 * busy, 1), **_local(mine)})

    # Patterns

    def patterns(self) -> Iterator[Sample]:
        """All patterns, round after round, until the time is over; the address-keyed one, and a rest, always."""
        steps = plan(self._rig.seed)
        step = next(steps)
        began = self._team.elapsed
        seconds = max(0.0, self._rig.seconds - began) * TAKE_PART
        taken = self._team.go(
            Order(do="take", seconds=seconds, settings=_settings(step.pattern, False)),
            "taking memory and writing the first pattern")
        held = sum(int(one.notes["held_bytes"]) for one in taken.values())
        room = self._room
        self._notes |= {
            "held_bytes": held, "available_bytes": room.available_bytes,
            "held_percent": round(100.0 * held / max(1, room.available_bytes), 2),
            "locked": int(all(one.notes["locked"] for one in taken.values())),
            **_local([*taken.values()]),
            "bounded_by": room.bounded_by if held >= 0.99 * room.target_bytes else "the time of the run"}
        last = self._team.elapsed - began
        while self._team.members:
            family: Family = step.family
            if family == "address" and self._rest():
                family = "retention"
            over = self._team.elapsed + last >= self._rig.seconds or self._rig.stopping()
            following = None if over else next(steps)
            started = self._team.elapsed
            yield from self._sweep(family, step, following)
            last = self._team.elapsed - started
            if following is None:
                break
            step = following

    def _sweep(self, family: Family, step: Step, following: Step | None) -> Iterator[Sample]:
        settings = {"down": int(step.down)} if following is None else _settings(following.pattern, step.down)
        done = self._team.go(Order(do="sweep", settings=settings), f"comparing: {family}")
        for node, mine in self._by_node(done):
            notes: dict[str, str | int | float] = {
                "node": node, "cores": len(mine), "pattern": str(step.pattern),
                "swapped_kib": _swapped([one.notes["swapped_kib"] for one in mine])}
            if family == "retention":
                notes["rested_seconds"] = round(self._rested, 1)
            if not all(one.notes["whole"] for one in mine):
                notes["stopped"] = "before the end of the region"
            yield self._sample(f"dram.{family}.node{node}", mine, {**self._notes, **notes})

    def _rest(self) -> bool:
        """Rests when it is time to: once, and then as often as resting takes a tenth of the time."""
        usual = min(REST_SECONDS, REST_PART * self._rig.seconds) if full_size(self._rig) else TEST_REST_SECONDS
        if self._rig.stopping() or (self._rested and self._rested + usual > REST_PART * self._team.elapsed):
            return False
        until = time.monotonic() + usual
        while (left := until - time.monotonic()) > 0 and not self._rig.stopping():
            self._rig.beat(f"resting, {left:.0f} s left", self._team.elapsed / max(self._rig.seconds, 1e-9))
            time.sleep(min(left, 0.2))
        self._rested += usual
        return True

    def _by_node(self, done: Mapping[str, Done]) -> Iterator[tuple[int, list[Done]]]:
        """What the cores of each node did, by the number of the node."""
        nodes: dict[int, list[Done]] = {}
        for name, one in done.items():
            nodes.setdefault(self._cores[name].node, []).append(one)
        yield from sorted(nodes.items())

    def _sample(self, what: str, done: Sequence[Done], notes: Notes) -> Sample:
        """Rates of cores that worked side by side add up."""
        return Sample(
            what=what, gpu=self._rig.gpu.info.key, seconds=max(one.seconds for one in done), unit="GB/s",
            value=sum(one.amount / max(one.seconds, 1e-9) for one in done) / 1e9,
            checked=sum(one.checked for one in done), wrong=sum(one.wrong for one in done),
            words=tuple(word for one in done for word in one.words)[:MOST_WORDS], notes=notes)


def _swapped(each: Sequence[str | int | float]) -> str | int:
    """KiB of all processes in swap; why it is not known where one does not know."""
    return next((one for one in each if isinstance(one, str)), None) or sum(int(one) for one in each)


def _local(done: Sequence[Done]) -> Notes:
    """How much of the memory lies on the core's own node at least, where the kernel tells it."""
    known = [float(one.notes["local_percent"]) for one in done if "local_percent" in one.notes]
    return {"local_percent": min(known)} if known else {}


def _settings(pattern: Pattern, down: bool) -> dict[str, str | int | float]:
    return {"kind": pattern.kind, "key": f"{pattern.key:x}", "down": int(down)}
