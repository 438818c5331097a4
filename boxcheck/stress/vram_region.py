"""The memory under test: blocks that hold one pattern together, filled and compared by kernels.

Granules (16 bytes) are numbered through all blocks, so that in one pass an address-keyed word names its place, one in
each 64 GiB, and a value that belongs elsewhere tells where. A pass always goes over the blocks in the same order:
between two visits of a word lies the traffic of the whole region, many times what caches hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from types import TracebackType

import msgspec
import numpy as np

from boxcheck.gpu import Buffer, Gpu, GpuError, Mark
from boxcheck.kernels.catalogue import GRANULES_A_GROUP, memory
from boxcheck.stress.products import groups_of
from boxcheck.stress.transfers import GRANULE, counted, counted_records
from boxcheck.stress.vram_patterns import POISON, WORD, Pattern
from boxcheck.stress.vram_pulse import Pulse

MOST_RECORDS = 64
"""Wrong words of a block that one pass keeps; all are counted."""
PROOF_GRANULES = 3 * GRANULES_A_GROUP + 5
IN_FLIGHT = 4
"""Blocks that are started before the first of them is waited for."""


class Block(msgspec.Struct, frozen=True):
    """One allocation."""

    number: int
    buffer: Buffer
    first: int
    """Number of its first granule."""
    granules: int
    errors: Buffer

    @property
    def groups(self) -> int:
        return groups_of(self.granules, GRANULES_A_GROUP)

    @property
    def size_bytes(self) -> int:
        return self.granules * GRANULE


class Wrong(msgspec.Struct, frozen=True):
    """What one pass found wrong in one block."""

    block: Block
    count: int
    records: tuple[tuple[int, int, int, int], ...]
    """Index of the word in the region, expected, found, found when read again."""


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass over the region came to."""

    seconds: float
    """Device time."""
    words: int
    """Compared. Less than the region has when somebody stopped it."""
    moved_bytes: int
    wrong: tuple[Wrong, ...]
    whole: bool


