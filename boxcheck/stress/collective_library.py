"""NCCL or RCCL beside boxcheck's ring: the same collectives over data of the same keys, compared as the ring's are.

Each rank has a contiguous vector to send and one to receive, which holds poison before each collective. The ring moves
data by copy engines, the library by kernels, or by way of the host where it thinks fit. A vector is cut to a multiple
of the number of ranks, which the library wants.

What came of looking for it stands in the notes of the ring's samples:

library          the library with its version, or why it is not used
library_state    see `State`
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Literal

from boxcheck.gpu import Buffer, GpuError
from boxcheck.gpu.vendor_library import LibraryError
from boxcheck.gpu.vendor_nccl import Nccl, open_collectives
from boxcheck.model import Unread
from boxcheck.stress import Rig, Sample, WrongWord, bits_word
from boxcheck.stress.collective import LIBRARY, bus_factor
from boxcheck.stress.collective_ring import WORK, Collective, Ring
from boxcheck.stress.collective_round import MOST_ROUNDS
from boxcheck.stress.transfers import GRANULE, MOST_WORDS, POISON, Record, key_of, rate_of, real

State = Literal[
    "absent",  # there is no such library
    "unsupported",  # the backend's vendor has none
    "unusable",  # it is there and refuses, or there is no memory for its vectors
    "hung",  # a collective did not end and was aborted
    "found",
]
HANG_SECONDS = 30.0
"""For one collective; the usual vector takes as long at 0.02 GB/s. Less than the supervisor's patience, so that what
hangs in the library alone is ended there, and the GPUs go on."""
BEAT_SECONDS = 1.0
Found = list[tuple[int, list[Record]]]
"""How many words were wrong on each rank, and the first of them."""


def look(rig: Rig) -> Nccl | Unread | None:
    """The library, looked for unless option `engine=own` leaves it out or a fault is put in, which happens in copies.
    None where it is not looked for. GpuError when `engine=library` was asked for and there is none."""
    asked = rig.options.get("engine")
    if asked not in (None, "own", "library"):
        raise GpuError("unsupported", f"engine={asked} is neither own nor library")
    found = None
    if asked != "own" and all(real(gpu) is gpu for gpu in rig.gpus):
        rig.working("the vendor's library")
        found = open_collectives(rig.gpus, rig.working)
        rig.working(None)
    if asked == "library" and (found is None or isinstance(found, Unread)):
        why = "it works with no injected fault" if found is None else found.why
        raise GpuError("unsupported", f"engine=library: {why}")
    return found


class Beside:
    """The library over the devices of a ring, for as long as the block lasts."""

    def __init__(self, rig: Rig, ring: Ring) -> None:
        self._rig = rig
        self._ring = ring
        self._library: Nccl | None = None
        self._state: State | None = None
        self._says = ""
        self._warm: set[Collective] = set()
        self._each = ring.granules // ring.count
        self._vector = self._each * ring.count
        found = look(rig)
        if isinstance(found, Unread):
            states: dict[str, State] = {"absent": "absent", "unsupported": "unsupported"}
            self._state, self._says = states.get(found.kind, "unusable"), found.why
        elif found is not None:
            self._take(found)

    def _take(self, library: Nccl) -> None:
        self._library, self._state, self._says = library, "found", library.engine
        self._send: list[Buffer] = []
        self._out: list[Buffer] = []
        try:
            for verifier in self._ring.verifiers:
                for vectors in (self._send, self._out):
                    vectors.append(verifier.gpu.allocate(self._vector * GRANULE))
        except GpuError as error:
            self.close()
            if error.kind != "out-of-memory":
                raise
            for buffer in (*self._send, *self._out):
                buffer.free()
            self._state, self._says = "unusable", f"no memory is left for the vectors of {library.engine}: {error.says}"

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, GpuError) or error.kind != "lost":  # what is lost answers no more
            self.close()

    def close(self, abort: bool = False) -> None:
        """Lets go of the library, with `abort` after an error of its own. Never raises."""
        library, self._library = self._library, None
        if library is not None:
            with suppress(GpuError):
                self._rig.working(library.engine)
            library.close(abort)
            with suppress(GpuError):
                self._rig.working(None)

    @property
    def notes(self) -> Mapping[str, str]:
        return {} if self._state is None else {"library": self._says, "library_state": self._state}

    def run(self, name: Collective, seconds: float, seed: int, done: float) -> Iterator[Sample]:
        """One collective for about these seconds, on other data each time, and a sample for each rank. A library that
        refuses or hangs gives one that verified nothing, and is used no more. Nothing where there is no library."""
        library = self._library
        if library is None:
            return
        try:
            self._rig.working(library.engine)
            self._rig.beat(name, done)
            samples = self._measure(library, name, seconds, seed, done)
            self._rig.working(None)
        except LibraryError as error:
            self._state, self._says = "hung" if error.kind == "timeout" else "unusable", error.says
            self.close(abort=True)
            samples = [Sample(
                what=f"{LIBRARY}.{name}", gpu=self._ring.keys[0], seconds=0.0, checked=0, wrong=0,
                notes={"engine": library.engine, **self.notes})]
        except GpuError as error:
            help = "; ".join(filter(None, (error.help, "--option engine=own leaves the library out")))
            raise GpuError(error.kind, f"{error.says}, while {library.engine} worked", help) from None
        yield from samples

    def _measure(self, library: Nccl, name: Collective, seconds: float, seed: int, done: float) -> list[Sample]:
        ring, times, rounds = self._ring, list[float](), 0
        for tally in ring.tallies:
            tally.clear()
        began, key, found = time.monotonic(), 0, Found()
        while not times or (
                time.monotonic() - began < seconds and rounds < MOST_ROUNDS and not any(count for count, _ in found)
                and not self._rig.stopping()):
            key = key_of(seed, rounds)
            spent = self._once(library, name, key)
            found = [tally.read() for tally in ring.tallies]
            rounds += 1
            if name in self._warm or any(count for count, _ in found):
                times.append(spent)
            self._warm.add(name)  # the first one connects the ranks, and is slow
            if spent > BEAT_SECONDS:
                self._rig.beat(name, done)
        verdict = self._verdict(library, name, key, found) if any(count for count, _ in found) else "right"
        compared = 4 * (self._each if name == "reduce-scatter" else self._vector)
        vector = self._vector * GRANULE
        return [Sample(
            what=f"{LIBRARY}.{name}", gpu=ring.keys[rank], seconds=sum(times),
            value=rate_of(bus_factor(name, ring.count) * vector, times), unit="GB/s", checked=compared * rounds,
            wrong=count, words=tuple(self._word(one) for one in records[:MOST_WORDS]),
            notes={"engine": library.engine, "bytes": vector, "rounds": rounds, "ranks": ring.count,
                   **({"verdict": verdict} if count else {})})
            for rank, (count, records) in enumerate(found)]

    def _verdict(self, library: Nccl, name: Collective, key: int, found: Found) -> str:
        """`wrong library` for what comes out wrong in the same way when it is repeated; what does not, a GPU or a link
        may have done."""
        for tally in self._ring.tallies:
            tally.clear()
        self._once(library, name, key)
        again = [tally.read() for tally in self._ring.tallies]
        return "wrong library" if again == found else "wrong once"

    def _once(self, library: Nccl, name: Collective, key: int) -> float:
        """Makes the data, runs the collective and starts the comparison. Seconds of device time on the slowest rank."""
        self._prepare(name, key)
        ring = self._ring
        gpus = [verifier.gpu for verifier in ring.verifiers]
        ready = [gpu.mark(WORK) for gpu in gpus]
        for gpu in gpus:
            for mark in ready:
                gpu.wait_for(mark, WORK)
        first = [gpu.mark(WORK) for gpu in gpus]
        with library.within(HANG_SECONDS, name):
            match name:
                case "all-reduce":
                    library.all_reduce(self._send, self._out, 4 * self._vector, WORK)
                case "reduce-scatter":
                    library.reduce_scatter(self._send, self._out, 4 * self._each, WORK)
                case "all-gather":
                    library.all_gather(self._send, self._out, 4 * self._each, WORK)
            spent = ring.seconds(first, [gpu.mark(WORK) for gpu in gpus])
        self._compare(name, key)
        return spent

    def _prepare(self, name: Collective, key: int) -> None:
        for rank, (verifier, send, out) in enumerate(zip(self._ring.verifiers, self._send, self._out, strict=True)):
            if name == "all-gather":
                verifier.fill(send, rank * self._each, self._each, key)
            else:
                verifier.fill(send, 0, self._vector, (key + rank) & 0xFFFFFFFF)
            verifier.poison(out, self._vector)

    def _compare(self, name: Collective, key: int) -> None:
        ring = self._ring
        for rank, (verifier, out, tally) in enumerate(zip(ring.verifiers, self._out, ring.tallies, strict=True)):
            match name:
                case "all-reduce":
                    verifier.check_sum(out, 0, self._vector, key, ring.count, tally)
                case "reduce-scatter":
                    verifier.check_sum(out, rank * self._each, self._each, key, ring.count, tally)
                case "all-gather":
                    verifier.check(out, 0, self._vector, key, tally)

    def _word(self, record: Record) -> WrongWord:
        index, expected, found, again = record
        return WrongWord(
            index=index, expected=expected, found=found, again=again,
            kind="not written" if found == POISON else bits_word(expected, found),
            where=f"byte 0x{4 * index:x} of {self._vector * GRANULE}, part of rank {index // (4 * self._each)}")


def run_all(
    beside: Beside, names: Sequence[Collective], seconds: float, seeds: Sequence[int], done: float, rig: Rig
) -> Iterator[Sample]:
    """The library's turn: each collective with the seed that the ring had."""
    for name, seed in zip(names, seeds, strict=True):
        if rig.stopping():
            return
        yield from beside.run(name, seconds, seed, done)
