"""Drives, supplies and fans go into the record of a run, read by a process that holds no device."""

from __future__ import annotations

from pathlib import Path

import msgspec

from boxcheck.engine.guarding import Guarding
from boxcheck.engine.instruments_child import Asked, InstrumentsChild
from boxcheck.engine.messages import Watched
from boxcheck.engine.modules import Wanted, run_together
from boxcheck.engine.safety import Limits
from boxcheck.engine.supervise import list_devices
from boxcheck.registry import STRESSES, discover_stress
from boxcheck.store.creating import create_run
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import PhasePlan, PhaseStart, RunInfo
from boxcheck.telemetry.readings import BoxReading, Named, Reading
from tests.telemetry.test_box import board, drive
from tests.telemetry.trees import amd_card, processors

FANS = (Named("nct6798 fan1", 1210.0), Named("nct6798 CHA1", 0.0))


def test_what_the_guard_read_of_the_box_comes_with_what_a_worker_read_and_is_in_the_store(tmp_path: Path) -> None:
    discover_stress()
    root = tmp_path / "root"
    found = list_devices("cpu", environment={"BOXCHECK_CPU_DEVICES": "1"})
    assert isinstance(found, tuple)
    cards = (msgspec.structs.replace(found[0], bdf=amd_card(root, 0), arch="gfx1100"),)
    processors(root)
    drive(root, 0, 41000, 5)
    board(root)
    store = create_run(str(tmp_path), RunInfo(kind="burn", version="0"))
    store.plan_phase(PhasePlan(number=1, name="copy", module="copy"))
    store.begin_phase(1, PhaseStart(gpus=cards))

    def seen(module: object, worker: int, of: object, what: object) -> None:
        if isinstance(what, Watched):
            store.watched(1, what.readings)

    wanted = Wanted(modules=("copy",), seconds=2.0, backend="cpu", options={"size": "test"}, root=str(root),
                    environment={"BOXCHECK_CPU_DEVICES": "1"})
    run_together([STRESSES["copy"]], cards, {}, wanted, seen=seen)
    store.end("finished", outcome="pass")
    with RunReader(store.path) as reader:
        told = [one for one in reader.readings() if isinstance(one, BoxReading)]
    assert told
    assert (told[0].drives_celsius, told[0].fans_rpm) == ((Named("nvme0", 41.0),), FANS)
    assert told[0].supply_watts == (Named("hwmon9", 3240.0),)


def test_a_reading_of_the_box_is_told_once(tmp_path: Path) -> None:
    board(tmp_path)
    with Guarding((), Limits(), root=str(tmp_path)) as guarding:
        pass
    first = guarding.box()
    assert first is not None
    assert first.fans_rpm == FANS
    assert guarding.box() is None


def test_a_watch_reads_it_too_but_not_every_second(tmp_path: Path) -> None:
    processors(tmp_path)
    board(tmp_path)
    child = InstrumentsChild(Asked((), str(tmp_path), 0.02))
    found: list[tuple[Reading, ...]] = []
    while len(found) < 6:
        found += child.read()
    child.close()
    told = [one for some in found for one in some if isinstance(one, BoxReading)]
    assert [one.fans_rpm for one in told] == [FANS]