class Region:
    """Blocks of one device. A context manager: it gives the memory back when all went well; a worker frees the rest."""

    comparable_bytes = 64 << 20

    def __init__(self, gpu: Gpu, pulse: Pulse) -> None:
        self.gpu = gpu
        self.real: Gpu = getattr(gpu, "real", gpu)
        self.pulse = pulse
        self.blocks: list[Block] = []
        self.program = self.real.build(memory())
        self._scratch: Buffer | None = None
        self.proof: tuple[Buffer, Buffer] | None = None
        """Apart from the memory under test: what kernels are proven on, and where they note what they find."""
        self._best: dict[int, float] = {}
        """Number of a block to the shortest time that a granule of it took."""

    def __enter__(self) -> Region:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, GeneratorExit):
            for block in self.blocks:
                block.buffer.free()
                block.errors.free()
            for buffer in (self._scratch, *(self.proof or ())):
                if buffer is not None:
                    buffer.free()

    # Memory.

    def take(self, target_bytes: int, sizes: Sequence[int], may_go_on: Callable[[], bool] = lambda: True) -> None:
        """Allocates blocks until `target_bytes` are held, the device has no more, or `may_go_on` says no.

        Each block is written once as soon as it is there: drivers give memory out when it is first used.
        """
        for size in sizes:
            while self.held_bytes + size <= target_bytes and may_go_on() and not self.pulse.stopping():
                if not self._take_one(size):
                    break
                self.pulse.beat(f"allocating: {self.held_bytes >> 20} MiB")

    def _take_one(self, size_bytes: int) -> bool:
        """False where the memory is used up: that is the end of allocation, no failure."""
        taken: list[Buffer] = []
        try:
            if self._scratch is None:  # now, while there is memory
                self._scratch = self.real.allocate(64)
                self.proof = (
                    self.real.allocate(PROOF_GRANULES * GRANULE), self.real.allocate(16 + 24 * MOST_RECORDS))
            for size in (size_bytes, 16 + 24 * MOST_RECORDS):
                taken.append(self.real.allocate(size))
            first = self.blocks[-1].first + self.blocks[-1].granules if self.blocks else 0
            block = Block(len(self.blocks), taken[0], first, size_bytes // GRANULE, taken[1])
            self.real.write(block.errors, np.zeros(4, np.uint32))
            self.real.launch(
                self.program, "bc_memory_fill", block.groups,
                [block.buffer, block.first, block.granules, WORD, POISON])
            self.real.finish()
        except GpuError as error:
            for buffer in taken:
                buffer.free()
            if error.kind != "out-of-memory":
                raise
            return False
        self.blocks.append(block)
        return True

    @property
    def held_bytes(self) -> int:
        return sum(block.size_bytes for block in self.blocks)

    @property
    def granules(self) -> int:
        return self.held_bytes // GRANULE

    def block_of(self, index: int) -> Block:
        """The block that a word of the region lies in."""
        return next(block for block in self.blocks if index // 4 < block.first + block.granules)

    def where(self, index: int) -> str:
        """`block 3 of 22, byte offset 0x1f40, device word 4026531840`; the device's address too, where it is told."""
        block = self.block_of(index)
        offset = 4 * index - block.first * GRANULE
        address = getattr(block.buffer, "address", 0)
        told = f", device address 0x{address + offset:x}" if isinstance(address, int) and address else ""
        return f"block {block.number + 1} of {len(self.blocks)}, byte offset 0x{offset:x}{told}, device word {index}"

    # Passes.

    def poison(self) -> None:
        """Writes what no pattern has, without a fault that was put in: a first write that is lost shows."""
        for block in self.blocks:
            self.real.launch(
                self.program, "bc_memory_fill", block.groups,
                [block.buffer, block.first, block.granules, WORD, POISON])
        self.real.finish()

    def fill(self, pattern: Pattern, text: str) -> Pass:
        def launch(block: Block) -> None:
            self.gpu.launch(
                self.program, "bc_memory_fill", block.groups,
                [block.buffer, block.first, block.granules, pattern.kind, pattern.key])

        return self._sweep(launch, text, accesses=1, compares=False)

    def check(self, pattern: Pattern, text: str) -> Pass:
        def launch(block: Block) -> None:
            self.gpu.launch(
                self.program, "bc_memory_check", block.groups,
                [block.buffer, block.first, block.granules, pattern.kind, pattern.key, block.errors, MOST_RECORDS])

        return self._sweep(launch, text, accesses=1, compares=True)

    def check_and_fill(self, pattern: Pattern, following: Pattern, down: bool, text: str) -> Pass:
        """Compares with one pattern and writes the next over it; `down`: from the end of each block to its start."""

        def launch(block: Block) -> None:
            self.gpu.launch(
                self.program, "bc_memory_check_fill", block.groups,
                [block.buffer, block.first, block.granules, pattern.kind, pattern.key, following.kind, following.key,
                 int(down), block.errors, MOST_RECORDS])

        return self._sweep(launch, text, accesses=2, compares=True)

    def _sweep(self, launch: Callable[[Block], None], text: str, *, accesses: int, compares: bool) -> Pass:
        marks: list[Mark] = [self.gpu.mark()]
        done: list[Block] = []
        for block in self.blocks:
            if self.pulse.stopping():
                break
            launch(block)
            marks.append(self.gpu.mark())
            done.append(block)
            if len(marks) > IN_FLIGHT:
                self.gpu.seconds_between(marks[-IN_FLIGHT], marks[1 - IN_FLIGHT])
            self.pulse.beat(f"{text}: block {len(done)} of {len(self.blocks)}")
        seconds = [self.gpu.seconds_between(*pair) for pair in pairwise(marks)]
        if accesses == 2:
            for block, each in zip(done, seconds, strict=True):
                self._best[block.number] = min(self._best.get(block.number, each), each)
        granules = sum(block.granules for block in done)
        return Pass(
            seconds=sum(seconds), words=4 * granules if compares else 0, moved_bytes=accesses * granules * GRANULE,
            wrong=tuple(self._wrong(done)) if compares else (), whole=len(done) == len(self.blocks))

    def _wrong(self, blocks: Sequence[Block]) -> Iterator[Wrong]:
        for block in blocks:
            if counted(self.gpu, block.errors):
                count, records = counted_records(self.gpu, block.errors, MOST_RECORDS)
                yield Wrong(block, count, tuple(records))
                self.gpu.write(block.errors, np.zeros(4, np.uint32))

    def traffic(self, besides: Block, pattern: Pattern) -> None:
        """Reads another block, so that what was last used leaves the caches."""
        others = [block for block in self.blocks if block is not besides] or [besides]
        largest = max(others, key=lambda block: block.granules)
        assert self._scratch is not None
        self.gpu.launch(
            self.program, "bc_memory_check", largest.groups,
            [largest.buffer, largest.first, largest.granules, pattern.kind, pattern.key, self._scratch, 0])
        self.gpu.finish()

    def slowest(self) -> tuple[int, float] | None:
        """The block that is slowest at its best, and its rate in percent of the middle block's; None where there are
        too few to compare. Short blocks are left out, whose time is that of starting a kernel."""
        rates = sorted((block.granules / self._best[block.number], block.number) for block in self.blocks
                       if block.size_bytes >= self.comparable_bytes and self._best.get(block.number))
        if len(rates) < 3:
            return None
        rate, number = rates[0]
        return number, 100.0 * rate / rates[len(rates) // 2][0]
