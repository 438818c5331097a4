"""Device memory, filled and verified word by word: nearly all that is free, by patterns that show where a fault sits.

A pattern is written to the whole region before the first word of it is compared, so that what is compared comes from
memory and not from a cache, and an address that is decoded wrongly shows. Then each pass compares one pattern and
writes the next. Every word that is written is compared once at least.

address    each word keyed by its place: a word out of place names the place that it was meant for
retention  the same, after a rest in which the GPU does nothing
inversion  a word everywhere, its opposite, and the word again; up and down within blocks of 1 GiB
random     keyed by place with a new key in every pass
walking    one bit set, and one bit clear; its place walks with the address, and from round to round

By hand  boxcheck stress run vram --seconds 60
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from boxcheck.gpu import GpuError
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample
from boxcheck.stress.options import number_of

if TYPE_CHECKING:
    from boxcheck.stress.vram_region import Region
    from boxcheck.stress.vram_room import Room

TEST_MEGABYTES = 64
MOST_MEGABYTES = 1 << 20
LONGEST_REST_SECONDS = 86_400.0


@stress("vram", faults=("flip-memory", "drop-write", "hang", "slow"))
def vram(rig: Rig) -> Iterator[Sample]:
    """Device memory: 95 % and more of what is free, patterns keyed by address, inversions, walking bits, a rest.

    Options: `megabytes` (MiB to test instead of all), `rest` (seconds that the GPU rests before what it holds is
    compared), `size=test`.
    """
    from boxcheck.stress.vram_passes import Passes
    from boxcheck.stress.vram_proof import copies, self_test
    from boxcheck.stress.vram_pulse import Pulse
    from boxcheck.stress.vram_region import Region

    rest = number_of(rig.options, "rest", 0.0, LONGEST_REST_SECONDS)
    asked = number_of(rig.options, "megabytes", 1, MOST_MEGABYTES)
    pulse = Pulse(rig)
    with Region(rig.gpu, pulse) as region:
        room = _take(rig, region, None if asked is None else int(asked) << 20)
        if rig.stopping():
            return
        passes = Passes(rig, region, room)
        yield passes.noted(self_test(region))
        rig.wait_for_start()
        pulse.restart()
        for sample in copies(region):
            yield passes.copied(sample)
        yield from passes.run(rest)


def _take(rig: Rig, region: Region, asked_bytes: int | None) -> Room:
    """Takes the memory: of a GPU all that may be had, or what was asked for; of a processor a little."""
    from boxcheck.host.live import LiveHost
    from boxcheck.stress.vram_room import BLOCK_SIZES, MIB, host_spares, own_room, shared_room

    info, free = rig.gpu.info, rig.gpu.free_bytes()
    room = own_room(free)
    sizes: tuple[int, ...] = BLOCK_SIZES
    target = room.target_bytes
    if not rig.full_size:
        target, sizes = TEST_MEGABYTES * MIB, BLOCK_SIZES[-1:]
    elif info.unified:
        room = shared_room(info, free, LiveHost())
        target = room.target_bytes
    if asked_bytes is not None:
        target = asked_bytes if not rig.full_size else min(target, asked_bytes)
    quarter = target // 4 // 4096 * 4096  # two blocks at least, to copy from one to the other
    sizes = tuple(dict.fromkeys(min(size, quarter) for size in sizes if quarter))
    # A fresh host each time: one host answers the same question the same way again.
    region.take(target, sizes, (lambda: host_spares(LiveHost()) > 0) if room.of_host else (lambda: True))
    if not region.blocks and not rig.stopping():
        spared = ", of which the host can spare none" if room.of_host and target <= 0 else ""
        raise GpuError("out-of-memory", f"{free >> 20} MiB are free{spared}, and no block of memory could be had")
    return room
