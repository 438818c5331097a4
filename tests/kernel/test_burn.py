"""A burn-in on a real disk whose power goes: what was committed is there, and the next start tells the truth.

One boot runs a burn to its end on a disk that logs what is written; each moment of that log is a power cut, judged on the
host (`disk.py`). A second machine then starts from such a disk, and goes on with the run.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from boxcheck.store.listing import list_runs
from boxcheck.store.reader import RunReader
from tests.kernel.bench import Machine, boot
from tests.kernel.cache import Unavailable, seconds
from tests.kernel.disk import Disk, recovered
from tests.kernel.fetch import Bench
from tests.kernel.guest.witness import told
from tests.kernel.topology import ONE_GPU

CUTS = 200
RUNS = "state/boxcheck/runs"
PLACE = "/tmp/disk"
BURN = ("burn", "--backend", "cpu", "--only", "matmul", "--only", "vram", "--only", "cool-down", "--for", "40s")


@dataclass(frozen=True)
class Seen:
    """What a reader in the guest had found when the log was so long."""

    log_bytes: int
    told: dict[str, Any]


def with_disk(machine: Machine) -> None:
    machine.guest.load("virtio_blk")
    machine.guest.load("ext4")
    machine.guest.sh(f"/bench/busybox mkdir -p {PLACE}; mount -t ext4 /dev/vda {PLACE}; mkdir -p {PLACE}/state")


def boxcheck(machine: Machine, *words: str, limit: float = 240) -> tuple[int, str, str]:
    """boxcheck as a program of its own, whose children find it, with its state on the disk."""
    done = machine.guest.run(
        "/bench/busybox", "sh", "-c",
        f'. /etc/bench.environment; export XDG_STATE_HOME={PLACE}/state PYTHONPATH="$BENCH_PATH"; exec "$@"', "sh",
        "/bench/busybox", "sh", "-c", 'exec "$BENCH_PYTHON" -m boxcheck "$@"', "sh", *words, limit=limit)
    return done.exit, done.out, done.err


def start_witness(machine: Machine) -> Path:
    machine.guest.sh(
        f'. /etc/bench.environment; export PYTHONPATH="$BENCH_PATH"; '
        f'"$BENCH_PYTHON" -m tests.kernel.guest.witness {PLACE}/{RUNS} /out/witness </dev/null >/dev/null 2>/out/witness.err &')
    return machine.guest.folder / "out/witness"


@dataclass(frozen=True)
class Burnt:
    disk: Disk
    seen: tuple[Seen, ...]


@pytest.fixture(scope="module")
def burnt(whole_bench: Bench, held: Any, tmp_path_factory: pytest.TempPathFactory) -> Burnt:
    held.close()
    try:
        disk = Disk(tmp_path_factory.mktemp("disk"))
    except Unavailable as why:
        pytest.skip(f"kernel bench: {why}")
    seen: list[Seen] = []
    with boot(whole_bench, replace(ONE_GPU, extra=disk.arguments(logged=True))) as machine:
        with_disk(machine)
        code, _, err = boxcheck(machine, *BURN, "--detach")
        assert code == 0, err
        witness = start_witness(machine)
        end = time.monotonic() + seconds(300)
        while not seen or seen[-1].told["state"] == "running":
            assert time.monotonic() < end, machine.guest.sh(f"cat /out/witness.err {PLACE}/{RUNS}/engine.log")
            lines = witness.read_bytes().split(b"\n")[:-1] if witness.exists() else []
            seen += [Seen(disk.written(), json.loads(line)) for line in lines[len(seen):]]
            time.sleep(0.05)
    return Burnt(disk, tuple(seen))


def missing(store: str, seen: dict[str, Any]) -> list[str]:
    """What a reader had seen and is not in the store."""
    with RunReader(store) as reader:
        now = told(reader)
    lost = [f"phase {number}: {mark}" for number, marks in seen["phases"].items() for mark in marks
            if mark not in now["phases"].get(number, ())]
    lost += [f"event {one}" for one in seen["events"] if one not in now["events"]]
    return lost + [f"findings of phase {number}" for number, count in seen["findings"].items()
                   if now["findings"].get(number, 0) < count]


def test_the_burn_came_to_its_end(burnt: Burnt) -> None:
    assert burnt.seen[-1].told["state"] == "finished"
    assert len(burnt.seen[-1].told["phases"]) >= 5
    assert len(burnt.seen) >= 8, "a witness that sees too little proves nothing"


def test_no_power_cut_loses_what_was_committed(burnt: Burnt, tmp_path: Path) -> None:
    """Of every write since the last flush all, a part or nothing is there. The file system mends itself, the store opens, and
    all is in it that a reader had seen before the cut."""
    chance = random.Random(20261128)
    torn = crashed = 0
    for cut in range(CUTS):
        moment = chance.uniform(burnt.seen[0].log_bytes, burnt.seen[-1].log_bytes)
        seen = [one for one in burnt.seen if one.log_bytes <= moment][-1]
        torn += burnt.disk.after_cut(int(moment), chance, tmp_path / "cut")
        folder = recovered(tmp_path / "cut", f"/{RUNS}", tmp_path / f"runs{cut}")
        entry = next(one for one in list_runs(str(folder)) if one.path.endswith(seen.told["run"]))
        assert missing(entry.path, seen.told) == [], f"cut {cut}"
        assert entry.state in ("crashed", "finished")
        assert entry.state == "crashed" or burnt.seen[-1].told["state"] == "finished"
        crashed += entry.state == "crashed"
    assert torn > CUTS // 2, "cuts that cost nothing prove nothing"
    assert crashed > CUTS // 2


def test_the_next_start_says_where_the_box_went_down_and_goes_on(
    burnt: Burnt, whole_bench: Bench, held: Any, tmp_path: Path
) -> None:
    held.close()
    in_load = next(one for one in burnt.seen if "ended" not in one.told["phases"].get("2", ()) and
                   "started" in one.told["phases"].get("2", ()))
    burnt.disk.after_cut(in_load.log_bytes, random.Random(7), burnt.disk.image)
    with boot(whole_bench, replace(ONE_GPU, extra=burnt.disk.arguments(logged=False))) as machine:
        with_disk(machine)
        code, _, err = boxcheck(machine, "doctor", "--no-wake", "pcie")
        run = in_load.told["run"].removesuffix(".sqlite")
        assert "went down in phase matmul" in err, err
        assert run in err, err
        code, out, err = boxcheck(machine, "burn", "--resume")
        assert code in (0, 1, 3), err
        assert "matmul is run again" in err, err
        code, out, _ = boxcheck(machine, "runs", "--json", "-")
        assert [(one["id"], one["state"]) for one in json.loads(out) if one["id"] == run] == [(run, "finished")]
