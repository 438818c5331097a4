"""Payloads for every ordered pair of devices, and their transfer: several at the same time, in rounds, all verified."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import msgspec

from boxcheck.gpu import Buffer, Gpu, GpuError, HostBuffer, Mark
from boxcheck.kernels import reference
from boxcheck.kernels.catalogue import GRANULES_A_GROUP
from boxcheck.stress import Rig, WrongWord
from boxcheck.stress.host_look import Seen, look
from boxcheck.stress.p2p_plan import STAGED, Ends, Piece, Way
from boxcheck.stress.products import groups_of
from boxcheck.stress.transfers import (
    GRANULE,
    MOST_WORDS,
    Tally,
    Verifier,
    explain,
    key_of,
    megabytes,
    power_of_two,
    rate_of,
)

FULL_BYTES = 64 << 20
TEST_BYTES = 64 << 10
SMALL_BYTES = 64 << 10
SMALL_TEST_BYTES = 4 << 10
SLICES = 4
READ_BACK_PLACES, READ_BACK_BYTES = 4, 16 << 10
"""Of a piece's last payload, so much is compared by the host as well."""
MOST_MARKS = 1024
"""Transfers of one piece that are in the queues at once."""


class Link(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One ordered pair: memory at both ends, and where its payload lies in the run's numbering."""

    ends: Ends
    name: str
    first: int
    sent: Buffer
    got: Buffer
    tally: Tally


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """What one link did in a piece: bytes of all rounds, all of them compared."""

    ends: Ends
    seconds: float
    gigabytes_per_second: float
    """Of the median round."""
    moved_bytes: int
    rounds: int
    wrong: int
    words: tuple[WrongWord, ...]


class Fabric:
    """The devices of a run and their links. Memory is left to the worker to free."""

    def __init__(self, rig: Rig) -> None:
        self.gpus = rig.gpus
        self.seed = rig.seed
        self.verifiers = [Verifier(gpu) for gpu in rig.gpus]
        self.keys = [gpu.info.key for gpu in rig.gpus]
        self.reach: dict[Ends, bool] = {}
        self.links: dict[Ends, Link] = {}
        self.size_bytes = megabytes(rig, FULL_BYTES, TEST_BYTES)
        self.small_bytes = SMALL_BYTES if rig.full_size else SMALL_TEST_BYTES
        self._pieces = 0
        self._hosts: dict[int, HostBuffer] = {}

    def connect(self) -> dict[Ends, tuple[str, str]]:
        """Asks every device for every other, and maps its memory: yes, no or refused, and what the runtime said."""
        answers = {}
        for one, other in permutations(range(len(self.gpus)), 2):
            mine, its = self.verifiers[one].gpu, self.verifiers[other].gpu
            answer, says = ("yes", "") if mine.can_access(its) else ("no", "")
            if answer == "yes":
                try:
                    mine.enable_peer(its)
                except GpuError as error:
                    if error.kind in ("lost", "timeout"):
                        raise
                    answer, says = "refused", error.says
            answers[one, other] = (answer, says)
            self.reach[one, other] = answer == "yes"
        return answers

    def allocate(self) -> None:
        """Memory for a payload in each direction of each pair."""
        count = len(self.gpus)
        free = min(verifier.gpu.free_bytes() for verifier in self.verifiers)
        self.size_bytes = min(power_of_two(self.size_bytes), power_of_two(free // (4 * count)))
        if self.size_bytes < self.small_bytes:
            raise GpuError("out-of-memory", f"{free >> 10} KiB are free on one of the GPUs, too little for payloads")
        self.granules = self.size_bytes // GRANULE
        for source, target in permutations(range(count), 2):
            number = source * count + target
            self.links[source, target] = Link(
                ends=(source, target), name=f"{self.keys[source]}>{self.keys[target]}", first=number * self.granules,
                sent=self.verifiers[source].gpu.allocate(self.size_bytes),
                got=self.verifiers[target].gpu.allocate(self.size_bytes), tally=Tally(self.verifiers[target]))

    def place(self, granule: int) -> str | None:
        """Which payload a granule belongs to, and where it lies there."""
        number, at = divmod(granule, self.granules)
        link = self.links.get(divmod(number, len(self.gpus)))
        return None if link is None else f"byte 0x{GRANULE * at:x} of {link.name}"

    def carry(self, piece: Piece, size_bytes: int, rounds: int) -> list[Carried]:
        """Sends the first `size_bytes` of every link's payload in each round, and compares all of it each time."""
        links = [self.links[ends] for ends in piece.links]
        granules = size_bytes // GRANULE
        self._pieces += 1
        keys = [key_of(self.seed, self._pieces, number) for number in range(rounds)]
        for link in links:
            target = self.verifiers[link.ends[1]]
            link.tally.clear()
            target.poison(link.got, granules)
        spans: list[list[float | tuple[Mark, Mark]]] = [[] for _ in links]
        for number, key in enumerate(keys):
            for link in links:
                self.verifiers[link.ends[0]].fill(link.sent, link.first, granules, key)
            if piece.way is STAGED:
                spans[0].append(self._stage(links[0], size_bytes))
            else:
                for span, marks in zip(spans, self._start(links, piece.way, size_bytes), strict=True):
                    span.append(marks)
            for link in links:
                target = self.verifiers[link.ends[1]]
                compare = target.check if number == rounds - 1 else target.check_and_poison
                compare(link.got, link.first, granules, key, link.tally)
        return [
            self._result(link, piece.way, span, size_bytes, keys) for link, span in zip(links, spans, strict=True)]

    def _doer(self, link: Link, way: Way) -> tuple[Gpu, int]:
        """The device that moves the payload, and the queue: one for each other end, so that they run side by side."""
        source, target = link.ends
        return (self.gpus[target], 1 + source) if way.reads else (self.gpus[source], 1 + target)

    def _start(self, links: Sequence[Link], way: Way, size_bytes: int) -> list[tuple[Mark, Mark]]:
        """Puts one transfer of each link into the queues. None starts before all ends are ready; what is put on queue 0
        of an end from now on starts after it."""
        involved = sorted({end for link in links for end in link.ends})
        ready = [self.verifiers[end].gpu.mark(0) for end in involved]
        doers = [self._doer(link, way) for link in links]
        for gpu, queue in doers:
            for mark in ready:
                gpu.wait_for(mark, queue)
        first = [gpu.mark(queue) for gpu, queue in doers]
        if way.kernel:
            for link, (gpu, queue) in zip(links, doers, strict=True):
                program = self.verifiers[link.ends[way.reads]].program
                granules = size_bytes // GRANULE
                groups = groups_of(granules, GRANULES_A_GROUP)
                gpu.launch(program, "bc_copy", groups, [link.got, link.sent, granules], queue=queue)
        else:
            part = size_bytes // SLICES
            for at in range(SLICES):
                for link, (gpu, queue) in zip(links, doers, strict=True):
                    gpu.copy(
                        link.got, link.sent, part, target_offset=at * part, source_offset=at * part, queue=queue)
        last = [gpu.mark(queue) for gpu, queue in doers]
        for link, mark in zip(links, last, strict=True):
            for end in link.ends:
                self.verifiers[end].gpu.wait_for(mark, 0)
        return list(zip(first, last, strict=True))

    def _stage(self, link: Link, size_bytes: int) -> float:
        """Seconds, by the host's clock, of a payload that goes through the host's memory, slice by slice."""
        source, target = (self.gpus[end] for end in link.ends)
        if link.ends[0] not in self._hosts:
            self._hosts[link.ends[0]] = self.verifiers[link.ends[0]].gpu.host_buffer(self.size_bytes)
        host = self._hosts[link.ends[0]]
        self.verifiers[link.ends[0]].gpu.finish(0)
        self.verifiers[link.ends[1]].gpu.finish(0)
        began, part = time.perf_counter(), size_bytes // SLICES
        for at in range(0, SLICES * part, part):
            source.copy(host, link.sent, part, target_offset=at, source_offset=at, queue=1)
            source.finish(1)
            target.copy(link.got, host, part, target_offset=at, source_offset=at, queue=1)
            target.finish(1)
        return time.perf_counter() - began

    def _result(self, link: Link, way: Way, span: Sequence[Any], size_bytes: int, keys: Sequence[int]) -> Carried:
        gpu = self._doer(link, way)[0]
        times = [one if isinstance(one, float) else gpu.seconds_between(*one) for one in span]
        wrong, records = link.tally.read()
        part = size_bytes // SLICES
        words = [
            explain(
                record, link.first, keys, self.place,
                moved=lambda word: "" if way.kernel else f" (copy {4 * word // part} of {SLICES})")
            for record in records[:MOST_WORDS]]
        unseen = Seen() if wrong else look(
            self.verifiers[link.ends[1]].gpu, link.got, size_bytes // GRANULE,
            lambda granule, count: reference.pattern(link.first + granule, count, 0, keys[-1]), keys[-1],
            places=READ_BACK_PLACES, place_bytes=READ_BACK_BYTES)
        return Carried(
            ends=link.ends, seconds=sum(times), gigabytes_per_second=rate_of(size_bytes, times),
            moved_bytes=size_bytes * len(keys), rounds=len(keys),
            wrong=wrong or unseen.wrong, words=tuple((words or unseen.words)[:MOST_WORDS]))


class Pace:
    """How many rounds a piece has, so that it takes about as long as it should, verification included."""

    def __init__(self, seconds: float, first: int) -> None:
        self.seconds = seconds
        self.first = first
        """Rounds of a piece that is run for the first time."""
        self._of: dict[Piece, float] = {}

    def rounds(self, piece: Piece) -> int:
        one = self._of.get(piece)
        most = max(1, MOST_MARKS // len(piece.links))
        return self.first if one is None else max(self.first, min(most, round(self.seconds / max(one, 1e-6))))

    def took(self, piece: Piece, rounds: int, seconds: float) -> None:
        self._of[piece] = seconds / rounds


def moved_of(keys: Sequence[str], ends: Ends, way: Way, moved_bytes: int) -> Mapping[str, int]:
    """Bytes over each link by direction."""
    source, target = (keys[end] for end in ends)
    if way is STAGED:
        return {f"{source}>host": moved_bytes, f"host>{target}": moved_bytes}
    return {f"{source}>{target}": moved_bytes}
