"""What a run between GPUs consists of: the same list tells the module what to do and the checks what must be there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import msgspec

Ends = tuple[int, int]
"""Numbers, in the run, of the device that a payload comes from and of the one that it goes to."""


class Way(msgspec.Struct, frozen=True):
    """How a payload gets from one device to another: who does it, and by what."""

    name: str
    reads: bool
    """Whether the target fetches; else the source sends."""
    kernel: bool = False
    """By the compute units; else by the copy engine."""


ENGINE_WRITE, ENGINE_READ = Way("engine-write", False), Way("engine-read", True)
KERNEL_WRITE, KERNEL_READ = Way("kernel-write", False, True), Way("kernel-read", True, True)
WAYS = (ENGINE_WRITE, ENGINE_READ, KERNEL_WRITE, KERNEL_READ)
STAGED = Way("staged", False)
"""By way of the host, in two copies: never a figure of a link between two GPUs."""


class Piece(msgspec.Struct, frozen=True):
    """Transfers that run at the same time."""

    what: str
    """`Sample.what` of each of them."""
    way: Way
    links: tuple[Ends, ...]


def can(reach: Mapping[Ends, bool], ends: Ends, way: Way) -> bool:
    """Whether the device that does it reaches the other's memory."""
    source, target = ends
    return reach.get((target, source) if way.reads else (source, target), False)


def small(count: int, reach: Mapping[Ends, bool]) -> list[Piece]:
    """Every ordered pair in every way, one by one: what a broken driver damages or hangs on first."""
    found = []
    for ends in permutations(range(count), 2):
        ways = [way for way in WAYS if can(reach, ends, way)] or [STAGED]
        found += [Piece(f"p2p.small.{way.name}", way, (ends,)) for way in ways]
    return found


def cycle(count: int, reach: Mapping[Ends, bool]) -> list[Piece]:
    """One round of all that is timed, but for latencies. With two devices the patterns are pairs, and left out."""
    pairs = list(permutations(range(count), 2))
    found = [Piece(f"p2p.one-way.{way.name}", way, (ends,)) for way in WAYS for ends in pairs if can(reach, ends, way)]
    found += [
        Piece("p2p.staged", STAGED, (ends,)) for ends in pairs if not any(can(reach, ends, way) for way in WAYS)]
    for one, other in pairs:
        both = ((one, other), (other, one))
        if one < other and all(can(reach, ends, ENGINE_WRITE) for ends in both):
            found.append(Piece(f"p2p.both-ways.{ENGINE_WRITE.name}", ENGINE_WRITE, both))
    everyone = range(count)
    patterns = [
        ("ring", ENGINE_WRITE, [(one, (one + 1) % count) for one in everyone]),
        ("all-to-all", ENGINE_WRITE, pairs), ("all-to-all", ENGINE_READ, pairs),
        *(("one-to-all", ENGINE_WRITE, [(one, other) for other in everyone if other != one]) for one in everyone),
        *(("all-to-one", ENGINE_WRITE, [(other, one) for other in everyone if other != one]) for one in everyone)]
    for name, way, ends_of in patterns if count > 2 else ():
        links = tuple(ends for ends in ends_of if can(reach, ends, way))
        if len(links) > 1:
            found.append(Piece(f"p2p.{name}.{way.name}", way, links))
    return found


def latencies(count: int, reach: Mapping[Ends, bool]) -> list[Piece]:
    """Loads from the other's memory one after the other, and small copies there and back."""
    pairs = list(permutations(range(count), 2))
    return [
        *(Piece("p2p.latency.load", KERNEL_READ, (ends,)) for ends in pairs if can(reach, ends, ENGINE_WRITE)),
        *(Piece("p2p.latency.round-trip", ENGINE_WRITE, (ends,)) for ends in pairs if can(reach, ends, ENGINE_WRITE))]


def expected(count: int, reach: Mapping[Ends, bool]) -> dict[Ends, list[str]]:
    """`Sample.what` of all that a whole run compares, for each ordered pair."""
    found: dict[Ends, list[str]] = {ends: [] for ends in permutations(range(count), 2)}
    for piece in (*small(count, reach), *cycle(count, reach), *latencies(count, reach)):
        for ends in piece.links:
            if piece.what not in found[ends]:
                found[ends].append(piece.what)
    return found
