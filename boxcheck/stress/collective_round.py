"""One verified collective after another over a ring, and on which hop a wrong word became wrong."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from boxcheck.gpu import Buffer, Mark
from boxcheck.stress import Rig, WrongWord, bits_word
from boxcheck.stress.collective_look import look_at
from boxcheck.stress.collective_ring import Collective, Ring
from boxcheck.stress.transfers import GRANULE, MOST_WORDS, POISON, Record, key_of, word_at

MOST_ROUNDS = 4096
LOCATED = 4
"""Wrong words of a rank whose way round the ring is looked at."""


class Rank(msgspec.Struct, kw_only=True):
    """What came of a piece on one rank."""

    checked: int = 0
    wrong: int = 0
    moved_bytes: int = 0
    words: tuple[WrongWord, ...] = ()
    hop: str | None = None
    """The hop after which the first wrong word was wrong, or the device where it began; None where nobody knows."""
    hop_times: list[float] = msgspec.field(default_factory=list)
    """Of the first copy of each collective, to the next rank."""


class Piece(msgspec.Struct, kw_only=True):
    ranks: list[Rank]
    times: list[float] = msgspec.field(default_factory=list)
    """Device time of each round, on its slowest rank."""

    @property
    def rounds(self) -> int:
        return len(self.times)

    @property
    def wrong(self) -> int:
        return sum(rank.wrong for rank in self.ranks)


def repeat(rig: Rig, ring: Ring, name: Collective, seconds: float, seed: int) -> Piece:
    """One collective for about these seconds, on other data each time; ends after a round that came out wrong."""
    piece, began = new_piece(ring), time.monotonic()
    while piece.rounds == 0 or (
            time.monotonic() - began < seconds and piece.rounds < MOST_ROUNDS and not piece.wrong
            and not rig.stopping()):
        key = key_of(seed, piece.rounds)
        first, last = start(ring, name, key)
        compare(ring, piece, name, key)
        add_times(ring, piece, ring.seconds(first, last))
        settle(ring, piece, {name: key})
    look_too(ring, piece, name, key, range(ring.count))
    return finish(ring, piece)


def add_times(ring: Ring, piece: Piece, seconds: float) -> None:
    """Adds the time of collectives, and that of the first hops of the last of them."""
    piece.times.append(seconds)
    for number, rank in enumerate(piece.ranks):
        if ring.sizes[number]:
            rank.hop_times.append(ring.hop_seconds(number))


def new_piece(ring: Ring) -> Piece:
    for tally in ring.tallies:
        tally.clear()
    ring.sent_bytes = [0] * ring.count
    return Piece(ranks=[Rank() for _ in range(ring.count)])


def start(ring: Ring, name: Collective, key: int, fresh: bool = True) -> tuple[list[Mark], list[Mark]]:
    """Makes the data (with `fresh`) and puts the collective into the queues. Returns its begin and end on each rank."""
    if fresh:
        if name in ("all-reduce", "reduce-scatter"):
            ring.give_data(key)
        if name == "all-reduce":
            ring.poison_out()
        if name == "all-gather":
            ring.give_shards(key)
    first = ring.start()
    match name:
        case "all-reduce":
            arrived = ring.all_reduce()
        case "reduce-scatter":
            arrived = ring.reduce_scatter()
        case "all-gather":
            arrived = ring.all_gather(lambda rank: rank)
    return first, ring.end(arrived)


def compare(ring: Ring, piece: Piece, name: Collective, key: int, poison: bool = False) -> None:
    """Starts the comparison on every rank."""
    for number, rank in enumerate(piece.ranks):
        match name:
            case "all-reduce":
                rank.checked += ring.check_summed(number, key)
            case "reduce-scatter":
                rank.checked += ring.check_reduced(number, key)
            case "all-gather":
                rank.checked += ring.check_gathered(number, key, poison)


def settle(ring: Ring, piece: Piece, keys: Mapping[Collective, int]) -> None:
    """Waits for the comparisons, and looks into the first that found something. `keys` are of what was compared."""
    tallies = [tally.read() for tally in ring.tallies]
    seen = [{record[0] for record in records} for _, records in tallies]
    for rank, (wrong, records) in zip(piece.ranks, tallies, strict=True):
        if wrong and not rank.wrong:
            located = [
                _locate(ring, keys, record, seen, at < LOCATED) for at, record in enumerate(records[:MOST_WORDS])]
            rank.words = tuple(word for word, _ in located)
            rank.hop = next((hop for _, hop in located if hop), None)
        rank.wrong = wrong


def look_too(ring: Ring, piece: Piece, name: Collective, key: int, ranks: Iterable[int]) -> None:
    """Lets the host look at what the last collective of this name and key left on these ranks, of which none found
    anything wrong itself."""
    for number, seen in look_at(ring, name, key, ranks).items() if not piece.wrong else ():
        piece.ranks[number].wrong, piece.ranks[number].words = seen.wrong, tuple(seen.words)


def finish(ring: Ring, piece: Piece) -> Piece:
    for rank, sent in zip(piece.ranks, ring.sent_bytes, strict=True):
        rank.moved_bytes = sent
    return piece


def _locate(
    ring: Ring, keys: Mapping[Collective, int], record: Record, seen: Sequence[set[int]], look: bool
) -> tuple[WrongWord, str | None]:
    """A wrong word, and the hop that made it wrong. `seen` are the wrong words of every rank."""
    index, expected, found, again = record
    chunk = next(number for number in reversed(range(ring.count)) if ring.firsts[number] <= index // 4)
    name, key = next(
        ((name, key) for name, key in keys.items() if expected == _right(ring, name, key, index, chunk)),
        next(iter(keys.items())))
    hop = _first_wrong(ring, name, key, index, chunk) if look else None
    if look and hop is None and name == "all-gather":  # the vector is another by now; who found it wrong still tells
        ranks = [(chunk + step) % ring.count for step in range(1, ring.count)]
        hop = next((ring.hop(rank) for rank in ranks if index in seen[rank]), None)
    kind = "not written" if found == POISON else bits_word(expected, found)
    of = f" of {name}" if len(keys) > 1 else ""
    where = f"byte 0x{4 * index:x} of {ring.granules * GRANULE}, chunk {chunk}{of}"
    return WrongWord(
        index=index, expected=expected, found=found, again=again, kind=kind,
        where=f"{where}, wrong since {hop}" if hop else where), hop


def _right(ring: Ring, name: Collective, key: int, index: int, chunk: int) -> int:
    ranks = [chunk] if name == "all-gather" else range(ring.count)
    return sum(word_at(index, (key + rank) & 0xFFFFFFFF) for rank in ranks) & 0xFFFFFFFF


def _first_wrong(ring: Ring, name: Collective, key: int, index: int, chunk: int) -> str | None:
    """The first hop on a chunk's way after which the word was wrong, `cuda:0>cuda:1`, or the device that began with a
    wrong one. The partial sums are still where they were made. None where all are right now: it did not last."""
    terms = [word_at(index, (key + rank) & 0xFFFFFFFF) for rank in range(ring.count)]
    at = 4 * (index - 4 * ring.firsts[chunk])
    way: list[tuple[int, Buffer, int]] = []
    if name != "all-gather":
        for step in range(ring.count):
            ranks = [(chunk + before) % ring.count for before in range(step + 1)]
            way.append((ranks[-1], ring.data[ranks[-1]][chunk], sum(terms[rank] for rank in ranks) & 0xFFFFFFFF))
    if name != "reduce-scatter":
        owner, whole = (chunk, terms[chunk]) if name == "all-gather" else (chunk - 1, sum(terms) & 0xFFFFFFFF)
        for step in range(ring.count):
            rank = (owner + step) % ring.count
            way.append((rank, ring.out[rank][chunk], whole))
    before = None
    for rank, buffer, right in way:
        if int(ring.verifiers[rank].gpu.read(buffer, 4, at).view(np.uint32)[0]) != right:
            return ring.keys[rank] if before in (None, rank) else ring.hop(rank)
        before = rank
    return None
