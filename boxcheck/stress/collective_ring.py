"""Collectives over a ring of devices, by copies to the next one: reduce-scatter, all-gather, and all-reduce of both.

A vector is cut into as many chunks as there are ranks, as equal as granules allow; a chunk is a buffer of its own. In
reduce-scatter the partial sum of chunk c starts on rank c and goes round, each rank adding its own, and ends on rank
c - 1; in all-gather each chunk goes round from its owner. All steps are put into the queues at once and wait for each
other by marks, without the host. Where a device does not reach the next one's memory, its copies go by way of pinned
memory of the host, one after the other, and the results are named staged.

Source  P. Patarasuk and X. Yuan, Bandwidth optimal all-reduce algorithms (2009).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from boxcheck.gpu import Buffer, GpuError, HostBuffer, Mark
from boxcheck.kernels.catalogue import GRANULES_A_GROUP
from boxcheck.stress import Rig
from boxcheck.stress.products import groups_of
from boxcheck.stress.transfers import GRANULE, Tally, Verifier, megabytes

Collective = Literal["all-reduce", "all-gather", "reduce-scatter"]
COLLECTIVES: tuple[Collective, ...] = ("all-reduce", "all-gather", "reduce-scatter")
FULL_BYTES = 256 << 20
TEST_BYTES = 64 << 10
ODD_GRANULES = 67
"""More than the size that was asked for: then no number of devices divides it."""
SEND, WORK, RELAY = 1, 2, 3
"""Queues: copies to the next rank; kernels that make, add and compare; the second copy of a staged one."""


class Ring:
    """The devices in the order of the run, and memory of each for vectors. Left to the worker to free."""

    def __init__(self, rig: Rig) -> None:
        self.gpus = rig.gpus
        self.count = len(rig.gpus)
        self.keys = [gpu.info.key for gpu in rig.gpus]
        self.verifiers = [Verifier(gpu, WORK) for gpu in rig.gpus]
        self.tallies = [Tally(verifier) for verifier in self.verifiers]
        self.direct = [self._connect(rank) for rank in range(self.count)]
        free = min(verifier.gpu.free_bytes() for verifier in self.verifiers)
        self.granules = min(megabytes(rig, FULL_BYTES, TEST_BYTES), free // 8) // GRANULE + ODD_GRANULES
        if free < 8 * GRANULE * ODD_GRANULES * self.count:
            raise GpuError("out-of-memory", f"{free >> 10} KiB are free on one of the GPUs, too little for the vectors")
        each, more = divmod(self.granules, self.count)
        self.sizes = [each + (chunk < more) for chunk in range(self.count)]
        """Granules of each chunk."""
        self.firsts = [sum(self.sizes[:chunk]) for chunk in range(self.count)]
        self.data = [self._vector(rank) for rank in range(self.count)]
        """[rank][chunk]: what is summed. After a reduce-scatter, the partial sums as they were on each rank."""
        self.out = [self._vector(rank) for rank in range(self.count)]
        """[rank][chunk]: what is gathered."""
        self._received = [self._pair(rank) for rank in range(self.count)]
        self._hosts: dict[int, HostBuffer] = {}
        self.sent_bytes = [0] * self.count
        self.first_hops: list[tuple[Mark, Mark]] = []
        """Of the last collective, on each rank: around the first copy, which waits for no other rank."""

    def _connect(self, rank: int) -> bool:
        """Maps the next device's memory. False where that is not possible."""
        mine, its = self.verifiers[rank].gpu, self.verifiers[self.next_of(rank)].gpu
        if not mine.can_access(its):
            return False
        try:
            mine.enable_peer(its)
        except GpuError as error:
            if error.kind in ("lost", "timeout"):
                raise
            return False
        return True

    @property
    def staged(self) -> bool:
        """Whether any hop goes by way of the host."""
        return not all(self.direct)

    def next_of(self, rank: int) -> int:
        return (rank + 1) % self.count

    def hop(self, rank: int) -> str:
        """The hop that ends at a rank: `cuda:0>cuda:1`."""
        return f"{self.keys[rank - 1]}>{self.keys[rank]}"

    def _vector(self, rank: int) -> list[Buffer]:
        return [self.verifiers[rank].gpu.allocate(max(self.sizes) * GRANULE) for _ in self.sizes]

    def _pair(self, rank: int) -> list[Buffer]:
        return [self.verifiers[rank].gpu.allocate(max(self.sizes) * GRANULE) for _ in range(2)]

    # Data.

    def give_data(self, key: int) -> None:
        """Every rank's vector, keyed by rank; poison into what receives."""
        for rank, verifier in enumerate(self.verifiers):
            for buffer, first, size in zip(self.data[rank], self.firsts, self.sizes, strict=True):
                verifier.fill(buffer, first, size, (key + rank) & 0xFFFFFFFF)
            for buffer in self._received[rank]:
                verifier.poison(buffer, max(self.sizes))

    def give_shards(self, key: int) -> None:
        """Every rank's own chunk of the gathered vector; poison into the others."""
        for rank, verifier in enumerate(self.verifiers):
            for chunk, buffer in enumerate(self.out[rank]):
                if chunk == rank:
                    verifier.fill(buffer, self.firsts[chunk], self.sizes[chunk], (key + rank) & 0xFFFFFFFF)
                else:
                    verifier.poison(buffer, self.sizes[chunk])

    def poison_out(self) -> None:
        for rank, verifier in enumerate(self.verifiers):
            for buffer, size in zip(self.out[rank], self.sizes, strict=True):
                verifier.poison(buffer, size)

    # Comparison. Each returns how many words are compared on a rank.

    def check_gathered(self, rank: int, key: int, poison: bool = False) -> int:
        """Compares all chunks with their owners' data; with `poison`, those of others hold poison again then."""
        verifier, tally = self.verifiers[rank], self.tallies[rank]
        for chunk, buffer in enumerate(self.out[rank]):
            check = verifier.check_and_poison if poison and chunk != rank else verifier.check
            check(buffer, self.firsts[chunk], self.sizes[chunk], (key + chunk) & 0xFFFFFFFF, tally)
        return 4 * self.granules

    def check_reduced(self, rank: int, key: int) -> int:
        """Compares the chunk that this rank has the sum of."""
        chunk = self.next_of(rank)
        self.verifiers[rank].check_sum(
            self.data[rank][chunk], self.firsts[chunk], self.sizes[chunk], key, self.count, self.tallies[rank])
        return 4 * self.sizes[chunk]

    def check_summed(self, rank: int, key: int) -> int:
        """Compares the whole sum."""
        for buffer, first, size in zip(self.out[rank], self.firsts, self.sizes, strict=True):
            self.verifiers[rank].check_sum(buffer, first, size, key, self.count, self.tallies[rank])
        return 4 * self.granules

    # Transfers.

    def start(self) -> list[Mark]:
        """Lets the copies of every rank wait until all kernels that were put in are done, and marks that moment."""
        ready = [verifier.gpu.mark(WORK) for verifier in self.verifiers]
        for gpu in self.gpus:
            for mark in ready:
                gpu.wait_for(mark, SEND)
        return [gpu.mark(SEND) for gpu in self.gpus]

    def end(self, arrived: Sequence[Mark]) -> list[Mark]:
        """Marks when a rank has sent, and has all that `arrived` stands for; later kernels start after that."""
        for rank, gpu in enumerate(self.gpus):
            gpu.wait_for(arrived[rank], SEND)
        marks = [gpu.mark(SEND) for gpu in self.gpus]
        for rank, verifier in enumerate(self.verifiers):
            verifier.gpu.wait_for(marks[rank], WORK)
        return marks

    def seconds(self, first: Sequence[Mark], last: Sequence[Mark]) -> float:
        """Device time of the slowest rank."""
        return max(gpu.seconds_between(*marks) for gpu, *marks in zip(self.gpus, first, last, strict=True))

    def _add(self, rank: int, target: Buffer, more: Buffer, size: int) -> None:
        if size:
            groups = groups_of(size, GRANULES_A_GROUP)
            self.gpus[rank].launch(
                self.verifiers[rank].program, "bc_add", groups, [target, more, size], queue=WORK)

    def hop_seconds(self, rank: int) -> float:
        """Device time of the first copy of the last collective."""
        return self.gpus[rank].seconds_between(*self.first_hops[rank])

    def _send(self, rank: int, target: Buffer, source: Buffer, size: int) -> Mark:
        """Sends a chunk to the next rank; the mark is its arrival."""
        if not size:
            return self.gpus[rank].mark(SEND)
        self.sent_bytes[rank] += size * GRANULE
        if self.direct[rank]:
            self.gpus[rank].copy(target, source, size * GRANULE, queue=SEND)
            return self.gpus[rank].mark(SEND)
        other = self.gpus[self.next_of(rank)]
        if rank not in self._hosts:
            self._hosts[rank] = self.verifiers[rank].gpu.host_buffer(max(self.sizes) * GRANULE)
        self.gpus[rank].copy(self._hosts[rank], source, size * GRANULE, queue=SEND)
        self.gpus[rank].finish(SEND)
        other.copy(target, self._hosts[rank], size * GRANULE, queue=RELAY)
        other.finish(RELAY)
        return other.mark(RELAY)

    def reduce_scatter(self) -> list[Mark]:
        """Rank r ends with the sum of chunk r + 1 in `data`. Marks when each rank has it."""
        added: list[list[Mark]] = []
        self.first_hops = []
        for step in range(self.count - 1):
            arrived: list[Mark] = []
            for rank, gpu in enumerate(self.gpus):
                chunk, after = (rank - step) % self.count, self.next_of(rank)
                if step:
                    gpu.wait_for(added[-1][rank], SEND)
                if step > 1:  # the receiver has added what this buffer held
                    gpu.wait_for(added[-2][after], SEND)
                before = gpu.mark(SEND)
                arrived.append(self._send(
                    rank, self._received[after][step % 2], self.data[rank][chunk], self.sizes[chunk]))
                if step == 0:
                    self.first_hops.append((before, gpu.mark(SEND)))
            done: list[Mark] = []
            for rank, verifier in enumerate(self.verifiers):
                chunk = (rank - 1 - step) % self.count
                verifier.gpu.wait_for(arrived[rank - 1], WORK)
                self._add(rank, self.data[rank][chunk], self._received[rank][step % 2], self.sizes[chunk])
                done.append(verifier.gpu.mark(WORK))
            added.append(done)
        return added[-1]

    def all_gather(self, owned: Callable[[int], int], ready: Sequence[Mark] | None = None) -> list[Mark]:
        """Every rank ends with every chunk in `out`; rank r begins with chunk owned(r). Marks when it has all."""
        arrived = list(ready) if ready is not None else None
        if ready is None:
            self.first_hops = []
        for step in range(self.count - 1):
            sent: list[Mark] = []
            for rank, gpu in enumerate(self.gpus):
                chunk = (owned(rank) - step) % self.count
                if arrived is not None:
                    gpu.wait_for(arrived[rank], SEND)
                before = gpu.mark(SEND)
                sent.append(self._send(
                    rank, self.out[self.next_of(rank)][chunk], self.out[rank][chunk], self.sizes[chunk]))
                if arrived is None:
                    self.first_hops.append((before, gpu.mark(SEND)))
            arrived = [sent[rank - 1] for rank in range(self.count)]
        assert arrived is not None
        return arrived

    def all_reduce(self) -> list[Mark]:
        """Every rank ends with the whole sum in `out`."""
        summed = self.reduce_scatter()
        kept: list[Mark] = []
        for rank, gpu in enumerate(self.gpus):
            chunk = self.next_of(rank)
            gpu.wait_for(summed[rank], SEND)
            if self.sizes[chunk]:
                gpu.copy(self.out[rank][chunk], self.data[rank][chunk], self.sizes[chunk] * GRANULE, queue=SEND)
            kept.append(gpu.mark(SEND))
        return self.all_gather(self.next_of, kept)
