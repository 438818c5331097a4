"""A burn-in on a real disk, in a box whose cards go one after the other, and whose power goes: what is lost is told, the
rest goes on, what was committed is there, and the next start tells the truth.

One boot runs a burn on the processor to its end, while card 0 answers no more, card 1 is pulled and card 2 is taken out in
order; its disk logs what is written. Each moment of that log is a power cut, judged on the host (`disk.py`). A second machine
then starts from such a disk, and goes on with the run.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from boxcheck.model import Finding, Outcome
from boxcheck.store.listing import list_runs
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Event
from tests.kernel.bench import Machine, boot
from tests.kernel.cache import Unavailable, seconds
from tests.kernel.conftest import cannot_run
from tests.kernel.disk import Disk, recovered
from tests.kernel.fetch import Bench
from tests.kernel.guest.witness import told
from tests.kernel.topology import FOUR_TO_LOSE, ONE_GPU
from tests.kernel.vm import CHECKOUT, FOLDER

CUTS = 50
RUNS = "state/boxcheck/runs"
PLACE = "/tmp/disk"
STATE = {"XDG_STATE_HOME": f"{PLACE}/state"}
PROFILE = "/tmp/slots.toml"
BURN = ("burn", "--profile", PROFILE, "--force-profile", "--backend", "cpu", "--only", "matmul", "--only", "vram", "--only", "cool-down", "--no-tui")
BURN_SECONDS, BOOT_SECONDS, BUSIEST = 24, 8, 8
"""For how long at least, where a boot takes so many seconds of the wall; and up to how many times as long where it takes
longer, because the host is slow or busy. In a phase that is too short nothing is compared."""
MATMUL, VRAM = 2, 3
"""Numbers of the phases, in the order of their plan; doctor is the first."""
CLOCKS_SECONDS = 3.0
"""By how much the guest's wall clock, which it set from QEMU's at boot, may differ from the host's."""
LIMIT_SECONDS = 900.0
"""For a burn of half a minute, on a host that does other work."""
NOTICED_SECONDS = 12.0
"""In which a loss is told: two looks at the configuration space a second apart; five seconds after the attention button."""


@dataclass(frozen=True)
class Seen:
    """What a reader in the guest had found when the log was so long."""

    log_bytes: int
    told: dict[str, Any]

    def in_phase(self, number: int) -> bool:
        marks = self.told["phases"].get(str(number), ())
        return "started" in marks and "ended" not in marks


@dataclass(frozen=True)
class Loss:
    """A card that goes while a phase runs."""

    name: str
    phase: int
    act: Callable[[Machine], object]
    tells: tuple[str, ...]
    """Kinds of the event that tell it."""


def pull(machine: Machine) -> None:
    machine.all_ones("g1")
    machine.link_down("rp1", present=False)


LOSSES = (
    Loss("g0", MATMUL, lambda machine: machine.all_ones("g0"), ("device-dead",)),
    # All ones for a second before the kernel looks at the slot: whichever is seen first is told, and not both.
    Loss("g1", MATMUL, pull, ("device-left", "device-dead")),
    Loss("g2", VRAM, lambda machine: machine.guest.monitor.ask("device_del", id="g2"), ("device-left",)),
)


def with_disk(machine: Machine) -> None:
    machine.guest.load("virtio_blk")
    machine.guest.load("ext4")
    machine.guest.sh(f"/bench/busybox mkdir -p {PLACE}; mount -t ext4 /dev/vda {PLACE}; mkdir -p {PLACE}/state")


def slots_named(machine: Machine) -> str:
    """The profile for any machine, with names for the four slots: QEMU's table of slots (SMBIOS) holds no addresses."""
    text = (CHECKOUT / "profiles/generic.toml").read_text().replace('name = "generic"', 'name = "bench-slots"', 1)
    return text + "".join(f'\n[[slot]]\nlabel = "PCIE{slot.number + 1}"\nroot_port = "{machine.bdf(slot.port)}"\n'
                          for slot in machine.slots)


@dataclass(frozen=True)
class Burnt:
    disk: Disk
    seen: tuple[Seen, ...]
    exit: int
    err: str
    store: Path
    stream: Path
    lost: dict[str, tuple[str, float, Loss]]
    """By address: name of the port above, when the host did it, what it did."""
    stayed: str


