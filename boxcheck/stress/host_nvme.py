"""Every NVMe drive is read at once, past the page cache: large reads side by side, then small ones one by one.

All that is read is read twice, with the rest of the piece in between, and compared; what differs is a fault only where
it is certain that nobody wrote meanwhile. Nothing is written. Two equal readings prove that the drive gives the same
each time, not that it is what was once written: that needs a scratch file, whose content is known to the byte.

sequential  1 MiB at places all over the drive, eight reads at a time: GB/s
random      4 KiB, one at a time: median, 99th and 99.9th percentile of the time that a read takes

By hand  sudo boxcheck stress run nvme --seconds 60
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from boxcheck.gpu import GpuError
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

if TYPE_CHECKING:
    from boxcheck.stress.host_nvme_targets import Target
    from boxcheck.stress.host_orders import Done, Job, Ready
    from boxcheck.stress.host_team import Team

LARGE_BYTES, SMALL_BYTES = 1 << 20, 1 << 12
THREADS = 8
"""Reads at a time on each drive: 8 MiB in flight, what 14 GB/s bring in 0.6 ms."""
SEQUENTIAL_PART = 0.6
PIECE_SECONDS = 2.0
PIECES = 8
SCRATCH_MIB, TEST_SCRATCH_MIB, MOST_SCRATCH_MIB = 1024, 8, 1 << 20


@stress("nvme", scope="host", faults=("flip-payload", "slow", "hang"))
def nvme(rig: Rig) -> Iterator[Sample]:
    """Reads of every NVMe drive at once, all of it read twice and compared. Reads only.

    Options: `drives` (a list: nvme0n1,nvme1n1), `files` (a list of files to read instead, or of directories for scratch
    files), `scratch=yes` (those may be written; they are gone when the run ends, however it ends), `scratch_mib` (1024,
    and at most a tenth of the free space), `size=test`.
    """
    from boxcheck.stress.host_team import Team, followed

    targets = _targets(rig)
    if not targets:
        return
    by_name = {target.name: target for target in targets}
    with Team(rig, _jobs(rig, targets)) as team:
        facts = team.ready("opening the drives")
        rig.wait_for_start()
        team.restart()
        yield from _pieces(rig, team, by_name, facts)
        yield from followed(team, "nvme.drives", rig.gpu.info.key, lambda name: _about(by_name[name]))


def _pieces(
    rig: Rig, team: Team, targets: Mapping[str, Target], facts: Mapping[str, Ready]
) -> Iterator[Sample]:
    from boxcheck.stress.host_orders import Order

    until = rig.seconds * SEQUENTIAL_PART
    for what, size, threads, end in (
            ("sequential", LARGE_BYTES, THREADS, until), ("random", SMALL_BYTES, 1, rig.seconds)):
        piece = min(PIECE_SECONDS, max(0.0, end - team.elapsed) / PIECES)
        order = Order(do=what, seconds=piece, settings={"block_bytes": size, "threads": threads})
        rounds = 0
        while team.members and (not rounds or (team.elapsed < end and not rig.stopping())):
            if rounds == 0 and what == "random" and rig.stopping():
                return
            for name, done in team.go(order, f"{what} reads of {len(team.members)} drives").items():
                yield _sample(rig, what, targets[name], facts[name], done)
            rounds += 1


def _sample(rig: Rig, what: str, target: Target, fact: Ready, done: Done) -> Sample:
    """A rate for large reads, the median of the time for small ones; none where the page cache was in between."""
    direct = bool(fact.notes["direct"])
    timed = direct and done.seconds > 0 and done.amount > 0
    rate = done.amount / max(done.seconds, 1e-9) / 1e9
    value = rate if what == "sequential" else done.notes.get("p50_us")
    return Sample(
        what=f"nvme.{what}.{target.name}", gpu=rig.gpu.info.key, seconds=done.seconds,
        value=float(value) if timed and value is not None else None, unit="GB/s" if what == "sequential" else "us",
        checked=done.checked, of="bytes", wrong=done.wrong, words=done.words,
        notes={**_about(target), **fact.notes, **done.notes, "bytes": int(done.amount)})


def _about(target: Target) -> dict[str, str | int | float]:
    found = {
        "drive": target.name, "path": target.path, "source": target.kind, "bdf": target.bdf, "model": target.model,
        "on": ",".join(target.on)}
    return {name: value for name, value in found.items() if value}


def _targets(rig: Rig) -> tuple[Target, ...]:
    """The drives, or what was named instead."""
    from boxcheck.host.live import LiveHost
    from boxcheck.stress.host_nvme_targets import drives, files

    scratch = rig.options.get("scratch", "no")
    if scratch not in ("yes", "no"):
        raise GpuError("unsupported", f"scratch={scratch} is neither yes nor no")
    if rig.options.get("files"):
        return files(LiveHost(), rig.options["files"].split(","), scratch == "yes")
    if scratch == "yes":
        raise GpuError(
            "unsupported", "scratch=yes without a directory", "say where: --option files=DIRECTORY, one for each drive")
    only = rig.options.get("drives", "")
    return drives(LiveHost(), only.split(",") if only else ())


def _jobs(rig: Rig, targets: tuple[Target, ...]) -> list[Job]:
    from boxcheck.stress.host_orders import Job, fault_of, full_size

    fault, after = fault_of(rig)
    word = rig.options.get("scratch_mib", str(SCRATCH_MIB if full_size(rig) else TEST_SCRATCH_MIB))
    if not word.isdecimal() or not 1 <= int(word) <= MOST_SCRATCH_MIB:
        raise GpuError("unsupported", f"scratch_mib={word} is no number from 1 to {MOST_SCRATCH_MIB}")
    return [
        Job(work="drive", name=target.name, number=number, seed=rig.seed, settings={
            "path": target.path, "kind": target.kind, "bdf": target.bdf, "seconds": rig.seconds,
            "scratch_bytes": int(word) << 20},
            # On the last one, so that one that is not the first is named.
            fault=fault if number == len(targets) - 1 else None, after=after)
        for number, target in enumerate(targets)]
