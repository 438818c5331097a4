"""Main memory: bandwidth over all NUMA nodes at once, then patterns over a part of it, every word compared.

One process on each core, pinned, takes memory of its own NUMA node, so that all channels work together.

bandwidth  a = b + s c over arrays far larger than the caches (STREAM's triad), and a copy; after each piece every word
           of the three arrays is compared
address    each word keyed by its place: a word out of place names the place that it was meant for
retention  the same, after a rest
inversion  a word everywhere, its opposite, and the word again; upwards and downwards
random     keyed by place with a new key

A pattern is written everywhere before the first word of it is compared, so that what is compared comes from memory.
Half of what is available is taken, never what the host needs, and no more than the time allows to write and compare.
Which module a wrong word lies on is not known from its address alone: ECC and EDAC tell that (boxcheck doctor memory).

By hand  boxcheck stress run dram --seconds 60
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample
from boxcheck.stress.options import number_of

if TYPE_CHECKING:
    from boxcheck.stress.host_cores import Core
    from boxcheck.stress.host_memory_room import HostRoom
    from boxcheck.stress.host_orders import Job

CACHES = 4
"""Each array is at least so many times as large as all last-level caches together, as STREAM's rules ask (stream.c,
instructions, 5.10)."""
LEAST_ARRAY_BYTES, MOST_ARRAY_BYTES = 16 << 20, 256 << 20
"""Of each process."""
TEST_ARRAY_BYTES, TEST_SHARE_BYTES = 512 << 10, 2 << 20
MOST_MEGABYTES = 1 << 25


@stress("dram", scope="host", faults=("flip-memory", "drop-write"))
def dram(rig: Rig) -> Iterator[Sample]:
    """Main memory: triad and copy on all NUMA nodes at once, then patterns over half of what is available.

    Options: `percent` (of the memory that is available, 50; 90 at most, and the host keeps what it needs), `megabytes`
    (MiB at most), `spare` (cores that are left free; beside GPUs one for each and one more), `size=test`.
    """
    from boxcheck.host.live import LiveHost
    from boxcheck.stress.host_cores import cores, left_over, nodes_without_cores, spare_of
    from boxcheck.stress.host_memory_run import MemoryRun
    from boxcheck.stress.host_team import Team, followed, stop_if_none_is_left

    host = LiveHost()
    there = cores(host, os.sched_getaffinity(0))
    found = left_over(there, spare_of(rig.options))
    spared: dict[str, str | int | float] = (
        {"spared_cores": len(there) - len(found)} if len(found) < len(there) else {})
    room = _room(rig, len(found))
    by_name = {core.name: core for core in found}
    without = ", ".join(map(str, nodes_without_cores(host)))
    with Team(rig, _jobs(rig, found, room)) as team:
        team.ready("starting a process on each core")
        stop_if_none_is_left(team)
        rig.wait_for_start()
        team.restart()
        run = MemoryRun(
            rig, team, by_name, room, {**({"nodes_without_cores": without} if without else {}), **spared})
        yield from run.streams(_array_bytes(rig, found, room) // 8)
        if not rig.stopping():
            yield from run.patterns()
        stop_if_none_is_left(team)
        yield from followed(
            team, "dram.processes", rig.gpu.info.key,
            lambda name: {"core": by_name[name].cpu, "node": by_name[name].node}, spared)


def _room(rig: Rig, processes: int) -> HostRoom:
    """What may be taken. GpuError for options that are no numbers, or out of range."""
    from boxcheck.host.live import LiveHost
    from boxcheck.stress.host_memory_room import HALF, MOST_PERCENT, host_room
    from boxcheck.stress.host_orders import full_size

    percent = number_of(rig.options, "percent", 1, MOST_PERCENT)
    megabytes = number_of(rig.options, "megabytes", 1, MOST_MEGABYTES)
    most = int(megabytes) << 20 if megabytes is not None else None
    if not full_size(rig):
        most = TEST_SHARE_BYTES * processes
    return host_room(LiveHost(), HALF if percent is None else percent, most)


def _jobs(rig: Rig, cores: tuple[Core, ...], room: HostRoom) -> list[Job]:
    from boxcheck.stress.host_orders import Job, fault_of

    fault, after = fault_of(rig)
    share = room.target_bytes // len(cores)
    return [
        Job(work="memory", name=core.name, number=number, cpu=core.cpu, seed=rig.seed,
            settings={"share_bytes": share, "node": core.node},
            # On the last core, so that one that is not the first is named.
            fault=fault if number == len(cores) - 1 else None, after=after)
        for number, core in enumerate(cores)]


def _array_bytes(rig: Rig, cores: tuple[Core, ...], room: HostRoom) -> int:
    """Size of one of a process's three arrays: far more than the caches, far less than the room."""
    from boxcheck.host.live import LiveHost
    from boxcheck.stress.host_cores import last_cache_bytes
    from boxcheck.stress.host_orders import full_size

    if not full_size(rig):
        return TEST_ARRAY_BYTES
    caches = last_cache_bytes(LiveHost(), [core.cpu for core in cores])
    wanted = 4 * LEAST_ARRAY_BYTES if caches is None else CACHES * caches // len(cores)
    return min(max(LEAST_ARRAY_BYTES, min(wanted, MOST_ARRAY_BYTES)), room.target_bytes // len(cores) // 3)