@pytest.fixture(scope="module")
def burnt(whole_bench: Bench) -> Iterator[Burnt]:
    # Swept with the guests' folders, should the bench be killed.
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-burn-") as folder:
        try:
            found = burn(whole_bench, Path(folder))
        except Unavailable as why:
            cannot_run(why)
        yield found


def burn(bench: Bench, folder: Path) -> Burnt:
    """The burn, which nothing else is asked of while it runs."""
    disk = Disk(folder)
    seen: list[Seen] = []
    lost: dict[str, tuple[str, float, Loss]] = {}
    with boot(bench, replace(FOUR_TO_LOSE, extra=disk.arguments(logged=True))) as machine:
        with_disk(machine)
        machine.space("g0")
        machine.guest.run("/bench/busybox", "sh", "-c", f"cat >{PROFILE}", stdin=slots_named(machine)).ok()
        complaints = machine.guest.beside("tests.kernel.guest.witness", f"{PLACE}/{RUNS}", "/out/witness")
        witness = machine.guest.folder / "out/witness"
        busy = min(BUSIEST, max(1.0, machine.guest.boot_seconds / BOOT_SECONDS))
        machine.guest.send(LIMIT_SECONDS, boxcheck=[*BURN, "--for", f"{BURN_SECONDS * busy:.0f}s", "--jsonl", "/out/stream.jsonl"],
                           user=None, env=STATE)
        end = time.monotonic() + seconds(LIMIT_SECONDS)
        while not seen or seen[-1].told["state"] == "running":
            assert time.monotonic() < end, f"{machine.guest.console()[-500:]} {complaints.read_text()[-500:]} {seen[-1:]}"
            lines = witness.read_bytes().split(b"\n")[:-1] if witness.exists() else []
            seen += [Seen(disk.written(), json.loads(line)) for line in lines[len(seen):]]
            for loss in LOSSES:
                card = machine.bdf(loss.name)
                if card not in lost and seen and seen[-1].in_phase(loss.phase):
                    lost[card] = (machine.bdf(f"rp{loss.name[1:]}"), time.time(), loss)
                    loss.act(machine)
            if machine.guest.answered() and not seen:
                break
            time.sleep(0.05)
        done = machine.guest.receive()
        assert seen, done.err
        machine.guest.sh(f"cp {PLACE}/{RUNS}/*.sqlite* /out/")
        machine.guest.take(".", folder / "out")
        stayed = machine.bdf("g3")
    store = next((folder / "out").glob("*.sqlite"))
    return Burnt(disk, tuple(seen), done.exit, done.err, store, folder / "out/stream.jsonl", lost, stayed)


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


def test_each_card_that_goes_is_told_once_by_its_slot_and_at_its_time(burnt: Burnt) -> None:
    """Of those that go, and of no other. The exit code says that a device is lost."""
    assert len(burnt.lost) == len(LOSSES)
    with RunReader(str(burnt.store)) as reader:
        events: list[Event] = list(reader.events())
        findings: list[Finding] = list(reader.findings())
        verdict = reader.verdict()
    for card, (port, at, loss) in burnt.lost.items():
        mine = [one for one in events if one.severity == "fail" and one.data and one.data.get("source") == "devices"
                and card in [gpu["bdf"] for gpu in one.data.get("gpus", ())]]
        assert len(mine) == 1, (loss.name, mine)
        slot = f"PCIE{int(loss.name[1:]) + 1}"
        assert mine[0].kind in loss.tells
        assert mine[0].subject == slot
        assert at - CLOCKS_SECONDS < mine[0].at.wall < at + CLOCKS_SECONDS + seconds(NOTICED_SECONDS), (at, mine[0])
        told = [one for one in findings if one.check == "burn.devices" and one.subject.bdf == card]
        assert [(one.outcome, one.blocker, one.cause) for one in told] == [(Outcome.FAIL, True, f"gpu-lost:{card}")]
        assert str(told[0].subject) == slot
        assert slot in burnt.err
        assert [one for one in findings if one.subject.bdf == port and one.check == "burn.devices"] == []
    assert not [one for one in findings if one.check == "burn.devices" and one.subject.bdf == burnt.stayed]
    assert verdict is not None
    assert verdict.device_lost
    assert burnt.exit == 5, burnt.err[-2000:]


def test_the_work_of_what_is_still_there_goes_on(burnt: Burnt) -> None:
    """Both loads, of which cards went in each, came to their end, and nothing that they computed was wrong."""
    with RunReader(str(burnt.store)) as reader:
        phases = {phase.plan.number: phase for phase in reader.phases()}
        findings = {number: list(reader.findings(number)) for number in (MATMUL, VRAM)}
    assert [phases[number].plan.module for number in (MATMUL, VRAM)] == ["matmul", "vram"]
    for number in (MATMUL, VRAM):
        assert phases[number].ended is not None
        assert findings[number]
        wrong = [(one.check, str(one.subject), one.outcome, one.says) for one in findings[number]
                 if one.outcome not in (Outcome.PASS, Outcome.SKIP, Outcome.UNKNOWN)]
        assert wrong == []
        passed = [one.check for one in findings[number] if one.outcome is Outcome.PASS]
        assert [check for check in passed if check == "stress.results" or check.startswith(f"{phases[number].plan.module}.")], [
            (one.check, one.outcome, one.says) for one in findings[number]]


def test_store_and_stream_hold_the_same_events(burnt: Burnt) -> None:
    with RunReader(str(burnt.store)) as reader:
        kept = [(one.number, one.kind, one.says) for one in reader.events()]
    rows = [json.loads(line) for line in burnt.stream.read_text().splitlines()]
    assert [(row["number"], row["kind"], row["says"]) for row in rows if row["type"] == "event"] == kept
    assert rows[-1]["type"] == "end"
    assert missing(str(burnt.store), burnt.seen[-1].told) == []


def test_no_power_cut_loses_what_was_committed(burnt: Burnt, tmp_path: Path) -> None:
    """Of every write since the last flush all, a part or nothing is there. The file system mends itself, the store opens, and
    all is in it that a reader had seen before the cut."""
    chance = random.Random(20261128)
    torn = crashed = 0
    for cut in range(CUTS):
        moment = chance.uniform(burnt.seen[0].log_bytes, burnt.seen[-1].log_bytes)
        seen = [one for one in burnt.seen if one.log_bytes <= moment][-1]
        torn += bool(burnt.disk.after_cut(int(moment), chance, tmp_path / "cut"))
        folder = recovered(tmp_path / "cut", f"/{RUNS}", tmp_path / f"runs{cut}")
        entry = next(one for one in list_runs(str(folder)) if one.path.endswith(seen.told["run"]))
        assert missing(entry.path, seen.told) == [], f"cut {cut}"
        assert entry.state in ("crashed", "finished")
        assert entry.state == "crashed" or burnt.seen[-1].told["state"] == "finished"
        crashed += entry.state == "crashed"
    assert torn > CUTS // 4, "cuts that cost nothing prove nothing"
    assert crashed > CUTS // 2


def test_the_next_start_says_where_the_box_went_down_and_goes_on(
    burnt: Burnt, whole_bench: Bench, tmp_path: Path
) -> None:
    # In the second load: what came to its end before is not run again.
    in_load = next(one for one in burnt.seen if one.in_phase(VRAM))
    burnt.disk.after_cut(in_load.log_bytes, random.Random(7), burnt.disk.image)
    with boot(whole_bench, replace(ONE_GPU, extra=burnt.disk.arguments(logged=False))) as machine:
        with_disk(machine)
        done = machine.guest.boxcheck("doctor", "--no-wake", "pcie", env=STATE)
        run = in_load.told["run"].removesuffix(".sqlite")
        assert "went down in phase vram" in done.err, done.err
        assert run in done.err, done.err
        done = machine.guest.boxcheck("burn", "--resume", "--no-tui", env=STATE, limit=LIMIT_SECONDS)
        assert done.exit in (0, 1, 3, 5), done.err
        assert "vram is run again" in done.err, done.err
        assert "matmul is run again" not in done.err
        done = machine.guest.boxcheck("runs", "--json", "-", env=STATE)
        assert [(one["id"], one["state"]) for one in json.loads(done.out) if one["id"] == run] == [(run, "finished")]
